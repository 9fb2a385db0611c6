"""`torch.nn.RNN`, `LSTM` and `GRU` again: the same to the last keyword, faster, and they take a `Ragged`.

They run on the compiled engine, forward and backward, where torch has no faster way: on the CPU, in float32 and
float64, an LSTM from the first step on, a GRU from two, an RNN from four; packed sequences whose lengths differ from a
few steps on (`stack.py` has the numbers). Everything else is torch's own code.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn
from torch.nn.utils.rnn import PackedSequence

from recurra.nn.stack import run_faster, run_ragged
from recurra.ragged import Ragged

__all__ = ["GRU", "LSTM", "RNN"]


class RNN(nn.RNN):
    """Drop-in for `torch.nn.RNN`: signature, shapes, states, weights and errors are torch's, and the
    numbers up to rounding.

    A `recurra.Ragged` is taken too, with sequences of no steps and resets, and gives a Ragged back.

    Shapes: those of torch.nn.RNN; or Ragged with values [N, I], hx [L*D, B, H] -> Ragged with values [N, D*H], hx.
    """

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """Run the sequences, from zeros where there is no `hx`."""
        if isinstance(input, Ragged):
            return run_ragged(self, input, hx)
        return run_faster(self, input, hx) or super().forward(input, hx)

    def __prepare_scriptable__(self) -> nn.RNN:
        """torch's own module with these weights: what `torch.jit.script` compiles."""
        return _as_torchs(self, RNN, nn.RNN)


class LSTM(nn.LSTM):
    """Drop-in for `torch.nn.LSTM`: signature, shapes, states, weights and errors are torch's, and the
    numbers up to rounding.

    Packed sequences of like lengths go through oneDNN on the CPU in float32, as padded ones do in torch. A
    `recurra.Ragged` is taken too, with sequences of no steps and resets, and gives a Ragged back.

    Shapes: those of torch.nn.LSTM; or Ragged with values [N, I], h [L*D, B, H or P], c [L*D, B, H] -> Ragged with
        values [N, D*H or D*P], (h, c).
    """

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """Run the sequences, from zeros where there is no `hx`."""
        if isinstance(input, Ragged):
            return run_ragged(self, input, hx)
        is_packed_wrongly = isinstance(input, PackedSequence) and input.data.shape[-1] != self.input_size
        if is_packed_wrongly and input.batch_sizes[0] == input.batch_sizes[-1]:
            self.check_input(input.data, input.batch_sizes)  # torch would read beyond its weights here
        return run_faster(self, input, hx) or super().forward(input, hx)

    def __prepare_scriptable__(self) -> nn.LSTM:
        """torch's own module with these weights: what `torch.jit.script` compiles."""
        return _as_torchs(self, LSTM, nn.LSTM)


class GRU(nn.GRU):
    """Drop-in for `torch.nn.GRU`: signature, shapes, states, weights and errors are torch's, and the
    numbers up to rounding.

    A `recurra.Ragged` is taken too, with sequences of no steps and resets, and gives a Ragged back.

    Shapes: those of torch.nn.GRU; or Ragged with values [N, I], hx [L*D, B, H] -> Ragged with values [N, D*H], hx.
    """

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """Run the sequences, from zeros where there is no `hx`."""
        if isinstance(input, Ragged):
            return run_ragged(self, input, hx)
        return run_faster(self, input, hx) or super().forward(input, hx)

    def __prepare_scriptable__(self) -> nn.GRU:
        """torch's own module with these weights: what `torch.jit.script` compiles."""
        return _as_torchs(self, GRU, nn.GRU)


def _as_torchs(module: nn.RNNBase, ours: Any, theirs: Any) -> Any:
    """The module seen as one of torch's class on the same parameters; itself where a subclass changed `forward`."""
    if type(module).forward is not ours.forward:
        return module
    twin = copy.copy(module)
    twin.__class__ = theirs
    return twin
