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
from recurra.engine.cpu.replay import Given, Results
from recurra.engine.cpu.tiling import Layout

__all__ = ["Part", "scanned"]


class Part(NamedTuple):
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
        # the outputs are kept as they go out, so that a change in place is noticed, and as no view: in one of these
        # autograd lets nobody make any
        output = output.detach() if output._is_view() else output
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


class _Scan(torch.autograd.Function):
    """One scan, or two that run at the same time, which a backward pass may follow: `forward(parts, *all tensors)`."""

    @staticmethod
    def forward(ctx: Any, parts: tuple[Part, ...], *tensors: Tensor) -> Any:
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
        parts: tuple[Part, ...] = ctx.parts
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


def _given(parts: Sequence[Part], tensors: Sequence[Tensor]) -> list[Given]:
    """What the forward pass of each part is given."""
    if len(parts) == 1:
        return [parts[0].code.given(parts[0].layout, tensors)]
    own = _dealt(tensors, [part.code.takes for part in parts])
    return [part.code.given(part.layout, each) for part, each in zip(parts, own, strict=True)]


def _forward(
    parts: Sequence[Part], given: Sequence[Given], *, keep: bool
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


def _backward(parts: Sequence[Part], given: Sequence[Given]) -> list[Results]:
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


def scanned(parts: Sequence[Part], keep: bool, tensors: Sequence[Tensor]) -> list[tuple[Tensor, Any]]:
    """Outputs and last state of each part."""
    if keep:
        results = _Scan.apply(tuple(parts), *tensors)
        dealt = _dealt(results, [1 + len(part.code.fields) for part in parts])
        return [(output, part.cell.State(*after)) for part, (output, *after) in zip(parts, dealt, strict=True)]
    # without the detour through autograd, which takes as long as a few steps of a small cell
    with torch.no_grad() if torch.is_grad_enabled() else contextlib.nullcontext():
        found = _forward(parts, _given(parts, tensors), keep=False)
    return [(output, part.cell.State(*after)) for part, (output, after, _) in zip(parts, found, strict=True)]
