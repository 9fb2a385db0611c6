"""Truncated BPTT: every gradient against its definition, by hand, and against full BPTT where they must agree."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from recurra.errors import ConfigError, ShapeError
from recurra.ragged import Ragged
from recurra.training.bptt import Carry, Truncation, cut_time, join_time, num_steps_of, truncated_bptt
from tests.tolerance import assert_close
from tests.training.tiny import TinyNetwork, TinySource


class ScalarRNN(nn.Module):
    """h_t = w h_{t-1} + x_t, outputs h_t: a derivative one can write down."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))
        self.calls: list[int] = []

    def forward(self, x: Tensor, state: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        self.calls.append(len(x))
        h, outputs = x.new_zeros(x.shape[1:]) if state is None else state["h"], []
        for row in x:
            h = self.w * h + row
            outputs.append(h)
        return torch.stack(outputs), {"h": h}


def gradient_by_hand(w: float, x: list[float], k1: int, k2: int) -> float:
    """d/dw of the sum of h_t^2 / 2, each window's losses cut off from all but the last k2 steps."""
    h = [0.0]
    for value in x:
        h.append(w * h[-1] + value)  # h[t + 1] is the state after step t
    total = 0.0
    for start in range(0, len(x), k1):
        stop = min(start + k1, len(x))
        d_h = 0.0  # dh/dw, of the state before the oldest step that counts: none
        begin = 0 if k2 >= len(x) else max(0, start + k1 - k2)
        for t in range(begin, stop):
            d_h = h[t] + w * d_h
            if t >= start:
                total += h[t + 1] * d_h
    return total


@given(
    w=st.floats(-1.2, 1.2),
    x=st.lists(st.floats(-2, 2), min_size=1, max_size=13),
    k1=st.integers(1, 7),
    more=st.integers(0, 8),
)
@settings(max_examples=150)
def test_gradients_are_those_by_hand(w: float, x: list[float], k1: int, more: int) -> None:
    network = ScalarRNN(w)
    inputs = torch.tensor(x, dtype=torch.float64)[:, None, None]
    outputs = []
    for window in truncated_bptt(network, inputs, k1=k1, k2=k1 + more):
        (window.outputs.square().sum() / 2).backward()
        outputs.append(window.outputs.detach())
    expected = torch.tensor(gradient_by_hand(w, x, k1, k1 + more), dtype=torch.float64)
    assert network.w.grad is not None
    assert_close(network.w.grad, expected)
    assert_close(torch.cat(outputs), network(inputs)[0].detach())


def test_the_picture_in_the_module_is_what_happens() -> None:
    network = ScalarRNN(0.5)
    windows = list(truncated_bptt(network, torch.ones(8, 1, 1, dtype=torch.float64), k1=2, k2=4))
    assert [(window.start, window.stop) for window in windows] == [(0, 2), (2, 4), (4, 6), (6, 8)]
    assert network.calls == [2, 2, 2, 2, 2, 2, 2]  # the first window, then twice two steps each


@pytest.mark.parametrize(("k1", "k2"), [(1, 11), (3, 11), (4, 50), (11, 11), (50, 50)])
def test_a_reach_beyond_the_start_is_full_bptt(k1: int, k2: int) -> None:
    torch.manual_seed(1)
    network = nn.LSTM(3, 4, num_layers=2).double()
    x = torch.randn(11, 2, 3, dtype=torch.float64)
    start = [torch.randn(2, 2, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    leaves = [*network.parameters(), *start]
    full = torch.autograd.grad(network(x, tuple(start))[0].square().sum(), leaves)
    truncated = [torch.zeros_like(leaf) for leaf in leaves]
    for window in truncated_bptt(network, x, k1=k1, k2=k2, state=tuple(start)):
        for total, part in zip(
            truncated, torch.autograd.grad(window.outputs.square().sum(), leaves, allow_unused=True), strict=True
        ):
            total += 0 if part is None else part
    for got, expected in zip(truncated, full, strict=True):
        assert_close(got, expected)


def test_weights_may_change_between_windows() -> None:
    torch.manual_seed(1)
    network = nn.GRU(2, 3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for window in truncated_bptt(network, torch.randn(9, 1, 2), k1=2, k2=5):
        optimizer.zero_grad()
        window.outputs.square().sum().backward()
        optimizer.step()
        assert not window.state.requires_grad


def by_sequence(network: nn.Module, x: Ragged, k1: int, k2: int) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and gradients of each sequence alone, added up."""
    network.zero_grad()
    outputs = []
    for sequence in x:
        pieces = []
        for window in truncated_bptt(network, Ragged.from_list([sequence]), k1=k1, k2=k2):
            window.outputs.values.square().sum().backward()
            pieces.append(window.outputs.values.detach())
        outputs.append(torch.cat(pieces) if pieces else sequence[:, :1])
    return outputs, [parameter.grad.clone() for parameter in network.parameters()]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("lengths", "k1", "k2"), [([5, 1, 0, 7, 3], 3, 3), ([7, 3, 0, 10], 3, 5), ([9, 2, 4], 2, 6), ([4, 9], 4, 7)]
)
def test_a_ragged_batch_is_its_sequences_one_by_one(lengths: list[int], k1: int, k2: int) -> None:
    torch.manual_seed(2)
    network = TinyNetwork(dtype=torch.float64)
    x = Ragged.from_list([torch.randn(length, 2, dtype=torch.float64) for length in lengths])
    outputs, gradients = by_sequence(network, x, k1, k2)
    network.zero_grad()
    pieces = []
    for window in truncated_bptt(network, x, k1=k1, k2=k2):
        window.outputs.values.square().sum().backward()
        pieces.append(window.outputs)
    for got, expected in zip(join_time(pieces).to_list(), outputs, strict=True):
        assert_close(got.detach(), expected)
    for parameter, expected in zip(network.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        assert_close(parameter.grad, expected)


@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=5), cut=st.integers(0, 7), resets=st.data())
@settings(max_examples=80)
def test_cutting_and_joining_time_is_the_identity(lengths: list[int], cut: int, resets: Any) -> None:
    steps = sum(lengths)
    places = sorted(resets.draw(st.sets(st.integers(0, max(0, steps - 1)), max_size=steps)) if steps else [])
    x = Ragged(
        torch.arange(float(steps)),
        torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()]),
        torch.tensor(places, dtype=torch.int64),
    )
    pieces = [cut_time(x, 0, cut), cut_time(x, cut, 99)]
    joined = join_time(pieces)
    assert torch.equal(joined.values, x.values)
    assert torch.equal(joined.offsets, x.offsets)
    kept = torch.cat([piece.values[piece.resets] for piece in pieces])  # the values are their own places
    assert kept.long().sort().values.tolist() == places


def test_tuples_dicts_and_named_tuples_are_cut_part_by_part() -> None:
    x = torch.arange(10.0).view(5, 2)
    assert cut_time({"x": (x, [x])}, 1, 3)["x"][1][0].tolist() == x[1:3].tolist()
    assert cut_time(Carry(x, x), 1, 3).time.tolist() == x[1:3].tolist()  # type: ignore[arg-type]
    assert num_steps_of({"x": (x, [x])}) == 5


def test_a_batch_of_another_type_cuts_itself() -> None:
    class Own:
        num_steps = 4

        def window(self, start: int, stop: int) -> tuple[int, int]:
            return start, stop

    assert num_steps_of(Own()) == 4
    assert cut_time(Own(), 1, 3) == (1, 3)


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        ((torch.zeros(3, 2), torch.zeros(2, 2)), r"same steps to be cut in time, got \[2, 3\]"),
        (torch.zeros(3), r"must have shape \[T, B, ...\], got \[3\]; lengths go into a Ragged"),
        ("text", "A str cannot be cut in time"),
    ],
)
def test_what_cannot_be_cut_is_refused(batch: Any, sentence: str) -> None:
    with pytest.raises(ShapeError, match=sentence):
        num_steps_of(batch)


@pytest.mark.parametrize(("k1", "k2"), [(0, 3), (4, 3)])
def test_a_reach_shorter_than_the_window_is_refused_at_once(k1: int, k2: int) -> None:
    with pytest.raises(ConfigError, match=rf"got k1={k1} and k2={k2}"):
        truncated_bptt(nn.RNN(1, 1), torch.zeros(3, 1, 1), k1=k1, k2=k2)


def test_a_sequence_of_no_steps_has_no_windows() -> None:
    assert Truncation(2, 2).count(0) == 0
    empty = TinySource().load([0])[0].reverse()
    assert list(truncated_bptt(TinyNetwork(), cut_time(empty, 90, 99), k1=2)) == []
