"""Memory for what loops write, used again when nobody holds it any more.

What a training step keeps for its backward pass is tens of megabytes that come and go with every step. The C library
gives so much back to the system at once, and to fetch it again, page by page, can take as long as the step itself.
"""

from __future__ import annotations

import functools
import math
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurra.engine.cpu import tape
from recurra.engine.cpu.tiling import LINE
from recurra.engine.locks import Lock

__all__ = ["LIMIT", "empty", "held", "maker"]

LIMIT = 1 << 28  # bytes that wait to be used again, at most
_SMALLEST = 1 << 18  # what is smaller the C library keeps itself
_PATIENCE = 1 << 10  # new tensors that a piece of memory waits for before it is given back

_KINDS: dict[torch.dtype, Any] = {torch.float32: np.float32, torch.float64: np.float64}

Block = np.ndarray[Any, np.dtype[np.uint8]]


class _Loan(weakref.ref[np.ndarray[Any, Any]]):
    """A block that is in use, until its memory is let go."""

    __slots__ = ("block",)
    block: Block


_free: OrderedDict[int, tuple[Block, int]] = OrderedDict()  # by id, with the time; what came back first is first
_by_size: dict[int, list[int]] = {}  # the same ids; what came back last is last
_waiting = 0  # bytes of all of them
_loans: dict[int, _Loan] = {}  # by id
_returned: deque[Block] = deque()  # appended to by whoever lets go, at any time and in any thread
_time = 0  # how often anybody asked
_lock = Lock()


def empty(shape: Sequence[int], dtype: torch.dtype, strides: Sequence[int] = ()) -> Tensor:
    """A new tensor with whatever numbers stand in its memory, which returns when the tensor is gone.

    Args:
        shape: of the tensor.
        dtype: of its numbers; only what computes in float32 and float64 gets memory that is used again.
        strides: of a tensor without gaps, its axes in memory in some other order than in the shape.
    """
    if math.prod(shape) * dtype.itemsize >= _SMALLEST and dtype in _KINDS:
        tensor = _from_block(shape, dtype, strides)
    elif strides:
        tensor = torch.empty_strided(tuple(shape), tuple(strides), dtype=dtype, device="cpu")
    else:
        tensor = torch.empty(shape, dtype=dtype, device="cpu")
    noted = tape.running()
    if noted is not None:
        noted.memory.append((tensor, tape.version(tensor)))
    return tensor


def maker(shape: Sequence[int], dtype: torch.dtype, strides: Sequence[int] = ()) -> Callable[[], Tensor]:
    """A function that gives what `empty` would, a little sooner; nobody listens to it."""
    if strides or math.prod(shape) * dtype.itemsize >= _SMALLEST:
        return functools.partial(empty, shape, dtype, strides)
    with torch.inference_mode(False):  # a tensor of that mode would pass it on
        like = torch.empty((), dtype=dtype, device="cpu").expand(tuple(shape))
    return functools.partial(torch.empty_like, like)  # dense, as this one, whose numbers all stand in one place, is not


def _from_block(shape: Sequence[int], dtype: torch.dtype, strides: Sequence[int]) -> Tensor:
    size = math.prod(shape) * dtype.itemsize
    # batches of other lengths shall find it, too: an eighth is lost at most
    step = 1 << (size.bit_length() - 4)
    whole = -(-size // step) * step
    with _lock:
        _take_back()
        alike = _by_size.get(whole)
        block = _taken(alike[-1]) if alike else _new_block(whole)
    # lives as long as the tensor's memory; the block goes on
    view = np.ndarray(shape, _KINDS[dtype], block, strides=[dtype.itemsize * each for each in strides] or None)
    loan = _Loan(view, _give_back)
    loan.block = block
    _loans[id(loan)] = loan
    return torch.from_numpy(view)


def _new_block(size: int) -> Block:
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size]


def _give_back(loan: _Loan) -> None:
    del _loans[id(loan)]
    _returned.append(loan.block)


def held() -> int:
    """Bytes that wait to be used again."""
    with _lock:
        _take_back()
        return _waiting


def _take_back() -> None:
    global _time, _waiting
    _time += 1
    while _returned:
        block = _returned.popleft()
        _free[id(block)] = block, _time
        _by_size.setdefault(block.nbytes, []).append(id(block))
        _waiting += block.nbytes
    while _free:
        key, (_, since) = next(iter(_free.items()))
        if _waiting <= LIMIT and _time - since < _PATIENCE:
            return
        _taken(key)


def _taken(key: int) -> Block:
    """A block that waits no longer."""
    global _waiting
    block, _ = _free.pop(key)
    alike = _by_size[block.nbytes]
    alike.remove(key)
    if not alike:
        del _by_size[block.nbytes]
    _waiting -= block.nbytes
    return block
