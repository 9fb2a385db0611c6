"""Long short-term memory, with the options that papers gave it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn.functional import linear

from recurra.cells.torch_layout import CHRONO, Bias, TorchLayoutCell, check_chrono
from recurra.checks import check_bool, check_count, check_number
from recurra.engine.contract import Source
from recurra.engine.kernel import Kernel
from recurra.errors import ConfigError

__all__ = ["LSTM", "LSTMState"]


class LSTMState(NamedTuple):
    """h: hidden state, also the output, [B, H], or [B, P] where it is projected. c: cell state, [B, H]."""

    h: Tensor
    c: Tensor


class LSTM(TorchLayoutCell):
    """Long short-term memory with a forget gate, one time step.

        i = σ(W_i x + U_i h + b_i)             input gate       + p_i ⊙ c inside, with `peephole`
        f = σ(W_f x + U_f h + b_f)             forget gate      + p_f ⊙ c inside, with `peephole`; 1 - i, with `coupled`
        g = tanh(W_g x + U_g h + b_g)          candidate
        c' = f ⊙ c + i ⊙ g                     cell state
        o = σ(W_o x + U_o h + b_o)             output gate      + p_o ⊙ c' inside, with `peephole`
        h' = o ⊙ tanh(c')                      hidden state and output; W_hr (o ⊙ tanh(c')), with `proj_size`

    W is weight_ih, U weight_hh, b the sum of bias_ih and bias_hh, p weight_ch. With `layer_norm`, W x and U h are
    normalised over all gates together, each with its own gains, before b is added, and h' = o ⊙ tanh(LN(c')).

    Shapes: x [B, I], state.h [B, H] (or [B, P]), state.c [B, H] -> output [B, H] (or [B, P]), state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units.
        bias: whether there are bias_ih and bias_hh; `"single"` for bias_ih alone, as in Keras.
        peephole: gates also see the cell state, one weight a unit.
        proj_size: P, size of the projected hidden state, below H; 0 for no projection.
        coupled: what is not kept is renewed, f = 1 - i; there is no forget gate and three blocks of weights.
        layer_norm: normalise the products and the cell state.
        forget_bias: b_f at the start, in bias_ih, with 0 in bias_hh; drawn like all others where not given. 1.0 lets
            the cell remember from the beginning.
        chrono: the longest memory that is needed, in steps: b_f begins as log(u), u uniform in [1, chrono - 1], and b_i
            as -b_f, so that units remember for as many steps as u, some for few and some for all.

    Raises:
        ConfigError: `proj_size` is not within 0..H-1, or `forget_bias` or `chrono` is given where there is no such
            bias, or both are.

    Source: Hochreiter and Schmidhuber 1997, "Long short-term memory", with the forget gate of Gers et al. 2000,
        "Learning to forget". Options: peepholes Gers et al. 2002; projection Sak et al. 2014, arXiv:1402.1128; coupled
        gates Greff et al. 2017, arXiv:1503.04069 (CIFG); layer normalisation Ba et al. 2016, arXiv:1607.06450, the LSTM
        of its supplementary material, whose shifts of the two products are one with b; forget bias Jozefowicz et al.
        2015; chrono Tallec and Ollivier 2018, arXiv:1804.11188. Weights are those of torch.nn.LSTMCell and, for W_hr,
        of torch.nn.LSTM.
    """

    State = LSTMState
    # row blocks of weight_ih, weight_hh and both biases; i, g, o where coupled
    gates: tuple[str, ...] = ("i", "f", "g", "o")
    source = Source(
        key="hochreiter1997long",
        authors="Hochreiter, Sepp and Schmidhuber, Jürgen",
        title="Long short-term memory",
        year=1997,
        venue="Neural Computation 9(8), 1735-1780",
        url="https://doi.org/10.1162/neco.1997.9.8.1735",
    )

    weight_hr: Tensor | None
    weight_ch: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: Bias = True,
        peephole: bool = False,
        proj_size: int = 0,
        coupled: bool = False,
        layer_norm: bool = False,
        forget_bias: float | None = None,
        chrono: int | None = None,
    ) -> None:
        check_count("proj_size", proj_size, least=0)
        for name, flag in (("peephole", peephole), ("coupled", coupled), ("layer_norm", layer_norm)):
            check_bool(name, flag)
        if forget_bias is not None and (coupled or not bias):
            missing = "gate where `coupled=True`" if coupled else "bias where `bias=False`"
            raise ConfigError(f"`forget_bias={forget_bias}` cannot be set: there is no forget {missing}.")
        self.chrono = check_chrono(chrono, bias)
        if chrono is not None and forget_bias is not None:
            raise ConfigError("`forget_bias` and `chrono` set the same biases: choose one of them.")
        if coupled:
            self.gates = ("i", "g", "o")
        super().__init__(input_size, hidden_size, bias=bias, output_size=proj_size or hidden_size)
        if proj_size >= hidden_size:
            raise ConfigError(f"`proj_size` must be below `hidden_size={hidden_size}`, got {proj_size}.")
        self.peephole, self.proj_size, self.coupled, self.layer_norm = peephole, proj_size, coupled, layer_norm
        self.forget_bias = None if forget_bias is None else check_number("forget_bias", forget_bias)
        self.weight_hr = nn.Parameter(torch.empty(proj_size, hidden_size)) if proj_size else None
        self.weight_ch = nn.Parameter(torch.empty((2 if coupled else 3) * hidden_size)) if peephole else None
        rows = len(self.gates) * hidden_size
        self.norm_ih = nn.LayerNorm(rows, bias=False) if layer_norm else nn.Identity()
        self.norm_hh = nn.LayerNorm(rows, bias=False) if layer_norm else nn.Identity()
        self.norm_c = nn.LayerNorm(hidden_size) if layer_norm else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights uniformly from ±1/√H, as torch does; then set the biases that options ask for."""
        super().reset_parameters()
        for norm in (self.norm_ih, self.norm_hh, self.norm_c):
            if isinstance(norm, nn.LayerNorm):
                norm.reset_parameters()
        if self.forget_bias is not None:
            self._set_biases("f", self.forget_bias)
        if self.chrono is not None:
            kept = self._memory_biases(self.chrono)
            self._set_biases("i", -kept)
            if not self.coupled:
                self._set_biases("f", kept)

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        """h is as long as the output: P numbers where it is projected."""
        return (self.output_size,), (self.hidden_size,)

    def step(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """One time step; the equations stand on the class."""
        h, c = state
        i, f, g, o = self._products(x, h)  # each [B, H]
        p_i, p_f, p_o = self._peepholes()
        i = sigmoid(_peep(i, p_i, c))
        f = 1 - i if self.coupled else sigmoid(_peep(f, p_f, c))
        c = f * c + i * tanh(g)
        o = sigmoid(_peep(o, p_o, c))
        h = o * tanh(self.norm_c(c))
        if self.weight_hr is not None:
            h = linear(h, self.weight_hr)
        return h, LSTMState(h, c)

    def _products(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        """W x + U h + b for i, f, g, o; where coupled, i stands for f too."""
        if self.layer_norm:
            rows = self.norm_ih(linear(x, self.weight_ih)) + self.norm_hh(linear(h, self.weight_hh))
            for bias in (self.bias_ih, self.bias_hh):
                rows = rows if bias is None else rows + bias
        else:
            rows = linear(x, self.weight_ih, self.bias_ih) + linear(h, self.weight_hh, self.bias_hh)
        blocks = dict(zip(self.gates, rows.chunk(len(self.gates), dim=-1), strict=True))
        return blocks["i"], blocks.get("f", blocks["i"]), blocks["g"], blocks["o"]

    def _peepholes(self) -> tuple[Tensor | None, ...]:
        """p_i, p_f, p_o, each [H]; None where there is none."""
        if self.weight_ch is None:
            return None, None, None
        if self.coupled:
            p_i, p_o = self.weight_ch.chunk(2)
            return p_i, None, p_o
        return self.weight_ch.chunk(3)

    def kernel(self) -> Kernel | None:
        """torch's kernel, with or without projection, for no other option."""
        return None if self.peephole or self.coupled or self.layer_norm else self.torch_kernel("lstm")


def _peep(rows: Tensor, weights: Tensor | None, c: Tensor) -> Tensor:
    return rows if weights is None else rows + weights * c


LSTM.option_sources = {
    "chrono": CHRONO,
    "forget_bias": Source(
        key="jozefowicz2015empirical",
        authors="Jozefowicz, Rafal and Zaremba, Wojciech and Sutskever, Ilya",
        title="An Empirical Exploration of Recurrent Network Architectures",
        year=2015,
        venue="ICML",
    ),
    "peephole": Source(
        key="gers2002learning",
        authors="Gers, Felix A. and Schraudolph, Nicol N. and Schmidhuber, Jürgen",
        title="Learning Precise Timing with LSTM Recurrent Networks",
        year=2002,
        venue="Journal of Machine Learning Research 3, 115-143",
    ),
    "proj_size": Source(
        key="sak2014long",
        authors="Sak, Haşim and Senior, Andrew and Beaufays, Françoise",
        title="Long Short-Term Memory Based Recurrent Neural Network Architectures for Large Vocabulary Speech "
        "Recognition",
        year=2014,
        venue="arXiv",
        url="https://arxiv.org/abs/1402.1128",
    ),
    "coupled": Source(
        key="greff2017lstm",
        authors="Greff, Klaus and Srivastava, Rupesh K. and Koutník, Jan and Steunebrink, Bas R. and "
        "Schmidhuber, Jürgen",
        title="LSTM: A Search Space Odyssey",
        year=2017,
        venue="IEEE Transactions on Neural Networks and Learning Systems 28(10)",
        url="https://arxiv.org/abs/1503.04069",
    ),
    "layer_norm": Source(
        key="ba2016layer",
        authors="Ba, Jimmy Lei and Kiros, Jamie Ryan and Hinton, Geoffrey E.",
        title="Layer Normalization",
        year=2016,
        venue="arXiv",
        url="https://arxiv.org/abs/1607.06450",
        where="supplementary material, LSTM",
    ),
}
