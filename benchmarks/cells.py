"""Every cell of the library against its own step in a torch loop: python -m benchmarks.cells

A training step, forward and backward for the inputs and all parameters, as `engine="auto"` runs it and as a loop over
`cell.step` in Python does. Before a cell is timed, outputs and gradients of the two are compared; where they differ no
speed is printed. Both run by turns; each figure is a median. A cell that is not compiled is listed with the reason.
Cells of images have their I and H numbers in channels of 4 x 4.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import recurra
from benchmarks.layers import interleaved, machine
from recurra.cells import CELLS, make_cell
from recurra.engine.compiled import compiled
from recurra.engine.contract import kernel_of
from recurra.errors import CompileError

SIZES = {"T": 100, "B": 32, "I": 128, "H": 128}
GOAL = 5.0  # times as fast as the loop


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.cells", description=__doc__)
    options.add_argument("--cells", nargs="+", choices=list(CELLS), default=list(CELLS), help="leave others out")
    options.add_argument("--threads", type=int, default=2, help="threads of torch and of the compiled engine")
    options.add_argument("--seconds", type=float, default=2.0, help="for each cell, but three turns at least")
    options.add_argument("--cell-options", type=json.loads, default={}, metavar="JSON", help="options of the cells")
    options.add_argument("--json", type=Path, help="file for the figures")
    for letter, size in SIZES.items():
        options.add_argument(f"-{letter}", type=int, default=size, metavar="INTEGER", help=f"default {size}")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    sizes = {letter: getattr(given, letter) for letter in SIZES}
    rows = []
    for name in given.cells:
        rows.append(measure(name, sizes, given.seconds, given.cell_options))
        print(_line(rows[-1]), flush=True)
    found = {"machine": machine(given.threads), "sizes": sizes, "cells": rows}
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(_page(found))
    return 1 if any(row.get("differs") for row in rows) else 0


def measure(name: str, sizes: dict[str, int], seconds: float, cell_options: dict[str, Any]) -> dict[str, Any]:
    """One cell: milliseconds of both, and the ratio; or the reason why there is none."""
    torch.manual_seed(0)
    cell = _cell(name, sizes["I"], sizes["H"], cell_options)
    row: dict[str, Any] = {"cell": name, "parameters": sum(parameter.numel() for parameter in cell.parameters())}
    x = torch.randn(sizes["T"], sizes["B"], *cell.input_shape)
    try:
        row["engine"] = _engine(cell, x)
    except CompileError as error:
        return {**row, "engine": "reference", "reason": str(error)}
    # the same in double precision; in single, where a hundred roundings add up, only nearly so
    few = x[:7]
    for checked, steps, limit in ((copy.deepcopy(cell).double(), few.double(), 1e-9), (cell, few, 1e-3)):
        error = difference(checked, steps)
        if not error < limit:
            return {**row, "differs": error}
    runs = {"ours": train(cell, x, scanned), "loop": train(cell, x, loop)}
    row["ms"] = {side: 1e3 * value for side, value in interleaved(runs, seconds, rounds=3).items()}
    row["ratio"] = row["ms"]["loop"] / row["ms"]["ours"]
    return row


def _cell(name: str, input_size: int, hidden_size: int, options: dict[str, Any]) -> recurra.Cell:
    """A cell with I numbers in and H units; one of images has them in channels of 4 x 4."""
    if "size" in getattr(CELLS[name], "example_options", {}):
        return make_cell(name, max(1, input_size // 16), max(1, hidden_size // 16), size=(4, 4), **options)
    return make_cell(name, input_size, hidden_size, **options)


def _engine(cell: recurra.Cell, x: Tensor) -> str:
    """What `auto` takes for inputs like these.

    Raises:
        CompileError: it takes the Python loop; the message says why.
    """
    kernel = kernel_of(cell)
    if kernel is not None and kernel.supports(x) and kernel.is_fast(recurra.Ragged.from_padded(x)):
        return type(kernel).__name__
    compiled(cell, x.dtype)
    return "compiled"


def scanned(cell: recurra.Cell, x: Tensor) -> Tensor:
    """The outputs [T, B, *output_shape] as `engine="auto"` gives them."""
    return recurra.scan(cell, x)[0]


def loop(cell: recurra.Cell, x: Tensor) -> Tensor:
    """The same by a loop over the step."""
    state, outputs = cell.initial_state(x.shape[1], dtype=x.dtype), []
    for step in x:
        output, state = cell.step(step, state)
        outputs.append(output)
    return torch.stack(outputs)


def train(
    cell: recurra.Cell, x: Tensor, run: Callable[[recurra.Cell, Tensor], Tensor]
) -> Callable[[], tuple[Tensor | None, ...]]:
    """A training step of a cell by `run`: it returns outputs and gradients of the inputs and all parameters."""
    x = x.clone().requires_grad_()
    wanted = [x, *(parameter for parameter in cell.parameters() if parameter.requires_grad)]

    def train() -> tuple[Tensor | None, ...]:
        outputs = run(cell, x)
        return outputs.detach(), *torch.autograd.grad(outputs.sum(), wanted, allow_unused=True)

    return train


def difference(cell: recurra.Cell, x: Tensor) -> float:
    """The largest difference of outputs and gradients, relative to the largest number of each."""
    errors = []
    for got, want in zip(train(cell, x, scanned)(), train(cell, x, loop)(), strict=True):
        if got is None or want is None:  # no gradient and a gradient of zeros say the same
            found = want if got is None else got
            errors.append(0.0 if found is None else float(found.abs().max()))
        else:
            errors.append(float((got - want).abs().max() / want.abs().max().clamp_min(1.0)))
    return max(errors)


def against_loop(cell: recurra.Cell, x: Tensor, seconds: float) -> tuple[float, float]:
    """Milliseconds of a training step, by the engine and by the loop, which run by turns.

    Raises:
        SystemExit: the two differ.
    """
    error = difference(cell, x[:3])
    if not error < 1e-3:
        raise SystemExit(f"{type(cell).__name__} differs by {error:.1e}: no speed of wrong numbers")
    runs = {"ours": train(cell, x, scanned), "loop": train(cell, x, loop)}
    ours, theirs = interleaved(runs, seconds, rounds=3).values()
    return 1e3 * ours, 1e3 * theirs


# --- what is written --------------------------------------------------------------------------------------------------


def _verdict(row: dict[str, Any]) -> str:
    if "reason" in row:
        return row["reason"]
    if "differs" in row:
        return f"outputs or gradients differ by {row['differs']:.1e}: no speed of wrong numbers"
    return "" if row["ratio"] >= GOAL else f"below {GOAL:g}"


def _line(row: dict[str, Any]) -> str:
    if "ms" not in row:
        return f"{row['cell']:10} {_verdict(row)}"
    ms = row["ms"]
    return f"{row['cell']:10} {ms['ours']:9.2f} ms {ms['loop']:9.2f} ms {row['ratio']:6.1f}x {_verdict(row)}"


def _page(found: dict[str, Any]) -> str:
    about, sizes = found["machine"], ", ".join(f"{letter}={size}" for letter, size in found["sizes"].items())
    where = (
        f"{about['processor']} ({about['llvm_cpu']}), {about['threads']} threads, torch {about['versions']['torch']}"
    )
    what = f"Training step, {sizes}, float32, medians of runs by turns."
    lines = [
        "# Every cell against its step in a torch loop",
        "",
        f"{where}, commit {about['commit']}, {about['date']}. {what}",
        "",
        "| cell | parameters | runs on | ms | torch loop, ms | times as fast | remark |",
        "|---|---:|---|---:|---:|---:|---|",
    ]
    for row in found["cells"]:
        figures = ["", "", ""]
        if "ms" in row:
            figures = [f"{row['ms']['ours']:.2f}", f"{row['ms']['loop']:.2f}", f"{row['ratio']:.1f}"]
        fields = [row["cell"], f"{row['parameters']:,}", row["engine"], *figures, _verdict(row)]
        lines.append(f"| {' | '.join(fields)} |")
    rows = [row for row in found["cells"] if "ms" in row]
    if rows:
        mean = statistics.geometric_mean(row["ratio"] for row in rows)
        reached = sum(row["ratio"] >= GOAL for row in rows)
        lines += ["", f"{reached} of {len(rows)} reach {GOAL:g} times; geometric mean {mean:.1f}."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
