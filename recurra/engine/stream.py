"""Sequences that arrive step by step: `Stream` keeps their state and answers each step at once.

A step of a small network is a few microseconds of arithmetic, less than one call through torch's dispatcher. So a
stream lowers the whole network, all layers and what stands between them, into one piece of machine code, packs the
weights for it once, and a push is: copy x, one call, copy y.
"""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from recurra.checks import check_count
from recurra.engine.compiled import alone, compiled, forget_oldest, obstacle
from recurra.engine.complex_numbers import from_planes, planes
from recurra.engine.contract import Cell
from recurra.engine.made_weights import make_weights
from recurra.engine.memory import in_memory
from recurra.engine.reading import read, tensor_at
from recurra.engine.state_class import state_class
from recurra.engine.step_code import StepCode, StepMemory
from recurra.engine.trace import copied
from recurra.errors import CompileError, RunError, ShapeError, TraceError, reason_of, warn
from recurra.files import write_whole
from recurra.shapes import describe, shape_text, size_text

__all__ = ["Steps", "Stream"]

Array = TypeVar("Array", np.ndarray, Tensor)


class Steps(Protocol):
    """What a network must have to be streamed, as `recurra.Recurrent` does."""

    engine: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input of one sequence."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one output of one sequence."""

    @property
    def cells(self) -> list[Cell]:
        """The cells of all layers, in the order of their states."""

    def step(self, x: Tensor, state: Sequence[Any]) -> tuple[Tensor, tuple[Any, ...]]:
        """One time step of all layers."""

    def initial_state(self, batch_size: int, *, dtype: Any = None, device: Any = None) -> tuple[Any, ...]:
        """The states before the first step."""

    def as_state(self, state: Any, batch_size: int, *, like: Tensor) -> tuple[Any, ...]:
        """Check states that a user hands in."""


class Stream:
    """One or many live sequences: push what arrives, get the outputs, the state is kept.

        stream = network.stream()                     # one sequence
        output = stream.push(x)                       # x [I] -> output [O], numpy to numpy, torch to torch
        outputs = stream.push(chunk)                  # chunk [T, 1, I] -> outputs [T, 1, O]

        stream = network.stream(batch_size=16)        # sixteen sequences that go side by side
        outputs = stream.push(x)                      # x [16, I] -> outputs [16, O]
        stream.reset(rows=[3])                        # the fourth one begins anew

    A stream answers as the network does in evaluation: nothing is dropped and nothing is differentiated, whichever mode
    the network itself is in. Weights are read when the stream is made; after training on, call `refresh`. Numbers come
    out in the precision of the network. A stream is used by one thread at a time; streams of one network share their
    machine code. A copy, or what comes out of a pickle, stands where the stream stood, and has the weights that the
    network has at that moment.

    Args:
        network: anything with a step, such as `recurra.Recurrent`, in one direction.
        batch_size: B, sequences side by side.

    Attributes:
        batch_size: B.
        is_compiled: whether a step is one call of machine code; otherwise it is the step of the network, run by torch.

    Raises:
        ConfigError: `batch_size` is no number of sequences, or the network runs in both directions.
        CompileError: the network was made with `engine="compiled"` and cannot be compiled.
        TraceError: a step branches on the value of a tensor.
    """

    def __init__(self, network: Steps, batch_size: int = 1) -> None:
        self.batch_size = check_count("batch_size", batch_size)
        self._network = network
        twin = _in_evaluation(network)
        self._initial = _Whole(twin).initial_state(batch_size)
        self._like = _example(twin)
        code = _code_of(network, twin)
        self._runner: _Machine | _ByTorch
        if code is None:
            self._runner = _ByTorch(twin, batch_size)
        else:
            self._runner = _Machine(code, twin, batch_size)
        self.is_compiled = code is not None
        self._views = self._runner.views
        into, _ = next(iter(self._views.values()))
        self._kinds = "biufc" if into.dtype.kind == "c" else "biuf"
        self._step = self._runner.step
        self.reset()

    # --- running -----------------------------------------------------------------------------------------------------

    def push(self, x: Array) -> Array:
        """Go on by one step, or by all steps of a chunk.

        Shapes: x [I] (for one sequence), [B, I], or a chunk [T, B, I] -> outputs [O], [B, O] or [T, B, O], of the kind
            of x: an array of numpy or a tensor on the CPU. For I and O stand the network's input_shape and
            output_shape, where these are more than one size.

        Raises:
            ShapeError: x has another shape, is neither, or holds something else than numbers.
        """
        if type(x) is not np.ndarray and isinstance(x, np.ndarray):  # one that is mapped from a file, say
            if np.ma.is_masked(x):
                raise ShapeError("`x` must have a number in every place, got masked ones: fill them.")
            x = np.asarray(x)
        if type(x) is np.ndarray:
            views = self._views.get(x.shape)
            if views is not None and x.dtype.kind in self._kinds:
                into, out = views
                into[...] = x
                self._step()
                return out.copy()
            return self._push_chunk(x)
        if isinstance(x, Tensor):
            numbers = in_memory(x.detach()).cpu()
            numbers = numbers if numbers.dtype in _NUMPY_HAS else numbers.float()
            return torch.from_numpy(self.push(numbers.numpy()))
        raise ShapeError(f"`x` must be an array of numpy or a tensor, got {describe(x)}.")

    def _push_chunk(self, x: np.ndarray) -> np.ndarray:
        shape = self._network.input_shape
        if x.dtype.kind == "c" and not self._like.is_complex():
            raise ShapeError(f"`x` must be real, as weights of the network are, got {x.dtype}.")
        if x.dtype.kind not in "biufc":  # numpy makes numbers of dates and of some words
            raise ShapeError(f"`x` must be an array of numbers, got {x.dtype}.")
        if x.ndim != 2 + len(shape) or x.shape[1:] != (self.batch_size, *shape):
            one = f"{shape_text(I=shape)}, " if self.batch_size == 1 else ""
            batch, chunk = (shape_text(*steps, f"B={self.batch_size}", I=shape) for steps in ("", "T"))
            raise ShapeError(f"`x` must have shape {one}{batch} or {chunk}, got {list(x.shape)}.")
        return self._runner.chunk(x)

    def refresh(self) -> None:
        """Read the weights of the network again; the state stays."""
        twin = _in_evaluation(self._network)
        self._initial = _Whole(twin).initial_state(self.batch_size)
        self._runner.refresh(twin)

    # --- state -------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> tuple[Any, ...]:
        """The states of all layers, as the network takes and gives them; a copy, and it can be set."""
        fields = [
            _shaped(field, initial).to(initial.device, initial.dtype, copy=True)
            for field, initial in zip(self._runner.states, self._initial, strict=True)
        ]
        return _Whole(self._network).divide(fields)

    @state.setter
    def state(self, state: Sequence[Any]) -> None:
        checked = self._network.as_state(state, self.batch_size, like=self._like)
        self._write([field for one in checked for field in one])

    def reset(self, rows: int | Sequence[int] | Tensor | np.ndarray | None = None) -> None:
        """Begin anew: all sequences, or those of some rows.

        Args:
            rows: a row, several, or a mask of bools [B].

        Raises:
            ShapeError: there is no such row.
        """
        if rows is None:
            self._write(self._initial)
            return
        index = _rows(rows, self.batch_size)
        for field, initial in zip(self._runner.states, self._initial, strict=True):
            field[index] = _laid(initial, field)[index].to(field)

    def _write(self, fields: Sequence[Tensor]) -> None:
        for field, value in zip(self._runner.states, fields, strict=True):
            field.copy_(_laid(value, field))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a safetensors file, whole or not at all.

        Raises:
            RunError: the file cannot be written.
        """
        content = safetensors.torch.save(self._named_state(), {"format": "recurra.stream", "version": "1"})
        try:
            write_whole(path, content, shared=True)
        except OSError as error:
            raise RunError(f"`{path}` could not be written ({reason_of(error)}).") from error

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on from a state that was saved, by this stream or by another of the same sizes.

        Raises:
            RunError: the file is missing, damaged, or of a network or a batch of other sizes; the state is unchanged.
        """
        try:
            stored = safetensors.torch.load(Path(path).read_bytes())
        except OSError as error:
            raise RunError(f"`{path}` could not be read ({reason_of(error)}).") from error
        except (SafetensorError, ValueError, KeyError) as error:
            raise RunError(f"`{path}` is damaged, or no state that a stream has saved.") from error
        want = self._named_state()
        if {name: value.shape for name, value in stored.items()} != {n: v.shape for n, v in want.items()}:
            raise RunError(
                f"`{path}` holds the state of other sizes: this stream has {_listed(want)}, the file {_listed(stored)}."
            )
        self._write([_shaped(stored[name], initial) for name, initial in zip(want, self._initial, strict=True)])

    def __reduce__(self) -> Any:
        """Copies and pickles: made anew from the network, which goes along, and put where this stream stands."""
        return _made_again, (self._network, self.batch_size, self.state)

    def _named_state(self) -> dict[str, Tensor]:
        return {
            f"{layer}.{name}": planes(field, 1).contiguous()
            for layer, one in enumerate(self.state)
            for name, field in zip(one._fields, one, strict=True)
        }

    def __repr__(self) -> str:
        how, network = "compiled" if self.is_compiled else "by torch", self._network
        sizes = f"{size_text(network.input_shape)} -> {size_text(network.output_shape)}"
        return f"Stream({sizes}, batch_size={self.batch_size}, {how})"


def _made_again(network: Steps, batch_size: int, state: Sequence[Any]) -> Stream:
    stream = Stream(network, batch_size)
    stream.state = tuple(state)
    return stream


_NUMPY_HAS = (
    torch.complex64,
    torch.complex128,
    torch.float32,
    torch.float64,
    torch.float16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
)


# --- the network as one cell -----------------------------------------------------------------------------------------


class _Whole(Cell):
    """A network's step as the step of one cell, with the fields of all layers in one state."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self._kinds = [cell.State for cell in network.cells]
        names = (f"layer{layer}_{name}" for layer, kind in enumerate(self._kinds) for name in kind._fields)
        self._state = state_class("State", tuple(names))

    @property
    def State(self) -> Any:
        """The fields of all layers."""
        return self._state

    @property
    def input_shape(self) -> tuple[int, ...]:
        """That of the network."""
        shape: tuple[int, ...] = self.network.input_shape
        return shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """That of the network."""
        shape: tuple[int, ...] = self.network.output_shape
        return shape

    def divide(self, fields: Sequence[Tensor]) -> tuple[Any, ...]:
        """The states of the layers from all fields."""
        left = list(fields)
        return tuple(kind(*(left.pop(0) for _ in kind._fields)) for kind in self._kinds)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        output, after = self.network.step(x, self.divide(state))
        return output, self.State(*(field for one in after for field in one))

    def initial_state(self, batch_size: int, *, dtype: Any = None, device: Any = None) -> Any:
        states = self.network.initial_state(batch_size, dtype=dtype, device=device)
        return self.State(*(field for one in states for field in one))


def _in_evaluation(network: Any) -> Any:
    """A copy in evaluation mode; the network itself may be training in another thread."""
    with torch.inference_mode(False), torch.no_grad():  # tensors of that mode cannot be traced
        twin = copied(network).eval()
        make_weights(twin)
        return twin


_known: weakref.WeakKeyDictionary[Any, dict[Any, StepCode | CompileError]] = weakref.WeakKeyDictionary()


def _code_of(network: Any, twin: Any) -> StepCode | None:
    """Machine code for the network's step, or None where torch must run it."""
    if network.engine in ("reference", "torch"):
        return None
    like = _example(twin)
    whole = _Whole(twin)
    why = obstacle(read(whole), like.new_empty(0)) or _other_types(whole, like.dtype)
    found: StepCode | CompileError
    if why:
        found = CompileError(f"A stream of this network has no compiled form: {why}.")
    else:
        versions = _known.setdefault(network, {})
        key = (like.dtype, read(network).key)
        found = versions.get(key) or versions.setdefault(key, _compile(whole, like.dtype))
        forget_oldest(versions)
    if not isinstance(found, CompileError):
        return found
    if network.engine == "compiled":
        raise found
    _say_slow(str(found))
    return None


def _example(network: nn.Module) -> Tensor:
    """A tensor of the type and on the device of the weights, fixed ones where none is learned."""
    tensors = [*network.parameters(), *network.buffers()]
    kinds = (Tensor.is_floating_point, Tensor.is_complex)  # where all weights are complex, so are the inputs
    return next((tensor for is_kind in kinds for tensor in tensors if is_kind(tensor)), torch.empty(0))


def _other_types(whole: _Whole, dtype: torch.dtype) -> str:
    types = {field.dtype.to_real() for field in whole.initial_state(1)} - {dtype.to_real(), torch.bool}
    return f"its state holds {', '.join(sorted(map(str, types)))}" if types else ""


def _compile(whole: _Whole, dtype: torch.dtype) -> StepCode | CompileError:
    try:
        return alone(lambda: StepCode(whole, dtype))
    except (CompileError, TraceError) as error:
        try:
            for cell in whole.network.cells:  # one of them can name the line of its step
                compiled(cell, dtype)
        except CompileError as better:
            return better
        if isinstance(error, TraceError):
            raise
        return error


@functools.cache  # once for each reason
def _say_slow(why: str) -> None:
    warn(f"{why.rstrip('.')}. The stream runs on torch, operation by operation.")


# --- two ways to run it ----------------------------------------------------------------------------------------------


class _Machine:
    """Steps as machine code; `views` are those of `_views`."""

    def __init__(self, code: StepCode, network: Any, batch_size: int) -> None:
        self._code = code
        shapes = (network.input_shape, network.output_shape)
        self._memory = StepMemory(code, self._constants(network), batch_size, shapes)
        self.step = self._memory.step
        self.states = self._memory.states
        self.chunk = self._memory.chunk
        self.views = _views(self._memory.x, self._memory.y)

    def _constants(self, network: Any) -> list[Tensor]:
        with torch.no_grad():
            whole = _Whole(network)
            return [planes(tensor_at(whole, name), 0).detach() for name in self._code.plan.trace.constants]

    def refresh(self, network: Any) -> None:
        """Take over new weights."""
        self._memory.refresh(self._constants(network))


class _ByTorch:
    """Steps by torch, for what has no compiled form; `views` as above."""

    def __init__(self, network: Any, batch_size: int) -> None:
        self._whole = _Whole(network)
        self._like = _example(network)
        # numpy knows no bfloat16
        kind: Any = {"dtype": torch.promote_types(self._like.dtype, torch.float32), "device": "cpu"}
        self.states = [field.detach().clone() for field in self._whole.initial_state(batch_size)]
        self._x = torch.zeros(batch_size, *network.input_shape, **kind)
        if any(map(Tensor.is_complex, (self._like, *self.states))) and self._stepped()[0].is_complex():
            kind["dtype"] = kind["dtype"].to_complex()
        self._y = torch.zeros(batch_size, *network.output_shape, **kind)
        self.views = _views(self._x.numpy(), self._y.numpy())

    def step(self) -> None:
        """One step."""
        with torch.no_grad():
            output, after = self._stepped()
            self._y.copy_(output)
            for field, value in zip(self.states, [value.clone() for value in after], strict=True):
                field.copy_(value)

    @torch.no_grad()
    def _stepped(self) -> tuple[Tensor, Any]:
        x = self._x.to(self._like.device, self._like.dtype)
        return self._whole.step(x, self._whole.State(*self.states))

    def chunk(self, x: np.ndarray) -> np.ndarray:
        """Several steps."""
        outputs = np.zeros((*x.shape[:2], *self._y.shape[1:]), self._y.numpy().dtype)
        for row, output in zip(x, outputs, strict=True):
            self._x.numpy()[...] = row
            self.step()
            output[...] = self._y.numpy()
        return outputs

    def refresh(self, network: Any) -> None:
        """Take over new weights."""
        self._whole = _Whole(network)


def _views(x: np.ndarray, y: np.ndarray) -> dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]]:
    """For each shape of one step: where x goes and where the output stands."""
    views = {x.shape: (x, y)}
    if len(x) == 1:
        views[x.shape[1:]] = (x[0], y[0])
    return views


def _laid(value: Tensor, field: Tensor) -> Tensor:
    """A field of the state of a network as a field of its stream, which may be flat, and of planes."""
    value = value.detach()
    return (value if field.is_complex() else planes(value, 1)).reshape(field.shape)


def _shaped(field: Tensor, initial: Tensor) -> Tensor:
    """The inverse, in the shape of the field before the first step."""
    if field.is_complex() or not initial.is_complex():
        return field.reshape(initial.shape)
    return from_planes(field.reshape(len(initial), 2, *initial.shape[1:]), 1)


# --- small words -----------------------------------------------------------------------------------------------------


def _rows(rows: Any, batch_size: int) -> Tensor:
    try:
        index = torch.as_tensor(rows, device="cpu").reshape(-1)
    except (TypeError, ValueError, RuntimeError):  # a word, a slice or another thing that is no number
        index = torch.tensor([torch.nan])
    if index.dtype == torch.bool and len(index) == batch_size:
        return index.nonzero().flatten()
    if index.numel() == 0:
        return index.long()
    whole = not index.dtype.is_floating_point and index.dtype != torch.bool
    if not whole or int(index.min()) < -batch_size or int(index.max()) >= batch_size:
        raise ShapeError(
            f"`rows` must be rows from 0 to {batch_size - 1}, or a mask of {batch_size} bools, got {rows}."
        )
    return index.long()


def _listed(tensors: dict[str, Tensor]) -> str:
    return ", ".join(f"{name} {list(value.shape)}" for name, value in sorted(tensors.items())) or "nothing"
