"""Threads for compiled loops: the OpenMP team that torch owns already, so that the two never fight for cores."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from llvmlite import binding as llvm

from recurra.engine.cpu.jit import Code, compile_text
from recurra.engine.cpu.target import host

__all__ = ["Job", "Turns", "can_meet", "entry", "num_threads", "run", "together"]

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
    for name in ("omp_get_thread_num", "GOMP_barrier"):
        known = ctypes.pythonapi.Py_IsInitialized if library is None else getattr(library, name)  # never called then
        llvm.add_symbol(name, ctypes.cast(known, ctypes.c_void_p).value)


def num_threads() -> int:
    """Threads to use: as many as torch would."""
    return 1 if _forked else torch.get_num_threads()


def can_meet() -> bool:
    """Whether compiled code may wait for all threads of its team."""
    return _openmp() is not None


class Job(NamedTuple):
    """Compiled code, the address of its table, how many threads it wants, and whether they wait for each other."""

    code: Code
    table: int
    threads: int
    meets: bool = False


Result = TypeVar("Result")
Turns = Generator[Job, None, Result]  # work in Python that hands out one job on its way


def together(works: Sequence[Turns[Result]]) -> list[Result]:
    """What each of them returns; their jobs run at the same time where there are threads for all of them."""
    jobs = [next(work) for work in works]
    meets = any(job.meets for job in jobs)  # they would wait for the threads of the other job too
    if len(jobs) == 2 and not meets and sum(job.threads for job in jobs) <= num_threads() and _openmp() is not None:
        _run_two(*jobs)
    else:
        for job in jobs:
            run(job.code, job.table, job.threads)
    results = []
    for work in works:
        try:
            next(work)
        except StopIteration as done:
            results.append(done.value)
    assert len(results) == len(works), "each has one job"
    return results


def _run_two(one: Job, other: Job) -> None:
    """Two jobs, each on its own threads of one team."""
    words = (one.threads, one.code.address, one.table, other.code.address, other.table)
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


def run(code: Code, table: int, threads: int) -> None:
    """Run compiled code on that many threads; the GIL is released meanwhile."""
    library = _openmp()
    if threads == 1:
        code.run(table, 0)
    elif library is not None:
        library.GOMP_parallel(code.team, table, threads, 0)
    else:
        list(_pool(threads).map(functools.partial(code.run, table), range(threads)))
