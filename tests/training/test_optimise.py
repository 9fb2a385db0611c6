"""Optimisers, schedules and clipping against their definitions."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from recurra.errors import ConfigError, RunError
from recurra.training.config import TrainingConfig
from recurra.training.optimise import (
    Judge,
    clip_gradients,
    learning_rate_at,
    make_optimizer,
    optimizer_tensors,
    restore_optimizer,
    set_learning_rate,
)
from tests.tolerance import assert_close

OPTIMIZERS = ["sgd", "adam", "adamw", "rmsprop"]


def rates(total: int | None, **options: Any) -> list[float]:
    config = TrainingConfig(learning_rate=2.0, **options)
    return [learning_rate_at(config, step, total) for step in range(total or 10)]


def test_the_warm_up_is_a_line_that_ends_at_the_rate() -> None:
    assert rates(None, schedule="constant", warmup_steps=4)[:6] == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


def test_a_linear_schedule_ends_at_its_fraction() -> None:
    assert rates(5, schedule="linear", final_fraction=0.5) == pytest.approx([2.0, 1.75, 1.5, 1.25, 1.0])


def test_a_cosine_is_half_way_down_in_the_middle() -> None:
    course = rates(12, schedule="cosine", final_fraction=0.1, warmup_steps=1)
    assert course[1] == 2.0
    assert course[6] == pytest.approx(1.1)
    assert course[-1] == pytest.approx(0.2)
    assert course[1:] == sorted(course[1:], reverse=True)


def test_plateaus_lower_the_rate_down_to_the_fraction() -> None:
    config = TrainingConfig(learning_rate=1.0, schedule="plateau", plateau_factor=0.5, final_fraction=0.2)
    assert [learning_rate_at(config, 9, None, reductions) for reductions in range(4)] == [1.0, 0.5, 0.25, 0.2]


@pytest.mark.parametrize(
    ("optimizer", "theirs", "options"),
    [
        ("sgd", torch.optim.SGD, {"momentum": 0.9}),
        ("adam", torch.optim.Adam, {}),
        ("adamw", torch.optim.AdamW, {}),
        ("rmsprop", torch.optim.RMSprop, {}),
    ],
)
def test_defaults_are_torchs_but_for_the_momentum_of_sgd(optimizer: Any, theirs: Any, options: dict[str, Any]) -> None:
    model = nn.Linear(2, 3)
    made = make_optimizer(model, TrainingConfig(optimizer=optimizer))
    wanted = theirs(model.parameters(), lr=1e-3, **options).param_groups[0]
    for name in ("momentum", "alpha", "betas", "eps"):
        assert made.param_groups[0].get(name) == wanted.get(name), name


def test_a_model_that_learns_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="no parameter of the model requires a gradient"):
        make_optimizer(nn.Linear(2, 3).requires_grad_(False), TrainingConfig())


def test_momentum_and_decay_that_are_given_are_taken() -> None:
    config = TrainingConfig(optimizer="rmsprop", momentum=0.5, beta2=0.9)
    group = make_optimizer(nn.Linear(2, 3), config).param_groups[0]
    assert (group["momentum"], group["alpha"]) == (0.5, 0.9)
    still = TrainingConfig(optimizer="sgd", momentum=0.0)
    assert make_optimizer(nn.Linear(2, 3), still).param_groups[0]["momentum"] == 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_biases_are_not_pulled_to_zero(optimizer: str) -> None:
    model = nn.LSTM(2, 3)
    made = make_optimizer(model, TrainingConfig(optimizer=optimizer, weight_decay=0.3))  # type: ignore[arg-type]
    decay = {id(p): group["weight_decay"] for group in made.param_groups for p in group["params"]}
    expected = {"weight": 0.3, "bias": 0.0}
    for name, parameter in model.named_parameters():
        assert decay[id(parameter)] == expected[name.split("_")[0]]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_optimiser_goes_on_after_a_checkpoint_as_if_nothing_had_happened(optimizer: str) -> None:
    config = TrainingConfig(optimizer=optimizer)  # type: ignore[arg-type]
    models = [nn.Linear(3, 2), nn.Linear(3, 2)]
    unbroken, broken = (make_optimizer(model, config) for model in models)
    models[1].load_state_dict(models[0].state_dict())

    def update(model: nn.Module, made: torch.optim.Optimizer, number: int) -> None:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, math.sin(number))
        made.step()

    for number in range(3):
        update(models[0], unbroken, number)
        update(models[1], broken, number)
    resumed = make_optimizer(models[1], config)
    restore_optimizer(resumed, {name: tensor.clone() for name, tensor in optimizer_tensors(broken).items()})
    for number in range(3, 6):
        update(models[0], unbroken, number)
        update(models[1], resumed, number)
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))


def test_the_optimiser_of_another_network_is_refused() -> None:
    small, large = (make_optimizer(nn.Linear(size, 2), TrainingConfig()) for size in (3, 4))
    for group in large.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    large.step()
    with pytest.raises(RunError, match="of another network"):
        restore_optimizer(small, optimizer_tensors(large))


def test_one_rate_for_all_groups() -> None:
    made = make_optimizer(nn.Linear(2, 2), TrainingConfig())
    set_learning_rate(made, 0.25)
    assert [group["lr"] for group in made.param_groups] == [0.25, 0.25]


def parameters_with(*gradients: list[float]) -> list[nn.Parameter]:
    parameters = [nn.Parameter(torch.zeros(len(gradient), dtype=torch.float64)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
    return [*parameters, nn.Parameter(torch.zeros(2))]  # one that got no gradient


def gradient(parameters: list[nn.Parameter]) -> torch.Tensor:
    return torch.cat([parameter.grad for parameter in parameters if parameter.grad is not None])


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, [6.0, 0.0, -8.0]),
        ({"norm": 5.0}, [3.0, 0.0, -4.0]),
        ({"norm": 50.0}, [6.0, 0.0, -8.0]),
        ({"value": 7.0}, [6.0, 0.0, -7.0]),
        ({"value": 6.0, "norm": math.sqrt(18)}, [3.0, 0.0, -3.0]),
    ],
)
def test_gradients_are_scaled_then_clipped(limits: dict[str, float], expected: list[float]) -> None:
    parameters = parameters_with([3.0, 0.0], [-4.0])
    assert clip_gradients(parameters, scale=2.0, **limits) == pytest.approx(10.0)
    assert_close(gradient(parameters), torch.tensor(expected, dtype=torch.float64))


def test_a_gradient_that_is_not_finite_shows_in_the_norm() -> None:
    assert not math.isfinite(clip_gradients(parameters_with([1.0, float("inf")]), norm=1.0))
    assert clip_gradients(parameters_with()) == 0.0


def judged(scores: list[float], **options: Any) -> Judge:
    judge = Judge(**{"better": "min", "patience": 2, "plateau": 2, **options})
    for number, score in enumerate(scores):
        judge.see(score, number)
    return judge


def test_patience_counts_evaluations_without_a_better_score() -> None:
    assert not judged([3.0, 2.0, 2.0]).is_tired
    assert judged([3.0, 2.0, 2.0, 2.5]).is_tired
    assert not judged([3.0, 2.0, 2.5, 1.0, 1.5]).is_tired
    assert judged([3.0, 4.0, 4.0], better="max").best_step == 1
    assert not judged([1.0] * 9, patience=None).is_tired


def test_a_score_that_is_no_number_is_never_best() -> None:
    judge = judged([float("nan"), 3.0, float("nan")])
    assert judge.best == 3.0
    assert judge.best_step == 1


def test_each_plateau_lowers_the_rate_once() -> None:
    assert judged([1.0, 1.0]).reductions == 0
    assert judged([1.0, 1.0, 1.0]).reductions == 1
    assert judged([1.0] * 4).reductions == 1
    assert judged([1.0] * 5).reductions == 2


def test_a_judge_remembers() -> None:
    judge = judged([3.0, 2.0, 2.5])
    other = Judge("min", 2, 2)
    other.restore(judge.memory())
    assert other == judge
