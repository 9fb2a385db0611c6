"""RNN, LSTM and GRU."""

from __future__ import annotations

import numpy as np

from tests.cells.equations.common import Array, Table, cut, layer_norm, sigmoid


def rnn(w: dict[str, Array], x: Array, h: Array) -> tuple[Array, ...]:
    """Elman 1990."""
    h = np.tanh(w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ h + w["bias_hh"])
    return h, h


def gru(w: dict[str, Array], x: Array, h: Array) -> tuple[Array, ...]:
    """Cho et al. 2014 with the reset gate after the product, as cuDNN has it."""
    W, U, b, d = (cut(w, name, "rzn") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    r = sigmoid(W["r"] @ x + b["r"] + U["r"] @ h + d["r"])
    z = sigmoid(W["z"] @ x + b["z"] + U["z"] @ h + d["z"])
    n = np.tanh(W["n"] @ x + b["n"] + r * (U["n"] @ h + d["n"]))
    h = (1 - z) * n + z * h
    return h, h


def gru_before(w: dict[str, Array], x: Array, h: Array) -> tuple[Array, ...]:
    """Cho et al. 2014, section 2.3."""
    W, U, b, d = (cut(w, name, "rzn") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    r = sigmoid(W["r"] @ x + b["r"] + U["r"] @ h + d["r"])
    z = sigmoid(W["z"] @ x + b["z"] + U["z"] @ h + d["z"])
    n = np.tanh(W["n"] @ x + b["n"] + U["n"] @ (r * h) + d["n"])
    h = z * h + (1 - z) * n
    return h, h


def lstm(w: dict[str, Array], x: Array, h: Array, c: Array) -> tuple[Array, ...]:
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000; projected where there is W_hr."""
    W, U, b, d = (cut(w, name, "ifgo") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    i = sigmoid(W["i"] @ x + U["i"] @ h + b["i"] + d["i"])
    f = sigmoid(W["f"] @ x + U["f"] @ h + b["f"] + d["f"])
    g = np.tanh(W["g"] @ x + U["g"] @ h + b["g"] + d["g"])
    o = sigmoid(W["o"] @ x + U["o"] @ h + b["o"] + d["o"])
    c = f * c + i * g
    h = o * np.tanh(c)
    h = w["weight_hr"] @ h if "weight_hr" in w else h
    return h, h, c


def lstm_peephole(w: dict[str, Array], x: Array, h: Array, c: Array) -> tuple[Array, ...]:
    """Gers et al. 2002: gates see the cell state, the output gate the new one."""
    W, U, b, d = (cut(w, name, "ifgo") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    p = cut(w, "weight_ch", "ifo")
    i = sigmoid(W["i"] @ x + U["i"] @ h + p["i"] * c + b["i"] + d["i"])
    f = sigmoid(W["f"] @ x + U["f"] @ h + p["f"] * c + b["f"] + d["f"])
    g = np.tanh(W["g"] @ x + U["g"] @ h + b["g"] + d["g"])
    c = f * c + i * g
    o = sigmoid(W["o"] @ x + U["o"] @ h + p["o"] * c + b["o"] + d["o"])
    h = o * np.tanh(c)
    return h, h, c


def lstm_coupled(w: dict[str, Array], x: Array, h: Array, c: Array) -> tuple[Array, ...]:
    """Greff et al. 2017, CIFG."""
    W, U, b, d = (cut(w, name, "igo") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    i = sigmoid(W["i"] @ x + U["i"] @ h + b["i"] + d["i"])
    f = 1 - i
    g = np.tanh(W["g"] @ x + U["g"] @ h + b["g"] + d["g"])
    c = f * c + i * g
    o = sigmoid(W["o"] @ x + U["o"] @ h + b["o"] + d["o"])
    h = o * np.tanh(c)
    return h, h, c


def lstm_coupled_peephole(w: dict[str, Array], x: Array, h: Array, c: Array) -> tuple[Array, ...]:
    """Greff et al. 2017, CIFG with the peepholes of its vanilla LSTM."""
    W, U, b, d = (cut(w, name, "igo") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    p = cut(w, "weight_ch", "io")
    i = sigmoid(W["i"] @ x + U["i"] @ h + p["i"] * c + b["i"] + d["i"])
    g = np.tanh(W["g"] @ x + U["g"] @ h + b["g"] + d["g"])
    c = (1 - i) * c + i * g
    o = sigmoid(W["o"] @ x + U["o"] @ h + p["o"] * c + b["o"] + d["o"])
    h = o * np.tanh(c)
    return h, h, c


def lstm_layer_norm(w: dict[str, Array], x: Array, h: Array, c: Array) -> tuple[Array, ...]:
    """Ba et al. 2016, supplementary material."""
    rows = (
        layer_norm(w["weight_hh"] @ h, w["norm_hh.weight"])
        + layer_norm(w["weight_ih"] @ x, w["norm_ih.weight"])
        + w["bias_ih"]
        + w["bias_hh"]
    )
    i, f, g, o = np.split(rows, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(layer_norm(c, w["norm_c.weight"], w["norm_c.bias"]))
    return h, h, c


TABLE: Table = [
    ("rnn", {}, rnn),
    ("gru", {}, gru),
    ("gru", {"bias": "single"}, gru),
    ("gru", {"reset": "before"}, gru_before),
    ("lstm", {}, lstm),
    ("lstm", {"forget_bias": 1.0}, lstm),
    ("lstm", {"chrono": 50}, lstm),
    ("gru", {"chrono": 50}, gru),
    ("lstm", {"bias": "single"}, lstm),
    ("lstm", {"proj_size": 3}, lstm),
    ("lstm", {"peephole": True}, lstm_peephole),
    ("lstm", {"coupled": True}, lstm_coupled),
    ("lstm", {"coupled": True, "peephole": True}, lstm_coupled_peephole),
    ("lstm", {"layer_norm": True}, lstm_layer_norm),
]
