"""Whether anything is left behind: 10,000 training steps of one cell, as many over ragged batches of new sizes, as many
over sequences of new lengths, and 500 cells that are compiled and forgotten.

    python -m benchmarks.leaks

Prints the memory of the process as it goes, and ends with 1 where the second half of the work took more than `ALLOWED`
MiB: what the first half takes is kept to be used again (the arena, the latest pieces of code) and has a limit.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import torch

import recurra

ALLOWED = 16.0  # MiB


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.leaks", description=__doc__)
    options.add_argument("--calls", type=int, default=10_000)
    options.add_argument("--compiles", type=int, default=500)
    given = options.parse_args()
    if not Path("/proc/self/statm").exists():
        print("The memory of a process is read from /proc, which is not here: nothing was measured.")
        return 0
    os.environ["RECURRA_CACHE_DIR"] = ""  # compiled anew, not read from the disk
    cell = recurra.GRU(16, 32)
    x = torch.randn(20, 8, 16)
    grown = watch("calls", given.calls, lambda _: step(cell, x))
    grown += watch("ragged", given.calls, lambda _: ragged_step(cell, random.randint(1, 40)))
    grown += watch("padded", given.calls, lambda _: step(cell, torch.randn(random.randint(1, 400), 1, 16)))
    grown += watch("compiles", given.compiles, compile_one)
    return 1 if grown > 4 * ALLOWED else 0


def compile_one(index: int) -> None:
    """A cell of sizes that none before had, small or large, with loops of its own."""
    input_size, hidden_size = 3 + index % 25, 5 + index * 211 % 500
    step(recurra.GRU(input_size, hidden_size), torch.randn(2, 2, input_size))


def step(cell: recurra.Cell, x: torch.Tensor) -> None:
    recurra.scan(cell, x, engine="compiled")[0].sum().backward()


def ragged_step(cell: recurra.Cell, batch: int) -> None:
    x = recurra.Ragged.from_list([torch.randn(random.randint(0, 30), 16) for _ in range(batch)])
    recurra.scan(cell, x, engine="compiled")[0].values.sum().backward()


def watch(what: str, count: int, work: Callable[[int], None]) -> float:
    """Do it `count` times; MiB that the second half of them took."""
    seen = []
    for index in range(count):
        work(index)
        if (index + 1) % (count // 10) == 0:
            gc.collect()
            seen.append(resident())
            print(f"{index + 1:6,} {what}: {seen[-1]:7.1f} MiB", flush=True)
    grown = seen[-1] - seen[len(seen) // 2 - 1]
    print(f"{what}: the second half took {grown:+.1f} MiB", flush=True)
    return max(0.0, grown)


def resident() -> float:
    """MiB of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    sys.exit(main())
