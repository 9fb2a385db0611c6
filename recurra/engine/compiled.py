"""The compiled engine: one time step as fused forward and backward kernels.

Stages, one file each: trace -> simplify -> split -> lower -> schedule -> cpu. This file joins them into an
autograd function and keeps what was compiled beside the cell it was compiled for.
"""

from __future__ import annotations

import functools
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from recurra.engine import reference
from recurra.engine.contract import Cell
from recurra.engine.cpu import team
from recurra.engine.cpu.loop_kernel import LoopKernel, Tiling
from recurra.engine.lower import lower
from recurra.engine.probe import expect_contract, expect_rows_apart
from recurra.engine.products import is_plain_eager
from recurra.engine.region import RegionCode
from recurra.engine.schedule import schedule
from recurra.engine.simplify import is_random, simplify
from recurra.engine.split import Loop, Plan, split
from recurra.engine.trace import Unsupported, line_of, trace
from recurra.errors import CompileError
from recurra.ragged import Ragged

__all__ = ["Compiled", "compiled", "fingerprint", "obstacle", "run", "tensor_at"]


class _Regions:
    """What runs outside the loops, compiled when first needed."""

    def __init__(self, plan: Plan, dtype: torch.dtype) -> None:
        self._plan, self._dtype = plan, dtype

    def __getattr__(self, name: str) -> RegionCode:
        code = RegionCode(getattr(self._plan, name), self._dtype)
        setattr(self, name, code)
        return code


class Compiled:
    """Everything that was compiled for a cell in one precision."""

    def __init__(self, cell: Cell, dtype: torch.dtype) -> None:
        expect_contract(cell, dtype)
        trace_ = trace(cell, dtype)
        simplify(trace_.graph)
        self.draws = any(is_random(node) for node in trace_.graph.nodes)
        if not self.draws:
            expect_rows_apart(cell, dtype)
        self.plan: Plan = split(trace_)
        self.dtype = dtype
        self.constants = trace_.constants
        # both are lowered now: what cannot run backward must not run forward
        lower(self.plan.forward), lower(self.plan.reverse)
        self.regions = _Regions(self.plan, dtype)

    @functools.cached_property
    def training(self) -> LoopKernel:
        """The forward loop that keeps what the backward pass reads."""
        return LoopKernel(schedule(lower(self.plan.forward)), self.dtype, reverse=False)

    @functools.cached_property
    def inference(self) -> LoopKernel:
        """The forward loop that keeps nothing but what the region after it reads."""
        loop = self.plan.forward
        read = {*self.plan.after.inputs, self.output}
        bare = Loop(loop.name, loop.nodes, loop.carries, loop.results, tuple(n for n in loop.saved if n in read))
        return LoopKernel(schedule(lower(bare)), self.dtype, reverse=False)

    @functools.cached_property
    def reverse(self) -> LoopKernel:
        """The loop of the backward pass."""
        return LoopKernel(schedule(lower(self.plan.reverse)), self.dtype, reverse=True)

    @property
    def output(self) -> Any:
        """The graph node of the step's output."""
        return self.plan.trace.outputs[0]

    # --- running -----------------------------------------------------------------------------------------------------

    def forward(
        self, x: Ragged, state: tuple[Tensor, ...], constants: tuple[Tensor, ...], *, keep: bool
    ) -> tuple[Tensor, tuple[Tensor, ...], dict[fx.Node, Tensor]]:
        """Outputs [N, O], the state after the last steps, and every value by graph node."""
        values = dict(zip(self.plan.trace.inputs, (*constants, x.values, *state), strict=False))
        self.regions.prelude.run(values, x.num_steps)
        self.regions.before.run(values, x.num_steps)
        after = self._loop(self.training if keep else self.inference, values, x, state)
        self.regions.after.run(values, x.num_steps)
        return values[self.output], after, values

    def backward(
        self, x: Ragged, values: dict[fx.Node, Tensor], d_output: Tensor, d_state: tuple[Tensor, ...]
    ) -> tuple[list[Tensor | None], tuple[Tensor, ...]]:
        """Gradients of the learned constants and of x, then of the state before the first steps."""
        plan, count = self.plan, len(self.plan.trace.fields)
        values = dict(values)
        values[plan.trace.inputs[-1 - count]] = d_output
        values.update(zip(plan.reverse.carries, d_state, strict=True))
        self.regions.before_reverse.run(values, x.num_steps)
        d_before = self._loop(self.reverse, values, x, d_state)
        self.regions.after_reverse.run(values, x.num_steps)
        gradients = plan.trace.outputs[1 + count : -count]
        return [values[node] if isinstance(node, fx.Node) else None for node in gradients], d_before

    def _loop(
        self, kernel: LoopKernel, values: dict[fx.Node, Tensor], x: Ragged, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        return kernel.run_on(values, Tiling.of(x, team.num_threads(), kernel.row_limit), state, x.num_steps)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cell: Cell, code: Compiled, x: Ragged, keep: bool, *tensors: Tensor) -> tuple[Tensor, ...]:
        count = len(code.plan.trace.fields)
        values_x, state, constants = tensors[0], tensors[1 : 1 + count], tensors[1 + count :]
        batch = x.replace(values_x.detach())
        output, after, values = code.forward(batch, state, constants, keep=keep)
        if keep:
            ctx.cell, ctx.code = cell, code
            ctx.layout = Ragged(values_x.new_zeros(x.num_steps, 0), x.offsets)
            ctx.save_for_backward(*tensors, *(values[node] for node in code.plan.kept))
        # what goes out must be nobody's input
        return tuple(
            tensor.clone() if any(tensor is other for other in tensors) else tensor for tensor in (output, *after)
        )

    @staticmethod
    def backward(ctx: Any, d_output: Tensor, *d_state: Tensor) -> Any:
        code: Compiled = ctx.code
        count = len(code.plan.trace.fields)
        saved = ctx.saved_tensors
        tensors = saved[: 1 + count + len(code.constants)]
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted: the reference engine has one
            return (None, None, None, None, *_by_reference(ctx, code, tensors, (d_output, *d_state)))
        x, state, constants = tensors[0], tensors[1 : 1 + count], tensors[1 + count :]
        batch = ctx.layout.replace(x)
        values = dict(zip(code.plan.trace.inputs, (*constants, x, *state), strict=False))
        values.update(zip(code.plan.kept, saved[len(tensors) :], strict=True))
        code.regions.prelude.run(values, batch.num_steps)
        gradients, d_before = code.backward(batch, values, d_output, d_state)
        d_constants = dict(zip(code.plan.trace.learned, gradients[:-1], strict=True))
        return (None, None, None, None, gradients[-1], *d_before, *(d_constants.get(name) for name in code.constants))


def _by_reference(ctx: Any, code: Compiled, tensors: Any, d_outputs: tuple[Tensor, ...]) -> list[Tensor | None]:
    """The same gradients through the Python loop, so that they can be differentiated again."""
    if code.draws:
        raise CompileError(
            f"The compiled engine has no gradient of the gradient of `{type(ctx.cell).__name__}`, whose step draws "
            "random numbers: use engine='reference'."
        )
    count = len(code.plan.trace.fields)
    wanted = [i for i, needed in enumerate(ctx.needs_input_grad[4:]) if needed]
    with torch.enable_grad():
        view = [tensor.view_as(tensor) if i in wanted else tensor for i, tensor in enumerate(tensors)]
        weights = dict(zip(code.constants, view[1 + count :], strict=True))
        cell = _Substituted(ctx.cell, weights)
        x = Ragged(view[0], ctx.layout.offsets)
        output, after = reference.run(cell, x, cell.State(*view[1 : 1 + count]))
        found = torch.autograd.grad(
            (output, *after), [view[i] for i in wanted], d_outputs, create_graph=True, allow_unused=True
        )
    gradients: list[Tensor | None] = [None] * len(tensors)
    for i, gradient in zip(wanted, found, strict=True):
        gradients[i] = gradient
    return gradients


@dataclass
class _Substituted:
    """A cell with other tensors in place of its parameters, as far as the reference engine must know it."""

    cell: Cell
    weights: dict[str, Tensor]

    @property
    def State(self) -> Any:
        return self.cell.State

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.cell.output_shape

    def step(self, x: Tensor, state: Any) -> Any:
        return torch.func.functional_call(self.cell, self.weights, (x, state))


# --- the door --------------------------------------------------------------------------------------------------------

_known: weakref.WeakKeyDictionary[Cell, dict[Any, Compiled | CompileError]] = weakref.WeakKeyDictionary()


def fingerprint(cell: nn.Module) -> tuple[Any, ...]:
    """Whatever a step may read of its cell besides tensors: attributes of the module and of its parts."""
    return tuple(
        (name, _frozen(value))
        for module in cell.modules()
        for name, value in module.__dict__.items()
        if name == "training" or not name.startswith("_")
    )


class _Same:
    """Equal to itself alone, and to nothing once the object is gone: its address may be another object's by then."""

    def __init__(self, value: Any) -> None:
        self.address = id(value)
        try:
            self.alive: Any = weakref.ref(value)
        except TypeError:  # no weak references to this type: keep it, so that its address stays its own
            self.alive = lambda: value

    def __hash__(self) -> int:
        return self.address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.alive() is not None and self.alive() is other.alive()


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, tuple | list | set):
        return tuple(_frozen(item) for item in value)
    return value if isinstance(value, int | float | str | bool | type(None)) else _Same(value)


def compiled(cell: Cell, dtype: torch.dtype) -> Compiled:
    """What was compiled for a cell, now or before.

    Raises:
        CompileError: the step holds an operation that has no compiled form; the message names its line.
        TraceError: the step branches on the value of a tensor.
    """
    named = (*cell.named_parameters(), *cell.named_buffers())
    shapes = tuple((name, tuple(value.shape), value.dtype) for name, value in named)
    key = (dtype, shapes, fingerprint(cell))
    versions = _known.setdefault(cell, {})
    if key not in versions:
        versions[key] = _try(cell, dtype)
    found = versions[key]
    if isinstance(found, CompileError):
        raise found
    return found


def _try(cell: Cell, dtype: torch.dtype) -> Compiled | CompileError:
    try:
        return Compiled(cell, dtype)
    except Unsupported as error:
        line = line_of(cell, error.op, dtype)
        return CompileError(f"`{type(cell).__name__}.step`{line and f' ({line})'}: {error}")
    except CompileError as error:
        return error


def tensor_at(cell: nn.Module, name: str) -> Tensor:
    """The tensor with that name; of a parametrized weight, its value."""
    path, _, leaf = name.rpartition(".")
    tensor: Tensor = getattr(cell.get_submodule(path), leaf)
    return tensor


def obstacle(cell: Cell, x: Tensor) -> str:
    """Why inputs like these cannot be run, or "": on the CPU, in one precision, outside of tracers and transforms."""
    if x.device.type != "cpu":
        return f"it runs on the CPU, `x` is on {x.device}"
    types = {t.dtype for t in (*cell.parameters(), *cell.buffers(), x) if t.is_floating_point()}
    if any(buffer.requires_grad for buffer in cell.buffers()):
        return "a buffer of the cell needs a gradient: make it a parameter"
    if types not in ({torch.float32}, {torch.float64}):
        return f"it runs in float32 or float64, cell and `x` are {', '.join(sorted(str(t) for t in types))}"
    with torch.autocast("cpu", enabled=False):
        return "" if is_plain_eager(x) else "something traces or transforms the call"


def run(cell: Cell, x: Ragged, state: Any) -> tuple[Tensor, Any]:
    """Run every sequence from its first step to its last, as `reference.run` does.

    Under autocast it computes in the precision of the cell.

    Raises:
        CompileError, TraceError: see `compiled`.
    """
    why = obstacle(cell, x.values)
    if not why and any(field.dtype != x.values.dtype or field.device != x.values.device for field in state):
        why = "`state` is of another type than `x`"
    if why:
        raise CompileError(f"The compiled engine cannot run `{type(cell).__name__}` here: {why}.")
    with torch.autocast("cpu", enabled=False):
        return _run(cell, x, state)


def _run(cell: Cell, x: Ragged, state: Any) -> tuple[Tensor, Any]:
    code = compiled(cell, x.values.dtype)
    tensors = (x.values, *state, *(tensor_at(cell, name) for name in code.constants))
    # autograd asks which inputs need a gradient, and not whether anybody may ask for one
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    output, *after = _Scan.apply(cell, code, x, keep, *tensors)
    return output, cell.State(*after)
