"""Steps as users write them against the Python loop: python -m benchmarks.own_steps

Complex numbers, Fourier transforms, small matrices, convolutions of many kinds: what no closed layer has. A training
step, forward and backward for the inputs and all parameters, compiled and as a loop over `cell.step` in Python. Before
anything is timed, outputs and gradients of the two are compared; where they differ no speed is printed. Both run by
turns; each figure is a median.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import recurra
from benchmarks.cells import against_loop


class State(NamedTuple):
    h: Tensor  # [B, H], or images [B, C, side, side]


class LinearUnit(recurra.Cell):
    """The linear recurrent unit (Orvieto et al. 2023) in complex numbers."""

    State = State
    complex_fields = ("h",)

    def __init__(self, size: int) -> None:
        super().__init__(size, size)
        self.nu, self.theta = nn.Parameter(torch.rand(size)), nn.Parameter(torch.rand(size))
        self.B, self.C = (nn.Parameter(torch.randn(size, size, dtype=torch.complex64) / size) for _ in "BC")

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = torch.exp(-torch.exp(self.nu) + 1j * self.theta) * state.h + x.to(self.B.dtype) @ self.B
        return (h @ self.C).real, State(h)


class Unitary(recurra.Cell):
    """The unitary evolution RNN (Arjovsky et al. 2016): turns, reflections, Fourier transforms, a permutation."""

    State = State
    complex_fields = ("h",)

    def __init__(self, size: int) -> None:
        super().__init__(size, size)
        self.turns, self.bias = nn.Parameter(torch.rand(3, size) * 6 - 3), nn.Parameter(torch.rand(size) * 0.1)
        self.mirrors, self.V = (nn.Parameter(torch.randn(n, size, dtype=torch.complex64) / n) for n in (2, size))
        self.register_buffer("order", torch.randperm(size))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        one, two, three = torch.exp(1j * self.turns)
        h = _reflected(torch.fft.fft(state.h * one, norm="ortho"), self.mirrors[0])[:, self.order]
        z = _reflected(torch.fft.ifft(h * two, norm="ortho"), self.mirrors[1]) * three + x.to(self.V.dtype) @ self.V
        z = z * torch.relu(z.abs() + self.bias) / (z.abs() + 1e-5)
        return z.real + z.imag, State(z)


def _reflected(h: Tensor, v: Tensor) -> Tensor:
    return h - 2 * v * (h @ v.conj())[:, None] / (v.abs() ** 2).sum()


class Belief(NamedTuple):
    mean: Tensor  # [B, H]
    covariance: Tensor  # [B, H, H]


class Kalman(recurra.Cell):
    """A Kalman filter of half as many observations as states, whose matrices are learned."""

    State = Belief

    def __init__(self, size: int) -> None:
        super().__init__(size // 2, size)
        self.output_size = size // 2
        self.F = nn.Parameter(0.9 * torch.eye(size) + 0.05 * torch.randn(size, size))
        self.H = nn.Parameter(torch.randn(size // 2, size))

    def initial_state(self, batch_size: int, *, dtype: Any = None, device: Any = None) -> Belief:
        every = torch.eye(self.hidden_size, dtype=dtype, device=device)
        return Belief(every[0].expand(batch_size, -1) * 0, every.expand(batch_size, -1, -1))

    def step(self, x: Tensor, state: Belief) -> tuple[Tensor, Belief]:
        mean, covariance = state.mean @ self.F.T, self.F @ state.covariance @ self.F.T + torch.eye(self.hidden_size)
        root = torch.linalg.cholesky(self.H @ covariance @ self.H.T + torch.eye(self.output_size))
        gain = torch.cholesky_solve(self.H @ covariance, root).mT
        mean = mean + (gain @ (x - mean @ self.H.T)[..., None])[..., 0]
        return mean @ self.H.T, Belief(mean, covariance - gain @ self.H @ covariance)


class Depthwise(recurra.Cell):
    """A gate and a candidate by depthwise convolutions, and one that mixes the channels."""

    State = State

    def __init__(self, channels: int, side: int) -> None:
        super().__init__(channels, channels)
        self.side = side
        self.deep = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.mix = nn.Conv2d(2 * channels, 2 * channels, 1)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.input_size, self.side, self.side)

    output_shape = input_shape

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        z, n = self.mix(self.deep(torch.cat([x, state.h], 1))).chunk(2, 1)
        h = torch.lerp(state.h, n.tanh(), z.sigmoid())
        return h, State(h)


# what, steps, sequences
STEPS: list[tuple[Callable[[], recurra.Cell], int, int]] = [
    *((functools.partial(LinearUnit, size), 100, batch) for batch, size in ((1, 64), (32, 128))),
    *((functools.partial(Unitary, size), 100, batch) for batch, size in ((1, 64), (32, 128))),
    *((functools.partial(Kalman, 4), 100, batch) for batch in (1, 32)),
    *((functools.partial(Depthwise, 16, 16), 20, batch) for batch in (1, 16)),
]


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.own_steps", description=__doc__)
    options.add_argument("--threads", type=int, default=2, help="threads of torch and of the compiled engine")
    options.add_argument("--seconds", type=float, default=4.0, help="for each step and size, but three turns at least")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    print("| step | T, B | H | ms | Python loop, ms | times as fast |")
    print("|---|---|---:|---:|---:|---:|")
    for make, num_steps, batch_size in STEPS:
        torch.manual_seed(0)
        cell = make()
        name, x = type(cell).__name__, torch.randn(num_steps, batch_size, *cell.input_shape)
        ours, theirs = against_loop(cell, x, given.seconds)
        sizes = f"{num_steps}, {batch_size} | {cell.hidden_size}"
        print(f"| {name} | {sizes} | {ours:.2f} | {theirs:.2f} | {theirs / ours:.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
