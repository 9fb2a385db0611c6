"""Pictures are PNGs, whatever they are given to show."""

from __future__ import annotations

import pytest
import torch

from recurra import Recurrent
from recurra.cells import LSTM, RNN
from recurra.inspect import gradient_flow, project, record, saturation, step_jacobians

pytest.importorskip("matplotlib")

from recurra.inspect import figures

PNG = b"\x89PNG\r\n\x1a\n"


def test_every_picture_is_drawn_of_a_ragged_batch() -> None:
    network = Recurrent(LSTM(2, 4))
    with record(network, gates=True) as passages:
        network(torch.randn(6, 3, 2), lengths=[6, 2, 0])
    (passage,) = passages
    gates = {name: passage.padded(steps) for name, steps in passage.gates.items()}
    words = ["a", "$b$", "c", "d", "e", "f"]

    assert figures.draw_heatmaps({"h": passage.states("h")[:, 0]}, steps=words).startswith(PNG)
    assert figures.draw_gates(saturation(gates)).startswith(PNG)
    assert figures.draw_projection(project(passage.states("h")), words).startswith(PNG)
    assert figures.draw_jacobians(step_jacobians(network.cells[0], torch.randn(6, 2))).startswith(PNG)
    assert figures.draw_unrolled(network.cells[0]).startswith(PNG)


def test_gradients_are_drawn_by_layer_or_by_name_down_to_zero() -> None:
    flows = gradient_flow(RNN(2, 3), torch.randn(400, 1, 2))
    assert min(flows[0].norms) == 0  # in float32 it vanishes indeed
    assert figures.draw_gradients(flows).startswith(PNG)
    assert figures.draw_gradients(flows, ["mine"]).startswith(PNG)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_states_that_grow_beyond_all_numbers_are_drawn(dtype: torch.dtype) -> None:
    states = torch.tensor([[1.0, 2.0], [-3.0, 1.0], [torch.finfo(dtype).max, 1.0], [torch.inf, 1.0]], dtype=dtype)
    assert figures.draw_heatmaps({"h": states}).startswith(PNG)

    points = project(states[:, None])
    assert points[:3].isfinite().all()
    assert points[3].isnan().all()
    assert figures.draw_projection(points).startswith(PNG)
