"""Calls of torch taken apart into those that have a form in a loop, where torch's own decompositions do not do it.

A place along an axis is found by comparing all places with it: what `argmax` gives is a number like any other, and
nothing has to be looked up. Sums and products that run along an axis take as many rounds as its length has bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._decomp import get_decompositions

from recurra.engine.complex_numbers import is_number

__all__ = ["MOST_PLACES", "TAKEN_APART", "Formless", "padded"]

aten = torch.ops.aten

MOST_PLACES = 4096  # places compared for a row: more is more work than the Python loop has
_MOST_WRITTEN = 16  # places written one after the other


class Formless(Exception):
    """Why a call that is known here is not taken apart."""


def _places(x: Tensor, dim: int) -> Tensor:
    """0, 1, .. along an axis, of size 1 along the others."""
    return torch.arange(x.shape[dim], device=x.device).reshape([-1 if axis == dim else 1 for axis in range(x.dim())])


def _place_of(extremum: Callable[..., Tensor]) -> Callable[..., Any]:
    """The first place of the largest or the smallest number; NaN is both."""

    def place(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
        if dim is None or not x.dim():
            return NotImplemented
        dim = dim % x.dim()
        is_there = (x == extremum(x, dim, keepdim=True)) | (x != x)
        return torch.where(is_there, _places(x, dim), x.shape[dim]).amin(dim, keepdim=keepdim)

    return place


def _with_place(extremum: Callable[..., Tensor], place: Callable[..., Tensor]) -> Callable[..., Any]:
    def both(x: Tensor, dim: int, keepdim: bool = False) -> Any:
        return extremum(x, dim, keepdim=keepdim), place(x, dim, keepdim=keepdim)

    return both


def _is_small(x: Tensor, dim: int, index: Tensor) -> bool:
    """Whether an index names places for each number of the other axes, and not too many."""
    others = [size for axis, size in enumerate(x.shape) if axis != dim]
    return (
        index.dim() == x.dim() > 0
        and others == [size for axis, size in enumerate(index.shape) if axis != dim]
        and x.shape[dim] * index.shape[dim] <= MOST_PLACES
    )


def _gather(x: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Any:
    dim = dim % max(1, x.dim())
    if not _is_small(x, dim, index):
        return NotImplemented
    is_there = _places(x, dim).unsqueeze(dim + 1) == index.unsqueeze(dim)  # [.., n, k, ..]
    return torch.where(is_there, x.unsqueeze(dim + 1), 0).sum(dim)


def _scatter_add(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Any:
    dim = dim % max(1, x.dim())
    if not _is_small(x, dim, index) or index.shape != src.shape:
        return NotImplemented
    is_there = _places(x, dim).unsqueeze(dim + 1) == index.unsqueeze(dim)
    return x + torch.where(is_there, src.unsqueeze(dim), 0).sum(dim + 1)


def _scatter(x: Tensor, dim: int, index: Tensor, src: Any) -> Any:
    """One place after the other: the last one written stays."""
    dim = dim % max(1, x.dim())
    if not _is_small(x, dim, index) or index.shape[dim] > _MOST_WRITTEN:
        return NotImplemented
    if isinstance(src, Tensor) and src.dim() and src.shape != index.shape:
        return NotImplemented
    places = _places(x, dim)
    for k in range(index.shape[dim]):
        new = src.narrow(dim, k, 1) if isinstance(src, Tensor) and src.dim() else src
        x = torch.where(places == index.narrow(dim, k, 1), new, x)
    return x


def _running(op: Callable[[Tensor, Tensor], Tensor], neutral: float) -> Callable[..., Any]:
    def along(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Any:
        if not is_number(x) or dtype not in (None, x.dtype) or not x.dim():
            return NotImplemented
        dim = dim % x.dim()
        size, step = x.shape[dim], 1
        while step < size:
            edge = torch.full_like(x.narrow(dim, 0, step), neutral)
            x = op(x, torch.cat([edge, x.narrow(dim, 0, size - step)], dim))
            step *= 2
        return x

    return along


def _product(x: Tensor, dim: int, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    if not is_number(x) or dtype not in (None, x.dtype) or not x.dim() or not x.shape[dim]:
        return NotImplemented
    while x.shape[dim] > 1:
        half, odd = divmod(x.shape[dim], 2)
        halves = x.narrow(dim, 0, half) * x.narrow(dim, half, half)
        x = torch.cat([halves, x.narrow(dim, 2 * half, 1)], dim) if odd else halves
    return x if keepdim else x.squeeze(dim)


def _in_order(x: Tensor, dim: int, count: int, *, descending: bool) -> Any:
    """The first numbers along an axis when they are sorted, and their places: of equal ones the first comes first.

    How many come before each number is counted; NaN is the largest.
    """
    if not x.dim() or not x.is_floating_point() or x.shape[dim] ** 2 > MOST_PLACES or count > _MOST_WRITTEN:
        return NotImplemented
    dim = dim % x.dim()
    one, other = x.unsqueeze(dim + 1), x.unsqueeze(dim)  # [.., n, 1, ..], [.., 1, n, ..]
    large, small = (one, other) if descending else (other, one)
    is_before = (large > small) | ((large != large) & (small == small))
    is_same = (one == other) | ((one != one) & (other != other))
    is_earlier = _places(one, dim) < _places(other, dim + 1)
    rank = (is_before | (is_same & is_earlier)).sum(dim, keepdim=True)
    is_there = rank == _places(x.new_empty([count if axis == dim else 1 for axis in range(other.dim())]), dim)
    values = torch.where(is_there, other, 0).sum(dim + 1)
    return values, torch.where(is_there, _places(other, dim + 1), 0).sum(dim + 1)


def _sort(x: Tensor, dim: int = -1, descending: bool = False, *, stable: bool | None = True) -> Any:
    return _in_order(x, dim, x.shape[dim] if x.dim() else 0, descending=descending)


def _topk(x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    return _in_order(x, dim, k, descending=largest)


def _kth(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    found = _in_order(x, dim, k, descending=False)
    if found is NotImplemented:
        return found
    return tuple(each.narrow(dim, k - 1, 1) if keepdim else each.select(dim, k - 1) for each in found)


def _median(x: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The lower of the two in the middle; NaN where there is one."""
    found = _kth(x, (x.shape[dim] + 1) // 2 if x.dim() else 0, dim, keepdim)
    if found is NotImplemented:
        return found
    largest = _largest_with_place(x, dim, keepdim)
    return tuple(torch.where(largest[0] == largest[0], *pair) for pair in zip(found, largest, strict=True))


def _index_select(x: Tensor, dim: int, index: Tensor) -> Any:
    return aten.index(x, [None] * (dim % x.dim()) + [index]) if x.dim() and index.dim() == 1 else NotImplemented


def _batch_norm(x: Tensor, *args: Any) -> Any:
    """With the running statistics; those of a batch are no matter of one row."""
    is_training = args[4]
    plain = get_decompositions([aten.native_batch_norm])[aten.native_batch_norm.default]
    return NotImplemented if is_training else plain(x, *args)


def _attention(q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0, causal: bool = False, **options: Any) -> Any:
    """Attention and its weights, which its backward has here in place of the logarithm of their sum."""
    mask, scale = options.get("attn_mask"), options.get("scale")
    return aten._scaled_dot_product_attention_math(q, k, v, mask, dropout, causal, scale=scale)


def _attention_backward(
    d: Tensor, q: Tensor, k: Tensor, v: Tensor, _: Tensor, weights: Tensor, dropout: float, causal: bool, **options: Any
) -> Any:
    scale = options.get("scale")
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    d_weights = d @ v.mT
    d_scores = weights * (d_weights - (d_weights * weights).sum(-1, keepdim=True)) * scale
    return d_scores @ k, d_scores.mT @ q, weights.mT @ d


def _stack(tensors: list[Tensor], dim: int = 0) -> Any:
    """Along an axis before the batch, too, where torch puts the rows of all tensors after one another."""
    return aten.cat([tensor.unsqueeze(dim) for tensor in tensors], dim)


def _mirrored(x: Tensor, axis: int, before: int, behind: int) -> Tensor:
    """What stands beyond the two ends of an axis in a mirror, with what is between them."""
    size = x.shape[axis]
    left, right = x.narrow(axis, 1, before).flip(axis), x.narrow(axis, size - 1 - behind, behind).flip(axis)
    return torch.cat([left, x, right], axis)


def _mirrored_back(d: Tensor, axis: int, before: int, behind: int) -> Tensor:
    size = d.shape[axis] - before - behind
    left, inside, right = d.split([before, size, behind], axis)
    return inside + _put(left.flip(axis), axis, 1, size) + _put(right.flip(axis), axis, size - 1 - behind, size)


def _repeated(x: Tensor, axis: int, before: int, behind: int) -> Tensor:
    """The number at each end of an axis again and again."""
    size = x.shape[axis]
    return torch.cat([x.narrow(axis, 0, 1)] * before + [x] + [x.narrow(axis, size - 1, 1)] * behind, axis)


def _repeated_back(d: Tensor, axis: int, before: int, behind: int) -> Tensor:
    size = d.shape[axis] - before - behind
    left, inside, right = d.split([before, size, behind], axis)
    ends = (left.sum(axis, keepdim=True), 0), (right.sum(axis, keepdim=True), size - 1)
    return inside + sum(_put(end, axis, place, size) for end, place in ends)


def padded(x: Tensor, before: Sequence[int], sizes: Sequence[int], fill: float = 0.0) -> Tensor:
    """`fill` before each of the last axes and behind it, up to these sizes; what is beyond is cut off."""
    pads: list[int] = []
    for n, left, size in zip(x.shape[-len(sizes) :], before, sizes, strict=True):
        pads = [left, size - left - n, *pads]
    return aten.constant_pad_nd(x, pads, fill) if any(pads) else x


def _put(x: Tensor, axis: int, place: int, size: int) -> Tensor:
    """Numbers at some places of an axis of this size; the others are 0."""
    behind = x.dim() - 1 - axis
    return aten.constant_pad_nd(x, [0, 0] * behind + [place, size - place - x.shape[axis]])


def _axis_by_axis(along: Callable[[Tensor, int, int, int], Tensor]) -> Callable[..., Tensor]:
    """`along(x, axis, before, behind)` for each axis that is padded; a backward call has what was padded, too."""

    def pad(x: Tensor, *others: Any) -> Tensor:
        padding = others[-1]
        for number, (before, behind) in enumerate(zip(padding[::2], padding[1::2], strict=True), 1):
            x = along(x, x.dim() - number, before, behind) if before or behind else x
        return x

    return pad


def _factors_and_sign(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """L and U of a matrix, the exchanges of its rows, and whether these change the sign of a determinant, 1 or -1.

    As torch, of the transpose where the rows of the matrix stand in order in memory: the backward call asks for that,
    too, and it was traced. Run later, torch's own call would look again, and the memory may be another.
    """
    factors, exchanges, _ = aten.linalg_lu_factor_ex(
        matrix.mT if matrix.is_contiguous() and not matrix.is_complex() else matrix
    )
    rows = torch.arange(1, exchanges.shape[-1] + 1, device=matrix.device)
    return factors, exchanges, (1 - 2 * (exchanges != rows).to(matrix.dtype)).prod(-1)


def _determinant(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    factors, exchanges, sign = _factors_and_sign(matrix)
    return factors.diagonal(dim1=-2, dim2=-1).prod(-1) * sign, factors, exchanges


def _log_determinant(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    factors, exchanges, sign = _factors_and_sign(matrix)
    pivots = factors.diagonal(dim1=-2, dim2=-1)
    return pivots.sgn().prod(-1) * sign, pivots.abs().log().sum(-1), factors, exchanges


def _zeros(size: list[int], *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    """Zeros that torch keeps without memory, as the gradient of `sgn`."""
    return torch.zeros(size, dtype=dtype)


_argmax, _argmin = _place_of(torch.amax), _place_of(torch.amin)
_largest_with_place = _with_place(torch.amax, torch.argmax)

_PADS = {"reflection": (_mirrored, _mirrored_back), "replication": (_repeated, _repeated_back)}

TAKEN_APART: dict[Any, Callable[..., Any]] = {
    aten._efficientzerotensor.default: _zeros,
    aten.max.dim: _largest_with_place,
    aten.min.dim: _with_place(torch.amin, torch.argmin),
    aten.argmax.default: _argmax,
    aten.argmin.default: _argmin,
    aten.gather.default: _gather,
    aten.scatter.src: _scatter,
    aten.scatter.value: _scatter,
    aten.scatter_add.default: _scatter_add,
    aten.cumsum.default: _running(torch.add, -0.0),
    aten.cumprod.default: _running(torch.mul, 1.0),
    aten.prod.dim_int: _product,
    aten.sort.default: _sort,
    aten.sort.stable: _sort,
    aten.topk.default: _topk,
    aten.kthvalue.default: _kth,
    aten.median.dim: _median,
    aten.index_select.default: _index_select,
    aten.stack.default: _stack,
    aten._linalg_det.default: _determinant,
    aten._linalg_slogdet.default: _log_determinant,
    aten.native_batch_norm.default: _batch_norm,
    aten._scaled_dot_product_flash_attention_for_cpu.default: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward.default: _attention_backward,
    **{
        getattr(aten, f"{kind}_pad{rank}d{backward}").default: _axis_by_axis(along)
        for kind, pair in _PADS.items()
        for backward, along in zip(("", "_backward"), pair, strict=True)
        for rank in (1, 2, 3)
    },
}
