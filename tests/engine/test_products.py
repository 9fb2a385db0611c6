"""`linear` on our own products is torch's, in every value and gradient, and steps aside where it must."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F
from torch.nn.parameter import Parameter

from recurra.engine import products

SIZES = [(1, 1, 1), (63, 17, 65), (5, 130, 33), (64, 65, 1), (33, 8, 127)]  # odd on purpose: vector tails
SHARED = {torch.float64: 1e-12, torch.float32: 1e-5}


@pytest.fixture
def everything_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the processor were one of those that gain, and every product large enough."""
    monkeypatch.setattr(products, "outruns_mkl", lambda: True)
    monkeypatch.setattr(products, "MIN_FLOPS", 1)


def leaves(rows: int, inner: int, columns: int, dtype: torch.dtype) -> list[Tensor]:
    shapes = ((rows, inner), (columns, inner), (columns,))
    return [torch.randn(shape, dtype=dtype).requires_grad_() for shape in shapes]


def values_and_gradients(function: Callable[..., Tensor], tensors: list[Tensor]) -> list[Tensor]:
    y = function(*tensors)
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)
    return [y, *torch.autograd.grad((y * weight).sum(), tensors)]


def agree(actual: list[Tensor], expected: list[Tensor]) -> None:
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.shape == theirs.shape
        tolerance = SHARED[theirs.dtype] * max(1.0, float(theirs.detach().abs().max()))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.usefixtures("everything_is_ours")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("size", SIZES, ids=[f"M{m}-K{k}-N{n}" for m, k, n in SIZES])
def test_values_and_gradients_are_those_of_torch(size: tuple[int, int, int], dtype: torch.dtype) -> None:
    tensors = leaves(*size, dtype)
    agree(values_and_gradients(products.linear, tensors), values_and_gradients(F.linear, tensors))
    agree(values_and_gradients(products.linear, tensors[:2]), values_and_gradients(F.linear, tensors[:2]))


@pytest.mark.usefixtures("everything_is_ours")
def test_our_code_is_really_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias = leaves(5, 7, 3, torch.float32)
    monkeypatch.setattr(F, "linear", lambda *_: pytest.fail("went to torch.nn.functional.linear"))
    assert products.linear(x, weight, bias).shape == (5, 3)
    with torch.no_grad():
        assert not products.linear(x, weight).requires_grad


@pytest.mark.usefixtures("everything_is_ours")
def test_one_number_may_stand_for_many() -> None:
    ones, x = torch.ones(()).expand(33, 8), torch.randn(33, 17)  # such is the gradient of a sum
    agree([products.transposed_product(ones, x)], [ones.t() @ x])
    column = torch.randn(5, 1).expand(5, 8)
    agree([products.product(ones, column)], [ones @ column.t()])


@pytest.mark.usefixtures("everything_is_ours")
def test_leading_dimensions_and_strides_do_not_matter() -> None:
    x = torch.randn(3, 4, 9, 5).permute(2, 0, 1, 3).requires_grad_()
    weight = torch.randn(5, 6).t().requires_grad_()
    agree(values_and_gradients(products.linear, [x, weight]), values_and_gradients(F.linear, [x, weight]))
    vector = torch.randn(5)
    torch.testing.assert_close(products.linear(vector, weight), F.linear(vector, weight))


@pytest.mark.usefixtures("everything_is_ours")
def test_numbers_that_do_not_stand_in_memory() -> None:
    x, weight, bias = tensors = leaves(9, 6, 7, torch.float64)
    turned = [torch._neg_view(each) for each in tensors]
    agree([products.linear(*turned)], [F.linear(*turned)])
    gradient = torch._neg_view(torch.ones(9, 7, dtype=torch.float64))
    got, want = (torch.autograd.grad(each(x, weight, bias), tensors, gradient) for each in (products.linear, F.linear))
    agree(list(got), list(want))
    torch.sgn(products.linear(x, weight, bias)).sum().backward()  # the gradient of this has no memory
    assert not any(each.grad is None or each.grad.any() for each in tensors)


@pytest.mark.usefixtures("everything_is_ours")
def test_gradients_of_gradients_are_those_of_torch() -> None:
    def penalty(function: Callable[..., Tensor], tensors: list[Tensor]) -> list[Tensor]:
        loss = function(*tensors).tanh().sum()
        first = torch.autograd.grad(loss, tensors, create_graph=True)
        squares = torch.stack([gradient.square().sum() for gradient in first]).sum()
        return list(torch.autograd.grad(squares, tensors))

    tensors = leaves(9, 6, 7, torch.float32)
    agree(penalty(products.linear, tensors), penalty(F.linear, tensors))


@pytest.mark.usefixtures("everything_is_ours")
def test_only_wanted_gradients_are_computed() -> None:
    x, weight, bias = leaves(6, 5, 4, torch.float32)
    products.linear(x.detach(), weight, bias.detach()).sum().backward()
    assert weight.grad is not None
    assert x.grad is None
    assert bias.grad is None


@pytest.mark.usefixtures("everything_is_ours")
@pytest.mark.parametrize("shape", [(0, 5), (2, 0, 5)], ids=["no rows", "no rows inside"])
def test_no_rows_give_no_rows(shape: tuple[int, ...]) -> None:
    x, weight = torch.randn(shape), torch.randn(3, 5)
    assert products.linear(x, weight).shape == (*shape[:-1], 3)


@pytest.mark.usefixtures("everything_is_ours")
def test_wrong_shapes_get_torchs_message() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        products.linear(torch.randn(4, 5), torch.randn(3, 6))


# torch compiles its rules for forward-mode derivatives with torch.jit.script, which it deprecates itself
@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
@pytest.mark.usefixtures("everything_is_ours")
def test_torch_is_left_alone_when_something_looks_over_our_shoulder() -> None:
    x, weight, bias = (tensor.detach() for tensor in leaves(6, 5, 4, torch.float32))
    expected = F.linear(x, weight, bias)
    per_row = torch.func.vmap(lambda row: products.linear(row, weight, bias))(x)
    torch.testing.assert_close(per_row, expected)
    gradient = torch.func.grad(lambda w: products.linear(x, w, bias).sum())(weight)
    torch.testing.assert_close(gradient, x.sum(0).expand(4, 5))
    _, tangent = torch.func.jvp(lambda w: products.linear(x, w), (weight,), (torch.ones_like(weight),))
    torch.testing.assert_close(tangent, x.sum(1, keepdim=True).expand(6, 4))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        tangent = torch.autograd.forward_ad.unpack_dual(products.linear(dual, weight)).tangent
    torch.testing.assert_close(tangent, weight.sum(1).expand(6, 4))
    graph = make_fx(products.linear)(x, weight, bias)
    assert "linear" in graph.code or "addmm" in graph.code
    with torch.autocast("cpu", torch.bfloat16):
        assert products.linear(x, weight, bias).dtype is torch.bfloat16


@pytest.mark.usefixtures("everything_is_ours")
def test_parameters_and_modules_learn_through_it() -> None:
    weight = Parameter(torch.randn(4, 5))
    products.linear(torch.randn(7, 5), weight).sum().backward()
    assert weight.grad is not None
    assert weight.grad.shape == weight.shape


def test_the_rule_looks_at_processor_and_size_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "outruns_mkl", lambda: True)
    x = torch.empty(1)
    assert products.is_ours(100, 100, 50, x)
    assert products.is_ours(100, 100, 50, x.double())
    assert not products.is_ours(100, 100, 49, x)
    assert not products.is_ours(100, 100, 50, x.bfloat16())
    assert not products.is_ours(100, 100, 50, x.to("meta"))
    monkeypatch.setattr(products, "outruns_mkl", lambda: False)
    assert not products.is_ours(100, 100, 50, x)


@pytest.mark.parametrize(
    ("vendor", "capability", "expected"),
    [
        ("AuthenticAMD", "AVX512", True),
        ("GenuineIntel", "AVX512", False),
        ("AuthenticAMD", "AVX2", False),
        ("", "AVX512", False),
    ],
)
def test_only_wide_processors_of_other_makers_leave_mkl(
    monkeypatch: pytest.MonkeyPatch, vendor: str, capability: str, expected: bool
) -> None:
    monkeypatch.setattr(products, "cpu_vendor", lambda: vendor)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert products.outruns_mkl.__wrapped__() is expected


def test_the_vendor_is_a_word() -> None:
    assert products.cpu_vendor().isalnum() or products.cpu_vendor() == ""


@pytest.mark.usefixtures("everything_is_ours")
@pytest.mark.parametrize("size", SIZES, ids=[f"M{m}-K{k}-N{n}" for m, k, n in SIZES])
def test_products_without_gradient_agree_too(size: tuple[int, int, int]) -> None:
    rows, inner, columns = size
    x, weight, d_y = torch.randn(rows, inner), torch.randn(columns, inner), torch.randn(rows, columns)
    agree([products.product(x, weight)], [x @ weight.t()])
    agree([products.transposed_product(d_y, x)], [d_y.t() @ x])
    agree([products.transposed_product(x, d_y)], [x.t() @ d_y])
