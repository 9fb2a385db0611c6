"""A pass over a batch as one call of machine code.

A pass is a dozen pieces of machine code: products before a loop, packed weights, the loop, sums after it. To fill their
tables in Python takes a quarter of a millisecond, in which a small network could run for a hundred steps. So when a
batch of the same sizes comes again, the pass is recorded: the jobs with their tables, where every word is a number or
an address. What comes after runs the same jobs on other tensors: machine code writes the tables, with the addresses of
this call, and goes through them.

Only memory that was handed in, or that the pass asked `arena` for, may be read, and only jobs may write into it. Where
torch computes something in between, random numbers say, the pass has no program and runs as it did.
"""

from __future__ import annotations

import ctypes
import functools
import threading
import weakref
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.engine.cpu import arena, tape, team
from recurra.engine.cpu.jit import Code, compile_text
from recurra.engine.cpu.target import host
from recurra.engine.cpu.tiling import LINE, Layout

__all__ = ["Given", "Program", "Programs", "Results", "record"]

Given = tuple[Tensor, ...]
Results = list[Any]  # tensors, and None for what there is none of

_LARGEST = 1 << 26  # bytes of all tensors handed in; beyond that a pass takes so long that tables do not matter
_LASTING = 1 << 25  # bytes of a workspace that stays when a program has run
_of_thread = threading.local()
_SEEN = object()  # in place of a program: a batch of these sizes was here once
# slots of a call's table; the tensors handed in and the new ones follow
_PROGRAM, _ZERO, _WORKSPACE, _FIRST = range(4)


class _NoProgram(Exception):
    """Something of the pass was computed elsewhere."""


class Program:
    """A pass that was recorded.

    Args:
        given: the tensors it ran on.
        noted: what it did.
        results: what it returned.

    Raises:
        _NoProgram: it read or returned memory that nobody handed in or asked for, or torch wrote into it.
    """

    def __init__(self, given: Given, noted: tape.Tape, results: Results) -> None:
        self._strides = [tensor.stride() for tensor in given]
        self._slots: dict[int, tuple[int, int]] = {}  # of memory by its address: which slot, and where in it
        for number, tensor in enumerate(given):
            if tensor.numel():
                self._slots[_memory(tensor)] = _FIRST + number, 0
        self._constants = {_memory(tensor) for tensor in noted.constants}
        self._new: list[tuple[Any, ...]] = []
        if any(tape.version(tensor) != version for tensor, version in noted.memory):
            raise _NoProgram
        own = {_memory(tensor): tensor for tensor, _ in noted.memory if tensor.numel()}
        self._parts: list[tuple[int, Any]] = []
        self._results = [None if each is None else self._result(each, own) for each in results]
        tables = sum(_up(8 * len(job.words)) for job in noted.jobs)
        workspace = self._lay_out([tensor for at, tensor in own.items() if at not in self._slots], tables)
        self._workspace = workspace
        self._makers = [arena.maker(*each) for each in self._new]
        words: list[int] = []
        jobs: list[int] = []
        for job in noted.jobs:
            jobs += job.code.address, job.code.team, len(words) // 2, job.threads
            for word in job.words:
                words += self._word(word)
            words += (_ZERO, 0) * (_up(8 * len(job.words)) // 8 - len(job.words))
        self._forks = any(job.threads > 1 for job in noted.jobs)
        if self._forks and not team.can_fork():
            raise _NoProgram
        # what must live on: code, and what numbers of a table point at
        self._kept = [*(job._replace(words=()) for job in noted.jobs), *noted.constants]
        content = [len(words) // 2, len(noted.jobs), team.fork_address(), *words, *jobs]
        self._memory = (ctypes.c_int64 * len(content))(*content)
        self._address = ctypes.addressof(self._memory)
        self._code = _replay()

    def _result(self, tensor: Tensor, own: dict[int, Tensor]) -> int:
        """Where among the parts of new tensors a result stands; what is returned twice stands there once."""
        at = _memory(tensor)
        memory = own.get(at)
        if memory is None or memory.dtype is not tensor.dtype:
            raise _NoProgram
        whole = tensor.numel() == memory.numel() and _is_dense(tensor)
        strides = () if tensor.is_contiguous() else tensor.stride()
        if at not in self._slots:
            self._slots[at] = _FIRST + len(self._strides) + len(self._new), 0
            self._new.append((tensor.shape, memory.dtype, strides) if whole else (memory.shape, memory.dtype, ()))
        number = self._slots[at][0] - _FIRST - len(self._strides)
        is_all = self._new[number] == (tensor.shape, memory.dtype, strides)
        place = None if is_all else (tensor.shape, tensor.stride(), tensor.storage_offset())
        if (number, place) not in self._parts:
            self._parts.append((number, place))
        return self._parts.index((number, place))

    def _lay_out(self, tensors: Sequence[Tensor], start: int) -> int:
        """Give everything that does not leave the pass a place in its workspace; returns the size of that in words."""
        for tensor in tensors:
            self._slots[_memory(tensor)] = _WORKSPACE, start
            start = _up(start + tensor.untyped_storage().nbytes())
        return start // 8

    def _word(self, word: int | Tensor) -> tuple[int, int]:
        """The slot that a word of a table counts from, and the bytes from there."""
        if isinstance(word, int):
            return _ZERO, word
        if word.numel() == 0:
            return _ZERO, 0
        memory = _memory(word)
        if memory in self._constants:
            return _ZERO, word.data_ptr()
        if memory not in self._slots:
            raise _NoProgram
        slot, offset = self._slots[memory]
        return slot, offset + word.data_ptr() - memory

    def takes(self, given: Sequence[Tensor]) -> bool:
        """Whether it reads these tensors as they come, not copies with other strides."""
        return [tensor.stride() for tensor in given] == self._strides

    def run(self, given: Sequence[Tensor]) -> Results:
        """The results of the pass on other tensors of the same shapes and types."""
        return self.run_on(self._read(given))

    def run_on(self, read: Sequence[Tensor]) -> Results:
        """As `run`, on memory that stands as it `takes` it."""
        made = [make() for make in self._makers]
        memory = _workspace(self._workspace), *read, *made  # nobody else gets what has a name here
        table = array("q", [self._address, 0, *[tensor.data_ptr() for tensor in memory]])
        self._code.run(table.buffer_info()[0], 0)
        return self._taken(made)

    def turns(self, given: Sequence[Tensor]) -> team.Turns[Results]:
        """As `run`, for `team.together`."""
        read, made = self._read(given), [make() for make in self._makers]
        workspace = arena.empty((self._workspace,), torch.float64)  # its own, as others run at the same time
        yield team.Job(self._code, [self._address, 0, workspace, *read, *made], 1, forks=self._forks)
        return self._taken(made)

    def _read(self, given: Sequence[Tensor]) -> list[Tensor]:
        """What it reads: what is given, or copies where that has other strides."""
        return [
            tensor if tensor.stride() == strides else _laid_out(tensor, strides)
            for tensor, strides in zip(given, self._strides, strict=True)
        ]

    def _taken(self, made: Sequence[Tensor]) -> Results:
        """The results from the new tensors."""
        parts = [made[n] if place is None else made[n].as_strided(*place) for n, place in self._parts]
        return [None if each is None else parts[each] for each in self._results]


def record(run: Callable[[Given], Results], given: Given) -> tuple[Program | None, Results]:
    """Run a pass, and make a program of what it did; None where it has none.

    It runs on copies of the tensors: two of them may be the same one now and not the next time.
    """
    copies = tuple(tensor.detach().clone() for tensor in given)
    with tape.listening() as noted:
        results = run(copies)
    try:
        return Program(copies, noted, results), results
    except _NoProgram:
        return None, results


class Programs:
    """The programs of one pass, one for each layout and number of threads.

    Args:
        is_fixed: whether the pass gives the same numbers for the same tensors; only then it has any.
    """

    def __init__(self, *, is_fixed: bool = True) -> None:
        self._is_fixed = is_fixed
        self._known: weakref.WeakKeyDictionary[Layout, dict[int, Any]] = weakref.WeakKeyDictionary()

    def known(self, layout: Layout) -> Program | None:
        """The program for a batch, if there is one."""
        found = self._known.get(layout, {}).get(team.num_threads())
        return found if isinstance(found, Program) else None

    def run(self, turns: Callable[[Given], team.Turns[Results]], layout: Layout, given: Given) -> Results:
        """The results of the pass for one batch; see `turns`."""
        found = self.known(layout)
        if found is not None:
            return found.run(given)
        return team.together([self.turns(turns, layout, given, alone=False)])[0]

    def turns(
        self, turns: Callable[[Given], team.Turns[Results]], layout: Layout, given: Given, *, alone: bool
    ) -> team.Turns[Results]:
        """The results of the pass for one batch, for `team.together`.

        Args:
            turns: the pass, which depends on its tensors and the layout alone.
            layout: of the batch.
            given: the tensors.
            alone: whether a program is to take one thread, as another pass runs at the same time.
        """
        known = self._known.setdefault(layout, {})
        threads = 1 if alone else team.num_threads()
        found = known.get(threads)
        if isinstance(found, Program):
            return (yield from found.turns(given))
        if found is not _SEEN:
            if threads not in known:
                known[threads] = _SEEN if self._is_fixed and _is_worth_it(given) else None
            return (yield from turns(given))
        with team.at_most(threads):
            known[threads], results = record(lambda copies: team.together([turns(copies)])[0], given)
        return results


def _workspace(size: int) -> Tensor:
    """Room for so many float64: the same one for all programs of a thread, which finds it near the processor."""
    if 8 * size > _LASTING:
        return arena.empty((size,), torch.float64)
    room: Tensor | None = getattr(_of_thread, "room", None)
    if room is None or room.numel() < size:
        room = _of_thread.room = arena.empty((size,), torch.float64)
    return room


def _is_worth_it(given: Given) -> bool:
    return all(t.layout is torch.strided for t in given) and sum(tensor.nbytes for tensor in given) <= _LARGEST


def _memory(tensor: Tensor) -> int:
    address: int = tensor.untyped_storage().data_ptr()
    return address


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
    return compile_text(_REPLAY + team.entry("replay"), "replay", host())


# %call: the program, 0, the workspace, addresses. A program: how many words and jobs, the function that runs code on
# the threads of a team, then (slot, bytes) of every word, then (code, code for a team, first word, threads) of each job
_REPLAY = """
define void @replay(ptr %call, i64 %thread) {
entry:
  %program = load ptr, ptr %call
  %at_workspace = getelementptr i64, ptr %call, i64 2
  %workspace = load ptr, ptr %at_workspace
  %num_words = load i64, ptr %program
  %at_num_jobs = getelementptr i64, ptr %program, i64 1
  %num_jobs = load i64, ptr %at_num_jobs
  %at_fork = getelementptr i64, ptr %program, i64 2
  %fork = load ptr, ptr %at_fork
  %words = getelementptr i64, ptr %program, i64 3
  %jobs = getelementptr {i64, i64}, ptr %words, i64 %num_words
  br label %next_word
next_word:
  %i = phi i64 [ 0, %entry ], [ %i_after, %word ]
  %is_word = icmp slt i64 %i, %num_words
  br i1 %is_word, label %word, label %next_job
word:
  %at_slot = getelementptr {i64, i64}, ptr %words, i64 %i
  %slot = load i64, ptr %at_slot
  %at_bytes = getelementptr i64, ptr %at_slot, i64 1
  %bytes = load i64, ptr %at_bytes
  %at_address = getelementptr i64, ptr %call, i64 %slot
  %address = load i64, ptr %at_address
  %value = add i64 %address, %bytes
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
  %at_start = getelementptr i64, ptr %at_code, i64 2
  %start = load i64, ptr %at_start
  %at_threads = getelementptr i64, ptr %at_code, i64 3
  %threads = load i64, ptr %at_threads
  %table = getelementptr i64, ptr %workspace, i64 %start
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
