"""States of decoders are any nest of tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recurra.errors import ShapeError
from recurra.networks.decoding.state import PerSentence, num_rows, repeat_rows, select_rows


def state() -> dict[str, Any]:
    rows = torch.arange(3)
    return {"own": [rows, (rows * 10, "words stay")], "shared": PerSentence({"memory": rows + 100})}


def test_rows_are_counted() -> None:
    assert num_rows(state()) == 3


def test_repeating_leaves_what_a_sentence_shares() -> None:
    repeated = repeat_rows(state(), 2)

    assert repeated["own"][0].tolist() == [0, 0, 1, 1, 2, 2]
    assert repeated["own"][1][0].tolist() == [0, 0, 10, 10, 20, 20]
    assert repeated["own"][1][1] == "words stay"
    assert repeated["shared"].value["memory"].tolist() == [100, 101, 102]


def test_selecting_takes_rows_and_sentences() -> None:
    repeated = repeat_rows(state(), 2)

    reordered = select_rows(repeated, torch.tensor([1, 1, 2, 3, 5, 4]))
    fewer = select_rows(repeated, torch.tensor([5, 4]), torch.tensor([2]))

    assert reordered["own"][0].tolist() == [0, 0, 1, 1, 2, 2]
    assert reordered["shared"].value["memory"].tolist() == [100, 101, 102]
    assert fewer["own"][1][0].tolist() == [20, 20]
    assert fewer["shared"].value["memory"].tolist() == [102]


def test_states_of_different_numbers_of_rows_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"one row a sentence, got rows \[2, 3\]"):
        num_rows((torch.zeros(2), torch.zeros(3)))
    with pytest.raises(ShapeError, match="one row a sentence"):
        num_rows(())
    with pytest.raises(ShapeError, match="one row a sentence"):
        num_rows((torch.zeros(2), torch.tensor(1.0)))
