"""Writes the golden files: what PyTorch computes for every layer, forward and backward, and for the optimisers.

Run with a Python that has torch, from this folder: `python make.py`. Everything is computed in double precision;
operands are rounded to four digits first, so that the files hold exactly what was computed on. `compiler/tests/golden.rs`
reads them; the operators and the optimisers are written as Windlass serialises them.
"""

import json
import math
from pathlib import Path

import torch
from torch.nn import functional as F

from common import array, channels, generator, layer, normal, positive, window


def convolutions():
    cases = []
    for name, kernel, stride, padding, dilation, groups, x, outputs in [
        ("pointwise", [1, 1], [1, 1], [0, 0], [1, 1], 1, (2, 3, 3, 2), 4),
        ("same", [3, 3], [1, 1], [1, 1], [1, 1], 1, (2, 2, 4, 5), 3),
        ("strided", [3, 3], [2, 2], [1, 1], [1, 1], 1, (2, 2, 6, 5), 2),
        ("leftover rows", [2, 2], [3, 3], [0, 0], [1, 1], 1, (2, 1, 6, 7), 2),
        ("large", [5, 5], [1, 1], [2, 2], [1, 1], 1, (1, 2, 5, 6), 2),
        ("dilated", [3, 2], [1, 1], [2, 1], [2, 3], 1, (2, 2, 5, 4), 2),
        ("rectangle", [3, 2], [2, 1], [1, 0], [1, 2], 1, (2, 2, 5, 4), 3),
        ("groups", [3, 3], [1, 1], [1, 1], [1, 1], 2, (2, 4, 3, 4), 6),
        ("depthwise", [3, 3], [2, 2], [1, 1], [1, 1], 3, (2, 3, 5, 5), 6),
        ("one axis", [3], [2], [1], [2], 1, (2, 2, 9), 3),
        ("three axes", [2, 1, 3], [1, 2, 1], [1, 0, 1], [1, 1, 1], 2, (2, 2, 3, 3, 2), 2),
    ]:
        function = [F.conv1d, F.conv2d, F.conv3d][len(kernel) - 1]
        layer(
            cases,
            f"conv {name}",
            {"op": "conv", **window(kernel, stride, padding, dilation), "groups": groups},
            lambda x, w: function(x, w, None, stride, padding, dilation, groups),
            [normal(*x), normal(outputs, x[1] // groups, *kernel)],
        )
    return cases


def pools():
    cases = []
    for name, kernel, stride, padding, dilation, x in [
        ("halving", [2, 2], [2, 2], [0, 0], [1, 1], (2, 2, 4, 6)),
        ("overlapping", [3, 3], [2, 2], [1, 1], [1, 1], (2, 2, 7, 6)),
        ("same", [3, 3], [1, 1], [1, 1], [1, 1], (2, 1, 4, 3)),
        ("rectangle", [3, 2], [2, 1], [1, 0], [1, 1], (2, 2, 5, 4)),
        ("global", [4, 3], [1, 1], [0, 0], [1, 1], (2, 3, 4, 3)),
        ("one axis", [3], [2], [1], [1], (2, 2, 8)),
        ("three axes", [2, 3, 1], [2, 1, 1], [1, 1, 0], [1, 1, 1], (2, 1, 3, 4, 2)),
        ("dilated", [2, 3], [1, 2], [0, 1], [3, 2], (2, 2, 6, 7)),
        ("leftover rows", [2, 2], [3, 3], [0, 0], [1, 1], (2, 1, 6, 7)),
    ]:
        axes = len(kernel) - 1
        op = window(kernel, stride, padding, dilation)
        maximum = [F.max_pool1d, F.max_pool2d, F.max_pool3d][axes]
        layer(
            cases,
            f"max pool {name}",
            {"op": "max_pool", **op},
            lambda x: maximum(x, kernel, stride, padding, dilation),
            [normal(*x)],
        )
        if dilation == [1] * len(kernel):  # PyTorch has no dilated average
            mean = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d][axes]
            layer(
                cases,
                f"average pool {name}",
                {"op": "avg_pool", **op},
                lambda x: mean(x, kernel, stride, padding),
                [normal(*x)],
            )
    ties = torch.tensor([[[[1.0, 2.0, 2.0, 2.0], [2.0, 0.0, 2.0, 1.0]]]])
    layer(
        cases,
        "max pool ties",
        {"op": "max_pool", **window([2, 2], [1, 1], [0, 0], [1, 1])},
        lambda x: F.max_pool2d(x, 2, 1),
        [ties],
    )
    return cases


def batch_norm(epsilon, momentum):
    def function(x, gamma, beta, mean, variance):
        running = mean.detach().clone(), variance.detach().clone()
        y = F.batch_norm(x, *running, gamma, beta, True, momentum, epsilon)
        axes = [axis for axis in range(x.dim()) if axis != 1]
        inverse = 1 / torch.sqrt(x.var(axes, unbiased=False) + epsilon)
        return [y, x.mean(axes), inverse, *running]

    return function


def normalisations():
    cases = []
    for x in [(4, 3), (3, 2, 4), (2, 3, 3, 2)]:
        # The second ε is large enough to show, and exact in the single precision of graph constants.
        for epsilon, momentum in [(1e-5, 0.1), (0.125, 0.3)]:
            settings = {"epsilon": epsilon, "momentum": momentum}
            c = x[1]
            operands = [normal(*x), normal(c), normal(c), normal(c), positive(c)]
            layer(
                cases,
                f"batch norm {x} {epsilon}",
                {"op": "batch_norm", **settings},
                lambda x, g, b, m, v: F.batch_norm(
                    x, m.detach(), v.detach(), g, b, False, momentum, epsilon
                ),
                operands,
            )
            layer(
                cases,
                f"batch norm training {x} {epsilon}",
                {"op": "batch_norm_training", **settings},
                batch_norm(epsilon, momentum),
                operands,
            )
    for x in [(3, 5), (2, 3, 2, 2)]:
        layer(cases, f"softmax {x}", {"op": "softmax"}, lambda x: F.softmax(x, 1), [normal(*x)])
        layer(cases, f"log softmax {x}", {"op": "log_softmax"}, lambda x: F.log_softmax(x, 1), [normal(*x)])
    far = torch.tensor([[1000.0, 999.0, -1000.0], [-800.0, -801.5, -802.0]])
    layer(cases, "softmax of large numbers", {"op": "softmax"}, lambda x: F.softmax(x, 1), [far])
    layer(cases, "log softmax of large numbers", {"op": "log_softmax"}, lambda x: F.log_softmax(x, 1), [far])
    return cases


def elements():
    cases = []
    unary = {
        "relu": torch.relu,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "exp": torch.exp,
        "log": torch.log,
        "sqrt": torch.sqrt,
        "rsqrt": torch.rsqrt,
        "negate": torch.neg,
        "square": torch.square,
    }
    for kind, function in unary.items():
        x = (positive if kind in ("log", "sqrt", "rsqrt") else normal)(2, 3, 4)
        layer(cases, kind, {"op": "unary", "kind": kind}, function, [x])
    saturated = torch.tensor([[-80.0, -20.0, 0.0, 20.0, 80.0]])
    for kind in ["sigmoid", "tanh", "relu"]:
        layer(cases, f"{kind} saturated", {"op": "unary", "kind": kind}, unary[kind], [saturated])
    binary = {
        "add": torch.add,
        "subtract": torch.subtract,
        "multiply": torch.multiply,
        "divide": torch.divide,
    }
    for kind, function in binary.items():
        operands = [normal(2, 3, 4), positive(2, 3, 4)]
        layer(cases, kind, {"op": "binary", "kind": kind}, function, operands, (0, 1))
        operands = [normal(2, 3, 4), torch.tensor(1.75)]
        layer(cases, f"{kind} of one number", {"op": "binary", "kind": kind}, function, operands)
    for x in [(2, 3), (2, 3, 4), (2, 3, 2, 2)]:
        operands = [normal(*x), normal(3)]
        layer(cases, f"bias {x}", {"op": "bias"}, lambda x, b: x + channels(x, b), operands)
        scale = {"op": "scale", "axis": 1}
        layer(cases, f"scale {x}", scale, lambda x, s: x * channels(x, s), operands)
    sums = lambda x: x.sum((0, 2, 3))
    layer(cases, "sum channels", {"op": "sum_channels"}, sums, [normal(2, 3, 2, 2)])
    linear = [normal(3, 5), normal(4, 5)]
    layer(cases, "linear", {"op": "linear"}, F.linear, linear)
    layer(cases, "dropout at inference", {"op": "dropout", "rate": 0.5}, lambda x: F.dropout(x, 0.5, False), [normal(2, 3)])
    shape = {"op": "reshape", "shape": "[N, 6]"}
    layer(cases, "flatten", shape, lambda x: x.flatten(1), [normal(2, 3, 2)])
    parts = [normal(2, 2, 3), normal(2, 1, 3), normal(2, 3, 3)]
    layer(cases, "concat", {"op": "concat", "axis": 1}, lambda *p: torch.cat(p, 1), parts, (0, 1, 2))
    cut = {"op": "slice", "axis": 2, "start": 1, "length": 2}
    layer(cases, "slice", cut, lambda x: x.narrow(2, 1, 2), [normal(2, 2, 4)])
    return cases


def losses():
    cases = []
    labels = torch.tensor([2, 0, 3, 3], dtype=torch.int32)
    cross_entropy = lambda x, labels: F.cross_entropy(x, labels.long())
    op = {"op": "cross_entropy"}
    layer(cases, "cross entropy", op, cross_entropy, [normal(4, 5), labels], (0, 1))
    layer(cases, "cross entropy of large logits", op, cross_entropy, [normal(4, 5) * 1000, labels], (0, 1))
    pair = [normal(3, 2, 2), normal(3, 2, 2)]
    layer(cases, "mean squared error", {"op": "mean_squared_error"}, F.mse_loss, pair, (0, 1))
    return cases


def edge_array(tensor):
    """As `array`, in full, with names for what JSON has no numbers for."""
    if tensor is None:
        return None
    values = tensor.detach().flatten().tolist()
    if not tensor.is_floating_point():
        return {"sizes": list(tensor.shape), "values": values, "integers": True}
    values = [value if math.isfinite(value) else str(value) for value in values]
    return {"sizes": list(tensor.shape), "values": values, "integers": False}


def edges():
    """Functions, pools, softmax and losses in single precision on NaN, infinities, zeros of either sign, denormals and
    numbers near the largest."""
    cases = []
    inf, nan = math.inf, math.nan
    # The largest and the smallest normal number, and the smallest denormal.
    most, least, last = 3.4028234663852886e38, 1.1754943508222875e-38, 1.401298464324817e-45

    def edge(name, op, function, operands, batched=(0,), gradient=None):
        operands = [
            torch.tensor(operand, dtype=torch.float32, requires_grad=True) if isinstance(operand, list) else operand
            for operand in operands
        ]
        result = function(*operands)
        incoming = torch.ones_like(result) if gradient is None else torch.tensor(gradient, dtype=torch.float32)
        result.backward(incoming)
        cases.append(
            {
                "name": name,
                "op": op,
                "batched": list(batched),
                "operands": [edge_array(operand) for operand in operands],
                "results": [edge_array(result)],
                "gradient": edge_array(incoming),
                "gradients": [edge_array(operand.grad) for operand in operands],
            }
        )

    x = [nan, inf, -inf, 0.0, -0.0, 1e-40, -1e-40, least, -least, last, -last, 1e-30, 1e30, -1e30, most, -most]
    x += [1.0, -1.0, 0.5, -0.5, 20.0, -20.0, 88.0, -80.0, 100.0]
    for kind in ["relu", "sigmoid", "tanh", "exp", "log", "sqrt", "rsqrt", "negate", "square"]:
        function = {"negate": torch.neg}.get(kind) or getattr(torch, kind)
        edge(kind, {"op": "unary", "kind": kind}, function, [[x]])
    pairs = [(a, b) for a in x[:17] for b in x[:17]]
    operands = [[[a for a, _ in pairs]], [[b for _, b in pairs]]]
    for kind, function in {
        "add": torch.add,
        "subtract": torch.subtract,
        "multiply": torch.multiply,
        "divide": torch.divide,
    }.items():
        edge(kind, {"op": "binary", "kind": kind}, function, operands, (0, 1))

    planes = [
        [[nan, 1.0, -inf, -inf], [0.0, 2.0, -inf, -inf], [inf, nan, -0.0, 0.0], [1.0, nan, -0.0, -1.0]],
        [[inf, 1.0, -inf, inf], [0.0, 2.0, 3.0, 1.0], [1e-40, last, 1e30, -1e30], [-1e-40, 0.0, most, 1.0]],
    ]
    for name, kernel, stride, padding in [("halving", 2, 2, 0), ("overlapping", 3, 1, 1)]:
        op = window([kernel] * 2, [stride] * 2, [padding] * 2, [1, 1])
        if padding:
            # A window of nothing but -inf and padding: PyTorch gives its gradient to an element, Windlass to none.
            planes[0][0][3] = -3.0
        maximum = lambda x: F.max_pool2d(x, kernel, stride, padding)
        edge(f"max pool {name}", {"op": "max_pool", **op}, maximum, [[planes]])
        mean = lambda x: F.avg_pool2d(x, kernel, stride, padding)
        edge(f"average pool {name}", {"op": "avg_pool", **op}, mean, [[planes]])

    rows = [
        [1e30, -1e30, 0.0],
        [1e30, 1e30, 1e30],
        [-1e30, -1e30, -1e30],
        [most, -most, 1e30],
        [inf, 0.0, 1.0],
        [inf, inf, 0.0],
        [-inf, 0.0, 1.0],
        [-inf, -inf, -inf],
        [nan, 0.0, 1.0],
        [1e-40, -1e-40, -0.0],
        [-1000.0, -1000.5, -1200.0],
    ]
    weights = [[1.0, 2.0, 3.0]] * len(rows)
    edge("softmax", {"op": "softmax"}, lambda x: F.softmax(x, 1), [rows], gradient=weights)
    edge("log softmax", {"op": "log_softmax"}, lambda x: F.log_softmax(x, 1), [rows], gradient=weights)
    for row in rows:
        for label in (0, 1):
            labels = torch.tensor([label], dtype=torch.int32)
            entropy = lambda x, labels: F.cross_entropy(x, labels.long())
            edge(f"cross entropy {row} {label}", {"op": "cross_entropy"}, entropy, [[row], labels], (0, 1))
    for p, t in [
        ([1e18, 0.0], [0.0, 0.0]),
        ([1e30, 0.0], [0.0, 0.0]),
        ([3e38, 0.0], [-3e37, 1.0]),
        ([most, -most], [0.0, 0.0]),
        ([most, 1.0], [-most, 1.0]),
        ([inf, 1.0], [0.0, 1.0]),
        ([inf, 1.0], [inf, 2.0]),
        ([nan, 1.0], [0.0, 0.0]),
        ([1e-40, -0.0], [-1e-40, 0.0]),
    ]:
        edge(f"mean squared error {p} {t}", {"op": "mean_squared_error"}, F.mse_loss, [[p], [t]], (0, 1))
    return cases


NETWORK = """graph net {
  %0 = input {name = "x", type = "f32[N, 4]"}
  %1 = parameter {name = "f1.weight", shape = "[3, 4]", init = "xavier_uniform"}
  %2 = parameter {name = "f1.bias", shape = "[3]", init = {constant = 0.0}}
  %3 = linear(%0, %1)
  %4 = bias(%3, %2)
  %5 = unary(%4) {kind = "tanh"}
  %6 = parameter {name = "f2.weight", shape = "[2, 3]", init = "xavier_uniform"}
  %7 = linear(%5, %6)
  output "y" = %7
}"""

STEPS = 4


def optimizers(clipped_by_value):
    cases = []
    sgd = {"kind": "sgd", "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    adam = {"kind": "adam", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.0}
    adam_w = {**adam, "kind": "adam_w", "weight_decay": 0.01}
    settings = [
        ("sgd clipped by value", sgd, None, 0.5, 0.05),
        ("adam clipped by value and norm", adam, 0.1, 0.05, 0.04),
    ] if clipped_by_value else [
        ("sgd", sgd, None, 0.1),
        ("sgd with weight decay", {**sgd, "weight_decay": 0.2}, None, 0.1),
        ("sgd with momentum", {**sgd, "momentum": 0.9}, None, 0.1),
        ("sgd with momentum and weight decay", {**sgd, "momentum": 0.5, "weight_decay": 0.1}, None, 0.1),
        ("nesterov", {**sgd, "momentum": 0.9, "nesterov": True}, None, 0.1),
        ("nesterov with weight decay", {**sgd, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}, None, 0.1),
        ("adam", adam, None, 0.05),
        ("adam with weight decay", {**adam, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3, "weight_decay": 0.1}, None, 0.05),
        ("adam_w", adam_w, None, 0.05),
        ("adam_w with strong decay", {**adam_w, "weight_decay": 0.5, "beta1": 0.7}, None, 0.05),
        ("clipped sgd", sgd, 0.3, 0.5),
        ("sgd within its bound", sgd, 1000.0, 0.1),
        ("clipped adam", adam, 0.1, 0.05),
    ]
    for name, optimizer, clip_norm, learning_rate, *clip_value in settings:
        x, target = normal(5, 4), normal(5, 2)
        parameters = {
            key: value.requires_grad_()
            for key, value in {
                "f1.weight": normal(3, 4),
                "f1.bias": normal(3),
                "f2.weight": normal(2, 3),
            }.items()
        }
        first = {key: array(value) for key, value in parameters.items()}
        settings = {"weight_decay": optimizer["weight_decay"], "lr": learning_rate}
        if optimizer["kind"] == "sgd":
            settings |= {"momentum": optimizer["momentum"], "nesterov": optimizer["nesterov"]}
            torch_optimizer = torch.optim.SGD(parameters.values(), **settings)
        else:
            settings |= {"betas": (optimizer["beta1"], optimizer["beta2"]), "eps": optimizer["epsilon"]}
            kind = torch.optim.Adam if optimizer["kind"] == "adam" else torch.optim.AdamW
            torch_optimizer = kind(parameters.values(), **settings)
        steps = []
        for _ in range(STEPS):
            torch_optimizer.zero_grad()
            hidden = torch.tanh(F.linear(x, parameters["f1.weight"], parameters["f1.bias"]))
            loss = F.mse_loss(F.linear(hidden, parameters["f2.weight"]), target)
            loss.backward()
            norm = None
            if clip_value:
                torch.nn.utils.clip_grad_value_(parameters.values(), *clip_value)
            if clip_norm is not None:
                norm = torch.nn.utils.clip_grad_norm_(parameters.values(), clip_norm).item()
            torch_optimizer.step()
            steps.append(
                {
                    "loss": loss.item(),
                    "gradient_norm": norm,
                    "parameters": {key: array(value) for key, value in parameters.items()},
                }
            )
        cases.append(
            {
                "name": name,
                "graph": NETWORK,
                "options": {
                    "loss": "mean_squared_error",
                    "optimizer": optimizer,
                    **({"clip_value": clip_value[0]} if clip_value else {}),
                    "clip_norm": clip_norm,
                },
                "learning_rate": learning_rate,
                "x": array(x),
                "target": array(target),
                "parameters": first,
                "steps": steps,
            }
        )
    return cases


def axes():
    cases = []
    x = normal(2, 3, 4, 2)
    pad = {"op": "pad", "axis": 2, "before": 1, "behind": 2}
    layer(cases, "pad", pad, lambda x: F.pad(x, (0, 0, 1, 2)), [x])
    order = {"op": "transpose", "order": [0, 3, 1, 2]}
    layer(cases, "transpose", order, lambda x: x.permute(0, 3, 1, 2), [x])
    functions = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax}
    for kind, function in functions.items():
        for axis, count in [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2)]:
            op = {"op": "reduce", "kind": kind, "axis": axis, "count": count}
            dims = tuple(range(axis, axis + count))
            layer(cases, f"{kind} {axis} {count}", op, lambda x: function(x, dims), [x])
    # Equal elements share the gradient of the largest.
    equal = torch.tensor([[[1.0, 2.0, 2.0], [2.0, 0.0, 2.0]]])
    op = {"op": "reduce", "kind": "max", "axis": 2, "count": 1}
    layer(cases, "max of equals", op, lambda x: x.amax(2), [equal])
    for divided in [False, True]:
        op = {"op": "expand", "shape": "[N, 3, 5, 2]", "axis": 2, "count": 1, "divided": divided}
        part = 5 if divided else 1
        layer(cases, f"expand {divided}", op, lambda x: x.unsqueeze(2).expand(-1, -1, 5, -1) / part, [normal(2, 3, 2)])
    return cases


def activations():
    """Activations and other functions with slopes of their own."""
    kinds = [
        ("relu6", F.relu6),
        ({"leaky_relu": 0.01}, F.leaky_relu),
        ({"leaky_relu": 0.3}, lambda x: F.leaky_relu(x, 0.3)),
        ({"elu": 1.0}, F.elu),
        ({"elu": 0.7}, lambda x: F.elu(x, 0.7)),
        ("selu", F.selu),
        ("gelu", F.gelu),
        ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh")),
        ("silu", F.silu),
        ("hard_swish", F.hardswish),
        # PyTorch has the slope 1/6 in single precision.
        ("hard_sigmoid", lambda x: F.relu6(x + 3) / 6),
        ("softplus", lambda x: F.softplus(x, threshold=50)),
        ("scaled_tanh", lambda x: 1.7159 * torch.tanh(x * 2 / 3)),
        ("abs", torch.abs),
        ("erf", torch.erf),
        ({"huber": 1.0}, lambda x: F.huber_loss(x, torch.zeros_like(x), reduction="none")),
        ({"huber": 0.4}, lambda x: F.huber_loss(x, torch.zeros_like(x), reduction="none", delta=0.4)),
    ]
    cases = []
    # Usual numbers, and far ones on both sides of every kink.
    x = torch.cat([normal(1, 12), normal(1, 4) * 5, torch.tensor([[-11.5, -6.25, -3.5, 2.75, 6.5, 30.0]])], 1)
    for kind, function in kinds:
        name = kind if isinstance(kind, str) else " ".join(f"{key} {value}" for key, value in kind.items())
        layer(cases, name, {"op": "unary", "kind": kind}, function, [x])
    return cases


def roundings():
    """Roundings of usual numbers, halves, integers and large numbers, whose gradients are 0."""
    x = torch.tensor([[-3.5, -2.5, -1.5, -0.5, -0.25, 0.0, 0.5, 1.5, 2.5, 3.5, 4.0, -7.0, 8388607.5, -16777218.0]])
    x = torch.cat([normal(1, 10) * 3, x], 1)
    cases = []
    for kind in ["floor", "ceil", "round"]:
        layer(cases, kind, {"op": "unary", "kind": kind}, getattr(torch, kind), [x])
    return cases


def trained_losses():
    """Losses of `x + p` with a parameter for each class: the value, and the gradient to the parameter."""
    weights = torch.tensor([0.5, 2.0, 1.0, 0.25])
    plain = weights.tolist()
    cross_entropy = lambda y, t: F.cross_entropy(y, t)
    smooth = lambda y, t: F.cross_entropy(y, t, label_smoothing=0.125)
    weighted = lambda y, t: F.cross_entropy(y, t, weight=weights)
    both = lambda y, t: F.cross_entropy(y, t, weight=weights, label_smoothing=0.25)
    # The mean over all pixels, not over the batch alone.
    divergence = lambda y, t: F.kl_div(y, t, reduction="sum") * y.shape[1] / y.numel()
    kinds = [
        ("cross_entropy", cross_entropy),
        ({"cross_entropy_with": {"label_smoothing": 0.125}}, smooth),
        ({"cross_entropy_with": {"weights": plain}}, weighted),
        ({"cross_entropy_with": {"label_smoothing": 0.25, "weights": plain}}, both),
        ({"negative_log_likelihood": {}}, F.nll_loss),
        ({"negative_log_likelihood": {"weights": plain}}, lambda y, t: F.nll_loss(y, t, weight=weights)),
        ("binary_cross_entropy", F.binary_cross_entropy_with_logits),
        ("mean_squared_error", F.mse_loss),
        ("mean_absolute_error", F.l1_loss),
        ({"huber": {"delta": 0.5}}, lambda y, t: F.huber_loss(y, t, delta=0.5)),
        ("kl_divergence", divergence),
    ]
    cases = []
    for sizes in [(5, 4), (2, 4, 2, 3)]:
        positions = [sizes[0], *sizes[2:]]
        labels = torch.randint(0, 4, positions, generator=generator)
        for loss, function in kinds:
            name = loss if isinstance(loss, str) else next(iter(loss))
            takes_labels = name in ("cross_entropy", "cross_entropy_with", "negative_log_likelihood")
            x, p = normal(*sizes), normal(4).requires_grad_()
            target = labels if takes_labels else normal(*sizes)
            if name in ("binary_cross_entropy", "kl_divergence"):
                # Probabilities, some of which are 0.
                target = (target.abs() / 4).clamp(0, 1) * (normal(*sizes) > -0.5)
            y = x + channels(x, p)
            value = function(y, target)
            value.backward()
            cases.append(
                {
                    "loss": loss,
                    "x": array(x),
                    "p": array(p),
                    "target": array(target),
                    "value": value.item(),
                    "gradient": array(p.grad),
                }
            )
    return cases


def write(name, cases):
    lines = ",\n".join(json.dumps(case, separators=(",", ":"), allow_nan=False) for case in cases)
    Path(__file__).with_name(f"{name}.json").write_text(f"[\n{lines}\n]\n")


write("conv", convolutions())
write("pool", pools())
write("normalisation", normalisations())
write("elements", elements())
write("loss", losses())
cases_of_optimizers = optimizers(False)
write("edge", edges())
write("axes", axes())
write("activations", activations())
write("trained_loss", trained_losses())
write("optimizer", cases_of_optimizers + optimizers(True))
write("rounding", roundings())
