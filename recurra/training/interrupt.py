"""Ctrl-C: the first lets the update come to its end and saves, the second stops at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

__all__ = ["Interrupted", "StopRequest", "listening"]


class Interrupted(KeyboardInterrupt):
    """Training was interrupted between two updates and has saved itself.

    Args:
        step: updates made.
        checkpoint: the file to resume from, or None where none was asked for.
    """

    def __init__(self, step: int, checkpoint: Path | None) -> None:
        self.step, self.checkpoint = step, checkpoint
        super().__init__(
            f"Stopped after update {step}; saved in `{checkpoint}`: resume with --resume (`resume=True` in Python)."
            if checkpoint
            else f"Stopped after update {step}; nothing is saved, as no `checkpoint` was asked for."
        )

    def __reduce__(self) -> tuple[type[Interrupted], tuple[int, Path | None]]:
        return type(self), (self.step, self.checkpoint)  # a process of a pool sends it to the one that waits


class StopRequest:
    """Whether somebody has asked to stop."""

    def __init__(self) -> None:
        self.came = False

    def __bool__(self) -> bool:
        return self.came


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Inside, the first Ctrl-C only sets the request that this gives; outside the main thread nothing changes."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = signal.getsignal(signal.SIGINT) or signal.default_int_handler  # None: set outside Python

    def first(_signal: int, _frame: FrameType | None) -> None:
        request.came = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # not print: a signal may come in the middle of another print
        os.write(
            sys.__stderr__.fileno() if sys.__stderr__ else 2, b"\nfinishing this update; Ctrl-C again stops at once\n"
        )

    signal.signal(signal.SIGINT, first)
    try:
        yield request
    finally:
        signal.signal(signal.SIGINT, before)
