"""A scan that keeps few states: the same numbers and gradients as one that keeps all, in less memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra import Ragged
from recurra.cells import GRU, LSTM, LearnedInitialState, RecurrentDropout, WeightDrop, Zoneout
from recurra.errors import CompileError, ConfigError
from tests.engine.engines import results
from tests.tolerance import assert_close

CELLS: dict[str, Any] = {
    "gru": lambda: GRU(3, 5),
    "lstm layer norm": lambda: LSTM(3, 5, layer_norm=True),
    "zoneout, which draws at every step": lambda: Zoneout(LSTM(3, 5), 0.3),
    "recurrent dropout": lambda: RecurrentDropout(GRU(3, 5), 0.3),
    "weight drop, which draws once": lambda: WeightDrop(GRU(3, 5), 0.3),
    "learned state": lambda: LearnedInitialState(GRU(3, 5)),
}


def ragged(lengths: list[int]) -> Ragged:
    return Ragged.from_list([torch.randn(length, 3, dtype=torch.float64) for length in lengths])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("every", [1, 3, 100])
@pytest.mark.parametrize("name", CELLS)
def test_outputs_and_gradients_are_those_of_a_scan_that_keeps_all(name: str, every: int, reverse: bool) -> None:
    cell = CELLS[name]().double()
    x = ragged([4, 0, 7, 1, 0, 11])
    x = Ragged(x.values, x.offsets, torch.tensor([0, 2, 5, 6, 20]))
    state = cell.initial_state(6, dtype=torch.float64)
    if name.startswith("zoneout"):  # pieces draw in the order in which they run: one that runs forward is the whole
        every, reverse = 100, False
    want = results(cell, x, state, "compiled", reverse=reverse)
    got = results(cell, x, state, "compiled", reverse=reverse, checkpoint_every=every)
    for key, tensor in want.items():
        assert_close(got[key], tensor)


def test_what_is_drawn_again_is_what_was_drawn() -> None:
    cell = Zoneout(LSTM(3, 5), 0.5).double()
    x = torch.randn(9, 2, 3, dtype=torch.float64, requires_grad=True)
    h = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, h: Tensor) -> Tensor:
        torch.manual_seed(3)
        state = cell.State(h, torch.zeros_like(h))
        return recurra.scan(cell, x, state, checkpoint_every=2)[0]

    assert torch.autograd.gradcheck(run, (x, h))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_blocks_of_any_order_and_their_second_gradient(batch_first: bool, reverse: bool) -> None:
    cell = GRU(3, 4).double()
    x = torch.randn(2, 5, 3).double().transpose(0, 1) if batch_first else torch.randn(5, 2, 3).double()

    def run(x: Tensor) -> Tensor:
        return recurra.scan(cell, x, reverse=reverse, checkpoint_every=2)[0]

    x.requires_grad_()
    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(run, x)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
def test_nothing_to_do_is_done(lengths: list[int]) -> None:
    cell = GRU(3, 4).double()
    x = ragged(lengths) if lengths else Ragged(torch.zeros(0, 3).double(), torch.zeros(1).long())
    y, _ = recurra.scan(cell, x, checkpoint_every=2)
    assert y.values.shape == (0, 4)


def test_less_is_kept() -> None:
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    def numbers(**options: Any) -> int:
        kept.clear()
        network = recurra.Recurrent(LSTM(4, 32), engine="compiled", **options)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(torch.randn(400, 2, 4))
        return sum(kept)

    assert numbers(checkpoint_every=20) < 0.25 * numbers()


def test_a_network_trains_with_it() -> None:
    torch.manual_seed(0)
    whole = recurra.Recurrent(GRU(3, 6), num_layers=2, bidirectional=True).double()
    few = recurra.Recurrent(GRU(3, 6), num_layers=2, bidirectional=True, checkpoint_every=3).double()
    few.load_state_dict(whole.state_dict())
    x = torch.randn(10, 4, 3).double()
    for network in (whole, few):
        network(x, lengths=[10, 2, 0, 7])[0].square().mean().backward()
    for one, other in zip(few.parameters(), whole.parameters(), strict=True):
        assert_close(one.grad, other.grad)
    assert "checkpoint_every=3" in repr(few)


class Unknown(recurra.Cell):
    """A step that no engine but the reference one can run."""

    State: Any = GRU.State

    def __init__(self) -> None:
        super().__init__(3, 3)
        self.weight = nn.Parameter(torch.ones(3))

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        h = torch.cummax(x * self.weight + state.h, -1).values
        return h, self.State(h)


def test_what_cannot_be_is_said() -> None:
    x = torch.randn(4, 2, 3)
    with pytest.raises(ConfigError, match=r"`checkpoint_every` must be a whole number of at least 1, got 0\."):
        recurra.scan(GRU(3, 4), x, checkpoint_every=0)
    with pytest.raises(ConfigError, match=r"is of the compiled engine: take engine='auto', not 'reference'\."):
        recurra.scan(GRU(3, 4), x, engine="reference", checkpoint_every=2)
    with pytest.raises(CompileError):
        recurra.scan(Unknown(), x, checkpoint_every=2)
