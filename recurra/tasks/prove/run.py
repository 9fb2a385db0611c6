"""`prove`: a cell learns a problem and is judged on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from recurra.cells.registry import make_cell
from recurra.checks import check_count, check_known
from recurra.engine.contract import Cell
from recurra.errors import ConfigError
from recurra.networks.recurrent import Recurrent
from recurra.ragged import take_rows
from recurra.tasks.prove.problem import Batch, Problem, Published, Settings
from recurra.training import Loss, TrainingConfig, fit, seed_everything
from recurra.training.averaging import copy_of, set_weights, weights_of

__all__ = ["Outcome", "Result", "Solver", "prove"]

VALIDATION, TEST = 1, 2  # streams of random numbers; 0 is that of training
PRIME = 2**64 - 59  # what seeds of a generator are below
TRAINING = (  # what `Settings.training` may have: the others have a setting of their own, or mean nothing here
    "optimizer", "weight_decay", "momentum", "beta1", "beta2", "epsilon",
    "warmup_steps", "schedule", "final_fraction", "plateau_factor", "plateau_patience",
    "clip_norm", "clip_value", "averaging", "ema_decay", "average_last", "precision",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One test of an outcome."""

    test: str
    measure: str
    value: float
    shown: str
    published: Published | None


@dataclass(frozen=True)
class Outcome:
    """What became of a cell on a problem."""

    problem: str
    cell: str
    settings: Settings
    seed: int
    parameters: int
    steps: int
    sequences: int
    solved: bool  # the loss on fresh sequences came down to the goal
    loss: float  # of an answer, on fresh sequences
    seconds: float
    results: Sequence[Result]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and texts."""
        return asdict(self)


class Solver(nn.Module):
    """Recurrent layers, and a linear answer at the steps that count."""

    def __init__(self, cell: Cell, output_size: int, num_layers: int = 1) -> None:
        super().__init__()
        self.recurrent = Recurrent(cell, num_layers=num_layers)
        self.output = nn.Linear(self.recurrent.output_size, output_size)

    def forward(self, batch: Batch) -> Tensor:
        """Shapes: batch.x.values [N, I], batch.rows [M] -> [M, O]."""
        h, _ = self.recurrent(batch.x)
        answers: Tensor = self.output(take_rows(h.values, batch.rows))
        return answers


def prove(
    problem: Problem,
    cell: str,
    settings: Settings | None = None,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Literal["auto", "bar", "lines", "none"] = "none",
    on_metrics: Callable[[dict[str, Any]], object] | None = None,
) -> Outcome:
    """Train a cell on a problem, and test it.

        outcome = prove(Parity(), "lstm")

    Args:
        problem: what is to be learned.
        cell: its name in `recurra cells`.
        settings: how; those of the problem for this cell where not given.
        seed: of the weights and of everything that is drawn.
        device: where it computes: auto, cpu, cuda or cuda:<number>. Few cells have a kernel for a GPU: see `scan`.
        progress: as in `recurra.training.fit`.
        on_metrics: called with each line of losses and scores.

    Raises:
        ConfigError: the cell is unknown, cannot read this problem, or diverges; or a setting cannot be.
        DataError: the problem reads a file that is not there.
    """
    if not isinstance(problem, Problem):
        raise ConfigError(f"`problem` must be a Problem, as `make_problem` makes one by its name, got {problem!r}.")
    settings = problem.settings_of(cell) if settings is None else settings
    for name in ("steps", "batch_size"):
        check_count(name, getattr(settings, name))
    config = _config(settings, seed, device)
    seed_everything(seed)
    solver = Solver(_cell(problem, cell, settings), problem.output_size, settings.num_layers)
    source = _Drawn(problem, settings.batch_size, seed)
    check = [problem.draw_unseen(16, _random(seed, VALIDATION, number)) for number in range(8)]
    goal = _Goal(problem, check, settings.goal)
    start = time.monotonic()
    try:
        fit(solver, source, _Objective(problem), config, validate=goal, progress=progress, on_metrics=on_metrics)
    except _Reached:
        set_weights(solver, goal.weights)
        solver.eval()
    seconds = time.monotonic() - start
    return Outcome(
        problem=problem.name,
        cell=cell,
        settings=settings,
        seed=seed,
        parameters=sum(parameter.numel() for parameter in solver.parameters()),
        steps=source.loaded,
        sequences=source.loaded * settings.batch_size,
        solved=goal.reached,
        loss=goal.best,
        seconds=seconds,
        results=_judge(solver, problem, cell, seed),
    )


def _judge(solver: Solver, problem: Problem, cell: str, seed: int) -> list[Result]:
    results = []
    device = next(solver.parameters()).device
    for test, batches in problem.tests(_random(seed, TEST, 0)).items():
        with torch.no_grad():
            answers = torch.cat([solver(batch.to(device)).cpu() for batch in batches])
        value = problem.judge(answers, torch.cat([batch.target for batch in batches]))
        shown = problem.answer.show.format(value)
        results.append(Result(test, problem.answer.measure, value, shown, problem.published_for(cell, test)))
    return results


def _cell(problem: Problem, name: str, settings: Settings) -> Cell:
    cell = make_cell(name, problem.input_size, settings.hidden_size, **settings.options)
    if cell.input_shape != (problem.input_size,):
        raise ConfigError(
            f"The cell `{name}` reads images, and the steps of `{problem.name}` are vectors of {problem.input_size} "
            "numbers: take another cell."
        )
    return cell


def _config(settings: Settings, seed: int, device: str) -> TrainingConfig:
    for name in settings.training:
        check_known(name, TRAINING, f"`training_options` has no option `{name}`")
    options: dict[str, Any] = {
        "max_steps": settings.steps,
        "optimizer": "adam",
        "learning_rate": settings.learning_rate,
        "weight_decay": 0.0,
        "schedule": settings.schedule,
        "clip_norm": settings.clip_norm,
        "evaluate_every": settings.evaluate_every,
        "log_every": settings.evaluate_every,
        "watch_gradients": None,
        "seed": seed,
        "device": device,
        **settings.training,
    }
    return TrainingConfig(**options)


def _random(seed: int, stream: int, number: int) -> Generator:
    """Numbers of their own for every batch of every stream."""
    return Generator().manual_seed(((seed * 4 + stream) * 2**32 + number) % PRIME)


class _Drawn:
    """Batches that are drawn as they are needed; none comes twice."""

    def __init__(self, problem: Problem, batch_size: int, seed: int) -> None:
        self.problem, self.batch_size, self.seed = problem, batch_size, seed
        self.loaded = 0

    def plan(self, epoch: int) -> list[list[int]]:
        """An epoch is a thousand batches, for want of an end."""
        return [[number] for number in range(epoch * 1000, (epoch + 1) * 1000)]

    def load(self, item: list[int]) -> Batch:
        """The batch of a number."""
        self.loaded += 1
        return self.problem.draw(self.batch_size, _random(self.seed, 0, item[0]))


class _Objective:
    """The loss of the answers that count."""

    def __init__(self, problem: Problem) -> None:
        self.answer = problem.answer

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        return Loss(self.answer.loss(model(batch), batch.target), self.answer.count(batch.target))


class _Reached(Exception):
    """The goal is reached: nothing is left to learn."""


class _Goal:
    """The loss on fresh sequences; ends training where it is small enough."""

    def __init__(self, problem: Problem, batches: list[Batch], goal: float | None) -> None:
        self.objective, self.batches, self.goal = _Objective(problem), batches, goal
        self.best, self.reached = float("inf"), False
        self.weights: dict[str, Tensor] = {}  # those that reached it: averaged ones leave the model after the look

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        device = next(model.parameters()).device
        losses = [self.objective(model, batch.to(device)) for batch in self.batches]
        loss = sum(float(one.total) for one in losses) / sum(int(one.count) for one in losses)
        self.best = min(self.best, loss)
        if self.goal is not None and loss <= self.goal:
            self.reached, self.weights = True, copy_of(weights_of(model))
            raise _Reached
        return {"loss": loss}
