"""Convolutional LSTM and GRU: cells of images, lines and volumes, whose products are convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn.functional import conv1d, conv2d, conv3d

from recurra.checks import check_bool, check_choice
from recurra.engine.contract import Cell, Source
from recurra.engine.hoisted import HoistedKernel
from recurra.engine.kernel import Kernel
from recurra.errors import ConfigError

__all__ = ["ConvCell", "ConvGRU", "ConvGRUState", "ConvLSTM", "ConvLSTMState"]

Sizes = int | tuple[int, ...]

# convolved inputs that wait for their step, 4 MB of float32: small pictures gain up to 1.5x from few calls, large ones
# nothing; these would lose a third if all steps waited in fresh memory (one core of an AMD EPYC, 2026-11)
_NUMBERS_AT_ONCE = 1 << 20
_CONVOLUTIONS: tuple[Callable[..., Tensor], ...] = (conv1d, conv2d, conv3d)


class ConvCell(Cell):
    """The ground of ConvLSTM and ConvGRU: two convolutions, one of the input and one of the state.

    Around the image stand zeros, so that it keeps its size.

    Attributes:
        gates: names of the blocks of both weights and the bias, in their order.
        weight_ih: [G*H, I, *kernel], over the input.
        weight_hh: [G*H, H, *kernel], over the state.
        bias_ih: [G*H], or None.
        size: of an image: (length,), (height, width) or (depth, height, width).
    """

    # what a listing of all cells makes one with
    example_options: ClassVar[dict[str, Any]] = {"size": (16, 16)}
    gates: tuple[str, ...]

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        size: Sizes,
        kernel_size: Sizes,
        input_kernel_size: Sizes | None,
        bias: bool,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.size = _checked_size(size)
        self.kernel_size = _checked_kernel("kernel_size", kernel_size, len(self.size))
        self.input_kernel_size = self.kernel_size
        if input_kernel_size is not None:
            self.input_kernel_size = _checked_kernel("input_kernel_size", input_kernel_size, len(self.size))
        rows = len(self.gates) * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size, *self.input_kernel_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size, *self.kernel_size))
        self.register_parameter("bias_ih", nn.Parameter(torch.empty(rows)) if check_bool("bias", bias) else None)

    def reset_parameters(self) -> None:
        """Draw each weight, and the bias with that of the input, uniformly from ±1/√n, n the numbers it sums over."""
        for weight, bias in ((self.weight_ih, self.bias_ih), (self.weight_hh, None)):
            bound = 1 / math.sqrt(weight[0].numel())
            nn.init.uniform_(weight, -bound, bound)
            if bias is not None:
                nn.init.uniform_(bias, -bound, bound)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(I, *size)."""
        return (self.input_size, *self.size)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(H, *size)."""
        return (self.output_size, *self.size)

    def _convolve(self, images: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        padding = [kernel // 2 for kernel in weight.shape[2:]]
        return _CONVOLUTIONS[len(self.size) - 1](images, weight, bias, padding=padding)

    def _of_input(self, x: Tensor) -> Tensor:
        """W ∗ x + b, all gates. Shapes: x [N, I, *size] -> [N, G*H, *size]."""
        return self._convolve(x, self.weight_ih, self.bias_ih)

    def _hoisted(self, rest: Callable[[Tensor, Any], tuple[Tensor, Any]]) -> HoistedKernel:
        """The kernel that convolves the inputs of many steps at once and does `rest` step by step."""
        numbers = len(self.gates) * self.hidden_size * math.prod(self.size)
        per_number = sum(weight[0].numel() for weight in (self.weight_ih, self.weight_hh))
        return HoistedKernel(self, self._of_input, rest, _NUMBERS_AT_ONCE // numbers, 2 * numbers * per_number)


class ConvLSTMState(NamedTuple):
    """h: hidden state, also the output, [B, H, *size]. c: cell state, [B, H, *size]."""

    h: Tensor
    c: Tensor


class ConvLSTM(ConvCell):
    """Convolutional LSTM, one time step of a video.

        i = σ(W_i ∗ x + U_i ∗ h + p_i ⊙ c + b_i)       input gate
        f = σ(W_f ∗ x + U_f ∗ h + p_f ⊙ c + b_f)       forget gate
        c' = f ⊙ c + i ⊙ tanh(W_g ∗ x + U_g ∗ h + b_g)
        o = σ(W_o ∗ x + U_o ∗ h + p_o ⊙ c' + b_o)      output gate
        h' = o ⊙ tanh(c')                              hidden state and output

    ∗ is torch's convolution, W is weight_ih, U weight_hh, b bias_ih and p weight_ch, one number for each
    unit and place.

    Shapes: x [B, I, *size], state.h and state.c [B, H, *size] -> output [B, H, *size], state.

    Args:
        input_size: I, channels of the input.
        hidden_size: H, channels of the state; also those of the output.
        size: of an image, (height, width); (length,) for a line, (depth, height, width) for a volume.
        kernel_size: of the convolution of the state, odd, one number or one for each size; large ones follow fast
            motion.
        input_kernel_size: of the convolution of the input; `kernel_size` where not given.
        peephole: whether the gates see the cell state, p; with it the weights belong to images of this size.
        bias: whether there is b, one number for each gate and channel.

    Raises:
        ConfigError: `size` is no size of an image, or a kernel size is even.

    Source: Shi et al. 2015, arXiv:1506.04214, section 3.1. It leaves the start open: here W, U and b begin as those of
        torch's convolutions, p at 0.
    """

    State = ConvLSTMState
    gates = ("i", "f", "g", "o")
    source = Source(
        key="shi2015convolutional",
        authors="Shi, Xingjian and Chen, Zhourong and Wang, Hao and Yeung, Dit-Yan and Wong, Wai-kin and "
        "Woo, Wang-chun",
        title="Convolutional LSTM Network: A Machine Learning Approach for Precipitation Nowcasting",
        year=2015,
        venue="NIPS",
        url="https://arxiv.org/abs/1506.04214",
        where="section 3.1",
    )

    weight_ch: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        size: Sizes,
        kernel_size: Sizes = 3,
        input_kernel_size: Sizes | None = None,
        peephole: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            size=size,
            kernel_size=kernel_size,
            input_kernel_size=input_kernel_size,
            bias=bias,
        )
        # [3*H, *size]: p_i, p_f, p_o
        seen = check_bool("peephole", peephole)
        self.weight_ch = nn.Parameter(torch.empty(3 * hidden_size, *self.size)) if seen else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As in every convolutional cell; the peepholes begin at 0."""
        super().reset_parameters()
        if self.weight_ch is not None:
            nn.init.zeros_(self.weight_ch)

    def step(self, x: Tensor, state: ConvLSTMState) -> tuple[Tensor, ConvLSTMState]:
        """One time step; the equations stand on the class."""
        return self._rest(self._of_input(x), state)

    def _rest(self, rows: Tensor, state: ConvLSTMState) -> tuple[Tensor, ConvLSTMState]:
        """The step behind the convolution of the input, rows [B, 4*H, *size]."""
        h, c = state
        i, f, g, o = (rows + self._convolve(h, self.weight_hh)).chunk(4, dim=1)  # each [B, H, *size]
        p_i, p_f, p_o = (None, None, None) if self.weight_ch is None else self.weight_ch.chunk(3)
        i = sigmoid(_peep(i, p_i, c))
        f = sigmoid(_peep(f, p_f, c))
        c = f * c + i * tanh(g)
        o = sigmoid(_peep(o, p_o, c))
        h = o * tanh(c)
        return h, ConvLSTMState(h, c)

    def kernel(self) -> Kernel | None:
        """The inputs of many steps in one convolution, then these steps."""
        return self._hoisted(self._rest)


class ConvGRUState(NamedTuple):
    """h: hidden state, also the output, [B, H, *size]."""

    h: Tensor


class ConvGRU(ConvCell):
    """Convolutional gated recurrent unit, one time step of a video.

        r = σ(W_r ∗ x + U_r ∗ h + b_r)                 reset
        z = σ(W_z ∗ x + U_z ∗ h + b_z)                 update
        n = tanh(W_n ∗ x + U_n ∗ (r ⊙ h) + b_n)        candidate, with reset="before" the convolution
        n = tanh(W_n ∗ x + r ⊙ (U_n ∗ h) + b_n)        candidate, with reset="after" it
        h' = (1 - z) ⊙ n + z ⊙ h                       hidden state and output

    ∗ is torch's convolution, W is weight_ih, U weight_hh, b bias_ih. z is what is kept, as in `GRU`; where a text has
    1 - z in its place, the weights of z change their sign.

    Shapes: x [B, I, *size], state.h [B, H, *size] -> output [B, H, *size], state.

    Args:
        input_size: I, channels of the input.
        hidden_size: H, channels of the state; also those of the output.
        size: of an image, (height, width); (length,) for a line, (depth, height, width) for a volume.
        kernel_size: of the convolution of the state, odd, one number or one for each size.
        input_kernel_size: of the convolution of the input; `kernel_size` where not given.
        reset: where the reset gate acts: `"before"` the convolution with U_n, as in the paper, or `"after"` it, which
            needs one convolution of the state a step instead of two.
        bias: whether there is b; the paper writes none.

    Raises:
        ConfigError: `size` is no size of an image, a kernel size is even, or `reset` is neither of the two.

    Source: Ballas et al. 2016, arXiv:1511.06432. Weights begin as those of torch's convolutions.
    """

    State = ConvGRUState
    gates = ("r", "z", "n")
    source = Source(
        key="ballas2016delving",
        authors="Ballas, Nicolas and Yao, Li and Pal, Chris and Courville, Aaron",
        title="Delving Deeper into Convolutional Networks for Learning Video Representations",
        year=2016,
        venue="ICLR",
        url="https://arxiv.org/abs/1511.06432",
    )

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        size: Sizes,
        kernel_size: Sizes = 3,
        input_kernel_size: Sizes | None = None,
        reset: Literal["before", "after"] = "before",
        bias: bool = True,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            size=size,
            kernel_size=kernel_size,
            input_kernel_size=input_kernel_size,
            bias=bias,
        )
        self.reset = check_choice("reset", reset, ("before", "after"))
        self.reset_parameters()

    def step(self, x: Tensor, state: ConvGRUState, read: ConvGRUState | None = None) -> tuple[Tensor, ConvGRUState]:
        """One time step; the equations stand on the class.

        Args:
            x: [B, I, *size].
            state: the state that is carried on.
            read: the state that the convolutions with U see; `state` where not given, see `GRU.step`.
        """
        return self._rest(self._of_input(x), state, read)

    def _rest(self, rows: Tensor, state: ConvGRUState, read: ConvGRUState | None = None) -> tuple[Tensor, ConvGRUState]:
        """The step behind the convolution of the input, rows [B, 3*H, *size]."""
        h = state.h
        seen = h if read is None else read.h
        x_r, x_z, x_n = rows.chunk(3, dim=1)  # each [B, H, *size]
        if self.reset == "after":
            h_r, h_z, h_n = self._convolve(seen, self.weight_hh).chunk(3, dim=1)
            n = tanh(x_n + sigmoid(x_r + h_r) * h_n)
        else:
            to_gates, to_candidate = self.weight_hh.split([2 * self.hidden_size, self.hidden_size])
            h_r, h_z = self._convolve(seen, to_gates).chunk(2, dim=1)
            n = tanh(x_n + self._convolve(sigmoid(x_r + h_r) * seen, to_candidate))
        z = sigmoid(x_z + h_z)
        h = (1 - z) * n + z * h
        return h, ConvGRUState(h)

    def kernel(self) -> Kernel | None:
        """The inputs of many steps in one convolution, then these steps."""
        return self._hoisted(self._rest)


def _peep(rows: Tensor, weights: Tensor | None, c: Tensor) -> Tensor:
    return rows if weights is None else rows + weights * c


def _numbers(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _counts(numbers: tuple[Any, ...]) -> bool:
    return all(isinstance(one, int) and not isinstance(one, bool) and one >= 1 for one in numbers)


def _checked_size(size: Any) -> tuple[int, ...]:
    numbers = _numbers(size)
    if not 1 <= len(numbers) <= len(_CONVOLUTIONS) or not _counts(numbers):
        raise ConfigError(
            f"`size` must be one to three whole numbers of at least 1, such as (height, width), got {size!r}."
        )
    return numbers


def _checked_kernel(name: str, kernel_size: Any, dims: int) -> tuple[int, ...]:
    numbers = _numbers(kernel_size)
    numbers = numbers * dims if len(numbers) == 1 else numbers
    if len(numbers) != dims or not _counts(numbers) or any(one % 2 == 0 for one in numbers):
        raise ConfigError(
            f"`{name}` must be an odd whole number, or {dims} of them, so that an image keeps its size; "
            f"got {kernel_size!r}."
        )
    return numbers
