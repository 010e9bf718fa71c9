"""Writes `adaptive.json`: steps of PyTorch's RMSprop, Adagrad and Adadelta, of Lion, of parameter groups, and running
averages of the parameters.

Run with a Python that has torch, from this folder: `python optimizers.py`. Everything is computed in double precision;
`compiler/tests/golden.rs` reads the file. PyTorch has no Lion: it is written out below, after algorithm 2 of Chen and
others (2023), arXiv:2302.06675.
"""

import json
from pathlib import Path

import torch
from common import array, normal
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_avg_fn

STEPS = 4
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


class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr, betas, weight_decay):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                direction = torch.sign(beta1 * m + (1 - beta1) * p.grad)
                p.sub_(group["lr"] * (direction + group["weight_decay"] * p))
                m.copy_(beta2 * m + (1 - beta2) * p.grad)


def torch_optimizer(settings, groups, rate):
    settings = dict(settings)
    kind = settings.pop("kind")
    if "epsilon" in settings:
        settings["eps"] = settings.pop("epsilon")
    if "beta1" in settings:
        settings["betas"] = (settings.pop("beta1"), settings.pop("beta2"))
    kinds = {
        "rms_prop": torch.optim.RMSprop,
        "adagrad": torch.optim.Adagrad,
        "adadelta": torch.optim.Adadelta,
        "lion": Lion,
        "sgd": torch.optim.SGD,
        "adam_w": torch.optim.AdamW,
    }
    return kinds[kind](groups, lr=rate, **settings)


RMS = {"kind": "rms_prop", "alpha": 0.99, "epsilon": 1e-8, "momentum": 0.0, "centered": False, "weight_decay": 0.0}
ADAGRAD = {"kind": "adagrad", "epsilon": 1e-10, "weight_decay": 0.0}
ADADELTA = {"kind": "adadelta", "rho": 0.9, "epsilon": 1e-6, "weight_decay": 0.0}
LION = {"kind": "lion", "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0}
SGD = {"kind": "sgd", "momentum": 0.9, "nesterov": False, "weight_decay": 0.1}
ADAM_W = {"kind": "adam_w", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.01}
BIASES = {"pattern": "*.bias", "rate": 2.0, "weight_decay": 0.0}
CASES = [
    ("rms_prop", RMS, 0.01, [], None),
    ("rms_prop with momentum", {**RMS, "momentum": 0.9, "alpha": 0.9}, 0.01, [], None),
    ("centered rms_prop", {**RMS, "centered": True, "alpha": 0.8, "epsilon": 1e-3}, 0.01, [], None),
    ("centered rms_prop with all", {**RMS, "centered": True, "momentum": 0.5, "weight_decay": 0.2}, 0.01, [], None),
    ("adagrad", ADAGRAD, 0.1, [], None),
    ("adagrad with weight decay", {**ADAGRAD, "weight_decay": 0.1, "epsilon": 1e-3}, 0.1, [], None),
    ("adadelta", ADADELTA, 1.0, [], None),
    ("adadelta with weight decay", {**ADADELTA, "rho": 0.5, "epsilon": 1e-3, "weight_decay": 0.1}, 0.7, [], None),
    ("lion", LION, 0.01, [], None),
    ("lion with weight decay", {**LION, "beta1": 0.5, "weight_decay": 0.3}, 0.02, [], None),
    ("groups of sgd", SGD, 0.1, [BIASES, {"pattern": "f2", "rate": 0.25}], None),
    ("groups of adam_w", ADAM_W, 0.05, [{"pattern": "f1.weight", "weight_decay": 0.5}, BIASES], None),
    ("groups of lion", {**LION, "weight_decay": 0.1}, 0.02, [BIASES], 0.75),
    ("averages", SGD, 0.1, [], 0.9),
]


def in_group(pattern, name):
    return name.endswith(pattern[1:]) if pattern[0] == "*" else name == pattern or name.startswith(pattern + ".")


def case(name, settings, rate, groups, decay):
    x, target = normal(5, 4), normal(5, 2)
    parameters = {"f1.weight": normal(3, 4), "f1.bias": normal(3), "f2.weight": normal(2, 3)}
    parameters = {key: value.requires_grad_() for key, value in parameters.items()}
    first = {key: array(value) for key, value in parameters.items()}
    torch_groups = []
    for key, value in parameters.items():
        group = next((group for group in groups if in_group(group["pattern"], key)), {})
        torch_group = {"params": [value], "lr": rate * group.get("rate", 1.0)}
        torch_group["weight_decay"] = group.get("weight_decay", settings["weight_decay"])
        torch_groups.append(torch_group)
    optimizer = torch_optimizer(settings, torch_groups, rate)
    averages, steps = {}, []
    for step in range(STEPS):
        optimizer.zero_grad()
        hidden = torch.tanh(F.linear(x, parameters["f1.weight"], parameters["f1.bias"]))
        loss = F.mse_loss(F.linear(hidden, parameters["f2.weight"]), target)
        loss.backward()
        optimizer.step()
        updated = {key: array(value) for key, value in parameters.items()}
        if decay is not None:
            for key, value in parameters.items():
                value = value.detach().clone()
                averages[key] = get_ema_avg_fn(decay)(averages[key], value, step) if step else value
                updated[f"optimizer.average.{key}"] = array(averages[key])
        steps.append({"loss": loss.item(), "gradient_norm": None, "parameters": updated})
    options = {"loss": "mean_squared_error", "optimizer": settings, "groups": groups, "average": decay is not None}
    return {
        "name": name,
        "graph": NETWORK,
        "options": options,
        "learning_rate": rate,
        "average_decay": decay,
        "x": array(x),
        "target": array(target),
        "parameters": first,
        "steps": steps,
    }


cases = [case(*settings) for settings in CASES]
lines = ",\n".join(json.dumps(case, separators=(",", ":"), allow_nan=False) for case in cases)
Path(__file__).with_name("adaptive.json").write_text(f"[\n{lines}\n]\n")
