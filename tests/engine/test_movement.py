"""Where numbers come from: maps of strides, and how a table of places is cut into them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from recurra.engine.loop import Map, Value
from recurra.engine.movement import boxes, places_of
from recurra.engine.spaces import Space


def at(places: Map) -> Tensor:
    """Every place, in order."""
    return places_of(Value("view", (Value("array", (), 1000), places), places.width), places.width)[1]


@st.composite
def maps(draw: st.DrawFn) -> Map:
    sizes = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    strides = tuple(draw(st.integers(-3, 12)) for _ in sizes)
    return Map(200, sizes, strides)


@given(maps())
def test_a_map_with_fewer_axes_has_the_same_places(places: Map) -> None:
    joined = places.joined()
    assert len(joined.sizes) <= len(places.sizes)
    assert torch.equal(at(joined), at(places))
    assert (int(at(places).min()), int(at(places).max())) == places.limits


@given(maps())
def test_a_map_can_be_cut_into_its_axes_again(places: Map) -> None:
    cut = places.joined().cut(places.sizes)
    assert cut is not None
    assert torch.equal(at(cut), at(places))


@pytest.mark.parametrize(("sizes", "wanted"), [((6,), (4, 2)), ((2, 3), (3, 2)), ((4, 3), (12,))])
def test_sizes_that_are_no_refinement_are_refused(sizes: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    assert Map(0, sizes, (7,) * len(sizes)).cut(wanted) is None


def test_a_transpose_is_one_box() -> None:
    source = Value("array", (), 12)
    found = boxes([source], torch.arange(12).view(3, 4).t())
    assert found == [(source, Map(0, (4, 3), (1, 4)), Map(0, (12,), (1,)))]


def test_columns_side_by_side_are_one_box_each() -> None:
    left, right = Value("array", (), 10), Value("array", (), 15)
    table = torch.cat([torch.arange(10).view(5, 2), 10 + torch.arange(15).view(5, 3)], 1)
    found = boxes([left, right], table)
    assert [source for source, _, _ in found] == [left, right]
    assert found[1][2] == Map(2, (5, 3), (5, 1))


def test_images_with_a_border_are_cut_at_the_border() -> None:
    images, border = Value("array", (), 4 * 8 * 8), Value("const", (0.0,), 1)
    table = F.pad(torch.arange(256).view(4, 8, 8), (1, 1, 1, 1), value=256)
    assert len(boxes([images, border], table)) == 5


def test_lines_that_take_turns_go_together() -> None:
    table = torch.arange(4 * 2 * 2 * 5 * 5).view(4, 2, 2, 5, 5).permute(0, 3, 1, 4, 2).reshape(4, 10, 10)
    assert len(boxes([Value("array", (), table.numel())], table[:, 1:-1, 1:-1])) == 4


@pytest.mark.parametrize("seed", range(20))
def test_boxes_put_every_number_in_its_place(seed: int) -> None:
    draw = np.random.default_rng(seed)
    shape = tuple(draw.integers(1, 5, size=3))
    base = torch.arange(int(np.prod(shape)) * 2).view(2, *shape)
    table = torch.cat([base[0].flip(int(draw.integers(3))), base[1]], int(draw.integers(3)))
    table = table.permute(*draw.permutation(3).tolist())
    source = Value("array", (), base.numel())
    result = torch.full((table.numel(),), -1)
    for _, places, goal in boxes([source], table):
        result[at(goal)] = at(places)
    assert torch.equal(result, table.flatten())


def test_spaces_agree_where_one_refines_the_other() -> None:
    matrix, cube, other = Space((4,)), Space((2, 4)), Space((3,))
    assert matrix.with_(cube) == cube
    assert matrix.with_(other) is None
    assert Space((4,), ((1, 4),)).with_(Space((4,), ((4, 12),))) is None
    assert Space((2, 4), ((2, 4),)).axes(12) == [(3, False), (2, True), (2, False)]
