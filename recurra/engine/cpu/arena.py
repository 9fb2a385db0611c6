"""Memory for what loops write, used again when nobody holds it any more.

What a training step keeps for its backward pass is tens of megabytes that come and go with every step. The C library
gives so much back to the system at once, and to fetch it again, page by page, can take as long as the step itself.
"""

from __future__ import annotations

import functools
import math
import os
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurra.engine.cpu import tape

__all__ = ["LIMIT", "empty", "held", "maker"]

LIMIT = 1 << 28  # bytes that wait to be used again, at most
_SMALLEST = 1 << 18  # what is smaller the C library keeps itself
_PATIENCE = 1 << 10  # new tensors that a piece of memory waits for before it is given back

Block = np.ndarray[Any, np.dtype[np.uint8]]

_free: OrderedDict[int, tuple[Block, int]] = OrderedDict()  # by address, with the time; what came back first is first
_returned: deque[Block] = deque()  # appended to by whoever lets go, at any time and in any thread
_time = 0  # how often anybody asked
_lock = threading.Lock()


def empty(shape: Sequence[int], dtype: torch.dtype, strides: Sequence[int] = ()) -> Tensor:
    """A new tensor with whatever numbers stand in its memory, which returns when the tensor is gone.

    Args:
        shape: of the tensor.
        dtype: of its numbers.
        strides: of a tensor without gaps, its axes in memory in some other order than in the shape.
    """
    size = math.prod(shape)
    is_small = size * dtype.itemsize < _SMALLEST
    if is_small and not strides:
        tensor = torch.empty(shape, dtype=dtype)
    else:
        flat = torch.empty(size, dtype=dtype) if is_small else _from_block(size * dtype.itemsize).view(dtype)
        tensor = torch.empty(0, dtype=dtype)  # autograd must not take it for a view
        tensor.set_(flat.untyped_storage(), 0, torch.Size(shape), tuple(strides))
    noted = tape.running()
    if noted is not None:
        noted.memory.append(tensor)
    return tensor


def maker(shape: Sequence[int], dtype: torch.dtype, strides: Sequence[int] = ()) -> Callable[[], Tensor]:
    """A function that gives what `empty` would, a little sooner; nobody listens to it."""
    if strides or math.prod(shape) * dtype.itemsize >= _SMALLEST:
        return functools.partial(empty, shape, dtype, strides)
    return functools.partial(torch.empty, tuple(shape), dtype=dtype)


def _from_block(size: int) -> Tensor:
    # batches of other lengths shall find it, too: an eighth is lost at most
    step = 1 << (size.bit_length() - 4)
    whole = -(-size // step) * step
    with _lock:
        _take_back()
        address = next((address for address, (block, _) in reversed(_free.items()) if block.nbytes == whole), None)
        block = np.empty(whole, np.uint8) if address is None else _free.pop(address)[0]
    view = block[:size]  # lives as long as the tensor's memory; the block goes on
    weakref.finalize(view, _returned.append, block).atexit = False
    return torch.from_numpy(view)


def _fresh_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # another thread may have held it when this process was forked
    os.register_at_fork(after_in_child=_fresh_lock)


def held() -> int:
    """Bytes that wait to be used again."""
    with _lock:
        _take_back()
        return sum(block.nbytes for block, _ in _free.values())


def _take_back() -> None:
    global _time
    _time += 1
    while _returned:
        block = _returned.popleft()
        _free[block.ctypes.data] = block, _time
    size = sum(block.nbytes for block, _ in _free.values())
    while _free:
        address, (block, since) = next(iter(_free.items()))
        if size <= LIMIT and _time - since < _PATIENCE:
            return
        del _free[address]
        size -= block.nbytes
