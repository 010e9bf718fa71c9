"""Writes `ctc.json` and `ctc_loss.json`: what PyTorch computes for connectionist temporal classification.

Run with a Python that has torch, from this folder: `python ctc.py`. Everything is computed in double precision;
`compiler/tests/golden.rs` reads the files. PyTorch's own gradient with respect to the logarithms assumes that a
log-softmax follows on the way back, and already has its share; `ctc.json` has the gradient without it.
"""

import json
from pathlib import Path

import torch
from common import array, generator, normal
from torch.nn import functional as F

# Sizes N, T, C, the blank, labels of each item, steps of each item.
CASES = {
    "lengths": ((4, 7, 5), 0, [[1, 4, 2], [3, 1], [2], []], [7, 5, 3, 6]),
    "repeats": ((4, 8, 4), 0, [[1, 1, 2], [2, 2, 2], [3, 3], [1, 2, 1]], [8, 6, 5, 7]),
    "fewest steps": ((3, 5, 4), 0, [[1, 2, 3], [2, 2, 2], [1]], [3, 5, 1]),
    "last blank": ((3, 6, 5), 4, [[0, 1, 2], [3, 3], [0]], [6, 5, 4]),
    "middle blank": ((2, 6, 5), 2, [[0, 1, 0, 4], [3, 4]], [6, 6]),
    "impossible": ((4, 4, 4), 0, [[1, 2], [1, 1, 1], [3, 1, 2], [2]], [4, 4, 2, 3]),
    "long": ((3, 20, 12), 0, [[5, 1, 1, 7, 2, 9, 11, 3], [4, 4, 4, 4], [8]], [20, 17, 13]),
}


def padded(labels):
    """Labels padded with what is no label, to one more than the longest."""
    most = max(map(len, labels)) + 1
    return torch.tensor([row + [-1] * (most - len(row)) for row in labels], dtype=torch.int64)


def losses(logarithms, blank, labels, steps, reduction, zero_infinity=True):
    counts = torch.tensor([len(row) for row in labels])
    return F.ctc_loss(
        logarithms.transpose(0, 1),
        padded(labels).clamp(min=0),
        torch.tensor(steps),
        counts,
        blank,
        reduction,
        zero_infinity,
    )


def operators():
    cases = []
    for name, (sizes, blank, labels, steps) in CASES.items():
        for per_label in [False, True]:
            logarithms = F.log_softmax(2 * normal(*sizes), -1)
            logarithms = ((logarithms * 1e4).round() / 1e4).requires_grad_()
            counts = torch.tensor([len(row) for row in labels])
            share = counts.clamp(min=1) if per_label else torch.ones(len(labels))
            each = losses(logarithms, blank, labels, steps, "none") / share
            gradient = normal(sizes[0])

            def without_softmax(g):
                (all,) = torch.autograd.grad(each, logarithms, g, retain_graph=True)
                counted = torch.arange(sizes[1])[None, :] < torch.tensor(steps)[:, None]
                is_possible = (each > 0) | (counts == 0)
                scale = torch.where(is_possible, g / share, 0)
                return all - scale[:, None, None] * logarithms.exp() * counted[:, :, None]

            cases.append(
                {
                    "name": f"{name}{' per label' if per_label else ''}",
                    "op": {"op": "ctc", "blank": blank, "per_label": per_label, "zero_infinity": True},
                    "batched": [0, 1, 2, 3],
                    "operands": [
                        array(logarithms),
                        array(padded(labels)),
                        array(counts),
                        array(torch.tensor(steps)),
                    ],
                    "results": [array(each), array(without_softmax(torch.ones(sizes[0])).detach())],
                    "gradient": array(gradient),
                    "gradients": [array(without_softmax(gradient).detach()), None, None, None],
                }
            )
    return cases


def trained():
    """Losses of `x·wᵀ`: the value, and the gradient to `w`."""
    cases = []
    for name, (sizes, blank, labels, steps) in CASES.items():
        for per_label in [False, True]:
            x, w = normal(*sizes[:2], 3), normal(sizes[2], 3).requires_grad_()
            logarithms = F.log_softmax(x @ w.T, -1)
            if per_label:
                value = losses(logarithms, blank, labels, steps, "mean")
            else:
                value = losses(logarithms, blank, labels, steps, "sum") / sizes[0]
            value.backward()
            cases.append(
                {
                    "loss": {"ctc": {"blank": blank, "per_label": per_label, "zero_infinity": True}},
                    "x": array(x),
                    "w": array(w),
                    "labels": array(padded(labels)),
                    "label_lengths": array(torch.tensor([len(row) for row in labels])),
                    "step_lengths": array(torch.tensor(steps)),
                    "value": value.item(),
                    "gradient": array(w.grad),
                }
            )
    return cases


def write(name, cases):
    lines = ",\n".join(json.dumps(case, separators=(",", ":"), allow_nan=False) for case in cases)
    Path(__file__).with_name(f"{name}.json").write_text(f"[\n{lines}\n]\n")


generator.manual_seed(11)
write("ctc", operators())
write("ctc_loss", trained())
