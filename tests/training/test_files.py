"""Files appear whole, or what was there before stays."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recurra.errors import RunError
from recurra.training.files import json_text, write_atomically


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_numbers_that_json_has_no_word_for_are_null() -> None:
    assert json_text({"a": [1.5, float("inf")], "b": (float("nan"), 2), "c": "x"}) == (
        '{"a": [1.5, null], "b": [null, 2], "c": "x"}'
    )


@pytest.mark.parametrize("content", [b"new", "new", lambda file: file.write(b"new")])
def test_content_comes_as_bytes_text_or_a_function(tmp_path: Path, content: Any) -> None:
    (tmp_path / "file").write_bytes(b"old")
    write_atomically(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert names_in(tmp_path) == ["file"]


def test_a_full_disk_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    def full(file: Any) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(RunError, match=r"file` could not be written \(no space left on device\).*unchanged"):
        write_atomically(tmp_path / "file", full)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_a_real_limit_of_the_operating_system_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    program = f"""
import resource
from pathlib import Path
from recurra.errors import RunError
from recurra.training.files import json_text, write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_atomically(Path({str(tmp_path / "file")!r}), bytes(100_000))
except RunError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "could not be written (file too large)" in done.stdout
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("folder", "reason"), [("nowhere", "no such file or directory"), ("file", "not a directory")], ids=str
)
def test_a_missing_folder_is_named(tmp_path: Path, folder: str, reason: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=rf"{folder}/new` could not be written \({reason}\)"):
        write_atomically(tmp_path / folder / "new", b"")


def test_a_folder_that_cannot_be_synced_holds_the_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def refuse(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert names_in(tmp_path) == ["file"]


def test_what_a_killed_process_left_behind_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".file.unfinished").write_bytes(b"a long half of something")
    write_atomically(tmp_path / "file", b"new")
    assert names_in(tmp_path) == ["file"]


def test_the_content_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, n=name, r=real: (calls.append(n), r(*args))[1])
    write_atomically(tmp_path / "file", b"new")
    assert calls == ["fsync", "replace", "fsync"]  # the file, its name, the folder that holds the name
