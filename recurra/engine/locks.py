"""A lock that a forked process does not find held."""

from __future__ import annotations

import os
import threading

__all__ = ["Lock"]


class Lock:
    """As `threading.Lock`, in a `with`; free after a fork, when another thread of the parent may have held it."""

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
