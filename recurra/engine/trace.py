"""Stage 1 of the compiled engine: run the step once on symbols, forward and backward, down to core ATen.

The batch is traced at one large prime size, so that every number in the graph that the batch size went into can be
told from every other and replaced later: one trace serves all batch sizes and, because rows do not see each other, all
time steps at once.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, fx, nn
from torch._decomp import core_aten_decompositions, get_decompositions
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode

from recurra.engine import sources
from recurra.engine.complex_numbers import from_planes, has_rule, holds_complex, in_reals, is_number, planes
from recurra.engine.contract import Cell
from recurra.engine.made_weights import made_weights
from recurra.engine.reference import checked
from recurra.engine.rewritten import Rewriting
from recurra.engine.taken_apart import TAKEN_APART
from recurra.errors import CompileError, ShapeError, TraceError

__all__ = [
    "BATCH",
    "Complexes",
    "Stepper",
    "Trace",
    "Unsupported",
    "batch_factor",
    "copied",
    "decompositions",
    "line_of",
    "named_as",
    "op_name",
    "out_of_place",
    "to_run",
    "trace",
    "user_line",
    "with_plain_weights",
]

M = TypeVar("M", bound=nn.Module)

BATCH = 999_983  # prime, and larger than any layer: a size that it divides is a size that the batch went into

aten = torch.ops.aten

_TRACES_KEPT = 32  # what torch remembers of the last ones makes the next one faster by a fifth
_traces = itertools.count(1)


def batch_factor(number: Any) -> int:
    """How many times the batch size a number of the graph is; 0 where the batch size did not go into it."""
    if isinstance(number, bool) or not isinstance(number, int) or number % BATCH or abs(number) >= 2**62:
        return 0
    return number // BATCH


def op_name(node: fx.Node) -> str:
    """The ATen name of what a node calls; an input of the graph goes by its own."""
    return _name(node.target)


def _name(call: Any) -> str:
    target: Any = getattr(call, "overloadpacket", call)
    name: str = target if isinstance(target, str) else target.__name__
    return name


def named_as(call: Any, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function of our own that goes by the name of an ATen call in `op_name`, and so in messages."""
    function.__dict__["overloadpacket"] = getattr(call, "overloadpacket", call)
    return function


class Unsupported(CompileError):
    """The step holds an operation that has no vector form; `op` is its ATen name."""

    def __init__(self, op: str, why: str = "") -> None:
        super().__init__(f"`{op}` has no compiled form inside the loop over time{why and ': ' + why}.")
        self.op = op


class Complexes(NamedTuple):
    """Which of the numbers of a step are complex; the graph has the two planes of each, see `complex_numbers`.

    Attributes:
        constants, x, fields, output: of a `Trace`.
    """

    constants: tuple[bool, ...]
    x: bool
    fields: tuple[bool, ...]
    output: bool

    @property
    def any(self) -> bool:
        """Whether there are some."""
        return self.x or self.output or any(self.constants) or any(self.fields)

    def in_planes(self, tensors: Iterable[Tensor], axis: int = 1) -> tuple[Tensor, ...]:
        """The constants, x and the state, complex ones as planes: first of a constant, those of x at an axis, else
        second."""
        return tuple(map(planes, tensors, self._axes(axis)))

    def whole(self, tensors: Iterable[Tensor]) -> list[Tensor]:
        """The inverse, of rows of x."""
        each = zip(tensors, self._axes(1), (*self.constants, self.x, *self.fields), strict=True)
        return [from_planes(tensor, axis) if is_complex else tensor for tensor, axis, is_complex in each]

    def results(self, output: Tensor, state: Iterable[Tensor], axis: int) -> tuple[Tensor, list[Tensor]]:
        """Outputs, whose planes stand at an axis, and a state, complex again."""
        pairs = zip(state, self.fields, strict=True)
        fields = [from_planes(field, 1) if is_complex else field for field, is_complex in pairs]
        return from_planes(output, axis) if self.output else output, fields

    def _axes(self, of_x: int) -> tuple[int, ...]:
        return (*[0] * len(self.constants), of_x, *[1] * len(self.fields))


@dataclass(frozen=True)
class Trace:
    """One step and its backward as a flat graph.

    Inputs of the graph, in order: the constants (parameters and buffers of the cell), `x`, the state fields, the
    gradient of the output, the gradients of the state fields after the step. Outputs: the output, the state after the
    step, then the gradients of the float constants that need one, of `x` and of the state fields before the step; None
    for a constant or an `x` that the step does not read.

    Attributes:
        graph: core ATen calls; `meta["val"]` of each node has its shape and type.
        constants: names of parameters and buffers, as in `cell.state_dict()`.
        learned: those of them that get a gradient.
        fields: names of the state fields.
        complexes: which of these are complex.
    """

    graph: fx.Graph
    constants: tuple[str, ...]
    learned: tuple[str, ...]
    fields: tuple[str, ...]
    complexes: Complexes

    @property
    def inputs(self) -> list[fx.Node]:
        """The placeholders."""
        return [node for node in self.graph.nodes if node.op == "placeholder"]

    @property
    def outputs(self) -> list[Any]:
        """What the graph returns."""
        return list(self.graph.output_node().args[0])  # type: ignore[arg-type]


@functools.cache
def decompositions() -> dict[Any, Any]:
    """Core ATen, with a few of its larger ops taken apart further into products, pointwise ops and row sums."""
    table = dict(core_aten_decompositions())
    further = [
        aten.addmm,
        aten.native_layer_norm,
        aten.native_layer_norm_backward,
        aten._softmax,
        aten._softmax_backward_data,
        aten._log_softmax,
        aten._log_softmax_backward_data,
        aten.gelu,
        aten.gelu_backward,
        aten.hardtanh,
        aten.hardtanh_backward,
        aten.elu,
        aten.elu_backward,
        aten.leaky_relu,
        aten.leaky_relu_backward,
        aten.var,
        aten.var_mean,
        aten.linalg_vector_norm,
        aten.softshrink_backward,
        aten.hardshrink_backward,
        aten.native_group_norm,
        aten.native_group_norm_backward,
    ]
    table.update(get_decompositions(further))
    table.update(TAKEN_APART)
    table.pop(aten.roll.default, None)  # it moves numbers; taken apart, it looks places up in a table
    return table


def to_run(cell: Cell) -> Cell:
    """A copy whose steps leave no trace in the cell: it has buffers and attributes of its own.

    To trace a cell puts symbols in the place of its tensors, too; other threads may read them then.
    """
    plain = with_plain_weights(cell)
    if plain is not cell:
        return plain
    try:
        return copied(cell, {id(parameter): parameter for parameter in cell.parameters()})
    except Exception:  # an attribute of the cell that cannot be copied, whatever it raises: it is run itself
        return cell


class Stepper:
    """The step of a cell with other tensors in the places of its own; no hook of the cell is called."""

    def __init__(self, cell: Cell) -> None:
        self._module = _Step(cell)
        self._parameters = {name for name, _ in cell.named_parameters()}

    def __call__(self, tensors: dict[str, Tensor], x: Tensor, state: Any) -> Any:
        for name in self._parameters & tensors.keys():
            # for torch it is a parameter then: a slice of a `ParameterList` made one of it that has no gradient
            tensors[name].__dict__["_is_param"] = True
        named = {f"cell.{name}": tensor for name, tensor in tensors.items()}
        return torch.func.functional_call(self._module, named, (x, state))


class _Step(nn.Module):
    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, state: Any) -> Any:
        return self.cell.step(x, state)


def copied(module: M, known: dict[int, Any] | None = None) -> M:
    """A deep copy, for which torch has no word where a weight is made of others."""
    memo = known or {}
    for part in module.modules():
        made = (vars(part).get(name) for name in made_weights(part))
        memo.update((id(weight), weight.detach().clone()) for weight in made if isinstance(weight, Tensor))
    return copy.deepcopy(module, memo)


def with_plain_weights(cell: Cell) -> Cell:
    """A copy whose parametrized weights, and those that hooks on cells make, are plain parameters: the loop reads their
    value, whatever made it."""
    makers = [part for part in cell.modules() if isinstance(part, Cell) and made_weights(part)]
    if not makers and not any(parametrize.is_parametrized(module) for module in cell.modules()):
        return cell
    twin = copied(cell)
    for module in list(twin.modules()):
        if isinstance(module, Cell):
            for name in made_weights(module):
                value = vars(module).pop(name)
                module.register_parameter(name, nn.Parameter(value))
            module._forward_pre_hooks.clear()
        if parametrize.is_parametrized(module):
            with torch.no_grad(), torch.random.fork_rng(devices=[]):  # a random weight is drawn for its shape alone
                made: Any = module.parametrizations
                values = {name: make() for name, make in made.items()}
            # torch's own way to remove a parametrization would change the class that the original shares
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
            for name, value in values.items():
                module.register_parameter(name, nn.Parameter(value))
    return twin


def trace(cell: Cell, dtype: torch.dtype) -> Trace:
    """Trace the step of a cell and its backward.

    Raises:
        TraceError: the step branches on the value of a tensor, or cannot be run on symbols; the message has the line.
    """
    if next(_traces) % _TRACES_KEPT == 0:
        FakeTensorMode.cache_clear()  # torch keeps what it found out about every operation at every size, for good
    with torch.random.fork_rng(devices=[]):  # compiling draws nothing from the stream of the run
        return _trace(to_run(cell), dtype)


def _trace(cell: Cell, dtype: torch.dtype) -> Trace:
    for name, value in _example(cell, dtype)._asdict().items():
        if not is_number(value):
            raise CompileError(
                f"`state.{name}` of `{type(cell).__name__}` is {value.dtype}: the compiled loop carries floats alone."
            )
    named = {name: _detached(value) for name, value in (*cell.named_parameters(), *cell.named_buffers())}
    learned = tuple(name for name, value in cell.named_parameters() if is_number(value))
    fixed = tuple(name for name in named if name not in learned)
    fields = tuple(cell.State._fields)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        constants = [mode.from_tensor(named[name]) for name in (*fixed, *learned)]
        x = torch.empty(BATCH, *cell.input_shape, dtype=dtype)
        state = [torch.empty(BATCH, *s.shape[1:], dtype=s.dtype) for s in _example(cell, dtype)]
        kinds = (tuple(map(Tensor.is_complex, constants)), dtype.is_complex, tuple(map(Tensor.is_complex, state)))
        stepper, complexes = Stepper(cell), Complexes(*kinds, output=False)

        def results(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
            weights, (x, *before) = inputs[: len(named)], inputs[len(named) :]
            result = stepper(dict(zip((*fixed, *learned), weights, strict=True)), x, cell.State(*before))
            output, after = checked(cell, result, tuple(before))
            return output, *after

        def step_and_pull(*flat: Tensor) -> list[Tensor]:
            # not by `torch.func.vjp`, which takes no autograd.Function with a `ctx` in its `forward`
            num_inputs = len(learned) + 1 + len(fields)
            inputs = [value.detach().requires_grad_() for value in flat[len(fixed) :][:num_inputs]]
            looked_at = [value.view_as(value) for value in inputs[len(learned) :]]  # no leaves: a step may write there
            given = [*flat[: len(fixed)], *inputs[: len(learned)], *looked_at]
            ends = [planes(end, 1) for end in results(complexes.whole(given))]
            pulled = [index for index, end in enumerate(ends) if end.requires_grad]
            if not pulled:
                return [*ends, *map(torch.zeros_like, inputs)]
            d_ends = flat[len(fixed) + num_inputs :]
            learning, pulls = [ends[index] for index in pulled], [d_ends[index] for index in pulled]
            return [*ends, *torch.autograd.grad(learning, inputs, pulls, materialize_grads=True)]

        # torch's search for NaN in gradients looks at values, and so do its distributions
        no_search = torch.autograd.set_detect_anomaly(False)
        with (
            _errors_named(cell),
            warnings.catch_warnings(),
            sources.forgotten(),
            _unchecked(),
            Rewriting(),
            _RowsTogether(),
            no_search,
        ):
            warnings.simplefilter("ignore")  # torch's own, about its own internals
            if complexes.any:
                with torch.no_grad():
                    complexes = complexes._replace(output=results((*constants, x, *state))[0].is_complex())
            d_output = torch.empty(BATCH, *[2] * complexes.output, *cell.output_shape, dtype=dtype.to_real())
            begin = complexes.in_planes((*constants, x, *state))
            flat = [*begin, d_output, *map(torch.empty_like, begin[len(named) + 1 :])]
            module = _graph_of(step_and_pull, flat, is_complex=complexes.any)
    _drop_zeros(module.graph, 1 + len(fields), 1 + len(fields) + len(learned) + 1)
    module.graph.eliminate_dead_code()
    _bake_literals(cell, module)
    return Trace(module.graph, (*fixed, *learned), learned, fields, complexes)


@contextlib.contextmanager
def _errors_named(cell: Cell) -> Iterator[None]:
    """Inside, what torch cannot trace is an error that names the line of the step and says what to do."""
    try:
        yield
    except (GuardOnDataDependentSymNode, torch._subclasses.fake_tensor.DataDependentOutputException) as error:
        raise TraceError(
            f"`{type(cell).__name__}.step` looks at the value of a tensor{user_line(cell, error)}; "
            "a step is traced once for all values: write `torch.where(condition, a, b)`."
        ) from None
    except _OneRow as error:
        raise CompileError(
            f"`{type(cell).__name__}.step` goes over the rows of its batch one by one{user_line(cell, error)}, "
            "which are different sequences: it has no compiled form."
        ) from None
    except ShapeError as error:  # what stands at the size of the batch is any size
        raise ShapeError(str(error).replace(f"B={BATCH}", "B").replace(str(BATCH), "B")) from None
    except (RuntimeError, NotImplementedError, TypeError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CompileError(f"`{type(cell).__name__}.step` cannot be traced{user_line(cell, error)}: {why}") from error


def _detached(tensor: Tensor) -> Tensor:
    """Of a tensor that was made in inference mode, which has no gradient, a copy."""
    return tensor.detach().clone() if tensor.is_inference() else tensor.detach()


def _graph_of(function: Callable[..., list[Tensor]], flat: Sequence[Tensor], *, is_complex: bool) -> fx.GraphModule:
    """A function as a graph of core ATen calls on real numbers that write nowhere."""

    def traced(function: Callable[..., Any], table: dict[Any, Any] | None = None) -> fx.GraphModule:
        return make_fx(function, decomposition_table=table, tracing_mode="real")(*flat)

    if not is_complex:
        module = traced(function, decompositions())
        is_complex = holds_complex(module.graph)
        if not is_complex and not _writes_in_place(module.graph):
            return module
    plain: Callable[..., list[Tensor]] = torch.func.functionalize(traced(function))  # `h += x` as `h = h + x`
    if is_complex:  # what has a rule for complex numbers stays whole until then
        others = {call: made for call, made in decompositions().items() if not has_rule(_name(call))}
        plain = in_reals(traced(traced(plain), others))
    return traced(plain, decompositions())


@contextlib.contextmanager
def _unchecked() -> Iterator[None]:
    """Distributions that are made without a word about it do not check the numbers they are given."""
    kind: Any = torch.distributions.Distribution
    before, kind._validate_args = kind._validate_args, False
    try:
        yield
    finally:
        kind._validate_args = before


def _drop_zeros(graph: fx.Graph, start: int, end: int) -> None:
    """A gradient of what the step does not read is none, as it is for torch; these of the outputs are gradients."""
    output = graph.output_node()
    results: Any = list(output.args[0])  # type: ignore[arg-type]
    for index in range(start, end):
        node = results[index]
        if op_name(node) in ("zeros_like", "full_like", "zeros", "full") and node.args[1:] in ((), (0,), (0.0,)):
            results[index] = None
    output.args = (results,)


class _OneRow(Exception):
    """One row of the batch was asked for."""


class _RowsTogether(TorchDispatchMode):
    """Refuses to hand out the rows of a batch one by one: there are a million of them, and tracing would not end.

    A few slices may be looked at, for their shape say.
    """

    def __init__(self) -> None:
        super().__init__()
        self._slices = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        place = _AXIS_OF.get(func)
        if place is not None and args[0].dim():
            size = args[0].shape[kwargs.get("dim", args[place] if len(args) > place else 0)]
            if batch_factor(size):
                self._slices += func is aten.slice.Tensor
                is_halved = func is aten.split.Tensor and batch_factor(args[1]) > 0
                if self._slices > _FEW or (func is not aten.slice.Tensor and not is_halved):
                    raise _OneRow
        return func(*args, **kwargs)


_FEW = 64
# where calls that take rows have their axis
_AXIS_OF = {aten.unbind.int: 1, aten.select.int: 1, aten.slice.Tensor: 1, aten.split.Tensor: 2}


def _bake_literals(cell: Cell, module: fx.GraphModule) -> None:
    """Tensors written out in the step, `torch.tensor([1.0, 2.0])`, become calls that give them.

    Raises:
        CompileError: the step reads a tensor of somebody else, whose changes and gradient would be lost.
    """
    for node in list(module.graph.nodes):
        if node.op != "get_attr":
            continue
        value = getattr(module, node.target)
        literal = getattr(value, "constant", value)
        if not isinstance(literal, Tensor) or any(
            user.target is not aten.lift_fresh_copy.default for user in node.users
        ):
            raise CompileError(
                f"`{type(cell).__name__}.step` reads a tensor that is neither parameter nor buffer of the cell: "
                "make it one with `register_buffer`."
            )
        with module.graph.inserting_before(node):
            fresh = module.graph.call_function(_literal(literal.clone()), ())
        fresh.meta["val"] = literal
        for user in list(node.users):
            user.replace_all_uses_with(fresh)
            module.graph.erase_node(user)
        module.graph.erase_node(node)


def _literal(value: Tensor) -> Callable[[], Tensor]:
    def literal() -> Tensor:
        return value

    return literal


def _writes_in_place(graph: fx.Graph) -> bool:
    """Whether some operation changes a tensor that another one reads too, or is one that we take apart."""
    return any(
        _is_mutable(node)
        and (
            len(node.args[0].users) > 1
            or node.args[0].op == "placeholder"
            or _is_view(node.args[0])
            or out_of_place(node) in TAKEN_APART
        )
        for node in graph.nodes
    )


def _is_mutable(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def out_of_place(node: fx.Node) -> Any:
    """`scatter` of a call of `scatter_`; None where there is none."""
    target: Any = node.target
    plain = getattr(aten, target.overloadpacket.__name__.removesuffix("_"), None)
    has_it = plain is not None and target._overloadname in plain.overloads()
    return getattr(plain, target._overloadname) if has_it else None


def _is_view(node: fx.Node) -> bool:
    target: Any = node.target
    return hasattr(target, "_schema") and any(result.alias_info is not None for result in target._schema.returns)


def _example(cell: Cell, dtype: torch.dtype) -> Any:
    return cell.initial_state(2, dtype=dtype, device="cpu")


def user_line(cell: Cell, error: BaseException) -> str:
    """`, my_cell.py:14: if x.sum() > 0`, when the cell's own file is in the traceback."""
    file = getattr(sys.modules.get(type(cell).__module__), "__file__", None)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename == file and frame.line:
            return f" ({_place(frame)})"
    return ""


def _place(frame: traceback.FrameSummary) -> str:
    line = frame.line or ""
    return f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}: `{line if len(line) <= 100 else line[:97] + '...'}`"


class _Watch(TorchDispatchMode):
    """Remembers the line of the cell's file on which an op was called first, or the call that it is the backward of."""

    def __init__(self, file: str | None) -> None:
        super().__init__()
        self.file = file
        self.lines: dict[str, str] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        stack = traceback.extract_stack(limit=60)
        call: Any = torch._C._current_autograd_node()
        if call is not None:  # torch has written down where it was called
            stack = traceback.StackSummary.from_list(_frames(call.metadata.get("traceback_", ())))
        for frame in reversed(stack):
            if frame.filename == self.file and frame.line:
                self.lines.setdefault(func.overloadpacket.__name__, _place(frame))
                break
        further = decompositions().get(func)
        if further is not None:
            with self:  # what the call is made of stands on the same line
                result = further(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        return func(*args, **(kwargs or {}))


def _frames(written: Iterable[str]) -> list[Any]:
    found = (re.match(r'\s*File "(.*)", line (\d+), in (.*)', frame) for frame in written)
    return [traceback.FrameSummary(each[1], int(each[2]), each[3]) for each in found if each]


def line_of(cell: Cell, op: str, dtype: torch.dtype) -> str:
    """The line of the cell's source on which an ATen op is called, there or in its backward; "" where none is found."""
    watch = _Watch(getattr(sys.modules.get(type(cell).__module__), "__file__", None))
    like = next(cell.parameters(), torch.empty(0))
    with torch.random.fork_rng(devices=[]):
        cell = to_run(cell)
        x = torch.zeros(2, *cell.input_shape, dtype=dtype, device=like.device)
        state = cell.initial_state(2, dtype=dtype, device=like.device)
        begin = [field.clone().requires_grad_() for field in (x, *state)]
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")  # that it is slow to write down where everything was called
            # zeros may be no numbers for this step: what it called before it said so is known
            with contextlib.suppress(Exception), torch.autograd.detect_anomaly(check_nan=False), watch:
                output, after = cell.step(begin[0], cell.State(*begin[1:]))
                if op not in watch.lines:
                    ends = [end for end in (output, *after) if end.requires_grad]
                    torch.autograd.grad(ends, begin, [torch.ones_like(end) for end in ends], allow_unused=True)
    return watch.lines.get(op, "")
