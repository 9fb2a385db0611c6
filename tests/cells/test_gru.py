"""What is special to the GRU: where it resets, and what its products read."""

from __future__ import annotations

import pytest
import torch

from recurra.cells import GRU
from recurra.errors import ConfigError
from tests.tolerance import assert_close


@pytest.mark.parametrize("reset", ["after", "before"])
def test_a_reset_gate_of_zero_forgets_the_state_in_the_candidate(reset: str) -> None:
    cell = GRU(3, 4, reset=reset)
    with torch.no_grad():
        cell.bias_ih[:4] = -1e9  # r = 0
        cell.bias_ih[4:8] = -1e9  # z = 0
        cell.bias_hh.zero_()
    x = torch.randn(2, 3)
    assert_close(cell(x, cell.State(torch.randn(2, 4)))[0], cell(x)[0])


@pytest.mark.parametrize("reset", ["after", "before"])
def test_products_see_what_is_read_and_the_state_is_carried_on(reset: str) -> None:
    cell = GRU(3, 4, reset=reset)
    x, h, seen = torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 4)
    mixed, _ = cell.step(x, cell.State(h), cell.State(seen))
    alone, _ = cell.step(x, cell.State(seen))
    z = torch.sigmoid(x @ cell.weight_ih[4:8].T + cell.bias_ih[4:8] + seen @ cell.weight_hh[4:8].T + cell.bias_hh[4:8])
    assert_close(mixed - alone, z * (h - seen))


def test_an_unknown_reset_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`reset` must be 'after' or 'before', got 'befor'. Did you mean `before`"):
        GRU(3, 4, reset="befor")  # type: ignore[arg-type]
