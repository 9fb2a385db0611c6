"""Which program runs a pass over a batch: the passes that were recorded, by what they are for.

Padded batches of one length share a program. Sequences of other lengths are another batch each time, so there are
programs for a number of sequences and a stretch of sizes, too: those of all ragged batches, and of padded ones once a
second length has come.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
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
_MOST = 256  # programs for any size that a pass keeps
_PARTS = 4, 16  # one of them serves a quarter of the sizes from one power of two to the next, or a sixteenth


class _Seen(NamedTuple):
    """In place of a program: such a batch was here once, of this size."""

    size: int


class Programs:
    """The programs of one pass: for single layouts of padded batches, and for all sizes of one kind, as they come.

    Args:
        resized: what the pass is given, for another number of rows; the numbers do not matter.
        is_fixed: whether the pass gives the same numbers for the same tensors; only then it has any.
    """

    def __init__(self, resized: Callable[[int, Given], Given], *, is_fixed: bool = True) -> None:
        self._resized, self._is_fixed = resized, is_fixed
        self._known: weakref.WeakKeyDictionary[Layout, dict[Any, Any]] = weakref.WeakKeyDictionary()
        self._elastic: OrderedDict[_Key, Any] = OrderedDict()

    def known(self, layout: Layout, threads: int) -> Program | None:
        """The program for batches of a layout on so many threads, if there is one."""
        known, key = self._place(layout, threads)
        found = known.get(key)
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
        if not isinstance(found, _Seen):
            if key not in known:
                known[key] = _Seen(layout.size) if self._is_fixed and _is_worth_it(given) else None
                self._forget_oldest()
            return (yield from turns(layout, given))
        with team.at_most(threads):
            if known is not self._elastic or (layout.sizes is not None and found.size == layout.size):
                self._known.setdefault(layout, {})[threads], results = record(turns, (layout, given))
                return results
            # a batch between the two, this one, has to agree with them
            known[key], results = record(turns, *self._others(layout, given, key.ends), (layout, given))
            return results

    def _place(self, layout: Layout, threads: int) -> tuple[dict[Any, Any], Any]:
        """Where the program for a batch stands, or will: with those for any size, if there may be such a one.

        In place of a program there is `_Seen`, or None where there is none.
        """
        own = self._known.get(layout, {})
        if isinstance(own.get(threads), Program):
            return own, threads
        rows_of_step = 1 if layout.sizes is None else layout.sizes[1]
        for parts in _PARTS if min(layout.size, layout.num_rows) > threads else ():
            key = _Key(layout.kind, _ends(layout.size, parts, threads, rows_of_step), threads)
            if key not in self._elastic:
                return self._elastic, key
            with contextlib.suppress(KeyError):  # another thread needed its place
                self._elastic.move_to_end(key)
            if self._elastic.get(key) is not None:
                return self._elastic, key
        return self._known.setdefault(layout, {}), threads

    def _forget_oldest(self) -> None:
        while len(self._elastic) > _MOST:
            with contextlib.suppress(KeyError):  # another thread did
                self._elastic.popitem(last=False)

    def _others(self, layout: Layout, given: Given, ends: Sequence[int]) -> list[tuple[Layout, Given]]:
        """Batches of the same kind of these sizes."""
        layouts = [layout.resized(size) for size in ends]
        return [(each, self._resized(each.num_rows, given)) for each in layouts]


class _Key(NamedTuple):
    """For which batches a program is."""

    kind: tuple[int | bool, ...]
    ends: tuple[int, int]  # of their sizes
    threads: int


@functools.lru_cache(maxsize=1 << 12)
def _ends(size: int, parts: int, threads: int, rows_of_step: int = 1) -> tuple[int, int]:
    """The smallest and the largest size, `threads` at least, that are served together.

    They are such that two recordings tell what is in proportion to the size from what is so to the rows that there is
    room for, and from what is so to a step more.
    """
    width = max(1, (1 << size.bit_length() - 1) // parts)
    start = size // width * width
    smallest, largest = max(start, threads + 1), max(start + width - 1, threads + 2)
    wider = ((smallest - less, largest + more) for more in itertools.count() for less in (0, 1))
    return next(ends for ends in wider if ends[0] < ends[1] and _tell_apart(*ends, rows_of_step))


def _tell_apart(smallest: int, largest: int, rows_of_step: int) -> bool:
    of_room, of_size, of_one_more = (
        (count(smallest), count(largest))
        for count in (lambda size: room(size * rows_of_step), lambda size: size, lambda size: size + 1)
    )
    is_full = room(rows_of_step) == rows_of_step  # then there is never more room than rows
    return not _are_alike(of_room, of_one_more) and (is_full or not _are_alike(of_room, of_size))


def _are_alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether the second is as many times the first in both."""
    return one[0] * other[1] == one[1] * other[0]


def _is_worth_it(given: Given) -> bool:
    return all(t.layout is torch.strided for t in given) and sum(tensor.nbytes for tensor in given) <= _LARGEST
