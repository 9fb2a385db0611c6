"""How far gradients reach back in time: why a network forgets, or blows up.

For each layer by itself, the output of the last step of each sequence is weighed by random numbers, and the gradient of
that is taken with respect to the state so many steps before. Its norm falls or grows like a power of the lag; the
factor per step says whether the layer can learn from what lies far back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recurra.engine.contract import Cell
from recurra.errors import ConfigError, DataError
from recurra.inspect.record import Passage, record
from recurra.networks.recurrent import Recurrent
from recurra.ragged import Ragged

__all__ = ["GradientFlow", "Influence", "gradient_flow", "input_influence", "passage_gradients"]

VANISHED, EXPLODED = 1e-6, 1e3  # of the gradient one step back
SHORTEST = 10  # steps that a judgement needs

REMEDY = {  # by whether the cell has gates
    True: "a larger forget bias to begin with, attention as a shorter way, or a cell whose state goes on linearly",
    False: "a gated cell (lstm, gru), or one that begins at the identity (irnn)",
}

Verdict = Literal["vanishes", "explodes", "holds", "too short"]


@dataclass(frozen=True)
class GradientFlow:
    """The gradient of a layer's last output with respect to its state, by how many steps before.

    Attributes:
        layer: where the cell sits in the network.
        kind: class of the cell.
        gated: whether the cell has gates: a sigmoid that multiplies something in its step.
        norms: Euclidean norm over all fields of the state, root mean square over sequences; entry k - 1 is k steps
            back.
    """

    layer: str
    kind: str
    gated: bool
    norms: list[float]

    @property
    def factor(self) -> float:
        """What one step back multiplies the norm by, in the geometric mean; NaN where it cannot be said."""
        if len(self.norms) < 2 or not self.norms[0] > 0:
            return math.nan
        reached = max(place for place, norm in enumerate(self.norms) if norm > 0)
        ratio: float = (self.norms[reached] / self.norms[0]) ** (1 / max(reached, 1))
        return ratio

    @property
    def reach(self) -> int:
        """Steps back within which the norm is at least a hundredth of its largest."""
        largest = max((norm for norm in self.norms if math.isfinite(norm)), default=0.0)
        return max((k for k, norm in enumerate(self.norms, start=1) if norm >= largest / 100 and norm > 0), default=0)

    @property
    def verdict(self) -> Verdict:
        """What became of the gradient over the whole length."""
        if len(self.norms) < SHORTEST:
            return "too short"
        first, last = self.norms[0], self.norms[-1]
        if not any(self.norms):
            return "vanishes"
        if not all(map(math.isfinite, self.norms)) or max(self.norms) > EXPLODED * first:
            return "explodes"
        return "vanishes" if last < VANISHED * first else "holds"

    def advice(self) -> str:
        """What the verdict means and what helps, in one or two sentences; "" where nothing is wrong."""
        steps, first = len(self.norms), self.norms[0]
        where = f"`{self.layer}` ({self.kind})"
        if not any(self.norms) and self.verdict == "vanishes":
            return (
                f"The gradient vanishes in {where}: one step back it is 0 already, so nothing is learned from earlier "
                f"steps. What helps: {REMEDY[self.gated]}."
            )
        if self.verdict == "vanishes":
            return (
                f"The gradient vanishes in {where}: {steps} steps back it is {self.norms[-1] / first:.0e} of what it "
                f"is one step back, so little is learned from what lies more than about {self.reach} steps back. "
                f"What helps: {REMEDY[self.gated]}."
            )
        if self.verdict == "explodes":
            growth = max(self.norms) / first if first else math.inf
            return (
                f"The gradient explodes in {where}: over {steps} steps it grows to {growth:.0e} of what it is one step "
                "back. What helps: clip it (`clip_norm`, or `clip_state_gradient` inside the sequence), a lower "
                "learning rate, or smaller recurrent weights."
            )
        return ""

    def to_json(self) -> dict[str, Any]:
        """Numbers and judgement for a file."""
        factor = self.factor
        return {
            **asdict(self),
            "factor": None if math.isnan(factor) else factor,
            "reach": self.reach,
            "verdict": self.verdict,
            "advice": self.advice(),
        }


def gradient_flow(network: nn.Module, x: Tensor | Ragged, *, seed: int = 0) -> list[GradientFlow]:
    """The gradient through time of every layer of a network, one entry a cell that runs.

        for flow in gradient_flow(network, x):
            print(flow.layer, flow.factor, flow.reach, flow.verdict)

    Shapes: x padded [T, B, ...] or Ragged.

    Args:
        network: a `Recurrent`, a `Cell`, or any network that is called with x alone.
        x: inputs; what they are matters little, their length and size a lot.
        seed: of the random numbers that weigh the outputs.

    Raises:
        ConfigError: no recurra.Cell runs in the network.
        DataError: there is no step.
    """
    if not isinstance(network, nn.Module):
        raise ConfigError(f"`network` must be an nn.Module in which cells run, got a {type(network).__name__}.")
    wired = Recurrent(network) if isinstance(network, Cell) else network
    with torch.enable_grad(), record(wired) as passages:
        wired(x)
    if not passages:
        raise ConfigError(
            f"No recurra.Cell runs in `{type(network).__name__}`: `recurra.networks.load_torch` copies the weights of "
            "a layer of torch.nn, or of recurra.nn, into a `Recurrent`, which can be looked into."
        )
    return [passage_gradients(passage, seed=seed) for passage in passages]


def passage_gradients(passage: Passage, *, seed: int = 0) -> GradientFlow:
    """The gradient through time of what was recorded with gradients enabled.

    Raises:
        DataError: there is no step.
    """
    if not passage.outputs:
        raise DataError("A gradient through time needs sequences of at least one step, got none.")
    ends = passage.ends()
    weights = torch.randn(ends.shape, generator=torch.Generator().manual_seed(seed)).to(ends)
    flat = [one for fields in passage.before for one in fields]
    asked = [one for one in flat if one.requires_grad]  # all but masks and counts
    found = iter(torch.autograd.grad((ends * weights).sum().real, asked, retain_graph=True, allow_unused=True))
    gradients = [next(found) if one.requires_grad else None for one in flat]
    count = len(passage.cell.State._fields)
    squares = [
        _squares(gradients[t * count : (t + 1) * count], len(fields[0])) for t, fields in enumerate(passage.before)
    ]
    lengths = passage.lengths[passage.order]
    return GradientFlow(
        layer=passage.name,
        kind=passage.kind,
        gated=passage.gated,
        norms=_by_lag(squares, lengths),
    )


def _squares(gradients: Sequence[Tensor | None], rows: int) -> Tensor:
    """Squared norm over all fields. Shapes: [rows], float64."""
    total = torch.zeros(rows, dtype=torch.float64)
    for gradient in gradients:
        if gradient is not None:
            total += gradient.detach().abs().double().cpu().square().flatten(1).sum(1)
    return total


def _by_lag(squares: list[Tensor], lengths: Tensor) -> list[float]:
    """Root mean square over the sequences that are long enough, for lags 1..T."""
    norms = []
    for lag in range(1, len(squares) + 1):
        found = [squares[int(length) - lag][row] for row, length in enumerate(lengths.tolist()) if length >= lag]
        norms.append(math.sqrt(float(torch.stack(found).mean())))
    return norms


@dataclass(frozen=True)
class Influence:
    """How much an input moves the last output of a network, by how many steps before.

    Attributes:
        norms: Euclidean norm of the gradient, root mean square over sequences; entry k is k steps before the last.
    """

    norms: list[float]

    def horizon(self, part: float = 0.01) -> int:
        """Memory horizon: steps before the last within which an input still moves the output by `part` of the most."""
        largest = max(self.norms, default=0.0)
        return max((k for k, norm in enumerate(self.norms) if norm >= part * largest and norm > 0), default=0)


def input_influence(network: nn.Module, x: Tensor, *, seed: int = 0) -> Influence:
    """How far back an input still moves the output: the memory horizon of a network with one direction.

    Shapes: x [T, B, ...], all sequences of one length.

    Args:
        network: a `Recurrent` or a `Cell`; called with x, it gives outputs [T, B, ...] first.
        x: inputs.
        seed: of the random numbers that weigh the last outputs.

    Raises:
        DataError: there is no step.
    """
    if not len(x):
        raise DataError("The influence of inputs needs at least one step, got none.")
    wired = Recurrent(network) if isinstance(network, Cell) else network
    inputs = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        outputs = wired(inputs)[0]
        weights = torch.randn(outputs[-1].shape, generator=torch.Generator().manual_seed(seed)).to(outputs)
        (gradient,) = torch.autograd.grad((outputs[-1] * weights).sum().real, inputs)
    norms = gradient.abs().double().flatten(2).square().sum(2).mean(1).sqrt()
    return Influence(norms.flip(0).tolist())
