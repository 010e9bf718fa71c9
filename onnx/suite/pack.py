"""Writes `data/backend.tar.gz`: the small tests of `passing.txt`.

Run in this folder: python pack.py FOLDER, with the folder `onnx/backend/test/data` of the Python package `onnx`.
"""

import gzip
import sys
import tarfile
from pathlib import Path

MOST_BYTES = 6000


def main():
    folder = Path(sys.argv[1])
    names = Path("passing.txt").read_text().split()
    # Without times and owners, so that the same tests give the same bytes.
    with open("data/backend.tar.gz", "wb") as file, gzip.GzipFile("", "wb", 9, file, 0) as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name in names:
                files = sorted(path for path in (folder / name).rglob("*") if path.is_file())
                if not files or sum(path.stat().st_size for path in files) >= MOST_BYTES:
                    continue
                for path in files:
                    entry = tarfile.TarInfo(str(path.relative_to(folder)))
                    entry.size = path.stat().st_size
                    with open(path, "rb") as content:
                        archive.addfile(entry, content)


if __name__ == "__main__":
    main()
