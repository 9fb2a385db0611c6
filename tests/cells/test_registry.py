"""Cells by name."""

from __future__ import annotations

import contextlib
import inspect
import math
import re
from pathlib import Path

import pytest
import torch

from recurra.cells import CELLS, GRU, LSTM, cell_options, cell_summary, find_cell, make_cell
from recurra.errors import ConfigError, RecurraError


def test_a_cell_is_made_by_its_name_with_its_options() -> None:
    cell = make_cell("lstm", 3, 4, peephole=True)
    assert isinstance(cell, LSTM)
    assert cell.peephole
    assert find_cell("gru") is GRU


def test_an_unknown_name_is_refused_with_its_neighbours() -> None:
    names = ", ".join(CELLS)
    with pytest.raises(ConfigError, match=rf"Unknown cell `lstmm`. Did you mean `lstm`.*\? All: {names}\."):
        make_cell("lstmm", 3, 4)


def test_an_unknown_option_is_refused_with_its_neighbours() -> None:
    with pytest.raises(ConfigError, match=r"The cell `lstm` has no option `peepholes`. Did you mean `peephole`"):
        make_cell("lstm", 3, 4, peepholes=True)


@pytest.mark.parametrize("value", ["large", None, 1.5, -1, [], [1, "a"], {"a": 1}, math.nan, b"x"], ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_no_value_of_an_option_is_an_error_of_python(name: str, value: object) -> None:
    needed = {option.name: (4, 6) for option in cell_options(name) if option.required}
    for option in cell_options(name):
        with contextlib.suppress(RecurraError):
            CELLS[name](4, 6, **{**needed, option.name: value})


@pytest.mark.parametrize("value", ["no", 1, None, []])
@pytest.mark.parametrize("name", CELLS)
def test_what_is_no_truth_value_is_none(name: str, value: object) -> None:
    needed = {option.name: (4, 6) for option in cell_options(name) if option.required}
    for option in cell_options(name):
        if option.kind == "bool":
            with pytest.raises(
                ConfigError, match=rf"^`{option.name}` must be true or false, got {re.escape(repr(value))}"
            ):
                find_cell(name)(4, 6, **needed, **{option.name: value})


def test_an_option_that_must_be_given_is_asked_for() -> None:
    assert [option.name for option in cell_options("convlstm") if option.required] == ["size"]
    with pytest.raises(
        ConfigError, match=r"The cell `convlstm` needs the option `size`: of an image, \(height, width\)"
    ):
        make_cell("convlstm", 3, 4)
    assert make_cell("convlstm", 3, 4, size=[5, 6]).input_shape == (3, 5, 6)


@pytest.mark.parametrize("name", CELLS)
def test_every_option_is_described_with_its_default(name: str) -> None:
    for option in cell_options(name):
        assert len(option.description) > 15
        assert option.kind
        assert option.required == (option.default is inspect.Parameter.empty)


@pytest.mark.parametrize("name", CELLS)
def test_a_summary_counts_what_the_cell_has(name: str) -> None:
    found = cell_summary(name, 3, 4)
    cell = make_cell(name, 3, 4, **found.options)
    assert found.parameters == sum(parameter.numel() for parameter in cell.parameters())
    assert found.state_size == sum(field[0].numel() for field in cell.initial_state(2))
    assert tuple(found.state) == cell.State._fields
    assert found.source is cell.source
    assert found.description


def test_a_summary_is_of_the_sizes_and_options_that_are_asked_for() -> None:
    assert cell_summary("gru").parameters == 3 * 128 * (128 + 128 + 2)
    assert cell_summary("lstm", 3, 4, proj_size=2).state == {"h": 2, "c": 4}
    video = cell_summary("convlstm", 3, 4, size=(5, 6))
    assert video.state_size == 2 * 4 * 5 * 6
    assert video.options == {"size": (5, 6)}
    with pytest.raises(ConfigError, match="Unknown cell `gruu`"):
        cell_summary("gruu")


def test_a_summary_draws_nothing_from_the_stream_of_random_numbers() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    cell_summary("lstm")
    assert torch.equal(torch.rand(3), expected)


def test_the_page_that_helps_to_choose_has_a_row_for_every_cell() -> None:
    page = Path(__file__).parents[2] / "docs" / "guide" / "choosing.md"
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(CELLS)
    for name, paper in rows:
        assert str(find_cell(name).source.year) in paper
