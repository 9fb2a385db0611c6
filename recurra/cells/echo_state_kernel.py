"""Reservoirs through the compiled sparse loop: many sequences, many reservoirs, one call."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.engine import reference
from recurra.engine.block import AnyBatch
from recurra.engine.contract import Cell
from recurra.ragged import Ragged

__all__ = ["PackedReservoir", "ReservoirKernel", "ReservoirLoop"]

_COMPILED = ("tanh", "sigmoid", "identity", "relu")
_WINDOW = 1 << 17  # numbers that the inputs give at a time: they stay in the cache until the loop reads them
_LEAST_STEPS = 64  # at a time, so that calls do not take longer than steps
_FEW = 4  # sequences; from here on a product of all of them with one dense matrix is faster than one after another


class Reservoir(Protocol):
    """What the loop reads of a cell; `recurra.cells.ESN` says what each is."""

    hidden_size: int
    leak: float
    noise: float
    activation: str
    training: bool
    weight_ih: Tensor
    bias: Tensor
    weight_hh: Tensor | None
    values: Tensor | None
    packed: PackedReservoir

    def connections(self) -> tuple[Tensor, Tensor, Tensor]:
        """W as a list."""
        ...


def _sparse_loop() -> Any:
    # imported when first used: LLVM takes longer to load than the rest of this library
    return importlib.import_module("recurra.engine.cpu.sparse_loop")


class PackedReservoir:
    """The weights of one reservoir in the form of the loop, made anew when they have changed."""

    def __init__(self) -> None:
        self._made_from: Any = None
        self.weights: Any = None
        self.weight_ih: Tensor
        self.bias: Tensor
        self.leak: Tensor

    def __deepcopy__(self, memo: Any) -> PackedReservoir:
        return PackedReservoir()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # addresses mean nothing in another process

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]

    def of(self, cell: Reservoir) -> PackedReservoir:
        """Itself, with the cell's weights of now."""
        matrix = cell.weight_hh if cell.weight_hh is not None else cell.values
        used: list[Any] = [matrix, cell.weight_ih, cell.bias]
        made_from = (cell.leak, *((id(one), one._version, one.data_ptr(), one.dtype) for one in used))
        if made_from != self._made_from:
            self.weights = _sparse_loop().SparseWeights.pack(
                *(part.detach() for part in cell.connections()), cell.hidden_size
            )
            more = self.weights.padded - cell.hidden_size
            self.weight_ih = F.pad(cell.weight_ih.detach(), (0, 0, 0, more))
            self.bias = F.pad(cell.bias.detach(), (0, more))
            self.leak = F.pad(torch.full_like(cell.bias, cell.leak), (0, more))
            self._made_from = made_from
        return self


class ReservoirLoop:
    """Reservoirs, each through sequences of the same lengths, ready to run again and again on the same memory.

    What the inputs give, W_in x + b, is computed for a window of time at once, so that it stays in the cache.

    Shapes: inputs of each reservoir [N, I], its state [B, H] and its outputs [N, H], whose rows may stand apart.

    Args:
        cells: reservoirs of one precision and activation.
        offsets: of the sequences in the rows of inputs and outputs, [B+1].
        states: before the first step.
        outs: where the states of the units after each step are written.
    """

    def __init__(
        self, cells: Sequence[Reservoir], offsets: Sequence[int], states: Sequence[Tensor], outs: Sequence[Tensor]
    ) -> None:
        loop = _sparse_loop()
        self.cells, self.packed = cells, [cell.packed.of(cell) for cell in cells]
        self.stretches = list(itertools.pairwise(offsets))
        longest = max((stop - start for start, stop in self.stretches), default=0)
        widest = max(one.weights.padded for one in self.packed)
        count = max(1, len(cells) * len(self.stretches))
        self.steps = max(1, min(longest, max(_LEAST_STEPS, _WINDOW // (widest * count))))
        self.windows = -(-longest // self.steps)
        # where one window holds everything, the inputs are taken as they lie
        self.begins = offsets if self.windows <= 1 else [b * self.steps for b in range(len(offsets))]
        self.drives = [one.bias.new_empty(self.begins[-1], one.weights.padded) for one in self.packed]
        self.states = [
            F.pad(state.detach(), (0, one.weights.padded - state.shape[1])).contiguous()
            for one, state in zip(self.packed, states, strict=True)
        ]
        jobs = [
            loop.Job(one.weights, drive[begin : begin + self.steps], out[start:stop], state[b], one.leak)
            for one, drive, state, out in zip(self.packed, self.drives, self.states, outs, strict=True)
            for b, ((start, stop), begin) in enumerate(zip(self.stretches, self.begins[:-1], strict=True))
        ]
        self._loop = loop.Loop(jobs, cells[0].activation)

    def run(self, inputs: Sequence[Tensor]) -> None:
        """Run all steps; the states go on from where they are."""
        for window in range(self.windows):
            for cell, one, drive, x in zip(self.cells, self.packed, self.drives, inputs, strict=True):
                self._fill(window, one, drive, x)
                if cell.training and cell.noise:
                    drive += cell.noise * torch.randn_like(drive)
            self._loop.run(window * self.steps, self.steps)

    def _fill(self, window: int, one: PackedReservoir, drive: Tensor, x: Tensor) -> None:
        """W_in x + b of the steps of a window."""
        if self.windows == 1:
            torch.addmm(one.bias, x, one.weight_ih.T, out=drive)
            return
        for (start, stop), begin in zip(self.stretches, self.begins[:-1], strict=True):
            rows = x[start + window * self.steps : min(stop, start + (window + 1) * self.steps)]
            torch.addmm(one.bias, rows, one.weight_ih.T, out=drive[begin : begin + len(rows)])

    def after(self) -> list[Tensor]:
        """The states after the last step that ran, [B, H] for each reservoir."""
        return [state[:, : cell.hidden_size].clone() for cell, state in zip(self.cells, self.states, strict=True)]


class ReservoirKernel:
    """The loop behind the door of `engine.kernel`, for one reservoir."""

    def __init__(self, cell: Reservoir) -> None:
        self.cell = cell

    def supports(self, values: Tensor) -> bool:
        """Whether inputs of this type and on this device can be run: float32 or float64 as the weights, no gradient."""
        weights = self.cell.weight_ih
        learns = values.requires_grad or weights.requires_grad
        return (
            self.cell.activation in _COMPILED
            and values.device.type == weights.device.type == "cpu"
            and values.dtype == weights.dtype
            and values.dtype in (torch.float32, torch.float64)
            and not (torch.is_grad_enabled() and learns)
            and not torch._C._are_functorch_transforms_active()
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
        )

    def is_fast(self, x: AnyBatch) -> bool:
        """Whether it is the fastest way to run these sequences: always, but for a dense matrix and many of them."""
        return self.cell.weight_hh is None or x.batch_size < _FEW

    def run(self, x: Ragged, state: Any) -> tuple[Tensor, Any]:
        """Run every sequence from its first step to its last.

        Shapes: x.values [N, I] without resets, state.h [B, H] -> outputs [N, H], state after the last steps.
        """
        h = state.h
        if (torch.is_grad_enabled() and h.requires_grad) or h.dtype != x.values.dtype:
            return reference.run(cast(Cell, self.cell), x, state)
        out = x.values.new_empty(x.num_steps, self.cell.hidden_size)
        with torch.no_grad():
            loop = ReservoirLoop([self.cell], x.offsets.tolist(), [h], [out])
            loop.run([x.values])
        return out, type(state)(loop.after()[0])
