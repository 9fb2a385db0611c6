"""Pooling against plain Python over each sequence."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recurra.errors import ConfigError
from recurra.networks.pooling import POOLINGS, AttentionPooling, Pooling, make_pooling
from recurra.ragged import Ragged
from tests.tolerance import assert_close


def batch(lengths: tuple[int, ...] = (3, 0, 1, 5)) -> Ragged:
    return Ragged.from_list([torch.randn(length, 4, dtype=torch.float64) for length in lengths])


def by_hand(kind: str, sequence: Tensor, both: bool) -> Tensor:
    if len(sequence) == 0:
        return sequence.new_zeros(4)
    if kind == "mean":
        return sequence.mean(0)
    if kind == "max":
        return sequence.amax(0)
    return torch.cat([sequence[-1, :2], sequence[0, 2:]]) if both else sequence[-1]


@pytest.mark.parametrize("both", [False, True], ids=["one direction", "both directions"])
@pytest.mark.parametrize("kind", ["last", "max", "mean"])
def test_each_sequence_is_pooled_alone(kind: str, both: bool) -> None:
    x = batch()

    pooled = make_pooling(kind, 4, 2 if both else 1)(x)

    for row in range(len(x)):
        assert_close(pooled[row], by_hand(kind, x[row], both))


def test_attention_pooling_is_its_formula() -> None:
    x = batch()
    pooling = AttentionPooling(4).double()

    pooled, weights = pooling(x), pooling.weights(x)

    for row in range(len(x)):
        u = torch.tanh(x[row] @ pooling.project.weight.T + pooling.project.bias)
        a = (u @ pooling.query).softmax(0)
        assert_close(weights[row, : len(a)], a)
        assert_close(pooled[row], a @ x[row] if len(a) else torch.zeros(4, dtype=torch.float64))


@pytest.mark.parametrize("kind", POOLINGS)
def test_batches_of_no_steps_give_zeros(kind: str) -> None:
    x = batch((0, 0))

    assert torch.equal(make_pooling(kind, 4, 1).double()(x), torch.zeros(2, 4, dtype=torch.float64))


@pytest.mark.parametrize("kind", POOLINGS)
def test_gradients_are_finite_and_reach_the_steps(kind: str) -> None:
    values = torch.randn(9, 4, dtype=torch.float64, requires_grad=True)

    make_pooling(kind, 4, 1).double()(batch().replace(values)).square().sum().backward()

    assert values.grad is not None
    assert values.grad.isfinite().all()
    assert values.grad.abs().sum() > 0


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", ["last", "max", "mean"])
def test_images_are_pooled_as_their_numbers_are(kind: str, directions: int) -> None:
    x = batch()
    images = x.map(lambda values: values[:, :, None, None].expand(-1, -1, 2, 3))
    pooling = Pooling(kind, directions)

    assert_close(pooling(images), pooling(x)[:, :, None, None].expand(-1, -1, 2, 3))
    assert pooling(images[1:2]).eq(0).all()


def test_an_unknown_pooling_is_refused() -> None:
    for kind in ("attention", "maen"):
        with pytest.raises(ConfigError, match=f"`kind` must be 'last', 'max' or 'mean', got '{kind}'"):
            Pooling(kind)
    with pytest.raises(ConfigError, match=r"Unknown pooling `maen`\. Did you mean `mean`"):
        make_pooling("maen", 4, 1)
    with pytest.raises(ConfigError, match="`size` must be a whole number of at least 1, got 0"):
        AttentionPooling(0)


def test_the_print_says_the_kind() -> None:
    assert repr(make_pooling("max", 4, 1)) == "Pooling(kind='max')"
