"""Recurrent layers against torch.nn: time of a forward and backward pass, as medians.

The tests of what is measured run first; where they fail there is nothing to measure. All sides run by turns, each for
some milliseconds, so that a noisy machine is noisy for all.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

import recurra
import recurra.nn
from benchmarks.layers import interleaved

TESTS = ("tests/engine", "tests/cells", "tests/nn", "tests/networks/test_recurrent.py")
SHAPES = [(16, 32, 64), (100, 32, 64), (100, 32, 256), (256, 1, 64), (50, 64, 512)]  # T, B, H; I is H
CELLS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("--seconds", type=float, default=2, help="for each line of the table")
    options.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    options.add_argument("--skip-tests", action="store_true", help="measure what may be wrong")
    given = options.parse_args()
    if not given.skip_tests and subprocess.run([sys.executable, "-m", "pytest", *TESTS], check=False).returncode:
        print("Tests fail: no speed of wrong numbers.", file=sys.stderr)
        return 1
    torch.set_num_threads(given.threads)
    print(f"torch {torch.__version__}, {given.threads} threads, commit {_commit()}, float32, medians")
    print(f"{'forward + backward':28} {'Recurrent':>10} {'recurra.nn':>10} {'torch.nn':>10}   times as fast")
    for name, theirs in CELLS.items():
        for num_steps, batch_size, size in SHAPES:
            x = torch.randn(num_steps, batch_size, size)
            network = recurra.Recurrent(getattr(recurra, name)(size, size))
            modules = {"": network, "nn": getattr(recurra.nn, name)(size, size), "torch": theirs(size, size)}
            passes = {side: _pass(module, x) for side, module in modules.items()}
            ours, drop_in, torchs = (1000 * time for time in interleaved(passes, given.seconds).values())
            label = f"{name:4} T={num_steps} B={batch_size} H={size}"
            times = f"{ours:7.2f} ms {drop_in:7.2f} ms {torchs:7.2f} ms"
            print(f"{label:28} {times}   {torchs / ours:5.2f} {torchs / drop_in:5.2f}")
    return 0


def _pass(network: nn.Module, x: Tensor) -> Callable[[], None]:
    def run() -> None:
        network.zero_grad()
        network(x)[0].sum().backward()

    return run


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
