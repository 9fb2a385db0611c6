"""The textbook shapes: one-to-one, one-to-many, many-to-one, many-to-many."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recurra.cells import CELLS, GRU, LSTM, RNN, ConvGRU, make_cell
from recurra.errors import ConfigError, ShapeError
from recurra.networks.decoding import greedy
from recurra.networks.pooling import POOLINGS
from recurra.networks.recurrent import Recurrent
from recurra.networks.sequence_models import ManyToMany, ManyToOne, OneToMany, OneToOne
from recurra.ragged import Ragged
from tests.tolerance import assert_close


@pytest.mark.parametrize("cell", [RNN, LSTM, GRU])
def test_the_classic_classifier_is_two_layers_last_step_and_an_output_layer(cell: Any) -> None:
    network = ManyToOne(Recurrent(cell(10, 32), num_layers=2), 3, batch_first=True)
    x = torch.randn(4, 7, 10)

    logits, _ = network(x)

    outputs, _ = network.recurrent(x.transpose(0, 1))
    assert logits.shape == (4, 3)
    assert_close(logits, network.output(outputs[-1]))


def test_the_classic_text_classifier_learns() -> None:
    network = ManyToOne(LSTM(16, 32, bias="single"), 2, embedding=nn.Embedding(20, 16), batch_first=True)
    tokens = torch.randint(20, (64, 6))
    classes = (tokens == 3).any(1).long()
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)

    for _ in range(60):
        loss = nn.functional.cross_entropy(network(tokens)[0], classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    assert (network(tokens)[0].argmax(1) == classes).float().mean() > 0.95


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padded_and_ragged_inputs_give_the_same_class(pooling: str) -> None:
    network = ManyToOne(Recurrent(GRU(5, 6), bidirectional=True), 3, pooling=pooling).double()
    x = Ragged.from_list([torch.randn(n, 5, dtype=torch.float64) for n in (4, 1, 6)])

    ragged, _ = network(x)
    padded, _ = network(x.to_padded(value=float("nan")), lengths=x.lengths)

    assert_close(padded, ragged)
    for row in range(3):
        assert_close(network(Ragged.from_list([x[row]]))[0][0], ragged[row])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["last", "max", "mean"])
def test_videos_are_classified(pooling: str, bidirectional: bool) -> None:
    layers = Recurrent(ConvGRU(2, 3, size=(4, 5)), bidirectional=bidirectional)
    network = ManyToOne(layers, nn.Sequential(nn.Flatten(), nn.LazyLinear(7)), pooling=pooling)

    logits, _ = network(torch.randn(6, 2, 2, 4, 5), lengths=[6, 3])

    assert logits.shape == (2, 7)
    logits.sum().backward()
    with pytest.raises(ConfigError, match=r"compares vectors; the layers give \[N, O=\d, 4, 5\]: take 'last'"):
        ManyToOne(layers, nn.Flatten(), pooling="attention")


@pytest.mark.parametrize("batch_first", [False, True])
def test_many_to_many_gives_an_output_for_each_step(batch_first: bool) -> None:
    network = ManyToMany(Recurrent(GRU(5, 6), bidirectional=True), 3, batch_first=batch_first).double()
    x = Ragged.from_list([torch.randn(n, 5, dtype=torch.float64) for n in (4, 1, 6)])

    ragged, state = network(x)
    padded, after = network(x.to_padded(batch_first=batch_first, num_steps=7), lengths=x.lengths)

    assert_close(ragged.values, network.output(network.recurrent(x)[0].values))
    assert_close(padded, ragged.to_padded(batch_first=batch_first, num_steps=7))
    assert_close(after[0].h, state[0].h)


def test_many_to_many_streams_and_resets() -> None:
    network = ManyToMany(LSTM(5, 6), 3).double()
    x = torch.randn(6, 2, 5, dtype=torch.float64)
    resets = torch.zeros(6, 2, dtype=torch.bool)
    resets[4] = True

    whole, _ = network(x)
    first, state = network(x[:2])
    second, _ = network(x[2:], state)
    cut, _ = network(x, resets=resets)

    assert_close(torch.cat([first, second]), whole)
    assert_close(cut[4:], network(x[4:])[0])


def test_many_to_many_tags_tokens() -> None:
    network = ManyToMany(LSTM(5, 6), 3, embedding=nn.Embedding(9, 5), batch_first=True)
    tokens = torch.randint(9, (2, 4))

    logits, _ = network(tokens)

    assert logits.shape == (2, 4, 3)
    assert_close(logits[:, 0], network(tokens[:, :1])[0][:, 0])


def test_one_to_one_is_one_step_of_many_to_many() -> None:
    layers = Recurrent(GRU(5, 6), num_layers=2)
    one, many = OneToOne(layers, 3).double(), ManyToMany(layers, 3).double()
    many.output = one.output
    x = torch.randn(3, 2, 5, dtype=torch.float64)
    expected, _ = many(x)

    state = None
    for t in range(3):
        y, state = one(x[t], state)
        assert_close(y, expected[t])


def test_one_to_one_takes_tokens() -> None:
    network = OneToOne(RNN(5, 6), 3, embedding=nn.Embedding(9, 5))

    y, state = network(torch.tensor([1, 2]))

    assert y.shape == (2, 3)
    assert state[0].h.shape == (2, 6)


def test_one_to_many_is_taught_with_what_stood_before() -> None:
    network = OneToMany(4, Recurrent(LSTM(3, 6), num_layers=2), 3).double()
    x = torch.randn(2, 4, dtype=torch.float64)
    previous = torch.randn(5, 2, 3, dtype=torch.float64)

    y, _ = network(x, previous)

    state = network.start(x)
    for t in range(5):
        step, state = network.step(previous[t], state)
        assert_close(step, y[t])
    assert not torch.allclose(y, network(x + 1, previous)[0])


@pytest.mark.parametrize("batch_first", [False, True])
def test_one_to_many_generates_from_its_own_outputs(batch_first: bool) -> None:
    network = OneToMany(4, GRU(3, 6), 3, batch_first=batch_first).double()
    x = torch.randn(2, 4, dtype=torch.float64)

    y, _ = network.generate(x, 5)
    steps = y.transpose(0, 1) if batch_first else y
    told = torch.cat([torch.zeros(1, 2, 3, dtype=torch.float64), steps[:-1]])
    again, _ = network(x, told.transpose(0, 1) if batch_first else told)

    assert_close(again, y)
    assert network.generate(x, 0)[0].shape == ((2, 0, 3) if batch_first else (0, 2, 3))


@pytest.mark.parametrize("name", CELLS)
def test_one_to_many_begins_with_the_free_fields_of_every_cell(name: str) -> None:
    images = name.startswith("conv")
    cell = make_cell(name, 3, 4, **({"size": (2, 2)} if images else {}))
    if name == "mlstm":
        with pytest.raises(ConfigError, match="no field of the state of `MLSTM` is free"):
            OneToMany(5, cell, 3)
        return
    network = OneToMany(5, cell, nn.Identity() if images else 3)
    (state,), (begin,) = network.start(torch.randn(2, 5)), network.recurrent.initial_state(2)
    for field in cell.State._fields:
        assert torch.equal(getattr(state, field), getattr(begin, field)) == (field not in cell.free_fields), field
    outputs, _ = network.recurrent(torch.randn(60, 2, *cell.input_shape), network.start(torch.randn(2, 5)))
    if name == "slstm":
        assert outputs.abs().max() < 1  # a mean of numbers within ±1; its normaliser must begin at 0


def test_one_to_many_of_tokens_is_decoded() -> None:
    network = OneToMany(4, GRU(3, 6), 8, embedding=nn.Embedding(8, 3))

    found = greedy(network.step, network.start(torch.randn(2, 4)), bos=0, eos=1, max_length=5)

    assert len(found) == 2
    assert all(len(hypothesis.tokens) <= 5 for hypothesis in found)


def test_all_parameters_of_one_to_many_learn() -> None:
    network = OneToMany(4, Recurrent(LSTM(3, 6), learned_initial_state=True, recurrent_dropout=0.2), 3)

    network(torch.randn(2, 4), torch.randn(5, 2, 3))[0].square().sum().backward()

    silent = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert all(".initial." in name for name in silent)  # the input makes the state that this would have made


def test_an_output_module_of_ones_own_is_used() -> None:
    class Twice(nn.Module):
        def forward(self, h: Tensor) -> Tensor:
            return 2 * h

    x = torch.randn(3, 2, 5)
    network = ManyToMany(GRU(5, 6), Twice())

    assert_close(network(x)[0], 2 * network.recurrent(x)[0])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="`embedding` gives 4 numbers a token, `recurrent` takes 5"):
        ManyToOne(GRU(5, 6), 3, embedding=nn.Embedding(9, 4))
    with pytest.raises(ConfigError, match=r"must be a recurra\.Recurrent or a recurra\.Cell"):
        ManyToOne(nn.Linear(5, 6), 3)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"or have shape \[B, T, I=5\], got \[2, 5\]"):
        ManyToOne(GRU(5, 6), 3, batch_first=True)(torch.zeros(2, 5))
    with pytest.raises(ShapeError, match=r"or have shape \[T, B\], got \[2, 5, 1\]"):
        ManyToMany(GRU(5, 6), 3, embedding=nn.Embedding(9, 5))(torch.zeros(2, 5, 1))
    with pytest.raises(ShapeError, match="a Ragged carries its own"):
        ManyToOne(GRU(5, 6), 3)(Ragged.from_list([torch.zeros(2, 5)]), lengths=[2])
    with pytest.raises(ShapeError, match=r"`x` must have shape \[B, I=5\], got \[2, 3, 5\]"):
        OneToOne(GRU(5, 6), 3)(torch.zeros(2, 3, 5))
    with pytest.raises(ConfigError, match="one direction"):
        OneToMany(4, Recurrent(GRU(5, 6), bidirectional=True), 3)
    with pytest.raises(ShapeError, match=r"`x` must have shape \[B, 4\]"):
        OneToMany(4, GRU(5, 6), 5).start(torch.zeros(2, 5))
    with pytest.raises(ShapeError, match=r"fit for the next step, \[B, I=5\], got \[2, 3\]"):
        OneToMany(4, GRU(5, 6), 3).generate(torch.zeros(2, 4), 2)
    for size in (2.5, "3", 0):
        with pytest.raises(ConfigError, match=f"`output_size` must be a whole number of at least 1, got {size!r}"):
            ManyToOne(GRU(5, 6), size)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=f"`size` must be a whole number of at least 1, got {size!r}"):
            OneToMany(size, GRU(5, 6), 5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`batch_first` must be true or false, got 'no'"):
        ManyToMany(GRU(5, 6), 3, batch_first="no")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`generate` is for vectors"):
        OneToMany(4, GRU(5, 6), 3, embedding=nn.Embedding(9, 5)).generate(torch.zeros(2, 4), 2)


def test_the_print_says_the_order_of_padded_tensors() -> None:
    assert "batch_first=True" in repr(ManyToOne(GRU(5, 6), 3, batch_first=True))
