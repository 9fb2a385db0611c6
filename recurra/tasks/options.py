"""Options of a task from a file, and other defaults for inherited ones."""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from recurra.errors import ConfigError, reason_of

__all__ = ["read_options_file", "with_default"]


def with_default(cls: type[BaseModel], name: str, default: Any) -> Any:
    """A field of a config class with another default, for a class that inherits it: description and limits stay."""
    field = copy.copy(cls.model_fields[name])
    field.default = default
    return field


def read_options_file(path: str | Path) -> dict[str, Any]:
    """Options from a JSON or TOML file, by the names they have in Python; dashes may stand for underscores.

    Raises:
        ConfigError: the file is missing, is neither, or does not hold one table of options.
    """
    path = Path(path)
    kind = "TOML" if path.suffix == ".toml" else "JSON"
    try:
        text = path.read_text(encoding="utf-8")
        options = tomllib.loads(text) if kind == "TOML" else json.loads(text)
    except OSError as error:
        raise ConfigError(f"`{path}` cannot be read: {reason_of(error)}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"`{path}` is not UTF-8 text.") from None
    except ValueError as error:
        raise ConfigError(f"`{path}` is not {kind}: {error}.") from None
    if not isinstance(options, dict):
        raise ConfigError(f"`{path}` must hold one table of options by name, got a {type(options).__name__}.")
    return {name.replace("-", "_"): value for name, value in options.items()}
