"""`linear_cross_entropy` is `cross_entropy(linear(...))`, in value and gradient, whatever the chunks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.errors import ConfigError, ShapeError
from recurra.networks.linear_cross_entropy import linear_cross_entropy

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def example(
    rows: int, hidden_size: int, vocab_size: int, dtype: torch.dtype, scale: float = 1.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    hidden = (scale * torch.randn(rows, hidden_size, dtype=dtype)).requires_grad_()
    weight = torch.randn(vocab_size, hidden_size, dtype=dtype, requires_grad=True)
    bias = torch.randn(vocab_size, dtype=dtype, requires_grad=True)
    return hidden, weight, bias, torch.randint(vocab_size, (rows,))


def agree(actual: Tensor, expected: Tensor) -> None:
    tolerance = TOLERANCE[expected.dtype] * max(1.0, float(expected.detach().abs().max()) if expected.numel() else 1.0)
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(("rows", "chunk_rows"), [(1, 1), (7, 3), (63, 16), (63, 64), (5, None)])
def test_value_and_gradients_are_those_of_torch(
    rows: int, chunk_rows: int | None, with_bias: bool, label_smoothing: float, dtype: torch.dtype
) -> None:
    hidden, weight, some_bias, targets = example(rows, 17, 65, dtype)
    bias = some_bias if with_bias else None
    leaves = [hidden, weight, some_bias] if with_bias else [hidden, weight]
    logits = F.linear(hidden, weight, bias)
    expected = F.cross_entropy(logits, targets, label_smoothing=label_smoothing, reduction="sum")
    result = linear_cross_entropy(hidden, weight, bias, targets, label_smoothing=label_smoothing, chunk_rows=chunk_rows)
    agree(result.loss, expected)
    agree(result.negative_log_likelihood, F.cross_entropy(logits, targets, reduction="sum").detach())
    assert int(result.correct) == int((logits.argmax(1) == targets).sum())
    assert result.num_rows == rows
    # the incoming gradient is not one
    ours = torch.autograd.grad(result.loss / 3, leaves)
    for gradient, reference in zip(ours, torch.autograd.grad(expected / 3, leaves), strict=True):
        agree(gradient, reference)


def test_gradcheck_in_float64() -> None:
    hidden, weight, bias, targets = example(5, 3, 7, torch.float64)

    def loss(*leaves: Tensor) -> Tensor:
        return linear_cross_entropy(*leaves, targets, label_smoothing=0.1, chunk_rows=2).loss

    assert torch.autograd.gradcheck(loss, (hidden, weight, bias))


def test_large_logits_stay_finite_and_right() -> None:
    # a gap of hundreds: the probability of the target is an exact zero in float32
    hidden, weight, bias, targets = example(9, 17, 65, torch.float32, scale=100.0)
    result = linear_cross_entropy(hidden, weight, bias, targets, label_smoothing=0.1, chunk_rows=4)
    expected = F.cross_entropy(F.linear(hidden, weight, bias), targets, label_smoothing=0.1, reduction="sum")
    agree(result.loss, expected)
    ours = torch.autograd.grad(result.loss, [hidden, weight])
    for gradient, reference in zip(ours, torch.autograd.grad(expected, [hidden, weight]), strict=True):
        agree(gradient, reference)


def test_tied_weights_collect_both_gradients() -> None:
    weight = torch.randn(11, 4, dtype=torch.float64, requires_grad=True)
    ids, targets = torch.randint(11, (6,)), torch.randint(11, (6,))
    (ours,) = torch.autograd.grad(linear_cross_entropy(weight[ids].tanh(), weight, None, targets).loss, weight)
    expected = F.cross_entropy(F.linear(weight[ids].tanh(), weight), targets, reduction="sum")
    agree(ours, torch.autograd.grad(expected, weight)[0])


def test_only_wanted_gradients_are_returned() -> None:
    hidden, weight, bias, targets = example(6, 5, 9, torch.float32)
    linear_cross_entropy(hidden.detach(), weight, bias.detach(), targets).loss.backward()
    assert weight.grad is not None
    assert hidden.grad is None
    assert bias.grad is None


def test_no_gradient_is_computed_when_none_is_wanted() -> None:
    hidden, weight, bias, targets = example(6, 5, 9, torch.float64)
    with torch.no_grad():
        result = linear_cross_entropy(hidden, weight, bias, targets)
    assert not result.loss.requires_grad
    agree(result.loss, F.cross_entropy(F.linear(hidden, weight, bias), targets, reduction="sum").detach())


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_no_rows_cost_nothing_and_can_be_differentiated(label_smoothing: float) -> None:
    hidden, weight, bias, targets = example(0, 5, 9, torch.float32)
    result = linear_cross_entropy(hidden, weight, bias, targets, label_smoothing=label_smoothing)
    assert (float(result.loss.detach()), float(result.negative_log_likelihood), int(result.correct)) == (0.0, 0.0, 0)
    assert result.num_rows == 0
    result.loss.backward()
    assert weight.grad is not None
    assert not weight.grad.any()


def test_chunks_do_not_change_the_result() -> None:
    hidden, weight, bias, targets = example(50, 8, 21, torch.float64)
    whole = linear_cross_entropy(hidden, weight, bias, targets, label_smoothing=0.1, chunk_rows=50).loss
    agree(linear_cross_entropy(hidden, weight, bias, targets, label_smoothing=0.1, chunk_rows=1).loss, whole)


def test_transforms_get_torchs_own_operations() -> None:
    hidden, weight, bias, targets = (tensor.detach() for tensor in example(6, 5, 9, torch.float64))
    ours = torch.func.grad(lambda w: linear_cross_entropy(hidden, w, bias, targets).loss)(weight)
    reference = torch.func.grad(lambda w: F.cross_entropy(F.linear(hidden, w, bias), targets, reduction="sum"))(weight)
    agree(ours, reference)


@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no bias"])
def test_gradients_of_gradients_are_those_of_torch(with_bias: bool) -> None:
    hidden, weight, some_bias, targets = example(5, 7, 9, torch.float64)
    bias = some_bias if with_bias else None
    leaves = [hidden, weight, some_bias] if with_bias else [hidden, weight]
    logits = F.linear(hidden, weight, bias)
    want = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=0.1)
    found = []
    for loss in (linear_cross_entropy(hidden, weight, bias, targets, label_smoothing=0.1).loss, want):
        first = torch.autograd.grad(loss, leaves, create_graph=True)
        penalty = sum(gradient.square().sum() for gradient in first)
        found.append([*first, *torch.autograd.grad(loss + penalty, leaves)])
    for got, expected in zip(*found, strict=True):
        agree(got, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": torch.tensor([2])}, r"`targets` must be whole numbers of shape \[N=5\], got torch.int64 of"),
        ({"targets": torch.zeros(5)}, r"`targets` must be whole numbers of shape \[N=5\], got torch.float32"),
        ({"targets": torch.tensor([0, 1, 2, 3, -100])}, r"`targets` must lie within 0..8, got -100..3"),
        ({"targets": torch.tensor([0, 1, 2, 3, 9])}, r"`targets` must lie within 0..8, got 0..9"),
        ({"hidden": torch.zeros(5, 1, 7)}, r"`hidden` must have shape \[N, H\]"),
        ({"weight": torch.zeros(9, 6)}, r"`weight` must have shape \[V, H=7\]"),
        ({"bias": torch.zeros(8)}, r"`bias` must have shape \[V=9\]"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Tensor], message: str) -> None:
    names = ("hidden", "weight", "bias", "targets")
    given = dict(zip(names, example(5, 7, 9, torch.float32), strict=True)) | change
    with pytest.raises(ShapeError, match=message):
        linear_cross_entropy(**given)


def test_rows_of_a_chunk_must_be_some() -> None:
    with pytest.raises(ConfigError, match="`chunk_rows` must be a whole number of at least 1, got 0"):
        linear_cross_entropy(*example(5, 7, 9, torch.float32), chunk_rows=0)


@pytest.mark.parametrize("rows", [0, 5])
def test_targets_may_be_of_any_whole_type(rows: int) -> None:
    hidden, weight, bias, targets = example(rows, 7, 9, torch.float64)
    want = linear_cross_entropy(hidden, weight, bias, targets)
    got = linear_cross_entropy(hidden, weight, bias, targets.int())
    assert torch.equal(got.loss, want.loss)


def test_autocast_keeps_the_dtypes_of_the_leaves() -> None:
    hidden, weight, bias, targets = example(40, 16, 33, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(hidden, weight, bias, targets, label_smoothing=0.1, chunk_rows=16).loss
    expected = F.cross_entropy(F.linear(hidden, weight, bias), targets, label_smoothing=0.1, reduction="sum")
    assert loss.dtype is torch.float32
    torch.testing.assert_close(loss, expected, rtol=2e-2, atol=0)
    loss.backward()
    for leaf, reference in zip([hidden, weight], torch.autograd.grad(expected, [hidden, weight]), strict=True):
        assert leaf.grad is not None
        assert leaf.grad.dtype is torch.float32
        torch.testing.assert_close(leaf.grad, reference, rtol=0, atol=2e-2 * float(reference.abs().max()))


@pytest.mark.parametrize("hidden_dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("with_bias", [True, False])
def test_no_rows_go_through_autocast(hidden_dtype: torch.dtype, with_bias: bool) -> None:
    hidden, weight, bias, targets = example(0, 16, 33, torch.float32)
    hidden = hidden.detach().to(hidden_dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = linear_cross_entropy(hidden, weight, bias if with_bias else None, targets)
    found.loss.backward()
    assert (found.loss.dtype, found.loss.item(), int(found.correct)) == (torch.float32, 0.0, 0)
    assert weight.grad is not None
    assert not weight.grad.any()


def test_transforms_go_through_autocast_as_the_plain_way_does() -> None:
    hidden, weight, bias, targets = example(6, 16, 33, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        plain = linear_cross_entropy(hidden.bfloat16(), weight, bias, targets).loss
        loss, _ = torch.func.vjp(lambda h: linear_cross_entropy(h, weight, bias, targets).loss, hidden.bfloat16())
    assert loss.dtype is plain.dtype is torch.float32
    torch.testing.assert_close(loss, plain, rtol=1e-2, atol=0)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_smoothing_that_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="`label_smoothing` must be a probability from 0 to 1, got"):
        linear_cross_entropy(*example(3, 4, 5, torch.float32), label_smoothing=share)
