"""`recurra fit TASK PATHS...`: one command a task, with the options of the task's config."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from recurra.cli.options import as_typed, option_parameters, options_given
from recurra.cli.shared import path_from
from recurra.errors import ConfigError, RunError
from recurra.tasks.options import read_options_file
from recurra.tasks.registry import TASKS, Task
from recurra.tasks.run_folder import RunFolder
from recurra.training.interrupt import Interrupted

__all__ = ["app"]

app = typer.Typer(
    help="Train a model on your files: `recurra fit translate pairs.tsv --out runs/mine`.",
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def _tasks(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        context.get_help()


def _fixed_parameters() -> list[inspect.Parameter]:
    """What every task asks for beside its own options."""
    panel = "Files"
    kinds: dict[str, Any] = {
        "paths": Annotated[
            list[Path] | None,
            typer.Argument(
                metavar="PATHS",
                help="One file of sentence pairs (TSV, CSV, JSONL) or two parallel text files; plain or .gz. May "
                "be left out with --resume.",
                show_default=False,
                parser=path_from,
            ),
        ],
        "out": Annotated[
            Path | None,
            typer.Option(
                "--out", metavar="DIR", help="The run folder to write.", rich_help_panel=panel, parser=path_from
            ),
        ],
        "validation": Annotated[
            list[Path] | None,
            typer.Option(
                "--validation",
                metavar="PATH",
                help="File to validate on, in place of a part of PATHS; give it twice for two parallel files.",
                rich_help_panel=panel,
            ),
        ],
        "resume": Annotated[
            bool | None,
            typer.Option(
                "--resume",
                metavar="",
                help="Go on with the run in DIR where it was stopped, with its options.",
                rich_help_panel=panel,
            ),
        ],
        "overwrite": Annotated[
            bool | None,
            typer.Option(
                "--overwrite",
                metavar="",
                help="Put a new run in the place of the one in DIR, which is kept in DIR/.replaced until the new one "
                "has weights.",
                rich_help_panel=panel,
            ),
        ],
        "config": Annotated[
            Path | None,
            typer.Option(
                "--config",
                metavar="FILE",
                help="JSON or TOML file of options; what is typed here comes before what it says.",
                rich_help_panel=panel,
            ),
        ],
    }
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in kinds.items()]


def _command(task: Task) -> Callable[..., None]:
    module = task.load()

    def fit(**typed: Any) -> None:
        options = {} if typed["config"] is None else read_options_file(typed["config"], module.Config.model_fields)
        if typed["out"] is None:
            raise ConfigError("Say where the run folder goes: `--out DIR`.")
        try:
            with as_typed([*module.Config.model_fields, "out", "resume", "overwrite"]):
                options |= options_given(module.Config, typed)
                module.fit(
                    *(typed["paths"] or ()),
                    out=typed["out"],
                    validation=typed["validation"] or None,
                    resume=bool(typed["resume"]),
                    overwrite=bool(typed["overwrite"]),
                    **options,
                )
        except KeyboardInterrupt as stop:
            _say_how_to_resume(stop, task, typed["out"])
            raise typer.Exit(130) from None
        except RunError as error:
            if not _is_of_the_disk(error) or not RunFolder(typed["out"]).checkpoint.exists():
                raise
            raise RunError(f"{error} Then: {_resume_command(task, typed['out'])}") from error

    parameters = [*_fixed_parameters(), *option_parameters(module.Config)]
    fit.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    fit.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    fit.__doc__ = _help(module)
    return fit


def _say_how_to_resume(stop: KeyboardInterrupt, task: Task, out: Path) -> None:
    run = RunFolder(out)
    if not run.checkpoint.exists():
        print("Stopped before the first update; nothing was saved.", file=sys.stderr)
        return
    if isinstance(stop, Interrupted):
        what = f"after update {stop.step:,}; all is saved"
    elif run.weights.exists():
        what = "after the training, before its report; the weights are saved"
    else:
        what = "at once; what came after the last save is lost"
    print(f"Stopped {what}. Go on with: {_resume_command(task, out)}", file=sys.stderr)


def _is_of_the_disk(error: BaseException | None) -> bool:
    """Whether a file could not be written: the disk is full, say."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    return error is not None


def _resume_command(task: Task, out: Path) -> str:
    return shlex.join(["recurra", "fit", task.name, "--out", str(out), "--resume"])


def _help(module: ModuleType) -> str:
    """The first paragraph of the task's module."""
    return (inspect.getdoc(module) or "").split("\n\n")[0]


for _task in TASKS.values():
    app.command(_task.name, short_help=_task.summary)(_command(_task))
