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
        name: as it is typed.
        summary: from what to what, in half a line.
        module: holds `Config`, `fit` and `load`; imported when the task is used.
    """

    name: str
    summary: str
    module: str

    def load(self) -> ModuleType:
        """Import the task."""
        return importlib.import_module(self.module)


TASKS: dict[str, Task] = {
    task.name: task
    for task in [
        Task("translate", "Sentence pairs become a translator.", "recurra.tasks.translate"),
    ]
}


def find_task(name: str) -> Task:
    """The task of that name.

    Raises:
        ConfigError: there is none.
    """
    check_known(name, TASKS, f"Unknown task `{name}`")
    return TASKS[name]
