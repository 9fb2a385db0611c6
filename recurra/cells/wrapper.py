"""Cells around cells: a wrapper changes one thing about any cell, and is a cell itself."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from recurra.checks import check_known, check_probability
from recurra.engine.contract import Cell, expect_cell
from recurra.engine.reference import checked
from recurra.errors import ConfigError

__all__ = [
    "Wrapper",
    "check_fields",
    "check_names",
    "field_probabilities",
    "free_state",
    "name_of",
    "step_reading",
    "unwrap",
]


class Wrapper(Cell):
    """The ground of all wrappers: it passes on sizes, state and initial state of the cell inside.

    Args:
        cell: any cell, ours or yours, wrapped or not.

    Raises:
        ConfigError: `cell` is no cell.
    """

    cell: Cell

    def __init__(self, cell: Cell) -> None:
        expect_cell(f"cell` of `{type(self).__name__}", cell)
        super().__init__()
        self.cell = cell
        self.input_size, self.hidden_size, self.output_size = cell.input_size, cell.hidden_size, cell.output_size

    @property
    def State(self) -> Any:
        """The state of the cell inside."""
        return self.cell.State

    @property
    def input_shape(self) -> tuple[int, ...]:
        """That of the cell inside."""
        return self.cell.input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """That of the cell inside."""
        return self.cell.output_shape

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Those of the cell inside."""
        return self.cell.state_shapes

    @property
    def free_fields(self) -> tuple[str, ...]:
        """Those of the cell inside."""
        return self.cell.free_fields

    @property
    def complex_fields(self) -> tuple[str, ...]:
        """Those of the cell inside."""
        return self.cell.complex_fields

    def initial_state(
        self, batch_size: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Any:
        """That of the cell inside."""
        return self.cell.initial_state(batch_size, dtype=dtype, device=device)

    def as_state(self, state: Any, batch_size: int, *, like: Tensor) -> Any:
        """Check a state that a user hands in, or make the initial one for None."""
        if state is None:
            return self.initial_state(batch_size, dtype=like.dtype, device=like.device)
        return self.cell.as_state(state, batch_size, like=like)

    def step(self, x: Tensor, state: Any, read: Any = None) -> tuple[Tensor, Any]:
        """One time step of the cell inside, changed; `read` as in `step_reading`."""
        raise NotImplementedError(f"`{type(self).__name__}` has no `step(x, state, read=None) -> (output, state)`.")

    def clone(self, **changes: Any) -> Self:
        """A new wrapper around a new cell; changes that are no arguments of the wrapper go to the cell inside."""
        own = inspect.signature(type(self).__init__).parameters
        inner = {name: value for name, value in changes.items() if name not in own}
        mine = {name: value for name, value in changes.items() if name in own}
        return super().clone(**{"cell": self.cell.clone(**inner), **mine})


def unwrap(cell: Cell) -> Cell:
    """The cell inside all wrappers."""
    while isinstance(cell, Wrapper):
        cell = cell.cell
    return cell


def name_of(cell: Cell) -> str:
    """The class of the cell inside all wrappers, without what torch adds to that of a parametrized one."""
    name: str = parametrize.type_before_parametrizations(unwrap(cell)).__name__
    return name


def step_reading(cell: Cell, x: Tensor, state: Any, read: Any) -> tuple[Tensor, Any]:
    """One step in which the cell's products see `read`, while `state` is what is carried on.

    A cell that adds its old state to the new one, as the GRU does, offers `step(x, state, read)` to keep the two apart.
    One that reads its state in products only (RNN; h of an LSTM) needs nothing: it is given `read` as its state.

    Args:
        cell: any cell.
        x: [B, I].
        state: the state that is carried on.
        read: the state with units dropped; None where nothing is.
    """
    if read is None:
        result = cell.step(x, state)
    elif _takes_read(type(cell).step):
        result = cell.step(x, state, read)  # type: ignore[call-arg]
    else:
        result = cell.step(x, read)
    return checked(cell, result, state)


@functools.cache
def _takes_read(step: Any) -> bool:
    return "read" in inspect.signature(step).parameters


def check_fields(cell: Cell, names: Iterable[str]) -> None:
    """Check that all names are fields of the cell's state.

    Raises:
        ConfigError: one is not.
    """
    fields = cell.State._fields
    for name in names:
        check_known(name, fields, f"The state of `{type(cell).__name__}` has no field `{name}`")


def check_names(option: str, what: str, names: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several, each once.

    Args:
        option: the option that gives them.
        what: what they are names of, e.g. `"field"`.
        names: what was given.

    Raises:
        ConfigError: there is none, or one is there twice.
    """
    given = (names,) if isinstance(names, str) else tuple(names)
    if len(set(given)) < len(given) or not given:
        raise ConfigError(f"`{option}` must name at least one {what}, each once, got {list(given)}.")
    return given


def field_probabilities(cell: Cell, p: float | dict[str, float]) -> dict[str, float]:
    """One probability for every field of the state, from a number for the free ones or a dict that may leave some out.

    Raises:
        ConfigError: a field is unknown, a number is no probability, or one number is given and no field is free.
    """
    fields = cell.State._fields
    if isinstance(p, dict):
        given = p
    else:
        given = dict.fromkeys(cell.free_fields, check_probability("p", p, one=True))
        if p and not given:
            raise ConfigError(
                f"No field of the state of `{name_of(cell)}` is free to keep an old value, so `p` must "
                f"be a dict that names the fields, got {p!r}."
            )
    check_fields(cell, given)
    return {name: check_probability("p", given.get(name, 0.0), one=True) for name in fields}


def free_state(
    cell: Cell,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    with_complex: bool = False,
) -> dict[str, Tensor]:
    """What the free fields of the innermost cell's state begin with, by name: floating-point numbers, [1, ...].

    Args:
        cell: the cell.
        dtype, device: as of `Cell.initial_state`.
        with_complex: complex fields, too.

    Raises:
        ConfigError: a field that is said to be free is unknown.
    """
    check_fields(cell, cell.free_fields)
    start = unwrap(cell).initial_state(1, dtype=dtype, device=device)
    fields = zip(start._fields, start, strict=True)
    found = {name: field for name, field in fields if name in cell.free_fields}
    return {
        n: field for n, field in found.items() if field.is_floating_point() or (with_complex and field.is_complex())
    }
