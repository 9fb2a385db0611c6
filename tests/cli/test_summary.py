"""`recurra summary`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recurra.cli.main import main
from recurra.tasks.translate import load


def test_a_cell_is_counted_and_unrolled(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", "lstm", "--input-size", "64", "--hidden-size", "128", "--steps", "2"]) == 0

    out = capsys.readouterr().out
    assert "99,328" in out  # 4 x 128 x (64 + 128) + 8 x 128, as torch.nn.LSTM(64, 128)
    assert "y2" in out
    assert "y3" not in out


def test_layers_directions_and_options_of_a_cell_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--num-layers", "2", "--bidirectional", "--cell-options", '{"peephole": true}', "--json"]

    assert main(["summary", "lstm", *arguments]) == 0

    found = json.loads(capsys.readouterr().out)
    assert len(found["layers"]) == 4
    assert found["parameters"] == sum(layer["parameters"] for layer in found["layers"])


def test_a_run_is_counted(learned_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", str(learned_run)]) == 0

    out = capsys.readouterr().out
    count = sum(parameter.numel() for parameter in load(learned_run).network.parameters())
    assert f"= {count:,}" in out
    assert "encoder" in out


@pytest.mark.parametrize("option", [["--input-size", "32"], ["--bidirectional"]], ids=str)
def test_options_of_a_cell_are_refused_beside_a_run(
    learned_run: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    assert main(["summary", str(learned_run), *option]) == 2
    assert capsys.readouterr().err == f"`{option[0]}` is of a cell, and a run has its own: leave it out.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lstm", "--hidden-size", "0"], "`--hidden-size`"),
        (["lstm", "--cell-options", "[]"], "`--cell-options` must be a JSON object"),
        (["lstm", "--cell-options", '{"peep": 1}'], "no option `peep`"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main(["summary", *arguments]) == 2
    assert message in capsys.readouterr().err
