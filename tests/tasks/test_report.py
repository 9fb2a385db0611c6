"""Pictures: a PNG comes out, whatever the words."""

from __future__ import annotations

import io

import pytest
import torch

from recurra.errors import DataError
from recurra.tasks.report import AttentionMap, draw_attention, draw_losses

image = pytest.importorskip("matplotlib.image")


def some_map(inputs: list[str], outputs: list[str]) -> AttentionMap:
    return AttentionMap(torch.rand(len(outputs), len(inputs)).softmax(1), inputs, outputs)


@pytest.mark.parametrize(
    "words", [["a"], ["le", "chat"], ["$x^2$", "[B]", "100%"], ["日本語", "😀"], ["w" * 60, ""]], ids=str
)
def test_any_words_can_stand_at_the_axes(words: list[str]) -> None:
    picture = image.imread(io.BytesIO(draw_attention([some_map(words, words)])))

    assert picture.shape[0] > 100
    assert picture.shape[1] > 100


def test_more_sentences_make_a_larger_picture_up_to_a_limit() -> None:
    one, four, many, more = (
        image.imread(io.BytesIO(draw_attention([some_map(["a", "b"], ["c"])] * count))) for count in (1, 4, 13, 40)
    )

    assert one.size < four.size < many.size
    assert many.shape == more.shape


def test_a_picture_keeps_a_sensible_size_whatever_it_is_to_show() -> None:
    long, longer = (["w"] * count for count in (60, 110))

    maps = [some_map(longer, longer), *[some_map(long, long)] * 12]
    picture = image.imread(io.BytesIO(draw_attention(maps)))

    assert picture.shape[0] * picture.shape[1] < 36e6  # two panels, and the long one in none
    with pytest.raises(DataError, match="no attention to draw"):
        draw_attention(maps[:1])


def test_dark_is_where_attention_is() -> None:
    weights = torch.eye(2)

    picture = image.imread(io.BytesIO(draw_attention([AttentionMap(weights, ["a", "b"], ["c", "d"])])))

    blue = (picture[..., 2] - picture[..., 0]) > 0.15  # coloured, neither ink nor paper
    down, across = blue.nonzero()
    upper, left = down < down.mean(), across < across.mean()
    assert (upper == left).mean() > 0.95


def test_losses_are_drawn_from_lines_with_gaps() -> None:
    rows = [
        {"split": "train", "step": 1, "loss": 3.0},
        {"split": "gradients", "step": 2, "layers": {}},
        {"split": "validation", "step": 2, "loss": 2.5},
        {"split": "train", "step": 2, "loss": None},
        {"split": "train", "step": 3, "loss": 2.0},
    ]

    picture = image.imread(io.BytesIO(draw_losses(rows, unit="loss")))

    assert picture.shape[:2] == (630, 1080)


def test_losses_without_a_validation_part_are_drawn_too() -> None:
    assert draw_losses([{"split": "train", "step": 1, "loss": 3.0}], unit="loss").startswith(b"\x89PNG")
