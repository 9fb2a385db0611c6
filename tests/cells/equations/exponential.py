"""sLSTM and mLSTM."""

from __future__ import annotations

from functools import partial

import numpy as np

from tests.cells.equations.common import Array, Table, cut, sigmoid


def _log_gate(f: Array, kind: str) -> Array:
    return np.log(sigmoid(f)) if kind == "sigmoid" else f


def slstm(w: dict[str, Array], x: Array, h: Array, c: Array, n: Array, m: Array, kind: str) -> tuple[Array, ...]:
    """Beck et al. 2024, section 2, with the stabiliser; R as one matrix of blocks, gate by gate."""
    num_heads, _, size = w["weight_hh"].shape
    R = np.zeros((4, num_heads, size, num_heads, size))
    for head in range(num_heads):
        R[:, head, :, head, :] = w["weight_hh"][head].reshape(4, size, size)
    W, b = cut(w, "weight_ih", "ifzo"), cut(w, "bias_ih", "ifzo")
    i, f, z, o = (W[gate] @ x + R[k].reshape(len(h), -1) @ h + b[gate] for k, gate in enumerate("ifzo"))
    log_f = _log_gate(f, kind)
    m_new = np.maximum(log_f + m, i)
    i_gate = np.exp(i - m_new)
    f_gate = np.exp(log_f + m - m_new)
    c = f_gate * c + i_gate * np.tanh(z)
    n = f_gate * n + i_gate
    h = sigmoid(o) * (c / n)
    return h, h, c, n, m_new


def mlstm(w: dict[str, Array], x: Array, C: Array, n: Array, m: Array, kind: str) -> tuple[Array, ...]:
    """Beck et al. 2024, section 2, with the stabiliser; head by head."""
    num_heads, size = n.shape
    W, b = cut(w, "weight_ih", "qkvo"), cut(w, "bias_ih", "qkvo")
    q, k, v, o = ((W[block] @ x + b[block]).reshape(num_heads, size) for block in "qkvo")
    i, f = np.split(w["weight_if"] @ x + w["bias_if"], 2)
    log_f = _log_gate(f, kind)
    m_new = np.maximum(log_f + m, i)
    i_gate, f_gate = np.exp(i - m_new), np.exp(log_f + m - m_new)
    C_new, n_new, h = np.empty_like(C), np.empty_like(n), np.empty_like(n)
    for head in range(num_heads):
        key = k[head] / np.sqrt(size)
        C_new[head] = f_gate[head] * C[head] + i_gate[head] * np.outer(v[head], key)
        n_new[head] = f_gate[head] * n[head] + i_gate[head] * key
        divisor = max(abs(n_new[head] @ q[head]), np.exp(-m_new[head]))
        h[head] = sigmoid(o[head]) * (C_new[head] @ q[head]) / divisor
    return h.reshape(-1), C_new, n_new, m_new


TABLE: Table = [
    ("slstm", {}, partial(slstm, kind="sigmoid")),
    ("slstm", {"num_heads": 2, "forget_gate": "exp"}, partial(slstm, kind="exp")),
    ("mlstm", {}, partial(mlstm, kind="sigmoid")),
    ("mlstm", {"num_heads": 2, "forget_gate": "exp"}, partial(mlstm, kind="exp")),
]
