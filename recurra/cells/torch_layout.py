"""Cells whose weights are named, laid out and initialised as those of `torch.nn.LSTMCell` and its sisters."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from recurra.checks import check_count
from recurra.engine.contract import Cell, Source
from recurra.engine.torch_kernels import TorchKernel
from recurra.errors import ConfigError

__all__ = ["CHRONO", "Bias", "TorchLayoutCell", "check_chrono"]

Bias = bool | Literal["single"]


class TorchLayoutCell(Cell):
    """The ground of RNN, LSTM and GRU: two products, one of the input and one of the state.

    Attributes:
        gates: names of the row blocks of every weight and bias, in their order.
        weight_ih: [G*H, I], times the input.
        weight_hh: [G*H, O], times the state.
        bias_ih: [G*H], or None.
        bias_hh: [G*H], or None; torch keeps two biases, and so do we, so that its weights load. With `bias="single"`
            there is bias_ih alone, as in most papers and in Keras.
        option_sources: the papers behind the options of the constructor, by name of the option.
    """

    option_sources: ClassVar[dict[str, Source]] = {}
    gates: tuple[str, ...]

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None

    def __init__(self, input_size: int, hidden_size: int, *, bias: Bias, output_size: int | None = None) -> None:
        super().__init__(input_size, hidden_size)
        if not isinstance(bias, bool) and bias != "single":
            raise ConfigError(f"`bias` must be True, False or 'single', got {bias!r}.")
        self.output_size = hidden_size if output_size is None else output_size
        rows = len(self.gates) * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, self.output_size))
        for name, there in (("bias_ih", bias), ("bias_hh", bias and bias != "single")):
            self.register_parameter(name, nn.Parameter(torch.empty(rows)) if there else None)

    @property
    def bias(self) -> bool:
        """Whether the products have biases."""
        return self.bias_ih is not None

    def reset_parameters(self) -> None:
        """Draw all weights of the cell itself uniformly from ±1/√H, as torch does."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters(recurse=False):
            nn.init.uniform_(parameter, -bound, bound)

    def _set_biases(self, gate: str, values: Tensor | float) -> None:
        """Begin with these biases of a gate, in bias_ih, and with 0 in bias_hh. Shape: values [H], or one for all."""
        at = self.gates.index(gate) * self.hidden_size
        rows = slice(at, at + self.hidden_size)
        with torch.no_grad():
            if self.bias_ih is not None:
                self.bias_ih[rows] = values
            if self.bias_hh is not None:
                self.bias_hh[rows] = 0.0

    def _memory_biases(self, longest: int) -> Tensor:
        """log(u), u uniform in [1, longest - 1]: a gate of this bias keeps for about u steps. Shape: [H]."""
        like = self.weight_ih
        return torch.empty(self.hidden_size, dtype=like.dtype, device=like.device).uniform_(1, longest - 1).log()

    def torch_kernel(self, mode: Literal["rnn_tanh", "rnn_relu", "lstm", "gru"]) -> TorchKernel:
        """torch's kernel of that name with the weights of this cell."""
        return TorchKernel(mode, self._weights, self.bias)

    def _weights(self) -> list[Tensor]:
        bias_hh = self.bias_hh
        if self.bias_ih is not None and bias_hh is None:  # a single bias: torch wants two
            bias_hh = torch.zeros_like(self.bias_ih)
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, bias_hh, getattr(self, "weight_hr", None))
        return [weight for weight in weights if weight is not None]


def check_chrono(chrono: int | None, bias: Bias) -> int | None:
    """The option `chrono` where it can be.

    Raises:
        ConfigError: it is no number of steps, or there are no biases.
    """
    if chrono is None:
        return None
    if check_count("chrono", chrono) < 3 or not bias:
        why = "there are no biases with `bias=False`" if not bias else "it is the longest memory in steps, at least 3"
        raise ConfigError(f"`chrono={chrono}` cannot be: {why}.")
    return chrono


CHRONO = Source(
    key="tallec2018can",
    authors="Tallec, Corentin and Ollivier, Yann",
    title="Can recurrent neural networks warp time?",
    year=2018,
    venue="ICLR",
    url="https://arxiv.org/abs/1804.11188",
)
