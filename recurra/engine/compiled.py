"""The compiled engine: one time step as fused forward and backward kernels.

This file is the door: it knows what was compiled for which cell, says what cannot be run, and runs the rest.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.nn.parameter import is_lazy

from recurra.engine.autograd import Part, scanned
from recurra.engine.block import AnyBatch, Block, family, template
from recurra.engine.cell_code import Compiled
from recurra.engine.checkpointed import ScanAgain
from recurra.engine.contract import Cell
from recurra.engine.cpu.tiling import Layout
from recurra.engine.locks import Lock
from recurra.engine.memory import has_memory, in_memory
from recurra.engine.products import has_bf16, is_plain_eager
from recurra.engine.reading import Look, Reading, hooks_on_all, read, what_changed
from recurra.engine.ready import Known, Ready
from recurra.engine.trace import Unsupported, line_of
from recurra.errors import CompileError, RecurraError, warn

__all__ = [
    "alone",
    "compiled",
    "forget_oldest",
    "obstacle",
    "obstacle_of_cell",
    "ready_for",
    "run",
    "run_again",
    "run_both",
]

T = TypeVar("T")

_PRECISIONS = ({torch.float32}, {torch.float64})
_MANY = 8  # versions of a cell, as many as torch.compile makes
_MOST = 32  # that are kept
_HALVES = (torch.bfloat16, torch.float16)
_compiling = Lock()
_is_alone: ContextVar[bool] = ContextVar("in a thread that traces", default=False)
_known: weakref.WeakKeyDictionary[Cell, dict[Any, Compiled | CompileError]] = weakref.WeakKeyDictionary()


def _settle() -> None:
    """Make torch's first fake tensors in a thread that lives on.

    Where torch was built for CUDA and sees no GPU, it keeps a pointer into that thread and crashes when it is gone. The
    threads that trace must go: one that sleeps after it has used OpenMP counts as busy, and torch's own threads then
    wait for each other the slow way, in all that the process does.
    """
    done = threading.Event()

    def begin() -> None:
        with FakeTensorMode():
            done.set()

    def begin_and_stay() -> None:
        begin()
        threading.Event().wait()

    if threading.current_thread() is threading.main_thread():
        begin()
    elif torch.version.cuda is not None:
        try:
            threading.Thread(target=begin_and_stay, name="recurra", daemon=True).start()
        except RuntimeError:  # the main thread has ended, and from Python 3.12 on none begins then: this one stays
            begin()
        done.wait()


_settle()


def compiled(cell: Cell, dtype: torch.dtype, reading: Reading | None = None) -> Compiled:
    """What was compiled for a cell, now or before.

    Args:
        cell: the cell.
        dtype: the precision.
        reading: of the cell, where there is one already.

    Raises:
        CompileError: the step holds an operation that has no compiled form; the message names its line.
        TraceError: the step branches on the value of a tensor.
    """
    reading = reading or read(cell)
    key = (dtype, reading.key)
    versions = _known.setdefault(cell, {})
    found = versions.get(key)
    if found is None:
        if len(versions) >= _MANY:
            _say_changing(type(cell).__name__, what_changed([*versions][-1][1], reading.key))
        found = versions[key] = alone(lambda: versions.get(key) or _try(cell, dtype))
        forget_oldest(versions)
    if isinstance(found, CompileError):
        raise found
    reading.look.note(dtype, found)
    return found


def forget_oldest(versions: dict[Any, Any]) -> None:
    """Keep what was made last for the versions of a cell."""
    for oldest in [*versions][:-_MOST]:
        versions.pop(oldest, None)


@functools.cache  # once for each attribute
def _say_changing(kind: str, attribute: str) -> None:
    if attribute:
        warn(
            f"`{kind}` has been compiled {_MANY} times: `{attribute}` changes again and again, and code is made for "
            "each of its values. A number that changes belongs in a buffer, which is read at every call."
        )


def alone(make: Callable[[], T]) -> T:
    """What a function that traces returns: one runs at a time, as torch traces no two, and in a thread of its own.

    The caller's may be in some mode: under autocast another step would be traced, and hooks on saved tensors must not
    see the tensors of a trace. Where a step that is looked at runs a scan itself, this is such a thread already.
    """
    if _is_alone.get():
        return make()
    with _compiling, ThreadPoolExecutor(1, initializer=_is_alone.set, initargs=(True,)) as other:
        try:
            task = other.submit(make)
        except RuntimeError:  # the main thread has ended: this thread goes on, but no pool takes work any more
            return make()
        return task.result()


def _try(cell: Cell, dtype: torch.dtype) -> Compiled | CompileError:
    try:
        return Compiled(cell, dtype)
    except Unsupported as error:
        line = line_of(cell, error.op, dtype)
        return CompileError(f"`{type(cell).__name__}.step`{line and f' ({line})'}: {error}")
    except CompileError as error:
        return error
    except RecurraError:
        raise
    except Exception as error:  # whatever goes wrong in here, the reference engine runs the step as it is written
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        return CompileError(f"`{type(cell).__name__}.step` has no compiled form, for a reason of ours: {why}")


def obstacle(reading: Reading, x: Tensor) -> str:
    """Why inputs like these cannot be run, or "": on the CPU, in one precision, outside of tracers and transforms."""
    return _of_now(reading, x) or obstacle_of_cell(reading, x.dtype)


def obstacle_of_cell(reading: Reading, dtype: torch.dtype) -> str:
    """What of `obstacle` depends on the cell and the type of `x` alone."""
    if not dtype.is_floating_point and not dtype.is_complex:
        return f"it reads floats, `x` is {dtype}"
    tensors = (*reading.parameters.values(), *reading.buffers.values())
    if any(map(is_lazy, tensors)):
        return "a parameter has no shape before the first step: run one with engine='reference'"
    odd = [name for name, tensor in reading.parameters.items() if not has_memory(tensor)]
    odd += [
        name for name, tensor in reading.buffers.items() if tensor.layout is torch.strided and not has_memory(tensor)
    ]
    if odd:
        return f"`{odd[0]}` is sparse, or a tensor of a kind of its own"
    devices = sorted({str(tensor.device) for tensor in tensors if not tensor.is_cpu})
    if devices:
        return f"it runs on the CPU, the cell is on {', '.join(devices)}"
    types = {kind.to_real() for kind in (dtype, *[tensor.dtype for tensor in tensors])}
    if types in _PRECISIONS or {kind for kind in types if kind.is_floating_point} in _PRECISIONS:
        return ""
    found = ", ".join(sorted(str(kind) for kind in types if kind.is_floating_point))
    return f"it runs in float32 or float64 (products of bfloat16 under autocast), cell and `x` are {found}"


def _of_now(reading: Reading, x: Tensor) -> str:
    """What of `obstacle` may change from call to call."""
    if hooks_on_all():
        return "a hook on all modules is to be called at every step"
    if not x.is_cpu:
        return f"it runs on the CPU, `x` is on {x.device}"
    if reading.buffers and any(buffer.requires_grad for buffer in reading.buffers.values()):
        return "a buffer of the cell needs a gradient: make it a parameter"
    if not torch.is_autocast_enabled("cpu"):
        if not has_memory(x):
            return "`x` is sparse, or a tensor of a kind of its own"
        return "" if is_plain_eager(x) else "something traces or transforms the call"
    with torch.autocast("cpu", enabled=False):
        return _of_now(reading, x)


def _fitting(cell: Cell, reading: Reading, x: AnyBatch, state: Any) -> Compiled | str:
    """What was compiled for a cell, now or before, or why it cannot run these inputs from this state.

    Raises:
        CompileError, TraceError: see `compiled`.
    """
    values = x.values
    known: Compiled | None = reading.look.notes.get(values.dtype)  # then its types are some that can be run
    why = _of_now(reading, values) or ("" if known else obstacle_of_cell(reading, values.dtype))
    if why:
        return why
    precision = values.dtype.to_real()
    if any(field.dtype.to_real() is not precision or not field.is_cpu or not has_memory(field) for field in state):
        return "`state` is of another type than `x`"
    return known or compiled(cell, values.dtype, reading)


def run(cell: Cell, x: AnyBatch, state: Any, checkpoint_every: int | None = None) -> tuple[Tensor, Any]:
    """Run every sequence from its first step to its last, as `reference.run` does.

    Under autocast to bfloat16 it rounds the factors of products on processors that multiply them in hardware, and sums
    up in float32; all else, and under another autocast everything, is computed in the precision of the cell. Inputs and
    states that autocast made in half of it are taken as they are.

    Args:
        cell, x, state: see `reference.run`.
        checkpoint_every: keep the state at every k-th step alone, and run again what lies between on the way back.

    Raises:
        CompileError, TraceError: see `compiled`.
    """
    reading = read(cell)
    if torch.is_autocast_enabled("cpu"):
        x, state = _in_full(reading, x, state)
    code = _fitting(cell, reading, x, state)
    if isinstance(code, str):
        raise CompileError(f"The compiled engine cannot run `{type(cell).__name__}` here: {code}.")
    if not torch.is_autocast_enabled("cpu"):
        return _run(cell, code, reading, x, state, checkpoint_every)
    bf16 = torch.get_autocast_dtype("cpu") is torch.bfloat16 and x.values.dtype is torch.float32 and has_bf16()
    with torch.autocast("cpu", enabled=False):
        return _run(cell, code.in_bf16 if bf16 else code, reading, x, state, checkpoint_every)


def _in_full(reading: Reading, x: AnyBatch, state: Any) -> tuple[AnyBatch, Any]:
    """Inputs and state in float32, where they are of half its precision and the cell is not."""

    def full(values: Tensor) -> Tensor:
        return values.float() if values.dtype in _HALVES and values.is_cpu else values

    tensors = (*reading.parameters.values(), *reading.buffers.values())
    if {tensor.dtype for tensor in tensors if tensor.is_floating_point()} != {torch.float32}:
        return x, state
    return x.replace(full(x.values)), type(state)(*map(full, state))


def run_both(cells: Sequence[Cell], batches: Sequence[Any], states: Sequence[Any]) -> list[tuple[Tensor, Any]] | None:
    """Two scans at the same time, each as `run`; None where one of them cannot be run here, or is soon done.

    Raises:
        CompileError, TraceError: see `compiled`.
    """
    if torch.is_autocast_enabled("cpu"):
        return None
    parts: list[Part] = []
    tensors: list[Tensor] = []
    for cell, x, state in zip(cells, batches, states, strict=True):
        reading = read(cell)
        code = _fitting(cell, reading, x, state)
        if isinstance(code, str):
            return None
        part = Part(cell, code, Layout.of(x))
        if not code.is_long(part.layout):
            return None
        tensors += _tensors(part, reading, x, state)
        parts.append(_with_ready(part, reading.look, x, state))
    found = scanned(parts, _keeps(tensors), tensors)
    return [_whole(part, _plane_axis(x), *result) for part, x, result in zip(parts, batches, found, strict=True)]


def _run(
    cell: Cell, code: Compiled, reading: Reading, x: AnyBatch, state: Any, every: int | None
) -> tuple[Tensor, Any]:
    part = Part(cell, code, Layout.of(x))
    tensors = _tensors(part, reading, x, state)
    keep = _keeps(tensors)
    if every is not None and keep:
        output, *after = ScanAgain.apply(cell, code, part.layout, every, *tensors)
        return _whole(part, _plane_axis(x), output, cell.State(*after))
    (result,) = scanned([_with_ready(part, reading.look, x, state)], keep, tensors)
    return _whole(part, _plane_axis(x), *result)


def _with_ready(part: Part, look: Look, x: AnyBatch, state: Any) -> Part:
    """The part with what is known of scans like it, now or before; as it is where that would not last."""
    if part.code.bf16:
        return part
    found = ready_for(look, x)
    places, constants = look.places, part.code.constants
    if found is None and look.is_kept and all(name in places for name in constants):
        found = Ready(part.cell, part.code, part.layout, [places[name] for name in constants], state)
        for key in (template(x), family(x)):
            if key is not None:
                look.note(key, found)
    return part._replace(ready=found)


def ready_for(look: Look, x: AnyBatch) -> Ready | None:
    """What is known of scans over such a batch, or else of those over shorter and longer ones."""
    own = template(x)
    found: Ready | None = None if own is None else look.notes.get(own)
    if found is not None:
        return found
    kin = family(x)
    like: Ready | None = None if kin is None else look.notes.get(kin)
    if like is None:
        return None
    found = like.resized(Layout.of(x))
    if own is not None:
        look.note(own, found)
        look.note(kin, like)  # the last to be forgotten
    return found


def run_again(scans: Sequence[Known], x: AnyBatch) -> list[tuple[Tensor, Any]]:
    """As `run` and `run_both`, where what is to be found out is known: what each scan over the batch gives."""
    axis = _plane_axis(x)
    parts: list[Part] = []
    tensors: list[Tensor] = []
    for cell, ready, found, state in scans:
        parts.append(Part(cell, ready.code, ready.layout, ready))
        own = tuple(map(in_memory, (*[found[place] for place in ready.places], x.values, *state)))
        tensors += ready.code.complexes.in_planes(own, axis) if ready.code.complexes.any else own
    results = scanned(parts, _keeps(tensors), tensors)
    return [_whole(part, axis, *result) for part, result in zip(parts, results, strict=True)]


def _tensors(part: Part, reading: Reading, x: AnyBatch, state: Any) -> tuple[Tensor, ...]:
    constants = (reading.tensor(part.cell, name) for name in part.code.constants)
    found = tuple(map(in_memory, (*constants, x.values, *state)))
    return part.code.complexes.in_planes(found, _plane_axis(x)) if part.code.complexes.any else found


def _whole(part: Part, axis: int, output: Tensor, state: Any) -> tuple[Tensor, Any]:
    """What a scan gives, complex again where the step is; planes of the output stand at an axis."""
    if not part.code.complexes.any:
        return output, state
    output, fields = part.code.complexes.results(output, state, axis)
    return output, part.cell.State(*fields)


def _plane_axis(x: AnyBatch) -> int:
    return 2 if isinstance(x, Block) else 1


def _keeps(tensors: Sequence[Tensor]) -> bool:
    """Whether a backward pass may come: autograd asks which inputs need a gradient, not if anybody may ask for one."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
