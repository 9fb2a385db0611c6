"""Machine code on disk: used again, never believed when damaged, never in the way."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recurra.engine.cpu import cache, jit
from recurra.engine.cpu.target import host

HOUSE = Path(__file__).parent.parent.parent.parent
ANSWER = """
define void @answer(ptr %to, i64 %number) {
  %twice = mul i64 %number, MULTIPLE
  store i64 %twice, ptr %to
  ret void
}
define void @answer_team(ptr %to) { ret void }
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of our own."""
    monkeypatch.setenv("RECURRA_CACHE_DIR", str(tmp_path / "code"))
    return tmp_path / "code"


@pytest.fixture
def optimised(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that the optimiser ran."""
    runs: list[int] = []
    optimise = jit._optimised

    def counted(*args: Any) -> Any:
        runs.append(1)
        return optimise(*args)

    monkeypatch.setattr(jit, "_optimised", counted)
    return runs


def answer(multiple: int = 2, **changes: str) -> int:
    """Compile a function of one line, through the cache, and call it on 21."""
    code = jit.compile_text(ANSWER.replace("MULTIPLE", str(multiple)), "answer", replace(host(), **changes))
    result = ctypes.c_int64(0)
    code.run(ctypes.addressof(result), 21)
    return result.value


def files(place: Path) -> list[Path]:
    return sorted(place.iterdir())


def test_code_is_compiled_once_and_then_taken_from_the_disk(place: Path, optimised: list[int]) -> None:
    assert [answer(), answer(), answer()] == [42, 42, 42]

    assert len(optimised) == 1
    assert len(files(place)) == 1


def test_other_code_and_other_processors_have_files_of_their_own(place: Path, optimised: list[int]) -> None:
    features = host().features

    assert [answer(), answer(3), answer(features=f"{features},+crc32")] == [42, 63, 42]

    assert len(optimised) == 3
    assert len(files(place)) == 3


def test_another_compiler_does_not_take_what_this_one_made(
    place: Path, optimised: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer()
    monkeypatch.setattr(cache, "compiler", lambda: "another one")

    assert answer() == 42

    assert len(optimised) == 2
    assert len(files(place)) == 2


def test_a_key_tells_apart_what_only_together_is_equal() -> None:
    assert cache.key("ab", "c") != cache.key("a", "bc")
    assert cache.key("ab", "c") == cache.key("ab", "c")


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "noise"])
def test_a_damaged_file_is_compiled_again_and_replaced(place: Path, optimised: list[int], damage: str) -> None:
    answer()
    (path,) = files(place)
    whole = path.read_bytes()
    broken = {
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:-1] + bytes([whole[-1] ^ 1]),
        "empty": b"",
        "noise": b"no machine code at all, but longer than a checksum",
    }
    path.write_bytes(broken[damage])

    assert answer() == 42
    assert len(optimised) == 2
    assert path.read_bytes() == whole
    assert answer() == 42
    assert len(optimised) == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_a_folder_that_cannot_be_written_is_no_cache_and_no_error(
    place: Path, optimised: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.mkdir()

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise PermissionError(13, "Permission denied")  # a mode of the folder would not stop root

    monkeypatch.setattr("recurra.files.open", refuse, raising=False)
    assert [answer(), answer()] == [42, 42]

    assert len(optimised) == 2
    assert files(place) == []


def test_a_file_in_the_place_of_the_folder_is_no_cache_and_no_error(place: Path, optimised: list[int]) -> None:
    place.write_text("mine")

    assert [answer(), answer()] == [42, 42]
    assert len(optimised) == 2
    assert place.read_text() == "mine"


def test_a_disk_that_fills_up_leaves_nothing_half_written(
    place: Path, optimised: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(old: str, new: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("recurra.files.os.replace", full)
        assert answer() == 42
    assert files(place) == []

    assert answer() == 42
    assert len(files(place)) == 1


def test_without_a_cache_everything_is_compiled(
    place: Path, optimised: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECURRA_CACHE_DIR", "")

    assert [answer(), answer()] == [42, 42]
    assert cache.folder() is None
    assert len(optimised) == 2
    assert not place.exists()


def test_the_oldest_files_go_when_there_are_too_many(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_LARGEST", 1000)
    for age, name in enumerate(("new", "middle", "old")):
        cache.write(name, b"x" * 250)
        os.utime(place / name, (1e9 - age, 1e9 - age))
    assert [path.name for path in files(place)] == ["middle", "new", "old"]
    assert cache.read("old") == b"x" * 250  # now it is the one used last

    cache.write("newest", b"x" * 250)

    assert [path.name for path in files(place)] == ["new", "newest", "old"]


def test_what_is_larger_than_the_cache_does_not_stay(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_LARGEST", 1000)
    cache.write("small", b"x")

    cache.write("huge", b"x" * 2000)

    assert sum(path.stat().st_size for path in files(place)) <= 1000


def test_two_processes_that_compile_the_same_at_once_both_get_it(place: Path) -> None:
    program = (
        "import torch, recurra\n"
        "x = torch.linspace(-1, 1, 24).reshape(4, 2, 3)\n"
        "torch.manual_seed(0)\n"
        "print(recurra.scan(recurra.GRU(3, 5), x, engine='compiled')[0].sum().item())\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program], cwd=HOUSE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1] != ""
    names = [path.name for path in files(place)]
    assert names
    assert not any(name.startswith(".") for name in names)  # nothing half-written is left behind
    assert all(cache.read(name) for name in names)


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {"XDG_CACHE_HOME": "/data/cache"}, "/data/cache/recurra/code"),
        ("linux", {"HOME": "/home/ada"}, "/home/ada/.cache/recurra/code"),
        ("darwin", {"HOME": "/Users/ada"}, "/Users/ada/Library/Caches/recurra/code"),
        ("win32", {"LOCALAPPDATA": "C:/Users/ada/Local"}, "C:/Users/ada/Local/recurra/code"),
        ("linux", {"RECURRA_CACHE_DIR": "/fast/disk"}, "/fast/disk"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="the paths of other systems")
def test_the_cache_is_where_a_system_keeps_such_files(
    platform: str, variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "RECURRA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("recurra.engine.cpu.cache.sys.platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert str(cache.folder()) == folder


def test_nobody_without_a_home_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("RECURRA_CACHE_DIR", raising=False)
    monkeypatch.setattr(Path, "expanduser", homeless)

    assert cache.folder() is None
