"""Tasks by name."""

from __future__ import annotations

import pytest

import recurra
from recurra.errors import ConfigError
from recurra.tasks import TASKS, find_task


def test_every_task_has_what_the_command_line_needs() -> None:
    for name, task in TASKS.items():
        module = task.load()

        assert task.name == name
        assert getattr(recurra.tasks, name) is module
        assert callable(module.fit)
        assert callable(module.load)
        assert module.Config.model_fields
        assert all(field.description for field in module.Config.model_fields.values())


def test_the_proving_ground_loads_when_it_is_used() -> None:
    assert callable(recurra.tasks.prove.prove)


def test_an_unknown_task_gets_a_neighbour() -> None:
    with pytest.raises(ConfigError, match="Did you mean `translate`"):
        find_task("transalte")
    with pytest.raises(AttributeError, match="transalte"):
        _ = recurra.tasks.transalte
