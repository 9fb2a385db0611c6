"""Cells made from differential equations: coRNN, LEM, CfC and LMU."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.cells.equations.common import Array, Table, cut, sigmoid


def cornn(w: dict[str, Array], x: Array, y: Array, z: Array, implicit: bool) -> tuple[Array, ...]:
    """Rusch and Mishra 2021, section 2, with Δt 0.3, γ 1.5, ε 0.8."""
    dt, gamma, epsilon = 0.3, 1.5, 0.8
    swing = np.tanh(w["weight_yh"] @ y + w["weight_zh"] @ z + w["weight_ih"] @ x + w["bias"])
    if implicit:  # z' = z + dt (swing - gamma y - epsilon z'), solved for z'
        z = (z + dt * swing - dt * gamma * y) / (1 + dt * epsilon)
    else:
        z = z + dt * swing - dt * gamma * y - dt * epsilon * z
    y = y + dt * z
    return y, y, z


def lem(w: dict[str, Array], x: Array, y: Array, z: Array) -> tuple[Array, ...]:
    """Rusch et al. 2022, section 2, with Δt 0.7."""
    V, b, W = cut(w, "weight_ih", "12zy"), cut(w, "bias", "12zy"), cut(w, "weight_yh", "12z")
    dt_1 = 0.7 * sigmoid(W["1"] @ y + V["1"] @ x + b["1"])
    dt_2 = 0.7 * sigmoid(W["2"] @ y + V["2"] @ x + b["2"])
    z = (1 - dt_1) * z + dt_1 * np.tanh(W["z"] @ y + V["z"] @ x + b["z"])
    y = (1 - dt_2) * y + dt_2 * np.tanh(w["weight_zh"] @ z + V["y"] @ x + b["y"])
    return y, y, z


def cfc(w: dict[str, Array], x: Array, h: Array, mode: str = "default", timed: bool = False) -> tuple[Array, ...]:
    """Hasani et al. 2022."""
    t = x[-1] if timed else 1.0
    x = x[:-1] if timed else x
    u = np.hstack([w["weight_ih"], w["weight_hh"]]) @ np.concatenate([x, h]) + w["bias_ih"]
    layer = 0
    while f"layers.{layer}.weight" in w:
        u = w[f"layers.{layer}.weight"] @ (1.7159 * np.tanh(2 / 3 * u)) + w[f"layers.{layer}.bias"]
        layer += 1
    if mode == "pure":
        h = -w["amplitude"] * np.exp(-(np.abs(w["rate"]) + np.abs(u)) * t) * u + w["amplitude"]
        return h, h
    g, k, a, b = np.split(u, 4)
    gate = sigmoid(a * t + b)
    h = gate * np.tanh(g) + (1 if mode == "no_gate" else 1 - gate) * np.tanh(k)
    return h, h


def lmu(w: dict[str, Array], x: Array, h: Array, m: Array) -> tuple[Array, ...]:
    """Voelker et al. 2019, section 2."""
    u = w["encoder_x"][0] @ x + w["encoder_h"][0] @ h + w["encoder_m"][0] @ m
    m = w["A"] @ m + w["B"] * u
    h = np.tanh(w["weight_ih"] @ x + w["weight_hh"] @ h + w["weight_mh"] @ m)
    return h, h, m


_OSCILLATOR = {"dt": 0.3, "gamma": 1.5, "epsilon": 0.8}
_SMALL = {"backbone_units": 5}

TABLE: Table = [
    ("cornn", _OSCILLATOR, partial(cornn, implicit=False)),
    ("cornn", {**_OSCILLATOR, "damping": "implicit"}, partial(cornn, implicit=True)),
    ("lem", {"dt": 0.7}, lem),
    ("cfc", _SMALL, cfc),
    ("cfc", {**_SMALL, "backbone_layers": 2, "time_column": True}, partial(cfc, timed=True)),
    ("cfc", {"backbone_layers": 0, "mode": "no_gate"}, partial(cfc, mode="no_gate")),
    ("cfc", {**_SMALL, "mode": "pure", "time_column": True}, partial(cfc, mode="pure", timed=True)),
    ("lmu", {"order": 5, "theta": 7.0}, lmu),
    ("lmu", {"order": 3, "theta": 40.0, "discretisation": "euler", "learn_memory": True}, lmu),
]
