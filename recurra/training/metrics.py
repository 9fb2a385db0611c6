"""`metrics.jsonl`: what training measured, one JSON object a line."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recurra.errors import RunError, reason_of
from recurra.training.files import json_text, write_atomically

__all__ = ["append_metrics", "keep_metrics_until", "read_metrics"]


def append_metrics(path: str | os.PathLike[str], row: Mapping[str, Any]) -> None:
    """Add one line.

    Raises:
        RunError: the disk is full or refuses.
    """
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json_text(row) + "\n")
    except OSError as error:
        raise RunError(f"`{path}` could not be written ({reason_of(error)}).") from error


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """All lines in order; a last line that a killed process left half written is not one. No file, no lines.

    Raises:
        RunError: a line is none of training.
    """
    path = Path(path)
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [_row(path, number, line) for number, line in enumerate(whole.splitlines(), start=1)]


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        raise RunError(f"`{path}` line {number} is damaged, expected a JSON object with `step`: remove that line.")
    return row


def keep_metrics_until(path: str | os.PathLike[str], step: int) -> None:
    """Drop what a run that is resumed after `step` updates will write again: the lines of later updates.

    Gradients are looked at as an update begins, so their line with this very step belongs to the update after it.
    """
    kept = [row for row in read_metrics(path) if row["step"] + (row.get("split") == "gradients") <= step]
    write_atomically(path, "".join(json_text(row) + "\n" for row in kept))
