"""ConvLSTM and ConvGRU against their own step in a torch loop: python -m benchmarks.convolutions

A training step over images of several sizes, forward and backward for the inputs and all parameters. Before anything is
timed, outputs and gradients of the two are compared; where they differ no speed is printed. Both run by turns; each
figure is a median.
"""

from __future__ import annotations

import argparse
import sys

import torch

from benchmarks.cells import against_loop
from recurra.cells import make_cell

# steps, sequences, channels of input and state, side of an image
SIZES = [(100, 32, 8, 4), (50, 16, 16, 8), (20, 16, 16, 16), (10, 8, 32, 32), (10, 4, 64, 32), (10, 4, 16, 64)]


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.convolutions", description=__doc__)
    options.add_argument("--threads", type=int, default=2, help="threads of torch and of the compiled engine")
    options.add_argument("--seconds", type=float, default=4.0, help="for each cell and size, but three turns at least")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    print("| cell | T, B | channels | image | ms | torch loop, ms | times as fast |")
    print("|---|---|---:|---|---:|---:|---:|")
    for name in ("convlstm", "convgru"):
        for num_steps, batch_size, channels, side in SIZES:
            torch.manual_seed(0)
            cell = make_cell(name, channels, channels, size=(side, side))
            x = torch.randn(num_steps, batch_size, *cell.input_shape)
            ours, theirs = against_loop(cell, x, given.seconds)
            sizes = f"{num_steps}, {batch_size} | {channels} | {side} x {side}"
            print(f"| {name} | {sizes} | {ours:.1f} | {theirs:.1f} | {theirs / ours:.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
