"""The gated recurrent unit: one state, forgotten and renewed by one gate."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor, sigmoid, tanh
from torch.nn.functional import linear

from recurra.cells.torch_layout import CHRONO, Bias, TorchLayoutCell, check_chrono
from recurra.checks import check_choice
from recurra.engine.contract import Source
from recurra.engine.kernel import Kernel

__all__ = ["GRU", "GRUState"]


class GRUState(NamedTuple):
    """h: hidden state, also the output, [B, H]."""

    h: Tensor


class GRU(TorchLayoutCell):
    """Gated recurrent unit, one time step.

        r = σ(W_r x + b_r + U_r h + d_r)                reset
        z = σ(W_z x + b_z + U_z h + d_z)                update
        n = tanh(W_n x + b_n + r ⊙ (U_n h + d_n))       candidate, with reset="after" the product
        n = tanh(W_n x + b_n + U_n (r ⊙ h) + d_n)       candidate, with reset="before" it
        h' = (1 - z) ⊙ n + z ⊙ h                        hidden state and output

    W is weight_ih, b bias_ih, U weight_hh, d bias_hh.

    Shapes: x [B, I], state.h [B, H] -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units; also the size of the output.
        reset: where the reset gate acts: `"after"` the product with U_n, as torch and cuDNN do, or `"before"` it, as
            the paper does.
        bias: whether there are b and d; `"single"` for b alone, as in the paper.
        chrono: the longest memory that is needed, in steps: b_z begins as log(u), u uniform in [1, chrono - 1], so that
            units remember for as many steps as u, some for few and some for all.

    Raises:
        ConfigError: `reset` is neither of the two, or `chrono` cannot be.

    Source: Cho et al. 2014, arXiv:1406.1078, section 2.3; chrono Tallec and Ollivier 2018,
        arXiv:1804.11188. Weights are those of torch.nn.GRUCell.
    """

    State = GRUState
    gates = ("r", "z", "n")  # row blocks of weight_ih, weight_hh and both biases
    source = Source(
        key="cho2014learning",
        authors="Cho, Kyunghyun and van Merrienboer, Bart and Gulcehre, Caglar and Bahdanau, Dzmitry and "
        "Bougares, Fethi and Schwenk, Holger and Bengio, Yoshua",
        title="Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation",
        year=2014,
        venue="EMNLP",
        url="https://arxiv.org/abs/1406.1078",
        where="section 2.3",
    )

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        reset: Literal["after", "before"] = "after",
        bias: Bias = True,
        chrono: int | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias=bias)
        check_choice("reset", reset, ("after", "before"))
        self.reset, self.chrono = reset, check_chrono(chrono, bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights uniformly from ±1/√H, as torch does; then set the biases that `chrono` asks for."""
        super().reset_parameters()
        if self.chrono is not None:
            self._set_biases("z", self._memory_biases(self.chrono))

    def step(self, x: Tensor, state: GRUState, read: GRUState | None = None) -> tuple[Tensor, GRUState]:
        """One time step; the equations stand on the class.

        Args:
            x: [B, I].
            state: the state that is carried on.
            read: the state that the products with U see; `state` where not given. `RecurrentDropout` hands in one
                with units dropped, so that what is carried on stays whole.
        """
        h = state.h
        seen = h if read is None else read.h
        x_r, x_z, x_n = linear(x, self.weight_ih, self.bias_ih).chunk(3, dim=-1)  # each [B, H]
        if self.reset == "after":
            h_r, h_z, h_n = linear(seen, self.weight_hh, self.bias_hh).chunk(3, dim=-1)  # each [B, H]
            r = sigmoid(x_r + h_r)
            z = sigmoid(x_z + h_z)
            n = tanh(x_n + r * h_n)
        else:
            h_r, h_z = self._recurrent(seen, 0, 2).chunk(2, dim=-1)
            r = sigmoid(x_r + h_r)
            z = sigmoid(x_z + h_z)
            n = tanh(x_n + self._recurrent(r * seen, 2, 3))
        h = (1 - z) * n + z * h
        return h, GRUState(h)

    def _recurrent(self, h: Tensor, first: int, last: int) -> Tensor:
        """U h + d for the gates from `first` to before `last`."""
        rows = slice(first * self.hidden_size, last * self.hidden_size)
        return linear(h, self.weight_hh[rows], None if self.bias_hh is None else self.bias_hh[rows])

    def kernel(self) -> Kernel | None:
        """torch's kernel, with reset="after"."""
        return self.torch_kernel("gru") if self.reset == "after" else None


GRU.option_sources = {"chrono": CHRONO}
