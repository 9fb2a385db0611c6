"""What a cell is: one time step, a state, and nothing about time."""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from dataclasses import dataclass, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.serialization import add_safe_globals

from recurra.engine.identity import Identity
from recurra.errors import ConfigError, ShapeError
from recurra.shapes import describe, shape_text

if TYPE_CHECKING:
    from recurra.engine.kernel import Kernel

__all__ = ["Cell", "Source", "expect_cell", "first_state", "kernel_of"]

SIZES = ("input_size", "hidden_size")  # arguments of a cell that the base class sets


@dataclass(frozen=True)
class Source:
    """The paper behind a cell, as data: docs, the registry and `recurra cells --cite` print it.

    Args:
        key: BibTeX key, e.g. `"hochreiter1997long"`.
        authors: names as BibTeX wants them, joined by " and ".
        title: title of the paper.
        year: year of publication.
        venue: journal, conference or archive.
        url: where the paper can be found.
        where: the equations or the section that the step follows, e.g. `"Eqs. 5-8"`; empty where it has no numbers.
    """

    key: str
    authors: str
    title: str
    year: int
    venue: str
    url: str = ""
    where: str = ""

    def bibtex(self) -> str:
        """The BibTeX entry."""
        fields = {"author": self.authors, "title": self.title, "year": self.year, "howpublished": self.venue}
        if self.url:
            fields["url"] = self.url
        body = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
        return f"@misc{{{self.key},\n{body}}}"


class Cell(nn.Module):
    """One time step of a recurrent network: the base class of every cell, ours and yours.

    A subclass says what its state is and how one step goes; `recurra.scan` runs it over time, `recurra.Recurrent`
    stacks it, and neither needs to know which cell it is.

        class State(NamedTuple):
            h: Tensor

        class Elman(recurra.Cell):
            State = State

            def __init__(self, input_size: int, hidden_size: int):
                super().__init__()
                self.input = nn.Linear(input_size, hidden_size)
                self.hidden = nn.Linear(hidden_size, hidden_size, bias=False)

            def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
                h = torch.tanh(self.input(x) + self.hidden(state.h))
                return h, State(h)

    Rules of a step: it reads `x`, `state` and the cell's parameters and returns new values; it writes nothing in place
    and keeps nothing on `self`; rows of the batch do not see each other.

    Attributes:
        State: NamedTuple class of tensors [B, ...].
        input_size: I. Taken from the constructor's argument of that name where the subclass sets nothing.
        hidden_size: H, likewise.
        output_size: O, the size of what `step` returns; hidden_size where the subclass sets nothing.
        input_shape: of one input of one sequence: (I,) where the subclass does not override it. A cell of images says
            (I, height, width), and x is then [T, B, I, height, width]; the first size counts the features, and is the
            one that layers and directions join.
        output_shape: of one output of one sequence, likewise; (O,) where the subclass does not override it.
        state_shapes: of each field of the state of one sequence; all (H,), with what stands behind the features in
            `output_shape`, where the subclass does not override it. A sequence begins with zeros, unless
            `initial_state` is overridden, too.
        free_fields: names of the fields of the state that may hold any numbers at any step: zoneout may keep old ones,
            and networks may begin with others. All fields where the subclass says nothing; a clock, a normaliser or a
            sum that is begun is not free.
        complex_fields: names of the fields of the state that are complex numbers; none where the subclass says nothing.
        source: the paper, for docs and citations.
    """

    State: ClassVar[Any]
    source: ClassVar[Source | None] = None

    input_size: int
    hidden_size: int
    output_size: int

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        state = vars(cls).get("State")
        if isinstance(state, type) and issubclass(state, tuple):
            add_safe_globals([state])  # torch.load reads tensors, and other classes only where they are named so

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        cell = super().__new__(cls)
        # remembered so that `clone` can make a second layer or direction of the same kind
        object.__setattr__(cell, "_arguments", _bind(cls, args, kwargs))
        object.__setattr__(cell, "_identity", Identity(cell))
        return cell

    def __init__(self, input_size: int | None = None, hidden_size: int | None = None) -> None:
        super().__init__()
        state: Any = getattr(type(self), "State", None)
        fields = getattr(state, "_fields", None)
        if state is None or (isinstance(state, type) and not (issubclass(state, tuple) and fields)):
            got = "" if state is None else f", got {'the dataclass ' if is_dataclass(state) else ''}`{state.__name__}`"
            got += " without a field" if fields == () else ""
            raise TypeError(
                f"`{type(self).__name__}` needs a class attribute `State`, a NamedTuple of tensors [B, ...]{got}."
            )
        arguments: dict[str, Any] = self._arguments
        for name, given in zip(SIZES, (input_size, hidden_size), strict=True):
            size = arguments.get(name) if given is None else given
            if size is None:
                continue
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ShapeError(f"`{name}` must be a whole number of at least 1, got {size!r}.")
            setattr(self, name, size)

    _arguments: dict[str, Any]
    _identity: Identity

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        object.__setattr__(self, "_identity", Identity(self))  # a copy came with that of the original
        getattr(self, "State", None)  # made now where it depends on options, so that torch.compile finds it

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, nn.Module | nn.Parameter) and hasattr(Cell, name):  # that would be found, and not the part
            raise ConfigError(
                f"`{type(self).__name__}` cannot have a part `{name}`: every cell has something else of that name. "
                "Give it another one."
            )
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name == "output_size":
            return self.hidden_size
        if name in ("input_size", "hidden_size"):
            init = "" if _is_initialised(self) else " and call `super().__init__()` first"
            raise ConfigError(
                f"`{type(self).__name__}` does not say its `{name}`: take an argument of that name in `__init__`, or "
                f"set `self.{name}` there{init}."
            )
        return super().__getattr__(name)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input of one sequence, features first."""
        return (self.input_size,)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one output of one sequence, features first."""
        return (self.output_size,)

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each field of the state of one sequence, in their order."""
        return ((self.hidden_size, *self.output_shape[1:]),) * len(self.State._fields)

    @property
    def free_fields(self) -> tuple[str, ...]:
        """Fields of the state that may hold any numbers at any step."""
        fields: tuple[str, ...] = self.State._fields
        return fields

    @property
    def complex_fields(self) -> tuple[str, ...]:
        """Fields of the state that are complex numbers."""
        return ()

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One time step.

        Shapes: x [B, I], fields of state [B, ...] -> output [B, O], state of the same type and shapes; x is
            [B, *input_shape] and the output [B, *output_shape] where those are overridden.
        """
        raise NotImplementedError(f"`{type(self).__name__}` has no `step(x, state) -> (output, state)`.")

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One time step from `state`, or from the initial state where none is given.

        Raises:
            ShapeError: no state is given, and x is no step: a whole sequence would be computed as something else.
        """
        if state is None:
            if not isinstance(x, Tensor) or x.shape[1:] != self.input_shape:
                raise ShapeError(
                    f"`x` must be one step {shape_text('B', I=self.input_shape)} for `{type(self).__name__}`, got "
                    f"{describe(x)}: `recurra.scan` runs whole sequences."
                )
            state = self.initial_state(x.shape[0], dtype=x.dtype, device=x.device)
        return self.step(x, state)

    def initial_state(
        self, batch_size: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Any:
        """The state before the first step of a sequence: zeros, with the shapes that `state_shapes` says.

        Args:
            batch_size: B.
            dtype: of the state, complex fields have that of twice the size; the first parameter's where not given, or
                where it is one of whole numbers: inputs may be tokens that the step looks up.
            device: likewise.
        """
        given = dtype if dtype is not None and (dtype.is_floating_point or dtype.is_complex) else None
        if given is None or device is None:
            like = next(self.parameters(), torch.empty(0, dtype=dtype))
            given, device = given or like.dtype, device or like.device
        zeros = [torch.zeros((batch_size, *shape), dtype=given, device=device) for shape in self.state_shapes]
        if self.complex_fields:  # torch.compile follows no `dtype.to_complex`
            is_complex = (name in self.complex_fields for name in self.State._fields)
            zeros = [field + 0j if each else field.real for field, each in zip(zeros, is_complex, strict=True)]
        return self.State(*zeros)

    def as_state(self, state: Any, batch_size: int, *, like: Tensor) -> Any:
        """Check a state that a user hands in, or make the initial one for None.

        Args:
            state: a `State`, a tuple of its fields, a lone tensor where it has one field, or None.
            batch_size: B.
            like: a tensor with the type and device of the inputs.

        Raises:
            ShapeError: the state is of another cell, or a field has another shape, kind of numbers or device; or
                `initial_state` makes no state of that many rows.
        """
        initial = first_state(self, batch_size, dtype=like.dtype, device=like.device)
        if state is None:
            return initial
        fields = self.State._fields
        given = (state,) if isinstance(state, Tensor) else state
        fits = isinstance(given, tuple | list) and len(given) == len(fields)
        if not fits or getattr(given, "_fields", fields) != fields:  # a named tuple is taken by its names
            raise ShapeError(
                f"`state` of `{type(self).__name__}` must be {self.State.__name__}({', '.join(fields)}), "
                f"got {_describe_state(state)}."
            )
        for name, value, expected in zip(fields, given, initial, strict=True):
            _check_field(f"`state.{name}` of `{type(self).__name__}`", value, expected)
        return self.State(*given)

    def clone(self, **changes: Any) -> Self:
        """A new, freshly initialised cell made with the same arguments, but for `changes` (e.g. `input_size=64`).

        Cells among the arguments are cloned too, other modules are copied: nothing is shared.
        """
        kind: Any = parametrize.type_before_parametrizations(self)
        _, *parameters = inspect.signature(kind.__init__).parameters.values()
        arguments = {name: _fresh(value) for name, value in self._arguments.items()}
        free = next((one.name for one in parameters if one.kind is one.VAR_KEYWORD), None)
        extra = {} if free is None else arguments.pop(free, {})
        for name, value in changes.items():
            (arguments if any(one.name == name for one in parameters) else extra)[name] = value
        bound = inspect.BoundArguments(inspect.Signature(parameters), OrderedDict(arguments))
        twin: Self = kind(*bound.args, **bound.kwargs, **extra)
        return twin

    def kernel(self) -> Kernel | None:
        """A ready kernel that computes exactly what `step` does over a whole sequence, or None; see `engine.kernel`.

        It belongs to the `step` beside it: a subclass with another `step` has none unless it says so (`kernel_of`).
        """
        return None

    def extra_repr(self) -> str:
        """The arguments that the cell was made with, for `print(cell)`."""
        return ", ".join(
            f"{name}={value!r}" for name, value in self._arguments.items() if not isinstance(value, nn.Module)
        )


def expect_cell(name: str, cell: Any) -> None:
    """Check that something is a cell that can be run.

    Args:
        name: what it is called where it was handed in.
        cell: what was handed in.

    Raises:
        ConfigError: it is none, with the way to one; or its `__init__` left out that of `Cell`.
        NotImplementedError: it has no `step`.
    """
    if isinstance(cell, Cell):
        if not _is_initialised(cell):
            raise ConfigError(f"`{type(cell).__name__}` must call `super().__init__()` first in its `__init__`.")
        if type(cell).step is Cell.step and "step" not in vars(cell):
            cell.step(torch.empty(0), ())  # says so
        return
    got, way = describe(cell), ""
    if isinstance(cell, type):
        got = f"the class `{cell.__name__}`"
        way = f": make one, `{cell.__name__}(...)`" if issubclass(cell, Cell) else ""
    elif isinstance(cell, nn.RNNBase | nn.RNNCellBase):
        kind = type(cell).__name__.removesuffix("Cell")
        got = f"the module {type(cell).__name__}, which is called itself"
        way = (
            f": `recurra.networks.load_torch` copies its weights into a `recurra.{kind}`, and `recurra.nn.{kind}` "
            "takes the place of torch's"
        )
    raise ConfigError(f"`{name}` must be a recurra.Cell, got {got}{way}.")


def first_state(cell: Cell, batch_size: int, *, dtype: torch.dtype | None, device: Any) -> Any:
    """The cell's own initial state, checked.

    Raises:
        ShapeError: it is no state of that many rows.
    """
    state = cell.initial_state(batch_size, dtype=dtype, device=device)
    got = _wrong_rows(cell, state, batch_size)
    if got:  # written when it is needed: torch.compile takes a size that is put into words for a constant
        must = f"{cell.State.__name__} of tensors [B={batch_size}, ...]"
        raise ShapeError(f"`{type(cell).__name__}.initial_state` must return {must}, got {got}.")
    return state


def _wrong_rows(cell: Cell, state: Any, batch_size: int) -> str:
    if not isinstance(state, cell.State):
        return _describe_state(state)
    for name, field in zip(cell.State._fields, state, strict=True):
        if not isinstance(field, Tensor) or not field.dim() or field.shape[0] != batch_size:
            return f"{describe(field)} for `{name}`"
    return ""


def _is_initialised(cell: nn.Module) -> bool:
    return "_parameters" in vars(cell)


def kernel_of(cell: Cell) -> Kernel | None:
    """The cell's ready kernel; None where a subclass changed `step` and left `kernel` to the class it came from."""
    for kind in type(cell).__mro__:
        if "kernel" in vars(kind):
            return cell.kernel()
        if "step" in vars(kind):
            return None
    return None


def _bind(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    try:
        bound = signature.bind(None, *args, **kwargs)
    except TypeError:
        return {}  # __init__ itself is about to say what is wrong
    bound.arguments.pop(next(iter(bound.arguments)))  # self
    sizes = {name: signature.parameters[name].default for name in SIZES if name in signature.parameters}
    return {name: size for name, size in sizes.items() if isinstance(size, int)} | bound.arguments


def _fresh(value: Any) -> Any:
    if isinstance(value, Cell):
        return value.clone()
    return copy.deepcopy(value) if isinstance(value, nn.Module) else value


def _check_field(name: str, value: Any, expected: Tensor) -> None:
    """Shape, kind of numbers and device of a field; its precision is the user's: autocast computes in another one."""
    if not isinstance(value, Tensor) or value.shape != expected.shape:
        raise ShapeError(f"{name} must have shape {list(expected.shape)}, got {describe(value)}.")
    if _kind(value.dtype) != _kind(expected.dtype):
        raise ShapeError(f"{name} must be of type {expected.dtype}, got {value.dtype}.")
    if value.device != expected.device:
        raise ShapeError(f"{name} must be on {expected.device} as the inputs are, got {value.device}.")


def _kind(dtype: torch.dtype) -> str:
    if dtype == torch.bool:
        return "truth value"
    return "complex" if dtype.is_complex else "float" if dtype.is_floating_point else "whole number"


def _describe_state(state: Any) -> str:
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return f"{type(state).__name__}({', '.join(state._fields)})"
    return f"a {type(state).__name__} of {len(state)}" if isinstance(state, tuple | list) else describe(state)
