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
    """A task loads when it is first used, and so does the proving ground."""
    if name in (*TASKS, "prove"):
        return importlib.import_module(f"recurra.tasks.{name}")
    raise AttributeError(f"module 'recurra.tasks' has no attribute {name!r}")
