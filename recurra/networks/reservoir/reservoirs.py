"""Reservoirs wired into layers, groups and an ensemble, and the features that a read-out sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from recurra.cells.echo_state import ESN
from recurra.cells.echo_state_kernel import ReservoirKernel, ReservoirLoop
from recurra.engine.scan import scan
from recurra.ragged import Ragged

__all__ = ["ReservoirState", "Reservoirs", "Stepper"]

States = list[list[Tensor]]  # of each layer, of each of its cells: [B, H]


class ReservoirState(NamedTuple):
    """Where a network stands in its sequences.

    units: of each layer, of each reservoir of each member, [B, H].
    output: the last target seen or output made, which is fed back, [S or 1, B, O].
    """

    units: States
    output: Tensor


class Reservoirs:
    """Ensemble members of one wiring: a layer is some reservoirs side by side, which all read the layer below.

        features = [1 ; x ; h of the first layer ; h of the second ; ...]

    Args:
        cells: of each layer, of each member, the reservoirs of its groups.
        seen: how many of the inputs, the first ones, the read-out sees.
    """

    def __init__(self, cells: Sequence[Sequence[Sequence[ESN]]], seen: int) -> None:
        self.cells = cells
        self.members = len(cells[0])
        self.seen = seen
        self.input_size = cells[0][0][0].input_size
        self.layers: list[list[tuple[int, ESN, int]]] = []  # of each layer: member, cell, its first column
        self.columns: list[slice] = []  # of each layer
        column = 1 + seen
        for layer in cells:
            groups = layer[0]
            starts = [column + sum(cell.hidden_size for cell in groups[:k]) for k in range(len(groups))]
            self.layers.append(
                [(m, cell, at) for m, mine in enumerate(layer) for cell, at in zip(mine, starts, strict=True)]
            )
            stop = column + sum(cell.hidden_size for cell in groups)
            self.columns.append(slice(column, stop))
            column = stop
        self.size = column  # F

    def train(self, mode: bool) -> None:
        """Whether noise is added."""
        for layer in self.layers:
            for _, cell, _ in layer:
                cell.train(mode)

    def initial_states(self, batch_size: int) -> States:
        """Zeros."""
        return [[cell.initial_state(batch_size).h for _, cell, _ in layer] for layer in self.layers]

    def fresh(self, batch_size: int, output_size: int) -> ReservoirState:
        """The state before the first step of some sequences."""
        like = self.layers[0][0][1].bias
        return ReservoirState(self.initial_states(batch_size), like.new_zeros(1, batch_size, output_size))

    def begin(self, x: Tensor) -> Tensor:
        """Features [S, N, F] of which only [1 ; x] is filled in; x [N, I] or, for each member, [S, N, I]."""
        features = x.new_empty(self.members, x.shape[-2], self.size)
        features[:, :, 0] = 1
        features[:, :, 1 : 1 + self.seen] = x[..., : self.seen]
        return features

    def is_compiled(self, x: Tensor) -> bool:
        """Whether the compiled loop can run them all."""
        return all(ReservoirKernel(cell).supports(x) for layer in self.layers for _, cell, _ in layer)

    def inputs(self, layer: int, x: Tensor, features: Tensor) -> list[Tensor]:
        """What each reservoir of a layer reads, [N, I]."""
        if layer == 0:
            return [x if x.dim() == 2 else x[member] for member, _, _ in self.layers[0]]
        return [features[member][:, self.columns[layer - 1]] for member, _, _ in self.layers[layer]]

    def outs(self, layer: int, features: Tensor) -> list[Tensor]:
        """Where each reservoir of a layer writes, [N, H]."""
        return [features[member][:, at : at + cell.hidden_size] for member, cell, at in self.layers[layer]]

    @torch.no_grad()
    def run(self, x: Tensor, offsets: Sequence[int], states: States) -> tuple[Tensor, States]:
        """Run whole sequences.

        Shapes: x [N, I], states [B, H] -> features [S, N, F], states after the last steps.
        """
        features = self.begin(x)
        after: States = []
        for layer, (cells, before) in enumerate(zip(self.layers, states, strict=True)):
            inputs, outs = self.inputs(layer, x, features), self.outs(layer, features)
            if self.is_compiled(x):
                loop = ReservoirLoop([cell for _, cell, _ in cells], offsets, before, outs)
                loop.run(inputs)
                after.append(loop.after())
            else:
                places = torch.tensor(offsets, device=x.device)
                after.append([])
                for (_, cell, _), rows, h, out in zip(cells, inputs, before, outs, strict=True):
                    result, last = scan(cell, Ragged(rows.contiguous(), places), cell.State(h))
                    out.copy_(result.values)
                    after[-1].append(last.h)
        return features, after


class Stepper:
    """Reservoirs one step at a time, for networks whose output is their next input.

    Args:
        reservoirs: what to run.
        states: to begin with.
        like: a tensor with the type and device of the inputs.
    """

    def __init__(self, reservoirs: Reservoirs, states: States, like: Tensor) -> None:
        self.reservoirs = reservoirs
        self.states = [list(layer) for layer in states]  # what was handed in stays as it is
        self.batch = len(states[0][0])
        offsets = list(range(self.batch + 1))
        self.features = reservoirs.begin(like.new_zeros(self.batch, reservoirs.input_size))
        self.loops: list[ReservoirLoop] | None = None
        with torch.no_grad():
            if reservoirs.is_compiled(like):
                self.loops = [
                    ReservoirLoop(
                        [cell for _, cell, _ in cells], offsets, before, reservoirs.outs(layer, self.features)
                    )
                    for layer, (cells, before) in enumerate(zip(reservoirs.layers, states, strict=True))
                ]

    @torch.no_grad()
    def step(self, x: Tensor) -> Tensor:
        """One step of all members.

        Shapes: x [S, B, I] -> features [S, B, F], overwritten by the next step.
        """
        reservoirs, features = self.reservoirs, self.features
        features[:, :, 1 : 1 + reservoirs.seen] = x[:, :, : reservoirs.seen]
        for layer, cells in enumerate(reservoirs.layers):
            inputs = reservoirs.inputs(layer, x, features)
            if self.loops is not None:
                self.loops[layer].run(inputs)
                continue
            for index, ((_, cell, _), rows, out) in enumerate(
                zip(cells, inputs, reservoirs.outs(layer, features), strict=True)
            ):
                _, after = cell.step(rows, cell.State(self.states[layer][index]))
                self.states[layer][index] = after.h
                out.copy_(after.h)
        return features

    def after(self) -> States:
        """The states after the last step."""
        return self.states if self.loops is None else [loop.after() for loop in self.loops]
