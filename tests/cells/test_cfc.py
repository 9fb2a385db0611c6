"""What is special to CfC: a step of any length."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import recurra
from recurra.cells import CfC
from recurra.errors import ConfigError
from tests.tolerance import assert_close

every_mode = pytest.mark.parametrize("mode", ["default", "no_gate", "pure"])


def timed(mode: Any) -> Any:
    cell = CfC(4, 5, mode=mode, backbone_units=8, time_column=True)
    if mode == "pure":
        nn.init.normal_(cell.amplitude)
        nn.init.normal_(cell.rate)
    return cell


def with_time(x: Any, t: float) -> Any:
    return torch.cat([x, torch.full_like(x[..., :1], t)], dim=-1)


@every_mode
def test_without_a_time_column_each_step_lasts_one(mode: Any) -> None:
    cell, plain = timed(mode), CfC(3, 5, mode=mode, backbone_units=8)
    plain.load_state_dict(cell.state_dict())
    x = torch.randn(6, 2, 3)
    assert_close(recurra.scan(cell, with_time(x, 1.0))[0], recurra.scan(plain, x)[0])


@every_mode
def test_the_time_changes_the_answer_and_nothing_but_the_flow(mode: Any) -> None:
    cell = timed(mode)
    x, state = torch.randn(2, 3), cell.State(torch.randn(2, 5))
    assert not torch.allclose(cell(with_time(x, 0.1), state)[0], cell(with_time(x, 3.0), state)[0])
    assert cell.weight_ih.shape == (8, 3)  # the backbone does not see it


def test_after_a_long_time_the_closed_form_comes_to_rest_at_its_amplitude() -> None:
    cell = timed("pure")
    h, _ = cell(with_time(torch.randn(2, 3), 1e4))
    assert_close(h, cell.amplitude.expand(2, 5))


def test_after_a_long_time_one_of_the_two_heads_is_left() -> None:
    cell = CfC(4, 5, backbone_layers=0, time_column=True)
    x = torch.randn(2, 3)
    g, k, a, _ = (x @ cell.weight_ih.T + cell.bias_ih).chunk(4, -1)
    expected = torch.where(a > 0, g.tanh(), k.tanh())
    assert_close(cell(with_time(x, 1e6))[0], expected)


def test_a_backbone_is_as_deep_and_wide_as_asked() -> None:
    cell = CfC(3, 5, backbone_units=7, backbone_layers=3)
    assert [list(weight.shape) for weight in cell.layers.parameters()] == [[7, 7], [7], [7, 7], [7], [20, 7], [20]]
    assert len(CfC(3, 5, backbone_layers=0).layers) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "nogate"}, "`mode` must be 'default', 'no_gate' or 'pure', got 'nogate'. Did you mean `no_gate`"),
        ({"backbone_units": 0}, "`backbone_units` must be a whole number of at least 1, got 0."),
        ({"backbone_layers": -1}, "`backbone_layers` must be a whole number of at least 0, got -1."),
        ({"time_column": True}, "`time_column=True` takes the last number of x"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CfC(1, 5, **options)
