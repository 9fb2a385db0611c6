"""The error tree, and warnings: every refusal of Recurra is one of these, and its message says what to do.

    RecurraError
    ├── ShapeError(ValueError)      a tensor of the wrong shape, type or device
    ├── ConfigError(ValueError)     an option that is unknown or has a value that cannot be
    ├── DataError(ValueError)       a file of examples that cannot be used, with its line
    ├── RunError(ValueError)        a run folder that is missing, damaged, in the way or too new
    ├── TraceError(RuntimeError)    a step that cannot be compiled, with its line
    ├── CompileError(RuntimeError)  an engine that was asked for and cannot run this cell
    ├── DecodingError(ValueError)   numbers of a model that no sequence can be decoded from
    └── MissingExtra(ImportError)   an optional package is not installed

A message is one sentence: the name in backticks, what was expected, what came, what to do.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

__all__ = [
    "CompileError",
    "ConfigError",
    "DataError",
    "DecodingError",
    "MissingExtra",
    "RecurraError",
    "RunError",
    "ShapeError",
    "TraceError",
    "did_you_mean",
    "import_extra",
    "no_such_file",
    "reason_of",
    "warn",
]


class RecurraError(Exception):
    """The root of the tree: `except RecurraError` catches every refusal of this library."""


class ShapeError(RecurraError, ValueError):
    """A tensor has the wrong shape, type or device."""


class ConfigError(RecurraError, ValueError):
    """An option is unknown, or its value cannot be."""


class DataError(RecurraError, ValueError):
    """A file of examples cannot be used as it is."""


class RunError(RecurraError, ValueError):
    """A run folder is missing, damaged, in the way, or from a newer version."""


class TraceError(RecurraError, RuntimeError):
    """A cell's `step` cannot be traced."""


class CompileError(RecurraError, RuntimeError):
    """The engine that was asked for cannot run this cell.

    Attributes:
        step_fails: whether its step fails by itself, on any engine.
    """

    step_fails = False


class DecodingError(RecurraError, ValueError):
    """The numbers that a model gives are no distribution to decode from."""


class MissingExtra(RecurraError, ImportError):
    """A package of an optional extra is not installed."""


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """A half sentence that names the nearest of `words`, or nothing when none is near.

    Returns: `" Did you mean `lstm` or `slstm`?"` (with its leading space) or `""`.
    """
    near = difflib.get_close_matches(str(word), sorted(words), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(f'`{name}`' for name in near)}?" if near else ""


def no_such_file(path: Path | str) -> str:
    """The sentence about a file that is not there: what is named like it in its folder, or what to look at."""
    path = Path(path)
    if path.is_dir():
        return f"`{path}` is a folder, expected a file."
    beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    return f"There is no file `{path}`.{did_you_mean(path.name, beside) or ' Check its name and its folder.'}"


def reason_of(error: OSError) -> str:
    """What the system says about a file, as a part of a sentence: `permission denied`."""
    return (error.strerror or str(error)).lower()


def import_extra(module: str, extra: str) -> ModuleType:
    """Import an optional package, or say which pip command brings it.

    Args:
        module: the name as in an import statement, e.g. `"tokenizers"`.
        extra: the extra of this package that holds it, e.g. `"text"`.

    Raises:
        MissingExtra: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # the package is there, one of its own imports is not: that is another story
        package = module.split(".")[0]
        raise MissingExtra(
            f"This needs the package `{package}`, which is not installed: run `pip install 'recurra[{extra}]'`."
        ) from None


def warn(message: str) -> None:
    """Warn at the line that called the library, whatever calls of it and of torch are between."""
    homes = tuple(f"{Path(str(sys.modules[name].__file__)).parent}{os.sep}" for name in ("recurra", "torch"))
    level, frame = 2, sys._getframe(1)
    while frame.f_code.co_filename.startswith(homes) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)
