"""Options are checked, explained, and refused in one sentence."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import pytest
from pydantic import Field, ValidationError

from recurra.errors import ConfigError
from recurra.training.config import TrainingConfig


def test_every_option_says_what_it_is() -> None:
    for name, field in TrainingConfig.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"learning_rat": 1}, "Unknown option `learning_rat`. Did you mean `learning_rate`?"),
        ({"zebra": 1}, "Unknown option `zebra`."),
        ({"learning_rate": "fast"}, "`learning_rate` must be a valid number, got 'fast'."),
        ({"learning_rate": -1}, "`learning_rate` must be greater than 0, got -1."),
        ({"learning_rate": float("nan")}, "`learning_rate` must be a finite number, got nan."),
        ({"max_steps": "1.5"}, "`max_steps` must be a valid integer, got '1.5'."),
        (
            {"optimizer": "adan"},
            "`optimizer` must be `sgd`, `adam`, `adamw` or `rmsprop`, got 'adan'. Did you mean `adam` or `adamw`?",
        ),
        ({"device": "gpu"}, "`device` must be auto, cpu, cuda or cuda:<number>, got 'gpu'."),
        ({"k2": 3}, "`k2` needs `k1`, the time steps between two backward passes; give both or none."),
        ({"k1": 4, "k2": 3}, "`k2` must be at least `k1` = 4, got 3: raise `k2` or lower `k1`."),
        (
            {"k1": 4, "max_steps": None, "epochs": 2},
            "`schedule` cosine must know the last update: under truncated BPTT give `max_steps` too.",
        ),
    ],
)
def test_a_wrong_option_is_refused_in_one_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        TrainingConfig(**options)
    assert str(refused.value) == sentence
    assert refused.value.__cause__ is None


def test_a_task_that_adds_an_option_gets_the_same_sentences() -> None:
    class TaskConfig(TrainingConfig):
        pairs: str = Field(description="File of pairs.")

    with pytest.raises(ConfigError, match="The option `pairs` must be given"):
        TaskConfig()
    with pytest.raises(ConfigError, match="Did you mean `pairs`"):
        TaskConfig(pairs="a.tsv", pears=1)
    assert TaskConfig(pairs="a.tsv", max_steps="12").max_steps == 12


def test_a_configuration_cannot_change() -> None:
    with pytest.raises(ValidationError):
        TrainingConfig().seed = 1  # type: ignore[misc]


def test_a_configuration_survives_json() -> None:
    config = TrainingConfig(k1=3, k2=5, learning_rate=0.1)
    assert TrainingConfig.model_validate_json(config.model_dump_json()) == config


def test_checkers_of_types_know_that_every_option_has_a_default() -> None:
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(TrainingConfig))) if isinstance(node, ast.Call)]
    fields = [call for call in calls if getattr(call.func, "id", "") == "Field"]
    assert len(fields) == len(TrainingConfig.model_fields)
    assert all("default" in {keyword.arg for keyword in call.keywords} for call in fields)  # they know it by name alone
