"""minGRU, minLSTM, QRNN, SRU and LRU."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from tests.cells.equations.common import Array, Table, cut, sigmoid

Map = Callable[[Array], Array]


def identity(a: Array) -> Array:
    return a


def g(a: Array) -> Array:
    return np.array([v + 0.5 if v >= 0 else sigmoid(v) for v in a])


def mingru(w: dict[str, Array], x: Array, h: Array, candidate: Map = identity) -> tuple[Array, ...]:
    """Feng et al. 2024."""
    W, b = cut(w, "weight_ih", "zn"), cut(w, "bias", "zn")
    z = sigmoid(W["z"] @ x + b["z"])
    h = (1 - z) * h + z * candidate(W["n"] @ x + b["n"])
    return h, h


def minlstm(
    w: dict[str, Array], x: Array, h: Array, candidate: Map = identity, normalise: bool = True
) -> tuple[Array, ...]:
    """Feng et al. 2024."""
    W, b = cut(w, "weight_ih", "fin"), cut(w, "bias", "fin")
    f = sigmoid(W["f"] @ x + b["f"])
    i = sigmoid(W["i"] @ x + b["i"])
    if normalise:
        f, i = f / (f + i), i / (f + i)
    h = f * h + i * candidate(W["n"] @ x + b["n"])
    return h, h


def qrnn(w: dict[str, Array], x: Array, c: Array, *ahead: Array, gates: str = "zfo") -> tuple[Array, ...]:
    """Bradbury et al. 2016, section 2; `ahead` has what inputs before x add to this step and to those after it."""
    window = w["weight_ih"].shape[2]
    sums = [*ahead, np.zeros(len(w["bias"]))]
    sums = [sums[j] + w["weight_ih"][:, :, window - 1 - j] @ x for j in range(window)]
    a = dict(zip(gates, np.split(sums[0] + w["bias"], len(gates)), strict=True))
    z, f = np.tanh(a["z"]), sigmoid(a["f"])
    i = sigmoid(a["i"]) if "i" in gates else 1 - f
    c = f * c + i * z
    h = sigmoid(a["o"]) * c if "o" in gates else c
    return h, c, *sums[1:]


def sru(w: dict[str, Array], x: Array, c: Array, alpha: float = math.sqrt(3)) -> tuple[Array, ...]:
    """Lei et al. 2018, section 3; with the highway through a matrix of its own where the sizes differ."""
    H = len(c)
    blocks = len(w["weight_ih"]) // H
    W = cut(w, "weight_ih", "cfrs"[:blocks])
    b = cut(w, "bias", "fr")
    v = cut(w, "weight_ch", "fr") if "weight_ch" in w else {"f": 0.0, "r": 0.0}
    f = sigmoid(W["f"] @ x + v["f"] * c + b["f"])
    r = sigmoid(W["r"] @ x + v["r"] * c + b["r"])
    c = f * c + (1 - f) * (W["c"] @ x)
    skip = W["s"] @ x if blocks == 4 else x
    h = r * c + (1 - r) * alpha * skip
    return h, c


def lru(w: dict[str, Array], x: Array, re: Array, im: Array) -> tuple[Array, ...]:
    """Orvieto et al. 2023, section 3, in complex numbers."""
    H = len(re)
    eigenvalues = np.exp(-np.exp(w["nu_log"]) + 1j * np.exp(w["theta_log"]))
    B = w["weight_ih"][:H] + 1j * w["weight_ih"][H:]
    C = w["weight_ho"][:, :H] + 1j * w["weight_ho"][:, H:]
    h = eigenvalues * (re + 1j * im) + np.exp(w["gamma_log"]) * (B @ x)
    y = (C @ h).real + w["weight_io"] @ x
    return y, h.real, h.imag


TABLE: Table = [
    ("mingru", {}, mingru),
    ("mingru", {"candidate": "positive"}, functools.partial(mingru, candidate=g)),
    ("minlstm", {}, minlstm),
    ("minlstm", {"candidate": "positive"}, functools.partial(minlstm, candidate=g)),
    ("minlstm", {"normalise": False, "forget_bias": 1.0}, functools.partial(minlstm, normalise=False)),
    ("qrnn", {}, qrnn),
    ("qrnn", {"pooling": "f", "window": 1}, functools.partial(qrnn, gates="zf")),
    ("qrnn", {"pooling": "ifo", "window": 4}, functools.partial(qrnn, gates="zfoi")),
    ("sru", {}, sru),
    ("sru", {"peephole": False, "rescale": False}, functools.partial(sru, alpha=1.0)),
    ("sru", {"highway_bias": -2.0}, functools.partial(sru, alpha=math.sqrt(1 + 2 * math.exp(-2)))),
    ("lru", {}, lru),
    ("lru", {"output_size": 3, "r_min": 0.9, "r_max": 0.999, "max_phase": 0.3}, lru),
]
