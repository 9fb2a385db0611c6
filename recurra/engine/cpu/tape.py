"""What machine code was run, and into which new memory it wrote: noted down while somebody listens.

`team` notes jobs, `arena` new memory, and whoever has tensors that never change notes these; `replay` makes programs
of what was noted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from recurra.engine.cpu.team import Job

__all__ = ["Tape", "constant", "listening", "running", "version"]


@dataclass
class Tape:
    """What was noted, in order.

    Attributes:
        jobs: that were run.
        memory: new tensors, with their versions.
        constants: tensors that never change.
    """

    jobs: list[Job] = field(default_factory=list)
    memory: list[tuple[Tensor, int]] = field(default_factory=list)
    constants: list[Tensor] = field(default_factory=list)


_running: ContextVar[Tape | None] = ContextVar("tape", default=None)
running = _running.get  # the tape that runs in this thread, or None


def version(tensor: Tensor) -> int:
    """How often torch wrote into a tensor; in inference mode it does not count."""
    return 0 if tensor.is_inference() else tensor._version


def constant(tensor: Tensor) -> Tensor:
    """Note that a tensor is the same one for ever; returns it."""
    tape = running()
    if tape is not None:
        tape.constants.append(tensor)
    return tensor


@contextmanager
def listening() -> Iterator[Tape]:
    """A tape that runs as long as the block does."""
    tape = Tape()
    token = _running.set(tape)
    try:
        yield tape
    finally:
        _running.reset(token)
