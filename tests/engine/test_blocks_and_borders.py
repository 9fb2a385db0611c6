"""Products with weights spread over the batch, and what is kept between the loops."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from recurra import Cell
from recurra.cells import LSTM, MLSTM, NTM
from recurra.engine.compiled import compiled
from recurra.engine.lower import lower
from recurra.engine.rows import from_rows, row_axis, row_width, to_rows
from recurra.engine.simplify import simplify
from recurra.engine.split import Plan, split
from recurra.engine.trace import BATCH, trace
from tests.engine.engines import assert_engines_agree

aten = torch.ops.aten


class State(NamedTuple):
    h: Tensor


class Heads(Cell):
    """`h = tanh(W x + product(h, weights))` with h as [B, heads, n, d] and weights [heads, d, d]."""

    State = State

    def __init__(self, product: Any, sizes: tuple[int, int, int] = (3, 1, 4)) -> None:
        heads, _, width = sizes
        super().__init__(2, torch.Size(sizes).numel())
        self.sizes, self.product = sizes, product
        self.w = nn.Linear(2, self.hidden_size)
        self.weights = nn.Parameter(torch.randn(heads, width, width) * 0.3)
        self.left = nn.Parameter(torch.randn(heads, sizes[1], sizes[1]) * 0.3)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        mixed = self.product(state.h.view(-1, *self.sizes), self)
        h = torch.tanh(self.w(x) + mixed.flatten(1))
        return h, State(h)


PRODUCTS: dict[str, Any] = {
    "broadcast": lambda h, cell: h @ cell.weights,
    "einsum": lambda h, cell: torch.einsum("bhnd,hde->bhne", h, cell.weights),
    "transposed": lambda h, cell: h @ cell.weights.mT,
    "from the left": lambda h, cell: cell.left @ h,
    "one for all": lambda h, cell: h @ cell.weights[0],
    "elementwise": lambda h, cell: (h[..., None] * cell.weights[:, None]).sum(-2),
}


def planned(cell: Any) -> Plan:
    traced = trace(cell, torch.float32)
    simplify(traced.graph)
    return split(traced)


@pytest.mark.parametrize("sizes", [(3, 1, 4), (2, 3, 5)], ids=str)
@pytest.mark.parametrize("name", PRODUCTS)
def test_every_way_to_write_products_of_heads_is_right(name: str, sizes: tuple[int, int, int]) -> None:
    assert_engines_agree(Heads(PRODUCTS[name], sizes).double(), [3, 0, 5])


@pytest.mark.parametrize("name", ["broadcast", "einsum", "transposed"])
def test_products_of_heads_are_packed_and_their_gradient_is_one_product(name: str) -> None:
    plan = planned(Heads(PRODUCTS[name]))
    for loop in (plan.forward, plan.reverse):
        assert [value.op for value in lower(loop).values].count("dot") == 3
    outside = [node for node in plan.after_reverse.nodes if node.target is aten.bmm.default]
    assert [tuple(node.meta["val"].shape) for node in outside] == [(3, 4, 4)]


def test_weights_are_never_copied_for_each_sequence() -> None:
    plan = planned(Heads(PRODUCTS["broadcast"], (2, 3, 5)))
    for loop in (plan.forward, plan.reverse):
        assert max(row_width(node) for node in loop.inputs if row_axis(node) is not None) <= 30


def test_a_matrix_memory_is_kept_once_for_the_backward_pass_and_not_at_all_without_one() -> None:
    code = compiled(MLSTM(8, 16, num_heads=2), torch.float32)
    assert sum(row_width(node) >= 2 * 8 * 8 for node in code.plan.kept) == 1
    assert all(width < 2 * 8 * 8 for _, width in code.inference.plan.outputs)
    assert all(width < 2 * 8 * 8 for _, width in code.reverse.plan.outputs)


def test_views_are_computed_again_rather_than_kept() -> None:
    plan = planned(NTM(3, 5, memory_size=6, word_size=4))
    for_the_loop = [node for node in plan.kept if node not in plan.after_reverse.inputs]
    assert for_the_loop
    assert not any(node.target in (aten.permute.default, aten.unsqueeze.default) for node in for_the_loop)


def test_what_is_made_of_kept_values_alone_is_computed_again() -> None:
    plan = planned(LSTM(3, 5))
    assert aten.tanh.default in {node.target for node in plan.reverse.nodes}
    # the states before, three gates and what goes into the cell: not tanh(c), which these make
    assert [row_width(node) for node in plan.forward.saved if node is not plan.trace.outputs[0]] == [5] * 6


def test_a_long_chain_of_cheap_calls_is_looked_at_once() -> None:
    """By every way through it there would be too many."""

    def chain(h: Tensor, cell: Any) -> Tensor:
        for _ in range(40):
            h = torch.where(h > 1, 1 - h, h * 0.9)
        return h @ cell.weights

    assert_engines_agree(Heads(chain), [2, 1])


@pytest.mark.parametrize("shape", [(BATCH, 2, 3), (2, BATCH, 3), (2, 3, BATCH), (BATCH * 2, 3), (4, BATCH * 3)])
def test_rows_of_a_value_come_out_as_they_went_in(shape: tuple[int, ...]) -> None:
    node = torch.fx.Graph().placeholder("x")
    node.meta["val"] = torch.empty(shape, device="meta")
    tensor = torch.randn([size // BATCH * 7 if size % BATCH == 0 else size for size in shape])
    rows = to_rows(tensor, node, 7)
    assert rows.shape == (7, row_width(node))
    assert torch.equal(from_rows(rows, node, 7), tensor)
    axis = row_axis(node)
    assert axis is not None
    parts = tensor.unflatten(axis, (7, -1)).movedim(axis, 0)
    assert torch.equal(rows[3], parts[3].flatten())
