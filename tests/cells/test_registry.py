"""Cells by name."""

from __future__ import annotations

import pytest

from recurra.cells import CELLS, GRU, LSTM, cell_options, find_cell, make_cell
from recurra.errors import ConfigError


def test_a_cell_is_made_by_its_name_with_its_options() -> None:
    cell = make_cell("lstm", 3, 4, peephole=True)
    assert isinstance(cell, LSTM)
    assert cell.peephole
    assert find_cell("gru") is GRU


def test_an_unknown_name_is_refused_with_its_neighbours() -> None:
    with pytest.raises(ConfigError, match=r"Unknown cell `lstmm`. Did you mean `lstm`\? All: gru, lstm, rnn."):
        make_cell("lstmm", 3, 4)


def test_an_unknown_option_is_refused_with_its_neighbours() -> None:
    with pytest.raises(ConfigError, match=r"The cell `lstm` has no option `peepholes`. Did you mean `peephole`"):
        make_cell("lstm", 3, 4, peepholes=True)


@pytest.mark.parametrize("name", CELLS)
def test_every_option_is_described_with_its_default(name: str) -> None:
    options = cell_options(name)
    assert {option.name for option in options} >= {"bias"}
    for option in options:
        assert len(option.description) > 20
        assert option.kind
    assert next(option.default for option in options if option.name == "bias") is True
