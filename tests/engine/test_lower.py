"""Common functions of torch in a step: compiled and right, or on the reference with a warning."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import recurra
from recurra import Cell
from recurra.engine.compiled import compiled
from recurra.engine.lower import lower
from recurra.errors import CompileError
from tests.engine.engines import assert_engines_agree

LITERAL = [1.0, 0.5, 2.0]


class State(NamedTuple):
    h: Tensor


class Step(Cell):
    """`h' = function(a, h, u)` with a = W x + b."""

    State = State

    def __init__(self, function: Any) -> None:
        super().__init__(4, 6)
        self.w = nn.Linear(4, 6)
        self.u = nn.Parameter(torch.randn(6, 6) * 0.3)
        self.function = function
        self.double()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.function(self.w(x), state.h, self.u)
        return h, State(h)


def heads(v: Tensor) -> Tensor:
    return v.view(len(v), 2, 3)


def written_places(a: Tensor, h: Tensor, u: Tensor) -> Tensor:
    y = h.clone()
    y[:, [0, 3]] = 2 * a[:, :2]
    return y * u[0] + a


def written_at_own_place(a: Tensor, h: Tensor, u: Tensor) -> Tensor:
    rows, place = torch.arange(len(h)), (h @ u).argmax(-1)
    y = h.clone()
    y[rows, place - 1] = a[:, 0]
    return a + y.index_put((rows, place), a[:, 1], accumulate=True) * u[0]


def in_place(a: Tensor, h: Tensor, u: Tensor) -> Tensor:
    y = (a + h).clone()
    y += 1
    return y.tanh_()


COMPILED: dict[str, Any] = {
    "silu": lambda a, h, u: F.silu(a + h @ u),
    "gelu": lambda a, h, u: F.gelu(a + h @ u),
    "gelu tanh": lambda a, h, u: F.gelu(a + h @ u, approximate="tanh"),
    "softplus": lambda a, h, u: F.softplus(a + h @ u),
    "mish": lambda a, h, u: F.mish(a + h @ u),
    "hardtanh": lambda a, h, u: F.hardtanh(a + h @ u),
    "elu": lambda a, h, u: F.elu(a + h @ u),
    "selu": lambda a, h, u: F.selu(a + h @ u),
    "celu": lambda a, h, u: F.celu(a + h @ u),
    "leaky_relu": lambda a, h, u: F.leaky_relu(a + h @ u),
    "relu6": lambda a, h, u: F.relu6(a + h @ u),
    "softsign": lambda a, h, u: F.softsign(a + h @ u),
    "logsigmoid": lambda a, h, u: F.logsigmoid(a + h @ u),
    "erf": lambda a, h, u: torch.erf(a + h @ u),
    "normalize": lambda a, h, u: F.normalize(a + h @ u, dim=-1),
    "softmax": lambda a, h, u: F.softmax(a + h @ u, -1),
    "log_softmax": lambda a, h, u: F.log_softmax(a + h @ u, -1),
    "layer_norm": lambda a, h, u: F.layer_norm(a + h @ u, (6,)),
    "rms_norm": lambda a, h, u: F.rms_norm(a + h @ u, (6,)),
    "lerp": lambda a, h, u: torch.lerp(h, a, a.sigmoid()),
    "addcmul": lambda a, h, u: torch.addcmul(a, h, a.tanh(), value=0.5),
    "clamp": lambda a, h, u: (a + h @ u).clamp(-1, 1),
    "minimum": lambda a, h, u: torch.minimum(a, h),
    "stack": lambda a, h, u: torch.stack([a[:, 0], h[:, 1], a[:, 2], h[:, 3], a[:, 4], h[:, 5]], -1),
    "unbind": lambda a, h, u: torch.stack([k.tanh() for k in (a + h).unbind(-1)], -1),
    "softmax of heads": lambda a, h, u: torch.softmax(heads(a + h @ u), -1).flatten(1),
    "gates of heads": lambda a, h, u: (heads(h) * heads(a).mean(-1, keepdim=True).sigmoid()).flatten(1),
    "transpose of heads": lambda a, h, u: heads(a + h).transpose(1, 2).reshape(-1, 6).tanh(),
    "literal": lambda a, h, u: (heads(a + h).tanh() * torch.tensor(LITERAL, dtype=a.dtype)).flatten(1),
    "truth values": lambda a, h, u: a.tanh() * (h > 0) + (a > 0) + torch.where((h > 0) & ~(a > 0), h, a) * 0.3,
    "counts": lambda a, h, u: a / (1 + (h > 0).sum(-1, keepdim=True)),
    "masked_fill": lambda a, h, u: a.masked_fill(h > 0, 0.5),
    "half powers": lambda a, h, u: ((a + h @ u) ** 2 + 1) ** 1.5 * 0.1,
    "std": lambda a, h, u: a / (h.std(-1, keepdim=True) + 1),
    "norm": lambda a, h, u: a * h.norm(dim=-1, keepdim=True) / 10,
    "pad": lambda a, h, u: F.pad(h[:, 1:], (0, 1)) * 0.9 + a,
    "every second": lambda a, h, u: torch.cat([h[:, ::2], a[:, 1::2]], 1),
    "one row of weights": lambda a, h, u: torch.tanh(a + u[:1] + h * u[0]),
    "detach": lambda a, h, u: (a + h @ u).tanh() + h.detach(),
    "in place": in_place,
    "sign": lambda a, h, u: a + torch.sign(h) * 0.1,
    "sgn": lambda a, h, u: a + torch.sgn(h) * 0.1,
    "signs of both zeros": lambda a, h, u: a + torch.copysign(h, 0.0) * 0.2 + torch.copysign(h, -0.0) * 0.1,
    "constants of a narrower type": lambda a, h, u: a + h * torch.full((h.shape[1],), 1 / 3, dtype=torch.float32),
    "bmm": lambda a, h, u: torch.bmm(h[:, :, None], a[:, None, :]).sum(1).tanh(),
    "any power": lambda a, h, u: (a * a + 1) ** 0.3 + ((h * h + 1) ** (1 / 3)),
    "atan": lambda a, h, u: torch.atan(a + h @ u),
    "atan2": lambda a, h, u: torch.atan2(a + h @ u, a - h),
    "asin": lambda a, h, u: torch.asin(torch.tanh(a + h @ u)),
    "acos": lambda a, h, u: torch.acos(torch.tanh(a + h @ u)),
    "tan": lambda a, h, u: torch.tan(torch.tanh(a + h @ u)),
    "sinh": lambda a, h, u: torch.sinh(a + h @ u).tanh(),
    "cosh": lambda a, h, u: 1 / torch.cosh(a + h @ u),
    "asinh": lambda a, h, u: torch.asinh(a + h @ u),
    "acosh": lambda a, h, u: torch.acosh(torch.exp(a + h @ u) + 1.1),
    "atanh": lambda a, h, u: torch.atanh(0.9 * torch.tanh(a + h @ u)),
    "log2": lambda a, h, u: torch.log2((a + h @ u).exp() + 1),
    "log10": lambda a, h, u: torch.log10((a + h @ u).exp() + 1),
    "exp2": lambda a, h, u: torch.exp2(torch.tanh(a + h @ u)),
    "round": lambda a, h, u: a + torch.round(3 * h) * 0.1 + torch.round(h, decimals=1),
    "straight through": lambda a, h, u: (lambda s: s + (s.round() - s).detach())(torch.sigmoid(a + h @ u)),
    "trunc": lambda a, h, u: a + torch.trunc(3 * h) * 0.1 + torch.frac(h),
    "fmod": lambda a, h, u: a.tanh() + torch.fmod(3 * h, 0.7) + torch.fmod(h, a.exp() + 1),
    "remainder": lambda a, h, u: a.tanh() + (3 * h) % 0.7 + torch.remainder(h, -a.exp() - 1),
    "div floor": lambda a, h, u: a + 0.1 * torch.div(h, 0.3, rounding_mode="floor"),
    "div trunc": lambda a, h, u: a + 0.1 * torch.div(h, 0.3, rounding_mode="trunc"),
    "softshrink": lambda a, h, u: F.softshrink(a + h @ u, 0.2),
    "hardshrink": lambda a, h, u: F.hardshrink(a + h @ u, 0.2),
    "tanhshrink": lambda a, h, u: F.tanhshrink(a + h @ u),
    "threshold": lambda a, h, u: F.threshold(a + h @ u, 0.1, -0.2),
    "hardswish": lambda a, h, u: F.hardswish(a + h @ u),
    "logaddexp": lambda a, h, u: torch.logaddexp(a, h @ u),
    "logaddexp2": lambda a, h, u: torch.logaddexp2(a, h @ u),
    "logsumexp": lambda a, h, u: a + 0.2 * torch.logsumexp(h @ u, -1, keepdim=True),
    "cosine_similarity": lambda a, h, u: a * F.cosine_similarity(a + h @ u, h, dim=-1)[:, None],
    "hypot": lambda a, h, u: torch.hypot(a, h @ u),
    "copysign": lambda a, h, u: torch.copysign(h, a),
    "fmax": lambda a, h, u: torch.fmax(a, h) + torch.fmin(a.tanh(), h @ u),
    "max": lambda a, h, u: a * (h @ u + a).max(-1).values[:, None],
    "min": lambda a, h, u: a + (h @ u + a).min(-1, keepdim=True)[0],
    "ties": lambda a, h, u: a.tanh() + F.relu(h @ u - 1).max(-1, keepdim=True).values * h,
    "shared ties": lambda a, h, u: a.tanh() + F.relu(h @ u - 1).amax(-1, keepdim=True) * h,
    "max of columns": lambda a, h, u: heads(a).max(1).values.repeat(1, 2) * h + heads(h).min(2).values.repeat(1, 3),
    "argmax": lambda a, h, u: a.tanh() * (h @ u).argmax(-1, keepdim=True) + F.relu(h).argmin(-1, keepdim=True),
    "argmax of NaN": lambda a, h, u: a.tanh() + torch.where(h > 0, h, torch.nan).argmax(-1, keepdim=True),
    "one_hot": lambda a, h, u: a + F.one_hot((h @ u + a).argmax(-1), 6) * h,
    "gather": lambda a, h, u: a * h.gather(-1, (h @ u).argmax(-1, keepdim=True)),
    "scatter": lambda a, h, u: a + h.scatter(-1, (h @ u).argmax(-1, keepdim=True), a[:, :1]),
    "scatter_add": lambda a, h, u: a + h.scatter_add(-1, (h[:, :2] > 0).long(), a[:, :2]),
    "permuted": lambda a, h, u: a + h[:, [2, 0, 1, 5, 4, 3]] * 0.5,
    "index_select": lambda a, h, u: a + h.index_select(1, torch.tensor([2, 0, 2, 2, -1 + 6, 3])) * u[0],
    "places of matrices": lambda a, h, u: a + heads(h)[:, [0, 1, 1, 0, 1, 0], [2, 2, 0, 1, 1, 1]] * u[0],
    "written places": written_places,
    "index_add": lambda a, h, u: a.index_add(1, torch.tensor([0, 2, 2]), h[:, :3]),
    "cumsum": lambda a, h, u: (a + h).tanh().cumsum(-1) * 0.3,
    "cumsum of rows": lambda a, h, u: heads(a + h).cumsum(1).flatten(1).tanh() + heads(h).cumprod(2).flatten(1),
    "prod": lambda a, h, u: a.tanh() + F.relu(h @ u).prod(-1, keepdim=True) + heads(h).tanh().prod(1).repeat(1, 2),
    "interpolate": lambda a, h, u: a + F.interpolate(h[:, None], scale_factor=2)[:, 0, :6],
    "interleaved": lambda a, h, u: torch.stack([a, h @ u], -1).flatten(1)[:, 1:7].tanh(),
    "sums of nothing": lambda a, h, u: (
        a * (h[:, :0] > 0).any(-1, keepdim=True)
        + h[:, :0].sum(-1, keepdim=True)
        + heads(h + a)[:, :0].sum(1).repeat(1, 2)
    ),
    "unfold": lambda a, h, u: a + h.unfold(1, 3, 1).sum(-1).repeat(1, 2)[:, :6],
    "batch_norm": lambda a, h, u: F.batch_norm(a + h @ u, u[0].detach(), u[1].detach().exp(), u[2], u[3]),
    "sort": lambda a, h, u: a.sigmoid() * (F.relu(h) + a).sort(-1, descending=True).values + F.relu(h).argsort(-1),
    "sort of NaN": lambda a, h, u: a.sigmoid() * torch.where(h > 0.3, torch.nan, h).sort(-1).indices,
    "topk": lambda a, h, u: a.sigmoid() * torch.zeros_like(h).scatter(-1, (h @ u).topk(3).indices, h[:, 1:4]),
    "smallest": lambda a, h, u: a.sigmoid() + heads(h).topk(2, 1, largest=False).values.flatten(1),
    "kthvalue": lambda a, h, u: a.sigmoid() * h.kthvalue(2).values[:, None] + heads(h).kthvalue(2, 1)[1].repeat(1, 2),
    "median": lambda a, h, u: a.sigmoid() * h.median(-1, keepdim=True).values + heads(a).median(2)[1].repeat(1, 3),
    "median of NaN": lambda a, h, u: (
        a.sigmoid() + sum(torch.where(h > 0.3, torch.nan, h).median(-1, keepdim=True)).nan_to_num(5.0)
    ),
    "logical_xor": lambda a, h, u: a.tanh() * torch.logical_xor(a > 0, h.relu()) + (h > 0).logical_xor(u[0] > 0),
    "scatter in place": lambda a, h, u: a * torch.zeros_like(h).scatter_(-1, h.argmax(-1, keepdim=True), 1.0),
    "cumsum in place": lambda a, h, u: (a + h).cumsum_(-1).tanh(),
    "stack before the batch": lambda a, h, u: torch.stack([a, h @ u]).softmax(0).sum(0) + torch.stack([a, h]).mean(0),
    "batch in columns": lambda a, h, u: (u @ h.T).T + a + (u[0] @ h.T)[:, None],
    "bilinear": lambda a, h, u: a + F.bilinear(a[:, :2], h[:, :3], u.view(6, 2, 3), u[0]),
    "whole numbers": lambda a, h, u: a.tanh() * ((4 * h).long() % 3) + (-3 * a).to(torch.int32).clamp(-1, 2),
    "bits": lambda a, h, u: a.tanh() + ((8 * h).long() & 3) + ((8 * h).long() << 2) + ((8 * h).long() >> 1),
    "bucketize": lambda a, h, u: a.sigmoid() * torch.bucketize(h + a, torch.tensor([-0.5, 0.0, 0.2, 1.0])),
    "bucketize to the right": lambda a, h, u: (
        a.sigmoid() * torch.bucketize(F.relu(h), u[0].detach().abs().cumsum(0), right=True, out_int32=True)
    ),
    "searchsorted": lambda a, h, u: (
        a.sigmoid() * torch.searchsorted(torch.tensor([-0.5, 0.2], dtype=a.dtype), torch.where(h > 1, torch.nan, h))
    ),
    "searchsorted in rows": lambda a, h, u: a.sigmoid() * torch.searchsorted(h.sort(-1).values, a, side="right"),
    "in float32": lambda a, h, u: (
        a.tanh() + 0.1 * torch.where(h > 0, 1.0, -1.0) + (0.7 * h.float() - h.float() / 3).to(h.dtype) * (a > 0).float()
    ),
    "truth in float32": lambda a, h, u: a.tanh() * (h > 0).float().to(h.dtype),
    "place of each row": lambda a, h, u: a * h[torch.arange(len(h)), (h @ u).argmax(-1) - 1][:, None],
    "row of each matrix": lambda a, h, u: a + heads(h)[torch.arange(len(h)), heads(a).sum(2).argmax(1)].repeat(1, 2),
    "places of each row": lambda a, h, u: (
        a[:, :2].sigmoid().repeat(1, 3) * h[torch.arange(len(h))[:, None], (h @ u).topk(2).indices].repeat(1, 3)
    ),
    "written at a place of each row": written_at_own_place,
    "rows of a table": lambda a, h, u: a + u[(h @ u).argmax(-1)] * h,
    "table with an infinity": lambda a, h, u: a + torch.where(u < 0.1, u, torch.inf)[h.argmax(-1)].clamp(max=1),
    "embedding": lambda a, h, u: a + F.embedding((h @ u).argmax(-1), u),
    "attention": lambda a, h, u: F.scaled_dot_product_attention(heads(a + h), heads(h), heads(a)).flatten(1),
    "causal attention": lambda a, h, u: F.scaled_dot_product_attention(
        *(heads(each)[:, None] for each in (a + h, h, a)), is_causal=True
    ).flatten(1),
}
NOT_COMPILED: dict[str, Any] = {
    "cummax": lambda a, h, u: (a + h).tanh().cummax(-1).values,
    # forward it is a list of places
    "upsample_nearest1d_backward": lambda a, h, u: a + F.interpolate(h[:, None], size=9)[:, 0, :6],
    "bitwise_xor": lambda a, h, u: a.tanh() + ((8 * h).long() ^ 5),
    "_to_copy": lambda a, h, u: a.tanh() + (1000 * h).long().to(torch.int8),
    "sum": lambda a, h, u: a.tanh() + (90 * h).long().sum(-1, keepdim=True, dtype=torch.int8),
    "erfinv": lambda a, h, u: torch.erfinv(0.9 * torch.tanh(a + h @ u)),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", COMPILED)
def test_a_common_function_in_a_step_is_compiled_and_right(name: str, dtype: torch.dtype) -> None:
    assert_engines_agree(Step(COMPILED[name]).to(dtype), [3, 0, 2])


@pytest.mark.parametrize("name", NOT_COMPILED)
def test_a_function_without_compiled_form_is_named_with_its_line(name: str) -> None:
    cell = Step(NOT_COMPILED[name])
    x = torch.randn(3, 2, 4).double()
    with pytest.raises(CompileError, match=rf"test_lower.py:\d+: .*`{name}`"):
        recurra.scan(cell, x, engine="compiled")


@pytest.mark.parametrize("name", ["atan2", "fmod", "max", "argmax", "scatter", "index_add", "cumsum", "prod"])
def test_passes_that_are_recorded_stay_right(name: str) -> None:
    cell = Step(COMPILED[name])
    for _ in range(4):
        assert_engines_agree(cell, [3, 2])


class Permuted(Cell):
    """The recurrence of a unitary RNN: a fixed permutation of the state, in a buffer or written out."""

    State = State

    def __init__(self, size: int, *, in_buffer: bool) -> None:
        super().__init__(3, size)
        self.w = nn.Linear(3, size)
        places = torch.randperm(size, generator=torch.Generator().manual_seed(0))
        self.list = None if in_buffer else places.tolist()
        self.register_buffer("places", places)
        self.double()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        turned = state.h[:, self.places if self.list is None else self.list]
        h = torch.tanh(self.w(x) + torch.where(self.w.bias > 0, turned, turned.log()))
        return h, State(h)


class Shifted(Permuted):
    """Moved by a convolution that goes round, as a neural Turing machine writes it: places of windows in a buffer."""

    def __init__(self, size: int) -> None:
        super().__init__(size, in_buffer=True)
        self.places = (torch.arange(size)[:, None] - torch.tensor([-1, 0, 1])) % size

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        windows = state.h[:, self.places] * self.w(x)[:, :3].softmax(-1).unsqueeze(1)
        h = torch.tanh(self.w(x) + windows.sum(-1))
        return h, State(h)


def test_windows_listed_in_a_buffer_are_compiled_and_right() -> None:
    cell = Shifted(5)
    for _ in range(2):
        assert_engines_agree(cell, [3, 0, 2])
        cell.places.copy_(cell.places.flip(0) - 5)


class Clamped(Permuted):
    """Some units of the state are those of the input, as in an associative memory that is asked for the others."""

    def __init__(self) -> None:
        super().__init__(5, in_buffer=True)
        self.places = torch.tensor([4, 0, 4, -4])

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.w(x) + 0.5 * torch.tanh(state.h)
        h[:, self.places] = self.w(x)[:, :4] * state.h[:, :4]
        return h, State(h.index_fill(1, self.places[:2], 0.5) + h.sin())


def test_numbers_written_to_places_in_a_buffer_are_compiled_and_right() -> None:
    cell = Clamped()
    for _ in range(2):
        assert_engines_agree(cell, [3, 0, 2])
        cell.places.copy_(torch.tensor([1, 2, 1, 1]))


@pytest.mark.parametrize("size", [7, 130])
@pytest.mark.parametrize("in_buffer", [True, False])
def test_a_permutation_of_the_state_is_compiled_and_right(size: int, in_buffer: bool) -> None:
    cell = Permuted(size, in_buffer=in_buffer)
    x, begin = torch.randn(3, 2, 3).double(), State(torch.rand(2, size).double())
    for _ in range(2):
        outputs = [recurra.scan(cell, x, begin, engine=engine)[0] for engine in ("compiled", "reference")]
        torch.testing.assert_close(*outputs, equal_nan=True)  # what is no number spoils no other one
        cell.places.copy_(torch.arange(size).flip(0) - size)
    cell.w.bias.data.fill_(1.0)
    assert_engines_agree(cell, [3, 0, 2])


def test_a_place_that_a_state_does_not_have_is_an_error_at_the_next_call() -> None:
    cell = Permuted(7, in_buffer=True)
    x = torch.randn(3, 2, 3).double()
    for _ in range(3):  # a recorded pass, too
        recurra.scan(cell, x, engine="compiled")
    cell.places[4] = 7
    with pytest.raises(IndexError, match="place 7 is out of bounds for an axis with size 7"):
        recurra.scan(cell, x, engine="compiled")


@pytest.mark.parametrize(
    ("function", "op"), [(F.logsigmoid, "log1p_unit"), (F.softplus, "log1p"), (torch.log1p, "log1p")]
)
def test_the_logarithm_of_what_lies_between_one_and_two_is_less_work(function: Any, op: str) -> None:
    plan = compiled(Step(lambda a, h, u: function(a + h @ u)), torch.float64).plan
    assert [value.op for value in lower(plan.forward).values if value.op.startswith("log1p")] == [op]
