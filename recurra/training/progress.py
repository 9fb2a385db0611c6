"""How far training is: a bar where somebody looks at a terminal, a plain line now and then where not.

All of it goes to stderr; stdout belongs to results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Protocol

__all__ = ["Progress", "ProgressKind", "showing"]

ProgressKind = Literal["auto", "bar", "lines", "none"]
SECONDS_BETWEEN_LINES = 5.0
BAR_COLUMNS = 60  # of a terminal: on a narrower one the numbers beside the bar would be cut off


class Progress(Protocol):
    """Is told what happens."""

    def update(self, step: int, items: float, loss: float) -> None:
        """An update is done: `step` updates in all, of so many items, with this loss an item."""

    def evaluated(self, step: int, scores: Mapping[str, float], is_best: bool) -> None:
        """The validation part was scored."""

    def note(self, text: str) -> None:
        """Something that a person should know."""


@contextmanager
def showing(kind: ProgressKind, *, start: int, total: int | None, unit: str) -> Iterator[Progress]:
    """Show progress inside.

    Args:
        kind: `auto` is `bar` where stderr is a terminal of some width, else `lines`; `none` shows nothing.
        start: updates made before, in a resumed run.
        total: updates in all, where known.
        unit: what items are, in the plural, for "12,000 tokens/s".
    """
    if kind == "auto":
        kind = "bar" if _has_room() else "lines"
    if kind == "none":
        yield _Nothing()
    elif kind == "lines":
        yield _Lines(_Pace(start, total, unit))
    else:
        with _bar(start, total, unit) as bar:
            yield bar


def _has_room() -> bool:
    if not sys.stderr.isatty():
        return False
    from rich.console import Console

    return Console(file=sys.stderr).width >= BAR_COLUMNS


class _Pace:
    """Items a second, smoothed over some ten updates, and the time left at the average pace since the first."""

    def __init__(self, start: int, total: int | None, unit: str) -> None:
        self.start, self.total, self.unit = start, total, unit
        self.began = self.last = time.monotonic()
        self.per_second: float | None = None

    def update(self, step: int, items: float) -> None:
        now = time.monotonic()
        if self.per_second is None:  # the first update compiles: by its pace there would be hours left
            self.began, self.start = now, step
        speed = items / max(now - self.last, 1e-6)
        self.per_second = speed if self.per_second is None else 0.9 * self.per_second + 0.1 * speed
        self.step, self.last = step, now

    def restart(self) -> None:
        """Time spent otherwise (an evaluation) is not time of the next update."""
        self.last = time.monotonic()

    def speed(self) -> str:
        return f"{self.per_second or 0:,.0f} {self.unit}/s"

    def left(self) -> str:
        if self.total is None or self.step <= self.start:
            return ""
        seconds = (self.last - self.began) / (self.step - self.start) * max(0, self.total - self.step)
        minutes, seconds = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02} left"

    def done(self) -> str:
        return f"{self.step:,}" if self.total is None else f"{self.step:,}/{self.total:,}"


class _Nothing:
    def update(self, step: int, items: float, loss: float) -> None:
        pass

    def evaluated(self, step: int, scores: Mapping[str, float], is_best: bool) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class _Lines:
    def __init__(self, pace: _Pace) -> None:
        self.pace = pace
        self.next_line = 0.0

    def update(self, step: int, items: float, loss: float) -> None:
        self.pace.update(step, items)
        if self.pace.last >= self.next_line or step == self.pace.total:
            self.next_line = self.pace.last + SECONDS_BETWEEN_LINES
            parts = [f"update {self.pace.done()}", f"loss {loss:.4f}", self.pace.speed(), self.pace.left()]
            _say("  ".join(part for part in parts if part))

    def evaluated(self, step: int, scores: Mapping[str, float], is_best: bool) -> None:
        _say(_scores(step, scores, is_best))
        self.pace.restart()

    def note(self, text: str) -> None:
        _say(text)
        self.pace.restart()


class _Bar:
    def __init__(self, pace: _Pace, advance: Callable[..., Any], say: Callable[[str], Any]) -> None:
        self.pace, self.advance, self.say = pace, advance, say

    def update(self, step: int, items: float, loss: float) -> None:
        self.pace.update(step, items)
        words = {"done": self.pace.done(), "speed": self.pace.speed(), "left": self.pace.left()}
        self.advance(completed=step, loss=f"loss {loss:.4f}", **words)

    def evaluated(self, step: int, scores: Mapping[str, float], is_best: bool) -> None:
        self.say(_scores(step, scores, is_best))
        self.pace.restart()

    def note(self, text: str) -> None:
        self.say(text)
        self.pace.restart()


@contextmanager
def _bar(start: int, total: int | None, unit: str) -> Iterator[_Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress

    words = [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("done", "loss", "speed", "left")]
    with RichProgress(TextColumn("training"), BarColumn(), *words, console=Console(file=sys.stderr)) as bar:
        task = bar.add_task("", total=total, completed=start, done="", loss="", speed="", left="")

        def advance(**fields: Any) -> None:
            bar.update(task, **fields)

        def say(text: str) -> None:
            bar.console.print(text, highlight=False, markup=False)  # brackets of a name are no style

        yield _Bar(_Pace(start, total, unit), advance, say)


def _scores(step: int, scores: Mapping[str, float], is_best: bool) -> str:
    words = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
    return f"evaluation after update {step:,}: {words}{'  (best so far)' if is_best else ''}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
