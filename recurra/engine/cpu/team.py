"""Threads for compiled loops: the OpenMP team that torch owns already, so that the two never fight for cores."""

from __future__ import annotations

import ctypes
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from llvmlite import binding as llvm

from recurra.engine.cpu.jit import Code

__all__ = ["num_threads", "run"]

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


def num_threads() -> int:
    """Threads to use: as many as torch would."""
    return 1 if _forked else torch.get_num_threads()


def run(code: Code, table: int, threads: int) -> None:
    """Run compiled code on that many threads; the GIL is released meanwhile."""
    library = _openmp()
    if threads == 1:
        code.run(table, 0)
    elif library is not None:
        library.GOMP_parallel(code.team, table, threads, 0)
    else:
        list(_pool(threads).map(functools.partial(code.run, table), range(threads)))
