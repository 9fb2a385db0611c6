"""`recurra`: the commands, and what becomes of everything that goes wrong in one.

A refusal is its sentence alone on stderr and exit code 2, which is also the code of a command line that cannot be
read; `--debug` anywhere adds where it came from. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import io
import os
import re
import sys
import traceback
from collections.abc import Sequence
from itertools import takewhile
from typing import Annotated, Any

import torch
import typer
from typer.core import TyperGroup

from recurra import __version__
from recurra.cli import cells, data, evaluate, explain, fit, inspect, predict, prove, summary
from recurra.cli.help import draw_whole_names
from recurra.errors import RecurraError, did_you_mean, reason_of
from recurra.tasks.registry import TASKS

__all__ = ["app", "main", "run"]

BAD_INPUT, INTERRUPTED = 2, 130
ORDER = ("sample", "check-data", "fit", "predict", "evaluate", "summary", "inspect", "prove", "cells", "explain")


class _InOurOrder(TyperGroup):
    """Commands in the order in which a newcomer needs them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=ORDER.index)


draw_whole_names()
app = typer.Typer(
    name="recurra",
    cls=_InOurOrder,
    help="Recurrent neural networks: from a file of sequences to a working model.",
    epilog="Try it: recurra sample --out demo, then recurra fit translate demo/train.tsv --out runs/demo",
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(fit.app, name="fit")
predict.register(app)
evaluate.register(app)
summary.register(app)
data.register(app)
cells.register(app)
explain.register(app)
inspect.register(app)
prove.register(app)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"recurra {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from; also after a command.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        context.get_help()


def run() -> None:
    """The entry point of the command `recurra`.

    What goes to stdout is UTF-8, as all files and what comes from stdin are, whatever the terminal speaks.
    """
    if sys.stdout is None:  # closed by who called: `>&-`
        sys.stdout = io.StringIO()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # names of files may be any bytes
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    debug = "--debug" in arguments
    words = [word for word in arguments if word != "--debug"]
    try:
        code = app(words, prog_name="recurra", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except RecurraError as error:
        return _refuse(str(error), debug)
    except typer.TyperException as error:
        return _refuse(_usage(error, words), debug)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return _leave_quietly()
    except (FileExistsError, NotADirectoryError) as error:
        return _refuse(f"`{error.filename}` is no folder, or lies below a file: name a folder.", debug)
    except (MemoryError, RuntimeError, TypeError) as error:
        if not _is_of_memory(error):
            raise
        return _refuse("There is not enough memory for this: give smaller sizes, or smaller batches.", debug)
    except OSError as error:  # a disk, a permission: the user's, not a fault of this program
        where = f"`{error.filename}`: " if error.filename else "Reading or writing failed: "
        return _refuse(f"{where}{reason_of(error)}.", debug)
    except SystemExit as error:  # how typer leaves when the reader of a pipe has gone
        return _leave_quietly() if error.code == 1 else int(error.code or 0)


def _refuse(message: str, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(message, file=sys.stderr)
    return BAD_INPUT


def _is_of_memory(error: Exception) -> bool:
    """Whether memory was short; torch has no class for that on processors, nor for sizes past 2^63."""
    words = ("DefaultCPUAllocator", "Storage size calculation overflowed", "Overflow when unpacking long")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in words)


def _leave_quietly() -> int:
    """The reader of our output has gone: nobody is left to tell, and the interpreter must not try at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _usage(error: Any, words: Sequence[str]) -> str:
    """What is wrong with a command line, in our words, and where its help is."""
    context: Any = getattr(error, "ctx", None)
    command = context.command_path if context else _command(words)
    help_hint = f" Help: `{command} --help`."
    message: str = error.format_message()
    if hasattr(error, "option_name") and hasattr(error, "possibilities"):
        known = [name for parameter in context.command.params for name in (*parameter.opts, *parameter.secondary_opts)]
        return f"Unknown option `{error.option_name}`.{did_you_mean(error.option_name, known)}{help_hint}"
    if no_such := re.match(r"No such command '(.*?)'\.", message):
        known = context.command.list_commands(context)
        listed = f" All: {', '.join(known)}."
        what = "task" if context.info_name == "fit" else "command"
        return f"Unknown {what} `{no_such[1]}`.{did_you_mean(no_such[1], known)}{listed}"
    message = re.sub(r"^Invalid value for '(.*?)': Input should be ", r"'\1' must be ", message)
    message = message.split(", unable to parse")[0]
    return message.rstrip(".").replace("'", "`").replace("``", "`") + f".{help_hint}"


def _command(words: Sequence[str]) -> str:
    """The command that was typed, `recurra fit translate`: not every error says in which it arose."""
    return " ".join(["recurra", *takewhile((*ORDER, *TASKS).__contains__, words)])
