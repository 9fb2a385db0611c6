"""Scans of compiled cells as functions of torch's autograd: one of them, or two that run at the same time."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.engine.by_reference import by_reference
from recurra.engine.cell_code import Compiled
from recurra.engine.contract import Cell
from recurra.engine.cpu import team
from recurra.engine.cpu.replay import Given, Program, Results
from recurra.engine.cpu.tiling import Layout
from recurra.engine.memory import in_memory
from recurra.engine.ready import Ready
from recurra.errors import CompileError

__all__ = ["Part", "expect_one_at_a_time", "scanned"]


class Part(NamedTuple):
    """One scan: of a cell, over the rows of a batch; `ready` is what is known of scans like it."""

    cell: Cell
    code: Compiled
    layout: Layout
    ready: Ready | None = None

    def forward_program(self, threads: int, tensors: Given, *, keep: bool) -> Program | None:
        """The program of `Compiled.forward`, if it is known and reads the tensors where they stand."""
        if self.ready is None:
            return None
        name = "training" if keep else "inference"
        return self.ready.program(name, threads, tensors, lambda: self.code.given(self.layout, tensors))

    def backward_program(self, threads: int, own: Given, kept: Given, d_results: Given) -> Program | None:
        """That of `Compiled.backward`, likewise."""
        if self.ready is None:
            return None
        tensors = *own, *kept, *d_results
        return self.ready.program("backward", threads, tensors, lambda: self.to_backward(own, (), kept, d_results))

    def results(self, given: Given, found: Results) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]:
        """The outputs as they go out, the state after the last steps, and what a backward pass reads besides."""
        output, *others = found
        output = output if output.is_contiguous() else output.contiguous()
        if self.code.output_is_made_after and _shares_memory(output, (*given, *others)):
            output = output.clone()
        count = len(self.code.fields)
        # the outputs are kept as they go out, so that a change in place is noticed, and as no view: in one of these
        # autograd lets nobody make any
        output = output.detach() if output._is_view() else output
        after, kept = others[:count], others[count:]
        if kept and self.code.output in self.code.keeps:
            kept[self.code.keeps.index(self.code.output)] = output
        return output, after, kept

    def spread(self, d_results: Given) -> Given:
        """Gradients of the results; what a sum hands back, one number seen from all places, stands at each."""
        d_output, *d_state = d_results
        if 0 in d_output.stride():
            d_output = self.layout.shaped(self.layout.rows(d_output).contiguous())
        return d_output, *(each.contiguous() if 0 in each.stride() else each for each in d_state)

    def to_backward(self, own: Given, prelude: Given, kept: Given, d_results: Given) -> Given:
        """What the backward pass is given."""
        d_output, *d_state = d_results
        rows, code, x = self.layout.rows, self.code, len(self.code.constants)
        read = (rows(each) if node is code.output else each for node, each in zip(code.keeps, kept, strict=True))
        return (*own[:x], rows(own[x]), *own[x + 1 :], *prelude, *read, rows(d_output), *d_state)


class _Scan(torch.autograd.Function):
    """One scan, or two that run at the same time, which a backward pass may follow: `forward(parts, *all tensors)`."""

    @staticmethod
    def forward(ctx: Any, parts: tuple[Part, ...], *tensors: Tensor) -> Any:
        results: list[Tensor] = []
        saved: list[Tensor] = []
        ctx.parts, ctx.preludes = parts, []
        for made, (output, after, kept) in _at_once(parts, tensors, keep=True) or _forward(parts, tensors, keep=True):
            ctx.preludes.append(made)
            results += [output, *after]
            saved += kept
        ctx.save_for_backward(*tensors, *saved)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *d_results: Tensor) -> Any:
        parts: tuple[Part, ...] = ctx.parts
        takes = [part.code.takes for part in parts]
        counts = [*takes, *(len(part.code.keeps) for part in parts)]
        dealt = _dealt(ctx.saved_tensors, counts)
        own, kept = dealt[: len(parts)], dealt[len(parts) :]
        d_own = _dealt([*map(in_memory, d_results)], [1 + len(part.code.fields) for part in parts])
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted: the reference engine has one
            needed = _dealt(ctx.needs_input_grad[1:], takes)
            again = [by_reference(*part[:3], *each) for part, *each in zip(parts, own, d_own, needed, strict=True)]
            return (None, *itertools.chain.from_iterable(again))
        d_own = [part.spread(each) for part, each in zip(parts, d_own, strict=True)]
        try:
            found = _backward(parts, own, ctx.preludes, kept, d_own)
        except RuntimeError as error:
            expect_one_at_a_time(d_results, error)
            raise
        gradients: list[Tensor | None] = []
        for part, each in zip(parts, found, strict=True):
            gradients += part.code.of_all(part.layout, *part.code.sorted_out(each))
        return (None, *gradients)


def expect_one_at_a_time(d_results: Iterable[Tensor], error: RuntimeError) -> None:
    """Say what is wrong with gradients that cannot be read, where there are many in one.

    Raises:
        CompileError: that is so.
    """
    if any(map(torch._C._functorch.is_legacy_batchedtensor, d_results)):
        raise CompileError(
            "The compiled engine takes one gradient at a time: in place of `is_grads_batched=True` or "
            "`vectorize=True` use a loop, or engine='reference'."
        ) from error


# of each part what was made of weights, and `Part.results`
_Found = list[tuple[Given, tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]]]


def _at_once(parts: Sequence[Part], tensors: Given, *, keep: bool) -> _Found | None:
    """As `_forward`, of parts whose programs are known."""
    threads = _threads_each(parts)
    dealt = _dealt(tensors, [part.code.takes for part in parts])
    programs = [part.forward_program(threads, own, keep=keep) for part, own in zip(parts, dealt, strict=True)]
    found = _results(parts, programs, dealt)
    if found is None:
        return None
    return [((), part.results(own, each)) for part, own, each in zip(parts, dealt, found, strict=True)]


def _threads_each(parts: Sequence[Part]) -> int:
    """How many threads the program of each part is for: one, where another runs at the same time."""
    return team.num_threads() if len(parts) == 1 else 1


def _results(
    parts: Sequence[Part], programs: Sequence[Program | None], tensors: Sequence[Given]
) -> list[Results] | None:
    """What the programs of the parts give, at the same time; None where one is not known."""
    known = [(program, part.layout) for part, program in zip(parts, programs, strict=True) if program is not None]
    if len(known) < len(parts):
        return None
    if len(known) == 1:
        ((program, layout),) = known
        return [program.run_on(layout, tensors[0])]
    pairs = zip(known, tensors, strict=True)
    return team.together([program.turns_on(layout, own) for (program, layout), own in pairs])


def _forward(parts: Sequence[Part], tensors: Given, *, keep: bool) -> _Found:
    if len(parts) == 1:
        (part,) = parts
        given = part.code.given(part.layout, tensors)
        return [(given[part.code.takes :], part.results(given, part.code.forward(part.layout, given, keep=keep)))]
    dealt = zip(parts, _dealt(tensors, [part.code.takes for part in parts]), strict=True)
    both = [(part, part.code.given(part.layout, own)) for part, own in dealt]
    results = team.together(
        [part.code.forward_in_turns(part.layout, given, keep=keep, jobs=len(parts)) for part, given in both]
    )
    pairs = zip(both, results, strict=True)
    return [(given[part.code.takes :], part.results(given, each)) for (part, given), each in pairs]


def _backward(
    parts: Sequence[Part], own: list[Given], preludes: list[Given], kept: list[Given], d_results: list[Given]
) -> list[Results]:
    """What `Compiled.backward` gives of each part."""
    threads = _threads_each(parts)
    read = list(zip(own, kept, d_results, strict=True))
    programs = [part.backward_program(threads, *tensors) for part, tensors in zip(parts, read, strict=True)]
    found = _results(parts, programs, [tuple(itertools.chain.from_iterable(tensors)) for tensors in read])
    if found is not None:
        ended = zip(parts, own, found, strict=True)
        return [part.code.concluded(part.layout, given, results) for part, given, results in ended]
    each = zip(parts, own, preludes, kept, d_results, strict=True)
    given = [(part, part.to_backward(*tensors)) for part, *tensors in each]
    if len(parts) == 1:
        return [part.code.backward(part.layout, tensors) for part, tensors in given]
    return team.together(
        [part.code.backward_in_turns(part.layout, tensors, jobs=len(parts)) for part, tensors in given]
    )


def _dealt(items: Sequence[Any], counts: Sequence[int]) -> list[tuple[Any, ...]]:
    """So many items for each."""
    ends = list(itertools.accumulate(counts))
    return [tuple(items[end - count : end]) for end, count in zip(ends, counts, strict=True)]


def _shares_memory(tensor: Tensor, others: Iterable[Tensor]) -> bool:
    address = tensor.untyped_storage().data_ptr()
    return any(other.untyped_storage().data_ptr() == address for other in others if other is not tensor)


def scanned(parts: Sequence[Part], keep: bool, tensors: Sequence[Tensor]) -> list[tuple[Tensor, Any]]:
    """Outputs and last state of each part."""
    if keep:
        results = _Scan.apply(tuple(parts), *tensors)
        dealt = _dealt(results, [1 + len(part.code.fields) for part in parts])
        return [(output, part.cell.State(*after)) for part, (output, *after) in zip(parts, dealt, strict=True)]
    # without the detour through autograd, which takes as long as a few steps of a small cell
    found = _at_once(parts, tuple(tensors), keep=False)
    if found is None:
        with torch.no_grad() if torch.is_grad_enabled() else contextlib.nullcontext():
            found = _forward(parts, tuple(tensors), keep=False)
    return [(output, part.cell.State(*after)) for part, (_, (output, after, _)) in zip(parts, found, strict=True)]
