"""Output layers: what stands behind the recurrent part of a network."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from recurra.cells.rnn import ACTIVATIONS, Activation
from recurra.checks import check_count, check_known
from recurra.engine.products import linear
from recurra.errors import ConfigError, ShapeError
from recurra.ragged import Ragged
from recurra.shapes import describe

__all__ = ["OUTPUT_ACTIVATIONS", "OutputLayer"]

Values = TypeVar("Values", Tensor, Ragged)


def _softmax(y: Tensor) -> Tensor:
    return y.softmax(-1)


def _log_softmax(y: Tensor) -> Tensor:
    return y.log_softmax(-1)


# those of cells, and two over the last dimension; the logarithm is natural
OUTPUT_ACTIVATIONS: dict[str, Activation] = {**ACTIVATIONS, "softmax": _softmax, "log_softmax": _log_softmax}


class OutputLayer(nn.Module):
    """The textbook's output layer, on every step by itself.

        y = g(W_hy h + b_y)

    Shapes: h [..., H] or Ragged with values [N, H] -> y [..., O] or Ragged with values [N, O].

    Args:
        hidden_size: H, the size of what comes in.
        output_size: O, numbers of one output: classes, vocabulary, predicted quantities.
        activation: g, a function or one of `OUTPUT_ACTIVATIONS`. The identity where not given, or None: losses such as
            cross-entropy want the numbers before the softmax.
        bias: whether b_y is there.

    Attributes:
        weight_hy: W_hy [O, H], begins uniform within ±1/sqrt(H).
        bias_hy: b_y [O], begins likewise; None without bias.

    Raises:
        ConfigError: a size is no whole number of at least 1, or the activation is unknown.
        ShapeError: h has another size than H.
    """

    bias_hy: nn.Parameter | None

    def __init__(
        self, hidden_size: int, output_size: int, activation: str | Activation | None = "identity", *, bias: bool = True
    ) -> None:
        super().__init__()
        if isinstance(activation, str):
            check_known(activation, OUTPUT_ACTIVATIONS, f"Unknown activation `{activation}`")
        elif activation is not None and not callable(activation):
            raise ConfigError(
                f"`activation` must be a function of a tensor or one of {', '.join(OUTPUT_ACTIVATIONS)}, "
                f"got {activation!r}."
            )
        self.hidden_size = check_count("hidden_size", hidden_size)
        self.output_size = check_count("output_size", output_size)
        self.activation: str | Activation = "identity" if activation is None else activation
        self.weight_hy = nn.Parameter(torch.empty(output_size, hidden_size))
        self.register_parameter("bias_hy", nn.Parameter(torch.empty(output_size)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, h: Values) -> Values:
        """Shapes: h [..., H] -> y [..., O], or Ragged likewise."""
        if isinstance(h, Ragged):
            return h.map(self._apply_layer)
        return self._apply_layer(h)

    def _apply_layer(self, h: Tensor) -> Tensor:
        if h.dim() == 0 or h.shape[-1] != self.hidden_size:
            raise ShapeError(f"`h` must have shape [..., H={self.hidden_size}], got {describe(h)}.")
        g = OUTPUT_ACTIVATIONS[self.activation] if isinstance(self.activation, str) else self.activation
        return g(linear(h, self.weight_hy, self.bias_hy))

    def extra_repr(self) -> str:
        """Sizes and activation, for `print`."""
        g = self.activation if isinstance(self.activation, str) else getattr(self.activation, "__name__", "function")
        return f"{self.hidden_size}, {self.output_size}, activation={g!r}, bias={self.bias_hy is not None}"
