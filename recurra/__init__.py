"""Recurra: recurrent neural networks on PyTorch. Write one time step, train it, stream it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from recurra.cells import GRU, LSTM, RNN
from recurra.engine.contract import Cell, Source
from recurra.engine.scan import scan
from recurra.errors import (
    CompileError,
    ConfigError,
    DataError,
    DecodingError,
    MissingExtra,
    RecurraError,
    RunError,
    ShapeError,
    TraceError,
)
from recurra.networks.recurrent import Recurrent
from recurra.ragged import Ragged

if TYPE_CHECKING:
    from recurra import cells, data, inspect, networks, nn, tasks, training
    from recurra.engine.explain import explain

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Cell",
    "CompileError",
    "ConfigError",
    "DataError",
    "DecodingError",
    "MissingExtra",
    "Ragged",
    "RecurraError",
    "Recurrent",
    "RunError",
    "ShapeError",
    "Source",
    "TraceError",
    "cells",
    "data",
    "explain",
    "inspect",
    "networks",
    "nn",
    "scan",
    "tasks",
    "training",
]

# floors that load when first used: some bring packages that `import recurra` need not wait for
LAZY = ("cells", "data", "inspect", "networks", "nn", "tasks", "training")
LAZY_NAMES = {"explain": "recurra.engine.explain"}  # LLVM loads with the first call, not with `import recurra`


def __getattr__(name: str) -> Any:
    if name in LAZY:
        return importlib.import_module(f"recurra.{name}")
    if name in LAZY_NAMES:
        return getattr(importlib.import_module(LAZY_NAMES[name]), name)
    raise AttributeError(f"module 'recurra' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *LAZY, *LAZY_NAMES})
