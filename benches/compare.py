#!/usr/bin/env python3
"""Times Windlass and other libraries in turn, and prints how they compare.

    compare.py --peers "python3 peers.py" infer --threads 1 --batch 1 lenet googlenet
    compare.py --peers "python3 peers.py" table

The command of --peers (or of the environment variable PEERS) is given the same mode, threads, batch, budget and case
as Windlass' own benchmark, and must print JSON lines of the same form, one for each library:

    {"case": "lenet", "mode": "infer", "batch": 1, "threads": 1, "peer": "pytorch", "ms": 0.11}

`table` runs every row of the table in benches/README.md, on one thread and on two, and prints it.

Each case is run in turn, peers then Windlass, as often as --rounds says, and the median of the rounds counts: only
figures of one sitting compare. The last column is the time of the best peer over that of Windlass: above 1, Windlass is
the fastest.
"""
import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys

CASES = ["lenet", "mobilenet_v1", "nin", "googlenet", "alexnet", "resnet18", "densenet121", "resnet50", "vgg11", "vgg16"]
OURS = "windlass"
# The rows of the table: mode, batch size, network, further arguments for Windlass alone.
ROWS = [
    ("infer", 1, "lenet", []), ("infer", 64, "lenet", []), ("infer", 1, "nin", []), ("infer", 1, "googlenet", []),
    ("infer", 1, "alexnet", []), ("infer", 1, "vgg16", []), ("infer", 1, "vgg16", ["--strict"]),
    ("infer", 1, "mobilenet_v1", []), ("infer", 1, "resnet18", []), ("infer", 1, "resnet50", []), ("infer", 1, "densenet121", []),
    ("train", 64, "lenet", []), ("train", 256, "lenet", []), ("train", 8, "alexnet", []),
    ("train", 8, "googlenet", []), ("train", 4, "vgg11", []),
    ("train", 8, "resnet18", []), ("train", 8, "densenet121", []),
]


def run(command, arguments):
    """The JSON lines that a command prints; what it says on standard error passes through."""
    finished = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, text=True)
    if finished.returncode != 0:
        sys.exit(f"compare.py: `{shlex.join(command)}` failed with status {finished.returncode}")
    return [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]


def milliseconds(case, options, commands, own=()):
    """The median over all rounds, by peer; the last command, our own, is given further arguments."""
    arguments = [options.mode, "--threads", str(options.threads), "--batch", str(options.batch),
                 "--budget", str(options.budget), case]
    times = {}
    for index in range(options.rounds):
        # Once compared with the interpreter, a program need not be again.
        further = [*own, "--unchecked"] if index > 0 or options.unchecked else own
        for command in commands:
            for line in run(command, [*arguments, *further] if command is commands[-1] else arguments):
                times.setdefault(line["peer"], []).append(line["ms"])
    return {peer: statistics.median(rounds) for peer, rounds in times.items()}


def table(rows):
    """Rows of text, aligned: the first column left, the others right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        print("  ".join(cells))


def full_table(options, commands):
    """Every row, on one thread and on two, as Markdown."""
    print(f"| mode | batch | network | threads | best of the others | ms | {OURS} ms | others / {OURS} |")
    print("|---|---:|---|---:|---|---:|---:|---:|")
    for mode, batch, case, own in ROWS:
        for threads in [1, 2]:
            options.mode, options.batch, options.threads = mode, batch, threads
            times = milliseconds(case, options, commands, own)
            ours = times.pop(OURS)
            best = min(times, key=times.get)
            name = " ".join([case, *own])
            print(f"| {mode} | {batch} | {name} | {threads} | {best} | {times[best]:.3f} | {ours:.3f} "
                  f"| {times[best] / ours:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["infer", "train", "table"])
    parser.add_argument("cases", nargs="*", help="all of " + ", ".join(CASES) + " by default")
    parser.add_argument("--peers", default=os.environ.get("PEERS"), help="command that times the other libraries")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--budget", type=float, default=2.0, help="seconds a figure")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--unchecked", action="store_true", help="without the comparison with the interpreter")
    options = parser.parse_intermixed_args()
    if not options.peers:
        parser.error("say how to run the other libraries: --peers \"python3 peers.py\"")

    manifest = pathlib.Path(__file__).resolve().parent.parent / "Cargo.toml"
    cargo = [os.environ.get("CARGO", "cargo"), "bench", "--quiet", "--manifest-path", str(manifest), "--bench", "zoo"]
    if subprocess.run([*cargo, "--no-run"]).returncode != 0:
        sys.exit("compare.py: Windlass does not build")
    commands = [shlex.split(options.peers), [*cargo, "--", "--json"]]

    if options.mode == "table":
        return full_table(options, commands)
    measured = {}
    for case in options.cases or CASES:
        measured[case] = milliseconds(case, options, commands)
    peers = list(dict.fromkeys(peer for times in measured.values() for peer in times if peer != OURS))
    rows = [["case", *peers, OURS, "best peer / " + OURS]]
    for case, times in measured.items():
        best = min((times[peer] for peer in peers if peer in times), default=float("nan"))
        figures = [f"{times[peer]:.3f}" if peer in times else "-" for peer in [*peers, OURS]]
        rows.append([case, *figures, f"{best / times[OURS]:.2f}"])
    print(f"{options.mode}, batch {options.batch}, threads {options.threads}: ms")
    table(rows)


if __name__ == "__main__":
    main()
