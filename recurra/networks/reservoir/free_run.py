"""Networks whose output is read back: step by step, because each output must be known before the next step."""

from __future__ import annotations

import torch
from torch import Tensor

from recurra.networks.reservoir.reservoirs import Reservoirs, ReservoirState, Stepper
from recurra.ragged import Ragged

__all__ = ["closed_loop", "closed_loops", "own_input"]


def own_input(reservoirs: Reservoirs, weights: Tensor, steps: int, state: ReservoirState) -> Tensor:
    """Outputs of a network each of whose outputs is its next input, the first of them that of the state.

    Shapes: weights [S, F, O], in the precision of the reservoirs -> [steps, S, B, O].
    """
    y = state.output.expand(reservoirs.members, -1, -1)
    stepper = Stepper(reservoirs, state.units, y)
    made = y.new_empty(steps, *y.shape)
    for t in range(steps):
        y = stepper.step(y) @ weights
        made[t] = y
    return made


def closed_loop(
    reservoirs: Reservoirs, weights: Tensor, drive: Tensor, state: ReservoirState
) -> tuple[Tensor, ReservoirState]:
    """Outputs of a network that reads each output beside the next input.

    Shapes: drive [T, B, I], weights [S, F, O], in the precision of the reservoirs -> [T, S, B, O].
    """
    stepper = Stepper(reservoirs, state.units, drive)
    y = state.output.expand(reservoirs.members, -1, -1)
    made = drive.new_empty(len(drive), *y.shape)
    for t, x in enumerate(drive):
        y = stepper.step(torch.cat([x.expand(len(y), -1, -1), y], dim=2)) @ weights
        made[t] = y
    return made, ReservoirState(stepper.after(), y.clone())


def closed_loops(
    reservoirs: Reservoirs, weights: Tensor, x: Ragged, state: ReservoirState
) -> tuple[Tensor, ReservoirState]:
    """`closed_loop` for sequences that may differ in length; those of one length together.

    Shapes: x.values [N, I] -> [S, N, O].
    """
    outputs = x.values.new_empty(reservoirs.members, x.num_steps, weights.shape[2])
    units = [[h.clone() for h in layer] for layer in state.units]
    last = state.output.expand(reservoirs.members, -1, -1).clone()
    for length in x.lengths.unique().tolist():
        mine = (x.lengths == length).nonzero().flatten()
        rows = x.offsets[mine] + torch.arange(length, device=mine.device)[:, None]  # [T, B]
        begin = ReservoirState([[h[mine] for h in layer] for layer in units], last[:, mine])
        made, after = closed_loop(reservoirs, weights, x.values[rows], begin)
        outputs[:, rows] = made.transpose(0, 1)
        last[:, mine] = after.output
        for layer, ended in zip(units, after.units, strict=True):
            for h, new in zip(layer, ended, strict=True):
                h[mine] = new
    return outputs, ReservoirState(units, last)
