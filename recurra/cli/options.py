"""Command-line options made from a config model: name, kind, default, help and panel are those of its fields."""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.markup import escape

from recurra.errors import ConfigError, DataError, RunError

__all__ = ["as_typed", "cell_from", "object_from", "option_name", "option_parameters", "options_given"]


def option_name(field: str) -> str:
    """`hidden_size` as it is typed: `--hidden-size`."""
    return "--" + field.replace("_", "-")


@contextmanager
def as_typed(fields: Iterable[str]) -> Iterator[None]:
    """Inside, a refusal that names an option in backticks names it as it is typed: `hidden_size` as `--hidden-size`."""
    try:
        yield
    except (ConfigError, DataError, RunError) as error:
        raise type(error)(_spelled(str(error), set(fields))) from error


def _spelled(text: str, fields: Collection[str]) -> str:
    return re.sub(r"`(\w+)`", lambda match: f"`{option_name(match[1])}`" if match[1] in fields else match[0], text)


def object_from(name: str, text: str) -> dict[str, Any]:
    """The value of an option that is typed as a JSON object.

    Raises:
        ConfigError: it is none.
    """
    found = _json_object(text)
    if found is None:
        raise ConfigError(f"`{name}` must be a JSON object, got `{text}`.")
    return found


def cell_from(text: str) -> tuple[str, dict[str, Any]]:
    """A cell as it is typed, `gru` or `lstm:{"forget_bias": 5}`: its name, and its options.

    Raises:
        ConfigError: what follows the colon is no JSON object.
    """
    name, _, typed = text.partition(":")
    options = _json_object(typed) if typed else {}
    if options is None:
        raise ConfigError(
            f"The options in `{text}` must be a JSON object, with both kinds of quotes: "
            f"'{name}:{{\"option\": value}}'; `recurra cells {name}` lists them."
        )
    return name, options


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def option_parameters(model: type[BaseModel]) -> list[inspect.Parameter]:
    """One keyword parameter a field, for the signature of a typer command; each is None where it was not typed.

    The fields of the model itself come before those that it inherits. Panels begin at the fields that the model's
    `panels` name.
    """
    titles: Mapping[str, str] = getattr(model, "panels", {})
    panel, parameters = "Options", {}
    for name, field in model.model_fields.items():
        panel = titles.get(name, panel)
        description = _spelled(field.description or "", model.model_fields)
        parameters[name] = _parameter(name, field, description, panel)
    inherited = [name for base in model.__bases__ for name in getattr(base, "model_fields", {})]
    for name in getattr(model, "unused", ()):
        del parameters[name]
    own = [parameter for name, parameter in parameters.items() if name not in inherited]
    return own + [parameter for name, parameter in parameters.items() if name in inherited]


def options_given(model: type[BaseModel], typed: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were typed, by field name, as values that the model can check.

    Raises:
        ConfigError: an option that must be JSON is not.
    """
    return {
        name: _value(name, model.model_fields[name], value)
        for name, value in typed.items()
        if name in model.model_fields and value is not None
    }


def _parameter(name: str, field: FieldInfo, description: str, panel: str) -> inspect.Parameter:
    kinds, _ = _kinds(field)
    spelled = option_name(name)
    flag = kinds == (bool,)
    option = typer.Option(
        f"{spelled}/--no-{spelled[2:]}" if flag else spelled,
        help=f"{escape(description)} [dim]{escape(f'[{_show(field)}]')}[/dim]",
        show_default=False,
        rich_help_panel=panel,
        metavar="" if flag else _metavar(kinds),
    )
    kind: Any = bool | None if flag else str | None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])


def _kinds(field: FieldInfo) -> tuple[tuple[Any, ...], bool]:
    """The types that a field may have, and whether None is one of them."""
    annotation = field.annotation
    union = get_origin(annotation) in (Union, types.UnionType)
    members = get_args(annotation) if union else (annotation,)
    return tuple(kind for kind in members if kind is not type(None)), type(None) in members


def _is_plain(kind: Any) -> bool:
    return kind in (int, float, str, bool) or get_origin(kind) is Literal


def _metavar(kinds: tuple[Any, ...]) -> str:
    words = {int: "INTEGER", float: "NUMBER", str: "TEXT", bool: "true|false"}
    names = ["|".join(map(str, get_args(k))) if get_origin(k) is Literal else words.get(k, "JSON") for k in kinds]
    return "|".join(dict.fromkeys(names))


def _show(field: FieldInfo) -> str:
    """The default as it would be typed."""
    default = field.get_default(call_default_factory=True)
    if default is None:
        return "none"
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, float):
        return f"{default:g}"
    return default if isinstance(default, str) and default else json.dumps(default)


def _value(name: str, field: FieldInfo, value: Any) -> Any:
    kinds, optional = _kinds(field)
    if optional and value == "none":
        return None
    if isinstance(value, bool) or all(_is_plain(kind) for kind in kinds):
        return value
    try:
        return json.loads(value)
    except ValueError:
        if str in kinds:
            return value
        raise ConfigError(f"`{name}` must be JSON, got `{value}`.") from None
