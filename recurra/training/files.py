"""Files that are written whole or not at all, and JSON that any program can read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from recurra.errors import RunError

__all__ = ["json_text", "write_atomically"]


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Plain values as JSON; a number that is not finite is null, for JSON has no word for it."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def write_atomically(path: str | os.PathLike[str], content: bytes | str | Callable[[BinaryIO], object]) -> None:
    """Put a file in place so that at every moment, also after a power cut, the old or the new one is there whole.

    The content goes to a hidden file in the same folder, is forced to the disk, and takes the name in one step.

    Args:
        path: the file; its folder exists.
        content: the bytes, a text (written as UTF-8), or a function that writes to a binary file it is given.

    Raises:
        RunError: the disk is full or refuses; what stood at `path` before still stands there.
    """
    path = Path(path)
    # one name for all attempts: what a killed process leaves behind is overwritten by the next, and never piles up
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with open(unfinished, "wb") as file:
            _write(file, content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise RunError(
            f"`{path}` could not be written ({_reason(error)}); what was there before is unchanged, "
            "so make room or choose another folder and go on from there."
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _write(file: BinaryIO, content: bytes | str | Callable[[BinaryIO], object]) -> None:
    if callable(content):
        content(file)
    else:
        file.write(content.encode() if isinstance(content, str) else content)


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows has no handle of a folder to sync
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
