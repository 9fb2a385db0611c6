"""The quasi-recurrent neural network: a convolution over the last inputs, then pooling by gates."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn.functional import linear

from recurra.checks import check_choice, check_count
from recurra.engine.contract import Cell, Source
from recurra.engine.state_class import state_class

__all__ = ["QRNN"]

_GATES = {"f": ("z", "f"), "fo": ("z", "f", "o"), "ifo": ("z", "f", "o", "i")}


class QRNN(Cell):
    """Quasi-recurrent neural network (QRNN), one time step.

        a_z, a_f, a_o, a_i = b + Σ_j W_j x_j          over the last k inputs, those before the first being 0
        z = tanh(a_z)                                 candidate
        f = σ(a_f),  o = σ(a_o),  i = σ(a_i)          forget, output and input gate

        c' = f ⊙ c + (1 - f) ⊙ z,  y = c'             pooling="f"
        c' = f ⊙ c + (1 - f) ⊙ z,  y = o ⊙ c'         pooling="fo"
        c' = f ⊙ c + i ⊙ z,        y = o ⊙ c'         pooling="ifo"

    The state holds c, and for each of the next k - 1 steps what the inputs so far will add to its sum: `ahead_1` for
    the next step, `ahead_2` for the one after it. So the products with W see the newest input alone, and the loop over
    time holds none.

    W is weight_ih [G*H, I, k], the oldest input first, laid out as the weight of torch.nn.Conv1d; b is bias.

    Shapes: x [B, I], state.c [B, H], state.ahead_1 and its sisters [B, G*H] -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units; also the size of the output.
        window: k, inputs that a step sees, its own included.
        pooling: the gates that there are: `"f"`, `"fo"` or `"ifo"`.

    Raises:
        ConfigError: window or pooling cannot be.

    Source: Bradbury et al. 2016, arXiv:1611.01576, section 2; its zoneout is `Zoneout(QRNN(...), p)`. Weights
        and biases begin uniform from ±1/√(k I), as those of torch.nn.Conv1d.
    """

    source = Source(
        key="bradbury2017quasi",
        authors="Bradbury, James and Merity, Stephen and Xiong, Caiming and Socher, Richard",
        title="Quasi-Recurrent Neural Networks",
        year=2017,
        venue="ICLR",
        url="https://arxiv.org/abs/1611.01576",
        where="section 2",
    )

    free_fields = ("c",)  # the others are sums that are begun
    gates: tuple[str, ...]  # row blocks of weight_ih and bias

    def __init__(
        self, input_size: int, hidden_size: int, *, window: int = 2, pooling: Literal["f", "fo", "ifo"] = "fo"
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.window = check_count("window", window)
        self.pooling = check_choice("pooling", pooling, _GATES)
        self.gates = _GATES[pooling]
        self.weight_ih = nn.Parameter(torch.empty(len(self.gates) * hidden_size, input_size, window))
        self.bias = nn.Parameter(torch.empty(len(self.gates) * hidden_size))
        self.reset_parameters()
        _ = self.State  # made now, so that torch.compile finds it

    def reset_parameters(self) -> None:
        """Draw weights and biases uniformly from ±1/√(k I)."""
        bound = 1 / math.sqrt(self.window * self.input_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    @property
    def State(self) -> Any:
        """c and, for each of the next k - 1 steps, what is known of its sums."""
        return state_class("QRNNState", ("c", *(f"ahead_{j}" for j in range(1, self.window))))

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of c, and of each of the sums that are begun."""
        return (self.hidden_size,), *((len(self.bias),) for _ in range(self.window - 1))

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One time step; the equations stand on the class."""
        c, *ahead = state
        rows, width, k = self.weight_ih.shape
        newest_first = self.weight_ih.flip(2).permute(2, 0, 1).reshape(k * rows, width)
        now, *later = linear(x, newest_first).chunk(k, dim=-1)  # each [B, G*H]
        if ahead:
            now = now + ahead[0]
            later = [new + old for new, old in zip(later, ahead[1:], strict=False)] + later[-1:]
        z, f, *others = (now + self.bias).chunk(len(self.gates), dim=-1)  # each [B, H]
        f = sigmoid(f)
        i = sigmoid(others[1]) if self.pooling == "ifo" else 1 - f
        c = f * c + i * tanh(z)
        output = c if self.pooling == "f" else sigmoid(others[0]) * c
        return output, self.State(c, *later)
