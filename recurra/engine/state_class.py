"""Kinds of states whose fields depend on the options of a cell, or on the cells that they are put together from."""

from __future__ import annotations

import copyreg
from collections import namedtuple
from typing import Any

from torch.serialization import add_safe_globals

__all__ = ["state_class"]


_known: dict[tuple[str, tuple[str, ...]], Any] = {}


def state_class(name: str, fields: tuple[str, ...]) -> Any:
    """The named tuple of these fields; unlike one made in a function, its states can be pickled."""
    # one class for one kind of state, or no two states would be of the same. torch.compile knows no `functools.cache`,
    # and must find the class here: cells ask for it as soon as they are made
    if (name, fields) not in _known:
        kind: Any = namedtuple(name, fields)  # type: ignore[misc]  # of a name that is no literal
        copyreg.pickle(kind, lambda state: (_state, (name, fields, *state)))
        _known[name, fields] = kind
    return _known[name, fields]


def _state(name: str, fields: tuple[str, ...], *values: Any) -> Any:
    return state_class(name, fields)(*values)


add_safe_globals([_state])  # torch.load calls no other functions
