"""Threads for compiled loops: the OpenMP team that torch owns already, so that the two never fight for cores."""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import platform
import sys
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from llvmlite import binding as llvm
from torch import Tensor

from recurra.engine.cpu import tape
from recurra.engine.cpu.jit import Code, compile_text
from recurra.engine.cpu.target import host

__all__ = [
    "WORTH_A_THREAD",
    "Job",
    "Turns",
    "at_most",
    "can_fork",
    "can_meet",
    "cut",
    "do",
    "entry",
    "fork_address",
    "num_threads",
    "prepare",
    "run",
    "together",
]

WORTH_A_THREAD = 4_000_000  # flops of a product; fewer take less time than waking a thread

_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True  # the threads of the parent's team do not exist in the child


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@functools.cache
def _openmp() -> Any:
    """The OpenMP library that torch loaded, or None."""
    for path in sorted((Path(torch.__file__).parent / "lib").glob("libgomp*")):
        library = ctypes.CDLL(str(path))
        library.GOMP_parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        return library
    return None


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="recurra")


def prepare() -> None:
    """Tell LLVM where the team's own functions are; before the first module is compiled."""
    library = _openmp()
    if library is not None:
        address = ctypes.cast(library.omp_get_thread_num, ctypes.c_void_p).value
    else:
        address = ctypes.cast(ctypes.pythonapi.Py_IsInitialized, ctypes.c_void_p).value  # never called then
    llvm.add_symbol("omp_get_thread_num", address)
    llvm.add_symbol("recurra_meet", _meet().address if can_meet() else address)


def cut(count: int, parts: int) -> list[tuple[int, int]]:
    """The first and the last, which is not in it, of shares as even as can be; none is empty."""
    edges = [count * part // parts for part in range(parts + 1)]
    return [(first, last) for first, last in itertools.pairwise(edges) if first < last]


def num_threads() -> int:
    """Threads to use: as many as torch would, as far as OpenMP gives them out."""
    return 1 if _forked else min(torch.get_num_threads(), _most(), _limit.get())


_limit: ContextVar[int] = ContextVar("threads at most", default=sys.maxsize)


@contextmanager
def at_most(threads: int) -> Iterator[None]:
    """Inside, no work of this thread takes more threads."""
    token = _limit.set(threads)
    try:
        yield
    finally:
        _limit.reset(token)


@functools.cache
def _most() -> int:
    """Threads of the largest team that is sure to have as many as were asked for; the code counts on all of them."""
    library = _openmp()
    if library is None:
        return sys.maxsize
    limit: int = library.omp_get_thread_limit()  # OMP_THREAD_LIMIT
    return 1 if library.omp_get_dynamic() else limit  # OMP_DYNAMIC: fewer, where cores are busy


def can_fork() -> bool:
    """Whether there is a team; else threads of Python run the code."""
    return _openmp() is not None


def fork_address() -> int:
    """Of the function that runs code on the threads of a team, `fork(code for a team, table, threads, 0)`; else 0."""
    library = _openmp()
    return 0 if library is None else ctypes.cast(library.GOMP_parallel, ctypes.c_void_p).value or 0


# of a processor, the number of Linux's call futex and what a loop that waits says to it
_WAITING = {"x86_64": (202, "@llvm.x86.sse2.pause()"), "aarch64": (98, "@llvm.aarch64.hint(i32 1)")}


def can_meet() -> bool:
    """Whether the threads of compiled code may wait for each other."""
    return _openmp() is not None and sys.platform == "linux" and platform.machine() in _WAITING


class Job(NamedTuple):
    """Compiled code with its table.

    Attributes:
        code: the code.
        words: of the table; a tensor stands for its address.
        threads: how many it wants.
        owners: what must live as long as numbers among the words are addresses.
        forks: whether it hands out work to a team by itself.
    """

    code: Code
    words: Sequence[int | Tensor]
    threads: int
    owners: Any = None
    forks: bool = False

    @property
    def table(self) -> ctypes.Array[ctypes.c_int64]:
        """The words as the code reads them."""
        words = [word if isinstance(word, int) else word.data_ptr() for word in self.words]
        return (ctypes.c_int64 * len(words))(*words)


Result = TypeVar("Result")
Turns = Generator[Job, None, Result]  # work in Python that hands out one job on its way, or none


def together(works: Sequence[Turns[Result]]) -> list[Result]:
    """What each of them returns; their jobs run at the same time where there are threads for all of them."""
    results: dict[int, Result] = {}

    def jobs() -> Iterator[Job]:
        for number, work in enumerate(works):
            if number not in results:
                try:
                    yield next(work)
                except StopIteration as done:
                    results[number] = done.value

    now = list(jobs())
    if len(now) == 2 and _have_room(now):
        _run_two(*now)
    else:
        for job in now:
            do(job)
    left = list(jobs())
    assert not left, "each has one job at most"
    return [results[number] for number in range(len(works))]


def _have_room(jobs: Sequence[Job]) -> bool:
    """Whether there are threads for all of them at the same time."""
    return can_fork() and sum(job.threads for job in jobs) <= num_threads() and not any(job.forks for job in jobs)


def do(job: Job) -> None:
    """Run one job; see `run`."""
    noted = tape.running()
    if noted is not None:
        noted.jobs.append(job)
    table = job.table
    run(job.code, ctypes.addressof(table), job.threads)


def _run_two(one: Job, other: Job) -> None:
    """Two jobs, each on its own threads of one team."""
    tables = one.table, other.table
    first, second = map(ctypes.addressof, tables)
    words = (one.threads, one.code.address, first, other.code.address, second)
    table = (ctypes.c_int64 * len(words))(*words)
    _openmp().GOMP_parallel(_two().team, ctypes.addressof(table), one.threads + other.threads, 0)


@functools.cache
def _two() -> Code:
    prepare()
    return compile_text(_TWO + entry("two"), "two", host())


def entry(name: str) -> str:
    """`<name>_team(table)` as LLVM IR: what each thread of a team runs; it asks the team for its own number."""
    return f"""
declare i32 @omp_get_thread_num()

define void @{name}_team(ptr %table) {{
  %number = call i32 @omp_get_thread_num()
  %thread = sext i32 %number to i64
  call void @{name}(ptr %table, i64 %thread)
  ret void
}}
"""


# thread k of the team is thread k of the first job, or thread k - threads of the other
_TWO = """
define void @two(ptr %table, i64 %thread) {
  %threads = load i64, ptr %table
  %is_other = icmp sge i64 %thread, %threads
  %word = select i1 %is_other, i64 3, i64 1
  %before = select i1 %is_other, i64 %threads, i64 0
  %own = sub i64 %thread, %before
  %at_code = getelementptr i64, ptr %table, i64 %word
  %code = load ptr, ptr %at_code
  %at_argument = getelementptr i64, ptr %at_code, i64 1
  %argument = load ptr, ptr %at_argument
  call void %code(ptr %argument, i64 %own)
  ret void
}
"""


@functools.cache
def _meet() -> Code:
    futex, pause = _WAITING[platform.machine()]
    text = _MEET.replace("FUTEX", str(futex)).replace("PAUSE", pause).replace("TOLERATED", str(_TOLERATED))
    return compile_text(text, "meet", host())


# Wait until as many threads are here as there are. The last of them opens the door: it counts the meetings. Others look
# at that number for some microseconds, and then sleep until it changes: libgomp's barrier looks for as long as a thread
# may have its core, and on cores that others keep busy each meeting took that long.
# To sleep and be woken takes 50 to 100 microseconds, and one who comes late by that finds that the others sleep: while
# another program had one of two cores, both threads stayed on the other core, and every meeting was slept through for
# seconds. So once some were, more than one of 256, the threads are told to part, from then on at every meeting, and
# sleep at once where they still meet.
# %place: four 32-bit words that are 0 at first: threads that are here, meetings until now, threads that sleep, and how
# often one slept, which is negative once they are to part
_MEET = """
declare i64 @syscall(i64, ...)
declare void @llvm.x86.sse2.pause()
declare void @llvm.aarch64.hint(i32)

define i64 @meet(ptr %place, i64 %threads) {
entry:
  %meetings = getelementptr i32, ptr %place, i64 1
  %sleepers = getelementptr i32, ptr %place, i64 2
  %naps = getelementptr i32, ptr %place, i64 3
  %before = load atomic i32, ptr %meetings seq_cst, align 4
  %known = load atomic i32, ptr %naps seq_cst, align 4
  %apart = icmp slt i32 %known, 0
  %patience = select i1 %apart, i32 0, i32 2000
  %others = atomicrmw add ptr %place, i32 1 seq_cst
  %all = trunc i64 %threads to i32
  %here = add i32 %others, 1
  %is_last = icmp eq i32 %here, %all
  br i1 %is_last, label %open, label %look
open:
  %slept_so_far = load atomic i32, ptr %naps seq_cst, align 4
  %expected = lshr i32 %before, 8
  %tolerated = add i32 %expected, TOLERATED
  %is_much = icmp sgt i32 %slept_so_far, %tolerated
  br i1 %is_much, label %give_up, label %let_in
give_up:
  store atomic i32 -2147483648, ptr %naps seq_cst, align 4
  br label %let_in
let_in:
  store atomic i32 0, ptr %place seq_cst, align 4
  %counted = atomicrmw add ptr %meetings, i32 1 seq_cst
  %asleep = load atomic i32, ptr %sleepers seq_cst, align 4
  %nobody = icmp eq i32 %asleep, 0
  br i1 %nobody, label %end, label %wake
wake:
  %woken = call i64 (i64, ...) @syscall(i64 FUTEX, ptr %meetings, i32 129, i32 2147483647, ptr null)
  br label %end
look:
  %turn = phi i32 [ 0, %entry ], [ %next, %again ]
  %seen = load atomic i32, ptr %meetings seq_cst, align 4
  %is_open = icmp ne i32 %seen, %before
  br i1 %is_open, label %end, label %again
again:
  call void PAUSE
  %next = add i32 %turn, 1
  %is_patient = icmp slt i32 %next, %patience
  br i1 %is_patient, label %look, label %lie_down
lie_down:
  %one_more = atomicrmw add ptr %naps, i32 1 seq_cst
  %with_me = atomicrmw add ptr %sleepers, i32 1 seq_cst
  br label %sleep
sleep:
  %slept = call i64 (i64, ...) @syscall(i64 FUTEX, ptr %meetings, i32 128, i32 %before, ptr null)
  %found = load atomic i32, ptr %meetings seq_cst, align 4
  %is_early = icmp eq i32 %found, %before
  br i1 %is_early, label %sleep, label %get_up
get_up:
  %with_others = atomicrmw sub ptr %sleepers, i32 1 seq_cst
  br label %end
end:
  %verdict = load atomic i32, ptr %naps seq_cst, align 4
  %part = icmp slt i32 %verdict, 0
  %answer = zext i1 %part to i64
  ret i64 %answer
}
define void @meet_team(ptr %table) { ret void }
"""
_TOLERATED = 4  # naps in the first 256 meetings


def run(code: Code, table: int, threads: int) -> None:
    """Run compiled code on that many threads; the GIL is released meanwhile."""
    library = _openmp()
    if threads == 1:
        code.run(table, 0)
    elif library is not None:
        library.GOMP_parallel(code.team, table, threads, 0)
    else:
        list(_pool(threads).map(functools.partial(code.run, table), range(threads)))
