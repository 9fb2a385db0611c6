"""What the documentation shows is what runs: every page is a test, from its first block to its last.

One page is one empty folder and one Python namespace; its blocks run in their order, each by its own rule:

- `python`: runs. A `text` block directly after it is what it prints.
- `console`: the lines after `$ ` run in a shell; the lines below one are what it prints.
- `bash`: does not run, so it may hold only what sets up or runs the checkout itself: git, pip, make, cd.
- `toml`, `text` and blocks without a language show something and do nothing.

In shown output `...` stands for anything. Output that is not shown is not compared. The folder holds `pairs.tsv`, forty
sentence pairs, as a reader has a file of their own; a fit that is told no end makes 100 updates here, not 1,500.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HOUSE = Path(__file__).parent.parent
PAGES = sorted([*HOUSE.glob("*.md"), *HOUSE.glob("docs/**/*.md"), *HOUSE.glob("examples/**/*.md")])
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
LANGUAGES = {"python", "console", "bash", "toml", "text", "json", "markdown", ""}
NOT_RUN = {"git", "pip", "make", "cd", "python3", "source"}


@dataclass(frozen=True)
class Block:
    language: str
    body: str
    line: int  # of the page, where the body begins, from 1
    end: int  # the place in the page's text just behind it


def _blocks(text: str) -> Iterator[Block]:
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("body")) + 1
        yield Block(match["language"], textwrap.dedent(match["body"]), line, match.end())


def _follows(text: str, first: Block, second: Block) -> bool:
    between = text[first.end :].split("```", 1)[0]
    return second.line > first.line and not between.strip()


def _same(shown: str, printed: str) -> bool:
    lines = [line.rstrip() for line in printed.strip().splitlines()]
    pattern = re.escape("\n".join(line.rstrip() for line in shown.strip().splitlines())).replace(r"\.\.\.", ".*")
    return re.fullmatch(pattern, "\n".join(lines), flags=re.DOTALL) is not None


def _compare(shown: str, printed: str, place: str) -> None:
    assert _same(shown, printed), f"{place} shows\n{shown}\nbut what is printed is\n{printed}"


def _run_python(block: Block, page: Path, namespace: dict[str, Any]) -> str:
    # blank lines in front put every line at its own number of the page, for tracebacks
    code = compile("\n" * (block.line - 1) + block.body, str(page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, namespace)
    return printed.getvalue()


def _commands(block: Block) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output shown below it."""
    for part in re.split(r"^\$ ", block.body, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        while command.endswith("\\"):
            more, _, shown = shown.partition("\n")
            command = command.removesuffix("\\") + more.strip()
        if "<<'END'" in command:
            document, _, shown = shown.partition("\nEND\n")
            command = f"{command}\n{document}\nEND\n"
        yield command, shown


def _run_command(command: str, folder: Path, place: str) -> str:
    environment = os.environ | {
        "PATH": f"{folder / '.bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(HOUSE),
        "COLUMNS": "100",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{place}: `{command}` ends with {done.returncode} and prints\n{done.stdout}"
    return done.stdout


_RECURRA = """#!{python}
import importlib
from recurra.cli.main import run
importlib.import_module("recurra.tasks.translate.fit").MIN_UPDATES = 100
run()
"""


def _put_recurra_on_path(folder: Path) -> None:
    program = folder / ".bin" / "recurra"
    program.parent.mkdir()
    program.write_text(_RECURRA.format(python=sys.executable), encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def _check_not_run(block: Block, place: str) -> None:
    for line in block.body.splitlines():
        command = line.partition("#")[0].strip()
        for word in [part.split()[0] for part in re.split(r"&&|\|", command) if part.strip()]:
            assert word in NOT_RUN, f"{place}: `{word}` is shown in a `bash` block, which nothing runs; use `console`"


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):.*## ", (HOUSE / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HOUSE)))
def test_every_block_of_a_page_runs_and_prints_what_it_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    _put_recurra_on_path(tmp_path)
    shutil.copy(HOUSE / "docs" / "phrases.tsv", tmp_path / "pairs.tsv")
    namespace: dict[str, Any] = {"__name__": f"documentation.{page.stem}"}
    before: Block | None = None
    printed = ""
    for block in _blocks(text):
        place = f"{page.relative_to(HOUSE)}:{block.line}"
        assert block.language in LANGUAGES, f"{place}: no rule for a block of `{block.language}`"
        if block.language == "python":
            printed = _run_python(block, page, namespace)
        elif block.language == "text" and before and before.language == "python" and _follows(text, before, block):
            _compare(block.body, printed, place)
        elif block.language == "console":
            for command, shown in _commands(block):
                output = _run_command(command, tmp_path, place)
                if shown.strip():
                    _compare(shown, output, place)
        elif block.language == "bash":
            _check_not_run(block, place)
        before = block


def test_a_wrong_line_of_shown_output_is_noticed() -> None:
    assert _same("a 1.0\n... z\n", "a 1.0\nb\nc z\n")
    assert not _same("a 1.0\n", "a 1.1\n")


def test_every_make_target_that_a_page_names_exists() -> None:
    named = {target for page in PAGES for target in re.findall(r"\bmake ([a-z]+)`", page.read_text(encoding="utf-8"))}

    assert named <= _targets()


def test_the_example_of_the_readme_has_about_ten_lines() -> None:
    (example,) = (block for block in _blocks((HOUSE / "README.md").read_text()) if block.language == "python")
    assert sum(bool(line.strip()) for line in example.body.splitlines()) <= 10
