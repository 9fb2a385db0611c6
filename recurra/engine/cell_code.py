"""What was compiled for a cell in one precision: its loops, what stands around them, and both passes over a batch.

Stages, one file each: trace -> simplify -> split -> lower -> schedule -> cpu.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from recurra.engine.borders import is_look
from recurra.engine.contract import Cell
from recurra.engine.cpu import arena, team
from recurra.engine.cpu.copying import Copier
from recurra.engine.cpu.loop_kernel import LoopKernel
from recurra.engine.cpu.programs import Programs
from recurra.engine.cpu.replay import Given, Pass, Program, Results
from recurra.engine.cpu.tiling import Layout
from recurra.engine.in_loops import taken_apart_in
from recurra.engine.kept import Kept
from recurra.engine.loop import LEAVES
from recurra.engine.lower import lower
from recurra.engine.once import once
from recurra.engine.probe import expect_contract, expect_no_hooks, expect_rows_apart
from recurra.engine.region import RegionCode
from recurra.engine.rows import row_width
from recurra.engine.schedule import schedule
from recurra.engine.simplify import is_random, simplify
from recurra.engine.split import Loop, Plan, split
from recurra.engine.trace import Trace, Unsupported, batch_factor, trace

__all__ = ["Compiled"]

# Flops of a loop. Measured in November 2026 on two cores of a Zen 4, RNN, GRU and LSTM, one sequence, both directions:
# at the same time they take 1.0 to 1.2 times as long as one after the other with up to a quarter of that, forward and
# in training, 0.85 to 1.1 times from there to all of it, 0.8 to 1.1 times, mostly below 1, with more.
_LONG = 1 << 19
_FLOPS_OF_A_NUMBER = 8  # what is no product: few operations, or a slow one


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
                loops = {*plan.forward.nodes, *plan.reverse.nodes}
                if not taken_apart_in(traced.graph, loops, error.op):
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
        dtype = dtype.to_real()
        simplify(trace_.graph)
        self.draws = any(is_random(node) for node in trace_.graph.nodes)
        expect_rows_apart(cell, dtype, draws=self.draws)
        # the loops are lowered now: what cannot run backward must not run forward
        self.plan = _planned(trace_)
        self.dtype = dtype
        self.constants, self.learned, self.fields = trace_.constants, trace_.learned, trace_.fields
        self.complexes = trace_.complexes
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

    @once
    def in_bf16(self) -> Compiled:
        """The same with products of bfloat16, summed up in float32: all factors are rounded, nothing else is.

        Complex numbers autocast leaves alone.
        """
        if self.complexes.any:
            return self
        twin = copy.copy(self)
        for made in ("training", "_training_shared", "inference", "reverse", "_programs", "_together"):
            twin.__dict__.pop(made, None)
        twin.bf16, twin.regions = True, _Regions(self.plan, self.dtype, bf16=True)
        return twin

    @once
    def training(self) -> LoopKernel:
        """The forward loop that keeps what the backward pass reads."""
        return self._keeping(self.plan.forward)

    def _keeping(self, loop: Loop) -> LoopKernel:
        plan = schedule(lower(loop), streamed=set(self.plan.kept) - {self.output})
        return LoopKernel(plan, self.dtype, reverse=False, bf16=self.bf16)

    @once
    def _echo(self) -> fx.Node | None:
        """The field of the state that is the output of the step before, where the backward pass reads both.

        Where it reads the field alone, outputs may be changed in place, which the field must not be.
        """
        loop, kept = self.plan.forward, self.plan.kept
        pairs = zip(loop.carries, loop.results, strict=True)
        found = next((carry for carry, result in pairs if carry is not result is self.output and carry in kept), None)
        is_plain = not {found, self.output} & {*self.training.odd_outputs}
        return found if self.output in kept and self.output in loop.saved and is_plain else None

    @once
    def _training_shared(self) -> LoopKernel:
        """As `training`, where the outputs of the steps before stand in memory anyway: it does not write them again."""
        loop = self.plan.forward
        return self._keeping(replace(loop, saved=tuple(node for node in loop.saved if node is not self._echo)))

    @once
    def _copier(self) -> Copier:
        return Copier(row_width(self.output), self.dtype)

    def _loop(self, layout: Layout, *, keep: bool) -> LoopKernel:
        if keep and layout.may_share and self._echo is not None:
            return self._training_shared
        return self.training if keep else self.inference

    @once
    def inference(self) -> LoopKernel:
        """The forward loop that keeps nothing but what the region after it reads."""
        loop = self.plan.forward
        read = {*self.plan.after.inputs, self.output}
        bare = Loop(loop.name, loop.nodes, loop.carries, loop.results, tuple(n for n in loop.saved if n in read))
        return LoopKernel(schedule(lower(bare)), self.dtype, reverse=False, bf16=self.bf16)

    def is_long(self, layout: Layout) -> bool:
        """Whether a scan over a batch takes so long that to run another beside it is worth a thread that is woken."""
        return layout.num_rows * self._work >= _LONG

    @once
    def _work(self) -> int:
        """About how much a step of one sequence takes, in flops."""
        program = self.inference.plan.program
        others = sum(value.width for value in program.values if value.op not in ("dot", "conv", *LEAVES))
        return program.flops + _FLOPS_OF_A_NUMBER * others

    @once
    def reverse(self) -> LoopKernel:
        """The loop of the backward pass."""
        plan = schedule(lower(self.plan.reverse), streamed=self.plan.reverse.saved)
        return LoopKernel(plan, self.dtype, reverse=True, bf16=self.bf16)

    @once
    def _together(self) -> Kept:
        """What is kept for the backward pass in one tensor."""
        kernels = (*self.regions.before.kernels, self.training, *self.regions.after.kernels)
        return Kept(set(self.plan.kept) - {self.output, self._echo}, kernels, self._numbers, self.dtype)

    @once
    def keeps(self) -> tuple[fx.Node | None, ...]:
        """What the tensors are that a backward pass reads besides what the forward pass was given; None is the one that
        holds several."""
        together = self._together.nodes
        return (*([None] if together else []), *(node for node in self.plan.kept if node not in together))

    @once
    def output_is_made_after(self) -> bool:
        """Whether the outputs come from what runs after the forward loop, and may be views of something else."""
        return self.output not in self.plan.forward.saved

    @property
    def num_made(self) -> int:
        """How many values that are made of weights `given` adds to what it is given."""
        return len(self._of_weights)

    def left(self, num_rows: int) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """Sizes and types of what a forward pass leaves for the backward pass besides the outputs: what is made of
        weights, then what is kept. The number of rows may be a symbol."""
        found = []
        for node in self._of_weights:
            found.append((_sizes(node, num_rows), self.dtype if node in self._numbers else node.meta["val"].dtype))
        for each in self.keeps:
            if each is None:
                found.append(((self._together.size(num_rows),), self.dtype))
            elif each is not self.output:
                found.append((_sizes(each, num_rows), each.meta["val"].dtype))
        return found

    @once
    def has_gradient(self) -> tuple[bool, ...]:
        """Which of the tensors that a scan takes have a gradient."""
        by_name = dict(zip(self.learned, self.gradients, strict=False))
        d_x = self.gradients[len(self.learned)]
        return (
            *(by_name.get(name) is not None for name in self.constants),
            d_x is not None,
            *(True for _ in self.fields),
        )

    @once
    def _programs(self) -> dict[str, Programs]:
        resized = {"training": self._resized, "inference": self._resized, "backward": self._resized_backward}
        return {name: Programs(each, is_fixed=not self.draws) for name, each in resized.items()}

    def program(self, name: str, layout: Layout, threads: int) -> Program | None:
        """The program of a pass over a batch, if one was recorded and nothing is made of weights before it."""
        return None if self._of_weights else self._programs[name].known(layout, threads)

    def _resized(self, num_rows: int, given: Given) -> Given:
        """What a forward pass over another number of rows would be given; all rows are 0."""
        x = len(self.constants)
        return (*given[:x], given[x].new_zeros(num_rows, *given[x].shape[1:]), *given[x + 1 :])

    def _resized_backward(self, num_rows: int, given: Given) -> Given:
        """Likewise of a backward pass."""
        first = self.takes + self.num_made
        kept, (d_output, *d_state) = given[first : first + len(self.keeps)], given[first + len(self.keeps) :]
        sizes = iter(self.left(num_rows)[self.num_made :])
        read = (
            each.new_zeros((num_rows, *each.shape[1:]) if node is self.output else next(sizes)[0])
            for node, each in zip(self.keeps, kept, strict=True)
        )
        d_output = d_output.new_zeros(num_rows, *d_output.shape[1:])
        return (*self._resized(num_rows, given[:first]), *read, d_output, *d_state)

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
        run = functools.partial(self._forward, 1, keep)
        return self._programs["training" if keep else "inference"].run(run, layout, given)

    def forward_in_turns(self, layout: Layout, given: Given, *, keep: bool, jobs: int) -> team.Turns[Results]:
        """As `forward`, for `team.together` with so many jobs."""
        kernel = self._loop(layout, keep=keep)
        run = functools.partial(self._forward, jobs, keep)
        return _beside_others(self._programs["training" if keep else "inference"], kernel, run, layout, given, jobs)

    def _forward(self, jobs: int, keep: bool, layout: Layout, given: Given) -> team.Turns[Results]:
        kernel, count = self._loop(layout, keep=keep), layout.num_rows
        values = self._values(layout, given)
        goals: dict[fx.Node, Tensor] = {}
        if keep and self._together.nodes:
            values[None] = self._together.new(count)
            goals = self._together.rows(values[None], count)
        self.regions.before.run(values, count, goals)
        state = given[len(self.constants) + 1 : self.takes]
        if keep and kernel is not self.training:
            values[self._echo], goals[self.output] = self._shifted(layout, state)
        after = yield from kernel.in_turns(values, kernel.tiling(layout, jobs=jobs), state, count, goals)
        self.regions.after.run(values, count, goals)
        return [layout.shaped(values[self.output]), *after, *(values[node] for node in self.keeps if keep)]

    def _shifted(self, layout: Layout, state: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Rows for the state before each step and for the outputs: the same memory, one step apart.

        What is changed in place of the outputs changes the others, too; autograd notices, as both are views of one
        tensor.
        """
        before = state[self.plan.forward.carries.index(self._echo)]
        count, batch = layout.num_rows, len(layout.lengths)
        rows = arena.empty((count + batch, before.shape[1]), self.dtype)
        one, other = rows[:count], rows[batch:]
        self._copier.copy(before, rows[:batch] if layout.stride > 0 else rows[count:])
        return (one, other) if layout.stride > 0 else (other, one)

    def backward(self, layout: Layout, given: Given) -> Results:
        """Gradients of the learned constants and of x, None where there is none; then of the state at the beginning.

        Args:
            layout: see `forward`.
            given: what `forward` was given, what it kept, and the gradients of outputs [N, O] and of the state after
                the last steps.
        """
        run = functools.partial(self._backward, 1)
        return self.concluded(layout, given, self._programs["backward"].run(run, layout, given))

    def backward_in_turns(self, layout: Layout, given: Given, *, jobs: int) -> team.Turns[Results]:
        """As `backward`, for `team.together` with so many jobs."""
        run = functools.partial(self._backward, jobs)
        found = yield from _beside_others(self._programs["backward"], self.reverse, run, layout, given, jobs)
        return self.concluded(layout, given, found)

    def _backward(self, jobs: int, layout: Layout, given: Given) -> team.Turns[Results]:
        kernel = self.reverse
        values = self._values(layout, given, (*self.keeps, self.d_output, *self.plan.reverse.carries))
        if self._together.nodes:
            values.update(self._together.rows(values[None], layout.num_rows))
        self.regions.before_reverse.run(values, layout.num_rows)
        d_state = given[len(given) - len(self.fields) :]
        d_before = yield from kernel.in_turns(values, kernel.tiling(layout, jobs=jobs), d_state, layout.num_rows)
        self.regions.after_reverse.run(values, layout.num_rows)
        return [*(None if node is None else values[node] for node in self._summed), *d_before]

    @once
    def _summed(self) -> tuple[fx.Node | None, ...]:
        """What a backward pass ends with: the gradients, or what they are concluded from; None where there is none."""
        postlude = self.plan.postlude
        made = {*postlude.nodes, *self.inputs, *self.plan.prelude.outputs}
        if made.isdisjoint(self.gradients):
            return self.gradients
        found = [node for node in (*self.gradients, *postlude.inputs) if node is not None and node not in made]
        return tuple(dict.fromkeys(found))

    def concluded(self, layout: Layout, given: Given, found: Results) -> Results:
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
        d_constants = (None if place is None else d_learned[place] for place in self._places)
        return (*d_constants, None if d_x is None else layout.shaped(d_x), *d_state)

    @once
    def _places(self) -> tuple[int | None, ...]:
        """Of each constant, which of the learned ones it is; None where it is none."""
        return tuple(self.learned.index(name) if name in self.learned else None for name in self.constants)


def _sizes(node: fx.Node, num_rows: int) -> tuple[int, ...]:
    """The shape of a value for so many rows."""
    return tuple(batch_factor(size) * num_rows if batch_factor(size) else size for size in node.meta["val"].shape)


def _beside_others(
    programs: Programs,
    kernel: LoopKernel,
    run: Pass,
    layout: Layout,
    given: Given,
    jobs: int,
) -> team.Turns[Results]:
    """A pass that may run at the same time as others, with one thread, or with some that share the loop's products."""
    sharers = kernel.tiling(layout, jobs=jobs).sharers
    if 1 < sharers <= team.num_threads() // jobs:  # a program with threads of its own would run alone
        return run(layout, given)
    return programs.turns(run, layout, given, alone=sharers == 1)
