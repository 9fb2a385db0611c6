"""The compiled engine: one time step as fused forward and backward kernels.

Stages, one file each: trace -> simplify -> split -> lower -> schedule -> cpu. This file joins them into an
autograd function and keeps what was compiled beside the cell it was compiled for.
"""

from __future__ import annotations

import copy
import functools
import itertools
import os
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch._subclasses import FakeTensorMode

from recurra.engine.block import Block
from recurra.engine.by_reference import by_reference
from recurra.engine.checkpointed import ScanAgain
from recurra.engine.contract import Cell
from recurra.engine.cpu import team
from recurra.engine.cpu.loop_kernel import LoopKernel
from recurra.engine.cpu.tiling import Layout
from recurra.engine.lower import lower
from recurra.engine.probe import expect_contract, expect_rows_apart
from recurra.engine.products import has_bf16, is_plain_eager
from recurra.engine.reading import Reading, read
from recurra.engine.region import RegionCode
from recurra.engine.schedule import schedule
from recurra.engine.simplify import is_random, simplify
from recurra.engine.split import Loop, Plan, split
from recurra.engine.trace import Unsupported, line_of, trace
from recurra.errors import CompileError
from recurra.ragged import Ragged

__all__ = ["Compiled", "compiled", "obstacle", "run", "run_both"]


class _Regions:
    """What runs outside the loops, compiled when first needed."""

    def __init__(self, plan: Plan, dtype: torch.dtype, *, bf16: bool = False) -> None:
        self._plan, self._dtype, self._bf16 = plan, dtype, bf16

    def __getattr__(self, name: str) -> RegionCode:
        # what depends on weights alone is no product that autocast would round
        code = RegionCode(getattr(self._plan, name), self._dtype, bf16=self._bf16 and name != "prelude")
        setattr(self, name, code)
        return code


class Compiled:
    """Everything that was compiled for a cell in one precision; see also `in_bf16`."""

    bf16 = False

    def __init__(self, cell: Cell, dtype: torch.dtype) -> None:
        expect_contract(cell, dtype)
        trace_ = trace(cell, dtype)
        simplify(trace_.graph)
        self.draws = any(is_random(node) for node in trace_.graph.nodes)
        if not self.draws:
            expect_rows_apart(cell, dtype)
        self.plan: Plan = split(trace_)
        self.dtype = dtype
        self.constants, self.learned, self.fields = trace_.constants, trace_.learned, trace_.fields
        self.inputs, outputs = tuple(trace_.inputs), trace_.outputs
        self.output: fx.Node = outputs[0]
        self.gradients = tuple(outputs[1 + len(self.fields) : -len(self.fields)])
        # both are lowered now: what cannot run backward must not run forward
        lower(self.plan.forward), lower(self.plan.reverse)
        self.regions = _Regions(self.plan, dtype)

    @functools.cached_property
    def in_bf16(self) -> Compiled:
        """The same with products of bfloat16, summed up in float32: all factors are rounded, nothing else is."""
        twin = copy.copy(self)
        for made in ("training", "inference", "reverse"):
            twin.__dict__.pop(made, None)
        twin.bf16, twin.regions = True, _Regions(self.plan, self.dtype, bf16=True)
        return twin

    @functools.cached_property
    def training(self) -> LoopKernel:
        """The forward loop that keeps what the backward pass reads."""
        return LoopKernel(schedule(lower(self.plan.forward)), self.dtype, reverse=False, bf16=self.bf16)

    @functools.cached_property
    def inference(self) -> LoopKernel:
        """The forward loop that keeps nothing but what the region after it reads."""
        loop = self.plan.forward
        read = {*self.plan.after.inputs, self.output}
        bare = Loop(loop.name, loop.nodes, loop.carries, loop.results, tuple(n for n in loop.saved if n in read))
        return LoopKernel(schedule(lower(bare)), self.dtype, reverse=False, bf16=self.bf16)

    @functools.cached_property
    def reverse(self) -> LoopKernel:
        """The loop of the backward pass."""
        return LoopKernel(schedule(lower(self.plan.reverse)), self.dtype, reverse=True, bf16=self.bf16)

    # --- running -----------------------------------------------------------------------------------------------------

    def forward(
        self, layout: Layout, tensors: tuple[Tensor, ...], *, keep: bool
    ) -> tuple[Tensor, tuple[Tensor, ...], dict[fx.Node, Tensor]]:
        """Outputs [N, O], the state after the last steps, and every value by graph node.

        Args:
            layout: where the steps of each sequence stand among the rows.
            tensors: the constants, x as it is handed in, and the fields of the state.
            keep: whether a backward pass may come.
        """
        (result,) = team.together([self.forward_in_turns(layout, tensors, keep=keep, jobs=1)])
        return result

    def forward_in_turns(
        self, layout: Layout, tensors: tuple[Tensor, ...], *, keep: bool, jobs: int
    ) -> team.Turns[tuple[Tensor, tuple[Tensor, ...], dict[fx.Node, Tensor]]]:
        """As `forward`, for `team.together` with so many jobs."""
        values = dict(zip(self.inputs, tensors, strict=False))
        x = self.inputs[len(self.constants)]
        values[x] = layout.rows(values[x])
        self.regions.prelude.run(values, layout.num_rows)
        self.regions.before.run(values, layout.num_rows)
        state = tensors[len(self.constants) + 1 :]
        after = yield from self._loop(self.training if keep else self.inference, values, layout, state, jobs)
        self.regions.after.run(values, layout.num_rows)
        return values[self.output], after, values

    def backward(
        self, layout: Layout, values: dict[fx.Node, Tensor], d_output: Tensor, d_state: tuple[Tensor, ...]
    ) -> tuple[list[Tensor | None], tuple[Tensor, ...]]:
        """Gradients of the learned constants and of x, then of the state before the first steps.

        Args:
            layout: see `forward`.
            values: the tensors of `forward`, the outputs of the prelude and what was kept; added to.
            d_output: [N, O].
            d_state: [B, ...] for each field.
        """
        (result,) = team.together([self.backward_in_turns(layout, values, d_output, d_state, jobs=1)])
        return result

    def backward_in_turns(
        self, layout: Layout, values: dict[fx.Node, Tensor], d_output: Tensor, d_state: tuple[Tensor, ...], *, jobs: int
    ) -> team.Turns[tuple[list[Tensor | None], tuple[Tensor, ...]]]:
        """As `backward`, for `team.together` with so many jobs."""
        count = len(self.fields)
        values[self.inputs[-1 - count]] = d_output
        values.update(zip(self.plan.reverse.carries, d_state, strict=True))
        self.regions.before_reverse.run(values, layout.num_rows)
        d_before = yield from self._loop(self.reverse, values, layout, d_state, jobs)
        self.regions.after_reverse.run(values, layout.num_rows)
        return [values[node] if isinstance(node, fx.Node) else None for node in self.gradients], d_before

    def _loop(
        self, kernel: LoopKernel, values: dict[fx.Node, Tensor], layout: Layout, state: tuple[Tensor, ...], jobs: int
    ) -> team.Turns[tuple[Tensor, ...]]:
        return kernel.in_turns(values, kernel.tiling(layout, jobs=jobs), state, layout.num_rows)

    def of_all(
        self, layout: Layout, d_learned: Sequence[Tensor | None], d_x: Tensor | None, d_state: Sequence[Tensor]
    ) -> tuple[Tensor | None, ...]:
        """Gradients of all that `forward` takes, in its order, from those that `backward` gives."""
        by_name = dict(zip(self.learned, d_learned, strict=True))
        d_constants = (by_name.get(name) for name in self.constants)
        return (*d_constants, None if d_x is None else layout.shaped(d_x), *d_state)


class _Part(NamedTuple):
    """One scan: of a cell, over the rows of a batch."""

    cell: Cell
    code: Compiled
    layout: Layout

    @property
    def takes(self) -> int:
        """How many tensors: the constants, x, the fields of the state."""
        return len(self.code.constants) + 1 + len(self.code.fields)


def _forward(
    parts: Sequence[_Part], given: Sequence[tuple[Tensor, ...]], *, keep: bool
) -> list[tuple[Tensor, tuple[Tensor, ...], dict[fx.Node, Tensor]]]:
    """Outputs of all parts as they go out, the state after the last steps, and every value by graph node."""
    works = [
        part.code.forward_in_turns(part.layout, own, keep=keep, jobs=len(parts))
        for part, own in zip(parts, given, strict=True)
    ]
    found = []
    for part, (output, after, values) in zip(parts, team.together(works), strict=True):
        if part.code.output not in part.code.plan.forward.saved:  # it may be a view of what came in, and must not be
            output = output.clone()
        found.append((_no_view(part.layout.shaped(output.contiguous())), after, values))
    return found


class _Scan(torch.autograd.Function):
    """One scan, or two that run at the same time, which a backward pass may follow: `forward(parts, *all tensors)`."""

    @staticmethod
    def forward(ctx: Any, parts: tuple[_Part, ...], *tensors: Tensor) -> Any:
        given = _dealt(tensors, [part.takes for part in parts])
        results: list[Tensor] = []
        saved: list[Tensor] = []
        ctx.parts, ctx.preludes = parts, []
        for part, own, (output, after, values) in zip(parts, given, _forward(parts, given, keep=True), strict=True):
            code = part.code
            results += [output, *after]
            ctx.preludes.append({node: values[node] for node in code.plan.prelude.outputs})
            values[code.output] = output  # as it goes out, so that a change in place is noticed
            saved += [*own, *(values[node] for node in code.plan.kept)]
        ctx.save_for_backward(*saved)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *d_results: Tensor) -> Any:
        parts: tuple[_Part, ...] = ctx.parts
        saved = _dealt(ctx.saved_tensors, [part.takes + len(part.code.plan.kept) for part in parts])
        wanted = _dealt(ctx.needs_input_grad[1:], [part.takes for part in parts])
        d_outputs = _dealt(d_results, [1 + len(part.code.fields) for part in parts])
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted: the reference engine has one
            again = [
                by_reference(*part, own[: part.takes], d_own, needed)
                for part, own, d_own, needed in zip(parts, saved, d_outputs, wanted, strict=True)
            ]
            return (None, *itertools.chain.from_iterable(again))
        works = []
        for part, own, prelude, (d_output, *d_state) in zip(parts, saved, ctx.preludes, d_outputs, strict=True):
            code, layout = part.code, part.layout
            values = {**dict(zip(code.inputs, own[: part.takes], strict=False)), **prelude}
            values.update(zip(code.plan.kept, own[part.takes :], strict=True))
            for node in {code.inputs[len(code.constants)], code.output} & values.keys():
                values[node] = layout.rows(values[node])
            d_rows = layout.rows(d_output)
            works.append(code.backward_in_turns(layout, values, d_rows, tuple(d_state), jobs=len(parts)))
        gradients: list[Tensor | None] = []
        for part, ((*d_learned, d_x), d_before) in zip(parts, team.together(works), strict=True):
            gradients += part.code.of_all(part.layout, d_learned, d_x, d_before)
        return (None, *gradients)


def _dealt(items: Sequence[Any], counts: Sequence[int]) -> list[tuple[Any, ...]]:
    """So many items for each."""
    ends = list(itertools.accumulate(counts))
    return [tuple(items[end - count : end]) for end, count in zip(ends, counts, strict=True)]


def _no_view(tensor: Tensor) -> Tensor:
    """The same memory as a tensor that autograd takes for no view: what a function returns may be changed in place."""
    alone = tensor.new_empty(0)
    return alone.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride())


# --- the door --------------------------------------------------------------------------------------------------------

_compiling = threading.Lock()
_known: weakref.WeakKeyDictionary[Cell, dict[Any, Compiled | CompileError]] = weakref.WeakKeyDictionary()


def _fresh() -> None:
    global _compiling
    _compiling = threading.Lock()


if hasattr(os, "register_at_fork"):  # another thread may have held it when this process was forked
    os.register_at_fork(after_in_child=_fresh)


def _settle() -> None:
    """Make torch's first fake tensors in a thread that lives on.

    Where torch was built for CUDA and sees no GPU, it keeps a pointer into that thread and crashes when it is gone. The
    threads that trace must go: one that sleeps after it has used OpenMP counts as busy, and torch's own threads then
    wait for each other the slow way, in all that the process does.
    """
    done = threading.Event()

    def begin() -> None:
        with FakeTensorMode():
            done.set()

    def begin_and_stay() -> None:
        begin()
        threading.Event().wait()

    if threading.current_thread() is threading.main_thread():
        begin()
    elif torch.version.cuda is not None:
        threading.Thread(target=begin_and_stay, name="recurra", daemon=True).start()
        done.wait()


_settle()


def compiled(cell: Cell, dtype: torch.dtype, reading: Reading | None = None) -> Compiled:
    """What was compiled for a cell, now or before.

    Args:
        cell: the cell.
        dtype: the precision.
        reading: of the cell, where there is one already.

    Raises:
        CompileError: the step holds an operation that has no compiled form; the message names its line.
        TraceError: the step branches on the value of a tensor.
    """
    key = (dtype, (reading or read(cell)).key)
    versions = _known.setdefault(cell, {})
    found = versions.get(key)
    if found is None:
        # one at a time, as torch traces no two; and in a thread of its own, since the caller's may be in some mode:
        # hooks on saved tensors, say, must not see the tensors of a trace
        with _compiling, ThreadPoolExecutor(1) as other:
            found = versions.get(key) or other.submit(_try, cell, dtype).result()
            versions[key] = found
    if isinstance(found, CompileError):
        raise found
    return found


def _try(cell: Cell, dtype: torch.dtype) -> Compiled | CompileError:
    try:
        return Compiled(cell, dtype)
    except Unsupported as error:
        line = line_of(cell, error.op, dtype)
        return CompileError(f"`{type(cell).__name__}.step`{line and f' ({line})'}: {error}")
    except CompileError as error:
        return error


def obstacle(reading: Reading, x: Tensor) -> str:
    """Why inputs like these cannot be run, or "": on the CPU, in one precision, outside of tracers and transforms."""
    if x.device.type != "cpu":
        return f"it runs on the CPU, `x` is on {x.device}"
    if any(buffer.requires_grad for buffer in reading.buffers.values()):
        return "a buffer of the cell needs a gradient: make it a parameter"
    tensors = (x, *reading.parameters.values(), *reading.buffers.values())
    types = {tensor.dtype for tensor in tensors if tensor.dtype.is_floating_point}
    if types not in ({torch.float32}, {torch.float64}):
        found = ", ".join(sorted(str(kind) for kind in types))
        return f"it runs in float32 or float64 (products of bfloat16 under autocast), cell and `x` are {found}"
    if not torch.is_autocast_enabled("cpu"):
        return "" if is_plain_eager(x) else "something traces or transforms the call"
    with torch.autocast("cpu", enabled=False):
        return obstacle(reading, x)


def _misfit(reading: Reading, x: Ragged | Block, state: Any) -> str:
    """As `obstacle`, of inputs and state."""
    why = obstacle(reading, x.values)
    if not why and any(field.dtype != x.values.dtype or field.device != x.values.device for field in state):
        return "`state` is of another type than `x`"
    return why


def run(cell: Cell, x: Ragged | Block, state: Any, checkpoint_every: int | None = None) -> tuple[Tensor, Any]:
    """Run every sequence from its first step to its last, as `reference.run` does.

    Under autocast to bfloat16 it rounds the factors of products on processors that multiply them in hardware, and sums
    up in float32; all else, and under another autocast everything, is computed in the precision of the cell.

    Args:
        cell, x, state: see `reference.run`.
        checkpoint_every: keep the state at every k-th step alone, and run again what lies between on the way back.

    Raises:
        CompileError, TraceError: see `compiled`.
    """
    reading = read(cell)
    why = _misfit(reading, x, state)
    if why:
        raise CompileError(f"The compiled engine cannot run `{type(cell).__name__}` here: {why}.")
    if not torch.is_autocast_enabled("cpu"):
        return _run(cell, reading, x, state, checkpoint_every)
    bf16 = torch.get_autocast_dtype("cpu") is torch.bfloat16 and x.values.dtype is torch.float32 and has_bf16()
    with torch.autocast("cpu", enabled=False):
        return _run(cell, reading, x, state, checkpoint_every, bf16=bf16)


def run_both(cells: Sequence[Cell], batches: Sequence[Any], states: Sequence[Any]) -> list[tuple[Tensor, Any]] | None:
    """Two scans at the same time, each as `run`; None where one of them cannot be run here.

    Raises:
        CompileError, TraceError: see `compiled`.
    """
    if torch.is_autocast_enabled("cpu"):
        return None
    readings = [read(cell) for cell in cells]
    if any(_misfit(*each) for each in zip(readings, batches, states, strict=True)):
        return None
    parts: list[_Part] = []
    tensors: list[Tensor] = []
    for cell, reading, x, state in zip(cells, readings, batches, states, strict=True):
        parts.append(_Part(cell, compiled(cell, x.values.dtype, reading), Layout.of(x)))
        tensors += _tensors(parts[-1], reading, x, state)
    return _scanned(parts, _keeps(tensors), tensors)


def _run(
    cell: Cell, reading: Reading, x: Ragged | Block, state: Any, every: int | None, *, bf16: bool = False
) -> tuple[Tensor, Any]:
    code = compiled(cell, x.values.dtype, reading)
    part = _Part(cell, code.in_bf16 if bf16 else code, Layout.of(x))
    tensors = _tensors(part, reading, x, state)
    keep = _keeps(tensors)
    if every is not None and keep:
        output, *after = ScanAgain.apply(*part, every, *tensors)
        return output, cell.State(*after)
    (result,) = _scanned([part], keep, tensors)
    return result


def _scanned(parts: Sequence[_Part], keep: bool, tensors: Sequence[Tensor]) -> list[tuple[Tensor, Any]]:
    """Outputs and last state of each part."""
    if keep:
        results = _Scan.apply(tuple(parts), *tensors)
        found = [(output, after) for output, *after in _dealt(results, [1 + len(part.code.fields) for part in parts])]
    else:  # without the detour through autograd, which takes as long as a few steps of a small cell
        given = _dealt(tensors, [part.takes for part in parts])
        with torch.no_grad():
            found = [(output, list(after)) for output, after, _ in _forward(parts, given, keep=False)]
    return [(output, part.cell.State(*after)) for part, (output, after) in zip(parts, found, strict=True)]


def _tensors(part: _Part, reading: Reading, x: Ragged | Block, state: Any) -> tuple[Tensor, ...]:
    return (*(reading.tensor(part.cell, name) for name in part.code.constants), x.values, *state)


def _keeps(tensors: Sequence[Tensor]) -> bool:
    """Whether a backward pass may come: autograd asks which inputs need a gradient, not if anybody may ask for one."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
