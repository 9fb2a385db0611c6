"""One time step as one loop body, products with the input included: what a stream runs.

Over a whole sequence the products with the input are best done for all steps at once. A stream has one step at a time
and nothing to gather: everything that depends on the input or the state goes into the loop, and only what follows from
the parameters alone is computed beforehand.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurra.engine.contract import Cell
from recurra.engine.cpu import team
from recurra.engine.cpu.emit import HEADER
from recurra.engine.cpu.loop_kernel import LoopKernel
from recurra.engine.cpu.packing import pack
from recurra.engine.cpu.tiling import NO_ROWS
from recurra.engine.in_loops import taken_apart_in
from recurra.engine.lookups import lookups
from recurra.engine.loop import Program, Value
from recurra.engine.lower import lower
from recurra.engine.probe import expect_contract, expect_no_hooks, expect_rows_apart
from recurra.engine.region import RegionCode
from recurra.engine.schedule import schedule
from recurra.engine.simplify import is_random, simplify
from recurra.engine.split import Loop, Plan, split
from recurra.engine.trace import Trace, Unsupported, trace
from recurra.errors import CompileError

__all__ = ["StepCode", "StepMemory"]

_WORTH_A_THREAD = 1 << 21  # flops of a step below which a second thread costs more than it saves


class StepCode:
    """Machine code for one step of a cell in one precision.

    Raises:
        Unsupported: an operation of the step has no vector form.
        CompileError, TraceError: the step cannot be traced, or its rows and calls are not apart from each other.
    """

    def __init__(self, cell: Cell, dtype: torch.dtype) -> None:
        expect_no_hooks(cell)
        expect_contract(cell, dtype)
        traced = trace(cell, dtype)
        expect_rows_apart(cell, dtype, draws=any(map(is_random, traced.graph.nodes)))
        dtype = dtype.to_real()
        if traced.complexes.x or traced.complexes.output:
            raise CompileError("A stream has no compiled form where inputs or outputs are complex.")
        lookups(traced.graph, of_input=True)
        simplify(traced.graph)
        self.plan, program = _lowered(traced)
        self.prelude = RegionCode(self.plan.prelude, dtype)
        self.kernel = LoopKernel(schedule(_copied_for_products(program)), dtype, reverse=False)

    def parameters(self, constants: Sequence[Tensor]) -> list[Tensor]:
        """Vectors, then packed matrices, as the code reads them, from the constants of the trace."""
        kernel, plan = self.kernel, self.kernel.plan
        values = dict(zip(self.plan.trace.inputs, constants, strict=False))
        self.prelude.run(values, 0)
        vectors = [values[node].to(kernel.dtype).reshape(-1).clone() for node in plan.vectors]
        matrices = [values[node] for node in plan.matrices]
        return [*vectors, *pack(matrices, kernel.sizes.panels, kernel.dtype, kernel.target)]


def _lowered(traced: Trace) -> tuple[Plan, Program]:
    """All of a step that depends on its input or the state, as one loop.

    Raises:
        Unsupported: an operation has no vector form.
    """
    while True:
        plan = split(traced)
        inside = {*plan.before.nodes, *plan.forward.nodes, *plan.after.nodes}
        nodes = tuple(node for node in traced.graph.nodes if node in inside)
        try:
            step = Loop("step", nodes, plan.forward.carries, plan.forward.results, (traced.outputs[0],))
            return plan, lower(step)
        except Unsupported as error:
            if not taken_apart_in(traced.graph, inside, error.op):
                raise


class StepMemory:
    """The buffers of a number of sequences, with the table that tells the code where they are.

    Attributes:
        states: one [B, width] a field of the state, in the precision of the code; written by every run.
        x, y: [B, *input_shape] and [B, *output_shape], what `step` reads and writes.
        step: runs one step; a call of machine code and nothing else.
    """

    def __init__(
        self, code: StepCode, constants: Sequence[Tensor], batch_size: int, shapes: tuple[tuple[int, ...], ...]
    ) -> None:
        self.code, self.batch_size = code, batch_size
        kernel = code.kernel
        sizes = kernel.sizes
        kind: dict[str, Any] = {"dtype": kernel.dtype, "device": "cpu"}
        worth = batch_size * kernel.plan.program.flops // _WORTH_A_THREAD
        self.threads = max(1, min(team.num_threads(), batch_size // sizes.row_tile, worth))
        rows = min(kernel.row_limit, -(-batch_size // self.threads))
        self.first = np.arange(0, batch_size, rows)
        self.count = np.minimum(rows, batch_size - self.first)
        self.scratch = torch.zeros(self.threads * sizes.scratch(rows + sizes.row_tile), **kind)
        self.row_base = np.arange(batch_size, dtype=np.int64)
        self.states = [torch.zeros(batch_size, kernel.plan.scratch[index], **kind) for index in kernel.plan.carries]
        self.x, self.y = (torch.zeros(batch_size, *shape, **kind).numpy() for shape in shapes)
        self.parameters = code.parameters(constants)
        self._rows = rows + sizes.row_tile
        self._one = self._table(self.x, self.y, 1)
        self.step: Callable[[], None] = self._call(self._one[0])

    def refresh(self, constants: Sequence[Tensor]) -> None:
        """Take over new values of the parameters."""
        for old, new in zip(self.parameters, self.code.parameters(constants), strict=True):
            old.copy_(new)

    def chunk(self, x: np.ndarray) -> np.ndarray:
        """Several steps in one call. Shapes: x [T, B, *input_shape] -> outputs [T, B, *output_shape]."""
        x = np.ascontiguousarray(x, self.x.dtype)
        y = np.zeros((*x.shape[:2], *self.y.shape[1:]), self.y.dtype)
        if y.size:
            table = self._table(x, y, len(x))
            self._call(table[0])()
        return y

    def _table(self, x: np.ndarray, y: np.ndarray, num_steps: int) -> tuple[np.ndarray, Any]:
        """The table of a run, and what must live as long as it."""
        plan = self.code.kernel.plan
        begin = np.arange(len(self.first)) * num_steps
        tiles = np.stack([self.first, self.count, np.full_like(begin, num_steps), begin], 1).astype(np.int64)
        active = np.repeat(self.count, num_steps).astype(np.int64)
        header = {
            "num_threads": self.threads,
            "sharers": 1,
            "num_tiles": len(tiles),
            "tiles": tiles.ctypes.data,
            "active": active.ctypes.data,
            "order": self.row_base.ctypes.data,  # sequence b is row b of every step
            "row_base": self.row_base.ctypes.data,
            "row_stride": self.batch_size,
            "step_rows": NO_ROWS.data_ptr(),
            "step_mask": 0,
            "falls": 0,
            "scratch": self.scratch.data_ptr(),
            "scratch_rows": self._rows,
            "totals": 0,
            "meeting": 0,
            "sleepers": 0,
        }
        states = [state.data_ptr() for state in self.states]
        addresses = [
            *[x.ctypes.data] * plan.num_inputs,  # none where the step does not look at x
            y.ctypes.data,
            *(tensor.data_ptr() for tensor in self.parameters),
            *states,
            *states,  # read at the first step, written after the last: one memory is enough
        ]
        table = np.array([*(header[name] for name in HEADER), *addresses], np.int64)
        return table, (tiles, active, x, y)

    def _call(self, table: np.ndarray) -> Callable[[], None]:
        address, run = table.ctypes.data, self.code.kernel.code.run
        if self.threads == 1:
            return functools.partial(run, ctypes.c_void_p(address), ctypes.c_int64(0))
        return functools.partial(self._by_team, address)

    def _by_team(self, address: int) -> None:
        if team.num_threads() >= self.threads:
            team.run(self.code.kernel.code, address, self.threads)
            return
        for thread in range(self.threads):  # fewer threads than at the beginning, as after a fork
            self.code.kernel.code.run(address, thread)


def _copied_for_products(program: Program) -> Program:
    """Products read rows of scratch memory: what comes from an array is copied there first."""
    copies: dict[Value, Value] = {}
    values: list[Value] = []
    for value in program.values:
        if value.op == "dot":
            rows, matrix = value.args
            source = rows
            while source.op == "slice":
                source = source.args[0]
            if source.op == "array":
                if rows not in copies:
                    copies[rows] = Value("copy", (rows,), rows.width, name=f"{rows.name}'")
                    values.append(copies[rows])
                value.args = (copies[rows], matrix)
        values.append(value)
    program.values = values
    return program
