"""Learning a problem: losses fall, seeds repeat, goals end it, and what cannot be is said."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator

from recurra.cells import CELLS, make_cell
from recurra.errors import ConfigError, RecurraError
from recurra.ragged import Ragged
from recurra.tasks.prove import PROBLEMS, Batch, Problem, Settings, Solver, make_problem, prove
from recurra.tasks.prove.run import _random

SMALLEST: dict[str, dict[str, Any]] = {
    "copy": {"bits": 2, "max_length": 2, "tests_at": [2], "test_size": 4},
    "repeat-copy": {"bits": 1, "max_length": 2, "max_times": 2, "tests_at": [[1, 2]], "test_size": 4},
    "associative-recall": {"bits": 2, "item_length": 1, "max_items": 2, "tests_at": [2], "test_size": 4},
    "priority-sort": {"bits": 1, "read": 3, "asked": 1, "test_size": 4},
    "adding": {"length": 8, "shortest": 3, "test_size": 10},
    "copying-memory": {"delay": 4, "kept": 1, "test_size": 8},
    "temporal-order": {"length": 10, "test_size": 10},
    "parity": {"max_length": 2, "test_length": 4, "test_size": 8},
    "modular-arithmetic": {"max_length": 2, "test_length": 3, "test_size": 8},
    "dyck": {"max_length": 6, "tests_at": [6], "test_size": 4},
    "pixels": {"size": 5, "test_size": 10},
    "permuted-pixels": {"size": 5, "test_size": 10},
    "mackey-glass": {"steps": 300, "test_steps": 40, "window": 20, "warm_up": 10},
    "lorenz": {"steps": 300, "test_steps": 40, "window": 20, "warm_up": 10},
    "narma": {"steps": 300, "test_steps": 40, "window": 20, "warm_up": 10},
}
QUICK = Settings(hidden_size=12, steps=60, batch_size=16, learning_rate=1e-2, evaluate_every=20)
SLOWER = {"pixels": 4, "permuted-pixels": 4}  # times as many updates before anything is learned


def test_every_problem_that_needs_no_file_has_a_smallest_setting() -> None:
    assert set(SMALLEST) == set(PROBLEMS) - {"santa-fe", "babi"}


@pytest.mark.parametrize("name", SMALLEST)
def test_a_few_updates_lower_the_loss_and_every_test_is_judged(name: str) -> None:
    problem = make_problem(name, SMALLEST[name])
    losses: list[float] = []

    times = SLOWER.get(name, 1)

    outcome = prove(
        problem, "gru", QUICK.but(steps=60 * times, evaluate_every=20 * times),
        on_metrics=lambda row: losses.append(row["loss"]) if row["split"] == "validation" else None,
    )  # fmt: skip

    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert outcome.loss == min(losses)
    assert (outcome.steps, outcome.sequences) == (60 * times, 960 * times)
    assert [result.test for result in outcome.results] == list(problem.tests(Generator()))
    assert all(result.value >= 0 and result.shown for result in outcome.results)


def test_the_same_seed_gives_the_same_result_and_another_another() -> None:
    problem = make_problem("adding", SMALLEST["adding"])
    quick = QUICK.but(steps=5)

    first, same, other = (prove(problem, "rnn", quick, seed=seed).results[0].value for seed in (0, 0, 1))

    assert first == same != other


def test_any_seed_of_a_training_draws() -> None:
    drawn = [torch.rand(3, generator=_random(seed, 2, 7)) for seed in (0, 2**30, 2**32 - 1)]
    assert torch.equal(drawn[0], torch.rand(3, generator=torch.Generator().manual_seed(2 * 2**32 + 7)))
    assert len({tuple(one.tolist()) for one in drawn}) == 3


def test_training_ends_when_the_goal_is_reached() -> None:
    problem = make_problem("parity", SMALLEST["parity"])

    outcome = prove(problem, "lstm", QUICK.but(goal=10.0))

    assert outcome.solved
    assert outcome.steps == 20
    assert not prove(problem, "lstm", QUICK.but(goal=1e-9, steps=2)).solved


def test_averaged_weights_that_reach_the_goal_are_those_of_the_test() -> None:
    problem = make_problem("adding", SMALLEST["adding"])
    averaged = QUICK.but(training={"averaging": "ema"})

    at_goal, at_end, plain = (
        prove(problem, "gru", settings).results[0].value
        for settings in (averaged.but(goal=10.0), averaged.but(steps=20), QUICK.but(steps=20))
    )

    assert at_goal == at_end != plain


def test_only_the_steps_that_count_are_answered() -> None:
    torch.manual_seed(0)
    solver = Solver(make_cell("gru", 3, 5), 2).eval()
    x = Ragged.from_list([torch.randn(4, 3), torch.randn(2, 3)])

    every = solver(Batch(x, torch.arange(6), torch.zeros(6)))
    some = solver(Batch(x, torch.tensor([1, 5]), torch.zeros(2)))

    assert torch.equal(some, every[[1, 5]])


def test_the_figure_of_the_cell_itself_comes_before_others() -> None:
    adding = make_problem("adding")

    figures = {cell: adding.published_for(cell, "length 600") for cell in ("gru", "lstm", "ntm")}

    assert {cell: figure.value for cell, figure in figures.items() if figure} == {
        "gru": "5.3e-5", "lstm": "0.164", "ntm": "5.8e-5",
    }  # fmt: skip


@pytest.mark.parametrize("kind", PROBLEMS.values(), ids=PROBLEMS)
def test_settings_are_those_of_cells_that_there_are(kind: type[Problem]) -> None:
    for cell, changes in kind.cell_settings.items():
        assert cell in CELLS
        settings = kind.settings.but(**changes)
        make_cell(cell, 3, settings.hidden_size, **settings.options)
    assert all(figure.source and figure.value for figure in kind.published)
    assert kind.summary
    assert kind.origin


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cpoy", {}, "Unknown problem `cpoy`. Did you mean `copy`"),
        ("copy", {"bit": 3}, "The problem `copy` has no option `bit`. Did you mean `bits`"),
        ("copy", {"bits": "many"}, "The option `bits` of `copy` must be of the kind of 8, got 'many'."),
        ("copy", {"bits": -1}, "`bits` must be a whole number of at least 1, got -1"),
    ],
)
def test_what_is_no_problem_is_one_sentence(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_problem(name, options)

    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("copy", {"tests_at": []}, r"`tests_at` must be one or more like \(20, 80\), got \(\)"),
        ("copy", {"tests_at": ["a"]}, "`tests_at` must be a whole number of at least 1, got 'a'"),
        ("copy", {"bits": 0}, "`bits` must be a whole number of at least 1, got 0"),
        ("repeat-copy", {"tests_at": [[5]]}, r"`tests_at` must be one or more like .*, got \(\(5,\),\)"),
        ("repeat-copy", {"max_times": 1}, "`max_times` must be a whole number of at least 2, got 1"),
        ("associative-recall", {"max_items": 1}, "`max_items` must be a whole number of at least 2, got 1"),
        ("associative-recall", {"tests_at": 1}, "`tests_at` must be a whole number of at least 2, got 1"),
        ("priority-sort", {"read": 5}, "`asked` must be at most `read=5`, got 16"),
        ("adding", {"length": 1}, "`length` must be a whole number of at least 2, got 1"),
        ("temporal-order", {"length": 9}, "`length` must be a whole number of at least 10, got 9"),
        ("parity", {"test_size": 0}, "`test_size` must be a whole number of at least 1, got 0"),
        ("dyck", {"max_length": 1}, "`max_length` must be a whole number of at least 2, got 1"),
        ("mackey-glass", {"ahead": 0}, "`ahead` must be a whole number of at least 1, got 0"),
        ("mackey-glass", {"window": 50}, "`warm_up` must be below `window=50`, got 50"),
        ("babi", {"task": [1, 21]}, r"`task` 1 to 20, got '10k' and \(1, 21\)"),
    ],
)
def test_a_size_that_cannot_be_is_refused_before_anything_is_learned(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_problem(name, options)


def test_a_series_without_room_for_a_stretch_and_the_test_is_refused() -> None:
    problem = make_problem("mackey-glass", {"steps": 500})
    with pytest.raises(ConfigError, match="The series has 499 steps, too few for `window=150` and `test_steps=400`"):
        prove(problem, "gru", QUICK)


def test_cells_that_read_images_are_turned_away() -> None:
    problem = make_problem("parity", SMALLEST["parity"])

    with pytest.raises(ConfigError, match="The cell `convgru` reads images"):
        prove(problem, "convgru", QUICK.but(options={"size": (4, 4)}))


@pytest.mark.parametrize(
    ("name", "value"), [("batch_size", 0), ("learning_rate", 0.0), ("steps", 0), ("hidden_size", 0)]
)
def test_a_setting_that_cannot_be_is_one_sentence(name: str, value: float) -> None:
    with pytest.raises(RecurraError, match=r"^`(batch_size|learning_rate|steps|hidden_size)` must be .*\.$"):
        prove(make_problem("parity", SMALLEST["parity"]), "gru", QUICK.but(**{name: value}))


def test_data_go_to_those_problems_alone_that_read_some() -> None:
    assert make_problem("santa-fe", data="there").data == "there"  # type: ignore[attr-defined]
    assert make_problem("copy", data="there") == make_problem("copy")


def test_a_problem_by_its_name_alone_is_told_how_it_is_made() -> None:
    with pytest.raises(ConfigError, match="as `make_problem` makes one by its name, got 'copy'"):
        prove("copy", "gru")  # type: ignore[arg-type]
