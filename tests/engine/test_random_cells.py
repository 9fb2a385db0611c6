"""Cells that nobody wrote: steps drawn from a small grammar, through both engines."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from recurra import Cell
from tests.engine.engines import assert_engines_agree


class State1(NamedTuple):
    a: Tensor


class State2(NamedTuple):
    a: Tensor
    b: Tensor


def written(value: Tensor) -> Tensor:
    made = torch.zeros_like(value)
    made[:, ::2] = value[:, ::2] * 0.5
    made[:, -1] += value[:, 0]
    return made


UNARY: dict[str, Any] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "neg": torch.neg,
    "exp": lambda v: torch.exp(-v.abs()),
    "log": lambda v: torch.log(1 + v * v),
    "square": lambda v: torch.tanh(v) ** 2,
    "sqrt": lambda v: torch.sqrt(v * v + 0.5),
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "elu": F.elu,
    "clamp": lambda v: v.clamp(-0.7, 0.9),
    "softmax": lambda v: torch.softmax(v, -1),
    "log_softmax": lambda v: F.log_softmax(v, -1) * 0.1,
    "layer_norm": lambda v: F.layer_norm(torch.cat([v, 2 * v + 1], -1), (2 * v.shape[-1],)),
    "sum": lambda v: v.sum(-1, keepdim=True) * 0.3,
    "mean": lambda v: v.mean(-1, keepdim=True),
    "amax": lambda v: v.amax(-1, keepdim=True),
    "amin": lambda v: v.amin(-1, keepdim=True),
    "centre": lambda v: v - v.mean(-1, keepdim=True),
    "first": lambda v: v[:, : (v.shape[-1] + 1) // 2],
    "last": lambda v: v[:, v.shape[-1] // 2 :],
    "every second": lambda v: v[:, ::2],
    "flip": lambda v: v.flip(-1),
    "turn": lambda v: torch.cat([v[:, 1:], v[:, :1]], -1),
    "pad": lambda v: F.pad(v, (1, 0), value=0.5),
    "pairs": lambda v: torch.stack([v, -v], -1).softmax(-1).flatten(1),
    "columns": lambda v: torch.stack([v, torch.tanh(v)], 1).sum(1),
    "outer": lambda v: torch.tanh(v[:, :, None] * v.flip(-1)[:, None, :]).mean(1),
    "ranks": lambda v: torch.softmax(v[:, :, None] - v[:, None, :], 1).amax(-1),
    "matrix": lambda v: (torch.tanh(v[:, :, None] + v[:, None, :]) @ v[:, :, None])[..., 0] * 0.1,
    "gram": lambda v: torch.bmm(torch.stack([v, -v, v.cos()], 2), torch.stack([v, v.sin(), v], 1)).sum(2) * 0.1,
    "detach": lambda v: v + torch.tanh(v).detach(),
    "number": lambda v: 1.5 - 0.5 * v,
    "flag": lambda v: (v > 0.1).to(v.dtype),
    "in place": lambda v: v.clone().mul_(0.5).add_(0.25),
    "written part": written,
    "sort": lambda v: v[:, :6].sort(-1).values,
    "largest": lambda v: v[torch.arange(len(v)), v.detach().argmax(-1)][:, None],
    "batch in columns": lambda v: (torch.full((1, v.shape[1]), 0.2, dtype=v.dtype) @ v.T).T,
    "spread": lambda v: (v[:, None].expand(-1, 3, -1) * v.mean(-1).sigmoid()[:, None, None]).amax(1),
    "count": lambda v: v * (v > 0.1).sum(-1, keepdim=True) * 0.3,
}
BINARY: dict[str, Any] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": lambda v, w: torch.tanh(v) * torch.tanh(w),
    "div": lambda v, w: v / (1 + w * w),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "where": lambda v, w: torch.where(v > w, v, 0.5 * w),
    "either": lambda v, w: torch.where((v > 0) & ~(w > 0) | (v > 1), v * 0.3, w),
    "mask": lambda v, w: v * (w > 0),
    "one of both": lambda v, w: torch.where((v > 0) ^ (w > 0), v, 0.4 * w),
    "lerp": lambda v, w: torch.lerp(v, w, 0.3),
    "addcmul": lambda v, w: torch.addcmul(v, torch.tanh(w), torch.tanh(v), value=0.5),
    "dot": lambda v, w: (torch.tanh(v) * w).sum(-1, keepdim=True),
}

HANDED_ON = 18  # from here on, the end of a field is its beginning
choices = st.integers(0, 20)
line = st.one_of(
    st.tuples(st.just("linear"), choices, st.integers(1, 9)),
    st.tuples(st.just("cat"), choices, choices),
    st.tuples(st.just("scale"), choices, choices),
    st.tuples(st.sampled_from(sorted(UNARY)), choices, choices),
    st.tuples(st.sampled_from(sorted(BINARY)), choices, choices),
)


class Drawn(Cell):
    """A step of a few lines; each makes a value from values made before."""

    State = State1

    def __init__(self, input_size: int, widths: list[int], lines: list[tuple[str, int, int]], ends: list[int]):
        super().__init__(input_size=input_size, hidden_size=max(widths))
        self.widths, self.lines, self.ends = widths, lines, ends
        self.output_size = widths[0]
        self.weights = nn.ParameterList()
        self.double()
        self.grow = True
        self.step(torch.zeros(1, input_size).double(), self.initial_state(1))
        self.grow = False

    def initial_state(self, batch_size: int, *, dtype: Any = None, device: Any = None) -> Any:
        sizes = [(batch_size, width) for width in self.widths]
        return self.State(*(torch.zeros(size, dtype=dtype or torch.float64, device=device) for size in sizes))

    def linear(self, value: Tensor, width: int, number: int) -> Tensor:
        if self.grow:
            draw = torch.Generator().manual_seed(number)
            self.weights.append(torch.randn(value.shape[1], width, generator=draw).double() * 0.6)
        return value @ self.weights[number]

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        pool, count = [x, *state], 0
        for name, left, right in self.lines:
            first, second = pool[left % len(pool)], pool[right % len(pool)]
            if name == "linear":
                made, count = self.linear(first, right, count), count + 1
            elif name == "cat":
                made = torch.cat([first, second], -1)
            elif name == "scale":
                made = first * second.mean(-1, keepdim=True)
            elif name in UNARY:
                made = UNARY[name](first)
            else:
                if first.shape != second.shape and 1 not in (first.shape[1], second.shape[1]):
                    second, count = self.linear(second, first.shape[1], count), count + 1
                made = BINARY[name](first, second)
            pool.append(made if made.shape[1] <= 40 else made[:, :40])
        after = []
        for end, width, before in zip(self.ends, self.widths, state, strict=False):
            if end >= HANDED_ON:
                after.append(before)
                continue
            value = pool[-1 - end % len(pool)]
            if value.shape[1] != width:
                value, count = self.linear(value, width, count), count + 1
            # not too far from 0, and no chaos that would make rounding errors grow
            after.append(0.8 * torch.tanh(value))
        output = after[0] if self.ends[0] % 2 else pool[-1][:, :1] + after[0]
        return output, self.State(*after)


class Drawn2(Drawn):
    """The same with two fields of state."""

    State = State2


@pytest.mark.parametrize(
    ("lines", "widths"),
    [
        ([("cat", 0, 1)], [1]),  # a gradient that the reverse loop and a product before it both read
        (
            [("amax", 18, 0), ("softmax", 19, 1), ("linear", 18, 3), ("add", 15, 11), ("cat", 19, 1)],
            [4, 7],
        ),  # counts ties
    ],
)
def test_steps_that_were_once_wrong(lines: Any, widths: list[int]) -> None:
    kind = Drawn if len(widths) == 1 else Drawn2
    assert_engines_agree(kind(2, widths, lines, [11, 3]), [0, 2, 1])


EXAMPLES = int(os.environ.get("RECURRA_EXAMPLES", "10"))


@settings(
    max_examples=EXAMPLES,
    phases=[phase for phase in Phase if phase is not Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(
    input_size=st.integers(1, 5),
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=2),
    lines=st.lists(line, min_size=1, max_size=9),
    ends=st.tuples(choices, choices).map(list),
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    reverse=st.booleans(),
    block=st.booleans(),
)
def test_a_step_that_nobody_wrote_gives_the_same_through_both_engines(
    input_size: int, widths: list[int], lines: Any, ends: list[int], lengths: list[int], reverse: bool, block: bool
) -> None:
    if block:
        lengths = [1 + lengths[0]] * len(lengths)
    kind = Drawn if len(widths) == 1 else Drawn2
    assert_engines_agree(kind(input_size, widths, lines, ends), lengths, reverse=reverse, block=block)
