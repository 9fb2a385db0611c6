"""Steps whose values have several dimensions for each sequence: memories, links, heads."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import recurra
from recurra import Cell
from recurra.engine.compiled import compiled
from tests.engine.engines import assert_engines_agree


class State(NamedTuple):
    m: Tensor  # memory [B, N, W]
    w: Tensor  # weightings [B, R, N]
    h: Tensor  # [B, H], H = R * W


class Parts(NamedTuple):
    x: Tensor  # a linear map of the input [B, H]
    m: Tensor
    w: Tensor
    h: Tensor
    p: nn.ParameterDict

    def heads(self, value: Tensor) -> Tensor:
        """[B, H] -> [B, R, W]"""
        return value.view(len(value), self.w.shape[1], self.m.shape[2])


class Step(Cell):
    """`m, w, h = function(parts)`, kept small by tanh and a softmax."""

    State = State

    def __init__(self, function: Callable[[Parts], Any], sizes: tuple[int, int, int] = (5, 3, 2)) -> None:
        slots, word, reads = sizes
        super().__init__(4, reads * word)
        torch.manual_seed(0)
        self.sizes, self.function = sizes, function
        self.input = nn.Linear(4, self.hidden_size)
        shapes = {
            "u": (self.hidden_size, self.hidden_size),
            "blocks": (reads, word, word),
            "square": (slots, slots),
            "words": (slots, word),
            "up": (word, 4),
            "slot": (slots,),
        }
        self.p = nn.ParameterDict({name: 0.4 * torch.randn(shape) for name, shape in shapes.items()})

    def initial_state(self, batch_size: int, *, dtype: Any = None, device: Any = None) -> State:
        slots, word, reads = self.sizes
        shapes = [(slots, word), (reads, slots), (reads * word,)]
        return State(*(torch.zeros(batch_size, *shape, dtype=dtype, device=device) for shape in shapes))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        m, w, h = self.function(Parts(self.input(x), *state, self.p))
        state = State(torch.tanh(m), torch.softmax(w, -1), torch.tanh(h))
        return state.h, state


def content_addressing(s: Parts) -> Any:
    keys = s.heads(s.x + s.h)
    lengths = torch.sqrt((s.m * s.m).sum(-1) + 1e-3)[:, None] * torch.sqrt((keys * keys).sum(-1, keepdim=True) + 1e-3)
    found = torch.softmax(F.softplus(s.x[:, :1, None]) * (keys @ s.m.mT) / lengths, -1)
    return s.m, s.w + found, s.h + (found @ s.m).flatten(1)


def erase_and_add(s: Parts) -> Any:
    erase, add = torch.sigmoid(s.heads(s.h)), s.heads(s.x)
    weights = torch.softmax(s.w, -1)
    kept = functools.reduce(torch.mul, [1 - weights[:, k, :, None] * erase[:, k, None, :] for k in range(2)])
    m = s.m * kept + torch.bmm(weights.transpose(1, 2), add)
    return m, s.w, s.h + torch.einsum("brn,bnw->brw", weights, m).flatten(1)


def shift(s: Parts) -> Any:
    turned = [torch.cat([s.w[..., -k:], s.w[..., :-k]], -1) * s.h[:, k, None, None] for k in (1, 2)]
    sharp = (torch.softmax(sum(turned), -1) + 1e-3) ** (1 + F.softplus(s.x[:, :2, None]))
    return s.m, torch.log(sharp / sharp.sum(-1, keepdim=True)), s.x + (sharp @ s.m).flatten(1)


def links(s: Parts) -> Any:
    """The memory times itself is what the links are here."""
    weights, other = torch.sigmoid(s.w[:, 0, :, None]), torch.sigmoid(s.w[:, 1, None, :])
    before = torch.einsum("bnw,bmw->bnm", s.m, s.m)
    linked = ((1 - weights - other) * before + weights * other) * (1 - torch.eye(before.shape[1], dtype=s.m.dtype))
    forward, backward = s.w @ linked.mT, s.w @ linked
    m = s.m + (linked * linked.mT.sigmoid()) @ s.m
    return m, forward - backward, s.x + s.h


def allocation(s: Parts) -> Any:
    usage = torch.sigmoid(s.w[:, 0])
    freer = (usage[:, None, :] < usage[:, :, None]).to(usage.dtype)
    free = (1 - usage) * (freer * usage.log()[:, None, :]).sum(-1).exp()
    return s.m + free[:, :, None] * s.heads(s.x)[:, :1], s.w + free[:, None], s.h + s.x


def matrix_memory(s: Parts) -> Any:
    """Keys and values in a matrix for each head, as in an mLSTM."""
    q, k = s.heads(s.x), s.heads(s.h)
    matrix = k[..., :, None] * q[..., None, :] * s.w[:, :, :1, None].exp()  # [B, R, W, W]
    found = (matrix @ q[..., None]).squeeze(-1)
    bound = torch.maximum((k * q).sum(-1).abs(), torch.exp(-s.w[:, :, 0]))
    return s.m + matrix.sum(1).mean(1, keepdim=True), s.w, (found / bound[..., None]).flatten(1)


def blocks(s: Parts) -> Any:
    mixed = torch.einsum("brv,rvw->brw", s.heads(s.h), s.p["blocks"])
    return s.m, s.w, s.x + mixed.flatten(1)


def broadcast_blocks(s: Parts) -> Any:
    mixed = s.heads(s.h)[:, :, None, :] @ s.p["blocks"]
    return s.m, s.w, s.x + mixed.flatten(1)


def products_with_parameters(s: Parts) -> Any:
    wide = torch.tanh(s.m @ s.p["up"])  # [B, N, 4]
    m = s.p["square"] @ s.m + F.linear(wide, s.p["up"])
    return m, s.w @ s.p["square"].t() + s.p["slot"], s.x + s.w.flatten(1)[:, : s.h.shape[1]] + s.h @ s.p["u"]


def attention(s: Parts) -> Any:
    scores = s.heads(s.h) @ (s.m * s.p["words"]).mT / 2
    read = F.softmax(scores, -1) @ s.m
    return s.m + torch.baddbmm(s.m, scores.mT, read, beta=0.5), scores, s.x + read.flatten(1)


def norms(s: Parts) -> Any:
    m = F.layer_norm(s.m, s.m.shape[-1:]) + F.normalize(s.m, dim=1) + s.m.var((1, 2), keepdim=True)
    w = s.w - s.w.mean(1, keepdim=True) + torch.logsumexp(s.w, 1, keepdim=True)
    return m + s.m.norm(dim=(1, 2), keepdim=True), w, s.x + F.group_norm(s.h[:, :, None], 2)[..., 0]


def reductions(s: Parts) -> Any:
    columns, rows = s.m.amax(1), s.m.sum(2)  # [B, W], [B, N]
    everything = s.m.amin((1, 2))[:, None] + s.m.mean((1, 2))[:, None] + (s.m > 0.1).any(1).sum(-1, keepdim=True)
    cube = s.w[..., None] * s.m[:, None]  # [B, R, N, W]
    h = cube.sum(2).flatten(1) + cube.amax((1, 2)).repeat(1, 2) + s.x
    return s.m * columns[:, None], cube.sum((1, 3))[:, None] + rows[:, None] + s.w, h + everything + s.h


def moves(s: Parts) -> Any:
    head, tail = s.m[:, :2], s.m[:, 2:]
    m = torch.cat([tail.flip(1), head], 1) + torch.cat([s.m[..., 1:], s.m[..., :1]], 2)
    m = m + torch.stack([s.m[:, :, 0], *s.m.unbind(2)[1:]], 2).roll(1, 1) + F.pad(s.m[:, 1:-1, 1:], (1, 0, 1, 1))
    w = s.w.flip(-1) + s.m[:, :, :2].mT + s.w.permute(0, 2, 1).reshape(s.w.shape)
    return m + s.m[:, ::2].repeat_interleave(2, 1)[:, : m.shape[1]], w, s.x + s.m[:, 1:3].mT.flatten(1)


def choices(s: Parts) -> Any:
    low = torch.minimum(s.m, s.p["words"]).clamp(-0.5, 0.4)
    m = torch.where((s.m > s.m.mean(1, keepdim=True)) & ~(s.m < -0.2), low, s.m.abs() + s.m.sign() * 0.1)
    return m.masked_fill(s.m.mean(2, keepdim=True) > 0.3, 0.2), s.w.clamp(min=-s.w.flip(1)), s.x + s.h


def powers(s: Parts) -> Any:
    base = s.m.abs() + 0.3
    m = base**0.3 + base ** s.p["words"] + 1.5**s.m + torch.expm1(-base) + torch.log1p(base)
    return m - base**-2, F.softplus(s.w, beta=2) ** 1.5, s.x + F.mish(s.h)


def biases_and_pools(s: Parts) -> Any:
    memory = F.linear(s.m, s.p["up"].t(), s.p["up"].sum(0)) + s.p["up"].sum()
    heads = F.linear(s.w, s.p["square"], s.p["slot"])
    return F.linear(memory, s.p["up"], s.p["up"].mean(1)) + s.m, heads, s.x + s.h


STEPS = [
    content_addressing,
    erase_and_add,
    shift,
    links,
    allocation,
    matrix_memory,
    blocks,
    broadcast_blocks,
    products_with_parameters,
    attention,
    norms,
    reductions,
    moves,
    choices,
    powers,
    biases_and_pools,
]
each = pytest.mark.parametrize("function", STEPS, ids=lambda function: function.__name__)


@each
def test_a_step_on_matrices_is_right_in_double_precision(function: Any) -> None:
    assert_engines_agree(Step(function).double(), [3, 0, 5, 1])


@each
def test_a_step_on_matrices_is_right_in_single_precision(function: Any) -> None:
    assert_engines_agree(Step(function), [2, 7, 1], state=None)


# sizes around those of vectors and of what is computed at a time
@pytest.mark.parametrize("sizes", [(17, 9, 2), (4, 33, 2), (3, 3, 2), (8, 16, 2)], ids=str)
@pytest.mark.parametrize("function", [content_addressing, erase_and_add, links, blocks], ids=lambda f: f.__name__)
def test_vectors_have_ends(function: Any, sizes: Any) -> None:
    assert_engines_agree(Step(function, sizes).double(), [3, 2])


def test_a_large_memory_makes_no_more_code_than_a_small_one() -> None:
    small, large = (compiled(Step(content_addressing, (slots, 16, 2)), torch.float32) for slots in (16, 128))
    for name in ("training", "reverse"):
        assert len(getattr(large, name).ir) < 1.3 * len(getattr(small, name).ir)


def test_products_of_matrices_are_no_arrays_in_memory() -> None:
    code = compiled(Step(links, (32, 16, 2)), torch.float32)
    for kernel in (code.training, code.reverse):
        assert max(kernel.plan.scratch) <= 32 * 32  # and not 32 * 32 * 16, what a product sums up


def test_a_stream_runs_a_memory() -> None:
    cell = Step(content_addressing).eval()
    layer = recurra.Recurrent(cell)
    x = torch.randn(6, 4)
    with torch.no_grad():
        expected, _ = recurra.scan(cell, x[:, None], engine="reference")
    stream = layer.stream()
    for t in range(6):
        torch.testing.assert_close(torch.as_tensor(stream.push(x[t])), expected[t, 0], rtol=1e-5, atol=1e-5)
