"""Weights that hooks of torch make: pruned ones, and those under weight norm and spectral norm of the older kind."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import recurra
from recurra.cells import GRU, LSTM, Zoneout
from recurra.engine import compiled
from tests.tolerance import assert_close


class State(NamedTuple):
    h: Tensor


class Elman(recurra.Cell):
    State = State

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        self.w, self.u = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = torch.tanh(self.w(x) + self.u(state.h))
        return h, State(h)


CASES: dict[str, tuple[Callable[[], recurra.Cell], str]] = {
    "cell": (lambda: GRU(3, 4), "weight_hh"),
    "cell without a kernel": (lambda: LSTM(3, 4, layer_norm=True), "weight_hh"),
    "cell in a wrapper": (lambda: Zoneout(GRU(3, 4), 0.2), "cell.weight_hh"),
    "part": (lambda: Elman(3, 4), "u.weight"),
}


def _pruned(module: nn.Module, name: str) -> None:
    prune.random_unstructured(module, name, amount=0.4)
    prune.ln_structured(module, name, amount=1, n=2, dim=0)


def _weight_norm(module: nn.Module, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer one
        nn.utils.weight_norm(module, name)


MAKERS = {"pruned": _pruned, "weight norm": _weight_norm, "spectral norm": nn.utils.spectral_norm}


def _made(case: str, maker: str) -> recurra.Cell:
    make, name = CASES[case]
    cell = make().double().eval()
    path, _, leaf = name.rpartition(".")
    MAKERS[maker](cell.get_submodule(path), leaf)
    return cell


def _by_hand(cell: Any, x: Tensor) -> Tensor:
    inner = cell.cell if isinstance(cell, Zoneout) else cell
    for hook in inner._forward_pre_hooks.values():
        hook(inner, ())
    state, outputs = cell.initial_state(x.shape[1]), []
    for x_t in x:
        y, state = cell.step(x_t, state)
        outputs.append(y)
    return torch.stack(outputs)


def _trained(cell: recurra.Cell, x: Tensor, run: Callable[[], Tensor]) -> list[Tensor]:
    optimiser, outputs = torch.optim.SGD(cell.parameters(), 0.1), []
    for _ in range(3):
        optimiser.zero_grad()
        outputs.append(run())
        outputs[-1].square().sum().backward()
        optimiser.step()
    return [*outputs, *(parameter.grad for parameter in cell.parameters() if parameter.grad is not None)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("maker", MAKERS)
def test_weights_are_made_anew_at_every_scan_and_compiled_once(
    case: str, maker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    code = compiled.Compiled
    monkeypatch.setattr(compiled, "Compiled", lambda *args: made.append(0) or code(*args))
    cell, x = _made(case, maker), torch.randn(5, 2, 3, dtype=torch.float64)
    begin = copy.deepcopy(cell.state_dict())
    want = _trained(cell, x, lambda: _by_hand(cell, x))
    for engine in ("auto", "compiled", "reference"):
        cell.load_state_dict(begin)
        got = _trained(cell, x, lambda engine=engine: recurra.scan(cell, x, engine=engine)[0])  # type: ignore[misc]
        for one, other in zip(want, got, strict=True):
            assert type(one) is Tensor
            assert_close(one, other)
    assert len(made) == 1


@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_a_network_of_them_steps_and_streams_with_the_weights_of_the_moment(engine: str) -> None:
    network = recurra.Recurrent([_made("cell", "pruned")], engine=engine)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    stream = network.stream(2)
    for _ in range(2):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1.5)
        state, outputs = network.initial_state(2), []
        for x_t in x:
            y, state = network.step(x_t, state)
            outputs.append(y)
        want, _ = network(x)
        assert_close(torch.stack(outputs), want)
        stream.refresh()
        stream.reset()
        assert_close(stream.push(x), want)


def test_both_directions_at_once() -> None:
    network = recurra.Recurrent(GRU(3, 4), bidirectional=True).double()
    for cell in network.cells:
        _pruned(cell, "weight_hh")
    x = torch.randn(9, 1, 3, dtype=torch.float64)
    for _ in range(2):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1.5)
        got, _ = network(x)
        assert_close(got[..., :4], _by_hand(network.cells[0], x))


def test_a_hook_of_the_cell_itself_sees_no_symbols() -> None:
    cell, seen = Elman(3, 4), list[Any]()
    cell.register_forward_hook(lambda _, args, result: seen.append(result))
    recurra.scan(cell, torch.randn(4, 2, 3), engine="compiled")
    assert not seen
