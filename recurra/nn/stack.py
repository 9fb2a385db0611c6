"""A `torch.nn.RNNBase` module over a Ragged batch: its layers and directions, each through one kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from recurra.cells.lstm import LSTMState
from recurra.cells.rnn import RNNState
from recurra.engine.dense_lstm import is_dense_enough
from recurra.engine.scan import run_segments
from recurra.engine.torch_kernels import TorchKernel
from recurra.errors import ShapeError
from recurra.ragged import Ragged, take_rows
from recurra.shapes import describe

__all__ = ["run_dense_packed", "run_ragged"]

Drop = Callable[[Tensor], Tensor]


def run_ragged(module: nn.RNNBase, x: Ragged, hx: Any = None) -> tuple[Ragged, Any]:
    """What `module` computes, over sequences of any lengths and with resets.

    Shapes: x.values [N, I]; hx [L*D, B, H], a pair of those for an LSTM, or None -> Ragged of values [N, D*H], hx.

    Raises:
        ShapeError: the inputs or the state do not fit.
    """
    if x.values.dim() != 2 or x.values.shape[1] != module.input_size:
        raise ShapeError(f"`input.values` must have shape [N, I={module.input_size}], got {describe(x.values)}.")
    fields = _zeros(module, x) if hx is None else (hx if isinstance(hx, tuple | list) else (hx,))
    if not _fits(module, fields, x.batch_size):
        expected = " and ".join(str(list(shape)) for shape in _shapes(module, x.batch_size))
        raise ShapeError(f"`hx` must have shape {expected}, got {', '.join(describe(field) for field in fields)}.")

    def drop(values: Tensor) -> Tensor:
        return functional.dropout(values, module.dropout)

    outputs, fields = _run_layers(module, x, tuple(fields), drop)
    return outputs, fields if module.mode == "LSTM" else fields[0]


def run_dense_packed(module: nn.LSTM, packed: PackedSequence, hx: Any = None) -> tuple[PackedSequence, Any] | None:
    """What `module` computes, through the dense kernel; None where that is not faster or something does not fit.

    Dropout between layers draws in the order of the packed data, so that equal seeds give torch's own numbers.
    """
    data, batch_sizes = packed.data, packed.batch_sizes
    num_steps, batch_size = len(batch_sizes), int(batch_sizes[0])
    kernel = _kernel(module, 0)
    if (
        torch.compiler.is_compiling()
        or torch.is_autocast_enabled("cpu")
        or batch_sizes[-1] == batch_size  # lengths are all equal: torch itself takes the dense kernel
        or not is_dense_enough(len(data), num_steps, batch_size)
        or data.shape[1:] != (module.input_size,)
        or not (kernel.has_dense(data) and kernel.supports(data))
    ):
        return None
    rows = Ragged.from_packed(PackedSequence(torch.arange(len(data)), *packed[1:]))
    x = rows.replace(take_rows(data, rows.values))
    fields = _zeros(module, x) if hx is None else hx
    if (
        not isinstance(fields, tuple | list)
        or not _fits(module, fields, x.batch_size)
        or any(field.dtype != data.dtype for field in fields)
    ):
        return None  # torch says what is wrong
    back = rows.values.argsort()

    def drop(values: Tensor) -> Tensor:
        return take_rows(functional.dropout(take_rows(values, back), module.dropout), rows.values)

    outputs, fields = _run_layers(module, x, tuple(fields), drop)
    return PackedSequence(take_rows(outputs.values, back), *packed[1:]), fields


def _run_layers(module: nn.RNNBase, x: Ragged, hx: tuple[Tensor, ...], drop: Drop) -> tuple[Ragged, tuple[Tensor, ...]]:
    num_directions = 2 if module.bidirectional else 1
    state_type: Any = LSTMState if module.mode == "LSTM" else RNNState
    after: list[Any] = []

    def fresh(batch_size: int) -> Any:
        return state_type(*(field.new_zeros(batch_size, field.shape[2]) for field in hx))

    for layer in range(module.num_layers):
        outputs = []
        for direction in range(num_directions):
            index = layer * num_directions + direction
            begin = state_type(*(field[index] for field in hx))
            values, end = run_segments(_kernel(module, index).run, x, begin, fresh, reverse=direction == 1)
            outputs.append(values)
            after.append(end)
        x = x.replace(torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0])
        if module.dropout and module.training and layer + 1 < module.num_layers:
            x = x.map(drop)
    return x, tuple(torch.stack(field) for field in zip(*after, strict=True))


def _kernel(module: nn.RNNBase, index: int) -> TorchKernel:
    mode: Any = module.mode.lower()
    return TorchKernel(mode, tuple(module.all_weights[index]), module.bias)


def _shapes(module: nn.RNNBase, batch_size: int) -> list[tuple[int, int, int]]:
    layers = module.num_layers * (2 if module.bidirectional else 1)
    h = (layers, batch_size, module.proj_size or module.hidden_size)
    return [h, (layers, batch_size, module.hidden_size)] if module.mode == "LSTM" else [h]


def _zeros(module: nn.RNNBase, x: Ragged) -> tuple[Tensor, ...]:
    return tuple(x.values.new_zeros(shape) for shape in _shapes(module, x.batch_size))


def _fits(module: nn.RNNBase, fields: Any, batch_size: int) -> bool:
    shapes = _shapes(module, batch_size)
    return len(fields) == len(shapes) and all(
        isinstance(field, Tensor) and field.shape == shape for field, shape in zip(fields, shapes, strict=True)
    )
