"""`recurra explain`: every stage of a cell, on stdout."""

from __future__ import annotations

import pytest

import recurra
from recurra.cli.main import main
from recurra.engine.explain import STAGES


def spoken(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_printed_as_the_library_gives_it(capsys: pytest.CaptureFixture[str], stage: str) -> None:
    code, out, err = spoken(capsys, "explain", "gru", "--stage", stage, "--input-size", "3", "--hidden-size", "5")

    assert (code, err) == (0, "")
    assert out == recurra.explain(recurra.GRU(3, 5), stage) + "\n"


def test_options_and_precision_of_the_cell_are_those_given(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = spoken(capsys, "explain", "lstm", "--cell-options", '{"peephole": true}', "--dtype", "float64")

    assert (code, err) == (0, "")
    assert out.startswith("LSTM(input_size=32, hidden_size=64, peephole=True), float64\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lstmm"], "Unknown cell `lstmm`. Did you mean `lstm`"),
        (["lstm", "--stage", "splt"], "Unknown stage `splt`. Did you mean `split`?"),
        (["lstm", "--dtype", "int8"], "`--dtype` must be float32 or float64, got `int8`."),
        (["lstm", "--cell-options", "[]"], "`--cell-options` must be a JSON object"),
        (["lstm", "--cell-options", '{"peep": true}'], "has no option `peep`"),
        (["gru", "--hidden-size", "0"], "`--hidden-size` must be greater than or equal to 1."),
        ([], "Missing argument `CELL`"),
    ],
    ids=str,
)
def test_a_mistake_is_one_sentence(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    code, out, err = spoken(capsys, "explain", *arguments)

    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
