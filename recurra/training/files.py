"""Files of a run, written whole or not at all, and JSON that any program can read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

from recurra.errors import RunError, reason_of
from recurra.files import Content, write_whole

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


def write_atomically(path: str | os.PathLike[str], content: Content) -> None:
    """Put a file in place so that at every moment, also after a power cut, the old or the new one is there whole.

    Args:
        path: the file; its folder exists.
        content: the bytes, a text (written as UTF-8), or a function that writes to a binary file it is given.

    Raises:
        RunError: the disk is full or refuses; what stood at `path` before still stands there.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise RunError(
            f"`{path}` could not be written ({reason_of(error)}); what was there before is "
            "unchanged, so make room or choose another folder and go on from there."
        ) from error
