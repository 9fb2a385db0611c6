"""Every registered cell, with every option that changes its equations, on the compiled engine: the reference agrees."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import recurra
from recurra.errors import CompileError
from tests.cells.equations import TABLE
from tests.cells.test_every_cell import every_cell, make, random_state
from tests.engine.engines import assert_engines_agree

# name, options, and what the error says of the reason: cells that have no compiled form where these options are given
NOT_COMPILED: list[tuple[str, dict[str, Any], str]] = [
    ("esn", {"storage": "sparse"}, "`_sparse_addmm` has no compiled form"),
]


def excuse(name: str, options: dict[str, Any]) -> str | None:
    """Why a cell with these options is not compiled; None where it is."""
    return next((why for kind, part, why in NOT_COMPILED if kind == name and part.items() <= options.items()), None)


@every_cell
def test_every_cell_and_gradient_compiled_is_the_reference(name: str, options: dict[str, Any], equations: Any) -> None:
    cell = make(name, options, 3, 6)
    lengths = [4, 0, 7, 1]
    state = random_state(cell, len(lengths))
    reason = excuse(name, options)
    if reason is not None:
        with pytest.raises(CompileError, match=reason):
            recurra.scan(cell, torch.randn(2, 4, *cell.input_shape).double(), state, engine="compiled")
    else:
        assert_engines_agree(cell, lengths, state=state)


def test_only_cells_that_are_there_are_excused() -> None:
    for name, part, _ in NOT_COMPILED:
        assert any(name == kind and part.items() <= options.items() for kind, options, _ in TABLE)
