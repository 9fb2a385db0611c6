"""`recurra prove`: cells on the problems that made them famous."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from recurra.cells.registry import find_cell
from recurra.cli.options import as_typed, cell_from, object_from
from recurra.cli.shared import Device
from recurra.cli.show import print_table
from recurra.errors import ConfigError
from recurra.tasks.prove import PROBLEMS, Outcome, Problem, Settings, make_problem, prove
from recurra.training.files import json_text

__all__ = ["register"]

FIELDS = [
    "data",
    "problem_options",
    "training_options",
    "hidden_size",
    "steps",
    "batch_size",
    "learning_rate",
    "seed",
    "device",
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("prove")(prove_command)


def prove_command(
    problem: Annotated[
        str | None, typer.Argument(metavar="PROBLEM", help="One by name; without it all are listed.")
    ] = None,
    cell: Annotated[
        list[str] | None,
        typer.Option("--cell", metavar="NAME", help='A cell, as gru or lstm:{"forget_bias":5}; again for another.'),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="INTEGER", min=1, help="Updates at most.")] = None,
    hidden_size: Annotated[
        int | None, typer.Option("--hidden-size", metavar="INTEGER", min=1, help="Units of a cell.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", metavar="INTEGER", min=1, help="Sequences of an update.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", metavar="NUMBER", help="Of Adam.")] = None,
    goal: Annotated[
        float | None,
        typer.Option(
            "--goal", metavar="NUMBER", min=0, help="Loss on fresh sequences that ends training; 0: all updates."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="INTEGER", min=0, help="Of all that is drawn.")] = 0,
    device: Device = "cpu",
    data: Annotated[
        Path | None, typer.Option("--data", metavar="PATH", help="File or folder of the problems on real data.")
    ] = None,
    problem_options: Annotated[
        str, typer.Option("--problem-options", metavar="JSON", help='Sizes of the problem, like {"length": 200}.')
    ] = "{}",
    training_options: Annotated[
        str,
        typer.Option(
            "--training-options", metavar="JSON", help='Of training, like {"averaging": "ema", "weight_decay": 0.01}.'
        ),
    ] = "{}",
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array of outcomes on stdout.")] = False,
) -> None:
    """Train cells on a classic problem and compare the result with the published figure.

    Without options everything is as in the table of results: recurra prove copy --cell gru.
    """
    if problem is None:
        _list(as_json)
        return
    with as_typed(FIELDS):
        sizes = object_from("problem_options", problem_options)
        training = object_from("training_options", training_options)
        if data is not None and problem in PROBLEMS and not hasattr(PROBLEMS[problem], "data"):
            raise ConfigError(f"The problem `{problem}` draws its own sequences: leave out `data`.")
        made = make_problem(problem, sizes, data=None if data is None else str(data))
        changes: dict[str, Any] = {"steps": steps, "hidden_size": hidden_size, "batch_size": batch_size}
        changes |= {"learning_rate": learning_rate, "goal": goal, "training": training or None}
        cells = [_settings(made, text, changes) for text in (cell or ["lstm"])]
        outcomes = [prove(made, name, settings, seed=seed, device=device, progress="auto") for name, settings in cells]
    if as_json:
        print(json_text([outcome.to_json() for outcome in outcomes]))
    else:
        _print(outcomes)


def _settings(problem: Problem, text: str, changes: dict[str, Any]) -> tuple[str, Settings]:
    """The cell that was typed, and how it is trained."""
    name, options = cell_from(text)
    find_cell(name)
    settings = problem.settings_of(name)
    given = {option: value for option, value in changes.items() if value is not None}
    if options:
        given["options"] = {**settings.options, **options}
    return name, replace(settings, **given)


def _list(as_json: bool) -> None:
    if as_json:
        rows = [{"problem": name, "summary": kind.summary, "origin": kind.origin} for name, kind in PROBLEMS.items()]
        print(json.dumps(rows))
        return
    print_table(["problem", "what is asked", "origin"], [[n, k.summary, k.origin] for n, k in PROBLEMS.items()])


def _print(outcomes: list[Outcome]) -> None:
    rows = []
    for outcome in outcomes:
        for result in outcome.results:
            figure = result.published
            who = "" if figure is None or figure.who == outcome.cell else f" ({figure.who})"
            rows.append(
                [outcome.cell, f"{outcome.steps:,}", result.test, f"{result.shown} {result.measure}"]
                + (["-", "-"] if figure is None else [figure.value + who, figure.source])
            )
    print_table(["cell", "steps", "test", "result", "published", "source"], rows, numbers=["steps"])
