"""Padded inputs of one length run in place: in any order in memory, in both directions, on every engine."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import recurra
from recurra import Ragged
from recurra.cells import GRU, LSTM, RNN
from recurra.engine.block import Block, Packed, Reversed
from recurra.engine.cpu.tiling import Layout
from recurra.networks.recurrent import variational
from tests.tolerance import assert_close


def test_a_block_is_a_ragged_batch_in_another_order() -> None:
    x = torch.randn(4, 3, 2)
    for block in (Block(x), Block(x).reverse()):
        ragged = block.to_ragged()
        assert_close(ragged.to_padded(), x.flip(0) if block.backward else x)
        assert_close(block.from_ragged(ragged.values), x)
        assert (block.num_steps, block.batch_size, block.max_length) == (12, 3, 4)
    assert Block(x).to_padded(num_steps=4) is x


def test_sequences_that_run_the_other_way_stand_where_they_are() -> None:
    x = Ragged.from_list([torch.randn(n, 2) for n in (3, 0, 4)])
    back = Reversed(x)
    assert back.values is x.values
    assert torch.equal(back.to_ragged().values, x.reverse().values)
    assert torch.equal(back.from_ragged(back.to_ragged().values), x.values)
    assert (back.num_steps, back.batch_size, back.max_length) == (7, 3, 4)
    assert torch.equal(back.map(torch.tanh).to_ragged().values, x.reverse().values.tanh())
    layout = Layout.of(back)
    assert torch.equal(layout.to_ragged(x.values).values, x.reverse().values)
    assert torch.equal(layout.from_ragged(x.reverse().values), x.values)


@pytest.mark.parametrize("lengths", [[5, 3, 3, 1], [4], [2, 2], [3, 1, 1, 1, 1, 1, 1]])
def test_packed_sequences_stand_where_they_are(lengths: list[int]) -> None:
    x = Ragged.from_list([torch.randn(n, 2) for n in lengths])
    data, batch_sizes, _, _ = x.to_packed()
    for packed, same in ((Packed(data, batch_sizes), x), (Packed(data, batch_sizes).reverse(), x.reverse())):
        assert torch.equal(packed.to_ragged().values, same.values)
        assert torch.equal(packed.from_ragged(same.values), data)
        assert (packed.num_steps, packed.batch_size, packed.max_length) == (sum(lengths), len(lengths), max(lengths))
        layout = Layout.of(packed)
        assert layout.lengths.tolist() == lengths
        assert torch.equal(layout.to_ragged(data).values, same.values)
        assert torch.equal(layout.from_ragged(same.values), data)
        larger = layout.resized(sum(lengths) + 5)
        assert larger.kind == layout.kind
        assert larger.num_rows == sum(lengths) + 5
        assert sorted(larger.rows_from(0, larger.lengths).tolist()) == list(range(larger.num_rows))


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_layout_says_where_the_steps_of_a_block_stand(backward: bool, batch_first: bool) -> None:
    x = torch.randn(3, 4, 2).transpose(0, 1) if batch_first else torch.randn(4, 3, 2)
    block = Block(x, backward)
    layout = Layout.of(block)
    rows = layout.rows(x)
    assert rows.data_ptr() == x.data_ptr()
    assert torch.equal(layout.shaped(rows), x)
    order = x.flip(0) if backward else x
    for b in range(3):
        for t in range(4):
            assert torch.equal(rows[layout.first[b] + t * layout.stride], order[t, b])
    assert torch.equal(layout.to_ragged(x).values, block.to_ragged().values)
    assert torch.equal(layout.from_ragged(block.to_ragged().values), x)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_every_step_is_dealt_out_once(threads: int) -> None:
    for lengths in ([5, 5, 5, 5, 5, 5, 5], [3, 0, 7, 1, 7, 2], [9, 1, 4, 4], [], [0, 0]):
        x = Ragged.from_list([torch.zeros(n, 1) for n in lengths] or [torch.zeros(0, 1)])
        layouts = [Layout.of(x), Layout.of(Reversed(x))]
        if x.batch_size and x.num_steps and not (x.lengths == 0).any():
            packed = Packed(*x.to_packed()[:2])
            layouts += [Layout.of(packed), Layout.of(packed.reverse())]
        for layout in layouts:
            tiling = layout.tiling(threads, 2)
            assert sorted(tiling.order.tolist()) == list(range(x.batch_size))
            ran = []
            for first, count, steps, at in tiling.tiles.tolist():
                assert count <= tiling.rows <= 2
                for t in range(steps):
                    shift = t * tiling.row_stride if tiling.step_rows is None else tiling.step_rows[t + 1]
                    ran += [tiling.row_base[first + r] + shift for r in range(tiling.active[at + t])]
            assert sorted(ran) == list(range(x.num_steps))
            assert layout.tiling(threads, 2) is tiling


def test_batches_with_the_same_offsets_share_their_layout() -> None:
    for lengths in ((3, 1), (3,)):
        x = Ragged.from_list([torch.randn(n, 2) for n in lengths])
        y = x.map(torch.tanh)
        assert Layout.of(y) is Layout.of(x)
        assert Layout.of(Reversed(y)) is Layout.of(Reversed(x)) is not Layout.of(x)


def _everything(cell: Any, x: Tensor, engine: str, reverse: bool) -> list[Tensor]:
    x = x.detach().requires_grad_()
    y, state = recurra.scan(cell, x, engine=engine, reverse=reverse)
    loss = (y * torch.linspace(0, 1, y.numel(), dtype=y.dtype).view(y.shape)).sum() + sum(part.sum() for part in state)
    return [y, *state, *torch.autograd.grad(loss, [x, *cell.parameters()])]


@pytest.mark.parametrize("engine", ["compiled", "torch"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("make", [lambda: GRU(3, 5), lambda: LSTM(3, 5), lambda: LSTM(3, 6, proj_size=5)])
@pytest.mark.parametrize("strides", ["plain", "batch first", "odd"])
def test_both_directions_on_every_engine(make: Any, engine: str, reverse: bool, strides: str) -> None:
    cell = make().double()
    x = {
        "plain": torch.randn(7, 4, 3).double(),
        "batch first": torch.randn(4, 7, 3).double().transpose(0, 1),
        "odd": torch.randn(7, 8, 6).double()[:, ::2, ::2],
    }[strides]
    want = _everything(cell, x, "reference", reverse)
    for got, expected in zip(_everything(cell, x, engine, reverse), want, strict=True):
        assert_close(got.detach(), expected.detach())


def test_one_mask_a_sequence_serves_all_steps_of_a_block() -> None:
    dropped = variational(Block(torch.ones(6, 3, 8)), 0.5, True).values
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))
    assert 0 < (dropped == 0).float().mean() < 1


class Echo(GRU):
    """Its output is a part of its input."""

    def step(self, x: Tensor, state: Any, read: Any = None) -> Any:
        return x[:, : self.hidden_size], super().step(x, state, read)[1]


@pytest.mark.parametrize("lengths", [None, [4, 2]])
def test_outputs_are_nobody_elses_memory(lengths: list[int] | None) -> None:
    x = torch.randn(4, 2, 5)
    kept = x.clone()
    y, _ = recurra.scan(Echo(5, 3), x, lengths=lengths, engine="compiled")
    y.add_(1)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("num_steps", [4, 20_000])  # the memory of many steps comes from elsewhere
@pytest.mark.parametrize("ragged", [False, True])
def test_outputs_may_be_changed_in_place_where_nobody_needs_them(num_steps: int, ragged: bool) -> None:
    def outputs(cell: Any) -> Tensor:
        if not ragged:
            return recurra.scan(cell, x[:, None], engine="compiled")[0]
        return recurra.scan(cell, Ragged.from_list([x]), engine="compiled")[0].values

    x = torch.randn(num_steps, 5).double().requires_grad_()
    outputs(Echo(5, 3).double()).mul_(2).sum().backward()
    assert x.grad is not None
    assert_close(x.grad[:, :3], torch.full((num_steps, 3), 2.0).double())
    outputs(GRU(5, 3).double()).mul_(2).sum().backward()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):  # its backward reads them
        outputs(RNN(5, 3).double()).mul_(2).sum().backward()
