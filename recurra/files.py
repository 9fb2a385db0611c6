"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

__all__ = ["Content", "write_whole"]

Content = bytes | str | Callable[[BinaryIO], object]


def write_whole(
    path: str | os.PathLike[str], content: Content, *, shared: bool = False, sync: bool = True, mode: int = 0o666
) -> None:
    """Put a file in place so that at every moment the old or the new one is there whole.

    The content goes to a hidden file in the same folder, which takes the name in one step.

    Args:
        path: the file; its folder exists.
        content: the bytes, a text (written as UTF-8), or a function that writes to a binary file it is given.
        shared: whether others may write this file at the same time.
        sync: force it to the disk, so that it is whole also after a power cut.
        mode: who may read and write it, less what the umask takes away.

    Raises:
        OSError: the disk is full or refuses; what stood at `path` before still stands there, and nothing else is left.
    """
    path = Path(path)
    # one name for all attempts: what a killed process leaves behind is overwritten by the next, and never piles up
    own = f".{os.urandom(8).hex()}" if shared else ""
    unfinished = path.parent / f".{path.name}{own}.unfinished"
    try:
        with open(unfinished, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            _write(file, content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
    if sync:
        # the new file stands there already; should the folder not be synced, the old one is back after a power cut
        with contextlib.suppress(OSError):
            _sync_folder(path.parent)


def _write(file: BinaryIO, content: Content) -> None:
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
