"""The Neural Turing Machine and the Differentiable Neural Computer, slot by slot and head by head."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from tests.cells.equations.common import Array, Table, sigmoid
from tests.cells.equations.gated import gru, lstm, rnn


def softmax(a: Array) -> Array:
    return np.exp(a - a.max()) / np.exp(a - a.max()).sum()


def softplus(a: Array) -> Array:
    return np.log(1 + np.exp(a))


def oneplus(a: Array) -> Array:
    return 1 + softplus(a)


def cosine(u: Array, v: Array) -> Array:
    return u @ v / (np.sqrt(u @ u + 1e-6) * np.sqrt(v @ v + 1e-6))


def by_content(memory: Array, key: Array, strength: float, mask: Array | float = 1.0) -> Array:
    return softmax(strength * np.array([cosine(key * mask, word * mask) for word in memory]))


def sharper(weights: Array, power: float, floor: float = 0.0) -> Array:
    return (weights + floor) ** power / np.sum((weights + floor) ** power)


def take(vector: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """Cut a vector into arrays of these shapes, in order; all of it."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    assert ends[-1] == len(vector)
    pieces = np.split(vector, ends[:-1])
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def control(
    w: dict[str, Array], controller: Callable[..., tuple[Array, ...]], clip: float, x: Array, reads: Array, inner: Array
) -> tuple[Array, tuple[Array, ...], Array]:
    """The controller's output, its state, and what it hands to the heads."""
    own = {key.removeprefix("controller."): value for key, value in w.items() if key.startswith("controller.")}
    h, *inner = controller(own, np.concatenate([x, reads.ravel()]), *inner)
    return h, tuple(inner), np.clip(w["interface.weight"] @ h + w["interface.bias"], -clip, clip)


def answer(w: dict[str, Array], h: Array, reads: Array) -> Array:
    return w["output.weight"] @ np.concatenate([h, reads.ravel()]) + w["output.bias"]


def ntm(
    w: dict[str, Array],
    x: Array,
    M: Array,
    reads: Array,
    read_weights: Array,
    write_weights: Array,
    *inner: Array,
    controller: Callable[..., tuple[Array, ...]] = lstm,
    clip: float = 20.0,
    reach: int = 1,
) -> tuple[Array, ...]:
    """Graves et al. 2014, section 3; keys and added words through tanh as Collier and Beel 2018 have them."""
    (N, W), R, K = M.shape, len(reads), len(read_weights) + len(write_weights)
    h, inner, handed = control(w, controller, clip, x, reads, inner)
    shapes = [(K, W), (K,), (K,), (K, 2 * reach + 1), (K,), (K - R, W), (K - R, W)]
    k, beta, g, s, gamma, e, a = take(handed, shapes)
    k, beta, g, gamma, e, a = np.tanh(k), softplus(beta), sigmoid(g), oneplus(gamma), sigmoid(e), np.tanh(a)
    weights = []
    for head, before in enumerate([*read_weights, *write_weights]):
        w_c = by_content(M, k[head], beta[head])
        w_g = g[head] * w_c + (1 - g[head]) * before
        s_d = softmax(s[head])
        w_s = np.array([sum(s_d[d + reach] * w_g[(n - d) % N] for d in range(-reach, reach + 1)) for n in range(N)])
        weights.append(sharper(w_s, gamma[head]))
    r = np.array([sum(weights[head][n] * M[n] for n in range(N)) for head in range(R)])
    for head in range(K - R):
        M = M * (1 - np.outer(weights[R + head], e[head]))
    for head in range(K - R):
        M = M + np.outer(weights[R + head], a[head])
    return answer(w, h, r), M, r, np.array(weights[:R]), np.array(weights[R:]), *inner


def allocated(u: Array) -> Array:
    """Free slots first: sorted by usage (to 2^-16, then by place), the product of the usages before."""
    order = np.argsort(np.floor(u * 2**16 + 0.5), kind="stable")
    a = np.zeros_like(u)
    for j in range(len(u)):
        a[order[j]] = (1 - u[order[j]]) * math.prod(u[order[i]] for i in range(j))
    return a


def linked(L: Array, p: Array, w: Array) -> Array:
    N = len(p)
    after = np.zeros((N, N))
    for i in range(N):
        for j in range(N):
            if i != j:
                after[i, j] = (1 - w[i] - w[j]) * L[i, j] + w[i] * p[j]
    return after


def dnc(
    w: dict[str, Array],
    x: Array,
    M: Array,
    reads: Array,
    read_weights: Array,
    write_weights: Array,
    u: Array,
    p: Array,
    L: Array,
    *inner: Array,
    controller: Callable[..., tuple[Array, ...]] = lstm,
    clip: float = 20.0,
    masked: bool = False,
    deallocation: bool = False,
    sharpened: bool = False,
) -> tuple[Array, ...]:
    """Graves et al. 2016, Methods, with the three remedies of Csordás and Schmidhuber 2019."""
    W, R = M.shape[1], len(reads)
    h, inner, handed = control(w, controller, clip, x, reads, inner)
    shapes = [(R, W), (R,), (W,), (), (W,), (W,), (R,), (), (), (R, 3)]
    shapes += [(R, W), (W,)] if masked else []
    shapes += [(R,), (R,)] if sharpened else []
    k_r, beta_r, k_w, beta_w, e, v, f, g_a, g_w, pi, *more = take(handed, shapes)
    beta_r, beta_w, e, f, g_a, g_w = (
        oneplus(beta_r),
        oneplus(beta_w),
        sigmoid(e),
        sigmoid(f),
        sigmoid(g_a),
        sigmoid(g_w),
    )
    m_r, m_w = (sigmoid(more.pop(0)), sigmoid(more.pop(0))) if masked else (np.ones((R, W)), np.ones(W))
    s_b, s_f = (oneplus(more.pop(0)), oneplus(more.pop(0))) if sharpened else (None, None)

    psi = math.prod(1 - f[i] * read_weights[i] for i in range(R))
    w_w = write_weights[0]
    u = (u + w_w - u * w_w) * psi
    w_w = g_w * (g_a * allocated(u) + (1 - g_a) * by_content(M, k_w, beta_w, m_w))
    if deallocation:
        M = M * np.outer(psi, np.ones(W))
    M = M * (1 - np.outer(w_w, e)) + np.outer(w_w, v)
    L = linked(L, p, w_w)
    p = (1 - w_w.sum()) * p + w_w
    weights = []
    for i in range(R):
        forward, backward = L @ read_weights[i], L.T @ read_weights[i]
        if sharpened:
            forward, backward = sharper(forward, s_f[i], 1e-6), sharper(backward, s_b[i], 1e-6)
        mode = softmax(pi[i])
        weights.append(mode[0] * backward + mode[1] * by_content(M, k_r[i], beta_r[i], m_r[i]) + mode[2] * forward)
    r = np.array([M.T @ weights[i] for i in range(R)])
    return answer(w, h, r), M, r, np.array(weights), w_w[None], u, p, L, *inner


SMALL = {"memory_size": 3, "word_size": 2}
TABLE: Table = [
    ("ntm", SMALL, ntm),
    (
        "ntm",
        {**SMALL, "memory_size": 5, "num_reads": 2, "num_writes": 2, "shift_range": 2, "output_size": 2},
        functools.partial(ntm, reach=2),
    ),
    (
        "ntm",
        {**SMALL, "controller": "gru", "initial_memory": "learned", "clip": 0.5},
        functools.partial(ntm, controller=gru, clip=0.5),
    ),
    ("dnc", {**SMALL, "num_reads": 2}, dnc),
    (
        "dnc",
        {**SMALL, "controller": "rnn", "output_size": 2, "deallocation": True, "clip": 0.5},
        functools.partial(dnc, controller=rnn, deallocation=True, clip=0.5),
    ),
    (
        "dnc",
        {**SMALL, "num_reads": 2, "masked_content": True, "sharpen_links": True},
        functools.partial(dnc, masked=True, sharpened=True),
    ),
]
