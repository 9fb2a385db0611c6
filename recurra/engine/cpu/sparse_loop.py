"""A leaky recurrence with a sparse or dense matrix, all time steps in one compiled loop.

    h' = h + a ⊙ (f(u_t + W h) - h)        u_t is the drive: all that does not depend on h, computed before

One sequence at a time, no gradient: this is for matrices that stay as they are. Rows of W are cut into panels, and a
panel is stored in one of two forms, whichever costs less:

    panel    the columns in which any of its rows has a number, each with a dense piece of the rows; one number of h is
             spread over the rows. Good for dense matrices, and where rows share their columns.
    gather   the numbers of each row side by side, with their columns; each lane fetches its own number of h. Good where
             a row has few numbers among many columns.

The code is the same for all sizes: it is compiled once for a precision, an activation, a form and a width of columns.
Threads take whole sequences. Where there are fewer of them than threads and the matrix is large, the threads share its
rows, and meet after each step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from llvmlite import ir
from torch import Tensor

from recurra.engine.cpu import team
from recurra.engine.cpu.functions import OPERATIONS
from recurra.engine.cpu.jit import Code, compile_text
from recurra.engine.cpu.target import Target, host
from recurra.engine.cpu.vectors import Vectors
from recurra.engine.cpu.writer import I32, I64, Writer

__all__ = ["ACTIVATIONS", "Job", "Loop", "SparseWeights"]

Form = Literal["panel", "gather"]
Array = np.ndarray[Any, np.dtype[Any]]

# words of the table, and of each job
_TABLE = ("num_threads", "num_jobs", "jobs")
_JOB = (
    *("steps", "first", "last", "row", "rows", "starts", "columns", "values"),
    *("drive", "drive_stride", "out", "out_stride", "old", "new", "home", "padded", "leak"),
)
_AT = {name: index for index, name in enumerate(_JOB)}

_VECTORS = {"panel": 4, "gather": 1}  # vectors of a panel's rows
_CHAINS = {"panel": 2, "gather": 4}  # entries at a time: independent sums that hide the latency of a multiply-add
_SHARED = 200_000  # numbers of a matrix from which on a step is long enough for threads to meet after it

ACTIVATIONS: dict[str, Callable[[Vectors, Any], Any]] = {
    "tanh": OPERATIONS["tanh"],
    "sigmoid": OPERATIONS["sigmoid"],
    "identity": OPERATIONS["copy"],
    "relu": lambda v, x: OPERATIONS["maximum"](v, x, v.const(0.0)),
}


@dataclass(frozen=True)
class SparseWeights:
    """A square matrix packed for the loop.

    Attributes:
        units: N, rows and columns.
        padded: rows with those that fill up the last panel.
        form: how panels are stored.
        starts: int64 [panels+1], where the entries of a panel begin.
        columns: uint16, or int32 of many units, of each entry; in the form "gather" of each row of an entry.
        values: the numbers of the rows of each entry.
    """

    units: int
    padded: int
    form: Form
    starts: Array
    columns: Array
    values: Array

    @classmethod
    def pack(
        cls, rows: Tensor, columns: Tensor, values: Tensor, units: int, *, form: Form | None = None
    ) -> SparseWeights:
        """Pack a matrix that is given by its numbers other than 0, sorted by row.

        Shapes: rows, columns int64 [n], values [n], float32 or float64.

        Args:
            rows: the row of each number.
            columns: its column.
            values: the number.
            units: N, rows and columns of the matrix.
            form: how to store it; the one that costs less where not given.
        """
        lanes = host().lanes(values.element_size())
        i, j, numbers = rows.numpy(), columns.numpy(), values.numpy()
        form = form or _cheaper_form(i, j, units, lanes, values.element_size())
        pack = _pack_panels if form == "panel" else _pack_gather
        starts, packed, blocks = pack(i, j, numbers, units, lanes)
        width = np.uint16 if units <= 1 << 16 else np.int32
        panel = _VECTORS[form] * lanes
        return cls(units, -(-units // panel) * panel, form, starts, packed.astype(width), blocks)


@dataclass(frozen=True)
class Job:
    """One sequence through one matrix.

    Shapes: drive [up to T, padded], out [T, N], state [padded], leak [padded]; rows of drive and out may stand apart.

    Args:
        weights: the packed matrix W.
        drive: u_t of as many steps as are run at a time.
        out: h after each step is written here.
        state: h before the first step, then after the last; 0 behind N.
        leak: a of each unit; 0 behind N.
    """

    weights: SparseWeights
    drive: Tensor
    out: Tensor
    state: Tensor
    leak: Tensor


class Loop:
    """Jobs of one precision, ready to run again and again on the same memory.

    Args:
        jobs: what to run; the loop keeps them alive.
        activation: f, a name of `ACTIVATIONS`.
    """

    def __init__(self, jobs: Sequence[Job], activation: str) -> None:
        self.jobs = jobs
        self._spare = [torch.zeros_like(job.state) for job in jobs]
        alone: list[int] = []  # jobs whose rows the threads share
        together: dict[tuple[Form, int], list[int]] = {}
        threads = team.num_threads()
        for index, job in enumerate(jobs):
            if len(jobs) < threads and job.weights.values.size >= _SHARED:
                alone.append(index)
            else:
                together.setdefault((job.weights.form, job.weights.columns.itemsize), []).append(index)
        self._itemsize = jobs[0].drive.element_size() if jobs else 0
        bits = 8 * self._itemsize
        self._whole = [
            (
                _compile(form, width, bits, activation),
                np.array([self._words(i) for i in found], np.int64),
                np.array([len(jobs[i].out) for i in found], np.int64),
            )
            for (form, width), found in together.items()
        ]
        self._shared = [
            (
                _compile(jobs[i].weights.form, jobs[i].weights.columns.itemsize, bits, activation),
                np.array([self._words(i, part, threads) for part in range(threads)], np.int64),
                i,
            )
            for i in alone
        ]

    def run(self, first: int, steps: int) -> None:
        """Run every job from its state over some of the rows of `out`, or as many of them as there are.

        Args:
            first: the first of these rows.
            steps: how many; the drive is that of these steps, from its first row on.
        """
        for code, words, lengths in self._whole:
            now = words.copy()
            now[:, _AT["steps"]] = np.clip(lengths - first, 0, steps)
            now[:, _AT["out"]] += first * words[:, _AT["out_stride"]] * self._itemsize
            _call(code, now)
        for code, words, index in self._shared:
            job = self.jobs[index]
            count = max(0, min(steps, len(job.out) - first))
            self._run_shared(code, words.copy(), first, count, job.state, self._spare[index])

    def _run_shared(self, code: Code, words: Array, first: int, steps: int, state: Tensor, spare: Tensor) -> None:
        buffers = [state.data_ptr(), spare.data_ptr()]
        words[:, _AT["out"]] += first * words[:, _AT["out_stride"]] * self._itemsize
        for t in range(steps):
            words[:, _AT["old"]] = buffers[t % 2]
            words[:, _AT["new"]] = words[:, _AT["home"]] = buffers[1 - t % 2]
            _call(code, words)
            for moved in ("drive", "out"):
                words[:, _AT[moved]] += words[:, _AT[f"{moved}_stride"]] * self._itemsize
        if steps % 2:
            state.copy_(spare)

    def _words(self, index: int, part: int = 0, parts: int = 0) -> list[int]:
        """The words of a job; of one of several parts of its panels, and one step, where there are `parts`."""
        job = self.jobs[index]
        w = job.weights
        panels = len(w.starts) - 1
        rows = w.padded // panels
        first, last = (panels * part // parts, panels * (part + 1) // parts) if parts else (0, panels)
        row = first * rows
        itemsize = job.drive.element_size()
        found = {
            "steps": 1,
            "first": first,
            "last": last,
            "row": row,
            "rows": max(0, min(w.units, last * rows) - row),
            "starts": w.starts.ctypes.data,
            "columns": w.columns.ctypes.data,
            "values": w.values.ctypes.data,
            "drive": job.drive.data_ptr(),
            "drive_stride": job.drive.stride(0),
            "out": job.out.data_ptr() + row * itemsize,
            "out_stride": job.out.stride(0),
            "old": job.state.data_ptr(),
            "new": self._spare[index].data_ptr(),
            "home": job.state.data_ptr(),
            "padded": w.padded,
            "leak": job.leak.data_ptr(),
        }
        return [found[name] for name in _JOB]


def _call(code: Code, words: Array) -> None:
    threads = min(team.num_threads(), len(words))  # fewer than at the beginning, as after a fork, go through them, too
    table = np.array([threads, len(words), words.ctypes.data], np.int64)
    team.run(code, table.ctypes.data, threads)


# --- packing ----------------------------------------------------------------------------------------------------------


def _cheaper_form(i: Array, j: Array, units: int, lanes: int, itemsize: int) -> Form:
    """Compare nanoseconds of a step, as measured on an EPYC of the year 2026; what does not fit the last cache waits
    for memory."""
    entries = len(np.unique(i // (_VECTORS["panel"] * lanes) * units + j)) if len(i) else 0
    vectors = entries * _VECTORS["panel"]
    cached = 1 << 24
    spread = vectors * (0.65 if vectors * lanes * itemsize <= cached else 4.0)
    gather = len(i) * (0.3 if len(i) * (itemsize + 2) <= cached else 0.06 * (itemsize + 2))
    return "panel" if spread <= gather else "gather"


def _round_up(counts: Array, step: int) -> Array:
    return -(-counts // step) * step


def _pack_panels(i: Array, j: Array, numbers: Array, units: int, lanes: int) -> tuple[Array, Array, Array]:
    rows = _VECTORS["panel"] * lanes
    panels = -(-units // rows)
    keys, entry = np.unique(i // rows * units + j, return_inverse=True)
    panel = keys // units
    counts = np.bincount(panel, minlength=panels)
    starts = np.concatenate([[0], np.cumsum(_round_up(counts, _CHAINS["panel"]))])
    first = np.concatenate([[0], np.cumsum(counts)])
    place = starts[panel] + np.arange(len(keys)) - first[panel]
    columns = np.zeros(starts[-1], np.int64)
    columns[place] = keys % units
    values = np.zeros((starts[-1], rows), numbers.dtype)
    values[place[entry], i % rows] = numbers
    return starts.astype(np.int64), columns, values


def _pack_gather(i: Array, j: Array, numbers: Array, units: int, lanes: int) -> tuple[Array, Array, Array]:
    panels = -(-units // lanes)
    counts = np.bincount(i, minlength=panels * lanes)
    first = np.concatenate([[0], np.cumsum(counts)])
    widest = _round_up(counts.reshape(panels, lanes).max(axis=1), _CHAINS["gather"])
    starts = np.concatenate([[0], np.cumsum(widest)])
    place = starts[i // lanes] + np.arange(len(i)) - first[i]
    columns = np.zeros((starts[-1], lanes), np.int64)
    values = np.zeros((starts[-1], lanes), numbers.dtype)
    columns[place, i % lanes] = j
    values[place, i % lanes] = numbers
    return starts.astype(np.int64), columns, values


# --- machine code -----------------------------------------------------------------------------------------------------


@functools.cache
def _compile(form: Form, width: int, bits: int, activation: str) -> Code:
    team.prepare()
    name = f"sparse_{form}"
    return compile_text(_Emitter(form, width, bits, activation, host(), name).emit(), name, host())


class _Emitter(Writer):
    def __init__(self, form: Form, width: int, bits: int, activation: str, target: Target, name: str) -> None:
        super().__init__(target, bits, name)
        self.form, self.width, self.activation = form, width, activation

    def copy(self, source: Any, goal: Any, count: Any) -> None:
        """`count` numbers from one place to another; what lies behind them is not touched."""
        b = self.b
        whole = b.mul(b.sdiv(count, self.word(self.lanes)), self.word(self.lanes))

        def piece(k: Any, lanes: int) -> None:
            self.store(self.load(self.at(source, k), lanes, lanes), self.at(goal, k), lanes, lanes)

        self.each(self.word(0), whole, self.lanes, lambda k: piece(k, self.lanes))
        self.each(whole, count, 1, lambda k: piece(k, 1))

    # --- the function ----------------------------------------------------------------------------------------------

    def emit(self) -> str:
        b = self.b
        table, thread = self.function.args
        head = self.read_words(table, _TABLE)
        jobs, threads = self.pointer(head["jobs"]), head["num_threads"]

        def job(number: Any) -> None:
            self._job(self.read_words(self.at(jobs, b.mul(number, self.word(len(_JOB))), 8), _JOB))

        self.each_of_thread(thread, head["num_jobs"], threads, job)
        b.ret_void()
        return self.text()

    def _job(self, job: dict[str, Any]) -> None:
        b = self.b
        names = ("starts", "columns", "values", "drive", "out", "old", "new", "home", "leak")
        at = {name: self.pointer(job[name]) for name in names}

        def step(t: Any, places: list[Any]) -> list[Any]:
            old, new = places
            drive = self.at(at["drive"], b.mul(t, job["drive_stride"]))

            self.each(job["first"], job["last"], 1, lambda p: self._panel(at, p, drive, old, new))
            self.copy(self.at(new, job["row"]), self.at(at["out"], b.mul(t, job["out_stride"])), job["rows"])
            return [new, old]

        last, _ = self.loop(self.word(0), job["steps"], 1, [at["old"], at["new"]], step)
        there = b.icmp_unsigned("==", last, at["home"])  # threads that share the rows may still read and write there
        self.copy(last, at["home"], b.select(there, self.word(0), job["padded"]))

    def _panel(self, at: dict[str, Any], p: Any, drive: Any, old: Any, new: Any) -> None:
        b, v = self.b, self.vectors
        vectors, chains = _VECTORS[self.form], _CHAINS[self.form]
        start = b.load(self.at(at["starts"], p, 8), typ=I64)
        stop = b.load(self.at(at["starts"], b.add(p, self.word(1)), 8), typ=I64)
        entry = self._spread_entry if self.form == "panel" else self._gather_entry

        def accumulate(k: Any, sums: list[Any]) -> list[Any]:
            for chain in range(chains):
                mine = slice(chain * vectors, (chain + 1) * vectors)
                sums[mine] = entry(at, b.add(k, self.word(chain)), old, sums[mine])
            return sums

        sums = self.loop(start, stop, chains, [v.const(0.0)] * (vectors * chains), accumulate)
        for n in range(vectors):
            total = sums[n]
            for chain in range(1, chains):
                total = b.fadd(total, sums[chain * vectors + n])
            row = b.add(b.mul(p, self.word(vectors * self.lanes)), self.word(n * self.lanes))
            h = self.read(self.at(old, row))
            fresh = ACTIVATIONS[self.activation](v, b.fadd(total, self.read(self.at(drive, row))))
            self.write(v.fma(self.read(self.at(at["leak"], row)), b.fsub(fresh, h), h), self.at(new, row))

    def _column(self, at: dict[str, Any], index: Any) -> Any:
        kind = ir.IntType(8 * self.width)
        return self.b.zext(self.b.load(self.at(at["columns"], index, self.width), typ=kind, align=self.width), I64)

    def _spread_entry(self, at: dict[str, Any], k: Any, h: Any, sums: list[Any]) -> list[Any]:
        """One column: its number of h times its piece of the panel's rows."""
        b, vectors = self.b, _VECTORS[self.form]
        spread = self.splat(self.load(self.at(h, self._column(at, k)), 1, 1), self.vectors)
        line = self.at(at["values"], b.mul(k, self.word(vectors * self.lanes)))
        return [
            self.vectors.fma(spread, self.read(self.at(line, self.word(n * self.lanes))), total)
            for n, total in enumerate(sums)
        ]

    def _gather_entry(self, at: dict[str, Any], k: Any, h: Any, sums: list[Any]) -> list[Any]:
        """One number of each row: each lane has its own column."""
        b, lanes = self.b, self.lanes
        place = b.mul(k, self.word(lanes))
        found: Any = ir.Constant(self.vectors.real, ir.Undefined)
        for lane in range(lanes):  # loads one by one: the gather of today's processors is no faster
            column = self._column(at, b.add(place, self.word(lane)))
            number = self.load(self.at(h, column), 1, 1)
            found = b.insert_element(found, number, ir.Constant(I32, lane))
        return [self.vectors.fma(found, self.read(self.at(at["values"], place)), sums[0])]
