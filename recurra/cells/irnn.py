"""The rectified network that begins as a copy: an Elman network whose recurrent weights start at the identity."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from recurra.cells.rnn import RNN, Activation
from recurra.cells.torch_layout import Bias
from recurra.checks import check_choice, check_number
from recurra.engine.contract import Source

__all__ = ["IRNN"]


class IRNN(RNN):
    """Rectified network with identity or orthogonal recurrent weights at the start (IRNN), one time step.

        h' = max(0, W_ih x + b_ih + W_hh h + b_hh)        hidden state and output

    At the start W_hh = s·1 or s·Q with a random orthogonal Q, b = 0 and W_ih ~ N(0, σ²): without an input, and with
    s = 1, a unit keeps what it has, and so does the gradient on its way back. From there all weights are learned.

    Shapes: x [B, I], state.h [B, H] -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units; also the size of the output.
        init: W_hh at the start, `"identity"` or `"orthogonal"`; the latter goes with tanh, too.
        scale: s, above 0. Below 1 the network forgets: the paper takes 0.01 for speech, where what is long past does
            not matter.
        input_std: σ, not below 0; 0.001 in the paper.
        activation: what stands for max(0, ·), a name (`"relu"`, `"tanh"`, ...) or any function or module.
        bias: whether there are b_ih and b_hh; `"single"` for b_ih alone, as in the paper.

    Raises:
        ConfigError: init, scale, input_std or the activation cannot be.

    Source: Le, Jaitly and Hinton 2015, arXiv:1504.00941; orthogonal matrices: Saxe et al. 2014, arXiv:1312.6120.
        Weights are named and laid out as those of torch.nn.RNNCell.
    """

    source = Source(
        key="le2015simple",
        authors="Le, Quoc V. and Jaitly, Navdeep and Hinton, Geoffrey E.",
        title="A Simple Way to Initialize Recurrent Networks of Rectified Linear Units",
        year=2015,
        venue="arXiv",
        url="https://arxiv.org/abs/1504.00941",
    )
    option_sources: ClassVar[dict[str, Source]] = {
        "init": Source(
            key="saxe2014exact",
            authors="Saxe, Andrew M. and McClelland, James L. and Ganguli, Surya",
            title="Exact solutions to the nonlinear dynamics of learning in deep linear neural networks",
            year=2014,
            venue="ICLR",
            url="https://arxiv.org/abs/1312.6120",
        )
    }

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        init: Literal["identity", "orthogonal"] = "identity",
        scale: float = 1.0,
        input_std: float = 0.001,
        activation: str | Activation = "relu",
        bias: Bias = True,
    ) -> None:
        self.init = check_choice("init", init, ("identity", "orthogonal"))
        self.scale = check_number("scale", scale, above=0)
        self.input_std = check_number("input_std", input_std, least=0)
        super().__init__(input_size, hidden_size, activation=activation, bias=bias)

    def reset_parameters(self) -> None:
        """Set W_hh to a scaled identity or orthogonal matrix, draw W_ih normally, set biases to 0."""
        if self.init == "identity":
            nn.init.eye_(self.weight_hh)
        else:
            nn.init.orthogonal_(self.weight_hh)
        self.weight_hh.data.mul_(self.scale)
        nn.init.normal_(self.weight_ih, std=self.input_std)
        for bias in (self.bias_ih, self.bias_hh):
            if bias is not None:
                nn.init.zeros_(bias)
