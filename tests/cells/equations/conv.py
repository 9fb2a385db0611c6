"""ConvLSTM and ConvGRU."""

from __future__ import annotations

import itertools

import numpy as np

from tests.cells.equations.common import Array, Table, sigmoid


def convolve(kernels: Array, images: Array) -> Array:
    """[O, I, *kernel] over [I, *size], place by place and weight by weight, as torch's convolutions: not mirrored."""
    _, _, *kernel = kernels.shape
    size = images.shape[1:]
    out = np.zeros((len(kernels), *size))
    for place in itertools.product(*map(range, size)):
        for tap in itertools.product(*map(range, kernel)):
            seen = tuple(p + t - k // 2 for p, t, k in zip(place, tap, kernel, strict=True))
            if all(0 <= s < n for s, n in zip(seen, size, strict=True)):  # zeros stand around the image
                out[:, *place] += kernels[:, :, *tap] @ images[:, *seen]
    return out


def conv_parts(w: dict[str, Array], x: Array, gates: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """For each gate W ∗ x + b, and U."""
    rows = convolve(w["weight_ih"], x)
    if "bias_ih" in w:
        rows += w["bias_ih"].reshape(-1, *[1] * (x.ndim - 1))
    products = dict(zip(gates, np.split(rows, len(gates)), strict=True))
    return products, dict(zip(gates, np.split(w["weight_hh"], len(gates)), strict=True))


def conv_lstm(w: dict[str, Array], x: Array, h: Array, c: Array) -> tuple[Array, ...]:
    """Shi et al. 2015, section 3.1; W_c is 0 where there are no peepholes."""
    Wx, U = conv_parts(w, x, "ifgo")
    W_ci, W_cf, W_co = np.split(w["weight_ch"], 3) if "weight_ch" in w else np.zeros((3, *c.shape))
    i = sigmoid(Wx["i"] + convolve(U["i"], h) + W_ci * c)
    f = sigmoid(Wx["f"] + convolve(U["f"], h) + W_cf * c)
    c = f * c + i * np.tanh(Wx["g"] + convolve(U["g"], h))
    o = sigmoid(Wx["o"] + convolve(U["o"], h) + W_co * c)
    h = o * np.tanh(c)
    return h, h, c


def conv_gru(w: dict[str, Array], x: Array, h: Array) -> tuple[Array, ...]:
    """Ballas et al. 2016, with z for what is kept."""
    Wx, U = conv_parts(w, x, "rzn")
    z = sigmoid(Wx["z"] + convolve(U["z"], h))
    r = sigmoid(Wx["r"] + convolve(U["r"], h))
    n = np.tanh(Wx["n"] + convolve(U["n"], r * h))
    h = z * h + (1 - z) * n
    return h, h


def conv_gru_after(w: dict[str, Array], x: Array, h: Array) -> tuple[Array, ...]:
    """The same with the reset gate after the convolution, as cuDNN has it in the GRU."""
    Wx, U = conv_parts(w, x, "rzn")
    z = sigmoid(Wx["z"] + convolve(U["z"], h))
    r = sigmoid(Wx["r"] + convolve(U["r"], h))
    n = np.tanh(Wx["n"] + r * convolve(U["n"], h))
    h = z * h + (1 - z) * n
    return h, h


TABLE: Table = [
    ("convlstm", {"size": (3, 2)}, conv_lstm),
    ("convlstm", {"size": (4,), "kernel_size": 5, "peephole": False}, conv_lstm),
    ("convlstm", {"size": (2, 1, 3), "kernel_size": (1, 3, 3), "input_kernel_size": 1, "bias": False}, conv_lstm),
    ("convgru", {"size": (3, 2)}, conv_gru),
    ("convgru", {"size": (2, 3), "kernel_size": (3, 1), "input_kernel_size": (1, 3), "bias": False}, conv_gru),
    ("convgru", {"size": (4,), "reset": "after"}, conv_gru_after),
]
