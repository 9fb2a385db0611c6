"""A scan like one before: what that one found out is known.

Before its first step a scan asks whether the cell is as it was, what was compiled for it, where the rows of the batch
stand, which program was recorded, what the state begins with. The answers take longer to find than a hundred steps of a
small cell take to run. Where a batch of the same shape comes again, they are those of the time before; where it is
shorter or longer, nearly all of them are.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from recurra.engine.contract import Cell

if TYPE_CHECKING:
    from recurra.engine.cell_code import Compiled
    from recurra.engine.cpu.replay import Given, Program
    from recurra.engine.cpu.tiling import Layout

__all__ = ["Known", "Ready"]

_Strides = list[tuple[int, ...]]


class Known(NamedTuple):
    """A scan of which all is known but the inputs.

    Attributes:
        cell: the cell.
        ready: what is known.
        tensors: of the cell, as `Look.tensors` gives them.
        state: of `Ready.state`.
    """

    cell: Cell
    ready: Ready
    tensors: Sequence[Tensor]
    state: Any


class Ready:
    """What scans of a cell as it is now, over batches of one shape, have found out.

    Args:
        cell: the cell, which this does not keep alive.
        code: what was compiled for it.
        layout: of the batches.
        places: of the tensors that the code reads besides the inputs and the state, among all of the cell.
        state: one that such a scan began with.

    Attributes:
        is_chosen: whether "auto" takes the compiled engine, by the number of threads, once somebody has asked.
    """

    def __init__(self, cell: Cell, code: Compiled, layout: Layout, places: list[int], state: Any) -> None:
        self.code, self.layout, self.places = code, layout, places
        self.is_chosen: dict[int, bool] = {}
        self._begin = type(state)(*(_zeros(field.shape, field.dtype) for field in state))
        self._has_own = not vars(cell).keys().isdisjoint(("as_state", "initial_state"))
        self._programs: dict[tuple[str, int], tuple[Program, _Strides]] = {}
        self._read: weakref.WeakKeyDictionary[Program, _Strides] = weakref.WeakKeyDictionary()

    def resized(self, layout: Layout) -> Ready:
        """The same of shorter or longer batches."""
        other = copy.copy(self)  # with what programs read, whatever the lengths
        other.layout, other.is_chosen, other._programs = layout, {}, {}
        return other

    @property
    def is_long(self) -> bool:
        """See `Compiled.is_long`."""
        return self.code.is_long(self.layout)

    def state(self, cell: Cell, given: Any) -> Any:
        """The state that a scan begins with; None where the cell is to say what it is, or whether it can be one."""
        kind = type(cell)
        if self._has_own or kind.as_state is not Cell.as_state or kind.initial_state is not Cell.initial_state:
            return None
        if given is None:
            return self._begin
        if type(given) is not type(self._begin):
            return None
        for field, zeros in zip(given, self._begin, strict=True):
            is_alike = type(field) is Tensor and field.shape == zeros.shape and field.dtype is zeros.dtype
            if not is_alike or not field.is_cpu or field.layout is not torch.strided:
                return None
        return given

    def program(self, name: str, threads: int, tensors: Sequence[Tensor], given: Callable[[], Given]) -> Program | None:
        """The program of a pass, if there is one that reads tensors where they stand.

        Args:
            name: of the pass.
            threads: that it is to run on.
            tensors: what goes in as it is handed in.
            given: gives the same as the pass takes it, in rows.
        """
        found = self._programs.get((name, threads))
        if found is None:
            program = self.code.program(name, self.layout, threads)
            if program is None:
                return None
            known = self._read.get(program)
            if known is None:
                rows = given()
                pairs = zip(tensors, rows, strict=True)
                if not program.takes(rows) or any(tensor.data_ptr() != row.data_ptr() for tensor, row in pairs):
                    return None
                known = [tensor.stride() for tensor in tensors]
                if self.layout.sizes is None:  # else strides differ with the lengths
                    self._read[program] = known
            found = self._programs[name, threads] = program, known
        program, strides = found
        now = [tensor.stride() for tensor in tensors]
        if now == strides:
            return program
        if not all(map(_stands, tensors, strides)):
            return None
        self._programs[name, threads] = program, now
        return program


def _stands(tensor: Tensor, strides: tuple[int, ...]) -> bool:
    """Whether it has these strides; that of an axis with one place says nothing."""
    axes = zip(tensor.shape, tensor.stride(), strides, strict=True)
    return all(size == 1 or own == stride for size, own, stride in axes)


_known_zeros: weakref.WeakValueDictionary[tuple[torch.Size, torch.dtype], Tensor] = weakref.WeakValueDictionary()


def _zeros(shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """The same for all: nobody writes into the state that a scan begins with."""
    zeros = _known_zeros.get((shape, dtype))
    if zeros is None:
        with torch.inference_mode(False):  # tensors of that mode serve no training step
            zeros = _known_zeros[shape, dtype] = torch.zeros(shape, dtype=dtype, device="cpu")
    return zeros
