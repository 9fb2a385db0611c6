"""What the equations of several families share."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any
Table = list[tuple[str, dict[str, Any], Any]]  # registered name, options, equations


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def cut(weights: dict[str, Array], name: str, gates: str) -> dict[str, Array]:
    return dict(zip(gates, np.split(weights[name], len(gates)), strict=True))


def layer_norm(a: Array, gain: Array, shift: Array | float = 0.0) -> Array:
    return (a - a.mean()) / np.sqrt(a.var() + 1e-5) * gain + shift
