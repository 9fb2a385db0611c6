"""Two directions of a layer that run at the same time, as they do where one sequence would leave a thread idle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import recurra
from recurra import Recurrent
from recurra.cells import GRU, LSTM
from recurra.engine import cell_code, compiled
from recurra.engine.cpu import team
from recurra.engine.cpu.replay import Program
from tests.tolerance import assert_close


@pytest.fixture(autouse=True)
def _four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cell_code, "_LONG", 0)  # scans of all sizes are worth a thread of their own
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The threads of each two jobs that run at the same time."""
    seen: list[tuple[int, int]] = []
    run_two = team._run_two

    def noted(one: team.Job, other: team.Job) -> None:
        seen.append((one.threads, other.threads))
        run_two(one, other)

    monkeypatch.setattr(team, "_run_two", noted)
    return seen


def numbers(network: Recurrent, x: Any, state: Any = None, **options: Any) -> list[torch.Tensor]:
    """Outputs, states, and the gradients of the inputs and of every parameter."""
    leaf = x.detach().clone().requires_grad_()
    y, after = network(leaf, state, **options)
    fields = [field for one in after for field in one]
    loss = y.square().sum() + sum(
        (field * torch.linspace(-1, 1, field.numel()).view_as(field)).sum() for field in fields
    )
    return [y, *fields, *torch.autograd.grad(loss, [leaf, *network.parameters()])]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("make", [lambda: GRU(3, 5), lambda: LSTM(3, 5, layer_norm=True)], ids=["gru", "lstm"])
def test_they_compute_what_one_after_the_other_does(make: Any, batch_size: int, pairs: list[tuple[int, int]]) -> None:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    network = Recurrent(make(), num_layers=2, bidirectional=True, engine="compiled")
    judge = Recurrent(make(), num_layers=2, bidirectional=True, engine="reference")
    judge.load_state_dict(network.state_dict())
    x = torch.randn(7, batch_size, 3)
    lengths = [7, 4, 1][:batch_size]
    for options in ({}, {"lengths": lengths}):
        for got, want in zip(numbers(network, x, **options), numbers(judge, x, **options), strict=True):
            assert_close(got, want)
    # two layers forward and back, twice; four threads are not enough for three sequences in both directions
    assert pairs == ([(batch_size, batch_size)] * 8 if batch_size < 3 else [])


def test_gradients_of_gradients_and_states_that_go_on(pairs: list[tuple[int, int]]) -> None:
    network = Recurrent(GRU(2, 3), bidirectional=True).double()
    x = torch.randn(4, 1, 2).double().requires_grad_()
    state = tuple(GRU.State(torch.randn(1, 3).double().requires_grad_()) for _ in range(2))

    def run(x: torch.Tensor, *fields: torch.Tensor) -> Any:
        y, after = network(x, tuple(GRU.State(field) for field in fields))
        return (y, *(field for one in after for field in one))

    inputs = (x, *(one.h for one in state))
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)
    assert pairs


def test_one_that_has_no_compiled_form_takes_the_other_way(pairs: list[tuple[int, int]]) -> None:
    class Highest(recurra.Cell):
        State = GRU.State

        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__(input_size, hidden_size)
            self.linear = nn.Linear(input_size + hidden_size, hidden_size)

        def step(self, x: torch.Tensor, state: Any) -> Any:
            h = torch.cummax(self.linear(torch.cat([x, state.h], -1)), -1).values
            return h, self.State(h)

    network = Recurrent(Highest(2, 3), bidirectional=True)
    with pytest.warns(UserWarning, match="`cummax` has no compiled form"):
        assert network(torch.randn(4, 1, 2))[0].shape == (4, 1, 6)
    assert not pairs


def test_more_sequences_than_threads_share_them_in_turn(
    pairs: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(compiled, "run_both", lambda *args: calls.append(1))
    Recurrent(GRU(2, 3), bidirectional=True)(torch.randn(4, 9, 2))
    assert not calls
    assert not pairs


@pytest.mark.parametrize("steps", [5, 300])
def test_both_run_as_programs_when_they_come_again(steps: int, pairs: list[tuple[int, int]]) -> None:
    torch.set_default_dtype(torch.float64)
    network = Recurrent(GRU(3, 40), bidirectional=True, engine="compiled")
    judge = Recurrent(GRU(3, 40), bidirectional=True, engine="reference")
    judge.load_state_dict(network.state_dict())
    for _ in range(4):
        x = torch.randn(steps, 1, 3)
        for got, want in zip(numbers(network, x), numbers(judge, x), strict=True):
            assert_close(got, want)
    for cell in network.cells:
        found = compiled.compiled(cell, torch.float64)._programs
        known = [
            program for each in found.values() for versions in each._known.values() for program in versions.items()
        ]
        assert [threads for threads, _ in known] == [1, 1]
        assert all(isinstance(program, Program) for _, program in known)
    assert pairs == [(1, 1)] * 6  # not while they are recorded


def test_short_scans_run_one_after_the_other(pairs: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_code, "_LONG", 100 * 2 * 40 * 120)
    torch.set_default_dtype(torch.float64)
    network, judge = (Recurrent(GRU(3, 40), bidirectional=True, engine=name) for name in ("compiled", "reference"))
    judge.load_state_dict(network.state_dict())
    for steps, expected in ((3, 0), (300, 2 * 3), (3, 0)):
        pairs.clear()
        for _ in range(4):
            x = torch.randn(steps, 1, 3)
            for got, want in zip(numbers(network, x), numbers(judge, x), strict=True):
                assert_close(got, want)
        assert len(pairs) == expected  # forward and back, but not while they are recorded


def test_what_hands_out_work_by_itself_runs_alone() -> None:
    network = Recurrent(GRU(3, 5), engine="compiled")
    code = compiled.compiled(network.cells[0], torch.float32).inference.code
    alone, forks = team.Job(code, (), 1), team.Job(code, (), 1, forks=True)
    assert team._have_room([alone, alone])
    assert not team._have_room([alone, forks])
