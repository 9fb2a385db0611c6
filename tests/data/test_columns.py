"""How a header is recognised: one rule, always the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from recurra.data.columns import check_names, find_columns, find_keys, looks_like_names, other_separator
from recurra.errors import ConfigError, DataError

PATH = Path("pairs.tsv")


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        (["source", "target"], (0, 1, True)),
        (["id", "Target ", " SOURCE"], (2, 1, True)),
        (["src", "tgt"], (0, 1, True)),
        (["tgt", "score", "src"], (2, 0, True)),
        (["en", "fr"], (0, 1, True)),
        (["EN", "pt-BR", "note"], (0, 1, True)),
        (["zh_Hans", "en"], (0, 1, True)),
        (["en", "en"], (0, 1, False)),
        (["hello", "bonjour"], (0, 1, False)),
        (["no", "non"], (0, 1, False)),
        (["source", "bonjour"], (0, 1, False)),
        (["id", "hello", "en"], (0, 1, False)),
        (["alone"], (0, 1, False)),
    ],
)
def test_a_header_is_known_by_its_words(row: list[str], columns: tuple[int, int, bool]) -> None:
    assert find_columns(PATH, row, None) == columns


def test_named_columns_are_looked_up() -> None:
    assert find_columns(PATH, ["id", "English", "French"], ("English", "French")) == (1, 2, True)
    assert find_columns(PATH, ["id", "English", "French"], ("french", "english")) == (2, 1, True)


def test_numbers_count_columns_of_a_table_without_header() -> None:
    assert find_columns(PATH, ["17", "hello", "18", "bonjour"], ("2", "4")) == (1, 3, False)
    assert find_columns(PATH, ["1", "2"], ("1", "2")) == (0, 1, True)  # the header says so itself


def test_numbers_count_columns_below_a_header_that_is_known_by_its_words() -> None:
    assert find_columns(PATH, ["source", "target", "note"], ("2", "1")) == (1, 0, True)
    assert find_columns(PATH, ["en", "fr"], ("1", "2")) == (0, 1, True)


def test_a_name_and_a_number_go_together() -> None:
    assert find_columns(PATH, ["id", "english", "french"], ("english", "3")) == (1, 2, True)
    assert find_columns(PATH, ["id", "3", "english"], ("english", "3")) == (2, 1, True)  # a name comes first
    with pytest.raises(DataError, match=r"one column for both, `english` and `2`"):
        find_columns(PATH, ["id", "english"], ("english", "2"))
    with pytest.raises(DataError, match=r"has no column `4`\. Its columns are `id`, `english`\.$"):
        find_columns(PATH, ["id", "english"], ("english", "4"))


@pytest.mark.parametrize(
    ("row", "meant"),
    [
        (["id", "english", "french"], True),
        (["English", " French "], True),
        (["english", "anglais"], False),
        (["Latin", "Latin"], False),
        (["good", "bon"], False),
    ],
)
def test_a_row_of_words_that_name_columns_looks_like_a_header(row: list[str], meant: bool) -> None:
    assert looks_like_names(row) == meant


def test_another_separator_is_seen() -> None:
    with pytest.raises(DataError, match=r"no column `a`\. It looks like semicolons between columns: save it"):
        find_columns(PATH, ["a;b"], ("a", "b"))
    assert other_separator(["hello; bye", "salut"]) == ""


def test_an_unknown_column_gets_neighbours() -> None:
    with pytest.raises(DataError) as refusal:
        find_columns(PATH, ["source", "target"], ("sorce", "target"))
    expected = "`pairs.tsv` has no column `sorce`. Did you mean `source`? Its columns are `source`, `target`."
    assert str(refusal.value) == expected


def test_many_columns_are_not_all_listed() -> None:
    with pytest.raises(DataError, match=r"`9`, \.\.\.\.$"):
        find_columns(PATH, [str(n) for n in range(50)], ("english", "french"))


def test_keys_of_objects_follow_the_same_rule() -> None:
    assert find_keys(PATH, ["id", "tgt", "src"], None) == ("src", "tgt")
    assert find_keys(PATH, ["en", "fr"], None) == ("en", "fr")
    assert find_keys(PATH, ["a", "b"], ("b", "a")) == ("b", "a")


def test_unknown_keys_must_be_named() -> None:
    with pytest.raises(DataError, match=r"has the keys `question`, `answer`: say with `source_column`"):
        find_keys(PATH, ["question", "answer"], None)


def test_names_come_in_pairs() -> None:
    assert check_names(None, None) is None
    assert check_names("a", "b") == ("a", "b")
    with pytest.raises(ConfigError, match="Give both"):
        check_names("a", None)
    with pytest.raises(ConfigError, match="must differ, both are `a`"):
        check_names("a", "a")
