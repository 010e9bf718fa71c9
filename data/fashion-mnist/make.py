#!/usr/bin/env python3
"""Makes the subset of Fashion-MNIST in this directory from the whole data set.

    python3 make.py [directory of the whole data set]

The whole data set is expected as gzipped IDX files, by default where Debian's package `dataset-fashion-mnist` puts
them. Of each class the first 800 training images and the first 150 test images are taken, in the order of the whole
set. The result depends on the input alone: no random numbers, no time stamps.
"""

import gzip
import struct
import sys
from pathlib import Path

CLASSES = 10
PER_CLASS = {"train": 800, "t10k": 150}
SOURCE = Path("/usr/share/datasets/fashion-mnist")


def read(path, rank):
    """The sizes and the bytes of a gzipped IDX file of unsigned bytes."""
    content = gzip.decompress(path.read_bytes())
    magic, *sizes = struct.unpack_from(f">{1 + rank}I", content)
    if magic != 0x0800 + rank:
        sys.exit(f"{path}: the magic number is {magic:#010x}, not {0x0800 + rank:#010x}")
    return sizes, content[4 * (1 + rank):]


def write(path, sizes, data):
    """A gzipped IDX file of unsigned bytes."""
    header = struct.pack(f">{1 + len(sizes)}I", 0x0800 + len(sizes), *sizes)
    path.write_bytes(gzip.compress(header + data, compresslevel=9, mtime=0))


def take(labels, per_class):
    """The indices of the first `per_class` examples of each class, in order."""
    taken = [0] * CLASSES
    indices = []
    for index, label in enumerate(labels):
        if taken[label] < per_class:
            taken[label] += 1
            indices.append(index)
    if taken != [per_class] * CLASSES:
        sys.exit(f"the classes hold {taken} examples, fewer than the {per_class} wanted of each")
    return indices


def main():
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE
    target = Path(__file__).resolve().parent
    for part, per_class in PER_CLASS.items():
        (_, height, width), images = read(source / f"{part}-images-idx3-ubyte.gz", 3)
        _, labels = read(source / f"{part}-labels-idx1-ubyte.gz", 1)
        pixels = height * width
        indices = take(labels, per_class)
        chosen = b"".join(images[index * pixels:(index + 1) * pixels] for index in indices)
        write(target / f"{part}-images-idx3-ubyte.gz", [len(indices), height, width], chosen)
        write(target / f"{part}-labels-idx1-ubyte.gz", [len(indices)], bytes(labels[index] for index in indices))


if __name__ == "__main__":
    main()
