#!/usr/bin/env python3
"""Draws random stacks of layers and writes what PyTorch computes of them in double precision: results, training steps, and
how far rounding to single precision moves each. The runner of this crate compares Windlass with it.

Needs Python 3.10 and:  pip install torch numpy safetensors

    python draw.py --networks 5000 --seed 1 --out DIR       # one part-*.jsonl and part-*.safetensors for 100 networks
    python draw.py --out DIR --confirm n00042               # more samples of rounding for one network
"""

import argparse
import json
import random
from pathlib import Path

import numpy
import torch
from safetensors.numpy import save_file

import stacks
from rounding import Layers, Noise

# Half an f32's step at 1: the largest relative error of one rounding.
UNIT = 2.0**-24
# The same in double precision.
DOUBLE_UNIT = 2.0**-53
# Samples are drawn with errors so many times as large, and deviations divided by it: a decision that rounding might turn
# is turned in some sample.
BOOST = 16
SAMPLES = 4
# As in `src/judge.rs`, which says what they mean.
FACTOR, FLOOR, LOOSE, WHOLE = 16, 8, 0.01, 1 / 64
CONFIRM_SAMPLES = 64
# How often numbers are drawn again because a ReLU or a max pooling hangs in the balance, or because rounding alone moves
# results by much; and how many stacks are drawn with so many numbers each.
ATTEMPTS, STACKS = 4, 3
PART = 100


class NearKink(Exception):
    """Some ReLU or max pooling may fall otherwise in single precision: gradients are not comparable."""


def tensors(arrays):
    labels = lambda name, array: torch.from_numpy(array).to(torch.int64 if name == "labels" else torch.float64)
    return {name: labels(name, array).clone() for name, array in arrays.items()}


def forward(network, arrays, noise):
    with torch.no_grad():
        values = Layers(noise).run(network, tensors(arrays), training=False)
    return {f"forward/{name}": values[at] for name, at in network["outputs"].items()}


def make_optimizer(network, sources, trained):
    """PyTorch's optimiser, in the state that the network's numbers describe."""
    settings = network["training"]["optimizer"]
    kind, common = settings["kind"], {"lr": network["learning_rate"], "weight_decay": settings["weight_decay"]}
    parameters = list(trained.values())
    if kind == "sgd":
        optimizer = torch.optim.SGD(parameters, momentum=settings["momentum"], nesterov=settings["nesterov"], **common)
        names = {"velocity": "momentum_buffer"} if settings["momentum"] else {}
    else:
        make = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
        optimizer = make(parameters, betas=(settings["beta1"], settings["beta2"]), eps=settings["epsilon"], **common)
        names = {"first_moment": "exp_avg", "second_moment": "exp_avg_sq"}
    for name, parameter in trained.items():
        state = {ours: sources[f"optimizer.{theirs}.{name}"] for theirs, ours in names.items()}
        if kind != "sgd":
            state["step"] = torch.tensor(float(network["steps_before"]))
        optimizer.state[parameter] = state
    return optimizer, names


def train(network, shapes, arrays, noise=None, like=None):
    """The steps of training, and the layers as they ran, for their decisions."""
    sources = tensors(arrays)
    options = network["training"]
    names = [name for name, _ in stacks.parameters(network, shapes)]
    trained = {name: sources[name].requires_grad_() for name in names if name not in options["frozen"]}
    optimizer, states = make_optimizer(network, sources, trained)
    layers, results = Layers(noise, like), {}
    for step in range(1, network["steps"] + 1):
        optimizer.zero_grad()
        values = layers.run(network, sources, training=True)
        loss = layers.loss(options["loss"], values[network["outputs"]["y"]], sources)
        results[f"step{step}/loss"] = loss.detach()
        for name, at in network["outputs"].items():
            results[f"step{step}/{name}"] = values[at].detach()
        if not loss.requires_grad:
            raise ValueError("nothing to train")
        loss.backward()
        moved = {name: value for name, value in trained.items() if value.grad is not None}
        if "clip_norm" in options:
            norm = torch.nn.utils.clip_grad_norm_(moved.values(), options["clip_norm"])
            results[f"step{step}/gradient_norm"] = norm.detach()
        written = {name: value for name, value in moved.items()}
        for name, value in moved.items():
            for ours, theirs in states.items():
                written[f"optimizer.{ours}.{name}"] = optimizer.state[value][theirs]
        before = {name: value.detach().clone() for name, value in written.items()}
        optimizer.step()
        if noise is not None:
            with torch.no_grad():
                for name, value in written.items():
                    value.copy_(noise.on(value, before[name].abs() + value.abs()))
        written |= {
            name: value
            for name, value in sources.items()
            if ".running_" in name and not stacks.is_fixed(name.split(".")[0], options["frozen"])
        }
        results |= {f"step{step}/{name}": value.detach().clone() for name, value in written.items()}
    return results, layers


def untrained(network, shapes):
    """Why PyTorch cannot tell what training does, or nothing."""
    for layer in network["layers"]:
        if layer["layer"] == "dropout" and layer["rate"] > 0:
            return "dropout draws masks of its own"
        if layer["layer"] == "batch_norm":
            shape = shapes[layer["from"][0]]
            if network["batch"] * int(numpy.prod(shape[1:])) == 1:
                return "batch normalisation of one element"
    names = {name for name, _ in stacks.parameters(network, shapes)}
    if not names - set(network["training"]["frozen"]):
        return "nothing to train"
    return None


def widen(deviations, exact, sample):
    for name, value in exact.items():
        moved = (sample[name] - value).abs().max().item() / BOOST
        deviations[name] = max(deviations.get(name, 0.0), moved)


def evaluate(network, shapes, arrays, samples, first_sample=0, unit=UNIT):
    """Results, what rounding of relative size `unit` moves each by, and why there is no training step."""
    results, deviations = forward(network, arrays, None), {}
    for sample in range(samples):
        noise = Noise(BOOST * unit, first_sample + sample)
        widen(deviations, results, forward(network, arrays, noise))
    reason = untrained(network, shapes)
    if reason is None:
        try:
            trained, layers = train(network, shapes, arrays)
        except ValueError as error:
            return results, deviations, str(error)
        for sample in range(samples):
            noise = Noise(BOOST * unit, first_sample + 1_000_000 + sample)
            moved, noisy = train(network, shapes, arrays, noise, layers)
            if noisy.is_near_kink():
                raise NearKink
            widen(deviations, trained, moved)
        results |= trained
    return results, deviations, reason


def kind(result):
    """What is measured by the same scale: parameters, and each kind of state of the optimiser, of a step."""
    step, name = result.split("/")
    if name.startswith("optimizer."):
        return step, name.split(".")[1]
    is_parameter = "." in name and ".running_" not in name
    return step, "parameter" if is_parameter else name


def is_loose(results, deviations):
    """Whether rounding alone moves some result by much."""
    largest, whole = {name: value.abs().max().item() for name, value in results.items()}, {}
    for name, size in largest.items():
        whole[kind(name)] = max(whole.get(kind(name), 0.0), size)
    bounds = {name: FACTOR * deviations[name] + FLOOR * UNIT * size for name, size in largest.items()}
    return any(bounds[name] > LOOSE * max(size, WHOLE * whole[kind(name)]) for name, size in largest.items())


def drawn(seed, index, small, attempt):
    """The network that an attempt makes, the same for the same arguments."""
    network, shapes = stacks.draw(random.Random(f"stack {seed} {index} {small} {attempt // ATTEMPTS}"), small)
    arrays = stacks.numbers(random.Random(f"numbers {seed} {index} {attempt}"), network, shapes)
    return network, shapes, arrays


def without_training(network, shapes, arrays, samples, first_sample=0):
    """As `evaluate`, of the results at inference alone."""
    options = {**network["training"], "frozen": [name for name, _ in stacks.parameters(network, shapes)]}
    return evaluate({**network, "training": options}, shapes, arrays, samples, first_sample)


def write_network(seed, index, small, file):
    """One network: its line, and its tensors."""
    for attempt in range(ATTEMPTS * STACKS):
        network, shapes, arrays = drawn(seed, index, small, attempt)
        try:
            results, deviations, reason = evaluate(network, shapes, arrays, SAMPLES)
        except NearKink:
            # Mostly a tie that every choice of numbers has. Results are comparable, gradients are not.
            if attempt % ATTEMPTS < ATTEMPTS - 1:
                continue
            results, deviations, _ = without_training(network, shapes, arrays, SAMPLES)
            reason = "a ReLU or max pooling hangs in the balance"
        if not is_loose(results, deviations):
            break
    if reason is not None:
        del network["training"]
        arrays = {name: array for name, array in arrays.items() if not name.startswith("optimizer.")}
        network["untrained"] = reason
    name = f"n{index:05}"
    line = {"name": name, "file": file, "drawn": [seed, index, small, attempt], **network, "deviations": deviations}
    arrays = {f"{name}/{key}": numpy.ascontiguousarray(array) for key, array in arrays.items()}
    arrays |= {f"{name}/{key}": numpy.ascontiguousarray(value.numpy()) for key, value in results.items()}
    return line, arrays


def write_part(out, seed, first, last, small):
    name = f"part-{first:05}"
    lines, arrays = [], {}
    for index in range(first, last):
        line, more = write_network(seed, index, small, f"{name}.safetensors")
        lines.append(json.dumps(line, separators=(",", ":"), allow_nan=False))
        arrays |= more
    save_file(arrays, out / f"{name}.safetensors")
    (out / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    trained = sum("training" in json.loads(line) for line in lines)
    print(f"{name}: {len(lines)} networks, {trained} trained", flush=True)


def confirm(out, wanted):
    """Samples the rounding of a network that was found to disagree more often, and adds what comes out to `confirmed.jsonl`,
    which the runner reads.
    """
    lines = [json.loads(line) for path in sorted(out.glob("part-*.jsonl")) for line in path.read_text().splitlines()]
    line = next((line for line in lines if line["name"] == wanted), None)
    if line is None:
        raise SystemExit(f"no network `{wanted}` in {out}")
    network, shapes, arrays = drawn(*line["drawn"])
    if any(key in line and line[key] != value for key, value in network.items()):
        raise SystemExit(f"another version of this script drew `{wanted}`")
    found = {"name": wanted, "near_kink": False}
    try:
        _, found["deviations"], _ = evaluate(network, shapes, arrays, CONFIRM_SAMPLES, first_sample=SAMPLES)
    except NearKink:
        found["near_kink"] = True
        _, found["deviations"], _ = without_training(network, shapes, arrays, CONFIRM_SAMPLES, first_sample=SAMPLES)
    # Where an optimiser's step no longer grows with its gradient, deviations do not scale to double precision.
    _, found["double_deviations"], _ = evaluate(network, shapes, arrays, CONFIRM_SAMPLES, SAMPLES, DOUBLE_UNIT)
    with open(out / "confirmed.jsonl", "a") as file:
        file.write(json.dumps(found, separators=(",", ":"), allow_nan=False) + "\n")
    for name, deviation in found["deviations"].items():
        print(f"{name}: {line['deviations'].get(name, 0.0):.3e} before, {deviation:.3e} now")
    print("near a kink: training is not comparable" if found["near_kink"] else "no decision hangs in the balance")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=100, help="how many networks")
    parser.add_argument("--first", type=int, default=0, help="the number of the first: parts can be drawn apart")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="a folder, made if it is missing")
    parser.add_argument("--small", action="store_true", help="networks of a few hundred numbers")
    parser.add_argument("--confirm", metavar="NAME", help="samples one network of the folder again")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.confirm:
        confirm(arguments.out, arguments.confirm)
        return
    end = arguments.first + arguments.networks
    for first in range(arguments.first, end, PART):
        write_part(arguments.out, arguments.seed, first, min(first + PART, end), arguments.small)


if __name__ == "__main__":
    main()
