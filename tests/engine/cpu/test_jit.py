"""Machine code in this process: how long it lives."""

from __future__ import annotations

import ctypes
import gc
import weakref
from typing import Any

from recurra.engine.cpu import jit
from recurra.engine.cpu.target import host
from tests.engine.cpu.test_cache import ANSWER

TEXT = ANSWER.replace("MULTIPLE", "1")


class Holder:
    """Refers to itself, so that only the garbage collector takes it away, and everything that it has in any order."""

    def __init__(self, code: Any) -> None:
        self.code, self.me = code, self


def test_code_of_a_cycle_is_taken_away_and_leaves_other_code_alone() -> None:
    kept = jit.compile_text(TEXT, "answer", host())
    for _ in range(20):
        holder = Holder(jit.compile_text(TEXT, "answer", host()))
        gone = weakref.ref(holder.code._engine)
        del holder
        gc.collect()  # a crash, where the engine outlives what it needs
        assert gone() is None
    found = ctypes.c_int64(0)
    kept.run(ctypes.addressof(found), 42)
    assert found.value == 42
