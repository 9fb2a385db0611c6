"""Which program runs a pass over a batch: the passes that were recorded, by what they are for.

Padded batches of one layout share a program. Sequences of other lengths are another batch each time, so the programs
for ragged ones are for a number of sequences and a stretch of numbers of rows.
"""

from __future__ import annotations

import contextlib
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from recurra.engine.cpu import team
from recurra.engine.cpu.replay import Given, Pass, Program, Results, record
from recurra.engine.cpu.tiling import Layout, room

__all__ = ["Programs"]

_LARGEST = 1 << 26  # bytes of all tensors handed in; beyond that a pass takes so long that tables do not matter
_MOST = 256  # programs for ragged batches that a pass keeps
_PARTS = 4, 16  # one of them serves a quarter of the numbers of rows from one power of two to the next, or a sixteenth
_SEEN = object()  # in place of a program: such a batch was here once


class Programs:
    """The programs of one pass: one for each layout of padded batches, and some for all ragged ones, as they come.

    Args:
        resized: what the pass is given, for another number of rows; the numbers do not matter.
        is_fixed: whether the pass gives the same numbers for the same tensors; only then it has any.
    """

    def __init__(self, resized: Callable[[int, Given], Given], *, is_fixed: bool = True) -> None:
        self._resized, self._is_fixed = resized, is_fixed
        self._known: weakref.WeakKeyDictionary[Layout, dict[Any, Any]] = weakref.WeakKeyDictionary()
        self._ragged: OrderedDict[_Key, Any] = OrderedDict()

    def known(self, layout: Layout, threads: int) -> Program | None:
        """The program for batches of a layout on so many threads, if there is one."""
        found = self._known.get(layout, {}).get(threads)
        return found if isinstance(found, Program) else None

    def run(self, turns: Pass, layout: Layout, given: Given) -> Results:
        """The results of the pass for one batch; see `turns`."""
        known, key = self._place(layout, team.num_threads())
        found = known.get(key)
        if isinstance(found, Program):
            return found.run(layout, given)
        return team.together([self.turns(turns, layout, given, alone=False)])[0]

    def turns(self, turns: Pass, layout: Layout, given: Given, *, alone: bool) -> team.Turns[Results]:
        """The results of the pass for one batch, for `team.together`.

        Args:
            turns: the pass, which depends on its tensors and the layout alone.
            layout: of the batch.
            given: the tensors.
            alone: whether a program is to take one thread, as another pass runs at the same time.
        """
        threads = 1 if alone else team.num_threads()
        known, key = self._place(layout, threads)
        found = known.get(key)
        if isinstance(found, Program):
            return (yield from found.turns(layout, given))
        if found is not _SEEN:
            if key not in known:
                known[key] = _SEEN if self._is_fixed and _is_worth_it(given) else None
            return (yield from turns(layout, given))
        with team.at_most(threads):
            if known is not self._ragged:
                known[key], results = record(turns, (layout, given))
                return results
            known[key], _ = record(turns, *self._others(layout, given, key.ends))
        return (yield from self.turns(turns, layout, given, alone=alone))

    def _place(self, layout: Layout, threads: int) -> tuple[dict[Any, Any], Any]:
        """Where the program for a batch stands, or will: with those for any lengths, if there may be such a one.

        In place of a program there is `_SEEN`, or None where there is none.
        """
        rows = layout.num_rows
        for parts in _PARTS if layout.sizes is None and rows > threads else ():
            key = _Key(len(layout.lengths), _ends(rows, parts, threads), threads)
            if key not in self._ragged:
                if len(self._ragged) >= _MOST:
                    self._ragged.popitem(last=False)
                return self._ragged, key
            with contextlib.suppress(KeyError):  # another thread needed its place
                self._ragged.move_to_end(key)
            if self._ragged.get(key) is not None:
                return self._ragged, key
        return self._known.setdefault(layout, {}), threads

    def _others(self, layout: Layout, given: Given, ends: Sequence[int]) -> list[tuple[Layout, Given]]:
        """Batches of as many sequences with so many rows."""
        return [(layout.resized(rows), self._resized(rows, given)) for rows in ends]


class _Key(NamedTuple):
    """For which ragged batches a program is."""

    batch_size: int
    ends: tuple[int, int]  # of the numbers of their rows
    threads: int


def _ends(rows: int, parts: int, threads: int) -> tuple[int, int]:
    """The fewest and the most rows, `threads` at least, that are served together; there is room for more in both.

    So what is in proportion to the rows is not so to what there is room for.
    """
    width = max(1, (1 << rows.bit_length() - 1) // parts)
    start = rows // width * width
    fewest = max(start, threads + 1)
    most = max(start + width - 1, fewest + 1)
    return fewest - (fewest == room(fewest)), most + (most == room(most))


def _is_worth_it(given: Given) -> bool:
    return all(t.layout is torch.strided for t in given) and sum(tensor.nbytes for tensor in given) <= _LARGEST
