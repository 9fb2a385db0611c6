"""What is special to sLSTM and mLSTM: gates that overflow, a stabiliser that changes nothing, heads, memory."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import logsigmoid

import recurra
from recurra.cells import MLSTM, SLSTM
from recurra.errors import ConfigError
from tests.tolerance import assert_close

every_kind = pytest.mark.parametrize("kind", [SLSTM, MLSTM])
every_gate = pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])


def with_random_weights(cell: Any, scale: float = 0.5) -> Any:
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=scale)
    return cell


def bias_of(cell: Any, gate: str) -> Any:
    """The biases of `i` or `f`, in place."""
    bias, count = (cell.bias_ih, 4) if isinstance(cell, SLSTM) else (cell.bias_if, 2)
    return bias.detach().view(count, -1)["if".index(gate)]


@every_kind
@every_gate
@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_huge_gates_give_no_infinity_forward_or_backward(kind: Any, forget_gate: str, engine: str) -> None:
    cell = with_random_weights(kind(3, 4, num_heads=2, forget_gate=forget_gate))
    x = torch.randn(12, 3, 3)
    x[5] = 0
    x.requires_grad_()
    for i, f in itertools.product([-1e4, 0.0, 1e4], repeat=2):
        bias_of(cell, "i").fill_(i)
        bias_of(cell, "f").fill_(f)
        assert_finite(cell, x, engine)
    with_random_weights(cell, 1e3)
    assert_finite(cell, x, engine)


def assert_finite(cell: Any, x: Any, engine: str) -> None:
    outputs, state = recurra.scan(cell, x, engine=engine)
    loss = outputs.sum() + sum(field.sum() for field in state)
    gradients = torch.autograd.grad(loss, [x, *cell.parameters()])
    for tensor in (outputs, *state, *gradients):
        assert tensor.isfinite().all()


@every_gate
def test_the_stabilised_slstm_is_the_plain_one(forget_gate: Any) -> None:
    cell = with_random_weights(SLSTM(3, 4, forget_gate=forget_gate).double())
    x = torch.randn(9, 2, 3).double()
    outputs, state = recurra.scan(cell, x, engine="reference")
    h = c = n = torch.zeros(2, 4).double()
    for t in range(9):
        rows = x[t] @ cell.weight_ih.T + h @ cell.weight_hh[0].T + cell.bias_ih
        i, f, z, o = rows.chunk(4, -1)
        gate = f.sigmoid() if forget_gate == "sigmoid" else f.exp()
        c = gate * c + i.exp() * z.tanh()
        n = gate * n + i.exp()
        h = o.sigmoid() * c / n
        assert_close(outputs[t], h)
    assert_close(state.c * state.m.exp(), c)
    assert_close(state.n * state.m.exp(), n)


@every_gate
def test_the_stabilised_mlstm_is_the_plain_one(forget_gate: Any) -> None:
    cell = with_random_weights(MLSTM(3, 4, forget_gate=forget_gate).double())
    x = torch.randn(9, 2, 3).double()
    outputs, state = recurra.scan(cell, x, engine="reference")
    C, n = torch.zeros(2, 4, 4).double(), torch.zeros(2, 4).double()
    for t in range(9):
        q, k, v, o = (x[t] @ cell.weight_ih.T + cell.bias_ih).chunk(4, -1)
        i, f = (x[t] @ cell.weight_if.T + cell.bias_if).chunk(2, -1)
        gate = f.sigmoid() if forget_gate == "sigmoid" else f.exp()
        C = gate[..., None] * C + i.exp()[..., None] * torch.einsum("bi,bj->bij", v, k / 2)
        n = gate * n + i.exp() * k / 2
        found = torch.einsum("bij,bj->bi", C, q) / (n * q).sum(-1, keepdim=True).abs().clamp_min(1)
        assert_close(outputs[t], o.sigmoid() * found)
    assert_close(state.C[:, 0] * state.m.exp()[..., None], C)
    assert_close(state.n[:, 0] * state.m.exp(), n)


def test_the_normaliser_of_an_slstm_is_never_below_one() -> None:
    cell = with_random_weights(SLSTM(3, 4), 5.0)
    state = cell.initial_state(2)
    for x in torch.randn(50, 2, 3):
        _, state = cell(x, state)
        assert (state.n >= 1).all()


def test_a_first_input_gate_near_zero_is_still_the_only_thing_remembered() -> None:
    cell = SLSTM(3, 4)
    bias_of(cell, "i").fill_(-500.0)  # e^-500 is 0 in float32
    x = torch.randn(2, 3)
    z, o = (x @ cell.weight_ih.T + cell.bias_ih).chunk(4, -1)[2:]
    assert_close(cell(x)[0], o.sigmoid() * z.tanh())


@every_kind
def test_the_forget_bias_is_that_of_the_gate_that_keeps(kind: Any) -> None:
    cell = with_random_weights(kind(3, 4))
    _, before = recurra.scan(cell, torch.randn(5, 2, 3), engine="reference")
    bias_of(cell, "f").fill_(60.0)  # σ = 1
    bias_of(cell, "i").fill_(-60.0)
    _, after = cell(torch.randn(2, 3), before)
    for name in set(cell.State._fields) - {"h"}:
        assert_close(getattr(after, name), getattr(before, name))


def test_heads_of_an_slstm_do_not_see_each_other() -> None:
    cell = with_random_weights(SLSTM(3, 6, num_heads=3))
    x = torch.randn(2, 3)
    _, state = recurra.scan(cell, torch.randn(4, 2, 3), engine="reference")
    changed = state.h.clone()
    changed[:, 2:4] += 1.0
    difference = (cell(x, state._replace(h=changed))[0] - cell(x, state)[0]).abs()
    assert (difference[:, 2:4] > 0).all()
    assert (difference[:, [0, 1, 4, 5]] == 0).all()


def test_an_slstm_with_many_heads_is_several_slstms_side_by_side() -> None:
    cell = with_random_weights(SLSTM(3, 6, num_heads=2))
    x = torch.randn(5, 2, 3)
    outputs, _ = recurra.scan(cell, x, engine="reference")
    for head in range(2):
        alone = SLSTM(3, 3)
        with torch.no_grad():
            alone.weight_ih.copy_(cell.weight_ih.view(4, 2, 3, 3)[:, head].flatten(0, 1))
            alone.bias_ih.copy_(cell.bias_ih.view(4, 2, 3)[:, head].flatten())
            alone.weight_hh.copy_(cell.weight_hh[head : head + 1])
        assert_close(outputs[..., 3 * head : 3 * head + 3], recurra.scan(alone, x, engine="reference")[0])


def test_an_mlstm_finds_the_value_that_was_stored_at_a_key() -> None:
    cell = MLSTM(12, 4, forget_bias=60.0)  # forgets nothing
    with torch.no_grad():
        cell.weight_ih.zero_()
        cell.weight_ih[:12] = torch.eye(12)  # the input is q, k, v
        cell.bias_ih[12:] = 60.0  # the output gate is open
        bias_of(cell, "i").fill_(10.0)
    keys, values, nothing = torch.eye(4), torch.randn(3, 4), torch.zeros(4)
    steps = [torch.cat([nothing, keys[j], values[j]]) for j in range(3)]
    steps += [torch.cat([keys[j], nothing, nothing]) for j in (1, 0, 2, 3)]
    outputs, _ = recurra.scan(cell, torch.stack(steps)[:, None], engine="reference")
    assert_close(outputs[3:, 0], torch.stack([values[1], values[0], values[2], nothing]))


def test_forget_biases_begin_as_the_options_say() -> None:
    powerlaw = bias_of(SLSTM(3, 10, num_heads=2), "f").view(2, 5)
    assert_close(powerlaw[0], 5 - 12 * torch.tensor([0, 0.25, 0.5, 0.75, 1.0]) ** 0.3)
    assert torch.equal(powerlaw[0], powerlaw[1])
    assert_close(bias_of(SLSTM(3, 4, forget_bias="linspace"), "f"), torch.tensor([3.0, 4.0, 5.0, 6.0]))
    assert_close(bias_of(MLSTM(3, 4, num_heads=4), "f"), torch.tensor([3.0, 4.0, 5.0, 6.0]))
    for cell in (SLSTM(3, 4, forget_bias=1.5), MLSTM(3, 4, forget_bias=1.5)):
        assert (bias_of(cell, "f") == 1.5).all()
        assert logsigmoid(bias_of(cell, "i")).min() > -2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 4}, "`num_heads` must divide `hidden_size=6`, got 4."),
        ({"num_heads": 0}, "`num_heads` must be a whole number of at least 1, got 0."),
        ({"forget_gate": "sigmiod"}, "`forget_gate` must be 'sigmoid' or 'exp', got 'sigmiod'. Did you mean `sigmoid`"),
        ({"forget_bias": "linspce"}, "`forget_bias` must be .*'linspace', got 'linspce'. Did you mean `linspace`"),
        ({"forget_bias": float("nan")}, "`forget_bias` must be a number, got nan."),
    ],
)
@every_kind
def test_what_cannot_be_is_refused(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(3, 6, **options)
