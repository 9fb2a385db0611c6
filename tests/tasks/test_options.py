"""Options from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from recurra.errors import ConfigError
from recurra.tasks.options import read_options_file, with_default
from recurra.training.config import TrainingConfig


@pytest.mark.parametrize(
    ("name", "text"),
    [("o.json", '{"hidden-size": 8, "cell": "gru"}'), ("o.toml", '\ufeffhidden_size = 8\ncell = "gru"\n')],
)
def test_json_and_toml_are_read_with_dashes_or_underscores(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)

    assert read_options_file(tmp_path / name, ["hidden_size", "cell"]) == {"hidden_size": 8, "cell": "gru"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("o.json", b"{", "is not JSON"),
        ("o.toml", b"a = ", "is not TOML"),
        ("o.json", b"[1]", "must hold one table"),
        ("o.json", b"\xff", "is not UTF-8"),
        ("o.json", b'{"hiden-size": 8}', r"Unknown option `hiden_size` in `.*o\.json`. Did you mean `hidden_size`"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ConfigError, match=message):
        read_options_file(tmp_path / name, ["hidden_size"])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: no such file"):
        read_options_file(tmp_path / "none.json", [])


def test_another_default_keeps_description_and_limits_and_leaves_the_base_alone() -> None:
    class Fast(TrainingConfig):
        learning_rate: float = with_default(TrainingConfig, "learning_rate", 0.5)

    assert Fast().learning_rate == 0.5
    assert TrainingConfig().learning_rate != 0.5
    assert Fast.model_fields["learning_rate"].description == TrainingConfig.model_fields["learning_rate"].description
    with pytest.raises(ConfigError, match="greater than 0"):
        Fast(learning_rate=-1)
