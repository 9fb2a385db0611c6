"""What is special to the clockwork network: modules that tick, and who hears whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra.cells import Clockwork, Zoneout
from recurra.errors import ConfigError
from tests.cells.equations.simple import clockwork
from tests.tolerance import assert_close


def ticks(cell: Any, num_steps: int) -> Tensor:
    """[T, H]: at which steps each unit changes, on inputs that never rest."""
    begin = cell.State(torch.full((1, cell.hidden_size), 9.0).double(), torch.zeros(1, 1).double())
    outputs, _ = recurra.scan(cell, torch.randn(num_steps, 1, cell.input_size).double(), begin)
    h = torch.cat([begin.h, outputs[:, 0]])
    return h[1:] != h[:-1]


def test_a_module_ticks_once_a_period_and_keeps_its_value_in_between() -> None:
    changed = ticks(Clockwork(2, 6, modules=3).double(), 13)
    for unit in range(6):
        assert changed[:, unit].nonzero().flatten().tolist() == list(range(0, 13, [1, 2, 4][unit // 2]))


@pytest.mark.parametrize("periods", [(1,), (2, 3), (1, 3, 7), (5, 10, 12, 1000)])
def test_any_periods_tick_on_time_through_many_cycles(periods: tuple[int, ...]) -> None:
    changed = ticks(Clockwork(1, len(periods), periods=periods).double(), 2100)
    for unit, period in enumerate(periods):
        assert changed[:, unit].nonzero().flatten().tolist() == list(range(0, 2100, period))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_clocks_of_every_precision_go_right_for_ever(dtype: torch.dtype) -> None:
    cell = Clockwork(1, 8, activation=torch.ones_like).to(dtype)  # a unit is 1 where it has ticked
    zeros = torch.zeros(1, 8, dtype=dtype)
    t = torch.zeros(1, 1, dtype=dtype)
    for step in range(300):
        h, state = cell(torch.zeros(1, 1, dtype=dtype), cell.State(zeros, t))
        t = state.t
        assert h[0].tolist() == [float(step % 2**module == 0) for module in range(8)]
        assert t.item() == (step + 1) % 128


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_slow_modules_tick_in_half_precision(dtype: torch.dtype) -> None:
    cell = Clockwork(1, 2, periods=(1, 1537)).to(dtype)  # no whole number of bfloat16, nor is 1537.5 of float16
    begin = cell.State(torch.full((1, 2), 9.0, dtype=dtype), torch.zeros(1, 1, dtype=dtype))
    with torch.no_grad():
        outputs, state = recurra.scan(cell, torch.randn(3100, 1, 1, dtype=dtype), begin, engine="reference")
    changed = outputs[1:, 0, 1] != outputs[:-1, 0, 1]
    assert (changed.nonzero().flatten() + 1).tolist() == [1537, 3074]
    assert (outputs.dtype, state.h.dtype, state.t.dtype, state.t.item()) == (
        dtype,
        dtype,
        torch.float32,
        3100 - 2 * 1537,
    )


def test_a_module_hears_itself_and_slower_ones() -> None:
    cell = Clockwork(2, 6, modules=3, activation="identity").double()
    cell.weight_hh.data.fill_(1.0)
    jacobian = torch.autograd.functional.jacobian(
        lambda h: cell(torch.zeros(1, 2).double(), cell.State(h, torch.zeros(1, 1).double()))[0],
        torch.zeros(1, 6).double(),
    )[0, :, 0]
    blocks = torch.ones(6, 6).double()
    blocks[2:, :2] = blocks[4:, :4] = 0.0
    assert torch.equal(jacobian, blocks)


def test_weights_below_the_blocks_never_learn() -> None:
    cell = Clockwork(2, 5, periods=[1, 2])
    recurra.scan(cell, torch.randn(6, 3, 2))[0].square().sum().backward()
    assert cell.module_sizes == [3, 2]
    assert not cell.weight_hh.grad[3:, :3].any()
    assert cell.weight_hh.grad[:3].all()
    assert cell.weight_hh.grad[3:, 3:].all()


def test_a_long_scan_is_the_papers_equations_again_and_again() -> None:
    cell = Clockwork(3, 7, periods=(1, 2, 6)).double()
    nn.init.normal_(cell.bias)
    weights = {name: value.numpy() for name, value in cell.state_dict().items()}
    x = torch.randn(30, 1, 3).double()
    h, t, expected = np.zeros(7), np.zeros(1), []
    for row in x[:, 0].numpy():
        output, h, t = clockwork(weights, row, h, t, periods=(1, 2, 6))
        expected.append(torch.from_numpy(output))
    assert_close(recurra.scan(cell, x)[0][:, 0].detach(), torch.stack(expected))


def test_sequences_of_a_batch_and_after_a_reset_have_clocks_of_their_own() -> None:
    cell = Clockwork(2, 6, modules=3).double()
    x = torch.randn(6, 1, 2).double()
    whole = recurra.Ragged.from_list([x[:, 0]])
    reset = recurra.Ragged(whole.values, whole.offsets, torch.tensor([3]))
    outputs, state = recurra.scan(cell, reset)
    first, _ = recurra.scan(cell, x[:3])
    second, last = recurra.scan(cell, x[3:])
    assert_close(outputs.values, torch.cat([first, second])[:, 0])
    assert state.t.item() == last.t.item() == 3


def test_zoneout_of_the_units_leaves_the_clock_alone() -> None:
    for cell in (Zoneout(Clockwork(2, 6, modules=3), 0.5), Zoneout(Clockwork(2, 6, modules=3), 0.5).eval()):
        _, state = recurra.scan(cell, torch.randn(7, 4, 2))
        assert state.t.flatten().tolist() == [3.0] * 4


def test_weights_begin_as_in_the_paper() -> None:
    cell = Clockwork(100, 200)
    for weight in (cell.weight_ih, cell.weight_hh):
        assert abs(weight.mean()) < 0.003
        assert 0.097 < weight.std() < 0.103
    assert not cell.bias.any()


def test_there_are_eight_modules_where_there_are_units_for_them() -> None:
    assert Clockwork(2, 20).periods == (1, 2, 4, 8, 16, 32, 64, 128)
    assert Clockwork(2, 20).module_sizes == [3, 3, 3, 3, 2, 2, 2, 2]
    assert Clockwork(2, 3).periods == (1, 2, 4)
    assert set(Clockwork(2, 20).state_dict()) == {"weight_ih", "weight_hh", "bias"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"periods": (1, 4, 2)}, r"`periods` must be whole numbers .* larger than the one before, got \[1, 4, 2\]."),
        ({"periods": (0, 1)}, r"`periods` must be whole numbers of at least 1, .* got \[0, 1\]."),
        ({"periods": (1, 2.5)}, r"`periods` must be whole numbers of at least 1, .* got \[1, 2.5\]."),
        ({"periods": ()}, r"`periods` must be a list of periods, one a module, got \(\)."),
        ({"periods": 4}, "`periods` must be a list of periods, one a module, got 4."),
        ({"modules": 0}, "`modules` must be a whole number of at least 1, got 0."),
        ({"modules": 7}, "7 modules need at least 7 units, got `hidden_size` 6."),
        ({"modules": 2, "periods": (1, 2, 4)}, "`modules` must be the number of `periods`, 3, or left out, got 2."),
        ({"periods": (1, 4099, 4111)}, "`periods` must come together again within 8,388,608 steps"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Clockwork(3, 6, **options)
