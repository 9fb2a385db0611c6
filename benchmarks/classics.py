"""The proving ground, all of it: python -m benchmarks.classics --data ../shared/data --out benchmarks/results/classics

Every problem with cells of the literature, in the settings that `recurra prove` takes. Each outcome is written as soon
as it is there, and those that `--out` has already are not measured again: a list that was stopped goes on where it
stopped. The JSON file has everything, the page is the table of it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.layers import machine
from recurra.tasks.prove import PROBLEMS, make_problem, prove

CELLS = {
    "copy": ["ntm", "dnc", "lstm"],
    "repeat-copy": ["ntm", "dnc", "lstm"],
    "associative-recall": ["ntm", "dnc", "lstm"],
    "priority-sort": ["ntm", "lstm"],
    "adding": ["gru", "lstm", "rnn"],
    "copying-memory": ["ornn", "lstm"],
    "temporal-order": ["lstm", "gru", "rnn"],
    "parity": ["rnn", "lstm", "slstm", "mingru", "lru"],
    "modular-arithmetic": ["rnn", "lstm", "slstm", "mingru", "lru"],
    "dyck": ["lstm", "gru", "rnn"],
    "pixels": ["gru", "lstm", "lem"],
    "permuted-pixels": ["gru", "lstm", "lem"],
    "mackey-glass": ["lstm", "gru", "lmu"],
    "lorenz": ["lstm", "gru"],
    "narma": ["lstm", "gru"],
    "santa-fe": ["lstm"],
    "babi": ["lstm", "dnc"],
}
REAL = ("santa-fe", "babi")
COLUMNS = ("problem", "cell", "units", "sequences", "minutes", "test", "result", "published", "source")


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.classics", description=__doc__)
    options.add_argument(
        "--problems", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS), help="leave others out"
    )
    options.add_argument("--cells", nargs="+", help="only these, instead of those of the literature")
    options.add_argument("--data", help="folder of the real data; problems on them are left out without it")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=1, help="threads of torch and of the compiled engine")
    options.add_argument("--out", type=Path, required=True, help="file without its ending: .json and .md are written")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    outcomes = read(given.out)
    known = {(one["problem"], one["cell"], one["seed"]) for one in outcomes}
    for name in given.problems:
        if name in REAL and given.data is None:
            print(f"{name}: left out, it needs --data", flush=True)
            continue
        for cell in given.cells or CELLS[name]:
            if (name, cell, given.seed) in known:
                continue
            print(f"{name}: {cell} ...", flush=True)
            outcome = prove(make_problem(name, data=given.data), cell, seed=given.seed)
            outcomes.append(outcome.to_json())
            write(given.out, outcomes, given.threads)
            for result in outcome.results:
                print(f"  {result.test}: {result.shown} {result.measure}, {outcome.seconds:.0f} s", flush=True)
    return 0


def read(out: Path) -> list[dict[str, Any]]:
    """The outcomes that are there already."""
    path = out.with_suffix(".json")
    outcomes: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["outcomes"] if path.exists() else []
    return outcomes


def write(out: Path, outcomes: list[dict[str, Any]], threads: int) -> None:
    """The outcomes as JSON, and as a page."""
    order = list(PROBLEMS)
    outcomes = sorted(outcomes, key=lambda one: order.index(one["problem"]))
    path = out.with_suffix(".json")
    notes = json.loads(path.read_text(encoding="utf-8")).get("notes", []) if path.exists() else []  # by hand: kept
    found = {"machine": machine(threads), "notes": notes, "outcomes": outcomes}
    out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(page(found), encoding="utf-8")


def page(found: dict[str, Any]) -> str:
    """The table."""
    rows = [_row(outcome, result) for outcome in found["outcomes"] for result in outcome["results"]]
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS), *(" | ".join(row) for row in rows)]
    notes = "".join(f"- {note}\n" for note in found["notes"])
    table = "\n".join(f"| {line} |" for line in lines)
    return (
        "# The proving ground, measured\n\n"
        "In the form of `python -m benchmarks.classics`; settings and losses are in the JSON file beside this\n"
        "one. The published figure is that of the cell itself, or else of the network in brackets.\n\n"
        f"{table}\n\n{notes}\nMachine: {json.dumps(found['machine'])}\n"
    )


def _row(outcome: dict[str, Any], result: dict[str, Any]) -> list[str]:
    figure = result["published"]
    who = "" if figure is None or figure["who"] == outcome["cell"] else f" ({figure['who']})"
    return [
        outcome["problem"],
        outcome["cell"],
        str(outcome["settings"]["hidden_size"]),
        f"{outcome['sequences']:,}",
        f"{outcome['seconds'] / 60:.1f}",
        result["test"],
        f"{result['shown']} {result['measure']}",
        *(["-", "-"] if figure is None else [figure["value"] + who, figure["source"]]),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
