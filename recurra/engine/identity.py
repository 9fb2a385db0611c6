"""Who a cell is: a name that no other cell ever has, as a plain word among its attributes, and what is known of it.

`torch.compile` inlines modules: what it made for one of them serves any other of the same class whose attributes, as
far as the traced code read them, are equal. Code that is for one cell alone therefore reads the cell's word.
"""

from __future__ import annotations

import itertools
import os
import uuid
import weakref
from typing import Any

__all__ = ["Identity", "owner_of"]

_count = itertools.count()
_process = ""
_owners: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def _new_process() -> None:
    global _process
    _process = uuid.uuid4().hex


_new_process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_process)


class Identity:
    """Who an object is. A copy of the object, or of this, is somebody else.

    Args:
        owner: the object.

    Attributes:
        word: the name; different in every process, so that what is kept on disk is never taken for another's.
        look: what is kept of the last look at the cell, None before the first; see `engine.reading`.
    """

    def __init__(self, owner: Any = None) -> None:
        self.word = f"{_process}-{next(_count)}"
        self.look: Any = None
        if owner is not None:
            _owners[self.word] = owner

    def __deepcopy__(self, memo: dict[int, Any]) -> Identity:
        # whoever copies an object, torch included, notes the copy before it copies the attributes
        owner = owner_of(self.word)
        return Identity(None if owner is None else memo.get(id(owner)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Identity, ()


def owner_of(word: str) -> Any:
    """The object of that name; None where it is gone."""
    return _owners.get(word)
