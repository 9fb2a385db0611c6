"""A memory looked at, step by step."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import recurra
from recurra.cells import DNC, NTM, Zoneout
from recurra.errors import ConfigError, ShapeError
from recurra.networks import memory_trace
from tests.tolerance import assert_close


@pytest.mark.parametrize("kind", [NTM, DNC])
def test_a_trace_is_what_a_scan_does(kind: Any) -> None:
    cell = kind(3, 5, memory_size=6, word_size=4, num_reads=2, output_size=2)
    x = torch.randn(7, 2, 3)
    trace = memory_trace(cell, x)
    outputs, state = recurra.scan(cell, x, engine="reference")
    assert_close(trace["output"], outputs.detach())
    assert set(trace) == {"output", *cell.State._fields}
    for name, field in state._asdict().items():
        assert trace[name].shape == (7, *field.shape)
        assert_close(trace[name][-1], field.detach())
    assert not any(value.requires_grad for value in trace.values())


def test_a_trace_goes_on_from_a_state() -> None:
    cell = Zoneout(NTM(3, 5, memory_size=6, word_size=4), 0.3).eval()
    x = torch.randn(7, 2, 3)
    whole, first = memory_trace(cell, x), memory_trace(cell, x[:4])
    second = memory_trace(cell, x[4:], cell.State(*(first[name][-1] for name in cell.State._fields)))
    for name, value in whole.items():
        assert_close(torch.cat([first[name], second[name]]), value)


def test_no_steps_make_an_empty_trace() -> None:
    trace = memory_trace(DNC(3, 5, memory_size=6, word_size=4), torch.zeros(0, 2, 3))
    assert trace["memory"].shape == (0, 2, 6, 4)
    assert trace["output"].shape == (0, 2, 5)


def test_what_has_no_memory_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`memory_trace` looks into cells with a memory, NTM and DNC, got `GRU`"):
        memory_trace(recurra.GRU(3, 5), torch.zeros(1, 2, 3))
    with pytest.raises(ShapeError, match=r"`x` must have shape \[T, B, I=3\]"):
        memory_trace(NTM(3, 5, memory_size=6, word_size=4), torch.zeros(1, 2, 4))
