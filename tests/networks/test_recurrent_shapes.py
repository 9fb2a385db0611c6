"""`Recurrent` with cells whose inputs and outputs are pictures: stacks, directions and streams of any shape."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from recurra.engine.contract import Cell
from recurra.errors import ConfigError, ShapeError
from recurra.networks import ManyToMany
from recurra.networks.recurrent import Recurrent, variational
from recurra.ragged import Ragged
from tests.tolerance import assert_close


class Blur(Cell):
    """A user's cell of pictures: its answer is one column narrower than what it is given."""

    class State(NamedTuple):
        level: Tensor

    def __init__(self, input_size: int, hidden_size: int, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width
        self.rows = nn.Conv2d(input_size, hidden_size, (1, 2))

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.input_size, self.height, self.width)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.hidden_size, self.height, self.width - 1)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        level = torch.tanh(0.5 * state.level + self.rows(x))
        return level, self.State(level)


def blurs(**options: Any) -> Recurrent:
    return Recurrent([Blur(1, 2, 3, 6), Blur(4, 3, 3, 5)], bidirectional=True, engine="reference", **options).double()


def test_pictures_are_joined_in_their_channels() -> None:
    network = blurs().eval()
    x = torch.randn(4, 2, 1, 3, 6, dtype=torch.float64)

    outputs, state = network(x, lengths=[4, 1])

    assert (network.input_shape, network.output_shape) == ((1, 3, 6), (6, 3, 4))
    assert outputs.shape == (4, 2, 6, 3, 4)
    assert [tuple(one.level.shape) for one in state] == [(2, 2, 3, 5)] * 2 + [(2, 3, 3, 4)] * 2
    alone, _ = network(x[:1, 1:])
    assert_close(outputs[:1, 1:], alone)
    assert not outputs[1:, 1].any()
    forward, _ = Recurrent(network.cells[0], engine="reference")(x)
    backward, _ = Recurrent(network.cells[1], engine="reference")(x.flip(0))
    above, _ = Recurrent(network.cells[2], engine="reference")(torch.cat([forward, backward.flip(0)], 2))
    assert_close(network(x)[0][:, :, :3], above)
    assert "1 x 3 x 6 -> 6 x 3 x 4" in repr(network)


@pytest.mark.parametrize(
    "options", [{"dropout": 0.5}, {"variational_dropout": 0.5}, {"layer_norm": True, "zoneout": 0.1}], ids=str
)
def test_pictures_train_with_what_stands_between_layers(options: dict[str, Any]) -> None:
    network = blurs(learned_initial_state=True, clip_state_gradient=1.0, **options)

    network(Ragged.from_list([torch.randn(n, 1, 3, 6).double() for n in (3, 0, 2)]))[0].values.square().sum().backward()

    assert all(parameter.grad is not None for parameter in network.parameters())


def test_variational_dropout_of_pictures_drops_the_same_numbers_at_all_steps() -> None:
    dropped = variational(Ragged.from_list([torch.ones(5, 2, 3, 4), torch.ones(3, 2, 3, 4)]), 0.5, True)

    for sequence in dropped:
        assert (sequence == sequence[0]).all()
        assert set(sequence.unique().tolist()) == {0.0, 2.0}


def test_residuals_of_pictures_are_added_place_by_place() -> None:
    class Keeping(Blur):
        def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
            return super().step(nn.functional.pad(x, (0, 1)), state)

        @property
        def output_shape(self) -> tuple[int, ...]:
            return (self.hidden_size, self.height, self.width)

    network = Recurrent(Keeping(2, 2, 3, 4), num_layers=2, residual=True, engine="reference")
    x = torch.randn(4, 2, 2, 3, 4)
    below, above = (Recurrent(cell, engine="reference") for cell in network.cells)

    first, _ = below(x)

    assert_close(network(x)[0], above(first)[0] + first)


def test_pictures_stream_as_the_network_does() -> None:
    network = Recurrent([Blur(1, 2, 3, 6), Blur(2, 3, 3, 5)], engine="reference")
    x = torch.randn(4, 2, 1, 3, 6)

    expected, end = network(x)
    stream = network.stream(batch_size=2)

    assert_close(torch.stack([stream.push(x[0]), stream.push(x[1])]), expected[:2].detach())
    assert_close(stream.push(x[2:]), expected[2:].detach())
    for got, want in zip(stream.state, end, strict=True):
        assert_close(got.level, want.level.detach())
    assert repr(stream) == "Stream(1 x 3 x 6 -> 3 x 3 x 4, batch_size=2, by torch)"
    with pytest.raises(ShapeError, match=r"shape \[B=2, I=1, 3, 6\] or \[T, B=2, I=1, 3, 6\], got \[2, 1, 6, 3\]"):
        stream.push(torch.zeros(2, 1, 6, 3))


def test_pictures_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"`cells\[1\]` must take .* \[B, I=2, 3, 5\].* got \[B, I=2, 3, 6\]"):
        Recurrent(Blur(2, 2, 3, 6), num_layers=2)
    with pytest.raises(ConfigError, match="layers of one size: layer 1 takes 2 x 3 x 5 numbers and gives 2 x 3 x 4"):
        Recurrent([Blur(2, 2, 3, 6), Blur(2, 2, 3, 5)], residual=True)
    with pytest.raises(ShapeError, match=r"shape \[T, B, I=2, 3, 6\] for `Recurrent`, got \[4, 1, 2, 6, 3\]"):
        Recurrent(Blur(2, 2, 3, 6))(torch.zeros(4, 1, 2, 6, 3))


def test_a_label_for_every_step_of_a_video() -> None:
    layers = Recurrent(Blur(1, 2, 3, 6), engine="reference")
    x = torch.randn(2, 4, 1, 3, 6)  # [B, T, ...]

    y, _ = ManyToMany(layers, nn.Conv2d(2, 1, 1), batch_first=True)(x, lengths=[4, 2])

    assert y.shape == (2, 4, 1, 3, 5)
    with pytest.raises(ConfigError, match=r"`output=5` is a dense layer.*the layers give \[N, O=2, 3, 5\]"):
        ManyToMany(layers, 5)
    with pytest.raises(ShapeError, match=r"shape \[B, T, I=1, 3, 6\], got \[2, 4, 1, 3\]"):
        ManyToMany(layers, nn.Identity(), batch_first=True)(x[..., 0])
