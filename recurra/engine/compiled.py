"""The compiled engine: one time step as fused forward and backward kernels.

Stages, one file each: trace -> simplify -> split -> lower -> schedule -> cpu. This file joins them into an
autograd function and keeps what was compiled beside the cell it was compiled for.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch._subclasses import FakeTensorMode

from recurra.engine.block import Block
from recurra.engine.borders import is_look
from recurra.engine.by_reference import by_reference
from recurra.engine.checkpointed import ScanAgain
from recurra.engine.contract import Cell
from recurra.engine.cpu import team
from recurra.engine.cpu.loop_kernel import LoopKernel
from recurra.engine.cpu.replay import Given, Programs, Results
from recurra.engine.cpu.tiling import Layout
from recurra.engine.kept import Kept
from recurra.engine.lower import lower
from recurra.engine.probe import expect_contract, expect_no_hooks, expect_rows_apart
from recurra.engine.products import has_bf16, is_plain_eager
from recurra.engine.reading import Reading, read
from recurra.engine.region import RegionCode
from recurra.engine.schedule import schedule
from recurra.engine.simplify import is_random, simplify
from recurra.engine.split import Loop, Plan, split
from recurra.engine.trace import Trace, Unsupported, line_of, trace
from recurra.errors import CompileError, RecurraError
from recurra.ragged import Ragged

__all__ = ["Compiled", "compiled", "obstacle", "run", "run_both"]


class _Regions:
    """What runs outside the loops, compiled when first needed."""

    def __init__(self, plan: Plan, dtype: torch.dtype, *, bf16: bool = False) -> None:
        self._plan, self._dtype, self._bf16 = plan, dtype, bf16

    def __getattr__(self, name: str) -> RegionCode:
        # what depends on weights alone is no product that autocast would round
        bf16 = self._bf16 and name not in ("prelude", "postlude")
        code = RegionCode(getattr(self._plan, name), self._dtype, bf16=bf16)
        setattr(self, name, code)
        return code


def _planned(traced: Trace) -> Plan:
    """A step split so that its loops can be lowered.

    Raises:
        Unsupported: an operation that is truly recurrent has no vector form.
    """
    formless: set[str] = set()
    while True:
        plan = split(traced, formless)
        try:
            lower(plan.forward), lower(plan.reverse)
        except Unsupported as error:
            if error.op in formless:
                raise
            formless.add(error.op)
        else:
            return plan


class Compiled:
    """Everything that was compiled for a cell in one precision; see also `in_bf16`."""

    bf16 = False

    def __init__(self, cell: Cell, dtype: torch.dtype) -> None:
        expect_no_hooks(cell)
        expect_contract(cell, dtype)
        trace_ = trace(cell, dtype)
        simplify(trace_.graph)
        self.draws = any(is_random(node) for node in trace_.graph.nodes)
        if not self.draws:
            expect_rows_apart(cell, dtype)
        # the loops are lowered now: what cannot run backward must not run forward
        self.plan = _planned(trace_)
        self.dtype = dtype
        self.constants, self.learned, self.fields = trace_.constants, trace_.learned, trace_.fields
        inputs, outputs = tuple(trace_.inputs), trace_.outputs
        self.takes = len(self.constants) + 1 + len(self.fields)
        self.inputs, self.d_output = inputs[: self.takes], inputs[self.takes]
        self.output: fx.Node = outputs[0]
        gradients = outputs[1 + len(self.fields) : -len(self.fields)]
        self.gradients = tuple(node if isinstance(node, fx.Node) else None for node in gradients)
        self.regions = _Regions(self.plan, dtype)
        # where weights are but looked at in another way, every pass does so anew, and a recorded one for nothing
        plan = self.plan
        self._of_weights = () if all(map(is_look, plan.prelude.nodes)) else plan.prelude.outputs
        # truth values that loops alone read may stay what they are there, numbers
        regions = (plan.before, plan.after, plan.before_reverse, plan.after_reverse, plan.postlude)
        outside = {self.output, *self.gradients}.union(*(region.inputs for region in regions))
        rows = [node for node in plan.kept if node.meta["val"].dim() == 2]
        truths = [node for node in (*rows, *self._of_weights) if node.meta["val"].dtype is torch.bool]
        self._numbers = {node for node in truths if node not in outside}

    @functools.cached_property
    def in_bf16(self) -> Compiled:
        """The same with products of bfloat16, summed up in float32: all factors are rounded, nothing else is."""
        twin = copy.copy(self)
        for made in ("training", "inference", "reverse", "_programs", "_together"):
            twin.__dict__.pop(made, None)
        twin.bf16, twin.regions = True, _Regions(self.plan, self.dtype, bf16=True)
        return twin

    @functools.cached_property
    def training(self) -> LoopKernel:
        """The forward loop that keeps what the backward pass reads."""
        plan = schedule(lower(self.plan.forward), streamed=set(self.plan.kept) - {self.output})
        return LoopKernel(plan, self.dtype, reverse=False, bf16=self.bf16)

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
        plan = schedule(lower(self.plan.reverse), streamed=self.plan.reverse.saved)
        return LoopKernel(plan, self.dtype, reverse=True, bf16=self.bf16)

    @functools.cached_property
    def _together(self) -> Kept:
        """What is kept for the backward pass in one tensor."""
        kernels = (*self.regions.before.kernels, self.training, *self.regions.after.kernels)
        return Kept(set(self.plan.kept) - {self.output}, kernels, self._numbers, self.dtype)

    @functools.cached_property
    def keeps(self) -> tuple[fx.Node | None, ...]:
        """What the tensors are that a backward pass reads besides what the forward pass was given; None is the one that
        holds several."""
        together = self._together.nodes
        return (*([None] if together else []), *(node for node in self.plan.kept if node not in together))

    @functools.cached_property
    def _programs(self) -> dict[str, Programs]:
        return {name: Programs(is_fixed=not self.draws) for name in ("training", "inference", "backward")}

    # --- running -----------------------------------------------------------------------------------------------------

    def given(self, layout: Layout, tensors: Sequence[Tensor]) -> Given:
        """What a pass begins with: the constants, rows of x, the state before the first steps, and the prelude's part.

        Args:
            layout: where the steps of each sequence stand among the rows.
            tensors: the constants, x as it is handed in, and the fields of the state.
        """
        x = len(self.constants)
        given = (*tensors[:x], layout.rows(tensors[x]), *tensors[x + 1 :])
        if not self._of_weights:
            return given
        values = dict(zip(self.inputs, given, strict=True))
        self.regions.prelude.run(values, layout.num_rows)
        numbers = self._numbers
        made = (values[node].to(self.dtype) if node in numbers else values[node] for node in self._of_weights)
        return (*given, *made)

    def _values(self, layout: Layout, given: Given, others: Iterable[fx.Node | None] = ()) -> dict[Any, Tensor]:
        """What a pass begins with, by node."""
        values: dict[Any, Tensor] = dict(zip((*self.inputs, *self._of_weights, *others), given, strict=True))
        if not self._of_weights:
            self.regions.prelude.run(values, layout.num_rows)
        return values

    def forward(self, layout: Layout, given: Given, *, keep: bool) -> Results:
        """Outputs in the shape of the batch, the state after the last steps, and what the backward pass reads besides.

        Args:
            layout: where the steps of each sequence stand among the rows.
            given: see `given`.
            keep: whether a backward pass may come; if none, nothing is kept for it.
        """
        run = functools.partial(self._forward, layout, 1, keep)
        return self._programs["training" if keep else "inference"].run(run, layout, given)

    def forward_in_turns(self, layout: Layout, given: Given, *, keep: bool, jobs: int) -> team.Turns[Results]:
        """As `forward`, for `team.together` with so many jobs."""
        kernel = self.training if keep else self.inference
        run = functools.partial(self._forward, layout, jobs, keep)
        return _beside_others(self._programs["training" if keep else "inference"], kernel, run, layout, given, jobs)

    def _forward(self, layout: Layout, jobs: int, keep: bool, given: Given) -> team.Turns[Results]:
        kernel, count = self.training if keep else self.inference, layout.num_rows
        values = self._values(layout, given)
        goals: dict[fx.Node, Tensor] = {}
        if keep and self._together.nodes:
            values[None] = self._together.new(count)
            goals = self._together.rows(values[None], count)
        self.regions.before.run(values, count, goals)
        state = given[len(self.constants) + 1 : self.takes]
        after = yield from kernel.in_turns(values, kernel.tiling(layout, jobs=jobs), state, count, goals)
        self.regions.after.run(values, count, goals)
        return [layout.shaped(values[self.output]), *after, *(values[node] for node in self.keeps if keep)]

    def backward(self, layout: Layout, given: Given) -> Results:
        """Gradients of the learned constants and of x, None where there is none; then of the state at the beginning.

        Args:
            layout: see `forward`.
            given: what `forward` was given, what it kept, and the gradients of outputs [N, O] and of the state after
                the last steps.
        """
        run = functools.partial(self._backward, layout, 1)
        return self._concluded(layout, given, self._programs["backward"].run(run, layout, given))

    def backward_in_turns(self, layout: Layout, given: Given, *, jobs: int) -> team.Turns[Results]:
        """As `backward`, for `team.together` with so many jobs."""
        run = functools.partial(self._backward, layout, jobs)
        found = yield from _beside_others(self._programs["backward"], self.reverse, run, layout, given, jobs)
        return self._concluded(layout, given, found)

    def _backward(self, layout: Layout, jobs: int, given: Given) -> team.Turns[Results]:
        kernel = self.reverse
        values = self._values(layout, given, (*self.keeps, self.d_output, *self.plan.reverse.carries))
        if self._together.nodes:
            values.update(self._together.rows(values[None], layout.num_rows))
        self.regions.before_reverse.run(values, layout.num_rows)
        d_state = given[len(given) - len(self.fields) :]
        d_before = yield from kernel.in_turns(values, kernel.tiling(layout, jobs=jobs), d_state, layout.num_rows)
        self.regions.after_reverse.run(values, layout.num_rows)
        return [*(None if node is None else values[node] for node in self._summed), *d_before]

    @functools.cached_property
    def _summed(self) -> tuple[fx.Node | None, ...]:
        """What a backward pass ends with: the gradients, or what they are concluded from; None where there is none."""
        postlude = self.plan.postlude
        made = {*postlude.nodes, *self.inputs, *self.plan.prelude.outputs}
        if made.isdisjoint(self.gradients):
            return self.gradients
        found = [node for node in (*self.gradients, *postlude.inputs) if node is not None and node not in made]
        return tuple(dict.fromkeys(found))

    def _concluded(self, layout: Layout, given: Given, found: Results) -> Results:
        """The gradients in place of the sums that they are made of: what torch computes of weights is in no program."""
        if self._summed is self.gradients:
            return found
        values = self._values(layout, given[: len(self.inputs) + len(self._of_weights)])
        values.update(zip(self._summed, found, strict=False))
        self.regions.postlude.run(values, layout.num_rows)
        gradients = [None if node is None else values[node] for node in self.gradients]
        return [*gradients, *found[len(self._summed) :]]

    def sorted_out(self, found: Results) -> tuple[list[Tensor | None], Tensor | None, tuple[Tensor, ...]]:
        """Gradients of the learned constants, of x and of the state, from what `backward` gives."""
        count = len(self.learned)
        return found[:count], found[count], tuple(found[count + 1 :])

    def of_all(
        self, layout: Layout, d_learned: Sequence[Tensor | None], d_x: Tensor | None, d_state: Sequence[Tensor]
    ) -> tuple[Tensor | None, ...]:
        """Gradients of all that a scan takes, in its order."""
        by_name = dict(zip(self.learned, d_learned, strict=True))
        d_constants = (by_name.get(name) for name in self.constants)
        return (*d_constants, None if d_x is None else layout.shaped(d_x), *d_state)


class _Part(NamedTuple):
    """One scan: of a cell, over the rows of a batch."""

    cell: Cell
    code: Compiled
    layout: Layout

    def results(self, given: Given, found: Results) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]:
        """The outputs as they go out, the state after the last steps, and what a backward pass reads besides."""
        output, *others = found
        output = output.contiguous()
        if self.code.output not in self.code.plan.forward.saved and _shares_memory(output, (*given, *others)):
            output = output.clone()
        count = len(self.code.fields)
        # the outputs are kept as they go out, so that a change in place is noticed
        output = _no_view(output) if output._is_view() else output
        kept = [
            output if node is self.code.output else value
            for node, value in zip(self.code.keeps, others[count:], strict=False)
        ]
        return output, others[:count], kept

    def to_backward(self, own: Given, prelude: Given, kept: Given, d_results: Given) -> Given:
        """What the backward pass is given."""
        d_output, *d_state = d_results
        rows, code, x = self.layout.rows, self.code, len(self.code.constants)
        read = (rows(each) if node is code.output else each for node, each in zip(code.keeps, kept, strict=True))
        return (*own[:x], rows(own[x]), *own[x + 1 :], *prelude, *read, rows(d_output), *d_state)


def _beside_others(
    programs: Programs,
    kernel: LoopKernel,
    run: Callable[[Given], team.Turns[Results]],
    layout: Layout,
    given: Given,
    jobs: int,
) -> team.Turns[Results]:
    """A pass that may run at the same time as others, with one thread, or with some that share the loop's products."""
    sharers = kernel.tiling(layout, jobs=jobs).sharers
    if 1 < sharers <= team.num_threads() // jobs:  # a program with threads of its own would run alone
        return run(given)
    return programs.turns(run, layout, given, alone=sharers == 1)


class _Scan(torch.autograd.Function):
    """One scan, or two that run at the same time, which a backward pass may follow: `forward(parts, *all tensors)`."""

    @staticmethod
    def forward(ctx: Any, parts: tuple[_Part, ...], *tensors: Tensor) -> Any:
        given = _given(parts, tensors)
        results: list[Tensor] = []
        saved: list[Tensor] = []
        for output, after, kept in _forward(parts, given, keep=True):
            results += [output, *after]
            saved += kept
        ctx.parts = parts
        ctx.preludes = [own[part.code.takes :] for part, own in zip(parts, given, strict=True)]
        ctx.save_for_backward(*tensors, *saved)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *d_results: Tensor) -> Any:
        parts: tuple[_Part, ...] = ctx.parts
        takes = [part.code.takes for part in parts]
        counts = [*takes, *(len(part.code.keeps) for part in parts)]
        dealt = _dealt(ctx.saved_tensors, counts)
        own, kept = dealt[: len(parts)], dealt[len(parts) :]
        d_own = _dealt(d_results, [1 + len(part.code.fields) for part in parts])
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted: the reference engine has one
            needed = _dealt(ctx.needs_input_grad[1:], takes)
            again = [by_reference(*part, *each) for part, *each in zip(parts, own, d_own, needed, strict=True)]
            return (None, *itertools.chain.from_iterable(again))
        given = [part.to_backward(*each) for part, *each in zip(parts, own, ctx.preludes, kept, d_own, strict=True)]
        gradients: list[Tensor | None] = []
        for part, found in zip(parts, _backward(parts, given), strict=True):
            gradients += part.code.of_all(part.layout, *part.code.sorted_out(found))
        return (None, *gradients)


def _given(parts: Sequence[_Part], tensors: Sequence[Tensor]) -> list[Given]:
    """What the forward pass of each part is given."""
    if len(parts) == 1:
        return [parts[0].code.given(parts[0].layout, tensors)]
    own = _dealt(tensors, [part.code.takes for part in parts])
    return [part.code.given(part.layout, each) for part, each in zip(parts, own, strict=True)]


def _forward(
    parts: Sequence[_Part], given: Sequence[Given], *, keep: bool
) -> list[tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]]:
    """Outputs, the state after the last steps, and what is kept, of each part."""
    if len(parts) == 1:
        (part,), (own,) = parts, given
        return [part.results(own, part.code.forward(part.layout, own, keep=keep))]
    both = list(zip(parts, given, strict=True))
    found = team.together(
        [part.code.forward_in_turns(part.layout, own, keep=keep, jobs=len(parts)) for part, own in both]
    )
    return [part.results(own, each) for (part, own), each in zip(both, found, strict=True)]


def _backward(parts: Sequence[_Part], given: Sequence[Given]) -> list[Results]:
    """What `Compiled.backward` gives of each part."""
    both = list(zip(parts, given, strict=True))
    if len(parts) == 1:
        return [part.code.backward(part.layout, own) for part, own in both]
    return team.together([part.code.backward_in_turns(part.layout, own, jobs=len(parts)) for part, own in both])


def _dealt(items: Sequence[Any], counts: Sequence[int]) -> list[tuple[Any, ...]]:
    """So many items for each."""
    ends = list(itertools.accumulate(counts))
    return [tuple(items[end - count : end]) for end, count in zip(ends, counts, strict=True)]


def _shares_memory(tensor: Tensor, others: Iterable[Tensor]) -> bool:
    address = tensor.untyped_storage().data_ptr()
    return any(other.untyped_storage().data_ptr() == address for other in others if other is not tensor)


def _no_view(tensor: Tensor) -> Tensor:
    """The same memory as a tensor that autograd takes for no view: what a function returns may be changed in place."""
    alone = tensor.new_empty(0)
    return alone.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride())


# --- the door --------------------------------------------------------------------------------------------------------

_PRECISIONS = ({torch.float32}, {torch.float64})
_compiling = threading.Lock()
_known: weakref.WeakKeyDictionary[Cell, dict[Any, Compiled | CompileError]] = weakref.WeakKeyDictionary()
_NOTHING: dict[Any, Any] = {}


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
    except RecurraError:
        raise
    except Exception as error:  # whatever goes wrong in here, the reference engine runs the step as it is written
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        return CompileError(f"`{type(cell).__name__}.step` has no compiled form, for a reason of ours: {why}")


def obstacle(reading: Reading, x: Tensor) -> str:
    """Why inputs like these cannot be run, or "": on the CPU, in one precision, outside of tracers and transforms."""
    return _of_now(reading, x) or _of_types(reading, x)


def _of_types(reading: Reading, x: Tensor) -> str:
    """What of `obstacle` depends on the types alone."""
    types = {x.dtype, *[tensor.dtype for tensor in (*reading.parameters.values(), *reading.buffers.values())]}
    if types in _PRECISIONS or {kind for kind in types if kind.is_floating_point} in _PRECISIONS:
        return ""
    found = ", ".join(sorted(str(kind) for kind in types if kind.is_floating_point))
    return f"it runs in float32 or float64 (products of bfloat16 under autocast), cell and `x` are {found}"


def _of_now(reading: Reading, x: Tensor) -> str:
    """What of `obstacle` may change from call to call."""
    if not x.is_cpu:
        return f"it runs on the CPU, `x` is on {x.device}"
    if reading.buffers and any(buffer.requires_grad for buffer in reading.buffers.values()):
        return "a buffer of the cell needs a gradient: make it a parameter"
    if not torch.is_autocast_enabled("cpu"):
        return "" if is_plain_eager(x) else "something traces or transforms the call"
    with torch.autocast("cpu", enabled=False):
        return _of_now(reading, x)


def _fitting(cell: Cell, reading: Reading, x: Ragged | Block, state: Any) -> Compiled | str:
    """What was compiled for a cell, now or before, or why it cannot run these inputs from this state.

    Raises:
        CompileError, TraceError: see `compiled`.
    """
    values = x.values
    found = _known.get(cell, _NOTHING).get((values.dtype, reading.key))
    known = found if isinstance(found, Compiled) else None  # then its types are some that can be run
    why = _of_now(reading, values) or ("" if known else _of_types(reading, values))
    if why:
        return why
    if any(field.dtype is not values.dtype or not field.is_cpu for field in state):
        return "`state` is of another type than `x`"
    return known or compiled(cell, values.dtype, reading)


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
    code = _fitting(cell, reading, x, state)
    if isinstance(code, str):
        raise CompileError(f"The compiled engine cannot run `{type(cell).__name__}` here: {code}.")
    if not torch.is_autocast_enabled("cpu"):
        return _run(cell, code, reading, x, state, checkpoint_every)
    bf16 = torch.get_autocast_dtype("cpu") is torch.bfloat16 and x.values.dtype is torch.float32 and has_bf16()
    with torch.autocast("cpu", enabled=False):
        return _run(cell, code.in_bf16 if bf16 else code, reading, x, state, checkpoint_every)


def run_both(cells: Sequence[Cell], batches: Sequence[Any], states: Sequence[Any]) -> list[tuple[Tensor, Any]] | None:
    """Two scans at the same time, each as `run`; None where one of them cannot be run here.

    Raises:
        CompileError, TraceError: see `compiled`.
    """
    if torch.is_autocast_enabled("cpu"):
        return None
    parts: list[_Part] = []
    tensors: list[Tensor] = []
    for cell, x, state in zip(cells, batches, states, strict=True):
        reading = read(cell)
        code = _fitting(cell, reading, x, state)
        if isinstance(code, str):
            return None
        parts.append(_Part(cell, code, Layout.of(x)))
        tensors += _tensors(parts[-1], reading, x, state)
    return _scanned(parts, _keeps(tensors), tensors)


def _run(
    cell: Cell, code: Compiled, reading: Reading, x: Ragged | Block, state: Any, every: int | None
) -> tuple[Tensor, Any]:
    part = _Part(cell, code, Layout.of(x))
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
        dealt = _dealt(results, [1 + len(part.code.fields) for part in parts])
        return [(output, part.cell.State(*after)) for part, (output, *after) in zip(parts, dealt, strict=True)]
    # without the detour through autograd, which takes as long as a few steps of a small cell
    with torch.no_grad() if torch.is_grad_enabled() else contextlib.nullcontext():
        found = _forward(parts, _given(parts, tensors), keep=False)
    return [(output, part.cell.State(*after)) for part, (output, after, _) in zip(parts, found, strict=True)]


def _tensors(part: _Part, reading: Reading, x: Ragged | Block, state: Any) -> tuple[Tensor, ...]:
    return (*(reading.tensor(part.cell, name) for name in part.code.constants), x.values, *state)


def _keeps(tensors: Sequence[Tensor]) -> bool:
    """Whether a backward pass may come: autograd asks which inputs need a gradient, not if anybody may ask for one."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
