"""Recurrent layers side by side with their peers, in one run: python -m benchmarks.layers

Every peer that is installed runs the same layer with the same weights on the same inputs. Before anything is timed, all
outputs, and Recurra's gradients, are compared with the reference engine; where they differ no speed is printed. Peers
run by turns of some hundredths of a second, so that a noisy moment is noisy for all; each figure is a median. Those
with threads of their own (JAX, ONNX Runtime, Keras) have a process each, which sleeps while others run.
Results go to benchmarks/results/layers.json and layers.md.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recurra
from benchmarks.elsewhere import Elsewhere, timer
from benchmarks.limit import fma_limit
from benchmarks.peers import CELLS, GATES, PEERS, Run, make_case, recurra_cell, recurra_run
from recurra.engine.products import has_bf16

RESULTS = Path(__file__).parent / "results"
# T, B, I, H; the last two fill no vector and no tile
SHAPES = [(100, 1, 64, 64), (100, 32, 64, 64), (100, 32, 128, 128), (100, 32, 256, 256), (50, 64, 512, 512)]
SHAPES += [(1000, 1, 128, 128), (63, 33, 100, 200), (200, 5, 17, 37)]
QUICK = [(100, 1, 64, 64), (50, 32, 128, 128), (20, 5, 17, 37)]
SMALL = (7, 5, 17, 19)  # for the comparison of outputs
WARM, TURN = 0.01, 0.02  # seconds
OURS = "recurra compiled"
ELSEWHERE = ("jax", "onnxruntime", "keras")


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.layers", description=__doc__)
    options.add_argument("--quick", action="store_true", help="few shapes and short runs: about a minute")
    options.add_argument("--threads", type=int, default=2, help="threads of every peer that can be told")
    options.add_argument("--out", type=Path, default=RESULTS, help="folder for layers.json and layers.md")
    options.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS), help="leave others out")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    peers, missing = _installed(given.peers)
    for sentence in missing:
        print(sentence)
    others = {name: Elsewhere(name, given.threads) for name in peers if name in ELSEWHERE}
    differing = _disagreements(peers, others)
    if differing:
        print("No speed of wrong numbers:", *differing, sep="\n  ", file=sys.stderr)
        return 1
    seconds = 0.15 if given.quick else 1.2
    found: dict[str, Any] = {"machine": machine(given.threads), "missing": missing}
    found["limit_gflops"] = round(fma_limit(given.threads), 1)
    print(f"{given.threads} threads, at most {found['limit_gflops']} GFLOPS of multiply-adds", flush=True)
    found["layers"] = _layers(peers, others, QUICK if given.quick else SHAPES, seconds)
    for other in others.values():
        other.close()
    found["ragged"] = _ragged(50 if given.quick else 100, seconds)
    found["stream"] = _stream(seconds)
    found["bfloat16"] = _bfloat16(given.quick, seconds)
    found["doubling"] = _doubling(2 if given.quick else 4, seconds / 2)
    found["limit_gflops_at_the_end"] = round(fma_limit(given.threads), 1)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "layers.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    page = _page(found)
    (given.out / "layers.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def _installed(names: Iterable[str]) -> tuple[list[str], list[str]]:
    there, missing = [], []
    for name in names:
        absent = [package for package in PEERS[name][1] if importlib.util.find_spec(package) is None]
        if absent:
            missing.append(f"`{name}` is left out: {' and '.join(absent)} not installed.")
        else:
            there.append(name)
    return there, missing


# --- right before fast ------------------------------------------------------------------------------------------------


def _disagreements(peers: Iterable[str], others: dict[str, Elsewhere]) -> list[str]:
    """What differs from the reference engine at a small shape, as sentences."""
    wrong = []
    for cell in CELLS:
        case = make_case(cell, *SMALL)
        reference = recurra_run("reference")(case)
        expected, gradients = reference.outputs(), _gradients(reference)
        for name in peers:
            if name == "keras":  # it keeps weights of its own
                continue
            if name in others:
                if not others[name].prepare(cell, SMALL):
                    continue
                run, outputs = None, others[name].outputs()
            else:
                run = PEERS[name][0](case)
                if run is None:
                    continue
                outputs = run.outputs()
            error = float(np.abs(outputs - expected).max())
            if not error < 1e-4:
                wrong.append(f"{cell} of `{name}`: outputs differ by {error:.1e}.")
            if run is not None and name.startswith("recurra"):
                pairs = zip(_gradients(run), gradients, strict=True)
                error = max(float((a - b).abs().max() / max(1.0, float(b.abs().max()))) for a, b in pairs)
                if not error < 1e-4:
                    wrong.append(f"{cell} of `{name}`: gradients differ by {error:.1e}.")
    return wrong


def _gradients(run: Run) -> Any:
    assert run.train is not None
    return run.train()


# --- timing -----------------------------------------------------------------------------------------------------------


def interleaved(
    calls: dict[str, Callable[[], Any]], seconds: float, *, rounds: int = 5, before: int = 2
) -> dict[str, float]:
    """Median seconds of each call; see `by_turns`."""
    return by_turns({name: timer(call) for name, call in calls.items()}, seconds, rounds=rounds, before=before)


def by_turns(
    timers: dict[str, Callable[[int], float]], seconds: float, *, rounds: int = 5, before: int = 2
) -> dict[str, float]:
    """Median seconds of one call of each.

    Args:
        timers: run by turns, in another order each round; each turn sleeps a moment, so that threads of the one before
            stop spinning, warms up for `WARM` seconds, and times calls for `TURN` seconds; at least one of each. After
            a sleep the first milliseconds are slower, by a fifth in the first of two: calls that end within them would
            be measured so, and longer ones not.
        seconds: for all of them together, but at least `rounds` turns each.
        rounds: see there.
        before: calls of each until nothing is new to it, before the one that tells how many calls a turn has.
    """
    times: dict[str, list[float]] = {name: [] for name in timers}
    warm, block = {}, {}
    for name, run in timers.items():
        run(before)
        one = run(1)
        warm[name], block[name] = (max(1, min(1000, int(given / one))) for given in (WARM, TURN))
    end = time.perf_counter() + seconds
    order, chance = list(timers.items()), random.Random(0)
    while time.perf_counter() < end or len(next(iter(times.values()))) < rounds:
        chance.shuffle(order)  # nobody always follows the same one, whose threads may still look for work
        for name, run in order:
            time.sleep(0.02)
            run(warm[name])
            times[name].append(run(block[name]) / block[name])
    return {name: statistics.median(each) for name, each in times.items()}


def _layers(
    peers: Iterable[str],
    others: dict[str, Elsewhere],
    shapes: Iterable[tuple[int, int, int, int]],
    seconds: float,
) -> list[dict[str, Any]]:
    rows = []
    for cell in CELLS:
        for shape in shapes:
            case = make_case(cell, *shape)
            made = {name: PEERS[name][0](case) for name in peers if name not in others}
            runs = {name: run for name, run in made.items() if run is not None}
            able = {name: other.prepare(cell, shape) for name, other in others.items()}
            num_steps, batch_size, input_size, hidden_size = shape
            flops = 2 * num_steps * batch_size * (input_size + hidden_size) * GATES[cell] * hidden_size
            for what, factor in (("forward", 1), ("train", 3)):
                calls = {name: getattr(run, what) for name, run in runs.items()}
                timers = {name: timer(call) for name, call in calls.items() if call is not None}
                timers |= {name: other.timer(what) for name, other in others.items() if what in able[name]}
                medians = by_turns(timers, seconds)
                rows.append(
                    {
                        "cell": cell,
                        "what": what,
                        "shape": shape,
                        "ms": {name: round(1e3 * value, 4) for name, value in medians.items()},
                        "gflops": {name: round(factor * flops / value / 1e9, 1) for name, value in medians.items()},
                    }
                )
                print(_line(rows[-1]), flush=True)
    return rows


def _line(row: dict[str, Any]) -> str:
    shape = ",".join(map(str, row["shape"]))
    times = "  ".join(f"{name} {value:.3f}" for name, value in row["ms"].items())
    return f"{row['cell']:13} {row['what']:7} {shape:15} ms: {times}"


def _ragged(num_steps: int, seconds: float) -> list[dict[str, Any]]:
    """A batch with lengths uniform from 1 to T against the same batch, all sequences T long."""
    rows = []
    lengths = torch.linspace(1, num_steps, 32).round().long()[torch.randperm(32)]
    for kind, hidden_size in ((recurra.GRU, 128), (recurra.LSTM, 256)):
        cell = kind(hidden_size, hidden_size)
        padded = torch.randn(num_steps, 32, hidden_size)
        ragged = recurra.Ragged.from_padded(padded, lengths)

        def run(x: Any, *, cell: Any = cell) -> Callable[[], Any]:
            def call() -> None:
                outputs, _ = recurra.scan(cell, x, engine="compiled")
                numbers = outputs.values if isinstance(outputs, recurra.Ragged) else outputs
                torch.autograd.grad(numbers.sum(), list(cell.parameters()))

            return call

        medians = interleaved({"padded": run(padded), "ragged": run(ragged)}, seconds)
        share = float(lengths.sum()) / (num_steps * 32)
        rows.append(
            {
                "cell": kind.__name__,
                "shape": (num_steps, 32, hidden_size, hidden_size),
                "ms": {name: round(1e3 * value, 4) for name, value in medians.items()},
                "ratio": round(medians["ragged"] / medians["padded"], 3),
                "share_of_steps": round(share, 3),
            }
        )
    return rows


def _stream(seconds: float) -> list[dict[str, Any]]:
    """Microseconds of one push, one sequence, against a step of torch's cell."""
    rows = []
    for kind, theirs, hidden_size in (
        (recurra.GRU, torch.nn.GRUCell, 64),
        (recurra.GRU, torch.nn.GRUCell, 128),
        (recurra.LSTM, torch.nn.LSTMCell, 128),
    ):
        stream = recurra.Recurrent(kind(hidden_size, hidden_size)).stream()
        assert stream.is_compiled
        tensor, cell = torch.randn(1, hidden_size), theirs(hidden_size, hidden_size)
        numbers = tensor.numpy()[0]

        def step(*, cell: Any = cell, tensor: Any = tensor) -> None:
            with torch.no_grad():
                cell(tensor)

        calls: dict[str, Callable[[], Any]] = {
            "push, numpy": lambda stream=stream, x=numbers: stream.push(x),
            "push, torch": lambda stream=stream, x=tensor: stream.push(x),
            theirs.__name__: step,
        }
        medians = interleaved(calls, seconds, rounds=9)
        rows.append(
            {
                "cell": kind.__name__,
                "H": hidden_size,
                "us": {name: round(1e6 * value, 2) for name, value in medians.items()},
            }
        )
    return rows


def _bfloat16(quick: bool, seconds: float) -> list[dict[str, Any]]:
    """Training with products of bfloat16, under autocast, against float32; nothing where the processor has none."""
    if not has_bf16():
        return []
    rows, shapes = [], [(100, 32, 256)] if quick else [(100, 32, 256), (50, 64, 512)]
    for kind, shape in itertools.product((recurra.GRU, recurra.LSTM), shapes):
        num_steps, batch_size, hidden_size = shape
        cell, x = kind(hidden_size, hidden_size), torch.randn(*shape, requires_grad=True)

        def step(lowered: bool, *, cell: Any = cell, x: Any = x) -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=lowered):
                outputs, _ = recurra.scan(cell, x, engine="compiled")
            torch.autograd.grad(outputs.sum(), [x, *cell.parameters()])

        calls = {name: functools.partial(step, name == "bfloat16") for name in ("float32", "bfloat16")}
        medians = interleaved(calls, seconds)
        rows.append(
            {
                "cell": kind.__name__,
                "shape": (num_steps, batch_size, hidden_size, hidden_size),
                "ms": {name: round(1e3 * value, 4) for name, value in medians.items()},
                "ratio": round(medians["float32"] / medians["bfloat16"], 3),
            }
        )
    return rows


def _doubling(times: int, seconds: float) -> dict[str, list[dict[str, Any]]]:
    """Time of a training step, and bytes kept for backward, as T, B or H double; slopes in powers of the size."""
    start = {"T": 50, "B": 16, "H": 64}
    found: dict[str, list[dict[str, Any]]] = {}
    for letter in start:
        rows: list[dict[str, Any]] = []
        for power in range(times + 1):
            sizes = {**start, letter: start[letter] * 2**power}
            case = make_case("GRU", sizes["T"], sizes["B"], 64, sizes["H"])
            run = recurra_run("compiled")(case)
            assert run.train is not None
            row: dict[str, Any] = {**sizes, "ms": 1e3 * interleaved({"": run.train}, seconds)[""], "bytes": _kept(case)}
            if rows:
                row["slope_of_time"] = round(math.log2(row["ms"] / rows[-1]["ms"]), 2)
                row["slope_of_bytes"] = round(math.log2(row["bytes"] / rows[-1]["bytes"]), 2)
            rows.append({**row})
        found[letter] = rows
    return found


def _kept(case: Any) -> int:
    """Bytes that the graph keeps from forward to backward, each piece of memory once."""
    cell, x = recurra_cell(case), torch.from_numpy(case.x).requires_grad_()
    recurra.scan(cell, x, engine="compiled")  # a cell is not compiled while hooks are set
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs, _ = recurra.scan(cell, x, engine="compiled")
    del outputs
    return sum(storages.values())


# --- what is written --------------------------------------------------------------------------------------------------


def machine(threads: int) -> dict[str, Any]:
    from recurra.engine.cpu.target import host

    names = ("torch", "numpy", "llvmlite", "jax", "jaxlib", "onnxruntime", "keras")
    versions = {name: importlib.metadata.version(name) for name in names if importlib.util.find_spec(name)}
    return {
        "processor": _processor(),
        "llvm_cpu": host().cpu,
        "cores": os.cpu_count(),
        "threads": threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": _commit(),
        "date": time.strftime("%Y-%m-%d"),
        "load_before": [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        if lines:
            return lines[0].partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return done.stdout.strip() or "unknown"


def _page(found: dict[str, Any]) -> str:
    machine = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    about = (
        f"{machine['processor']} ({machine['llvm_cpu']}), {machine['threads']} threads, at most "
        f"{found['limit_gflops']} GFLOPS of multiply-adds measured in the same run; {versions}, Python "
        f"{machine['python']}; commit {machine['commit']}, {machine['date']}; load before: {machine['load_before']}. "
        "float32, milliseconds, medians of interleaved runs; in brackets: times as long as Recurra's compiled engine."
    )
    lines = [
        "# Layers, side by side",
        "",
        about,
        *(["", *found["missing"]] if found["missing"] else []),
    ]
    for what, title in (("forward", "Forward"), ("train", "Forward and backward")):
        lines += ["", f"## {title}", "", *_table([row for row in found["layers"] if row["what"] == what], found)]
    lines += ["", "## Ragged against padded, forward and backward", "", "| cell | T,B,I,H | padded | ragged | ratio |"]
    lines += ["|---|---|---:|---:|---:|"]
    for row in found["ragged"]:
        shape = ",".join(map(str, row["shape"]))
        padded, ragged = row["ms"]["padded"], row["ms"]["ragged"]
        lines.append(f"| {row['cell']} | {shape} | {padded:.2f} | {ragged:.2f} | {row['ratio']:.2f} |")
    lines += ["", "## One step of a stream, microseconds", "", "| cell | H | numpy | torch | torch's cell |"]
    lines += ["|---|---:|---:|---:|---:|"]
    for row in found["stream"]:
        lines.append(f"| {row['cell']} | {row['H']} | {' | '.join(f'{value:.1f}' for value in row['us'].values())} |")
    if found["bfloat16"]:
        lines += ["", "## Products of bfloat16, forward and backward", ""]
        lines += ["| cell | T,B,I,H | float32 | bfloat16 | times as fast |", "|---|---|---:|---:|---:|"]
    for row in found["bfloat16"]:
        shape, (full, lowered) = ",".join(map(str, row["shape"])), row["ms"].values()
        lines.append(f"| {row['cell']} | {shape} | {full:.2f} | {lowered:.2f} | {row['ratio']:.2f} |")
    lines += ["", "## GRU training step as one size doubles", "", "| T | B | H | ms | slope | MiB kept | slope |"]
    lines += ["|---:|---:|---:|---:|---:|---:|---:|"]
    for rows in found["doubling"].values():
        for row in rows:
            slopes = [str(row.get(f"slope_of_{name}", "")) for name in ("time", "bytes")]
            memory = row["bytes"] / 2**20
            sizes = " | ".join(str(row[letter]) for letter in "TBH")
            lines.append(f"| {sizes} | {row['ms']:.2f} | {slopes[0]} | {memory:.1f} | {slopes[1]} |")
    return "\n".join(lines) + "\n"


def _table(rows: list[dict[str, Any]], found: dict[str, Any]) -> list[str]:
    peers = [name for name in PEERS if any(name in row["ms"] for row in rows)]
    lines = [f"| cell | T,B,I,H | {' | '.join(peers)} | share of the limit |"]
    lines.append(f"|---|---|{'---:|' * (len(peers) + 1)}")
    for row in rows:
        cells = []
        for name in peers:
            value = row["ms"].get(name)
            if value is None:
                cells.append("")
            elif name == OURS or OURS not in row["ms"]:
                cells.append(f"{value:.2f}")
            else:
                cells.append(f"{value:.2f} ({value / row['ms'][OURS]:.2f})")
        best = row["gflops"].get(OURS, 0.0) / found["limit_gflops"]
        lines.append(f"| {row['cell']} | {','.join(map(str, row['shape']))} | {' | '.join(cells)} | {best:.0%} |")
    for cell in CELLS:
        means = []
        for name in peers:
            both = [row["ms"] for row in rows if row["cell"] == cell and name in row["ms"] and OURS in row["ms"]]
            ratios = [each[name] / each[OURS] for each in both]
            means.append(f"({statistics.geometric_mean(ratios):.2f})" if ratios and name != OURS else "")
        lines.append(f"| {cell} | geometric mean | {' | '.join(means)} | |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
