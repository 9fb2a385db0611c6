"""The text of graphs, of which torch makes code.

For tracebacks torch keeps the text of every graph that it ever made code of. A program that compiles many cells would
grow by some kilobytes with each of them.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from contextlib import contextmanager

from torch.fx import graph_module

__all__ = ["forgotten"]


@contextmanager
def forgotten() -> Iterator[None]:
    """What torch keeps of graphs that it makes code of inside is dropped in the end; their code stays."""
    known = set(linecache.cache)
    try:
        yield
    finally:
        for name in linecache.cache.keys() - known:
            if name.startswith("<eval_with_key>"):
                linecache.cache.pop(name, None)
                graph_module._loader.eval_cache.pop(name, None)
