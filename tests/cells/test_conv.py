"""What is special to the convolutional cells: places, borders, and the inputs convolved at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import recurra
from recurra.cells import ConvGRU, ConvLSTM
from recurra.engine.contract import kernel_of
from recurra.errors import ConfigError, ShapeError
from tests.tolerance import assert_close

CELLS: dict[str, tuple[Any, dict[str, Any]]] = {
    "lstm": (ConvLSTM, {}),
    "lstm without peepholes": (ConvLSTM, {"peephole": False}),
    "gru": (ConvGRU, {}),
    "gru after": (ConvGRU, {"reset": "after"}),
}
every_cell = pytest.mark.parametrize("name", CELLS)


def make(name: str, size: tuple[int, ...] = (7, 6), **options: Any) -> Any:
    kind, own = CELLS[name]
    cell = kind(2, 3, size=size, **own, **options).double()
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=0.3)
    return cell


def random_state(cell: Any, batch_size: int) -> Any:
    return cell.State(*(torch.randn_like(field) for field in cell.initial_state(batch_size)))


@pytest.mark.parametrize("name", ["lstm without peepholes", "gru", "gru after"])
def test_a_picture_moved_is_an_answer_moved_away_from_the_borders(name: str) -> None:
    cell = make(name, (11, 10))
    x = torch.randn(2, 1, 2, 11, 10).double()
    outputs, _ = recurra.scan(cell, x)
    moved, _ = recurra.scan(cell, x.roll((1, -1), (-2, -1)))
    reach = 3  # of the second answer: a kernel of 3 over the input, and at most two over the state
    inside = (..., slice(1 + reach, -reach), slice(reach, -1 - reach))
    assert moved[inside].numel()
    assert_close(moved[inside], outputs.roll((1, -1), (-2, -1))[inside])


def test_a_peephole_belongs_to_its_place() -> None:
    cell = make("lstm")
    with torch.no_grad():
        cell.weight_ch.zero_()
        cell.weight_ch[0, 2, 3] = 5.0  # the first channel's input gate at one place
    x, state = torch.zeros(1, 2, 7, 6).double(), cell.initial_state(1)
    ones = state._replace(c=torch.ones_like(state.c))
    with_it = cell(x, ones)[1].c
    with torch.no_grad():
        cell.weight_ch.zero_()
    changed = (with_it != cell(x, ones)[1].c).nonzero().tolist()
    assert changed == [[0, 0, 2, 3]]


@every_cell
@pytest.mark.parametrize("options", [{}, {"kernel_size": (5, 1), "input_kernel_size": 3, "bias": False}], ids=str)
def test_inputs_convolved_at_once_give_what_the_steps_give(name: str, options: dict[str, Any]) -> None:
    cell = make(name, **options)
    x = recurra.Ragged.from_list([torch.randn(length, 2, 7, 6).double() for length in (4, 0, 6, 1)])
    x = recurra.Ragged(x.values.requires_grad_(), x.offsets, torch.tensor([2, 7]))
    state = random_state(cell, 4)
    found: dict[str, Any] = {}
    for engine in ("compiled", "torch", "reference"):
        outputs, last = recurra.scan(cell, x, state, engine=engine)
        loss = outputs.values.square().sum() + sum(field.square().sum() for field in last)
        found[engine] = (outputs.values, *last, *torch.autograd.grad(loss, [x.values, *cell.parameters()]))
    for engine in ("compiled", "torch"):
        for got, want in zip(found[engine], found["reference"], strict=True):
            assert_close(got, want)


@every_cell
def test_the_laws_of_sequences_hold(name: str) -> None:
    cell = make(name)
    x = torch.randn(5, 3, 2, 7, 6).double()
    spoiled = x.clone()
    spoiled[2:, 1] = float("nan")
    outputs, last = recurra.scan(cell, x, lengths=[5, 2, 0])
    again, after = recurra.scan(cell, spoiled, lengths=[5, 2, 0])
    assert_close(again, outputs)
    assert not outputs[2:, 1].any()
    head, middle = recurra.scan(cell, x[:2], lengths=[2, 2, 0])
    tail, end = recurra.scan(cell, x[2:], middle, lengths=[3, 0, 0])
    assert_close(torch.cat([head, tail]), outputs)
    for first, second, third in zip(last, after, end, strict=True):
        assert_close(second, first)
        assert_close(third, first)
    backward, _ = recurra.scan(cell, x, reverse=True)
    assert_close(backward, recurra.scan(cell, x.flip(0))[0].flip(0))


@every_cell
def test_a_stack_in_both_directions_joins_channels(name: str) -> None:
    network = recurra.Recurrent(make(name), num_layers=2, bidirectional=True, layer_norm=True, dropout=0.1)
    outputs, state = network(torch.randn(3, 2, 2, 7, 6).double())
    assert outputs.shape == (3, 2, 6, 7, 6)
    assert network.cells[2].input_shape == (6, 7, 6)
    assert [field.shape for field in state[0]] == [torch.Size([2, 3, 7, 6])] * len(state[0])


def test_products_see_what_is_read_and_the_state_is_carried_on() -> None:
    cell = make("gru")
    x, h, seen = torch.randn(1, 2, 7, 6).double(), random_state(cell, 1), random_state(cell, 1)
    mixed, _ = cell.step(x, h, seen)
    z_weights, z_bias = cell.weight_ih[3:6], cell.bias_ih[3:6]
    z = torch.sigmoid(
        nn.functional.conv2d(x, z_weights, z_bias, padding=1)
        + nn.functional.conv2d(seen.h, cell.weight_hh[3:6], padding=1)
    )
    assert_close(mixed - cell.step(x, seen)[0], z * (h.h - seen.h))


def test_weights_begin_as_those_of_torchs_convolution_and_peepholes_at_zero() -> None:
    cell = ConvLSTM(2, 50, size=(4, 4), kernel_size=3, input_kernel_size=5)
    for weight, numbers in ((cell.weight_ih, 2 * 25), (cell.bias_ih, 2 * 25), (cell.weight_hh, 50 * 9)):
        assert weight is not None
        assert 0.9 < float(weight.detach().abs().max()) * numbers**0.5 <= 1
    assert cell.weight_ch is not None
    assert not cell.weight_ch.any()


def test_a_subclass_with_another_step_has_no_ready_kernel() -> None:
    class Other(ConvGRU):
        def step(self, x: Any, state: Any, read: Any = None) -> Any:
            return x, state

    assert kernel_of(Other(2, 3, size=4)) is None
    assert kernel_of(ConvGRU(2, 3, size=4)) is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": ()}, r"`size` must be one to three whole numbers of at least 1, such as \(height, width\), got \(\)"),
        ({"size": (4, 0)}, r"got \(4, 0\)"),
        ({"size": (4, 4.0)}, r"got \(4, 4.0\)"),
        ({"size": (1, 2, 3, 4)}, "one to three"),
        ({"size": "4"}, "got '4'"),
        ({"size": (4, 4), "kernel_size": 2}, "`kernel_size` must be an odd whole number, or 2 of them.* got 2"),
        ({"size": (4, 4), "kernel_size": (3, 3, 3)}, r"or 2 of them.* got \(3, 3, 3\)"),
        ({"size": (4, 4), "kernel_size": 0}, "got 0"),
        ({"size": (4, 4), "input_kernel_size": (3, 4)}, r"`input_kernel_size` must be an odd .* got \(3, 4\)"),
        ({"size": (4, 4), "reset": "befor"}, "`reset` must be .* got 'befor'. Did you mean `before`"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ConvGRU(2, 3, **options)


def test_images_and_states_of_another_size_are_refused() -> None:
    cell = ConvLSTM(2, 3, size=(7, 6))
    with pytest.raises(ShapeError, match=r"shape \[T, B, I=2, 7, 6\] for `ConvLSTM`, got \[4, 1, 2, 6, 7\]"):
        recurra.scan(cell, torch.randn(4, 1, 2, 6, 7))
    with pytest.raises(ShapeError, match=r"`state.c` of `ConvLSTM` must have shape \[1, 3, 7, 6\], got \[1, 3, 6, 7\]"):
        recurra.scan(cell, torch.randn(4, 1, 2, 7, 6), (torch.zeros(1, 3, 7, 6), torch.zeros(1, 3, 6, 7)))
