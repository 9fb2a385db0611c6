"""The run folder: what may stand in the way, what is lost when (nothing), and what damage is called."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from recurra.errors import RunError
from recurra.tasks import RunFolder


def make_run(path: Path, *, mark: str = "old", weights: bool = True) -> RunFolder:
    folder = RunFolder(path)
    with folder.replacing("tokenizer.json"):
        folder.write("tokenizer.json", mark)
        folder.save_record("translate", {"mark": mark}, {"files": []})
        if weights:
            folder.save_weights({"w": torch.ones(2)})
            folder.finish()
        else:
            folder.write("checkpoint.safetensors", b"half way")
    return folder


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")

    assert folder.record().options == {"mark": "old"}
    assert folder.load_weights()["w"].tolist() == [1, 1]
    assert folder.is_finished


def test_a_name_of_any_bytes_is_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    name = os.fsdecode(b"caf\xe9.tsv")
    folder.save_record("translate", {}, {"files": [name]})
    assert folder.record().data["files"] == [name]


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "hidden files"])
def test_a_new_run_may_begin_where_nothing_stands(tmp_path: Path, there: str) -> None:
    path = tmp_path / "run"
    if there != "nothing":
        path.mkdir()
    if there == "hidden files":
        (path / ".DS_Store").touch()

    RunFolder(path).check_free(resume=False, overwrite=False)


def test_a_run_in_the_way_is_refused_with_both_ways_on(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")

    with pytest.raises(RunError, match=r"already holds a run.*`resume`.*`overwrite`"):
        folder.check_free(resume=False, overwrite=False)
    folder.check_free(resume=True, overwrite=False)
    folder.check_free(resume=False, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_somebody_elses_files_is_refused_even_to_overwrite(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")

    with pytest.raises(RunError, match="holds files but no run"):
        RunFolder(tmp_path).check_free(resume=False, overwrite=overwrite)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_model_of_another_program_is_no_run(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "marian", "format": 1}')
    (tmp_path / "model.safetensors").touch()
    folder = RunFolder(tmp_path)

    with pytest.raises(RunError, match="holds files but no run"):
        folder.check_free(resume=False, overwrite=overwrite)
    with pytest.raises(RunError, match=r"is no run folder: its `config\.json` is of another program\.$"):
        folder.record()


def test_a_model_that_saves_itself_is_offered_no_way_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="already holds a run: put a new one in its place by `overwrite`"):
        make_run(tmp_path / "run").check_free(resume=None, overwrite=False)


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")

    with pytest.raises(RunError, match="is a file"):
        RunFolder(tmp_path / "run").check_free(resume=False, overwrite=False)


def test_resume_and_overwrite_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="give one of"):
        RunFolder(tmp_path).check_free(resume=True, overwrite=True)


def test_overwriting_keeps_the_old_run_until_the_new_one_has_weights_and_foreign_files_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "run"
    make_run(path)
    (path / "notes.txt").write_text("mine")

    make_run(path, mark="new", weights=False)

    assert json.loads((path / ".replaced" / "config.json").read_text())["options"] == {"mark": "old"}
    assert (path / ".replaced" / "model.safetensors").is_file()
    assert RunFolder(path).record().options == {"mark": "new"}

    make_run(path, mark="newer")  # over the one that was cut short

    assert not (path / ".replaced").exists()
    assert RunFolder(path).record().options == {"mark": "newer"}
    assert (path / "notes.txt").read_text() == "mine"


def test_pictures_that_are_no_part_of_the_run_stay_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with RunFolder(path).replacing("plots/loss.png"):
        RunFolder(path).write("plots/loss.png", "old")
        RunFolder(path).save_record("translate", {}, {})
        RunFolder(path).save_weights({"w": torch.ones(2)})
    (path / "plots" / "mine.png").write_text("mine")

    with RunFolder(path).replacing("plots/loss.png"):
        assert [file.name for file in (path / "plots").iterdir()] == ["mine.png"]
        assert (path / ".replaced" / "plots" / "loss.png").read_text() == "old"
        RunFolder(path).save_record("translate", {}, {})
        RunFolder(path).save_weights({"w": torch.ones(2)})
        RunFolder(path).finish()

    assert [file.name for file in (path / "plots").iterdir()] == ["mine.png"]


def test_a_replacement_that_is_cut_short_twice_still_keeps_the_finished_run(tmp_path: Path) -> None:
    path = tmp_path / "run"
    make_run(path)

    make_run(path, mark="second", weights=False)
    make_run(path, mark="third", weights=False)

    assert json.loads((path / ".replaced" / "config.json").read_text())["options"] == {"mark": "old"}


@pytest.mark.parametrize("there", ["nothing", "a file of the user"])
def test_a_run_that_fails_before_its_first_save_leaves_nothing_in_the_way(tmp_path: Path, there: str) -> None:
    folder = RunFolder(tmp_path / "run")
    if there != "nothing":
        folder.path.mkdir()
        (folder.path / ".notes").write_text("mine")

    def fail() -> None:
        with folder.replacing("tokenizer.json"):
            folder.write("tokenizer.json", "new")
            folder.save_record("translate", {}, {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert [path.name for path in tmp_path.rglob(".notes")] == ([".notes"] if there != "nothing" else [])
    assert folder.path.exists() == (there != "nothing")
    folder.check_free(resume=False, overwrite=False)


def test_a_replacement_that_fails_before_its_first_save_brings_the_old_run_back(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")

    def fail() -> None:
        with folder.replacing("tokenizer.json"):
            folder.write("tokenizer.json", "new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert folder.record().options == {"mark": "old"}
    assert folder.read_text("tokenizer.json") == "old"
    assert not (tmp_path / "run" / ".replaced").exists()


def test_a_process_that_dies_between_moving_and_writing_leaves_a_run_that_is_still_protected(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    killed = folder.replacing("tokenizer.json")
    killed.__enter__()  # and never comes back

    with pytest.raises(RunError, match="already holds a run"):
        folder.check_free(resume=False, overwrite=False)
    with pytest.raises(RunError, match="that it was to replace is in"):
        folder.record()
    killed.__exit__(None, None, None)


def test_a_run_cut_short_says_how_to_go_on(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", weights=False)

    with pytest.raises(RunError, match=r"cut short.*`recurra fit translate --out .*run --resume`"):
        folder.load_weights()


def test_a_run_cut_short_before_any_save_says_how_to_begin_again(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", weights=False)
    folder.checkpoint.unlink()

    with pytest.raises(RunError, match=r"cut short.*--overwrite"):
        folder.load_weights()


def test_a_run_of_a_newer_version_is_refused_with_both_versions(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    config = folder.read_json("config.json")
    folder.write("config.json", json.dumps({**config, "format": 99, "recurra": "7.1.0", "new": "field"}))

    with pytest.raises(RunError, match=r"written by recurra 7\.1\.0 in format 99.*pip install --upgrade"):
        folder.record()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'{"format": 1, "recurra": "0.1', "not JSON.*--overwrite"),
        (b"", "not JSON.*in another folder"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "damaged"),
        (b'{"format": 1, "recurra": "0.1.0"}', "damaged"),
    ],
)
def test_a_damaged_config_is_called_so(tmp_path: Path, content: bytes, what: str) -> None:
    folder = make_run(tmp_path / "run")
    folder.write("config.json", content)

    with pytest.raises(RunError, match=f"config.json.*damaged.*{what}|config.json.*{what}") as refusal:
        folder.record()
    assert str(refusal.value).count("is damaged") == 1


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "one bit", "other shape", "other names"])
def test_damaged_weights_are_called_so(tmp_path: Path, damage: str) -> None:
    folder = make_run(tmp_path / "run")
    whole = folder.weights.read_bytes()
    if damage == "other shape":
        folder.save_weights({"w": torch.ones(3)})
    elif damage == "other names":
        folder.save_weights({"v": torch.ones(2)})
    else:
        one_bit = whole[:-1] + bytes([whole[-1] ^ 1])
        damaged = {"cut": whole[:-3], "empty": b"", "garbage": b"\x80" * 200, "one bit": one_bit}
        folder.weights.write_bytes(damaged[damage])
    network = nn.Module()
    network.w = nn.Parameter(torch.zeros(2))

    with pytest.raises(RunError, match=r"`.*model\.safetensors` is damaged"):
        folder.fill(network)
    assert network.w.tolist() == [0, 0]


def test_weights_without_a_checksum_are_read(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    save_file({"w": torch.zeros(2)}, folder.weights, metadata={"format": "pt"})

    assert folder.load_weights()["w"].tolist() == [0, 0]


def test_no_folder_and_no_run_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no run folder"):
        RunFolder(tmp_path / "nowhere").record()
    with pytest.raises(RunError, match=r"no `config\.json`"):
        RunFolder(tmp_path).record()
