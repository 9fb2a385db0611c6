"""The compiled engine against the reference: every cell and option, every shape, and every use of a scan."""

from __future__ import annotations

import collections
import copy
import gc
import random
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

import recurra
from recurra import Cell, Ragged
from recurra.cells import (
    GRU,
    LSTM,
    RNN,
    ClipStateGradient,
    Jordan,
    LearnedInitialState,
    RecurrentDropout,
    WeightDrop,
    Zoneout,
)
from recurra.engine import compiled, products
from recurra.engine.cpu import loop_kernel
from recurra.errors import CompileError, ShapeError, TraceError
from tests.engine.engines import assert_engines_agree
from tests.tolerance import assert_close

CELLS: dict[str, Any] = {
    "rnn": lambda i, h: RNN(i, h),
    "rnn relu": lambda i, h: RNN(i, h, activation="relu"),
    "rnn sigmoid": lambda i, h: RNN(i, h, activation="sigmoid"),
    "rnn of its own": lambda i, h: RNN(i, h, activation=nn.functional.softplus),
    "gru": lambda i, h: GRU(i, h),
    "gru before": lambda i, h: GRU(i, h, reset="before"),
    "gru no bias": lambda i, h: GRU(i, h, bias=False),
    "lstm": lambda i, h: LSTM(i, h),
    "lstm peephole": lambda i, h: LSTM(i, h, peephole=True),
    "lstm projected": lambda i, h: LSTM(i, h + 1, proj_size=h),
    "lstm coupled": lambda i, h: LSTM(i, h, coupled=True),
    "lstm layer norm": lambda i, h: LSTM(i, h, layer_norm=True),
    "zoneout": lambda i, h: Zoneout(LSTM(i, h), 0.3).eval(),
    "recurrent dropout": lambda i, h: RecurrentDropout(GRU(i, h), 0.3),
    "weight drop": lambda i, h: WeightDrop(GRU(i, h), 0.3),
    "clipped gradient": lambda i, h: ClipStateGradient(LSTM(i, h), 0.01),
    "learned state": lambda i, h: LearnedInitialState(RNN(i, h)),
}
# (T, B, I, H): every size that has edges of vectors and tiles, each at least once
SHAPES = [
    (1, 1, 1, 1),
    (2, 33, 3, 17),
    (7, 5, 16, 16),
    (63, 2, 17, 3),
    (7, 33, 65, 128),
    (2, 5, 128, 65),
    (63, 1, 3, 16),
]


def make(name: str, dtype: torch.dtype = torch.float64, sizes: tuple[int, int] = (3, 5)) -> Any:
    return CELLS[name](*sizes).to(dtype)


# every cell at two shapes of its own, the plain ones at all
CASES = [(name, SHAPES[(at + k) % 7]) for at, name in enumerate(CELLS) for k in (0, 3)]
CASES += [(name, shape) for name in ("rnn", "gru", "lstm layer norm") for shape in SHAPES]


@pytest.mark.parametrize(("name", "shape"), sorted(set(CASES)), ids=str)
def test_every_cell_and_gradient_in_double_precision(name: str, shape: tuple[int, ...]) -> None:
    num_steps, batch_size, *sizes = shape
    assert_engines_agree(make(name, sizes=(sizes[0], sizes[1])), [num_steps] * batch_size)


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_and_gradient_in_single_precision(name: str) -> None:
    num_steps, batch_size, *sizes = 7, 33, 16, 17  # LayerNorm over one or two units divides by almost nothing: not here
    assert_engines_agree(make(name, torch.float32, (sizes[0], sizes[1])), [num_steps] * batch_size)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_ragged_batches_with_resets_and_empty_sequences(name: str, reverse: bool) -> None:
    assert_engines_agree(make(name), [4, 0, 7, 1, 0, 12], reverse=reverse, resets=torch.tensor([0, 2, 5, 6, 20]))


@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0]])
@pytest.mark.parametrize("name", ["rnn", "gru", "lstm layer norm"])
def test_nothing_to_do_is_done(name: str, lengths: list[int]) -> None:
    assert_engines_agree(make(name), lengths)


@pytest.mark.parametrize("name", ["gru", "lstm layer norm", "rnn"])
@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(name: str, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_engines_agree(make(name), [9, 3, 0, 5, 5, 1, 7])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["gru", "lstm peephole"])
def test_chunks_with_their_state_are_the_whole(name: str) -> None:
    cell = make(name)
    x = torch.randn(11, 3, 3).double()
    whole, end = recurra.scan(cell, x, engine="compiled")
    head, middle = recurra.scan(cell, x[:4], engine="compiled")
    tail, last = recurra.scan(cell, x[4:], middle, engine="compiled")
    assert_close(torch.cat([head, tail]), whole)
    assert_close(last[0], end[0])


def test_inputs_may_be_strided_and_batch_major() -> None:
    cell = make("gru")
    x = torch.randn(4, 9, 6).double()[:, ::2, ::2].transpose(0, 1)  # [T=5, B=4, I=3]
    got, _ = recurra.scan(cell, x, engine="compiled")
    want, _ = recurra.scan(cell, x.contiguous(), engine="reference")
    assert_close(got, want)


# --- steps that people may write -------------------------------------------------------------------------------------


class One(NamedTuple):
    h: Tensor


class Two(NamedTuple):
    h: Tensor
    c: Tensor


class Small(Cell):
    """Weights to play with."""

    State: Any = One

    def __init__(self, input_size: int = 3, hidden_size: int = 5) -> None:
        super().__init__(input_size, hidden_size)
        self.w = nn.Linear(input_size, hidden_size)
        self.u = nn.Parameter(torch.randn(hidden_size, hidden_size) * 0.3)
        self.register_buffer("scale", torch.rand(hidden_size))
        self.double()

    def mix(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(self.w(x) + h @ self.u)


class Swap(Small):
    State = Two

    def step(self, x: Tensor, state: Any) -> Any:
        return self.mix(x, state.h), Two(state.c, state.h)


class Through(Small):
    State = Two

    def step(self, x: Tensor, state: Any) -> Any:
        h = self.mix(x, state.h)
        return h * state.c, Two(h, state.c)


class InputOnly(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        return torch.tanh(self.w(x)), state


class StateOnly(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        h = torch.tanh(state.h @ self.u) * self.scale
        return h, One(h)


class OldState(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        return state.h, One(self.mix(x, state.h))


class InPlace(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        h = self.w(x).clone()
        h += state.h @ self.u
        h.tanh_()
        return h, One(h)


class Literal(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        h = self.mix(x, state.h) * torch.tensor([1.0, 2.0, 0.5, 1.0, 2.0], dtype=torch.float64) + torch.tensor(0.25)
        return h, One(torch.tanh(h))


class Wide(Small):
    State = Two

    def initial_state(self, batch_size: int, *, dtype: Any = None, device: Any = None) -> Any:
        return Two(
            torch.zeros(batch_size, 5, dtype=dtype or torch.float64),
            torch.zeros(batch_size, 2, 3, dtype=dtype or torch.float64),
        )

    def step(self, x: Tensor, state: Any) -> Any:
        h = self.mix(x, state.h) + state.c.sum((1, 2), keepdim=False)[:, None]
        c = torch.softmax(state.c + x[:, None, :], -1) * h[:, :2, None]
        return h, Two(torch.tanh(h), c)


class Tied(Small):
    def __init__(self) -> None:
        super().__init__()
        self.again = self.u

    def step(self, x: Tensor, state: Any) -> Any:
        h = torch.tanh(self.mix(x, state.h) @ self.again)
        return h, One(h)


class Sliced(Small):
    """A slice of a list of parameters is a list of the same parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.factors = nn.ParameterList([nn.Parameter(torch.rand(1).double()) for _ in range(3)])

    def step(self, x: Tensor, state: Any) -> Any:
        h = torch.tanh(self.mix(x, state.h))
        for factor in self.factors[1:]:
            h = h * factor
        return h, One(h)


class Likelihood(Small):
    """Torch's distributions look at what they are made with."""

    def step(self, x: Tensor, state: Any) -> Any:
        h = torch.tanh(self.mix(x, state.h))
        normal = torch.distributions.Normal(h, nn.functional.softplus(h) + 0.1)
        return normal.log_prob(state.h.sigmoid()), One(h)


class Noisy(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        h = nn.functional.dropout(self.mix(x, state.h), 0.5, self.training)
        return h, One(h)


class SomeResults(Small):
    """Calls with several results, of which it reads some."""

    def step(self, x: Tensor, state: Any) -> Any:
        most, where = x.max(-1, keepdim=True)
        h = (
            self.mix(x.sort(-1, descending=True).values, state.h)
            + most
            + where * x.cummax(-1).values.std(-1, keepdim=True)
        )
        return torch.tanh(h), One(torch.tanh(h))


class Orthogonal(Small):
    """A weight that is made by linear algebra: by QR, by a Cayley transform, and divided by a norm."""

    def step(self, x: Tensor, state: Any) -> Any:
        skew = self.u - self.u.t()
        cayley = torch.linalg.solve(torch.eye(5, dtype=x.dtype) + skew, torch.eye(5, dtype=x.dtype) - skew)
        h = torch.tanh(self.w(x) + state.h @ torch.linalg.qr(self.u)[0] @ cayley + self.u.norm() * self.u.std())
        return h, One(h)


class Parts(Small):
    """Writes into parts of tensors."""

    def step(self, x: Tensor, state: Any) -> Any:
        h = self.mix(x, state.h).clone()
        h[:, 1:3] = state.h[:, 2:4] * 2
        h[:, 0] += 1
        rest = torch.empty_like(h)
        rest[:, ::2], rest[:, 1::2] = h[:, 2:], torch.tanh(h[:, :2])
        outer = (rest[:, :, None] * h[:, None]).clone()
        outer.diagonal(dim1=1, dim2=2).zero_()
        return torch.tanh(outer.sum(1)), One(torch.tanh(rest))


class WholeNumbers(Small):
    """Counts, truth values and numbers of classes, in a buffer, made of the input, and of the state."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("counts", torch.arange(1, 6))

    def step(self, x: Tensor, state: Any) -> Any:
        kind = nn.functional.one_hot((x[:, 0] > 0).long() + (x[:, 1] > 0), 5)
        h = self.mix(x, state.h / self.counts) + kind
        some = (h > 0.5) ^ (state.h > 0)
        return h * some.sum(-1, keepdim=True), One(torch.tanh(torch.where(some, h, -h)))


class HighestOutput(Small):
    """What has no form inside a loop need not be there."""

    def step(self, x: Tensor, state: Any) -> Any:
        h = self.mix(x, state.h)
        return h.cummax(-1).values.cumsum(-1) * x[:, :1] + h.max(-1, keepdim=True).values, One(h)


class Shown(Small):
    """Its output is a field of the state that it hands on, and that the backward pass reads."""

    State = Two

    def step(self, x: Tensor, state: Any) -> Any:
        return state.c, Two(self.mix(x, state.h) * state.c, state.c)


class Forgotten(Small):
    """A field of the state that its output alone reads, in a sum over a matrix."""

    State = Two

    def __init__(self) -> None:
        super().__init__()
        self.output_size = 25

    def step(self, x: Tensor, state: Any) -> Any:
        gate, c = state.h.mean(-1).sigmoid()[:, None, None], state.c[:, None].expand(-1, 5, 5)
        return (gate * c + (1 - gate) * c.tanh()).flatten(1), Two(self.w(x).tanh(), state.c)


class Spike(torch.autograd.Function):
    """0 or 1, with the gradient of something smoother."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        ctx.save_for_backward(v)
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (v,) = ctx.saved_tensors
        return gradients[0] / (1 + 4 * v.abs()) ** 2


class Spiking(Small):
    """A neuron that leaks and fires, and begins anew when it has."""

    State = Two

    def step(self, x: Tensor, state: Any) -> Any:
        v = 0.9 * state.h * (1 - state.c) + self.w(x) + state.c @ self.u
        spikes: Any = Spike.apply(v - 0.5)
        return spikes, Two(v, spikes)


class Power(Small):
    def __init__(self, exponent: float) -> None:
        super().__init__()
        self.exponent = exponent

    def step(self, x: Tensor, state: Any) -> Any:
        return state.h**self.exponent, One(self.w(x))


@pytest.mark.parametrize("exponent", [-2, -1.5, -0.5, 0.5, 2.5, 3])
def test_powers_of_infinities_and_zeros_are_those_of_torch(exponent: float) -> None:
    cell, x = Power(exponent), torch.zeros(1, 1, 3).double()
    begin = One(torch.tensor([[0.0, -0.0, torch.inf, -torch.inf, torch.nan]]).double())
    got, want = (recurra.scan(cell, x, begin, engine=engine)[0] for engine in ("compiled", "reference"))
    torch.testing.assert_close(got, want, equal_nan=True)


KINDS = [Swap, Through, InputOnly, StateOnly, OldState, InPlace, Literal, Wide, Tied, Sliced, Likelihood]
KINDS += [SomeResults, Orthogonal, Parts, WholeNumbers, HighestOutput, Shown, Forgotten, Spiking]


@pytest.mark.parametrize("kind", KINDS)
def test_odd_steps_are_as_good_as_any(kind: Any) -> None:
    assert_engines_agree(kind(), [4, 0, 7, 1])
    assert_engines_agree(kind(), [2], block=True)


def test_weights_that_need_no_gradient_get_none() -> None:
    cell = Through()
    cell.u.requires_grad_(False)
    assert_engines_agree(cell, [4, 2])


def test_weights_changed_in_place_are_seen_at_the_next_call() -> None:
    cell = Through()
    x = torch.randn(4, 2, 3).double()
    for change in (
        lambda: cell.u.data.mul_(2),
        lambda: nn.init.zeros_(cell.w.bias),
        lambda: cell.load_state_dict({name: value + 0.5 for name, value in cell.state_dict().items()}),
    ):
        change()
        got, _ = recurra.scan(cell, x, engine="compiled")
        want, _ = recurra.scan(cell, x, engine="reference")
        assert_close(got, want)


def test_a_copy_has_its_own_weights() -> None:
    cell = GRU(3, 5).double()
    x = torch.randn(4, 2, 3).double()
    recurra.scan(cell, x, engine="compiled")
    twin = copy.deepcopy(cell)
    nn.init.zeros_(twin.weight_hh)
    got, _ = recurra.scan(twin, x, engine="compiled")
    want, _ = recurra.scan(twin, x, engine="reference")
    assert_close(got, want)


def test_an_option_changed_later_is_seen() -> None:
    cell = RNN(3, 5, activation="tanh").double()
    zone = Zoneout(LSTM(3, 5), 0.5).double()
    assert_engines_agree(cell, [3, 2])
    zone.eval()
    assert_engines_agree(zone, [3, 2])
    zone.train()
    x = torch.randn(6, 2, 3).double()
    assert not torch.equal(recurra.scan(zone, x, engine="compiled")[0], recurra.scan(zone, x, engine="compiled")[0])


def test_a_field_of_an_option_changed_later_is_seen() -> None:
    @dataclass
    class Options:
        gain: float = 1.0

    class Configured(Small):
        def __init__(self) -> None:
            super().__init__()
            self.options = Options()

        def step(self, x: Tensor, state: Any) -> Any:
            h = self.mix(x, state.h * self.options.gain)
            return h, One(h)

    cell = Configured()
    assert_engines_agree(cell, [4, 2])
    cell.options.gain = 0.3
    assert_engines_agree(cell, [4, 2])


class Scale(nn.Module):
    factor: Any

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def test_a_number_that_changes_again_and_again_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Annealed(Small):
        def __init__(self) -> None:
            super().__init__()
            self.scale = Scale()

        def step(self, x: Tensor, state: Any) -> Any:
            h = self.mix(self.scale(x), state.h)
            return h, One(h)

    monkeypatch.setattr(compiled, "_MANY", 2)
    monkeypatch.setattr(compiled, "_MOST", 3)
    cell, x = Annealed(), torch.randn(4, 2, 3).double()
    said = []
    for factor in (0.9, 0.8, 0.7, 0.6):
        cell.scale.factor = factor
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            recurra.scan(cell, x, engine="compiled")
        said.append([str(each.message) for each in caught])
    assert [len(each) for each in said] == [0, 0, 1, 0]
    assert "`Annealed` has been compiled 2 times: `scale.factor` changes again and again" in said[2][0]
    assert len(compiled._known[cell]) == 3  # the oldest is gone
    del cell.scale.factor
    cell.scale.register_buffer("factor", torch.tensor(0.5, dtype=torch.float64))
    recurra.scan(cell, x, engine="compiled")
    monkeypatch.setattr(compiled, "Compiled", None)
    cell.scale.factor.fill_(0.4)
    assert_close(recurra.scan(cell, x, engine="compiled")[0], recurra.scan(cell, x, engine="reference")[0])


@pytest.mark.parametrize("kind", ["forward_hook", "forward_pre_hook", "full_backward_hook", "full_backward_pre_hook"])
def test_hooks_are_called_at_every_step(kind: str) -> None:
    cell, x = InputOnly(), torch.randn(4, 2, 3).double().requires_grad_()
    assert_engines_agree(cell, [4, 2])
    calls: list[int] = []
    handle = getattr(cell.w, f"register_{kind}")(lambda *_: calls.append(1))
    with pytest.raises(CompileError, match="`w` has a hook, which is to be called at every step"):
        recurra.scan(cell, x, engine="compiled")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow
        recurra.scan(cell, x)[0].sum().backward()
    assert len(calls) == len(x)
    handle.remove()
    recurra.scan(cell, x, engine="compiled")
    assert len(calls) == len(x)


@pytest.mark.parametrize("name", ["u", "w.weight"])
def test_what_a_step_does_not_read_has_no_gradient(name: str) -> None:
    cell: Any = InputOnly() if name == "u" else StateOnly()
    x = torch.randn(4, 2, 3).double().requires_grad_()
    for _ in range(4):
        cell.zero_grad()
        x.grad = None
        recurra.scan(cell, x, engine="compiled")[0].sum().backward()
        assert cell.get_parameter(name).grad is None
        assert (x.grad is None) == (name == "w.weight")


def test_random_numbers_are_new_at_each_step_and_the_same_backward() -> None:
    cell = Noisy()
    x = torch.randn(200, 8, 3).double().requires_grad_()
    y, _ = recurra.scan(cell, x, engine="compiled")
    kept = y != 0
    assert 0.45 < kept.double().mean() < 0.55
    assert not torch.equal(kept[0], kept[1])
    (d_bias,) = torch.autograd.grad(y[0].sum(), cell.w.bias)
    first = y[0].detach() / 2  # tanh before the mask, which doubled what it kept
    assert_close(d_bias, (kept[0] * 2 * (1 - first**2)).sum(0))


def test_nan_in_one_sequence_stays_there() -> None:
    for name in ("gru", "lstm layer norm", "rnn relu"):
        cell = make(name)
        x = torch.randn(6, 9, 3).double()
        x[2, 4] = float("nan")
        y, state = recurra.scan(cell, x, engine="compiled")
        others = [b for b in range(9) if b != 4]
        assert y[:, others].isfinite().all()
        assert state[0][others].isfinite().all()
        assert y[2:, 4].isnan().all()


def test_without_gradient_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = GRU(3, 5)
    kept: list[bool] = []
    forward = compiled.Compiled.forward

    def noted(self: Any, *args: Any, keep: bool) -> Any:
        kept.append(keep)
        return forward(self, *args, keep=keep)

    monkeypatch.setattr(compiled.Compiled, "forward", noted)
    one, two, three, four = (torch.randn(steps, 2, 3) for steps in (4, 5, 6, 7))  # no pass is known from one before
    with torch.no_grad():
        recurra.scan(cell, one, engine="compiled")
    with torch.inference_mode():
        recurra.scan(cell, two, engine="compiled")
    recurra.scan(cell.requires_grad_(False), three, engine="compiled")
    assert kept == [False, False, False]
    recurra.scan(cell.requires_grad_(True), four, engine="compiled")
    assert kept[-1]


def test_a_gradient_of_the_gradient() -> None:
    cell = GRU(2, 3).double()
    x = Ragged.from_list([torch.randn(length, 2).double() for length in (3, 0, 2)])

    def run(values: Tensor) -> Tensor:
        return recurra.scan(cell, x.replace(values), engine="compiled")[0].values

    values = x.values.clone().requires_grad_()
    assert torch.autograd.gradcheck(run, values)
    assert torch.autograd.gradgradcheck(run, values)
    noisy = recurra.scan(Noisy(), torch.randn(3, 2, 3).double().requires_grad_(), engine="compiled")[0]
    with pytest.raises(CompileError, match="draws random numbers"):
        noisy.sum().backward(create_graph=True)


def test_a_gradient_of_the_gradient_reaches_what_a_weight_is_made_of_and_leaves_it() -> None:
    class Symmetric(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight.triu() + weight.triu(1).t()

    cell = Through()
    parametrizations.weight_norm(cell.w)
    parametrize.register_parametrization(cell, "u", Symmetric())
    before = [parameter.detach().clone() for parameter in cell.parameters()]
    found = []
    for engine in ("reference", "compiled"):
        torch.manual_seed(0)
        x = torch.randn(4, 2, 3).double().requires_grad_()
        begin = Two(*torch.randn(2, 2, 5).double())
        outputs, _ = recurra.scan(cell, x, begin, engine=engine)
        (gradient,) = torch.autograd.grad(outputs.square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(gradient.square().sum(), [x, *cell.parameters()]))
    for got, want in zip(found[1], found[0], strict=True):
        assert_close(got, want)
    assert all(map(torch.equal, before, cell.parameters()))


def test_transforms_of_torch_func_go_to_the_reference() -> None:
    cell = GRU(2, 3).double()
    x = torch.randn(3, 2, 2).double()

    def loss(x: Tensor) -> Tensor:
        return recurra.scan(cell, x)[0].square().sum()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        through = torch.func.grad(loss)(x)
        each = torch.func.vmap(loss, in_dims=1)(x[:, :, None])
    leaf = x.clone().requires_grad_()
    (want,) = torch.autograd.grad(loss(leaf), leaf)
    assert_close(through, want)
    assert_close(each, torch.stack([loss(x[:, b : b + 1]) for b in range(2)]).detach())


def test_the_first_call_may_be_under_a_search_for_nan() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow
        with torch.autograd.detect_anomaly():
            recurra.scan(Swap(), torch.randn(4, 2, 3).double(), engine="compiled")[0].sum().backward()
            assert torch.is_anomaly_enabled()


class Normed(recurra.Cell):
    """A step with numbers of its own, as batch norm has: it has no compiled form."""

    class State(NamedTuple):
        h: Tensor

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input, self.norm, self.steps = nn.Linear(input_size, hidden_size), nn.BatchNorm1d(hidden_size), 0

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        self.steps += 1
        h = torch.tanh(self.norm(self.input(x) + state.h))
        return h, self.State(h)


@pytest.mark.filterwarnings("ignore:`Normed.step`")
def test_looking_at_a_cell_changes_nothing_in_it() -> None:
    cell, x = Normed(3, 4), torch.randn(6, 5, 3)
    twin = copy.deepcopy(cell)
    recurra.scan(cell, x)
    recurra.scan(twin, x, engine="reference")
    assert cell.steps == twin.steps == 6
    assert all(torch.equal(one, other) for one, other in zip(cell.buffers(), twin.buffers(), strict=True))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("ragged", [False, True])
def test_under_autocast_inputs_and_states_may_be_of_half_the_precision(half: torch.dtype, ragged: bool) -> None:
    cell, x = Jordan(3, 4), torch.randn(6, 5, 3).to(half).requires_grad_()
    state = cell.State(*(torch.rand_like(field).to(half) for field in cell.initial_state(5)))
    lengths = [6, 3, 0, 1, 2] if ragged else None
    with torch.autocast("cpu", half):
        got, after = recurra.scan(cell, x, state, lengths=lengths, engine="compiled")
    full = cell.State(*(field.float() for field in state))
    want, _ = recurra.scan(cell, x.float(), full, lengths=lengths, engine="reference")
    assert got.dtype == torch.float32
    assert all(field.dtype == torch.float32 for field in after)
    assert_close(got, want, relative=0.05)
    (gradient,) = torch.autograd.grad(got.sum(), x)
    assert gradient.dtype == half


@pytest.mark.parametrize("engine", ["auto", "reference"])
@pytest.mark.parametrize("ragged", [False, True])
def test_inputs_of_another_precision_than_the_cell_get_a_sentence(engine: str, ragged: bool) -> None:
    x = torch.zeros(6, 5, 3, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            ShapeError, match=r"`x` must be torch\.float32 as the parameters of `GRU` are, got torch\.f"
        ):
            recurra.scan(GRU(3, 4), x, lengths=[6, 5, 4, 3, 2] if ragged else None, engine=engine)
        with pytest.raises(ShapeError, match=r"got torch\.int64: hand in `x\.to\(torch\.float32\)`\.$"):
            recurra.scan(GRU(3, 4), x.long(), lengths=[6, 5, 4, 3, 2] if ragged else None, engine=engine)


def test_autocast_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "has_bf16", lambda: False)
    cell = GRU(3, 5)
    x = torch.randn(4, 2, 3)
    want, _ = recurra.scan(cell, x, engine="reference")
    with torch.autocast("cpu", torch.bfloat16):
        got, _ = recurra.scan(cell, x, engine="compiled")
    assert_close(got, want)


class Rounded(torch.autograd.Function):
    """`a @ b.T` with factors of bfloat16, forward and back."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return rounded(a) @ rounded(b).T

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (d,) = gradients
        a, b = ctx.saved_tensors
        return rounded(d) @ rounded(b), rounded(d).T @ rounded(a)


def rounded(numbers: Tensor) -> Tensor:
    return numbers.bfloat16().to(numbers.dtype)


class Plain(Cell):
    """An RNN of two products."""

    class State(NamedTuple):
        h: Tensor

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(hidden_size, input_size) / input_size**0.5)
        self.u = nn.Parameter(torch.randn(hidden_size, hidden_size) / hidden_size**0.5)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, State]:
        h = torch.tanh(self.product(x, self.w) + self.product(state.h, self.u))
        return h, self.State(h)

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b.T


class PlainRounded(Plain):
    def product(self, a: Tensor, b: Tensor) -> Tensor:
        product: Tensor = Rounded.apply(a, b)
        return product


@pytest.mark.skipif(not products.has_bf16(), reason="this processor has no products of bfloat16")
@pytest.mark.parametrize("shape", [(1, 1, 3, 5), (1, 33, 17, 65), (6, 5, 16, 16), (7, 2, 33, 3)])
def test_autocast_rounds_the_factors_of_products_and_nothing_else(shape: tuple[int, int, int, int]) -> None:
    num_steps, batch_size, *sizes = shape
    fast, slow = Plain(*sizes), PlainRounded(*sizes)
    slow.load_state_dict(fast.state_dict())
    x = torch.randn(num_steps, batch_size, sizes[0])
    found = []
    for cell, engine in ((fast, "compiled"), (slow, "reference"), (fast, "reference")):
        leaf = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=engine == "compiled"):
            outputs, state = recurra.scan(cell, leaf, engine=engine)
        gradients = torch.autograd.grad(
            (outputs * outputs.detach().sin()).sum() + state.h.sum(), [leaf, cell.w, cell.u]
        )
        found.append([tensor.detach() for tensor in (outputs, *state, *gradients)])

    def error(one: list[Tensor], other: list[Tensor]) -> float:
        return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(one, other, strict=True) if b.any())

    # a sum in another order may fall on the other side of a rounding of the next product
    assert error(found[0][:1], found[1][:1]) < (1e-6 if num_steps == 1 else 4e-3)
    assert error(found[0], found[1]) < 4e-3
    assert error(found[0], found[2]) > 1e-4


@pytest.mark.skipif(not products.has_bf16(), reason="this processor has no products of bfloat16")
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_under_autocast_stays_near(name: str) -> None:
    cell = make(name, torch.float32, (16, 17))
    x = Ragged.from_list([torch.randn(length, cell.input_size) for length in (5, 0, 7, 2, 1)])
    found = []
    for enabled in (False, True):
        leaf = x.values.clone().requires_grad_()
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            outputs, state = recurra.scan(cell, x.replace(leaf), engine="compiled")
        loss = outputs.values.square().sum() + sum(field.sum() for field in state)
        found.append([outputs.values, *state, *torch.autograd.grad(loss, [leaf, *cell.parameters()])])
    for rough, exact in zip(found[1], found[0], strict=True):
        assert rough.dtype == exact.dtype
        assert (rough - exact).abs().max() <= 0.08 * exact.abs().max()


# --- never wrong, never silently slow --------------------------------------------------------------------------------


class Branch(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        if x.sum() > 0:
            return state.h, state
        return -state.h, state


class Highest(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        h = self.mix(x, state.h).cummax(-1).values
        return h, One(h)


class NoNumberForZeros(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        scale = torch.linalg.inv(torch.diag_embed(x[:, :1] * (2 + state.h.repeat(1, 2))))
        h = self.mix(x, state.h) + scale.sum(-1)[:, :5]
        return h, One(h)


class Narrow(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        h = self.mix(x, state.h) + 0.001 * ((state.h > 0).to(torch.uint8) - 1)  # 255 for false
        return h, One(h)


class BatchMean(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        x = x - x.mean(0)
        h = self.mix(x, state.h)
        return h, One(h)


class BatchMeanOfDraws(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        h = nn.functional.dropout(self.mix(x, state.h), 0.3)
        return h - h.mean(0), One(h)


class OneByOne(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        rows = [self.mix(one[None], h[None]) for one, h in zip(x, state.h, strict=True)]
        return torch.cat(rows), One(torch.cat(rows))


class Counted(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        h = torch.stack([self.mix(x[row : row + 1], state.h[row : row + 1])[0] + x[row, 0] for row in range(len(x))])
        return h, One(h)


class Sliced(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        rows = [self.mix(x[row : row + 1], state.h[row : row + 1]) for row in range(len(x))]
        return torch.cat(rows), One(torch.cat(rows))


class BatchMeanAndDropout(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        h = torch.nn.functional.dropout(self.mix(x - x.mean(0), state.h), 0.1)
        return h, One(h)


class NeverAlone(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        h = self.mix(x, state.h)
        return h, One(torch.cat([h[:1], h[:-1]])[: len(h)] if len(h) > 1 else h[:-1])


class OwnDraw(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        h = self.mix(x, state.h) * random.random()
        return h, One(h)


class SharedDraw(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        h = self.mix(x, state.h) * torch.rand(5, dtype=x.dtype)
        return h, One(h)


class Stranger(Small):
    def __init__(self) -> None:
        super().__init__()
        self.outside = [torch.ones(5, dtype=torch.float64)]

    def step(self, x: Tensor, state: Any) -> Any:
        h = self.mix(x, state.h) * self.outside[0]
        return h, One(h)


class WrongOutput(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        return x, state


def test_a_branch_on_a_value_is_an_error_with_its_line() -> None:
    for engine in ("compiled", "auto"):
        with pytest.raises(TraceError, match=r"test_compiled.py:\d+: `if x.sum\(\) > 0:`.*torch.where"):
            recurra.scan(Branch(), torch.randn(4, 2, 3).double(), engine=engine)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Highest, r"test_compiled.py:\d+: `h = self.mix\(x, state.h\).cummax\(-1\).values`.*`cummax`"),
        (NoNumberForZeros, r"test_compiled.py:\d+: `scale = torch.linalg.inv.*`linalg_inv_ex`.*more than 8 rows"),
        (Narrow, r"test_compiled.py:\d+: `h = self.mix.*`sub`.*its type is torch.uint8"),
        (BatchMean, "mixes the rows"),
        (BatchMeanOfDraws, "mixes the rows"),
        (OneByOne, r"goes over the rows of its batch one by one \(test_compiled.py:\d+: `rows = .*different sequences"),
        (Counted, "goes over the rows of its batch one by one"),
        (Sliced, "goes over the rows of its batch one by one"),
        (BatchMeanAndDropout, "mixes the rows"),
        (NeverAlone, "mixes the rows"),
        (SharedDraw, r"torch.rand\(5.*no row for each sequence"),
        (Stranger, "neither parameter nor buffer"),
    ],
)
def test_what_has_no_compiled_form_runs_on_the_reference_with_one_warning(kind: Any, message: str) -> None:
    cell = kind()
    x = torch.randn(4, 2, 3).double()
    with pytest.raises(CompileError, match=message):
        recurra.scan(cell, x, engine="compiled")
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match=message):
        got, _ = recurra.scan(cell, x)
    torch.manual_seed(0)
    again, _ = recurra.scan(cell, x)  # warnings are errors: it warns once
    torch.manual_seed(0)
    want, _ = recurra.scan(cell, x, engine="reference")
    assert torch.equal(got, want)
    assert torch.equal(again, want)


class Steps(Small):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def step(self, x: Tensor, state: Any) -> Any:
        h = self.mix(x, state.h)
        self.seen.append(h)
        return h, One(h)


class Clock(Small):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("time", torch.zeros((), dtype=torch.float64))

    def step(self, x: Tensor, state: Any) -> Any:
        self.time += 1
        h = self.mix(x, state.h)
        return h, One(h)


class OnceForAll(Small):
    """What it keeps it makes at the first step, whatever comes."""

    factor: float | None = None

    def step(self, x: Tensor, state: Any) -> Any:
        if self.factor is None:
            self.factor = 0.5
        h = self.factor * self.mix(x, state.h)
        return h, One(h)


@pytest.mark.parametrize(("kind", "name"), [(Steps, "seen"), (Clock, "time")])
def test_a_step_that_changes_its_cell_runs_step_by_step(kind: Any, name: str) -> None:
    cell = kind()
    with pytest.warns(UserWarning, match=f"`{kind.__name__}.step` changes `{name}` of its cell"):
        recurra.scan(cell, torch.randn(4, 2, 3).double())
    assert len(cell.seen) == 4 if kind is Steps else cell.time == 4


class Likely(Small):
    def step(self, x: Tensor, state: Any) -> Any:
        h = self.mix(x, state.h)
        return torch.distributions.Normal(h, h.exp()).log_prob(x.sum(-1, keepdim=True)), One(h)


def test_distributions_look_at_no_number_while_a_step_is_traced() -> None:
    checks = torch.distributions.Distribution._validate_args
    cell, x = Likely(), torch.randn(4, 2, 3).double()
    assert_close(recurra.scan(cell, x, engine="compiled")[0], recurra.scan(cell, x, engine="reference")[0])
    assert torch.distributions.Distribution._validate_args == checks


def test_a_step_may_keep_what_it_makes_once_for_all() -> None:
    cell, x = OnceForAll(), torch.randn(4, 2, 3).double()
    assert_close(recurra.scan(cell, x, engine="compiled")[0], recurra.scan(cell, x, engine="reference")[0])


def test_numbers_that_python_draws_are_drawn_at_every_step() -> None:
    with pytest.raises(CompileError, match="drawn by something else than torch"):
        recurra.scan(OwnDraw(), torch.randn(4, 2, 3).double(), engine="compiled")


def test_a_matrix_without_an_inverse_is_an_error_as_it_is_in_the_loop() -> None:
    class Inverse(Small):
        def step(self, x: Tensor, state: Any) -> Any:
            h = torch.tanh(self.w(x) + state.h @ torch.linalg.inv(self.u))
            return h, One(h)

    cell = Inverse()
    assert_engines_agree(cell, [3, 2])
    with torch.no_grad():
        cell.u.zero_()
    for engine in ("compiled", "reference"):
        with pytest.raises(RuntimeError, match="singular"):
            recurra.scan(cell, torch.randn(4, 2, 3).double(), engine=engine)


def test_a_failure_of_ours_is_a_reason_to_run_on_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise KeyError("val")

    monkeypatch.setattr("recurra.engine.cell_code.simplify", fails)
    cell, x = Swap(), torch.randn(4, 2, 3).double()
    with pytest.warns(UserWarning, match="`Swap.step` has no compiled form, for a reason of ours: KeyError: 'val'"):
        got, _ = recurra.scan(cell, x)
    assert torch.equal(got, recurra.scan(cell, x, engine="reference")[0])


def test_a_step_that_returns_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"output of shape \[B=7, O=5\]"):
        recurra.scan(WrongOutput(), torch.randn(4, 2, 3).double(), engine="compiled")


# --- nothing is left behind ------------------------------------------------------------------------------------------


def test_a_cell_that_is_gone_takes_its_code_along() -> None:
    loop_kernel._recent.clear()
    gc.collect()
    before = len(loop_kernel._codes)
    cell: Any = StateOnly(2, 11)
    y, _ = recurra.scan(cell, torch.randn(2, 2, 2).double(), engine="compiled")
    y.sum().backward()
    assert len(loop_kernel._codes) > before
    alive = weakref.ref(cell)
    del cell, y, _  # the state holds its gradient, and that the cell
    gc.collect()
    assert alive() is None
    assert loop_kernel._recent.maxlen is not None  # for the next cell of its kind, some are kept
    loop_kernel._recent.clear()
    assert len(loop_kernel._codes) == before


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_many_calls_leave_no_memory_behind() -> None:
    cell = GRU(8, 8)
    x = torch.randn(20, 16, 8)

    def call(times: int) -> None:
        for _ in range(times):
            recurra.scan(cell, x, engine="compiled")[0].sum().backward()

    call(100)
    before = _resident()
    call(2000)
    assert _resident() - before < 4_000_000  # one call holds some 200 kB: a leak of it would be 200 MB


def test_torch_compile_around_a_scan_changes_nothing() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = GRU(3, 5), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(recurra.scan(self.cell, x)[0])

    network = Network()
    x = torch.randn(4, 2, 3)
    want = network(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what torch.compile cannot see through
        got = torch.compile(network, backend="eager")(x)
        got.square().sum().backward()
    assert_close(got, want)
    assert network.cell.weight_hh.grad is not None


class Slip(Cell):
    """A step with a slip in it: `part` is what it does wrong."""

    State = collections.namedtuple("State", "h")

    def __init__(self, part: Callable[..., Tensor]) -> None:
        super().__init__(3, 4)
        self.rows, self.part = nn.Linear(3, 4), part

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        h = self.part(self, x)
        return h, self.State(h)


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        (lambda cell, x: cell.row(x), AttributeError),
        (lambda cell, x: cell.rows(torch.cat([x, x], -1)), RuntimeError),
        (lambda cell, x: x / (1 // 0), ZeroDivisionError),
    ],
)
def test_a_slip_in_a_step_is_seen_as_it_is(
    part: Callable[..., Tensor], kind: type[Exception], capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is said of engines
        with pytest.raises(kind):
            recurra.scan(Slip(part), torch.randn(2, 1, 3))
    with pytest.raises(CompileError, match=rf"`Slip.step` fails \(test_compiled.py:\d+: .*\): {kind.__name__}: "):
        recurra.scan(Slip(part), torch.randn(2, 1, 3), engine="compiled")
    assert capfd.readouterr().err == ""  # torch says at length what it was tracing


def test_a_step_that_asks_something_of_its_state_is_tried_near_the_first_one() -> None:
    class Filter(Cell):
        State = collections.namedtuple("State", "covariance")

        def initial_state(self, batch_size: int, **kind: Any) -> Any:
            return self.State(torch.eye(3, **kind).expand(batch_size, 3, 3))

        def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
            root = torch.linalg.cholesky(state.covariance)
            return root.sum(-1), self.State(state.covariance * 0.9 + 0.2 * x[:, :, None] * x[:, None, :])

    x = torch.randn(5, 2, 3, dtype=torch.float64)
    outputs, _ = recurra.scan(Filter(3, 3), x, engine="compiled")
    assert_close(outputs, recurra.scan(Filter(3, 3), x, engine="reference")[0])


class WithNothing(Cell):
    """A state with a field that has no numbers."""

    State = collections.namedtuple("State", "h, none")

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        return (5,), (0,)

    def step(self, x: Tensor, state: Any) -> Any:
        h = torch.tanh(x.sum(-1, keepdim=True) + state.h * 0.5 + state.none.sum(-1, keepdim=True))
        return h, self.State(h, 2 * state.none.sigmoid())


def test_a_field_without_numbers() -> None:
    assert_engines_agree(WithNothing(3, 5).double(), [3, 0, 2])
