"""What is special to the SRU: its highway, and how its weights begin."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import recurra
from recurra.cells import SRU
from recurra.errors import ConfigError


def test_weights_begin_with_the_variances_of_the_paper() -> None:
    cell = SRU(100, 100, highway_bias=-2.0)
    c, f, r = cell.weight_ih.chunk(3)
    assert c.var().item() == pytest.approx(1 / 100, rel=0.05)
    assert f.var().item() == pytest.approx(1 / 200, rel=0.05)
    assert r.var().item() == pytest.approx(1 / 200, rel=0.05)
    assert cell.weight_ch.var().item() == pytest.approx(1 / 2, rel=0.2)
    assert torch.equal(cell.bias, torch.cat([torch.zeros(100), torch.full((100,), -2.0)]))


def test_without_peepholes_the_gates_see_the_input_alone() -> None:
    cell = SRU(100, 100, peephole=False)
    assert cell.weight_ch is None
    assert cell.weight_ih.var().item() == pytest.approx(1 / 100, rel=0.05)


def test_a_deep_stack_keeps_the_variance_of_its_input() -> None:
    def spread(rescale: bool) -> float:
        torch.manual_seed(1)
        y = torch.randn(20, 8, 64)
        with torch.no_grad():
            for _ in range(12):
                y, _ = recurra.scan(SRU(64, 64, rescale=rescale), y, engine="reference")
        return y.var().item()

    assert spread(rescale=False) < 0.01
    assert 0.3 < spread(rescale=True) < 3


def test_a_highway_that_is_open_passes_the_input() -> None:
    x = torch.randn(5, 2, 4)
    with torch.no_grad():
        y, _ = recurra.scan(SRU(4, 4, highway_bias=-50.0), x)
    torch.testing.assert_close(y, x)


def test_the_highway_has_a_matrix_of_its_own_where_the_sizes_differ() -> None:
    assert SRU(4, 4).weight_ih.shape == (12, 4)
    assert SRU(3, 4).weight_ih.shape == (16, 3)
    assert SRU(3, 4).gates == ("c", "f", "r", "s")
    assert SRU(3, 4).alpha == math.sqrt(3)
    assert SRU(3, 4, rescale=False).alpha == 1.0


@pytest.mark.parametrize("value", [math.inf, "none"])
def test_a_highway_bias_must_be_a_number(value: Any) -> None:
    with pytest.raises(ConfigError, match=f"`highway_bias` must be a number, got {value!r}."):
        SRU(3, 4, highway_bias=value)
