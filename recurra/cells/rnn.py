"""The Elman network: the hidden state is the whole memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import linear

from recurra.cells.torch_layout import Bias, TorchLayoutCell
from recurra.engine.contract import Source
from recurra.engine.kernel import Kernel
from recurra.errors import ConfigError, did_you_mean

__all__ = ["ACTIVATIONS", "RNN", "Activation", "RNNState", "find_activation"]

Activation = Callable[[Tensor], Tensor]


def _same(values: Tensor) -> Tensor:
    return values


ACTIVATIONS: dict[str, Activation] = {
    "elu": functional.elu,
    "gelu": functional.gelu,
    "hardtanh": functional.hardtanh,
    "identity": _same,
    "leaky_relu": functional.leaky_relu,
    "relu": torch.relu,
    "selu": functional.selu,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "tanh": torch.tanh,
}


class RNNState(NamedTuple):
    """h: hidden state, also the output, [B, H]."""

    h: Tensor


class RNN(TorchLayoutCell):
    """Simple recurrent network (Elman network), one time step.

        h' = φ(W_ih x + b_ih + W_hh h + b_hh)        hidden state and output

    Shapes: x [B, I], state.h [B, H] -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units; also the size of the output.
        activation: φ, a name (`"tanh"`, `"relu"`, `"sigmoid"`, `"identity"`, ...) or any function or module on
            tensors [B, H].
        bias: whether there are b_ih and b_hh; `"single"` for b_ih alone, as in the paper and in Keras.

    Raises:
        ConfigError: the activation is neither a known name nor callable.

    Source: Elman 1990, "Finding structure in time". The output layer y = g(W_hy h + b_y) of textbooks is
        `recurra.networks.OutputLayer`. Weights are those of torch.nn.RNNCell.
    """

    State = RNNState
    gates = ("h",)
    source = Source(
        key="elman1990finding",
        authors="Elman, Jeffrey L.",
        title="Finding structure in time",
        year=1990,
        venue="Cognitive Science 14(2), 179-211",
        url="https://doi.org/10.1207/s15516709cog1402_1",
    )

    def __init__(
        self, input_size: int, hidden_size: int, *, activation: str | Activation = "tanh", bias: Bias = True
    ) -> None:
        super().__init__(input_size, hidden_size, bias=bias)
        self.activation = find_activation(activation)
        self.reset_parameters()

    def step(self, x: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        """One time step; the equation stands on the class."""
        h = self.activation(linear(x, self.weight_ih, self.bias_ih) + linear(state.h, self.weight_hh, self.bias_hh))
        return h, RNNState(h)

    def kernel(self) -> Kernel | None:
        """torch's kernel, for tanh and ReLU."""
        if self.activation is torch.tanh:
            return self.torch_kernel("rnn_tanh")
        return self.torch_kernel("rnn_relu") if self.activation is torch.relu else None


def find_activation(choice: str | Activation) -> Activation:
    """The function of that name; a function or module stays what it is.

    Raises:
        ConfigError: it is neither a known name nor callable.
    """
    if callable(choice):
        return choice
    if choice not in tuple(ACTIVATIONS):  # which need not be a text
        raise ConfigError(
            f"Unknown activation `{choice}`.{did_you_mean(str(choice), ACTIVATIONS)} "
            f"All: {', '.join(ACTIVATIONS)}, or any function on tensors."
        )
    return ACTIVATIONS[choice]
