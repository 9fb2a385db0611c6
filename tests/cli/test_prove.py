"""`recurra prove`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recurra.cli.main import main
from recurra.tasks.prove import PROBLEMS

QUICK = ["--steps", "3", "--hidden-size", "4", "--batch-size", "4"]
SMALL = ["--problem-options", '{"length": 20, "shortest": 10, "test_size": 10}']


def test_without_a_problem_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove"]) == 0

    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["problem", "what", "is", "asked", "origin"]
    assert [line.split()[0] for line in lines] == list(PROBLEMS)

    assert main(["prove", "--json"]) == 0
    assert [row["problem"] for row in json.loads(capsys.readouterr().out)] == list(PROBLEMS)


def test_cells_stand_in_a_table_beside_the_published_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "adding", "--cell", "gru", "--cell", 'irnn:{"scale": 0.5}', *QUICK, *SMALL]) == 0

    out = capsys.readouterr().out
    head, gru, irnn = out.splitlines()
    assert head.split() == ["cell", "steps", "test", "result", "published", "source"]
    assert gru.split()[:4] == ["gru", "3", "length", "20"]
    assert gru.split()[5:12] == ["mean", "squared", "error", "5.3e-5", "Bai", "et", "al."]
    assert "5.8e-5 (TCN)" in irnn


def test_json_has_settings_and_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "adding", "--json", "--learning-rate", "0.01", "--seed", "3", *QUICK, *SMALL]) == 0

    (outcome,) = json.loads(capsys.readouterr().out)
    assert outcome["cell"] == "lstm"
    assert outcome["settings"]["learning_rate"] == 0.01
    assert outcome["settings"]["hidden_size"] == 4
    assert outcome["settings"]["options"] == {"forget_bias": 1.5}
    (result,) = outcome["results"]
    assert result["value"] > 0
    assert result["published"]["value"] == "0.164"


def test_options_of_training_and_the_goal_are_among_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    training = {"averaging": "ema", "weight_decay": 0.1}
    given = ["--training-options", json.dumps(training), "--goal", "0"]

    assert main(["prove", "adding", "--json", *given, *QUICK, *SMALL]) == 0
    assert main(["prove", "adding", "--json", *QUICK, *SMALL]) == 0

    averaged, plain = (json.loads(line)[0] for line in capsys.readouterr().out.splitlines())
    assert (averaged["settings"]["training"], averaged["settings"]["goal"]) == (training, 0)
    assert (plain["settings"]["training"], plain["settings"]["goal"]) == ({}, 2e-5)
    assert averaged["results"][0]["value"] != plain["results"][0]["value"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["adidng"], "Unknown problem `adidng`. Did you mean `adding`"),
        (["adding", "--cell", "gruu"], "Unknown cell `gruu`. Did you mean `gru`"),
        (["adding", "--cell", 'gru:{"rest": 1}', *QUICK], "The cell `gru` has no option `rest`. Did you mean `reset`"),
        (
            ["adding", "--cell", "gru:{bias: 1}"],
            "The options in `gru:{bias: 1}` must be a JSON object, with both kinds",
        ),
        (["adding", "--data", "p"], "The problem `adding` draws its own sequences: leave out `--data`."),
        (["adding", "--problem-options", '{"length": -1}'], "`length` must be a whole number of at least 2, got -1"),
        (["adding", "--cell", "gru:3"], "The options in `gru:3` must be a JSON object"),
        (["adding", "--problem-options", "3"], "`--problem-options` must be a JSON object, got `3`"),
        (["adding", "--problem-options", '{"lenght": 3}'], "has no option `lenght`. Did you mean `length`"),
        (["adding", "--training-options", "3"], "`--training-options` must be a JSON object, got `3`"),
        (["adding", "--training-options", '{"avraging": 1}', *QUICK], "no option `avraging`. Did you mean `averaging`"),
        (["adding", "--training-options", '{"k1": 5}', *QUICK], "`--training-options` has no option `k1`. All: optim"),
        (["adding", "--training-options", '{"averaging": "em"}', *QUICK], "got 'em'. Did you mean `ema`"),
        (["adding", "--goal", "-1"], "`--goal`"),
        (["adding", "--learning-rate", "0"], "`--learning-rate` must be greater than 0, got 0"),
        (["adding", "--steps", "0"], "`--steps`"),
        (["adding", "--cell", "convgru", *QUICK], "The cell `convgru` needs the option `size`"),
        (["santa-fe", *QUICK], "`santa-fe` reads the Santa Fe laser series: give the folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["prove", *arguments]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_folder_without_the_data_is_said_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["prove", "babi", "--data", str(tmp_path), *QUICK]) == 2

    assert f"there is no `babi_en_10k*.tar.gz` in `{tmp_path}`" in capsys.readouterr().err
