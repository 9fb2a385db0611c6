"""`Recurrent`: stacks and directions equal torch's, and the laws of sequences hold for them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from recurra.cells import (
    ESN,
    GRU,
    LSTM,
    MLSTM,
    RNN,
    SRU,
    ClipStateGradient,
    LearnedInitialState,
    RecurrentDropout,
    WeightDrop,
    Zoneout,
)
from recurra.cells.wrapper import unwrap
from recurra.engine.contract import Cell
from recurra.errors import ConfigError, ShapeError
from recurra.networks.recurrent import Recurrent, variational
from recurra.ragged import Ragged
from tests.tolerance import assert_close

KINDS: dict[str, tuple[type[Cell], type[nn.RNNBase]]] = {
    "lstm": (LSTM, nn.LSTM),
    "gru": (GRU, nn.GRU),
    "rnn": (RNN, nn.RNN),
}
WORLD_OF_OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bidirectional": {"bidirectional": True},
    "residual and norm": {"residual": True, "layer_norm": True},
    "everything": {
        "bidirectional": True,
        "residual": True,
        "layer_norm": True,
        "dropout": 0.5,
        "learned_initial_state": True,
        "zoneout": 0.2,
        "recurrent_dropout": 0.3,
        "weight_drop": 0.3,
        "clip_state_gradient": 1.0,
    },
}


def make(kind: str, **options: Any) -> Recurrent:
    network = Recurrent(KINDS[kind][0](3, 4), num_layers=2, **options).double()  # type: ignore[call-arg]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))  # no zeros at the start that could hide something
    return network


def some_sequences(lengths: tuple[int, ...] = (4, 1, 0, 6)) -> Ragged:
    return Ragged.from_list([torch.randn(length, 3, dtype=torch.float64) for length in lengths])


def rows_of(state: tuple[Any, ...], row: int) -> tuple[Any, ...]:
    return tuple(type(one)(*(field[row : row + 1] for field in one)) for one in state)


def assert_states_close(actual: Any, expected: Any) -> None:
    for one, other in zip(actual, expected, strict=True):
        for field, wanted in zip(one, other, strict=True):
            assert_close(field, wanted)


def torch_twin(network: Recurrent, kind: str) -> nn.RNNBase:
    """torch's network with the same weights."""
    twin = KINDS[kind][1](
        network.input_size, 4, num_layers=network.num_layers, bidirectional=network.bidirectional
    ).double()
    with torch.no_grad():
        for index, cell in enumerate(network.cells):
            layer, direction = divmod(index, network.num_directions)
            for name, parameter in cell.named_parameters():
                getattr(twin, f"{name}_l{layer}{'_reverse' if direction else ''}").copy_(parameter)
    return twin


@pytest.mark.parametrize("ragged", [False, True], ids=["even", "ragged"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one direction", "both directions"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_equals_torchs_in_outputs_states_and_all_gradients(
    kind: str, bidirectional: bool, ragged: bool
) -> None:
    network = make(kind, bidirectional=bidirectional)
    twin = torch_twin(network, kind)
    lengths = torch.tensor([5, 2, 4]) if ragged else torch.tensor([5, 5, 5])
    ours = torch.randn(5, 3, 3, dtype=torch.float64, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    begin = [[torch.randn(3, 4, dtype=torch.float64) for _ in cell.State._fields] for cell in network.cells]
    begin_ours = [[field.clone().requires_grad_() for field in one] for one in begin]
    joined = [torch.stack(fields).requires_grad_() for fields in zip(*begin, strict=True)]

    outputs, state = network(ours, [tuple(one) for one in begin_ours], lengths=lengths)
    packed = pack_padded_sequence(theirs, lengths, enforce_sorted=False)
    packed_outputs, last = twin(packed, tuple(joined) if kind == "lstm" else joined[0])
    expected, _ = pad_packed_sequence(packed_outputs)
    last_fields = last if isinstance(last, tuple) else (last,)
    weights = torch.randn_like(expected)
    ends = [torch.randn_like(field) for field in last_fields]

    def loss(y: Tensor, fields: Any) -> Tensor:
        return (y * weights).sum() + sum((field * end).sum() for field, end in zip(fields, ends, strict=True))

    ours_last = [torch.stack([one[place] for one in state]) for place in range(len(last_fields))]
    loss(outputs, ours_last).backward()
    loss(expected, last_fields).backward()

    assert_close(outputs, expected, relative=1e-12)
    for field, wanted in zip(ours_last, last_fields, strict=True):
        assert_close(field, wanted, relative=1e-12)
    assert ours.grad is not None
    assert theirs.grad is not None
    assert_close(ours.grad, theirs.grad, relative=1e-12)
    for place, field in enumerate(joined):
        grads = [one[place].grad for one in begin_ours]
        assert field.grad is not None
        assert_close(torch.stack(grads), field.grad, relative=1e-12)  # type: ignore[arg-type]
    for index, cell in enumerate(network.cells):
        layer, direction = divmod(index, network.num_directions)
        for name, parameter in cell.named_parameters():
            wanted = getattr(twin, f"{name}_l{layer}{'_reverse' if direction else ''}").grad
            assert parameter.grad is not None
            assert_close(parameter.grad, wanted, relative=1e-12)


@pytest.mark.parametrize("options", WORLD_OF_OPTIONS.values(), ids=WORLD_OF_OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_ragged_batch_equals_its_sequences_one_by_one(kind: str, options: dict[str, Any]) -> None:
    network = make(kind, **options).eval()
    x = some_sequences()

    outputs, state = network(x)

    for row in range(len(x)):
        alone, ends = network(Ragged.from_list([x[row]]))
        assert_close(outputs[row], alone.values)
        assert_states_close(rows_of(state, row), ends)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_in_chunks_equals_the_whole(kind: str) -> None:
    network = make(kind, residual=True, layer_norm=True, learned_initial_state=True, zoneout=0.1).eval()
    x = torch.randn(7, 2, 3, dtype=torch.float64)

    whole, end = network(x)
    first, state = network(x[:3])
    second, state = network(x[3:], state)

    assert_close(torch.cat([first, second]), whole)
    assert_states_close(state, end)


@pytest.mark.parametrize("kind", KINDS)
def test_single_steps_equal_the_whole(kind: str) -> None:
    network = make(kind, residual=True, layer_norm=True, learned_initial_state=True, recurrent_dropout=0.2).eval()
    x = torch.randn(4, 2, 3, dtype=torch.float64)

    whole, end = network(x)
    state: Any = None
    outputs = []
    for row in x:
        output, state = network.step(row, state)
        outputs.append(output)

    assert_close(torch.stack(outputs), whole)
    assert_states_close(state, end)


@pytest.mark.parametrize("options", WORLD_OF_OPTIONS.values(), ids=WORLD_OF_OPTIONS)
def test_a_reset_equals_a_new_sequence(options: dict[str, Any]) -> None:
    network = make("gru", **options).eval()
    x = torch.randn(6, 1, 3, dtype=torch.float64)
    resets = torch.zeros(6, 1, dtype=torch.bool)
    resets[2] = True

    outputs, _ = network(x, resets=resets)
    first, _ = network(x[:2])
    second, _ = network(x[2:])

    assert_close(outputs, torch.cat([first, second]))


@pytest.mark.parametrize("options", WORLD_OF_OPTIONS.values(), ids=WORLD_OF_OPTIONS)
def test_padding_is_never_read(options: dict[str, Any]) -> None:
    network = make("lstm", **options).eval()
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    lengths = [5, 2]
    spoiled = x.clone()
    spoiled[2:, 1] = float("nan")

    outputs, state = network(x, lengths=lengths)
    again, after = network(spoiled, lengths=lengths)

    assert_close(again, outputs)
    assert_states_close(after, state)
    assert torch.equal(outputs[2:, 1], torch.zeros_like(outputs[2:, 1]))


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_every_engine_gives_the_same(engine: str) -> None:
    network = make("lstm", bidirectional=True)
    x = some_sequences()
    expected, _ = network(x)

    network.engine = engine

    assert_close(network(x)[0].values, expected.values)


def test_the_documented_order_of_dropout_norm_and_residual() -> None:
    network = make("gru", residual=True, layer_norm=True).eval()
    x = torch.randn(3, 2, 3, dtype=torch.float64)
    below, above = (Recurrent(cell) for cell in network.cells)

    first = network.norms[0](below(x)[0])
    second = network.norms[1](above(first)[0]) + first

    assert_close(network(x)[0], second)


def test_training_drops_and_evaluation_is_the_same_each_time() -> None:
    network = make("gru", **WORLD_OF_OPTIONS["everything"])
    x = some_sequences()

    assert not torch.equal(network(x)[0].values, network(x)[0].values)
    network.eval()
    assert torch.equal(network(x)[0].values, network(x)[0].values)


def test_dropout_stands_between_layers_only() -> None:
    one = Recurrent(GRU(3, 4), dropout=0.9)
    two = Recurrent([GRU(3, 64), GRU(64, 4)], dropout=0.5)
    x = torch.randn(3, 2, 3)

    assert torch.equal(one(x)[0], one.eval()(x)[0])
    torch.manual_seed(0)
    dropped, _ = two(x)
    assert not torch.equal(dropped, two.eval()(x)[0])


def test_variational_dropout_drops_the_same_numbers_at_all_steps_of_a_sequence() -> None:
    x = Ragged.from_list([torch.ones(5, 40), torch.ones(3, 40)])

    dropped = variational(x, 0.5, True)

    for sequence in dropped:
        assert (sequence == sequence[0]).all()
        assert set(sequence.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(dropped[0][0], dropped[1][0])
    assert variational(x, 0.5, False) is x
    network = Recurrent(RNN(3, 40), num_layers=2, variational_dropout=0.5)
    inputs = torch.randn(4, 2, 3)
    assert not torch.equal(network(inputs)[0], network.eval()(inputs)[0])


def test_a_copy_and_a_loaded_state_dict_compute_the_same() -> None:
    network = make("lstm", **WORLD_OF_OPTIONS["everything"]).eval()
    other = make("lstm", **WORLD_OF_OPTIONS["everything"]).eval()
    x = some_sequences()

    other.load_state_dict(network.state_dict())

    assert torch.equal(copy.deepcopy(network)(x)[0].values, network(x)[0].values)
    assert torch.equal(other(x)[0].values, network(x)[0].values)


def test_a_learned_initial_state_gets_a_gradient_in_all_layers_and_directions() -> None:
    network = make("lstm", bidirectional=True, learned_initial_state=True)

    network(some_sequences())[0].values.square().sum().backward()

    initial = [parameter for name, parameter in network.named_parameters() if ".initial." in name]
    assert len(initial) == 2 * 2 * 2
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in initial)


def test_all_parameters_get_gradients_with_everything_on() -> None:
    network = make("gru", **WORLD_OF_OPTIONS["everything"])

    network(some_sequences())[0].values.square().sum().backward()

    assert all(parameter.grad is not None for parameter in network.parameters())


def test_wrappers_are_put_on_every_cell() -> None:
    network = make("lstm", **WORLD_OF_OPTIONS["everything"])

    for cell in network.cells:
        names = []
        while cell is not unwrap(cell):
            names.append(type(cell))
            cell = cell.cell  # type: ignore[assignment]
        assert names == [ClipStateGradient, LearnedInitialState, Zoneout, RecurrentDropout, WeightDrop]


def test_one_cell_a_layer_may_differ_in_kind_and_size() -> None:
    network = Recurrent([LSTM(3, 5), GRU(10, 4)], bidirectional=True)

    outputs, state = network(torch.randn(2, 1, 3))

    assert outputs.shape == (2, 1, 8)
    assert network.output_size == 8
    assert [type(one).__name__ for one in state] == ["LSTMState", "LSTMState", "GRUState", "GRUState"]


def test_clones_are_initialised_freshly_and_keep_type() -> None:
    network = Recurrent(RNN(4, 4).double(), num_layers=2, bidirectional=True, layer_norm=True)

    weights = [cell.weight_hh for cell in network.cells]

    assert all(weight.dtype == torch.float64 for weight in network.parameters())
    assert all(not torch.equal(weights[0], weight) for weight in weights[1:])  # type: ignore[arg-type]


def test_a_cell_of_ones_own_can_be_stacked() -> None:
    from typing import NamedTuple

    class Leaky(Cell):
        class State(NamedTuple):
            level: Tensor

        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__()
            self.input = nn.Linear(input_size, hidden_size)

        def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
            level = 0.9 * state.level + self.input(x)
            return level, self.State(level)

    network = Recurrent(Leaky(3, 4), num_layers=2, bidirectional=True, residual=True)

    outputs, state = network(torch.randn(5, 2, 3))

    assert outputs.shape == (5, 2, 8)
    assert len(state) == 4


def test_the_print_says_what_was_built() -> None:
    text = repr(Recurrent(LSTM(3, 4), num_layers=2, bidirectional=True, dropout=0.1))

    assert "3 -> 8, num_layers=2, bidirectional=True, dropout=0.1" in text


def test_empty_batches_pass_through() -> None:
    network = Recurrent(LSTM(3, 4), num_layers=2, bidirectional=True)

    outputs, state = network(torch.zeros(0, 2, 3))

    assert outputs.shape == (0, 2, 8)
    assert state[0].h.shape == (2, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_layers": 0}, "`num_layers` must be a whole number of at least 1, got 0"),
        ({"dropout": 1.5}, "`dropout` must be a probability"),
        ({"dropout": 0.1, "variational_dropout": 0.1}, "choose one"),
        ({"residual": True}, "only one"),
        ({"bidirectional": "no"}, "`bidirectional` must be true or false, got 'no'"),
        ({"layer_norm": 1}, "`layer_norm` must be true or false, got 1"),
        ({"weight_drop": 1.0}, "`weight_drop` must be a probability from 0 to below 1, got 1.0"),
        ({"recurrent_dropout": -1}, "`recurrent_dropout` must be a probability from 0 to below 1, got -1"),
        ({"zoneout": "a"}, "`zoneout` must be a probability from 0 to 1, got 'a'"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recurrent(GRU(3, 4), **options)


def test_what_an_option_needs_of_a_cell_is_said_under_its_name() -> None:
    for option, message in (
        ("weight_drop", "`weight_drop` does not go with this cell: `SRU` has no parameter `weight_hh`"),
        ("recurrent_dropout", "`recurrent_dropout` does not go with this cell: .* `SRU` has no field `h`"),
    ):
        with pytest.raises(ConfigError, match=message):
            Recurrent(SRU(3, 4), **{option: 0.1})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"`weight_drop` .*: `ESN` has no parameter `weight_hh`\.$"):
        Recurrent(ESN(3, 4), weight_drop=0.1)
    with pytest.raises(ConfigError, match="`zoneout` does not go with this cell: No field of the state of `MLSTM`"):
        Recurrent(MLSTM(3, 4), zoneout=0.1)


def test_cells_that_do_not_fit_are_refused() -> None:
    cell = GRU(3, 3)
    with pytest.raises(ConfigError, match=r"`cells\[1\]` must take inputs of shape \[B, I=4\].*got \[B, I=3\]"):
        Recurrent([GRU(3, 4), GRU(3, 4)])
    with pytest.raises(ConfigError, match="different objects"):
        Recurrent([cell, cell])
    with pytest.raises(ConfigError, match="layers of one size: layer 1 takes 4 numbers and gives 5"):
        Recurrent([GRU(3, 4), GRU(4, 5)], residual=True)
    with pytest.raises(ConfigError, match="leave out `num_layers`"):
        Recurrent([GRU(3, 4), GRU(4, 5)], num_layers=3)
    with pytest.raises(ConfigError, match=r"must be a recurra\.Cell"):
        Recurrent([nn.Linear(3, 4)])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match=r"must be a recurra\.Cell, got the module LSTM"):
        Recurrent(nn.LSTM(3, 4))  # type: ignore[arg-type]


def test_an_engine_that_is_not_there_is_refused_when_the_network_is_made() -> None:
    with pytest.raises(ConfigError, match=r"Unknown engine `referense`. Did you mean `reference`"):
        Recurrent(GRU(3, 4), engine="referense")
    with pytest.raises(ConfigError, match=r"`checkpoint_every` is of the compiled engine"):
        Recurrent(GRU(3, 4), engine="torch", checkpoint_every=3)


def test_inputs_that_do_not_fit_are_refused() -> None:
    network = Recurrent(GRU(3, 4), num_layers=2)
    with pytest.raises(ShapeError, match=r"have shape \[T, B, I=3\] for `Recurrent`, got \[2, 5, 4\]"):
        network(torch.zeros(2, 5, 4))
    with pytest.raises(ShapeError, match="a Ragged carries its own"):
        network(Ragged.from_list([torch.zeros(2, 3)]), lengths=[2])
    with pytest.raises(ShapeError, match=r"`state` must be 2 cell states.*got 1"):
        network(torch.zeros(2, 5, 3), [torch.zeros(5, 4)])
    step = network.step
    with pytest.raises(ShapeError, match=r"`x` must have shape \[B, I=3\], got \[5, 4\]"):
        step(torch.zeros(5, 4))
    with pytest.raises(ShapeError, match=r"`state` must be 2 cell states.*got 3"):
        step(torch.zeros(5, 3), [torch.zeros(5, 4)] * 3)
    with pytest.raises(ShapeError, match="got a int"):
        network(torch.zeros(2, 5, 3), 3)
    with pytest.raises(ConfigError, match="no single step"):
        Recurrent(GRU(3, 4), bidirectional=True).step(torch.zeros(1, 3), ())
    with pytest.raises(ConfigError, match="no single step"):
        Recurrent(GRU(3, 4), num_layers=2, variational_dropout=0.1).step(torch.zeros(1, 3), ())


@pytest.mark.filterwarnings("ignore:`torch.jit.trace", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_a_trace_passes_the_check_of_torch_and_takes_other_lengths(kind: Any) -> None:
    network = Recurrent(kind(3, 4), num_layers=2, bidirectional=True)
    traced = torch.jit.trace(network, torch.randn(5, 2, 3))  # looks twice, and compares
    x = torch.randn(7, 4, 3)
    assert_close(traced(x)[0], network(x)[0])
