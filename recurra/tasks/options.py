"""Options of a task from a file, and other defaults for inherited ones."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from recurra.errors import ConfigError, did_you_mean, reason_of

__all__ = ["read_options_file", "with_default"]


def with_default(cls: type[BaseModel], name: str, default: Any) -> Any:
    """A field of a config class with another default, for a class that inherits it: description and limits stay."""
    field = copy.copy(cls.model_fields[name])
    field.default = default
    return field


def read_options_file(path: str | Path, known: Collection[str]) -> dict[str, Any]:
    """Options from a JSON or TOML file, by the names they have in Python; dashes may stand for underscores.

    Raises:
        ConfigError: the file is missing, is neither, does not hold one table of options, or has one that is not known.
    """
    path = Path(path)
    kind = "TOML" if path.suffix == ".toml" else "JSON"
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin it with a mark
        options = tomllib.loads(text) if kind == "TOML" else json.loads(text)
    except OSError as error:
        raise ConfigError(f"`{path}` cannot be read: {reason_of(error)}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"`{path}` is not UTF-8 text.") from None
    except ValueError as error:
        raise ConfigError(f"`{path}` is not {kind}: {error}.") from None
    if not isinstance(options, dict):
        raise ConfigError(f"`{path}` must hold one table of options by name, got a {type(options).__name__}.")
    options = {name.replace("-", "_"): value for name, value in options.items()}
    if unknown := next((name for name in options if name not in known), None):
        raise ConfigError(f"Unknown option `{unknown}` in `{path}`.{did_you_mean(unknown, known)}")
    return options
