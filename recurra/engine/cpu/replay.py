"""A pass over a batch as one call of machine code.

A pass is a dozen pieces of machine code: products before a loop, packed weights, the loop, sums after it. To fill their
tables in Python takes a quarter of a millisecond, in which a small network could run for a hundred steps. So when a
batch of the same sizes comes again, the pass is recorded: the jobs with their tables, where every word is a number or
an address. What comes after runs the same jobs on other tensors: machine code writes the tables, with the addresses of
this call, and goes through them.

A pass that was recorded more than once, over a small batch, a large one and one between, has a program for all of these
sizes: what is the same in all recordings is so in every batch, and what is in proportion to their size is in proportion
to that of a call. Where a choice, of threads say, differs, there is none.

Only memory that was handed in, or that the pass asked `arena` for, may be read, and only jobs may write into it. Where
torch computes something in between, random numbers say, the pass has no program and runs as it did.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.engine.cpu import arena, tape, team
from recurra.engine.cpu.jit import Code, compile_text
from recurra.engine.cpu.target import host
from recurra.engine.cpu.tiling import LINE, Layout, Tiling, room

__all__ = ["Given", "Pass", "Program", "Results", "record"]

Given = tuple[Tensor, ...]
Results = list[Any]  # tensors, and None for what there is none of
Pass = Callable[[Layout, Given], team.Turns[Results]]

_LASTING = 1 << 25  # bytes of a workspace that stays when a program has run
_of_thread = threading.local()
# slots of a call's table: the size of the batch (`Layout.size`), rows that there is memory for, a step more than the
# size, and room for as many; the tensors handed in, what says how sequences are dealt out, and the new tensors follow
_PROGRAM, _ZERO, _SIZE, _ROOM, _ONE_MORE, _SPAN, _WORKSPACE, _FIRST = range(8)
_ARRAYS = 5  # of a tiling
_FIXED = 0, 0, 0, 0, 0  # in the slots from _ZERO to _SPAN, where a program is for one size


class _NoProgram(Exception):
    """Something of the pass was computed elsewhere, or depends on the size in another way than in proportion."""


class Recording(NamedTuple):
    """What a pass did.

    Attributes:
        layout: of the batch.
        given: the tensors it ran on.
        noted: the jobs, and the memory that it asked for.
        results: what it returned.
    """

    layout: Layout
    given: Given
    noted: tape.Tape
    results: Results


Scale = tuple[int, ...]  # what stands in the slots from _ZERO to _SPAN


def _scale(layout: Layout) -> Scale:
    return 0, layout.size, room(layout.num_rows), layout.size + 1, room(layout.size + 1)


class _Number(NamedTuple):
    """A number: so much, and so much for each of what stands in a slot."""

    fixed: int
    factor: int = 0
    of: int = _ZERO

    def at(self, scale: Scale) -> int:
        """What it is in a batch."""
        return self.fixed + self.factor * scale[self.of - _ZERO]


class _New(NamedTuple):
    """A tensor that is new at each call; strides are of one that is not contiguous."""

    shape: tuple[_Number, ...]
    dtype: torch.dtype
    strides: tuple[_Number, ...]

    def at(self, scale: Scale) -> tuple[list[int], torch.dtype, list[int]]:
        return [each.at(scale) for each in self.shape], self.dtype, [each.at(scale) for each in self.strides]


class _View(NamedTuple):
    """A part of one, or the whole in another shape."""

    shape: tuple[_Number, ...]
    strides: tuple[_Number, ...]
    offset: _Number

    def at(self, scale: Scale) -> tuple[list[int], list[int], int]:
        sizes, strides = ([each.at(scale) for each in numbers] for numbers in (self.shape, self.strides))
        return sizes, strides, self.offset.at(scale)


class Program:
    """A pass that was recorded: once, for batches of that layout, or more often, for those of other sizes, too.

    Raises:
        _NoProgram: it read or returned memory that nobody handed in or asked for, or torch wrote into it; or the
            recordings differ in another way than by numbers in proportion to their size.
    """

    def __init__(self, *recordings: Recording) -> None:
        self._scales = [_scale(each.layout) for each in recordings]
        self._slots_of_sizes = (_SIZE, _ROOM) if recordings[0].layout.sizes is None else (_SIZE, _ROOM, _ONE_MORE)
        self._rows_of_step = recordings[0].layout.num_rows // max(1, recordings[0].layout.size)
        _expect(all(tape.version(tensor) == version for each in recordings for tensor, version in each.noted.memory))
        given = _together(each.given for each in recordings)
        jobs = _together(each.noted.jobs for each in recordings)
        memory = _together([tensor for tensor, _ in each.noted.memory] for each in recordings)
        self._strides = [_same(tensor.stride() for tensor in each) for each in given]
        self._slots: dict[tuple[int, ...], tuple[int, _Number]] = {}  # of memory by its addresses; where in the slot
        for number, tensors in enumerate(given):
            if tensors[0].numel():
                self._slots[_memories(tensors)] = _FIRST + number, _Number(0)
        self._constants = {_memories(each) for each in _together(each.noted.constants for each in recordings)}
        self._tilings = self._dealt([each.layout for each in recordings], jobs)
        own = {_memories(each): each for each in memory if each[0].numel()}
        self._new: list[_New] = []
        self._parts: list[tuple[int, _View | None]] = []
        returned = _together(each.results for each in recordings)
        self._results = [None if each[0] is None else self._result(each, own) for each in returned]
        tables = sum(_up(8 * len(each[0].words)) for each in jobs)
        self._workspace = self._lay_out([each for at, each in own.items() if at not in self._slots], tables)
        self._makers = [arena.maker(*each.at(_FIXED)) for each in self._new]
        self._views = self._views_at(_FIXED)
        self._forks = any(each[0].threads > 1 for each in jobs)
        _expect(not self._forks or team.can_fork())
        # what must live on: code, and what numbers of a table point at
        self._kept = [*(each[0]._replace(words=()) for each in jobs), *recordings[0].noted.constants]
        content = self._content(jobs)
        self._memory = (ctypes.c_int64 * len(content))(*content)
        self._address = ctypes.addressof(self._memory)
        self._code = _replay()

    def _content(self, jobs: Sequence[Sequence[team.Job]]) -> list[int]:
        """The program as machine code reads it, see `_REPLAY`."""
        words: list[int] = []
        content: list[int] = []
        for each in jobs:
            code, threads = _same(job.code for job in each), _same(job.threads for job in each)
            content += code.address, code.team, len(words) // 4, threads
            for word in _together(job.words for job in each):
                words += self._word(word)
            count = len(each[0].words)
            words += (_ZERO, 0, 0, _ZERO) * (_up(8 * count) // 8 - count)
        return [len(words) // 4, len(jobs), team.fork_address(), *words, *content]

    @property
    def _is_elastic(self) -> bool:
        """Whether it is for batches of any size."""
        return len(self._scales) > 1

    @property
    def _after_given(self) -> int:
        """The slot after those of the tensors that are handed in."""
        return _FIRST + len(self._strides)

    def _number(self, values: Sequence[Any]) -> _Number:
        """A number, of each recording, as that of any batch."""
        if values.count(values[0]) == len(values):
            return _Number(values[0])
        for of in self._slots_of_sizes:
            number = _Number(0, values[0] // self._scales[0][of - _ZERO], of)
            if [number.at(scale) for scale in self._scales] == [*values]:
                return number
        raise _NoProgram

    def _dealt(self, layouts: Sequence[Layout], jobs: Sequence[Sequence[team.Job]]) -> list[Tiling]:
        """The tilings in whose place another batch has others; their arrays get slots, those of all others stay."""
        found: dict[tuple[int, ...], Tiling] = {}
        for owners in (tuple(job.owners for job in each) for each in jobs):
            key = tuple(map(id, owners))
            if not isinstance(owners[0], Tiling) or key in found:
                continue
            if len({*key}) == 1:
                self._constants |= {_memories(arrays) for arrays in _together(own.arrays for own in owners)}
                continue
            pairs = zip(layouts, owners, strict=True)
            _expect(all(layout.like(own).asked == own.asked for layout, own in pairs))
            for number, arrays in enumerate(_together(own.arrays for own in owners)):
                self._slots[_memories(arrays)] = self._after_given + _ARRAYS * len(found) + number, _Number(0)
            found[key] = owners[0]
        return list(found.values())

    def _result(self, tensors: Sequence[Tensor], own: dict[tuple[int, ...], Any]) -> int:
        """Where among the parts of new tensors a result stands; what is returned twice stands there once."""
        at, tensor = _memories(tensors), tensors[0]
        _expect(at in own and all(memory.dtype is tensor.dtype for memory in own[at]))
        pairs = list(zip(tensors, own[at], strict=True))
        whole = all(tensor.numel() == memory.numel() and _is_dense(tensor) for tensor, memory in pairs)
        strides = self._numbers(tensor.stride() for tensor in tensors)
        shape = self._numbers(tensor.shape for tensor in (tensors if whole else own[at]))
        is_plain = not whole or all(tensor.is_contiguous() for tensor in tensors)
        new = _New(shape, tensor.dtype, () if is_plain else strides)
        first = self._after_given + _ARRAYS * len(self._tilings)
        if at not in self._slots:
            self._slots[at] = first + len(self._new), _Number(0)
            self._new.append(new)
        number = self._slots[at][0] - first
        place = None
        if not whole or self._new[number] != new:
            offset = self._number([tensor.storage_offset() for tensor in tensors])
            place = _View(self._numbers(tensor.shape for tensor in tensors), strides, offset)
        if (number, place) not in self._parts:
            self._parts.append((number, place))
        return self._parts.index((number, place))

    def _numbers(self, lists: Iterable[Sequence[int]]) -> tuple[_Number, ...]:
        return tuple(self._number(values) for values in _together(lists))

    def _lay_out(self, memories: Sequence[Sequence[Tensor]], fixed: int) -> tuple[int, int]:
        """Give what does not leave the pass places in its workspace; returns how many bytes, and how many a step.

        Steps are counted in _SPAN, which is no fewer than in any other slot and a multiple of 16.
        """
        of_step = 0
        for tensors in memories:
            size = self._number([tensor.untyped_storage().nbytes() for tensor in tensors])
            self._slots[_memories(tensors)] = _WORKSPACE, _Number(fixed, of_step, _SPAN)
            in_rows = size.of == _ROOM
            fixed += _up(size.fixed + (room(1) * size.factor if in_rows else 0))
            bytes_of_step = size.factor * (self._rows_of_step if in_rows else 1)
            of_step += -(-bytes_of_step // 4) * 4  # so that all begin with a line
        return fixed, of_step

    def _word(self, words: Sequence[int | Tensor]) -> tuple[int, int, int, int]:
        """A word of a table: that of a slot, so many bytes more, and a factor of that of another slot."""
        if isinstance(words[0], int):
            return _ZERO, *self._number(words)
        tensors: Any = words
        if tensors[0].numel() == 0:
            return _ZERO, 0, 0, _ZERO
        memories = _memories(tensors)
        if memories in self._constants:
            return _ZERO, _same(tensor.data_ptr() for tensor in tensors), 0, _ZERO
        _expect(memories in self._slots)
        slot, start = self._slots[memories]
        offset = self._number([tensor.data_ptr() - at for tensor, at in zip(tensors, memories, strict=True)])
        of = {each.of for each in (start, offset) if each.factor}
        _expect(len(of) <= 1)
        return slot, start.fixed + offset.fixed, start.factor + offset.factor, max(of, default=_ZERO)

    def _views_at(self, scale: Scale) -> list[tuple[int, Any]]:
        """Of each part which new tensor it is of, and how it is seen."""
        return [(number, None if view is None else view.at(scale)) for number, view in self._parts]

    def takes(self, given: Sequence[Tensor]) -> bool:
        """Whether it reads these tensors as they come, not copies with other strides."""
        return [tensor.stride() for tensor in given] == self._strides

    def run(self, layout: Layout, given: Sequence[Tensor]) -> Results:
        """The results of the pass on other tensors: of the same shapes and types, or of those of a batch with this
        layout."""
        return self.run_on(layout, self._read(given))

    def run_on(self, layout: Layout, read: Sequence[Tensor]) -> Results:
        """As `run`, on memory that stands as it `takes` it."""
        if not self._is_elastic:
            made = [make() for make in self._makers]
            self._call(_FIXED, (_workspace(self._words(_FIXED)), *read, *made))
            return self._taken(made, self._views)
        scale, tilings, made = self._of_batch(layout)
        self._call(scale, (_workspace(self._words(scale)), *read, *_arrays(tilings), *made))
        return self._taken(made, self._views_at(scale))

    def turns(self, layout: Layout, given: Sequence[Tensor]) -> team.Turns[Results]:
        """As `run`, for `team.together`."""
        return self.turns_on(layout, self._read(given))

    def turns_on(self, layout: Layout, read: Sequence[Tensor]) -> team.Turns[Results]:
        """As `run_on`, for `team.together`."""
        if not self._is_elastic:
            made = [make() for make in self._makers]
            yield self._job(_FIXED, (*read, *made))
            return self._taken(made, self._views)
        scale, tilings, made = self._of_batch(layout)
        yield self._job(scale, (*read, *_arrays(tilings), *made), tilings)
        return self._taken(made, self._views_at(scale))

    def _of_batch(self, layout: Layout) -> tuple[Scale, list[Tiling], list[Tensor]]:
        """Its scale, its tilings, and new tensors for it."""
        scale = _scale(layout)
        return scale, [layout.like(each) for each in self._tilings], [arena.empty(*new.at(scale)) for new in self._new]

    def _words(self, scale: Scale) -> int:
        """The size of the workspace, in words."""
        fixed, of_step = self._workspace
        return (fixed + of_step * scale[_SPAN - _ZERO]) // 8

    def _call(self, scale: Scale, memory: Sequence[Tensor]) -> None:
        """Run it on a workspace and what follows; nobody else gets memory that has a name here."""
        table = array("q", [self._address, *scale, *[tensor.data_ptr() for tensor in memory]])
        self._code.run(table.buffer_info()[0], 0)

    def _job(self, scale: Scale, memory: Sequence[Tensor], owners: Any = None) -> team.Job:
        """As `_call`, with a workspace of its own, as others run at the same time."""
        workspace = arena.empty((self._words(scale),), torch.float64)
        return team.Job(self._code, [self._address, *scale, workspace, *memory], 1, owners=owners, forks=self._forks)

    def _read(self, given: Sequence[Tensor]) -> list[Tensor]:
        """What it reads: what is given, or copies where that has other strides."""
        return [
            tensor if tensor.stride() == strides else _laid_out(tensor, strides)
            for tensor, strides in zip(given, self._strides, strict=True)
        ]

    def _taken(self, made: Sequence[Tensor], views: Sequence[tuple[int, Any]]) -> Results:
        """The results from the new tensors."""
        parts = [made[number] if view is None else made[number].as_strided(*view) for number, view in views]
        return [None if each is None else parts[each] for each in self._results]


def record(turns: Pass, *batches: tuple[Layout, Given]) -> tuple[Program | None, Results]:
    """Run a pass over batches and make a program of what it did, None where it has none; with the results of the last.

    It runs on copies of the tensors: two of them may be the same one now and not the next time.
    """
    recordings = []
    for layout, given in batches:
        copies = tuple(tensor.detach().clone() for tensor in given)
        with tape.listening() as noted:
            (results,) = team.together([turns(layout, copies)])
        recordings.append(Recording(layout, copies, noted, results))
    try:
        return Program(*recordings), results
    except _NoProgram:
        return None, results


def _workspace(size: int) -> Tensor:
    """Room for so many float64: the same one for all programs of a thread, which finds it near the processor."""
    if 8 * size > _LASTING:
        return arena.empty((size,), torch.float64)
    room: Tensor | None = getattr(_of_thread, "room", None)
    if room is None or room.numel() < size:
        room = _of_thread.room = arena.empty((size,), torch.float64)
    return room


def _memory(tensor: Tensor) -> int:
    address: int = tensor.untyped_storage().data_ptr()
    return address


def _memories(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    return tuple(map(_memory, tensors))


def _arrays(tilings: Sequence[Tiling]) -> list[Tensor]:
    return [array for tiling in tilings for array in tiling.arrays]


def _expect(condition: bool) -> None:
    if not condition:
        raise _NoProgram


def _same(values: Iterable[Any]) -> Any:
    """What all of them are."""
    first, *others = values
    _expect(all(other == first for other in others))
    return first


def _together(lists: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """The first items of all lists, the second ones, and so on."""
    lists = list(lists)
    _expect(len({len(each) for each in lists}) == 1)
    return list(zip(*lists, strict=True))


def _is_dense(tensor: Tensor) -> bool:
    """Whether the numbers fill their memory without gaps, in some order of the axes."""
    axes = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
    return tensor.permute(axes).is_contiguous()


def _laid_out(tensor: Tensor, strides: tuple[int, ...]) -> Tensor:
    """A copy with these strides."""
    return arena.empty(tensor.shape, tensor.dtype, strides).copy_(tensor)


def _up(size: int) -> int:
    return -(-size // LINE) * LINE


@functools.cache
def _replay() -> Code:
    team.prepare()
    return compile_text(_REPLAY.replace("WORKSPACE", str(_WORKSPACE)) + team.entry("replay"), "replay", host())


# %call: what stands in the slots. A program: how many words and jobs, the
# function that runs code on the threads of a team, then (slot, bytes, factor, slot that it is a factor of) of every
# word, then (code, code for a team, first word, threads) of each job
_REPLAY = """
define void @replay(ptr %call, i64 %thread) {
entry:
  %program = load ptr, ptr %call
  %at_workspace = getelementptr i64, ptr %call, i64 WORKSPACE
  %workspace = load ptr, ptr %at_workspace
  %num_words = load i64, ptr %program
  %at_num_jobs = getelementptr i64, ptr %program, i64 1
  %num_jobs = load i64, ptr %at_num_jobs
  %at_fork = getelementptr i64, ptr %program, i64 2
  %fork = load ptr, ptr %at_fork
  %words = getelementptr i64, ptr %program, i64 3
  %jobs = getelementptr {i64, i64, i64, i64}, ptr %words, i64 %num_words
  br label %next_word
next_word:
  %i = phi i64 [ 0, %entry ], [ %i_after, %word ]
  %is_word = icmp slt i64 %i, %num_words
  br i1 %is_word, label %word, label %next_job
word:
  %at_slot = getelementptr {i64, i64, i64, i64}, ptr %words, i64 %i
  %slot = load i64, ptr %at_slot
  %at_bytes = getelementptr i64, ptr %at_slot, i64 1
  %bytes = load i64, ptr %at_bytes
  %at_address = getelementptr i64, ptr %call, i64 %slot
  %address = load i64, ptr %at_address
  %at_factor = getelementptr i64, ptr %at_slot, i64 2
  %factor = load i64, ptr %at_factor
  %at_unit_slot = getelementptr i64, ptr %at_slot, i64 3
  %unit_slot = load i64, ptr %at_unit_slot
  %at_unit = getelementptr i64, ptr %call, i64 %unit_slot
  %unit = load i64, ptr %at_unit
  %more = mul i64 %factor, %unit
  %start = add i64 %address, %bytes
  %value = add i64 %start, %more
  %goal = getelementptr i64, ptr %workspace, i64 %i
  store i64 %value, ptr %goal
  %i_after = add i64 %i, 1
  br label %next_word
next_job:
  %j = phi i64 [ 0, %next_word ], [ %j_after, %done ]
  %is_job = icmp slt i64 %j, %num_jobs
  br i1 %is_job, label %job, label %end
job:
  %at_code = getelementptr {i64, i64, i64, i64}, ptr %jobs, i64 %j
  %code = load ptr, ptr %at_code
  %at_team = getelementptr i64, ptr %at_code, i64 1
  %team = load ptr, ptr %at_team
  %at_first = getelementptr i64, ptr %at_code, i64 2
  %first = load i64, ptr %at_first
  %at_threads = getelementptr i64, ptr %at_code, i64 3
  %threads = load i64, ptr %at_threads
  %table = getelementptr i64, ptr %workspace, i64 %first
  %is_alone = icmp eq i64 %threads, 1
  br i1 %is_alone, label %alone, label %by_team
alone:
  call void %code(ptr %table, i64 0)
  br label %done
by_team:
  %count = trunc i64 %threads to i32
  call void %fork(ptr %team, ptr %table, i32 %count, i32 0)
  br label %done
done:
  %j_after = add i64 %j, 1
  br label %next_job
end:
  ret void
}
"""
