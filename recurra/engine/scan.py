"""The one door to the engines: `scan` runs a cell over time."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence

from recurra.checks import check_bool, check_count
from recurra.engine import reference
from recurra.engine.block import AnyBatch, Block, Packed, Reversed
from recurra.engine.contract import Cell, expect_cell, kernel_of
from recurra.engine.kernel import Kernel
from recurra.engine.made_weights import make_weights
from recurra.engine.products import is_autocast, is_plain_eager
from recurra.engine.reading import hooks_on_all
from recurra.engine.ready import Known
from recurra.errors import CompileError, ConfigError, RecurraError, ShapeError, did_you_mean, warn
from recurra.ragged import Ragged
from recurra.shapes import describe, shape_text

__all__ = [
    "ENGINES",
    "again",
    "as_batch",
    "by_kernel",
    "engine_in_use",
    "engine_named",
    "goes_to_eager",
    "in_eager",
    "run_segments",
    "scan",
    "scan_both",
]

Inputs = TypeVar("Inputs", Tensor, Ragged, Block)
Engine = Callable[[Cell, AnyBatch, Any], tuple[Tensor, Any]]
RaggedEngine = Callable[[Cell, Ragged, Any], tuple[Tensor, Any]]


def _auto(cell: Cell, x: AnyBatch, state: Any) -> tuple[Tensor, Any]:
    if torch.compiler.is_compiling():
        return _auto_traced(cell, x, state)
    kernel = kernel_of(cell)
    if kernel is not None and _is_faster(kernel, x):
        return by_kernel(kernel, x, state)
    try:
        return _compiled(cell, x, state)
    except CompileError as error:
        return _by_torch(kernel, cell, x, state, str(error), may_fail=error.step_fails)


def _auto_traced(cell: Cell, x: AnyBatch, state: Any) -> tuple[Tensor, Any]:
    """As `_auto`, under torch.compile and torch's tracers: of a graph one call is worth more than a faster kernel.

    Of one step torch.compile makes kernels itself.
    """
    found = _as_operator(cell, x, state) if x.max_length > 1 else ""
    return _by_torch(kernel_of(cell), cell, x, state) if isinstance(found, str) else found


def _as_operator(cell: Cell, x: AnyBatch, state: Any) -> tuple[Tensor, Any] | str:
    """The compiled engine as one call in the graph that is being traced, or why there is none."""
    if not torch.compiler.is_dynamo_compiling() or not isinstance(x, Block):
        return "something traces the call"
    # imported when first used, as `_compiler`, by a statement that Dynamo follows
    from recurra.engine import traced

    return traced.run(cell, x, state)


def _by_torch(
    kernel: Kernel | None, cell: Cell, x: AnyBatch, state: Any, why: str = "", *, may_fail: bool = False
) -> tuple[Tensor, Any]:
    """By a ready kernel, or else by the Python loop, with a word `why` it is that; after it where it may fail."""
    if kernel is not None and kernel.supports(x.values):
        return by_kernel(kernel, x, state)
    may_fail = bool(why) and (may_fail or _difference(cell, x) is not None)
    if why and not may_fail:
        _say_slow(why)
    found = _reference(cell, x, state)
    if why and may_fail:
        _say_slow(why)
    return found


def _is_faster(kernel: Kernel, x: AnyBatch) -> bool:
    """Whether a ready kernel runs this batch, and faster than a compiled step."""
    return kernel.is_fast(x) and kernel.supports(x.values)  # the question whose answer mostly is no comes first


@functools.cache  # once for each reason, and the reason names the cell
def _say_slow(why: str) -> None:
    warn(f"{why.rstrip('.')}. It runs on the reference engine, a Python loop over time.")


def _compiled(cell: Cell, x: AnyBatch, state: Any, checkpoint_every: int | None = None) -> tuple[Tensor, Any]:
    if torch.compiler.is_compiling():
        found = _as_operator(cell, x, state)
        if isinstance(found, str):
            raise CompileError(f"The compiled engine cannot run `{type(cell).__name__}` here: {found}.")
        return found
    result: tuple[Tensor, Any] = _compiler().run(cell, x, state, checkpoint_every)
    return result


@functools.cache
def _compiler() -> Any:
    # imported when first used: LLVM takes longer to load than the rest of this library
    return importlib.import_module("recurra.engine.compiled")


def _torch(cell: Cell, x: AnyBatch, state: Any) -> tuple[Tensor, Any]:
    kernel = kernel_of(cell)
    if kernel is None or not kernel.supports(x.values):
        raise CompileError(
            f"torch has no kernel that computes `{type(cell).__name__}({cell.extra_repr()})` on {x.values.dtype} "
            "exactly: use engine='auto' or 'reference'."
        )
    return by_kernel(kernel, x, state)


def by_kernel(kernel: Kernel, x: AnyBatch, state: Any) -> tuple[Tensor, Any]:
    """What a kernel computes of a batch of any kind, without resets, as an engine does."""
    run: Any = kernel.run
    if isinstance(x, Block) and getattr(kernel, "takes_blocks", False):
        with parametrize.cached():  # see `_as_ragged`
            return run(x, state)
    return _as_ragged(run, x, state)


def _as_ragged(run: Callable[[Ragged, Any], tuple[Tensor, Any]], x: AnyBatch, state: Any) -> tuple[Tensor, Any]:
    """What a function of a Ragged computes of a batch of any kind."""
    with parametrize.cached():  # a weight drawn anew for each sequence (weight drop) is drawn once a scan
        if isinstance(x, Ragged):
            return run(x, state)
        values, state = run(x.to_ragged(), state)
    return x.from_ragged(values), state


def _for_all(run: RaggedEngine) -> Engine:
    """An engine that takes every kind of batch from one that knows a Ragged alone."""
    return lambda cell, x, state: _as_ragged(functools.partial(run, cell), x, state)


def _reference(cell: Cell, x: AnyBatch, state: Any) -> tuple[Tensor, Any]:
    try:
        if not isinstance(x, Block):
            return _as_ragged(functools.partial(reference.run, cell), x, state)
        with parametrize.cached():  # see `_as_ragged`
            values, state = reference.run_padded(cell, x.turned(x.values), state)
    except RuntimeError as error:
        found = None if isinstance(error, RecurraError) else _difference(cell, x)
        if found is None:
            raise
        want, got = found
        expected = f"on {want}" if isinstance(want, str) else want
        way = f", or turn the cell by `cell.to({got!r})`" if getattr(got, "is_floating_point", True) else ""
        raise ShapeError(
            f"`x` must be {expected} as the parameters of `{type(cell).__name__}` are, got {got}: hand in "
            f"`x.to({want!r})`{way}."
        ) from error
    return x.turned(values), state


def _difference(cell: Cell, x: AnyBatch) -> tuple[Any, Any] | None:
    """The device of the parameters and another one of the inputs; or so the type, outside of autocast."""
    values = x.values
    devices = {str(each.device) for each in cell.parameters()}
    if len(devices) == 1 and str(values.device) not in devices:
        return devices.pop(), str(values.device)
    kinds = {each.dtype for each in cell.parameters() if each.is_floating_point()}
    if len(kinds) != 1 or values.dtype in kinds or values.is_complex():
        return None
    return None if is_autocast(values.device.type) else (kinds.pop(), values.dtype)


ENGINES: dict[str, Engine] = {
    "auto": _auto,  # the fastest engine that computes exactly the same
    "compiled": _compiled,  # kernels made from the step, or an error
    "reference": _reference,  # the Python loop
    "torch": _torch,  # torch's own kernels (oneDNN, cuDNN), or an error
}


def scan(
    cell: Cell,
    x: Inputs,
    state: Any = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    resets: Tensor | None = None,
    reverse: bool = False,
    engine: str = "auto",
    checkpoint_every: int | None = None,
) -> tuple[Inputs, Any]:
    """Run a cell over time.

        outputs, state = recurra.scan(cell, x)              # x [T, B, I] -> outputs [T, B, O]
        outputs, state = recurra.scan(cell, ragged)         # Ragged -> Ragged
        outputs, state = recurra.scan(cell, more, state)    # go on where the last call ended

    Shapes: x [T, B, I] or Ragged with values [N, I]; fields of state [B, ...] -> outputs [T, B, O] or Ragged with
        values [N, O], state. Where a cell has an `input_shape` and an `output_shape` of its own, as those of images
        do, these stand for I and O: x [T, B, *input_shape] -> outputs [T, B, *output_shape].

    Args:
        cell: any `recurra.Cell`.
        x: the inputs, padded and time-major, or ragged.
        state: the state before the first step (the last one, with `reverse`); the cell's initial state where not given.
        lengths: steps of each sequence, [B], for padded inputs; what stands beyond them is never read, outputs there
            are 0, and the returned state is that after each sequence's own last step.
        resets: bool [T, B], for padded inputs: True where the state begins anew just before that step. A Ragged
            carries its own.
        reverse: run from the last step of each sequence to its first; outputs stay in the order of the inputs.
        engine: `"auto"` takes the fastest engine that computes exactly the same, and warns once when that is the Python
            loop; `"compiled"` makes kernels from the step or says why it cannot; `"torch"` takes torch's own kernel;
            `"reference"` is the Python loop.
        checkpoint_every: for long sequences in little memory: keep the state at every k-th step, not what the steps
            between leave for the backward pass, and run these again then. On the compiled engine; k near the root of
            the length needs the least.

    Raises:
        ShapeError: inputs, lengths, resets or state have the wrong shape.
        ConfigError: `cell` is no cell, `reverse` no truth value, the engine is unknown, or `checkpoint_every` is no
            number of steps or meets another engine.
        CompileError: the engine that was asked for cannot run this cell.
    """
    if goes_to_eager(x, lengths, resets, checkpoint_every):
        options: dict[str, Any] = {"lengths": lengths, "resets": resets, "reverse": reverse, "engine": engine}
        return in_eager(scan, cell, x, state, checkpoint_every=checkpoint_every, **options)
    check_bool("reverse", reverse)
    if lengths is None and resets is None and checkpoint_every is None:
        known = again([cell], x, [state], [reverse], engine=engine)
        if known is not None:
            ((values, state),) = known
            return (values if isinstance(x, Tensor) else x.replace(values)), state
    expect_cell("cell", cell)
    make_weights(cell)
    named, in_use = engine_named(engine, checkpoint_every), _in_use.get() if _num_watching else None
    run = named if in_use is None else _for_all(in_use)
    batch = as_batch(x, cell.input_shape, lengths, resets, reader=type(cell).__name__)
    state = cell.as_state(state, batch.batch_size, like=batch.values)

    def forward(x: AnyBatch, state: Any) -> tuple[Tensor, Any]:
        return run(cell, x, state)

    def fresh(batch_size: int) -> Any:
        return cell.initial_state(batch_size, dtype=batch.values.dtype, device=batch.values.device)

    values, state = run_segments(forward, batch, state, fresh, reverse=reverse)
    outputs = batch.replace(values)
    return outputs.to_padded(num_steps=x.shape[0]) if isinstance(x, Tensor) else outputs, state


def again(
    cells: Sequence[Cell], x: Any, states: Sequence[Any], directions: Sequence[bool], *, engine: str
) -> list[tuple[Tensor, Any]] | None:
    """What scans over one batch give, where all that they would find out is known from scans like them; else None.

    That is so where a batch of this shape, of any lengths, has run on the compiled engine, and nothing of the cells has
    changed.

    Args:
        cells, states: of each scan.
        x: the batch, or padded inputs.
        directions: of each scan; True is from the last step to the first.
        engine: of all.

    Returns: of each scan the values of its outputs, and its state.
    """
    batch = _plain(x)
    if batch is None:
        return None
    scans: list[Known] = []
    for cell, state, reverse in zip(cells, states, directions, strict=True):
        known = _known(cell, _turned(batch) if reverse else batch, state, engine)
        if known is None:
            return None
        scans.append(known)
    run = _compiler().run_again
    if len(scans) == 1 or (_has_threads(batch, len(scans)) and all(known.ready.is_long for known in scans)):
        found: list[tuple[Tensor, Any]] = run(scans, batch)
        return found
    return [run([known], batch)[0] for known in scans]


def _turned(x: AnyBatch) -> AnyBatch:
    """The same steps, run the other way."""
    return Reversed(x) if isinstance(x, Ragged) else x.reverse()


def _plain(x: Any) -> AnyBatch | None:
    """The inputs of a scan as a batch of which nothing but sizes and strides matter; else None."""
    if _num_watching or torch.compiler.is_compiling():
        return None
    if type(x) is Tensor and x.layout is torch.strided:
        x = Block(x)
    if type(x) not in (Ragged, Block, Packed) or x.resets is not None:
        return None
    values = x.values
    if values.is_nested or not is_plain_eager(values) or not values.is_cpu or hooks_on_all():
        return None
    return x


def _known(cell: Cell, x: AnyBatch, state: Any, engine: str) -> Known | None:
    """All that a scan would find out, if it is known."""
    look = cell._identity.look if isinstance(cell, Cell) else None
    if look is None:
        return None
    ready = _compiler().ready_for(look, x) if look.notes else None
    if ready is None or not (engine == "compiled" or (engine == "auto" and _is_chosen(ready, cell, x))):
        return None
    tensors, state = look.tensors(cell), ready.state(cell, state)
    return None if tensors is None or state is None else Known(cell, ready, tensors, state)


def _has_threads(x: AnyBatch, count: int) -> bool:
    """Whether there are threads for so many scans over a batch at the same time, which one alone would leave idle."""
    return x.batch_size * count <= torch.get_num_threads() and x.max_length > 1


def _is_chosen(ready: Any, cell: Cell, x: AnyBatch) -> bool:
    """Whether "auto" takes the compiled engine for such a batch, as `_auto` says."""
    known: dict[int, bool] = ready.is_chosen
    threads = torch.get_num_threads()
    if threads not in known:
        kernel = kernel_of(cell)
        known[threads] = kernel is None or not _is_faster(kernel, x)
    return known[threads]


def scan_both(
    cells: Sequence[Cell], x: AnyBatch, states: Sequence[Any], *, engine: str
) -> list[tuple[Tensor, Any]] | None:
    """Both directions of a layer, the first cell forward and the second one back, at the same time where either alone
    would leave threads idle.

    Returns: for each direction what `scan` returns of it, the values of the outputs alone; None where a scan of each is
        as good, since each has work for all threads and more is to be found out, or where another engine runs them.
    """
    if torch.compiler.is_compiling():
        return None
    known = again(cells, x, states, (False, True), engine=engine)
    if known is not None:
        return known
    if not _has_threads(x, len(cells)) or x.resets is not None or _in_use.get() is not None:
        return None
    if engine not in ("auto", "compiled"):
        return None
    kernels = [kernel_of(cell) for cell in cells] if engine == "auto" else []
    if any(kernel is not None and _is_faster(kernel, x) for kernel in kernels):
        return None
    for cell in cells:
        make_weights(cell)
    given = [cell.as_state(state, x.batch_size, like=x.values) for cell, state in zip(cells, states, strict=True)]
    try:
        found: list[tuple[Tensor, Any]] | None = _compiler().run_both(cells, (x, _turned(x)), given)
    except CompileError:  # a scan of each says why, or takes another engine
        return None
    return found


_in_use: ContextVar[RaggedEngine | None] = ContextVar("engine in use", default=None)
_num_watching = 0  # threads that have one; Dynamo has guards on numbers and cannot read the other


@contextmanager
def engine_in_use(run: RaggedEngine) -> Iterator[None]:
    """Inside, every scan of this thread runs on `run`, whatever engine it names: how `recurra.inspect` looks on."""
    global _num_watching
    token = _in_use.set(run)
    _num_watching += 1
    try:
        yield
    finally:
        _num_watching -= 1
        _in_use.reset(token)


def goes_to_eager(x: Any, lengths: Any, resets: Any, checkpoint_every: int | None) -> bool:
    """Whether `torch.compile` is to leave a call to eager mode: where lengths and resets are looked at, where steps run
    again, and where somebody looks on."""
    is_odd = lengths is not None or resets is not None or checkpoint_every is not None or isinstance(x, Ragged)
    return (is_odd or _num_watching > 0) and torch.compiler.is_dynamo_compiling()


def in_eager(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a function between two graphs of `torch.compile`."""
    from recurra.engine import traced

    return traced.eagerly(function, *args, **options)


def engine_named(name: str, checkpoint_every: int | None = None) -> Engine:
    """The engine of a name.

    Raises:
        ConfigError: there is none, or `checkpoint_every` is no number of steps or meets another engine.
    """
    if name not in ENGINES:
        raise ConfigError(f"Unknown engine `{name}`.{did_you_mean(name, ENGINES)} All: {', '.join(ENGINES)}.")
    if checkpoint_every is None:
        return ENGINES[name]
    check_count("checkpoint_every", checkpoint_every)
    if name not in ("auto", "compiled"):
        raise ConfigError(f"`checkpoint_every` is of the compiled engine: take engine='auto', not {name!r}.")
    return functools.partial(_compiled, checkpoint_every=checkpoint_every)


def as_batch(x: Any, input_shape: tuple[int, ...], lengths: Any, resets: Tensor | None, *, reader: str) -> Any:
    """The inputs that a user hands in, checked, as one batch: a Ragged, or a Block where all lengths are equal.

    Args:
        x: padded inputs [T, B, *input_shape], or a batch with values [N, *input_shape].
        input_shape: of one step of one sequence.
        lengths: of padded inputs, [B] or None.
        resets: of padded inputs, bool [T, B] or None.
        reader: class of what reads them, for the message.

    Raises:
        ShapeError: the inputs have another shape, or lengths and resets stand beside a Ragged.
    """
    if isinstance(x, Ragged | Block):
        if lengths is not None or resets is not None:
            raise ShapeError("`lengths` and `resets` belong to padded inputs: a Ragged carries its own.")
        if x.values.shape[1 if isinstance(x, Ragged) else 2 :] != input_shape:
            expected = shape_text("N", I=input_shape)
            raise ShapeError(f"`x.values` must have shape {expected} for `{reader}`, got {describe(x.values)}.")
        return x
    if isinstance(x, Tensor) and x.is_nested:
        raise ShapeError("`x` is a nested tensor: give `Ragged.from_nested(x)`; `outputs.to_nested()` is the way back.")
    if isinstance(x, PackedSequence):
        raise ShapeError(
            "`x` is a PackedSequence: give `Ragged.from_packed(x)`; `outputs.to_packed()` is the way back."
        )
    if not isinstance(x, Tensor) or x.dim() < 2 or x.shape[2:] != input_shape:
        expected = shape_text("T", "B", I=input_shape)
        raise ShapeError(f"`x` must be a Ragged or have shape {expected} for `{reader}`, got {describe(x)}.")
    if lengths is None and resets is None:
        return Block(x)
    return Ragged.from_padded(x, lengths, resets=resets)


def run_segments(
    forward: Callable[[Any, Any], tuple[Tensor, Any]],
    x: AnyBatch,
    state: Any,
    fresh: Callable[[int], Any],
    *,
    reverse: bool = False,
) -> tuple[Tensor, Any]:
    """Turn resets into the ends of plain sequences.

    Args:
        forward: runs a batch without resets, of any kind, from a state, as an engine does.
        x: the sequences, with resets or without.
        state: a named tuple, the state before the first step in the order of running.
        fresh: the state after a reset, for a number of sequences.
        reverse: run from the last step of each sequence to its first.

    Returns: outputs [N, O] in the order of `x`, and the state after the last step in the order of running.
    """
    if isinstance(x, Ragged) and x.resets is not None:
        # in reverse no step comes before the end of the first one
        resets = x.resets[x.position[x.resets] > 0] if reverse else x.resets
        x = replace(x, resets=resets if len(resets) else None)
    if x.resets is None:
        return forward(_turned(x) if reverse else x, state)
    segments, origin = x.split_at_resets()
    changes = origin.diff() != 0
    edge = torch.ones(1, dtype=torch.bool, device=origin.device)
    # the segments of each sequence that stand first and last
    ends = [torch.cat(parts).nonzero().flatten() for parts in ((edge, changes), (changes, edge))]
    first, last = reversed(ends) if reverse else ends
    begin = type(state)(
        *(
            new.to(old.dtype).index_copy(0, first, old)
            for new, old in zip(fresh(segments.batch_size), state, strict=True)
        )
    )
    values, after = forward(Reversed(segments) if reverse else segments, begin)
    return values, type(state)(*(field.index_select(0, last) for field in after))
