"""`recurra evaluate RUN PATHS...`: the scores of a run on files with the right answers."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from recurra.cli.options import as_typed
from recurra.cli.shared import Beam, Device, PairFiles, RunArgument, SourceColumn, TargetColumn, say_on_terminal
from recurra.cli.show import print_table
from recurra.tasks.translate import TranslationScores, load
from recurra.tasks.translate import evaluate as evaluate_translator

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    run: RunArgument,
    paths: PairFiles,
    source_column: SourceColumn = None,
    target_column: TargetColumn = None,
    beam: Beam = None,
    lowercase: Annotated[
        bool | None,
        typer.Option("--lowercase/--no-lowercase", help="Compare in lower case.", show_default="as the run writes"),
    ] = None,
    on_bad: Annotated[
        Literal["error", "skip"],
        typer.Option(
            "--on-bad", metavar="error|skip", help="Refuse a file with lines that cannot be used, or leave them out."
        ),
    ] = "error",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    device: Device = "auto",
) -> None:
    """Score a run on sentence pairs: BLEU and chrF with their signatures, exact match, perplexity."""  # fmt: skip
    with as_typed(["device"]):
        model = load(run, device=device)
    say_on_terminal(f"Translating the sentences of {' and '.join(map(str, paths))} ...")
    with as_typed(["source_column", "target_column", "beam", "on_bad"]):
        scores = evaluate_translator(
            model,
            *paths,
            source_column=source_column,
            target_column=target_column,
            beam=beam,
            lowercase=lowercase,
            on_bad=on_bad,
        )
    if as_json:
        print(json.dumps(scores.model_dump()))
    else:
        print_scores(scores)


def print_scores(scores: TranslationScores) -> None:
    """A table on stdout."""
    print_table(
        ["score", "value", "how"],
        [
            ["BLEU", f"{scores.bleu:.2f}", scores.bleu_signature],
            ["chrF", f"{scores.chrf:.2f}", scores.chrf_signature],
            ["exact match", f"{scores.exact_match:.2f} %", f"of {scores.sentences:,} sentences"],
            ["perplexity", f"{scores.perplexity:.3f}", "of the references, a piece of the run's vocabulary"],
        ],
        numbers=["value"],
    )
