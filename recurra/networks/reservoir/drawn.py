"""A network that was drawn: its reservoirs, the read-out that learns on them, and where fitting stands."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from recurra.errors import ShapeError
from recurra.networks.reservoir.free_run import closed_loops
from recurra.networks.reservoir.plasticity import IntrinsicPlasticity
from recurra.networks.reservoir.readouts import Readout
from recurra.networks.reservoir.reservoirs import Reservoirs, ReservoirState
from recurra.networks.reservoir.series import lengths_text, windows
from recurra.ragged import Ragged
from recurra.shapes import describe

__all__ = ["Drawn"]

_NUMBERS = 1 << 21  # of features that are held at a time: below 32 MB, where memory is given back and taken again


class Drawn:
    """What `EchoStateNetwork.fit` makes of its options.

    Args:
        reservoirs: drawn.
        readout: new.
        sizes: I and O.
        feedback: whether the first layer sees the output of the step before.
        washout: steps at the beginning of each series that are not fitted to.

    Attributes:
        state: where fitting ended.
    """

    def __init__(
        self, reservoirs: Reservoirs, readout: Readout, sizes: tuple[int, int], *, feedback: bool, washout: int
    ) -> None:
        self.reservoirs, self.readout, self.sizes = reservoirs, readout, sizes
        self.feedback, self.washout = feedback, washout
        self.state = self.fresh(0)
        self._steps_seen = torch.zeros(0, dtype=torch.int64)  # [B], of the series that go on
        self._rows_fitted = 0
        self._weights: Tensor | None = None

    def fresh(self, batch_size: int) -> ReservoirState:
        """The state before the first step of some series."""
        return self.reservoirs.fresh(batch_size, self.sizes[1])

    def weights(self) -> Tensor:
        """W_out of each member, [S, F, O]; solved when first asked for after more data.

        Raises:
            ShapeError: all steps so far belong to the washout.
            ConfigError: there is no unique solution.
        """
        if self._weights is None:
            if not self._rows_fitted:
                raise ShapeError(
                    f"There is nothing to fit to yet: give more steps than the `washout` of {self.washout}."
                )
            self._weights = self.readout.weights()
        return self._weights

    def narrow_weights(self) -> Tensor:
        """The same in the precision of the reservoirs."""
        return self.weights().to(self.state.output.dtype)

    # --- fitting ---------------------------------------------------------------------------------------------------

    def take(self, x: Ragged, y: Ragged, *, new_series: bool) -> None:
        """Run over inputs and let the read-out learn the targets.

        Raises:
            ShapeError: there are more or fewer series than those that go on.
        """
        if new_series:
            self._begin(x)
        elif x.batch_size != len(self._steps_seen):
            raise ShapeError(
                f"`x` must have the {len(self._steps_seen)} series that go on, got {x.batch_size}; for others say "
                "new_series=True."
            )
        kept = x.position + self._steps_seen[x.sequence_index] >= self.washout
        for features, piece in self._learning(self._teacher_forced(x, y), x):
            wanted = kept[piece]
            if bool(wanted.any()):
                all_ = bool(wanted.all())
                self.readout.update(
                    features if all_ else features[:, wanted], y.values[piece if all_ else piece[wanted]]
                )
                self._rows_fitted += int(wanted.sum())
        self.state = ReservoirState(self.state.units, _last(y, self.state.output))
        self._steps_seen = self._steps_seen + x.lengths
        self._weights = None

    def _begin(self, x: Ragged) -> None:
        self.state = self.fresh(x.batch_size)
        self._steps_seen = torch.zeros_like(x.lengths)

    def _learning(self, inputs: Tensor, x: Ragged) -> Iterator[tuple[Tensor, Tensor]]:
        """Features of one window of time after the other, with noise, and the rows that they belong to."""
        for offsets, piece in windows(x, self._window):
            self.reservoirs.train(True)
            try:
                features, units = self.reservoirs.run(inputs[piece], offsets, self.state.units)
            finally:  # whatever ends the fitting, no noise stays in the answers
                self.reservoirs.train(False)
            self.state = ReservoirState(units, self.state.output)
            yield features, piece

    @property
    def _window(self) -> int:
        return max(64, _NUMBERS // (self.reservoirs.size * self.reservoirs.members))

    def _teacher_forced(self, x: Ragged, y: Ragged) -> Tensor:
        """x_t, with feedback [x_t ; y_{t-1}], where the target before the first step is that of the state."""
        if not self.feedback:
            return x.values
        before = y.values.to(x.values.dtype).roll(1, dims=0)
        there = x.lengths > 0
        before[x.offsets[:-1][there]] = self.state.output[0, there]
        return torch.cat([x.values, before], dim=1)

    def adapt(self, plasticity: IntrinsicPlasticity, x: Ragged, y: Ragged) -> None:
        """Intrinsic plasticity, layer after layer, each on the states of the adapted ones below.

        Raises:
            ShapeError: the series differ in length.
        """
        if x.lengths.unique().numel() > 1:
            raise ShapeError(f"With `plasticity` all series must have the same length, got {lengths_text(x)}.")
        self._begin(x)
        rows = self._teacher_forced(x, y)
        for layer, cells in enumerate(self.reservoirs.layers):
            features, _ = self.reservoirs.run(rows, x.offsets.tolist(), self.state.units)
            inputs = self.reservoirs.inputs(layer, rows, features)
            for (_, cell, _), mine in zip(cells, inputs, strict=True):
                plasticity.adapt(cell, mine.unflatten(0, (x.batch_size, -1)).transpose(0, 1))

    # --- answers ---------------------------------------------------------------------------------------------------

    def outputs(self, x: Ragged, state: ReservoirState | None) -> tuple[Tensor, ReservoirState]:
        """Outputs of each member [S, N, O], and the state after the last steps.

        Raises:
            ShapeError: the state is none of these series.
        """
        begin = self.fresh(x.batch_size) if state is None else self.checked(state)
        if begin.output.shape[1] != x.batch_size:
            raise ShapeError(f"`state` must be of {x.batch_size} series as `x` is, got {begin.output.shape[1]}.")
        return self.outputs_with(self.narrow_weights(), x, begin)

    def outputs_with(self, weights: Tensor, x: Ragged, state: ReservoirState) -> tuple[Tensor, ReservoirState]:
        """The same with other read-outs [S, F, O], in the precision of the reservoirs."""
        if self.feedback:
            return closed_loops(self.reservoirs, weights, x, state)
        outputs = x.values.new_empty(len(weights), x.num_steps, weights.shape[2])
        units = state.units
        for offsets, piece in windows(x, self._window):
            features, units = self.reservoirs.run(x.values[piece], offsets, units)
            outputs[:, piece] = features @ weights
        last = outputs.new_zeros(len(weights), x.batch_size, weights.shape[2])
        there = x.lengths > 0
        if not bool(there.all()):
            last[:] = state.output
        last[:, there] = outputs[:, x.offsets[1:][there] - 1]
        return outputs, ReservoirState(units, last)

    def checked(self, state: ReservoirState) -> ReservoirState:
        """The state, if these reservoirs can go on from it.

        Raises:
            ShapeError: it is none, or that of other reservoirs.
        """
        if not isinstance(state, ReservoirState):
            raise ShapeError(
                f"`state` must be a ReservoirState, as `run` gives it and `state_` is, got {describe(state)}."
            )
        expected = self.fresh(state.output.shape[1])
        if _units(state) != _units(expected) or state.output.shape[2] != self.sizes[1]:
            raise ShapeError(
                f"`state` must be one of this network, of {_in_words(expected)}, got one of {_in_words(state)}."
            )
        return state


def _units(state: ReservoirState) -> list[list[tuple[int, ...]]]:
    """Series and units of each reservoir of each layer."""
    return [[tuple(h.shape) for h in layer] for layer in state.units]


def _in_words(state: ReservoirState) -> str:
    layers = " and ".join(", ".join(str(h.shape[1]) for h in layer) for layer in state.units)
    return f"{layers} units and O={state.output.shape[2]} outputs"


def _last(y: Ragged, before: Tensor) -> Tensor:
    """The last target of each series, [1, B, O]; of an empty one what was there before."""
    there = y.lengths > 0
    last = before[:1].clone()
    last[0, there] = y.values[y.offsets[1:][there] - 1].to(last.dtype)
    return last
