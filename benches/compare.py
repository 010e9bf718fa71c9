#!/usr/bin/env python3
"""Times Windlass and other libraries in turn, and prints how they compare.

    compare.py --peers "python3 peers.py" infer --threads 1 --batch 1 lenet googlenet

The command of --peers (or of the environment variable PEERS) is given the same mode, threads, batch, budget and case
as Windlass' own benchmark, and must print JSON lines of the same form, one for each library:

    {"case": "lenet", "mode": "infer", "batch": 1, "threads": 1, "peer": "pytorch", "ms": 0.11}

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

CASES = ["lenet", "nin", "googlenet", "alexnet", "vgg11", "vgg16"]
OURS = "windlass"


def run(command, arguments):
    """The JSON lines that a command prints; what it says on standard error passes through."""
    finished = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, text=True)
    if finished.returncode != 0:
        sys.exit(f"compare.py: `{shlex.join(command)}` failed with status {finished.returncode}")
    return [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]


def milliseconds(case, options, commands):
    """The median over all rounds, by peer."""
    arguments = [options.mode, "--threads", str(options.threads), "--batch", str(options.batch),
                 "--budget", str(options.budget), case]
    times = {}
    for _ in range(options.rounds):
        for command in commands:
            for line in run(command, arguments):
                times.setdefault(line["peer"], []).append(line["ms"])
    return {peer: statistics.median(rounds) for peer, rounds in times.items()}


def table(rows):
    """Rows of text, aligned: the first column left, the others right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        print("  ".join(cells))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["infer", "train"])
    parser.add_argument("cases", nargs="*", help="all of " + ", ".join(CASES) + " by default")
    parser.add_argument("--peers", default=os.environ.get("PEERS"), help="command that times the other libraries")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--budget", type=float, default=2.0, help="seconds a figure")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_intermixed_args()
    if not options.peers:
        parser.error("say how to run the other libraries: --peers \"python3 peers.py\"")

    manifest = pathlib.Path(__file__).resolve().parent.parent / "Cargo.toml"
    cargo = [os.environ.get("CARGO", "cargo"), "bench", "--quiet", "--manifest-path", str(manifest), "--bench", "zoo"]
    if subprocess.run([*cargo, "--no-run"]).returncode != 0:
        sys.exit("compare.py: Windlass does not build")
    commands = [shlex.split(options.peers), [*cargo, "--", "--json"]]

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
