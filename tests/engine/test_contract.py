"""The cell contract: what a user's cell gets from the base class, and what it is refused."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra.engine.contract import Source, kernel_of
from recurra.errors import ConfigError, ShapeError


class State(NamedTuple):
    h: Tensor
    c: Tensor


class Users(recurra.Cell):
    State = State

    def __init__(self, input_size: int, hidden_size: int, *, scale: float = 1.0, activation: Any = torch.tanh) -> None:
        super().__init__()
        self.linear = nn.Linear(input_size + hidden_size, hidden_size)
        self.scale, self.activation = scale, activation

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.activation(self.scale * self.linear(torch.cat([x, state.h], 1)))
        return h, State(h, state.c + h)


def test_sizes_come_from_the_arguments_of_the_constructor() -> None:
    for cell in (Users(3, 4), Users(input_size=3, hidden_size=4), Users(3, hidden_size=4)):
        assert (cell.input_size, cell.hidden_size, cell.output_size) == (3, 4, 4)


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "3"])
def test_sizes_must_be_whole_numbers_above_zero(size: Any) -> None:
    with pytest.raises(ShapeError, match="`input_size` must be a whole number of at least 1"):
        recurra.GRU(size, 4)


def test_a_state_begins_as_zeros_of_the_type_of_the_weights() -> None:
    state = Users(3, 4).double().initial_state(2)
    assert isinstance(state, State)
    assert all(field.shape == (2, 4) and field.dtype == torch.float64 and not field.any() for field in state)
    assert Users(3, 4).initial_state(2, dtype=torch.bfloat16).h.dtype == torch.bfloat16


def test_fields_of_a_beginning_share_no_memory() -> None:
    state = recurra.LSTM(3, 4).initial_state(2)
    state.h.fill_(1.0)
    assert not state.c.any()


class Looks(recurra.Cell):
    """Inputs are tokens, which the step looks up."""

    class State(NamedTuple):
        h: Tensor

    def __init__(self, num_tokens: int, hidden_size: int) -> None:
        super().__init__(1, hidden_size)
        self.table, self.hidden = nn.Embedding(num_tokens, hidden_size), nn.Linear(hidden_size, hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = torch.tanh(self.table(x[:, 0]) + self.hidden(state.h))
        return h, self.State(h)


@pytest.mark.parametrize("engine", ["auto", "reference"])
@pytest.mark.filterwarnings("ignore:The compiled engine cannot run `Looks` here. it reads floats")
def test_inputs_may_be_whole_numbers(engine: str) -> None:
    cell, x = Looks(7, 4), torch.randint(7, (5, 3, 1))
    resets = torch.zeros(5, 3, dtype=torch.bool)
    resets[2, 1] = True
    for lengths in (None, [5, 2, 0]):
        outputs, state = recurra.scan(cell, x, lengths=lengths, resets=resets, engine=engine)
        begun = Looks.State(torch.zeros(3, 4))
        again, after = recurra.scan(cell, x, begun, lengths=lengths, resets=resets, engine=engine)
        assert torch.equal(outputs, again)
        assert torch.equal(state.h, after.h)
        assert outputs.dtype == torch.float32


class BeginsAs(Users):
    """Begins with what it is told."""

    def __init__(self, begin: Any) -> None:
        super().__init__(3, 4)
        self.input_size, self.hidden_size, self.begin = 3, 4, begin

    def initial_state(self, batch_size: int, *, dtype: Any = None, device: Any = None) -> Any:
        return self.begin


@pytest.mark.parametrize(
    ("begin", "got"),
    [
        (torch.zeros(2, 4), r"\[2, 4\]"),
        (State(torch.zeros(4), torch.zeros(4)), r"\[4\] for `h`"),
        (State(torch.zeros(1, 4), torch.zeros(1, 4)), r"\[1, 4\] for `h`"),
    ],
    ids=["tensor", "row", "one row"],
)
def test_a_first_state_of_other_rows_than_the_batch_is_refused(begin: Any, got: str) -> None:
    message = rf"`BeginsAs.initial_state` must return \w+ of tensors \[B=2, ...\], got {got}"
    for engine in ("auto", "compiled", "reference"):
        with pytest.raises(ShapeError, match=message):
            recurra.scan(BeginsAs(begin), torch.randn(5, 2, 3), engine=engine)
    with pytest.raises(ShapeError, match=message):
        recurra.Recurrent(BeginsAs(begin)).stream(2)


def test_a_word_is_no_direction() -> None:
    with pytest.raises(ConfigError, match="`reverse` must be true or false, got 'no'"):
        recurra.scan(Users(3, 4), torch.randn(5, 2, 3), reverse="no")  # type: ignore[arg-type]


def test_calling_a_cell_is_one_step_from_the_initial_state() -> None:
    cell, x = Users(3, 4), torch.randn(2, 3)
    assert torch.equal(cell(x)[0], cell.step(x, cell.initial_state(2))[0])


def test_a_cell_that_is_called_on_a_sequence_says_what_runs_it() -> None:
    # as many steps as sequences: numbers would come out, and be those of something else
    with pytest.raises(
        ShapeError, match=r"must be one step \[B, I=3\] for `GRU`, got \[5, 5, 3\]: `recurra.scan` runs"
    ):
        recurra.GRU(3, 4)(torch.zeros(5, 5, 3))


def test_states_are_taken_as_tuples_and_refused_with_their_shape() -> None:
    cell, x = Users(3, 4), torch.randn(5, 2, 3)
    outputs, _ = recurra.scan(cell, x, [torch.zeros(2, 4), torch.zeros(2, 4)])
    assert torch.equal(outputs, recurra.scan(cell, x)[0])
    gru, h = recurra.GRU(3, 4), torch.randn(2, 4)
    assert torch.equal(recurra.scan(gru, x, h)[0], recurra.scan(gru, x, (h,))[0])
    with pytest.raises(ShapeError, match=r"`state.c` of `Users` must have shape \[2, 4\], got \[2, 5\]"):
        recurra.scan(cell, x, (torch.zeros(2, 4), torch.zeros(2, 5)))
    for wrong in (torch.zeros(2, 4), (torch.zeros(2, 4),), "state", {"h": 1}):
        with pytest.raises(ShapeError, match=r"must be State\(h, c\), got"):
            recurra.scan(cell, x, wrong)


class Counted(NamedTuple):
    h: Tensor
    count: Tensor


class Counting(Users):
    """A state of several kinds of numbers, and of more sizes than two."""

    State = Counted

    def initial_state(self, batch_size: int, *, dtype: Any = None, device: Any = None) -> Counted:
        h = torch.zeros(batch_size, self.hidden_size, 2, dtype=dtype, device=device)
        return Counted(h, torch.zeros(batch_size, dtype=torch.int64, device=device))

    def step(self, x: Tensor, state: Counted) -> tuple[Tensor, Counted]:  # type: ignore[override]
        return state.h[:, :, 0], Counted(state.h, state.count + 1)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            Counted(torch.zeros(5, 4), torch.zeros(5).long()),
            r"`state.h` of .* must have shape \[5, 4, 2\], got \[5, 4\]",
        ),
        (Counted(torch.zeros(5, 2, 4), torch.zeros(5).long()), r"shape \[5, 4, 2\], got \[5, 2, 4\]"),
        (Counted(torch.zeros(5, 4, 2), torch.zeros(5, 1).long()), r"`state.count` .* shape \[5\], got \[5, 1\]"),
        (Counted(torch.zeros(4, 4, 2), torch.zeros(4).long()), r"shape \[5, 4, 2\], got \[4, 4, 2\]"),
        (
            Counted(torch.zeros(5, 4, 2), torch.zeros(5)),
            "`state.count` .* must be of type torch.int64, got torch.float32",
        ),
        (Counted(torch.zeros(5, 4, 2).long(), torch.zeros(5).long()), "`state.h` .* torch.float32, got torch.int64"),
        (Counted(torch.zeros(5, 4, 2).bool(), torch.zeros(5).long()), "`state.h` .* torch.float32, got torch.bool"),
        (Counted(torch.zeros(5, 4, 2) * 1j, torch.zeros(5).long()), "`state.h` .* torch.float32, got torch.complex64"),
        (Counted(torch.zeros(5, 4, 2, device="meta"), torch.zeros(5).long()), "must be on cpu .* got meta"),
        (Counted([1.0], torch.zeros(5).long()), r"shape \[5, 4, 2\], got a list"),  # type: ignore[arg-type]
        (State(torch.zeros(5, 4, 2), torch.zeros(5).long()), r"must be Counted\(h, count\), got State\(h, c\)"),
        (Counted(Counted(torch.zeros(5), 1), 1), "got a Counted"),  # type: ignore[arg-type]
        ((torch.zeros(5, 4, 2), None), r"`state.count` .* shape \[5\], got a NoneType"),
        (3, r"must be Counted\(h, count\), got a int"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_state_that_cannot_be_is_refused(state: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        recurra.scan(Counting(3, 4), torch.randn(2, 5, 3), state)


def test_a_state_of_another_precision_is_the_users_affair() -> None:
    state = Counted(torch.zeros(5, 4, 2, dtype=torch.float64), torch.zeros(5).int())  # type: ignore[arg-type]
    assert Counting(3, 4).as_state(state, 5, like=torch.zeros(1)).h.dtype == torch.float64


def test_wrappers_refuse_a_state_as_the_cell_inside_does() -> None:
    for wrapped in (
        recurra.cells.Zoneout(recurra.LSTM(3, 4), 0.1),
        recurra.cells.RecurrentDropout(recurra.GRU(3, 4), 0.1),
    ):
        with pytest.raises(ShapeError, match=r"of `(LSTM|GRU)` must be .*, got Counted\(h, count\)"):
            recurra.scan(wrapped, torch.randn(2, 5, 3), Counted(torch.zeros(5, 4), torch.zeros(5, 4)))


def test_a_clone_keeps_the_arguments_but_for_the_changes_and_draws_new_weights() -> None:
    cell = Users(3, 4, scale=0.5, activation=nn.PReLU())
    clone = cell.clone(input_size=7)
    assert (clone.input_size, clone.hidden_size, clone.scale) == (7, 4, 0.5)
    assert clone.activation is not cell.activation
    assert not torch.equal(cell.clone().linear.weight, cell.linear.weight)


def test_a_clone_of_a_cell_with_free_arguments() -> None:
    class Free(Users):
        def __init__(self, *sizes: int, **options: Any) -> None:
            super().__init__(*sizes, **options)
            self.input_size, self.hidden_size = sizes
            self.output_size = sizes[1]

    clone = Free(3, 4, scale=2.0).clone(scale=3.0)
    assert (clone.input_size, clone.scale) == (3, 3.0)
    with pytest.raises(TypeError, match="colour"):
        Users(3, 4).clone(colour="red")


def test_a_deep_copy_remembers_its_arguments() -> None:
    assert copy.deepcopy(Users(3, 4, scale=0.5)).clone().scale == 0.5


def test_print_says_the_arguments() -> None:
    assert "input_size=3, hidden_size=4, scale=0.5" in repr(Users(3, 4, scale=0.5))


def test_a_cell_without_state_or_step_is_refused_with_a_sentence() -> None:
    class Stateless(recurra.Cell):
        pass

    class Stepless(recurra.Cell):
        State = State

    class Odd(recurra.Cell):
        State = dict

    class Empty(NamedTuple):
        pass

    class Fieldless(recurra.Cell):
        State = Empty

    with pytest.raises(TypeError, match=r"got `Empty` without a field"):
        Fieldless(3, 4)
    with pytest.raises(TypeError, match="`Stateless` needs a class attribute `State`"):
        Stateless(3, 4)
    with pytest.raises(TypeError, match=r"a NamedTuple of tensors \[B, \.\.\.\], got `dict`"):
        Odd(3, 4)
    with pytest.raises(NotImplementedError, match="`Stepless` has no `step"):
        recurra.scan(Stepless(3, 4), torch.randn(1, 1, 3))
    with pytest.raises(TypeError, match="argument"):
        Users(3)  # type: ignore[call-arg]


class Kept(recurra.Cell):
    """A cell that says its sizes, or not, and calls the constructor of the base class, or not."""

    State = State

    def __init__(self, call: bool, **sizes: int) -> None:
        if call:
            super().__init__()
        for name, size in sizes.items():
            setattr(self, name, size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return state.h, state


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (lambda: Kept(True), "`Kept` does not say its `{}_size`: take an argument of that name in `__init__`, or"),
        (lambda: Kept(True, input_size=3), "`Kept` does not say its `hidden_size`: take an argument of that name"),
        (lambda: Kept(False), r"`Kept` must call `super\(\).__init__\(\)` first in its `__init__`"),
        (lambda: Kept(False, input_size=3, hidden_size=4), r"`Kept` must call `super\(\).__init__\(\)` first"),
    ],
)
def test_a_cell_without_sizes_is_told_how_to_say_them(cell: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message.format("input")):
        recurra.scan(cell(), torch.randn(5, 2, 3))
    with pytest.raises(ConfigError, match=message.format("hidden")):
        recurra.Recurrent(cell())


def test_sizes_may_be_defaults() -> None:
    class Fixed(Users):
        def __init__(self, input_size: int = 3, hidden_size: int = 4) -> None:
            super().__init__(input_size, hidden_size)

    cell = Fixed(hidden_size=5)
    assert (cell.input_size, cell.hidden_size) == (3, 5)
    assert recurra.scan(cell.clone(), torch.zeros(2, 1, 3))[0].shape == (2, 1, 5)


def test_sizes_may_be_set_as_attributes() -> None:
    cell = Kept(True, input_size=3, hidden_size=4)
    assert (cell.output_size, cell.input_shape, cell.output_shape) == (4, (3,), (4,))
    assert recurra.scan(cell, torch.randn(5, 2, 3))[0].shape == (5, 2, 4)
    cell.output_size = 2
    assert cell.output_shape == (2,)
    assert not hasattr(cell, "elsewhere")


@pytest.mark.parametrize("part", [nn.Linear(3, 4), nn.Parameter(torch.zeros(3))], ids=["module", "parameter"])
@pytest.mark.parametrize("name", ["kernel", "source", "train"])
def test_a_part_that_nobody_would_find_is_refused(name: str, part: Any) -> None:
    with pytest.raises(ConfigError, match=f"`Users` cannot have a part `{name}`: every cell has something else"):
        setattr(Users(3, 4), name, part)


def test_a_kernel_belongs_to_the_step_beside_it() -> None:
    class Other(recurra.GRU):
        def step(self, x: Tensor, state: Any, read: Any = None) -> tuple[Tensor, Any]:
            return x, state

    class Documented(recurra.GRU):
        pass

    assert kernel_of(Users(3, 4)) is None
    assert kernel_of(Other(3, 4)) is None
    assert kernel_of(Documented(3, 4)) is not None


def test_a_source_prints_as_bibtex() -> None:
    source = Source("key2020", "A and B", "Title", 2020, "Venue", url="https://example.org")
    assert source.bibtex() == (
        "@misc{key2020,\n  author = {A and B},\n  title = {Title},\n  year = {2020},\n  howpublished = {Venue},\n"
        "  url = {https://example.org},\n}"
    )
    assert "url" not in Source("key", "A", "T", 2020, "V").bibtex()
