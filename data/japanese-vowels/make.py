"""Writes vowels.safetensors from JapaneseVowels_TRAIN.ts and JapaneseVowels_TEST.ts, given as arguments: the files of the
Python package `aeon` (`aeon/datasets/data/JapaneseVowels`)."""

import json
import struct
import sys
from pathlib import Path


def read(path):
    """The frames of all utterances, one after another, and for each its number of frames and its speaker, from 0."""
    lines = Path(path).read_text().splitlines()
    frames, lengths, speakers = [], [], []
    for line in lines[lines.index("@data") + 1 :]:
        *features, speaker = line.split(":")
        utterance = list(zip(*([float(value) for value in feature.split(",")] for feature in features), strict=True))
        frames += utterance
        lengths.append(len(utterance))
        speakers.append(int(speaker) - 1)
    return frames, lengths, speakers


tensors = {}
for name, path in zip(["train", "test"], sys.argv[1:], strict=True):
    frames, lengths, speakers = read(path)
    tensors[f"{name}.frames"] = ([len(frames), 12], [value for frame in frames for value in frame])
    tensors[f"{name}.lengths"] = ([len(lengths)], lengths)
    tensors[f"{name}.speakers"] = ([len(speakers)], speakers)
header, data = {}, b""
for name, (shape, values) in sorted(tensors.items()):
    start = len(data)
    data += struct.pack(f"<{len(values)}f", *values)
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, len(data)]}
header = json.dumps(header).encode()
header += b" " * (-len(header) % 8)
target = Path(__file__).with_name("vowels.safetensors")
target.write_bytes(struct.pack("<Q", len(header)) + header + data)
print({name: shape for name, (shape, _) in tensors.items()})
