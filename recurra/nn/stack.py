"""A `torch.nn.RNNBase` module on our engines: its layers and directions, each as a cell with the module's weights."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from recurra.cells.gru import GRUState
from recurra.cells.lstm import LSTMState
from recurra.cells.rnn import RNNState
from recurra.engine.block import AnyBatch, Block, Packed
from recurra.engine.contract import Cell
from recurra.engine.products import is_plain_eager
from recurra.engine.scan import ENGINES, again, by_kernel, in_eager, run_segments, scan_both
from recurra.engine.torch_kernels import TorchKernel
from recurra.errors import ShapeError
from recurra.nn.cells import new_cell, weight_names
from recurra.ragged import Ragged
from recurra.shapes import describe

__all__ = ["run_faster", "run_ragged"]

Drop = Callable[[Tensor], Tensor]
Batch = TypeVar("Batch", bound=AnyBatch)

# gives what torch.compile has called for each function, while it is at work
_watcher: Any = getattr(torch._C._dynamo.eval_frame, "get_eval_frame_callback", lambda: None)

# Steps; fewer, or of an RNN fewer than the last, torch has done in the time of our call. Of packed sequences, whose
# lengths are others each time, more is to be found out: without a gradient, and with one (measured on a Zen 4).
_FEWEST = {"LSTM": 1, "GRU": 2, "": 4}
_FEWEST_PACKED = {"LSTM": (12, 4), "GRU": (12, 3), "": (20, 8)}


def run_ragged(module: nn.RNNBase, x: Ragged, hx: Any = None) -> tuple[Ragged, Any]:
    """What `module` computes, over sequences of any lengths and with resets.

    Shapes: x.values [N, I]; hx [L*D, B, H], a pair of those for an LSTM, or None -> Ragged of values [N, D*H], hx.

    Raises:
        ShapeError: the inputs or the state do not fit.
    """
    if _is_between_graphs(module):
        return in_eager(run_ragged, module, x, hx)
    if x.values.dim() != 2 or x.values.shape[1] != module.input_size:
        raise ShapeError(f"`input.values` must have shape [N, I={module.input_size}], got {describe(x.values)}.")
    fields = None if hx is None else tuple(hx) if isinstance(hx, tuple | list) else (hx,)
    if fields is not None and not _fits(module, fields, x.batch_size):
        expected = " and ".join(str(list(shape)) for shape in _shapes(module, x.batch_size))
        raise ShapeError(f"`hx` must have shape {expected}, got {', '.join(describe(field) for field in fields)}.")

    def drop(values: Tensor) -> Tensor:
        return functional.dropout(values, module.dropout)

    known = _run_known(module, x, fields, drop)
    outputs, fields = known or _run_layers(module, x, _zeros(module, x) if fields is None else fields, drop)
    return outputs, _as_hx(module, fields)


def run_faster(module: nn.RNNBase, input: Any, hx: Any = None) -> tuple[Any, Any] | None:
    """What `module` computes; None where torch's own code is as fast, or where something does not fit and it says what.

    Shapes: those of `torch.nn`: input [T, B, I], [B, T, I] or [T, I], or a PackedSequence; the same outputs, hx.
    """
    if _is_between_graphs(module):
        return in_eager(run_faster, module, input, hx)
    is_traced = torch.compiler.is_dynamo_compiling()
    if isinstance(input, PackedSequence):
        return None if is_traced else _run_packed(module, input, hx)
    if not isinstance(input, Tensor) or not (is_traced or is_plain_eager(input)) or input.dim() not in (2, 3):
        return None
    alone = input.dim() == 2
    steps = input.unsqueeze(1) if alone else input.transpose(0, 1) if module.batch_first else input
    if not is_traced and len(steps) < _fewest(module):
        return None
    found = _run_whole(module, Block(steps), hx, alone=alone)
    if found is None:
        return None
    outputs, fields = found
    if alone:
        outputs, fields = outputs.squeeze(1), tuple(field.squeeze(1) for field in fields)
    elif module.batch_first:
        outputs = outputs.transpose(0, 1)
    return outputs, _as_hx(module, fields)


def _run_whole(
    module: nn.RNNBase, x: Block | Packed, hx: Any, *, alone: bool = False
) -> tuple[Tensor, tuple[Tensor, ...]] | None:
    """As `run_faster`: the values of the outputs, and fields [L*D, B, H]. `hx` has no B if `alone`."""
    is_traced = torch.compiler.is_dynamo_compiling()
    fields = None if hx is None else _given(module, x, hx, alone=alone)
    if hx is not None and fields is None:
        return None

    def drop(values: Tensor) -> Tensor:  # in the order of time, so that equal seeds give torch's own numbers
        return functional.dropout(values.contiguous(), module.dropout)

    known = _run_known(module, x, fields, drop)
    if known is not None:
        return known[0].values, known[1]
    if fields is None:
        fields = _given(module, x, None)
    if fields is None or not (_traced().can_run if is_traced else _is_worth_it)(module, x, fields):
        return None
    x, fields = _run_layers(module, x, fields, drop)
    return x.values, fields


def _state_type(module: nn.RNNBase) -> Any:
    return {"LSTM": LSTMState, "GRU": GRUState}.get(module.mode, RNNState)


def _as_hx(module: nn.RNNBase, fields: tuple[Tensor, ...]) -> tuple[Tensor, ...] | Tensor:
    """The fields of the state as torch hands them out: an LSTM's as a tuple."""
    return fields if module.mode == "LSTM" else fields[0]


def _is_between_graphs(module: nn.RNNBase) -> bool:
    """Whether torch.compile has left a call to eager mode, as it does with all modules of this class.

    It would trace the functions that are called from here one by one. A look at the module keeps it out of this one.
    """
    return bool(module.mode) and not torch.compiler.is_dynamo_compiling() and _watcher() is not None


def _run_packed(module: nn.RNNBase, packed: PackedSequence, hx: Any) -> tuple[PackedSequence, Any] | None:
    """As `run_faster`, where the sequences stand. Those of one length are a block, in the order of packing."""
    data, batch_sizes, order, rank = packed
    if len(batch_sizes) < _fewest(module) or not is_plain_eager(data) or data.shape[1:] != (module.input_size,):
        return None
    steps, batch = len(batch_sizes), int(batch_sizes[0])
    x = Block(data.view(steps, batch, -1)) if len(data) == steps * batch else Packed(data, batch_sizes)
    if isinstance(x, Packed) and _is_soon_done(module, x):
        return None
    if hx is not None and order is not None:
        fields = _given(module, x, hx)
        if fields is None:
            return None
        hx = _as_hx(module, tuple(field.index_select(1, order) for field in fields))
    found = _run_whole(module, x, hx)
    if found is None:
        return None
    outputs, after = found
    after = after if rank is None else tuple(field.index_select(1, rank) for field in after)
    return PackedSequence(outputs.reshape(len(data), -1), *packed[1:]), _as_hx(module, after)


def _fewest(module: nn.RNNBase) -> int:
    """Steps; fewer torch has done sooner."""
    return _FEWEST.get(module.mode, _FEWEST[""])


def _is_soon_done(module: nn.RNNBase, x: Packed) -> bool:
    """Whether torch has done packed sequences of so few steps, which are not all of one length, sooner."""
    fewest = _FEWEST_PACKED.get(module.mode, _FEWEST_PACKED[""])[torch.is_grad_enabled()]
    return x.max_length < fewest and not _is_padded(module, x)


def _is_padded(module: nn.RNNBase, x: Packed) -> bool:
    """Whether oneDNN runs packed sequences, padded, faster than anything else. torch itself pads none."""
    if module.mode != "LSTM":
        return False
    kernel = _kernel(module, 0)
    return kernel.is_fast(x) and kernel.prefers_dense(x) and kernel.supports(x.values)


def _is_worth_it(module: nn.RNNBase, x: Block | Packed, fields: tuple[Tensor, ...]) -> bool:
    if isinstance(x, Packed) and _is_padded(module, x):
        return True
    return _compiles(module, x, fields) and not _kernel(module, 0).is_fast(x)


def _compiles(module: nn.RNNBase, x: AnyBatch, fields: tuple[Tensor, ...]) -> bool:
    """Whether the compiled engine can run this."""
    values = x.values
    weights = [weight for layer in module.all_weights for weight in layer]
    return (
        x.batch_size > 0
        and values.device.type == "cpu"
        and values.dtype in (torch.float32, torch.float64)
        and is_plain_eager(values, *fields, *weights)
        and all(weight.dtype == values.dtype and weight.device == values.device for weight in weights)
    )


def _given(module: nn.RNNBase, x: AnyBatch, hx: Any, *, alone: bool = False) -> tuple[Tensor, ...] | None:
    """The fields of the state [L*D, B, H], zeros where there is no `hx`; None where something does not fit."""
    if x.values.shape[-1] != module.input_size:
        return None
    if hx is None:
        return _zeros(module, x)
    given = hx if isinstance(hx, tuple) else (hx,)
    if isinstance(hx, tuple) != (module.mode == "LSTM") or not all(isinstance(field, Tensor) for field in given):
        return None
    if alone:
        given = tuple(field.unsqueeze(1) for field in given)
    fits = _fits(module, given, x.batch_size)
    return given if fits and all(field.dtype == x.values.dtype for field in given) else None


def _run_known(
    module: nn.RNNBase, x: Batch, hx: tuple[Tensor, ...] | None, drop: Drop
) -> tuple[Batch, tuple[Tensor, ...]] | None:
    """As `_run_layers`, where all of the first layer is known from a call before; None where something is not so."""
    if torch.compiler.is_compiling() or 0 not in _cells.of.get(module, ()):
        return None
    weights, after = module.all_weights, []
    for layer in range(module.num_layers):
        indices = _directions(module, layer)
        cells = [_cell(module, index, weights[index]) for index in indices]
        begin = [None] * len(cells) if hx is None else _begin(module, indices, hx)
        found = again(cells, x, begin, (False, True)[: len(cells)], engine="auto")
        if found is None:
            hx = _zeros(module, x) if hx is None else hx
            if layer == 0 or not _compiles(module, x, hx):
                return None
            found = _run_layer(module, indices, x, hx)
        x, ends = _joined(module, layer, x, found, drop)
        after += ends
    return x, _stacked(after)


def _run_layers(module: nn.RNNBase, x: Batch, hx: tuple[Tensor, ...], drop: Drop) -> tuple[Batch, tuple[Tensor, ...]]:
    after: list[Any] = []
    for layer in range(module.num_layers):
        x, ends = _joined(module, layer, x, _run_layer(module, _directions(module, layer), x, hx), drop)
        after += ends
    return x, _stacked(after)


def _directions(module: nn.RNNBase, layer: int) -> range:
    """The numbers of a layer's directions among all."""
    count = 2 if module.bidirectional else 1
    return range(layer * count, (layer + 1) * count)


def _begin(module: nn.RNNBase, indices: Sequence[int], hx: tuple[Tensor, ...]) -> list[Any]:
    """The state with which each direction begins."""
    kind = _state_type(module)
    return [kind(*(field[index] for field in hx)) for index in indices]


def _joined(
    module: nn.RNNBase, layer: int, x: Batch, found: Sequence[tuple[Tensor, Any]], drop: Drop
) -> tuple[Batch, list[Any]]:
    """The outputs of a layer, and the last state of each direction, from what its directions give."""
    outputs = [values for values, _ in found]
    y: Any = x.replace(torch.cat(outputs, dim=-1) if len(outputs) > 1 else outputs[0])
    if module.dropout and module.training and layer + 1 < module.num_layers:
        y = y.map(drop)
    return y, [end for _, end in found]


def _stacked(states: Sequence[Any]) -> tuple[Tensor, ...]:
    """The fields of all states [L*D, B, H]."""
    return tuple(torch.stack(field) for field in zip(*states, strict=True))


def _run_layer(module: nn.RNNBase, indices: Sequence[int], x: AnyBatch, hx: tuple[Tensor, ...]) -> Any:
    """Outputs and last state of each direction."""
    begin = _begin(module, indices, hx)

    def fresh(batch_size: int) -> Any:
        return _state_type(module)(*(field.new_zeros(batch_size, field.shape[2]) for field in hx))

    runs: list[Callable[[Any, Any], tuple[Tensor, Any]]]
    if torch.compiler.is_dynamo_compiling() and isinstance(x, Block):
        runs = [functools.partial(_traced().run, module, index) for index in indices]
    elif torch.compiler.is_compiling():
        runs = [functools.partial(by_kernel, _kernel(module, index)) for index in indices]
    else:
        weights = module.all_weights
        cells = [_cell(module, index, weights[index]) for index in indices]
        both = scan_both(cells, x, begin, engine="auto") if len(cells) == 2 else None
        if both is not None:
            return both
        runs = [functools.partial(ENGINES["auto"], cell) for cell in cells]
    return [
        run_segments(run, x, state, fresh, reverse=direction == 1)
        for direction, (run, state) in enumerate(zip(runs, begin, strict=True))
    ]


def _traced() -> Any:
    # imported when first used, by a statement that Dynamo follows
    from recurra.nn import traced

    return traced


def _kernel(module: nn.RNNBase, index: int) -> TorchKernel:
    mode: Any = module.mode.lower()
    return TorchKernel(mode, lambda: module.all_weights[index], module.bias)


class _Cells(threading.local):
    """The cells of modules: for each thread its own, as each call hands its weights to them."""

    def __init__(self) -> None:
        self.of: weakref.WeakKeyDictionary[nn.RNNBase, dict[int, Cell]] = weakref.WeakKeyDictionary()


_cells = _Cells()


def _cell(module: nn.RNNBase, index: int, weights: Sequence[Any]) -> Cell:
    """The cell of one direction of one layer, with the weights that the module has now."""
    own = _cells.of.setdefault(module, {})
    cell = own.get(index)
    if cell is None:
        sizes = weights[0].shape[1], module.hidden_size, module.proj_size
        cell = own[index] = new_cell(module.mode, *sizes, module.bias)
    for name, weight in zip(weight_names(module), weights, strict=False):
        cell._parameters[name] = weight  # whatever made it: a parametrization gives a tensor
    return cell


def _shapes(module: nn.RNNBase, batch_size: int) -> list[tuple[int, int, int]]:
    layers = module.num_layers * (2 if module.bidirectional else 1)
    h = (layers, batch_size, module.proj_size or module.hidden_size)
    return [h, (layers, batch_size, module.hidden_size)] if module.mode == "LSTM" else [h]


def _zeros(module: nn.RNNBase, x: AnyBatch) -> tuple[Tensor, ...]:
    return tuple(x.values.new_zeros(shape) for shape in _shapes(module, x.batch_size))


def _fits(module: nn.RNNBase, fields: Any, batch_size: int) -> bool:
    shapes = _shapes(module, batch_size)
    return len(fields) == len(shapes) and all(
        isinstance(field, Tensor) and field.shape == shape for field, shape in zip(fields, shapes, strict=True)
    )
