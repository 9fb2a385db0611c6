"""The error tree, its neighbours for unknown words, and its sentence for a missing extra."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from recurra import errors
from recurra.errors import MissingExtra, RecurraError, did_you_mean, import_extra, no_such_file

BUILT_IN = {
    "ShapeError": ValueError,
    "ConfigError": ValueError,
    "DataError": ValueError,
    "RunError": ValueError,
    "TraceError": RuntimeError,
    "CompileError": RuntimeError,
    "DecodingError": ValueError,
    "MissingExtra": ImportError,
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_refusal_is_a_recurra_error_and_a_built_in_one(name: str) -> None:
    assert issubclass(getattr(errors, name), (RecurraError,))
    assert issubclass(getattr(errors, name), BUILT_IN[name])


def test_the_tree_drawn_in_the_file_names_every_error() -> None:
    found = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, RecurraError)]
    assert {error.__name__ for error in found} == {"RecurraError", *BUILT_IN}
    assert all(error.__name__ in str(errors.__doc__) for error in found)


def test_a_near_word_is_offered() -> None:
    assert did_you_mean("lstmm", ["gru", "lstm", "rnn"]) == " Did you mean `lstm`?"
    assert did_you_mean("lstm", ["slstm", "mlstm"]) in (
        " Did you mean `slstm` or `mlstm`?",
        " Did you mean `mlstm` or `slstm`?",
    )


def test_a_far_word_offers_nothing() -> None:
    assert did_you_mean("transformer", ["gru", "lstm"]) == ""
    assert did_you_mean("gru", []) == ""
    assert did_you_mean(None, ["gru", "lstm"]) == ""  # type: ignore[arg-type]  # what is no word at all


def test_a_missing_file_is_answered_with_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").touch()
    assert no_such_file(tmp_path / "pars.tsv").endswith("pars.tsv`. Did you mean `pairs.tsv`?")
    assert no_such_file(tmp_path / "other").endswith("other`. Check its name and its folder.")
    assert no_such_file(tmp_path) == f"`{tmp_path}` is a folder, expected a file."
    assert no_such_file("nowhere/at/all") == "There is no file `nowhere/at/all`. Check its name and its folder."


def test_an_installed_package_is_imported() -> None:
    assert import_extra("json", "text") is sys.modules["json"]


def test_a_missing_package_names_its_extra() -> None:
    with pytest.raises(MissingExtra) as refusal:
        import_extra("no_such_package.part", "text")
    expected = "This needs the package `no_such_package`, which is not installed: run `pip install 'recurra[text]'`."
    assert str(refusal.value) == expected


def test_a_package_that_fails_by_itself_tells_its_own_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_installed.py").write_text("import its_own_missing_part\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="its_own_missing_part"):
        import_extra("half_installed", "text")
