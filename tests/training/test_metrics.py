"""metrics.jsonl after a crash is what it would have been without."""

from __future__ import annotations

from pathlib import Path

import pytest

from recurra.errors import RunError
from recurra.training.metrics import append_metrics, keep_metrics_until, read_metrics


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    rows = [{"step": step, "loss": step / 3} for step in range(4)]
    for row in rows:
        append_metrics(tmp_path / "metrics.jsonl", row)
    assert read_metrics(tmp_path / "metrics.jsonl") == rows


def test_lines_after_the_checkpoint_and_half_lines_go(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for step in range(4):
        append_metrics(path, {"step": step})
    with open(path, "a") as file:
        file.write('{"step": 4, "lo')
    keep_metrics_until(path, 2)
    assert path.read_text() == '{"step": 0}\n{"step": 1}\n{"step": 2}\n'


def test_a_look_before_the_first_update_after_the_checkpoint_goes_too(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for row in (rows := [{"step": step, "split": split} for step in (1, 2) for split in ("train", "gradients")]):
        append_metrics(path, row)
    keep_metrics_until(path, 2)
    assert read_metrics(path) == rows[:-1]


def test_no_file_is_no_lines(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []


@pytest.mark.parametrize("damage", [b"hello", b"\0\0", b"\xff", b"[1]", b"{}", b""])
def test_a_damaged_line_is_named(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + damage + b'\n{"step": 2}\n')
    with pytest.raises(RunError, match=r"line 2 is damaged, .* remove that line\.$"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"gone/metrics.jsonl` could not be written"):
        append_metrics(tmp_path / "gone" / "metrics.jsonl", {})
