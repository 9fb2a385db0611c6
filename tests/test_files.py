"""Files that are written whole: by one or by many at once, for all to read or for their owner."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from recurra.files import write_whole


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def write_inside(file: Any) -> None:
        write_whole(path, b"inner", shared=True)
        assert path.read_bytes() == b"inner"
        file.write(b"outer")

    write_whole(path, write_inside, shared=True)

    assert path.read_bytes() == b"outer"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.parametrize(("mode", "expected"), [(0o666, 0o640), (0o600, 0o600)], ids=oct)
def test_the_umask_says_who_may_read(tmp_path: Path, mode: int, expected: int) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", b"", mode=mode)
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == expected


@pytest.mark.parametrize("sync", [True, False])
def test_only_what_must_outlive_a_power_cut_is_forced_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    write_whole(tmp_path / "file", b"new", sync=sync)
    assert bool(calls) is sync


@pytest.mark.parametrize("path", ["", "/", "."])
def test_a_folder_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=r".+"):
        write_whole(path, b"")
    assert list(tmp_path.iterdir()) == []
