"""`recurra inspect`: pictures and numbers of a run and of cells."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from recurra.cli.main import main
from tests.tasks.translate.toy import write_pairs

pytest.importorskip("matplotlib")


def test_cells_are_compared_by_how_far_their_gradients_reach(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = ["rnn", 'irnn:{"scale": 1.2}', 'lstm:{"forget_bias": 6}']
    code = main(["inspect", *cells, "--out", str(tmp_path / "seen"), "--steps", "80", "--hidden-size", "8"])

    out = capsys.readouterr().out
    assert code == 0
    rows = [line.split() for line in out.splitlines()[1:4]]
    assert [row[-1] for row in rows] == ["vanishes", "explodes", "holds"]
    assert "The gradient vanishes in" in out
    files = {path.name for path in (tmp_path / "seen").iterdir()}
    assert {"gradients.png", "inspect.json", "states-rnn.png", "jacobians-rnn.png", "unrolled-rnn.png"} <= files


def test_the_same_cell_twice_has_pictures_for_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = ["rnn", "rnn", 'gru:{"reset": "before"}', 'gru:{"reset":"before"}']
    sizes = ["--steps", "4", "--hidden-size", "4"]
    assert main(["inspect", *cells, "--out", str(tmp_path), *sizes]) == 0

    files = {path.name for path in tmp_path.glob("states-*")}
    assert files == {
        "states-rnn.png", "states-rnn-2.png", "states-gru-reset-before.png", "states-gru-reset-before-2.png",
    }  # fmt: skip
    numbers = json.loads((tmp_path / "inspect.json").read_text())
    assert [one["name"] for one in numbers["gradients"]] == ["rnn", "rnn 2", *cells[2:]]
    assert f"{len(list(tmp_path.iterdir()))} files are in" in capsys.readouterr().out


def test_cells_of_images_see_images_and_large_states_go_without_jacobians(tmp_path: Path) -> None:
    cells = ["rnn", 'convlstm:{"size": [2, 3]}', "ntm"]
    assert main(["inspect", *cells, "--out", str(tmp_path), "--steps", "4", "--hidden-size", "4"]) == 0

    rnn, images, memory = json.loads((tmp_path / "inspect.json").read_text())["layers"]
    assert len(images["states"]["h"][0]) == 4
    assert len(rnn["spectral_radius"]) == len(images["spectral_radius"]) == 4
    assert memory["spectral_radius"] is None
    assert not (tmp_path / "jacobians-ntm.png").exists()


def test_what_grows_beyond_all_numbers_is_null_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = 'irnn:{"scale": 1e30}'
    assert main(["inspect", cell, "--out", str(tmp_path), "--steps", "30", "--hidden-size", "4", "--json"]) == 0

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for text in (capsys.readouterr().out, (tmp_path / "inspect.json").read_text()):
        (flow,) = json.loads(text, parse_constant=refuse)["gradients"]
        assert flow["norms"][-1] is None
        assert flow["verdict"] == "explodes"


def test_a_run_is_seen_reading_pairs(learned_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = write_pairs(tmp_path / "pairs.tsv")

    assert main(["inspect", str(learned_run), str(pairs), "--out", str(tmp_path / "seen"), "--json"]) == 0

    numbers = json.loads(capsys.readouterr().out)
    assert [one["layer"] for one in numbers["gradients"]] == [
        "encoder.layers.0.0", "encoder.layers.0.1", "decoder.layers.0.0",
    ]  # fmt: skip
    forward, backward, decoder = numbers["layers"]
    assert forward["steps"] == backward["steps"][::-1]
    assert decoder["steps"][0] == "<s>"
    assert len(forward["spectral_radius"]) == len(forward["steps"])
    assert numbers == json.loads((tmp_path / "seen" / "inspect.json").read_text())
    assert (tmp_path / "seen" / "attention.png").exists()


def test_a_run_reads_the_columns_that_are_named(
    learned_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.csv").write_text("id,english,french\n1,hello,bonjour\n")
    columns = ["--source-column", "english", "--target-column", "french"]

    assert main(["inspect", str(learned_run), str(tmp_path / "p.csv"), *columns, "--json", "--out", str(tmp_path)]) == 0

    forward, _, decoder = json.loads(capsys.readouterr().out)["layers"]
    assert (forward["steps"][0], decoder["steps"][1]) == ("▁hello", "▁bonjour")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["lstn"], "`lstn` is neither a run folder nor a cell. Did you mean `lstm`"),
        (["lstm:{"], "The options in `lstm:{` must be a JSON object"),
        (["lstm:{\"peep\": true}"], "has no option `peep`"),
    ],
)  # fmt: skip
def test_what_cannot_be_inspected_is_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main(["inspect", *arguments]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


def test_options_that_would_do_nothing_are_refused(learned_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(learned_run), "p.tsv", "--steps", "200"]) == 2
    assert capsys.readouterr().err == "`--steps` is of cells by name, and a run has its own: leave it out.\n"
    assert main(["inspect", "rnn", "--limit", "32"]) == 2
    assert capsys.readouterr().err == "`--limit` is of a run that reads sentence pairs: leave it out.\n"


def test_who_waits_at_a_terminal_is_told_what_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert main(["inspect", "rnn", "gruu", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("Looking into rnn, gruu, and drawing it ...\n")


def test_a_file_in_the_place_of_the_folder_is_told_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert main(["inspect", "rnn", "--steps", "100000", "--out", str(file)]) == 2
    assert capsys.readouterr().err == f"`{file}` is a file: name a folder for the pictures.\n"
    assert file.read_text() == "mine"


def test_a_folder_that_may_not_be_written_to_is_told_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert main(["inspect", "rnn", "--steps", "100000", "--out", str(tmp_path / "a" / "b")]) == 2
    assert capsys.readouterr().err == f"`{tmp_path}` may not be written to: name another folder for the pictures.\n"


def test_a_run_must_be_given_something_to_read(learned_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(learned_run)]) == 2
    assert "What should the network" in capsys.readouterr().err


def test_a_seed_that_no_generator_takes_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "rnn", "--seed", str(2**70)]) == 2
    assert "--seed" in capsys.readouterr().err
