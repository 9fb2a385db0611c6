"""The tasks by name: what the command line and the docs offer."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from recurra.checks import check_known

__all__ = ["TASKS", "Task", "find_task"]


@dataclass(frozen=True)
class Task:
    """One ready-made task.

    Args:
        name: as it is typed, and of its module.
        summary: from what to what, in half a line.
    """

    name: str
    summary: str

    def load(self) -> ModuleType:
        """Import the task when it is used: a module with `Config`, `fit` and `load`."""
        return importlib.import_module(f"recurra.tasks.{self.name}")


TASKS: dict[str, Task] = {
    task.name: task
    for task in [
        Task("translate", "Sentence pairs become a translator."),
    ]
}


def find_task(name: str) -> Task:
    """The task of that name.

    Raises:
        ConfigError: there is none.
    """
    check_known(name, TASKS, f"Unknown task `{name}`")
    return TASKS[name]
