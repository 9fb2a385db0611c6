"""The problems by name, and how one is made from what a person typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from recurra.checks import check_known
from recurra.errors import ConfigError
from recurra.tasks.prove.adding import Adding
from recurra.tasks.prove.associative_recall import AssociativeRecall
from recurra.tasks.prove.babi import Babi
from recurra.tasks.prove.copy import Copy
from recurra.tasks.prove.copying_memory import CopyingMemory
from recurra.tasks.prove.dyck import Dyck
from recurra.tasks.prove.lorenz import Lorenz
from recurra.tasks.prove.mackey_glass import MackeyGlass
from recurra.tasks.prove.narma import Narma
from recurra.tasks.prove.parity import ModularArithmetic, Parity
from recurra.tasks.prove.pixels import PermutedPixels, Pixels
from recurra.tasks.prove.priority_sort import PrioritySort
from recurra.tasks.prove.problem import Problem
from recurra.tasks.prove.repeat_copy import RepeatCopy
from recurra.tasks.prove.santa_fe import SantaFe
from recurra.tasks.prove.temporal_order import TemporalOrder

__all__ = ["PROBLEMS", "make_problem"]

_ALL: list[type[Problem]] = [
    Copy,
    RepeatCopy,
    AssociativeRecall,
    PrioritySort,
    Adding,
    CopyingMemory,
    TemporalOrder,
    Parity,
    ModularArithmetic,
    Dyck,
    Pixels,
    PermutedPixels,
    MackeyGlass,
    Lorenz,
    Narma,
    SantaFe,
    Babi,
]

PROBLEMS: dict[str, type[Problem]] = {problem.name: problem for problem in _ALL}


def make_problem(name: str, options: Mapping[str, Any] | None = None, *, data: str | None = None) -> Problem:
    """A problem by its name.

    Args:
        name: `"copy"`, `"adding"`; all: `PROBLEMS`.
        options: sizes of its own, as `{"length": 200}` of `adding`.
        data: the file or folder of the problems on real data; others have no use for it.

    Raises:
        ConfigError: the name or an option is unknown, or an option has a value that cannot be.
    """
    check_known(name, PROBLEMS, f"Unknown problem `{name}`")
    kind = PROBLEMS[name]
    known: dict[str, Any] = {field.name: field.default for field in fields(kind) if field.name != "data"}  # type: ignore[arg-type]
    given = {option: _checked(name, option, value, known) for option, value in (options or {}).items()}
    if data is not None and any(field.name == "data" for field in fields(kind)):  # type: ignore[arg-type]
        given["data"] = data
    return kind(**given)


def _checked(name: str, option: str, value: Any, known: Mapping[str, Any]) -> Any:
    check_known(option, known, f"The problem `{name}` has no option `{option}`")
    default = known[option]
    if isinstance(default, tuple) and type(value) is int and all(type(one) is int for one in default):
        return (value,)
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(tuple(one) if isinstance(one, list) else one for one in value)
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        raise ConfigError(f"The option `{option}` of `{name}` must be of the kind of {default!r}, got {value!r}.")
    if isinstance(value, float) and not value >= 0:  # the problem itself knows the least of its whole numbers
        raise ConfigError(f"The option `{option}` of `{name}` must be at least 0, got {value!r}.")
    return value
