"""A look into a network whose states are complex numbers."""

from __future__ import annotations

import torch

import recurra
from recurra.inspect import gradient_flow, input_influence, step_jacobians
from recurra.inspect.figures import draw_heatmaps
from recurra.inspect.record import record
from recurra.inspect.states import project
from tests.engine.test_complex_numbers import LinearUnit
from tests.tolerance import assert_close


def test_jacobians_and_gradients_of_a_unit_that_turns() -> None:
    cell = LinearUnit(3, 4).whole()
    turns = torch.exp(-torch.exp(cell.nu) + 1j * cell.theta).detach()
    x = torch.randn(9, 1, 3, dtype=torch.float64)
    found = step_jacobians(cell, x[:, 0])
    values = torch.linalg.eigvals(found.matrices[3])
    expected = torch.cat([turns, turns.conj()])
    assert_close((values[:, None] - expected).abs().amin(0), torch.zeros(8, dtype=torch.float64))
    with torch.no_grad():
        cell.nu.fill_(torch.tensor(0.5).log())  # every unit keeps exp(-0.5) of itself
    (flow,) = gradient_flow(cell, x)
    assert abs(flow.factor - torch.tensor(-0.5).exp()) < 1e-6
    norms = torch.tensor(input_influence(cell, x).norms)
    assert norms[0] > 20 * norms[8] > 0


def test_states_are_recorded_projected_and_drawn() -> None:
    network = recurra.Recurrent(LinearUnit(3, 4))
    with record(network) as passages:
        network(torch.randn(5, 2, 3), lengths=[5, 3])
    states = passages[0].states("h")
    assert states.shape == (5, 2, 4)
    assert states.dtype == torch.complex64
    assert states[4, 1].isnan().all()
    assert project(states).isfinite().all(-1).sum() == 8
    assert draw_heatmaps({"h": states[:, 0]}).startswith(b"\x89PNG")
