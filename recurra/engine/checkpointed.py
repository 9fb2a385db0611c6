"""A scan that keeps the state at every k-th step, and nothing else: what lies between runs again on the way back.

Memory goes from T steps of what a backward pass reads to T / k states and k such steps; time grows by one more forward
pass. Where k is the root of T both parts are about the same.

Source: Chen, Xu, Zhang and Guestrin 2016, "Training deep nets with sublinear memory cost", arXiv:1604.06174.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recurra.engine.autograd import expect_one_at_a_time
from recurra.engine.by_reference import by_reference
from recurra.engine.cpu.tiling import Layout
from recurra.engine.memory import in_memory
from recurra.ragged import take_rows

if TYPE_CHECKING:
    from recurra.engine.cell_code import Compiled

__all__ = ["ScanAgain"]


class _Piece(NamedTuple):
    """At most k steps of each sequence.

    Attributes:
        rows: int64 [n], where these steps stand among the rows of the whole.
        layout: of the rows of the piece alone.
    """

    rows: Tensor
    layout: Layout


def _cut(layout: Layout, every: int) -> list[_Piece]:
    """The pieces of all sequences, the first steps first."""
    pieces = []
    for start in range(0, int(layout.lengths.max(initial=0)), every):
        lengths = np.clip(layout.lengths - start, 0, every)
        first = np.concatenate([np.zeros(1, np.int64), lengths.cumsum()[:-1]])
        rows = layout.rows_from(start, lengths)
        pieces.append(_Piece(torch.from_numpy(rows), Layout(lengths, first)))
    return pieces


def _forward(
    code: Compiled, pieces: list[_Piece], constants: tuple[Tensor, ...], x: Tensor, state: tuple[Tensor, ...]
) -> tuple[Tensor, list[tuple[Tensor, ...]], list[Tensor]]:
    """Outputs [N, O]; the states before each piece and after the last; the random state before each piece.

    Args:
        code: the compiled cell.
        pieces: of the whole, in order.
        constants: what the cell reads beside inputs and state.
        x: rows [N, I].
        state: before the first steps.
    """
    output = x.new_empty(len(x), *code.output.meta["val"].shape[1:])
    states, draws = [state], []
    for rows, layout in pieces:
        if code.draws:
            draws.append(torch.get_rng_state())
        given = code.given(layout, (*constants, take_rows(x, rows), *states[-1]))
        values, *after = code.forward(layout, given, keep=False)
        output.index_copy_(0, rows, values)
        states.append(tuple(after))
    return output, states, draws


def _backward(
    code: Compiled,
    pieces: list[_Piece],
    constants: tuple[Tensor, ...],
    x: Tensor,
    states: list[tuple[Tensor, ...]],
    draws: list[Tensor],
    d_output: Tensor,
    d_state: tuple[Tensor, ...],
) -> tuple[list[Tensor | None], Tensor | None, tuple[Tensor, ...]]:
    """Gradients of the learned constants, of x, and of the state before the first steps; see `_forward`."""
    d_learned: list[Tensor | None] = [None] * len(code.learned)
    d_x: Tensor | None = None
    for index in reversed(range(len(pieces))):
        rows, layout = pieces[index]
        tensors = (*constants, take_rows(x, rows), *states[index])
        with torch.random.fork_rng(devices=(), enabled=code.draws):
            if code.draws:
                torch.set_rng_state(draws[index])
            given = code.given(layout, tensors)
            kept = code.forward(layout, given, keep=True)[1 + len(code.fields) :]
        results = code.backward(layout, (*given, *kept, take_rows(d_output, rows), *d_state))
        found, d_piece, d_state = code.sorted_out(results)
        d_learned = [_sum(total, one) for total, one in zip(d_learned, found, strict=True)]
        if d_piece is not None:
            d_x = torch.zeros_like(x) if d_x is None else d_x
            d_x.index_copy_(0, rows, d_piece)
    return d_learned, d_x, d_state


def _sum(total: Tensor | None, one: Tensor | None) -> Tensor | None:
    if total is None or one is None:
        return one if total is None else total
    return total + one


class ScanAgain(torch.autograd.Function):
    """The scan of a cell, with what a backward pass reads computed again.

    `forward(cell, code, layout, every, *tensors)`, the tensors as `Compiled.forward` takes them.
    """

    @staticmethod
    def forward(ctx: Any, cell: Any, code: Compiled, layout: Layout, every: int, *tensors: Tensor) -> Any:
        count = len(code.constants)
        ctx.cell, ctx.code, ctx.layout, ctx.pieces = cell, code, layout, _cut(layout, every)
        x = layout.rows(tensors[count])
        output, states, ctx.draws = _forward(code, ctx.pieces, tensors[:count], x, tensors[count + 1 :])
        kept = [field for state in states[1:-1] for field in state]
        ctx.save_for_backward(*tensors, *kept)
        after = states[-1] if len(states) > 1 else tuple(field.clone() for field in states[-1])
        return layout.shaped(output), *after

    @staticmethod
    def backward(ctx: Any, d_output: Tensor, *d_state: Tensor) -> Any:
        code, layout = ctx.code, ctx.layout
        count, fields = len(code.constants), len(code.fields)
        saved = ctx.saved_tensors
        tensors, kept = saved[: count + 1 + fields], saved[count + 1 + fields :]
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted: the reference engine has one
            needed = ctx.needs_input_grad[4:]
            found = by_reference(ctx.cell, code, layout, tensors, (d_output, *d_state), needed)
            return (None, None, None, None, *found)
        states = [tensors[count + 1 :], *(kept[at : at + fields] for at in range(0, len(kept), fields))]
        d_output, *d_fields = map(in_memory, (d_output, *d_state))
        x, d_rows = layout.rows(tensors[count]), layout.rows(d_output)
        try:
            d_given = _backward(code, ctx.pieces, tensors[:count], x, states, ctx.draws, d_rows, tuple(d_fields))
        except RuntimeError as error:
            expect_one_at_a_time((d_output, *d_fields), error)
            raise
        return (None, None, None, None, *code.of_all(layout, *d_given))
