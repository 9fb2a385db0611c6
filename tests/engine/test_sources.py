"""What torch keeps of the graphs that it makes code of."""

from __future__ import annotations

import linecache
from typing import Any

import torch
from torch import fx
from torch.fx import graph_module

import recurra
from recurra.cells import GRU
from recurra.engine import sources


def kept() -> tuple[set[str], set[str]]:
    """Names of the graphs whose text is kept."""
    return {name for name in linecache.cache if name.startswith("<eval_with_key>")}, {*graph_module._loader.eval_cache}


def twice(x: Any) -> Any:
    return x + x


def test_text_is_dropped_and_code_stays() -> None:
    other = fx.symbolic_trace(twice)
    before = kept()
    with sources.forgotten():
        made = fx.symbolic_trace(twice)
    assert kept() == before
    assert made(3) == other(3) == 6


def test_cells_leave_none_behind() -> None:
    recurra.scan(GRU(3, 5), torch.randn(4, 2, 3), engine="compiled")[0].sum().backward()
    before = kept()
    for hidden_size in (6, 7):
        recurra.scan(GRU(3, hidden_size), torch.randn(4, 2, 3), engine="compiled")[0].sum().backward()
    assert kept() == before
