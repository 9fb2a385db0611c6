"""Ready-made tasks: from a file of sequences to a working model, its scores and its run folder."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from recurra.tasks.registry import TASKS, Task, find_task
from recurra.tasks.run_folder import RunFolder, RunRecord

if TYPE_CHECKING:
    from recurra.tasks import prove, translate

__all__ = ["TASKS", "RunFolder", "RunRecord", "Task", "find_task", "prove", "translate"]


def __getattr__(name: str) -> Any:
    """A task, and the proving ground, load when they are first used."""
    if name in TASKS:
        return importlib.import_module(TASKS[name].module)
    if name == "prove":
        return importlib.import_module("recurra.tasks.prove")
    raise AttributeError(f"module 'recurra.tasks' has no attribute {name!r}")
