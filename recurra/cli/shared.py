"""Arguments and options that several commands have: one name, one help text."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from recurra.cli.options import option_name
from recurra.errors import ConfigError, RunError

__all__ = [
    "Beam",
    "Device",
    "PairFiles",
    "RunArgument",
    "SourceColumn",
    "TargetColumn",
    "expect_room_for_pictures",
    "path_from",
    "refuse_typed",
    "say_on_terminal",
]


def path_from(text: str) -> Path:
    """A path as it is typed; an empty one would be the folder one is in."""
    if not text:
        raise typer.BadParameter("Expected a path, got an empty text")
    return Path(text)


def expect_room_for_pictures(folder: Path) -> None:
    """Refuse a folder, there or not yet, that takes no files: said before minutes of work, not after.

    Raises:
        RunError: it is a file, lies below one, or may not be written to.
    """
    nearest = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not nearest.is_dir():
        raise RunError(f"`{nearest}` is a file: name a folder for the pictures.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise RunError(f"`{nearest}` may not be written to: name another folder for the pictures.")


def say_on_terminal(note: str) -> None:
    """What takes a while, to a person who waits: on stderr, where that is a terminal."""
    if sys.stderr.isatty():
        print(note, file=sys.stderr)


def refuse_typed(context: typer.Context, names: Iterable[str], why: str) -> None:
    """Refuse options that would do nothing, where they were typed.

    Args:
        context: of the command.
        names: parameters of the command.
        why: the rest of the sentence, after the option.

    Raises:
        ConfigError: one of them was typed.
    """
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ConfigError(f"`{option_name(name)}` {why}")


RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False, parser=path_from)]

PairFiles = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATHS",
        help="One file of sentence pairs, or two parallel files.",
        show_default=False,
        parser=path_from,
    ),
]

SourceColumn = Annotated[
    str | None, typer.Option("--source-column", metavar="TEXT", help="Name or number of the column of the source.")
]

TargetColumn = Annotated[str | None, typer.Option("--target-column", metavar="TEXT", help="The same for the target.")]

Beam = Annotated[
    int | None,
    typer.Option(
        "--beam",
        metavar="INTEGER",
        help="Candidates in the running; 1 is the fastest.",
        show_default="that of the run",
    ),
]

Device = Annotated[
    str,
    typer.Option("--device", metavar="TEXT", help="auto, cpu, cuda or cuda:<number>; auto: cuda where there is one."),
]
