"""Machine code on disk, so that a cell is compiled once on a machine and not once a process.

One file for each piece of code, named by a hash of everything that went into it. Files are written whole or not at all,
carry a checksum, and a cache that is damaged, full, read-only or being written by another process is only a slower one.
`RECURRA_CACHE_DIR` says where it is; set to nothing, there is none.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
from pathlib import Path

from recurra.files import write_whole

__all__ = ["compiler", "folder", "key", "read", "write"]

_DIGEST = 32  # bytes of the checksum in front of the code
_LARGEST = 256 << 20  # bytes of all files together; those that were used longest ago go first


def folder() -> Path | None:
    """Where the cache is, or None when it is switched off."""
    given = os.environ.get("RECURRA_CACHE_DIR")
    if given is not None:
        return Path(given).expanduser() if given else None
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(base).expanduser() / "recurra" / "code"
    except RuntimeError:  # no home
        return None


def key(*parts: str) -> str:
    """The name of a piece of code from all that decides what it is."""
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        digest.update(f"{len(part)}:".encode())
        digest.update(part.encode())
    return digest.hexdigest()


@functools.cache
def compiler() -> str:
    """A hash of the source of the engine: what another version of it would have made is not used again."""
    engine = Path(__file__).parents[1]
    return key(*(path.read_text(encoding="utf-8") for path in sorted(engine.rglob("*.py"))))


def read(name: str) -> bytes | None:
    """The code of that name, or None when it is not there whole."""
    place = folder()
    if place is None:
        return None
    path = place / name
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    code = stored[_DIGEST:]
    if stored[:_DIGEST] != _checksum(code):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # used just now
    return code


def write(name: str, code: bytes) -> None:
    """Keep a piece of code, if that can be done."""
    place = folder()
    if place is None:
        return
    with contextlib.suppress(OSError):
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(place / name, _checksum(code) + code, shared=True, sync=False, mode=0o600)
        _trim(place)


def _checksum(code: bytes) -> bytes:
    return hashlib.blake2b(code, digest_size=_DIGEST).digest()


def _trim(place: Path) -> None:
    with os.scandir(place) as entries:  # another process may take a file away meanwhile, which ends it early
        files = [(entry.stat(), entry.path) for entry in entries if entry.is_file()]
    total = sum(status.st_size for status, _ in files)
    for status, path in sorted(files, key=lambda file: file[0].st_mtime):
        if total <= _LARGEST:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
            total -= status.st_size
