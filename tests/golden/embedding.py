"""Writes `embedding.json`: rows of a table by index, forward and backward. Run it like `make.py`, whose format it has."""

import json
from pathlib import Path

import torch
from torch.nn import functional as F

from common import layer, normal


def embeddings():
    cases = []
    for name, rows, features, sizes in [
        ("one for each sample", 5, 3, (4,)),
        ("texts", 7, 4, (2, 5)),
        ("one row", 1, 2, (3, 2)),
        ("one feature", 6, 1, (2, 3, 2)),
    ]:
        indices = torch.arange(torch.Size(sizes).numel()).mul(3).remainder(rows).reshape(sizes).int()
        layer(
            cases,
            f"embedding {name}",
            {"op": "gather", "rows": rows},
            lambda table, indices: F.embedding(indices.long(), table),
            [normal(rows, features), indices],
            (1,),
        )
    return cases


lines = ",\n".join(json.dumps(case, separators=(",", ":"), allow_nan=False) for case in embeddings())
Path(__file__).with_name("embedding.json").write_text(f"[\n{lines}\n]\n")
