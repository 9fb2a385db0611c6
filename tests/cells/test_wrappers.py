"""What every wrapper must do around every cell, ours or a user's: be a cell, and change nothing but its one thing."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import recurra
from recurra.cells import (
    GRU,
    LSTM,
    MLSTM,
    RNN,
    ClipStateGradient,
    LearnedInitialState,
    RecurrentDropout,
    WeightDrop,
    Wrapper,
    Zoneout,
    unwrap,
)
from recurra.errors import CompileError, ConfigError
from tests.tolerance import assert_close

# the user's cell of these tests counts its steps in int64, which the compiled engine does not carry
pytestmark = pytest.mark.filterwarnings("ignore:.*runs on the reference engine")


class Pair(NamedTuple):
    h: Tensor
    count: Tensor


class Users(recurra.Cell):
    """A user's cell, with a linear layer, a state that is no float, and an output that is no field of it."""

    State = Pair

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(hidden_size, hidden_size)
        self.input = nn.Linear(input_size, hidden_size)
        self.output_size = 2

    def initial_state(self, batch_size: int, *, dtype: Any = None, device: Any = None) -> Pair:
        h = super().initial_state(batch_size, dtype=dtype, device=device).h
        return Pair(h, torch.zeros(batch_size, 1, dtype=torch.int64))

    def step(self, x: Tensor, state: Pair) -> tuple[Tensor, Pair]:
        h = torch.tanh(self.input(x) + self.hidden(state.h))
        return h[:, :2], Pair(h, state.count + 1)


CELLS: dict[str, Callable[[], recurra.Cell]] = {
    "rnn": lambda: RNN(3, 5),
    "lstm": lambda: LSTM(3, 5),
    "lstm projected": lambda: LSTM(3, 5, proj_size=2, peephole=True),
    "gru": lambda: GRU(3, 5),
    "gru before": lambda: GRU(3, 5, reset="before"),
    "user's": lambda: Users(3, 5),
    "wrapped": lambda: Zoneout(GRU(3, 5), 0.2),
    "masked": lambda: RecurrentDropout(LSTM(3, 5), 0.2),
}
WRAPPERS: dict[str, Callable[[recurra.Cell], Wrapper]] = {
    "zoneout": lambda cell: Zoneout(cell, 0.3),
    "recurrent dropout": lambda cell: RecurrentDropout(cell, 0.5),
    "weight drop": lambda cell: WeightDrop(
        cell, 0.5, ("hidden.weight",) if isinstance(cell, Users) else ("weight_hh",)
    ),
    "clip": lambda cell: ClipStateGradient(cell, 0.1),
    "learned": lambda cell: LearnedInitialState(cell),
}
PAIRS = [
    pytest.param(wrap, cell, id=f"{w} {c}")
    for w, wrap in WRAPPERS.items()
    for c, cell in CELLS.items()
    if (w, c) != ("recurrent dropout", "masked")
]
every_pair = pytest.mark.parametrize(("wrap", "make"), PAIRS)


def seeded(seed: int, function: Callable[[], Any]) -> Any:
    torch.manual_seed(seed)
    return function()


@every_pair
def test_a_wrapper_is_a_cell_that_trains(wrap: Any, make: Any) -> None:
    cell = wrap(make())
    outputs, state = recurra.scan(cell, torch.randn(6, 4, 3), lengths=torch.tensor([6, 0, 3, 1]))
    assert outputs.shape == (6, 4, cell.output_size)
    assert isinstance(state, cell.State)
    floats = [field for field in state if field.is_floating_point()]
    (outputs.sum() + sum(field.sum() for field in floats)).backward()
    for name, parameter in cell.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()


@every_pair
def test_evaluation_is_deterministic_and_goes_on_in_chunks(wrap: Any, make: Any) -> None:
    cell = wrap(make()).eval()
    x = torch.randn(7, 2, 3)
    whole, last = recurra.scan(cell, x)
    head, state = recurra.scan(cell, x[:3])
    tail, end = recurra.scan(cell, x[3:], state)
    assert_close(torch.cat([head, tail]), whole)
    for got, want in zip(end, last, strict=True):
        assert_close(got.float(), want.float())


@every_pair
def test_the_reference_and_the_engine_that_is_chosen_agree_in_evaluation(wrap: Any, make: Any) -> None:
    cell = wrap(make()).eval()
    x = torch.randn(5, 2, 3)
    with torch.no_grad():
        assert_close(recurra.scan(cell, x)[0], recurra.scan(cell, x, engine="reference")[0])


@every_pair
def test_equal_seeds_give_equal_numbers_after_copying_and_loading(wrap: Any, make: Any) -> None:
    cell = wrap(make())
    twin = wrap(make())
    twin.load_state_dict(cell.state_dict())
    x = torch.randn(5, 2, 3)
    expected = seeded(7, lambda: recurra.scan(cell, x)[0])
    for other in (twin, copy.deepcopy(cell)):
        assert torch.equal(seeded(7, lambda other=other: recurra.scan(other, x)[0]), expected)


@every_pair
def test_a_clone_is_wrapped_alike_and_shares_nothing(wrap: Any, make: Any) -> None:
    cell = wrap(make())
    clone = cell.clone(input_size=8)
    assert type(clone) is type(cell)
    assert clone.input_size == unwrap(clone).input_size == 8
    assert list(clone.state_dict()) == list(cell.state_dict())
    assert not {id(p) for p in clone.parameters()} & {id(p) for p in cell.parameters()}
    recurra.scan(clone, torch.randn(2, 1, 8))


@every_pair
def test_float64_stays_float64(wrap: Any, make: Any) -> None:
    cell = wrap(make()).double()
    outputs, state = recurra.scan(cell, torch.randn(3, 2, 3).double())
    assert outputs.dtype == torch.float64
    assert all(field.dtype == torch.float64 for field in state if field.is_floating_point())


@every_pair
def test_a_reset_begins_anew(wrap: Any, make: Any) -> None:
    cell = wrap(make()).eval()
    x = torch.randn(6, 2, 3)
    resets = torch.zeros(6, 2, dtype=torch.bool)
    resets[4] = True
    outputs, _ = recurra.scan(cell, x, resets=resets)
    assert_close(outputs[4:], recurra.scan(cell, x[4:])[0])


def test_a_wrapper_wants_a_cell() -> None:
    with pytest.raises(ConfigError, match=r"`cell` of `Zoneout` must be a recurra.Cell, got the module LSTM"):
        Zoneout(nn.LSTM(3, 4), 0.5)  # type: ignore[arg-type]


# --- zoneout ---------------------------------------------------------------------------------------------------------


def test_zoneout_keeps_units_with_its_probability_and_takes_the_new_ones_else() -> None:
    cell = Zoneout(LSTM(3, 50), {"c": 0.25})
    x, state = torch.randn(200, 3), LSTM.State(torch.randn(200, 50), torch.randn(200, 50))
    new = cell.cell(x, state)[1]
    output, mixed = cell(x, state)
    kept = mixed.c == state.c
    assert 0.22 < kept.float().mean() < 0.28
    assert torch.equal(torch.where(kept, state.c, new.c), mixed.c)
    assert torch.equal(mixed.h, new.h)
    assert output is mixed.h


def test_zoneout_gives_the_expectation_in_evaluation() -> None:
    cell = Zoneout(GRU(3, 5), 0.25).eval()
    x, state = torch.randn(4, 3), GRU.State(torch.randn(4, 5))
    output, mixed = cell(x, state)
    assert_close(mixed.h, 0.25 * state.h + 0.75 * cell.cell(x, state)[0])
    assert output is mixed.h


def test_zoneout_refuses_unknown_fields_and_impossible_probabilities() -> None:
    with pytest.raises(ConfigError, match=r"The state of `LSTM` has no field `d`.*All: h, c"):
        Zoneout(LSTM(3, 4), {"d": 0.5})
    with pytest.raises(ConfigError, match=r"must be a probability from 0 to 1, got 1.5"):
        Zoneout(LSTM(3, 4), 1.5)
    with pytest.raises(ConfigError, match=r"of `MLSTM` is free .* must be a dict that names the fields, got 0.3"):
        Zoneout(MLSTM(3, 4), 0.3)
    assert Zoneout(MLSTM(3, 4), 0.0).p == {"C": 0.0, "n": 0.0, "m": 0.0}


def test_a_users_cell_says_which_fields_are_free() -> None:
    class Counts(Users):
        free_fields = ("h",)

        def initial_state(self, batch_size: int, *, dtype: Any = None, device: Any = None) -> Pair:
            h = super().initial_state(batch_size, dtype=dtype, device=device).h
            return Pair(h, torch.zeros(batch_size, 1))

    for cell in (Counts(3, 5), RecurrentDropout(Counts(3, 5), 0.5)):
        assert Zoneout(cell, 0.3).p == {"h": 0.3} | dict.fromkeys(cell.State._fields[1:], 0.0)
        assert list(LearnedInitialState(cell).initial) == ["h"]
    assert Zoneout(Users(3, 5), 0.3).p == {"h": 0.3, "count": 0.3}  # all, where it says nothing

    class Wrong(Users):
        free_fields = ("hh",)

    for wrap in (lambda: Zoneout(Wrong(3, 5), 0.3), lambda: LearnedInitialState(Wrong(3, 5))):
        with pytest.raises(ConfigError, match=r"The state of `Wrong` has no field `hh`.*All: h, count"):
            wrap()


# --- recurrent dropout -----------------------------------------------------------------------------------------------


def test_a_mask_is_one_for_a_whole_sequence_and_all_its_chunks() -> None:
    cell = RecurrentDropout(LSTM(3, 40), 0.5)
    first = cell.as_state(None, 30, like=torch.empty(0))
    assert set(first.h_mask.unique().tolist()) == {0.0, 2.0}
    assert 0.4 < (first.h_mask == 0).float().mean() < 0.6
    x = torch.randn(6, 30, 3)
    whole, last = recurra.scan(cell, x, first)
    head, state = recurra.scan(cell, x[:2], first)
    tail, end = recurra.scan(cell, x[2:], state)
    assert_close(torch.cat([head, tail]), whole)
    assert torch.equal(last.h_mask, first.h_mask)
    assert torch.equal(end.h_mask, first.h_mask)


def test_a_step_sees_the_masked_state_and_carries_the_whole_one() -> None:
    x, h, c = torch.randn(2, 3), torch.randn(2, 5), torch.randn(2, 5)
    mask = torch.tensor([[0.0, 2.0, 0.0, 2.0, 2.0], [2.0, 2.0, 0.0, 0.0, 2.0]])
    lstm = RecurrentDropout(LSTM(3, 5), 0.5)
    output, after = lstm(x, lstm.State(h, c, mask))
    expected, state = lstm.cell(x, LSTM.State(h * mask, c))
    assert_close(output, expected)
    assert_close(after.c, state.c)
    gru = RecurrentDropout(Zoneout(GRU(3, 5), 0.0), 0.5)
    output, _ = gru(x, gru.State(h, mask))
    assert_close(output, unwrap(gru).step(x, GRU.State(h), GRU.State(h * mask))[0])


def test_a_reset_draws_a_new_mask_and_a_state_of_the_cell_inside_gets_one() -> None:
    cell = RecurrentDropout(GRU(3, 64), 0.5)
    x = torch.randn(4, 1, 3)
    resets = torch.tensor([[False], [False], [True], [False]])
    begin = cell.as_state(None, 1, like=x)
    _, after = recurra.scan(cell, x, begin, resets=resets)
    assert not torch.equal(after.h_mask, begin.h_mask)
    _, after = recurra.scan(cell, x, (torch.zeros(1, 64),))
    assert set(after.h_mask.unique().tolist()) == {0.0, 2.0}


def test_recurrent_dropout_checks_its_masks_and_its_arguments() -> None:
    cell = RecurrentDropout(GRU(3, 4), 0.5)
    with pytest.raises(recurra.errors.ShapeError, match=r"`state.h_mask` must have shape \[2, 4\], got \[2, 5\]"):
        recurra.scan(cell, torch.randn(1, 2, 3), (torch.zeros(2, 4), torch.zeros(2, 5)))
    with pytest.raises(ConfigError, match=r"from 0 to below 1, got 1.0"):
        RecurrentDropout(GRU(3, 4), 1.0)
    with pytest.raises(ConfigError, match="has no field `c`"):
        RecurrentDropout(GRU(3, 4), 0.5, ("c",))
    with pytest.raises(ConfigError, match="at least one field, each once"):
        RecurrentDropout(GRU(3, 4), 0.5, ("h", "h"))
    with pytest.raises(ConfigError, match="`h` of `RecurrentDropout` is dropped already"):
        RecurrentDropout(RecurrentDropout(GRU(3, 4), 0.5), 0.5)
    assert RecurrentDropout(GRU(3, 4), 0.5, "h").fields == ("h",)


# --- weight drop -----------------------------------------------------------------------------------------------------


def test_weights_are_dropped_once_a_scan_for_all_steps() -> None:
    cell = WeightDrop(RNN(1, 30, activation="identity"), 0.5)
    with torch.no_grad():
        unwrap(cell).weight_hh = torch.eye(30)
        for name in ("weight_ih", "bias_ih", "bias_hh"):
            getattr(unwrap(cell), name).zero_()
    start = torch.ones(1, 30)
    for engine in ("auto", "reference"):
        outputs, _ = recurra.scan(cell, torch.zeros(3, 1, 1), (start,), engine=engine)
        kept = outputs[0, 0] != 0
        assert 0 < kept.sum() < 30
        # what is dropped at the first step is dropped at all, what is kept grows by 1 / (1 - p) each time
        assert_close(outputs[:, 0], torch.where(kept, torch.tensor([[2.0], [4.0], [8.0]]), torch.zeros(3, 1)))


def test_a_dropped_lstm_keeps_its_fast_kernel_in_training() -> None:
    cell = WeightDrop(LSTM(3, 8), 0.5)
    x = torch.randn(5, 2, 3)
    fast = seeded(3, lambda: recurra.scan(cell, x, engine="torch")[0])
    slow = seeded(3, lambda: recurra.scan(cell, x, engine="reference")[0])
    assert_close(fast, slow)
    assert not torch.equal(seeded(4, lambda: recurra.scan(cell, x)[0]), fast)


@pytest.mark.parametrize("engine", ["compiled", "torch", "reference"])
def test_weight_drop_drops_what_another_parametrization_makes(engine: str) -> None:
    cell = LSTM(3, 4)
    parametrizations.weight_norm(cell, "weight_hh")
    normed = cell.weight_hh.detach().clone()
    dropped, x = WeightDrop(cell, 0.5), torch.randn(5, 2, 3)

    seen = seeded(3, lambda: cell.weight_hh.detach())
    assert 0 < (seen == 0).sum() < seen.numel()
    assert_close(seen, torch.where(seen == 0, 0.0, 2 * normed))
    plain = LSTM(3, 4)
    plain.load_state_dict(
        {"weight_hh": seen, **{name: getattr(cell, name) for name in ("weight_ih", "bias_ih", "bias_hh")}}
    )
    outputs = seeded(3, lambda: recurra.scan(dropped, x, engine=engine)[0])
    assert_close(outputs, recurra.scan(plain, x, engine="reference")[0])
    outputs.sum().backward()
    assert all(parameter.grad is not None for parameter in dropped.parameters())

    with pytest.raises(ConfigError, match=r"Did you mean `weight_hh`.* All: weight_ih, bias_ih, bias_hh, weight_hh\.$"):
        WeightDrop(dropped, 0.5, "weight_hhh")
    with pytest.raises(ConfigError, match="`weight_hh` of `LSTM` is dropped already"):
        WeightDrop(dropped, 0.5)


def test_weight_drop_leaves_the_stored_weight_whole_and_checks_names() -> None:
    cell = LSTM(3, 4)
    before = cell.weight_hh.detach().clone()
    dropped = WeightDrop(cell, 0.5)
    assert torch.equal(dropped.state_dict()["cell.parametrizations.weight_hh.original"], before)
    assert torch.equal(dropped.eval().cell.weight_hh, before)
    with pytest.raises(ConfigError, match=r"`LSTM` has no parameter `weight_h`. Did you mean"):
        WeightDrop(LSTM(3, 4), 0.5, ("weight_h",))
    for names in ((), ("weight_hh", "weight_hh")):
        with pytest.raises(ConfigError, match="`names` must name at least one parameter, each once, got"):
            WeightDrop(LSTM(3, 4), 0.5, names)
    with pytest.raises(ConfigError, match="`weight_hh` of `LSTM` is dropped already"):
        WeightDrop(dropped, 0.5)
    with pytest.raises(ConfigError, match=r"`LSTM` has no parameter `weight_h`"):
        WeightDrop(dropped, 0.5, "weight_h")
    both = WeightDrop(dropped, 0.5, "weight_ih")
    assert set(dict(unwrap(both).parametrizations)) == {"weight_hh", "weight_ih"}
    with pytest.raises(ConfigError, match=r"`hidden.weight` of `Users` is dropped already"):
        WeightDrop(WeightDrop(Users(3, 4), 0.5, "hidden.weight"), 0.5, "hidden.weight")


# --- clipping of the state gradient ----------------------------------------------------------------------------------


def test_the_gradient_is_clamped_at_every_step_back_in_time() -> None:
    inner = RNN(1, 1, activation="identity", bias=False)
    with torch.no_grad():
        inner.weight_ih.fill_(1.0)
        inner.weight_hh.fill_(10.0)
    x = torch.zeros(4, 1, 1, requires_grad=True)
    outputs, _ = recurra.scan(ClipStateGradient(inner, 3.0), x)
    outputs[-1].sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [3.0, 3.0, 3.0, 1.0]  # 1000, 100, 10, 1 where nothing is clamped


def test_clipping_changes_nothing_forward_and_nothing_that_is_small() -> None:
    inner = LSTM(3, 5)
    x = torch.randn(6, 2, 3, requires_grad=True)
    grads = []
    for cell in (inner, ClipStateGradient(inner, 1e6)):
        outputs, _ = recurra.scan(cell, x)
        grads.append(torch.autograd.grad(outputs.square().sum(), [x, *inner.parameters()]))
    for got, want in zip(grads[1], grads[0], strict=True):
        assert_close(got, want)
    for limit in (0, -1.0, float("nan"), True):
        with pytest.raises(ConfigError, match="`limit` must be a number above 0"):
            ClipStateGradient(inner, limit)


def test_clipping_keeps_the_fast_kernel_while_no_gradient_is_recorded() -> None:
    cell = ClipStateGradient(LSTM(3, 5), 1.0)
    with torch.no_grad():
        recurra.scan(cell, torch.randn(2, 1, 3), engine="torch")
    with pytest.raises(CompileError):
        recurra.scan(cell, torch.randn(2, 1, 3), engine="torch")


# --- learned initial state -------------------------------------------------------------------------------------------


def test_every_sequence_begins_with_the_learned_state_and_teaches_it() -> None:
    cell = LearnedInitialState(LSTM(3, 5, proj_size=2))
    assert {name: list(value.shape) for name, value in cell.initial.items()} == {"h": [2], "c": [5]}
    with torch.no_grad():
        cell.initial["c"].fill_(0.5)
    x = torch.randn(4, 3, 3)
    given = LSTM.State(torch.zeros(3, 2), torch.full((3, 5), 0.5))
    assert_close(recurra.scan(cell, x)[0], recurra.scan(cell.cell, x, given)[0])
    resets = torch.zeros(4, 3, dtype=torch.bool)
    resets[2, 1] = True
    outputs, _ = recurra.scan(cell, x, resets=resets)
    assert_close(outputs[2:, 1], recurra.scan(cell, x[2:])[0][:, 1])
    outputs.sum().backward()
    assert all(value.grad.abs().sum() > 0 for value in cell.initial.values())


def test_a_learned_state_around_masks_learns_the_state_and_draws_the_masks() -> None:
    cell = LearnedInitialState(RecurrentDropout(GRU(3, 40), 0.5))
    assert list(cell.initial) == ["h"]
    state = cell.initial_state(2)
    assert set(state.h_mask.unique().tolist()) == {0.0, 2.0}


def test_a_state_with_masks_is_pickled() -> None:
    cell = RecurrentDropout(LSTM(3, 4), 0.5)
    state = cell(torch.randn(2, 3))[1]
    again = pickle.loads(pickle.dumps(state))
    assert type(again) is type(state)
    assert_close(again.h, state.h)
