"""Relatives of the simple network and of the GRU: Jordan, IRNN, ORNN, IndRNN, MGU and the clockwork network."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.cells.equations.common import Array, Table, sigmoid


def jordan(w: dict[str, Array], x: Array, c: Array, decay: float = 0.0, logistic: bool = False) -> tuple[Array, ...]:
    """Jordan 1986: the state is what came out, fading."""
    if "bias_h" in w:
        h = np.tanh(w["weight_ih"] @ x + w["weight_ch"] @ c + w["bias_h"])
        y = w["weight_ho"] @ h + w["bias_o"]
    else:
        h = np.tanh(w["weight_ih"] @ x + w["weight_ch"] @ c)
        y = w["weight_ho"] @ h
    y = sigmoid(y) if logistic else y
    return y, decay * c + y


def irnn(w: dict[str, Array], x: Array, h: Array, tanh: bool = False) -> tuple[Array, ...]:
    """Le et al. 2015, section 2; with tanh where the matrix is orthogonal."""
    sums = w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ h + w["bias_hh"]
    h = np.tanh(sums) if tanh else np.maximum(sums, 0)
    return h, h


def ornn(w: dict[str, Array], x: Array, h: Array, rate: float = 0.1) -> tuple[Array, ...]:
    """Lezcano-Casado and Martínez-Rubio 2019; the exponential by its series, halved until that converges at once."""
    above = rate * np.triu(w["skew_hh"], 1)
    part = (above - above.T) / 2**10
    U = np.eye(len(h)) + part + part @ part / 2 + part @ part @ part / 6 + part @ part @ part @ part / 24
    for _ in range(10):
        U = U @ U
    a = w["weight_ih"] @ x + U @ h
    h = np.sign(a) * np.maximum(np.abs(a) + w["bias"], 0)
    return h, h


def indrnn(w: dict[str, Array], x: Array, h: Array, bound: float = 1.0, tanh: bool = False) -> tuple[Array, ...]:
    """Li et al. 2018, section 3."""
    u = np.clip(w["weight_hh"], -bound, bound)
    sums = w["weight_ih"] @ x + u * h + w.get("bias", 0)
    h = np.tanh(sums) if tanh else np.maximum(sums, 0)
    return h, h


def mgu(w: dict[str, Array], x: Array, h: Array, variant: str = "mgu", reset: str = "before") -> tuple[Array, ...]:
    """Zhou et al. 2016, and the variants of Heck and Salem 2017."""
    H = len(h)
    W_h, U_h = w["weight_ih"][-H:], w["weight_hh"][-H:]
    b_h = w["bias"][-H:] if "bias" in w else 0
    b_f = w["bias"][:H] if "bias" in w else 0
    if variant == "mgu":
        f = sigmoid(w["weight_ih"][:H] @ x + w["weight_hh"][:H] @ h + b_f)
    elif variant == "mgu1":
        f = sigmoid(w["weight_hh"][:H] @ h + b_f)
    elif variant == "mgu2":
        f = sigmoid(w["weight_hh"][:H] @ h)
    else:
        f = sigmoid(b_f)
    n = np.tanh(W_h @ x + b_h + (U_h @ (f * h) if reset == "before" else f * (U_h @ h)))
    h = (1 - f) * h + f * n
    return h, h


def clockwork(w: dict[str, Array], x: Array, h: Array, t: Array, periods: tuple[int, ...]) -> tuple[Array, ...]:
    """Koutník et al. 2014, section 3: module by module, each reading itself and the slower ones."""
    new, begin = h.copy(), 0
    for size, period in zip(map(len, np.array_split(h, len(periods))), periods, strict=True):
        rows = slice(begin, begin + size)
        if round(t[0]) % period == 0:
            sums = w["weight_ih"][rows] @ x + w["weight_hh"][rows, begin:] @ h[begin:]
            new[rows] = np.tanh(sums + (w["bias"][rows] if "bias" in w else 0))
        begin += size
    return new, new, (t + 1) % np.lcm.reduce(periods)


TABLE: Table = [
    ("jordan", {}, jordan),
    (
        "jordan",
        {"output_size": 3, "decay": 0.6, "output_activation": "sigmoid"},
        partial(jordan, decay=0.6, logistic=True),
    ),
    ("jordan", {"output_size": 9, "bias": False}, jordan),
    ("irnn", {}, irnn),
    ("irnn", {"bias": "single"}, irnn),
    ("irnn", {"init": "orthogonal", "scale": 0.9, "activation": "tanh"}, partial(irnn, tanh=True)),
    ("ornn", {}, ornn),
    ("ornn", {"rate": 1.0}, partial(ornn, rate=1.0)),
    ("indrnn", {}, indrnn),
    ("indrnn", {"num_steps": 20, "memory": "long", "bias": False}, partial(indrnn, bound=2 ** (1 / 20))),
    ("indrnn", {"activation": "tanh", "recurrent_clip": False}, partial(indrnn, bound=np.inf, tanh=True)),
    ("mgu", {}, mgu),
    ("mgu", {"bias": False, "reset": "after"}, partial(mgu, reset="after")),
    ("mgu", {"variant": "mgu1"}, partial(mgu, variant="mgu1")),
    ("mgu", {"variant": "mgu2", "reset": "after"}, partial(mgu, variant="mgu2", reset="after")),
    ("mgu", {"variant": "mgu3"}, partial(mgu, variant="mgu3")),
    ("mgu", {"variant": "mgu3", "reset": "after"}, partial(mgu, variant="mgu3", reset="after")),
    ("clockwork", {"modules": 3}, partial(clockwork, periods=(1, 2, 4))),
    ("clockwork", {"periods": (1, 3, 4, 5), "bias": False}, partial(clockwork, periods=(1, 3, 4, 5))),
]
