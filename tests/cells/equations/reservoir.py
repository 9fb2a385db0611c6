"""The reservoir of an echo state network."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cells.equations.common import Array, Table, sigmoid


def leaky(a: float, f: Any = np.tanh) -> Any:
    """Jaeger et al. 2007: units that keep a share 1 - a of their state."""

    def esn(w: dict[str, Array], x: Array, h: Array) -> tuple[Array, ...]:
        W = w["weight_hh"] if "weight_hh" in w else matrix(w, len(h))
        h = (1 - a) * h + a * f(w["weight_ih"] @ x + w["bias"] + W @ h)
        return h, h

    return esn


def matrix(w: dict[str, Array], size: int) -> Array:
    W = np.zeros((size, size))
    W[w["rows"], w["columns"]] = w["values"]
    return W


TABLE: Table = [
    ("esn", {}, leaky(1.0)),
    ("esn", {"leak": 0.3}, leaky(0.3)),
    ("esn", {"leak": 0.3, "storage": "sparse", "connectivity": 0.4}, leaky(0.3)),
    ("esn", {"activation": "sigmoid", "leak": 0.6, "feedback_size": 1, "feedback_scaling": 2.0}, leaky(0.6, sigmoid)),
    ("esn", {"trainable": True, "leak": 0.5}, leaky(0.5)),
]
