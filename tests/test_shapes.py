"""Shape checks say what was expected and what came."""

from __future__ import annotations

import re

import pytest
import torch

from recurra.errors import ShapeError
from recurra.shapes import describe, expect_shape, length_mask


def test_a_fitting_shape_passes() -> None:
    expect_shape("x", torch.zeros(8, 32), B=None, I=32)
    expect_shape("scale", torch.tensor(1.0))


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (torch.zeros(8, 16), "[8, 16]"),
        (torch.zeros(32), "[32]"),
        (torch.zeros(1, 8, 32), "[1, 8, 32]"),
        ([[1.0]], "a list"),
        (None, "a NoneType"),
    ],
)
def test_another_shape_is_refused_with_both_shapes(value: object, got: str) -> None:
    with pytest.raises(ShapeError, match=re.escape(f"`x` must have shape [B, I=32], got {got}.")):
        expect_shape("x", value, B=None, I=32)  # type: ignore[arg-type]


def test_what_came_is_described_in_words() -> None:
    assert describe(torch.zeros(2, 3)) == "[2, 3]"
    assert describe("word") == "a str"
    assert (
        describe(torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=torch.jagged)) == "a nested tensor"
    )


def test_the_mask_is_true_on_the_steps_that_exist() -> None:
    mask = length_mask(torch.tensor([2, 0, 3]), 3)
    assert mask.tolist() == [[True, True, False], [False, False, False], [True, True, True]]
    assert length_mask(torch.tensor([2]), 0).shape == (1, 0)
