"""A property that is computed when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

__all__ = ["once"]

T = TypeVar("T")


class once(Generic[T]):
    """As `functools.cached_property`, but all threads get the same value.

    From Python 3.12 on, threads that ask at the same time get one each there, and the engine asks whether a kernel is
    this one or that one. Here, too, each may compute it, since a lock could be held when a process is forked; what the
    first has computed is everybody's.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self.make, self.__doc__ = make, make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...

    def __get__(self, instance: object | None, owner: type | None = None) -> Self | T:
        if instance is None:
            return self
        value: T = vars(instance).setdefault(self.name, self.make(instance))
        return value
