"""A property that is computed once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from recurra.engine.once import once


class Holder:
    def __init__(self) -> None:
        self.meeting, self.count = threading.Barrier(4), 0

    @once
    def thing(self) -> object:
        """A thing."""
        self.count += 1
        self.meeting.wait(30)
        return object()


def test_threads_that_ask_at_once_get_the_same_value() -> None:
    holder = Holder()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: holder.thing, range(4)))
    assert len(set(map(id, found))) == 1
    assert holder.thing is found[0]
    assert holder.count == 4


def test_it_is_a_descriptor_of_its_class() -> None:
    assert isinstance(Holder.thing, once)
    assert Holder.thing.__doc__ == "A thing."
