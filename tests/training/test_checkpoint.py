"""A checkpoint comes back bit for bit, or is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from recurra.errors import RunError
from recurra.training import checkpoint as module
from recurra.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

TENSORS = {
    "model.weight": torch.randn(3, 4),
    "model.half": torch.randn(5).bfloat16(),
    "model.turned": torch.randn(3, 4).T,
    "number": torch.tensor(7),
    "empty": torch.zeros(0, 3),
}
VALUES = {"step": 3, "best": None, "loss": 0.1, "names": ["a", "é"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "checkpoint.safetensors", Checkpoint(TENSORS, VALUES))
    return tmp_path / "checkpoint.safetensors"


def test_everything_comes_back(path: Path) -> None:
    back = read_checkpoint(path)
    assert back.values == VALUES
    assert back.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert back.tensors[name].dtype == tensor.dtype
        assert torch.equal(back.tensors[name], tensor)


def test_a_part_has_the_names_below_its_prefix(path: Path) -> None:
    assert read_checkpoint(path).part("model").keys() == {"weight", "half", "turned"}


def test_every_cut_and_every_wrong_byte_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for size in [0, 4, 8, 20, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(RunError, match="is damaged"):
            read_checkpoint(path)
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(RunError, match=r"is damaged|newer Recurra"):
            read_checkpoint(path)


def test_a_safetensors_file_of_somebody_else_is_refused(path: Path) -> None:
    path.write_bytes(save(TENSORS_CONTIGUOUS))
    with pytest.raises(RunError, match="no checkpoint of Recurra"):
        read_checkpoint(path)


TENSORS_CONTIGUOUS = {name: tensor.contiguous() for name, tensor in TENSORS.items()}


def test_a_newer_version_is_refused_with_the_remedy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)
    write_checkpoint(path, Checkpoint(TENSORS, VALUES))
    monkeypatch.undo()
    with pytest.raises(RunError, match=r"newer Recurra \(format 2, this one reads 1\); upgrade"):
        read_checkpoint(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nothing\.safetensors` cannot be read as a checkpoint: there is none"):
        read_checkpoint(tmp_path / "nothing.safetensors")


def test_the_values_are_plain_json_in_the_header(path: Path) -> None:
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert json.loads(header["__metadata__"]["recurra.checkpoint"])["values"] == VALUES
