"""What a scan knows from one before it holds as long as nothing has changed, and no longer."""

from __future__ import annotations

import copy
import gc
import pickle
import warnings
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.testing._internal.two_tensor import TwoTensor

import recurra
from recurra.cells import CELLS, GRU, LSTM, RNN, LearnedInitialState, make_cell
from recurra.cells.zoneout import Zoneout
from recurra.engine import compiled, reading
from recurra.engine.block import Block
from recurra.engine.ready import Ready
from recurra.engine.scan import engine_in_use
from recurra.errors import CompileError, ConfigError, ShapeError
from tests.tolerance import assert_close


class State(NamedTuple):
    h: Tensor


class Changeable(recurra.Cell):
    """A cell with something of each kind that a step may read."""

    State = State
    scale: Tensor

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        self.input = nn.Linear(input_size, hidden_size)
        self.hidden = nn.Linear(hidden_size, hidden_size)
        self.activation: nn.Module = nn.Tanh()
        self.leak = 1
        self.steps = [0.5, 2.0]
        self.later = nn.ModuleList()
        self.register_buffer("scale", torch.full((hidden_size,), 0.9))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        rows = self.activation(self.input(x) + self.hidden(state.h) * self.scale)
        factor = 1.0 if self.leak is True else 0.5 * self.leak
        for part in self.later:
            rows = part(rows)
        if hasattr(self, "gain"):
            rows = rows * self.gain
        h = state.h * 0.3 + factor * rows * self.steps[0]
        if self.training:
            h = h * self.steps[1]
        return h, State(h)


def ready_of(cell: recurra.Cell) -> list[Ready]:
    """What is known of the scans of a cell."""
    look = cell._identity.look
    notes = () if look is None else look.notes.values()
    return list({id(note): note for note in notes if isinstance(note, Ready)}.values())


def numbers(cell: recurra.Cell, x: Tensor, engine: str, state: Any = None, **options: Any) -> list[Tensor]:
    """Outputs, the last state, and the gradients of inputs and parameters."""
    leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y, after = recurra.scan(cell, leaf, state, engine=engine, **options)
    loss = y.square().sum() + sum((field * field.cos()).sum() for field in after)
    learned = [parameter for parameter in cell.parameters() if parameter.requires_grad]
    found = torch.autograd.grad(loss, [leaf, *learned], allow_unused=True)
    return [y, *after, *(each for each in found if each is not None)]


def warm(cell: recurra.Cell, x: Tensor, **options: Any) -> None:
    """Run a cell until its passes are known, with a backward pass and without."""
    for _ in range(4):
        numbers(cell, x, "compiled", **options)
        with torch.no_grad():
            recurra.scan(cell, x, engine="compiled", **options)


def assert_right(cell: recurra.Cell, x: Tensor, state: Any = None, **options: Any) -> None:
    """The compiled engine gives what the reference gives, with a backward pass and without."""
    expected = numbers(cell, x, "reference", state, **options)
    for _ in range(3):
        for got, want in zip(numbers(cell, x, "compiled", state, **options), expected, strict=True):
            assert_close(got, want)
        with torch.no_grad():
            y, after = recurra.scan(cell, x, state, engine="compiled", **options)
        for got, want in zip((y, *after), expected, strict=False):
            assert_close(got, want)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", sorted(CELLS))
def test_every_cell_again_and_again(name: str, batch_first: bool) -> None:
    options = {"size": (3, 3)} if name in ("convlstm", "convgru") else {}
    cell = make_cell(name, 4, 8, **options).double()
    shape = (7, 5, *cell.input_shape)
    x = torch.randn(shape).double()
    x = x.transpose(0, 1).contiguous().transpose(0, 1) if batch_first else x
    for reverse in (False, True):
        warm(cell, x, reverse=reverse)
        assert_right(cell, torch.randn_like(x, memory_format=torch.preserve_format), reverse=reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [[9, 4, 0, 7], [9]])
def test_ragged_batches_again_and_again(lengths: list[int], reverse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = LSTM(3, 5).double()

    def found(engine: str) -> list[Tensor]:
        torch.manual_seed(0)
        x = recurra.Ragged.from_list([torch.randn(length, 3).double() for length in lengths])
        x.values.requires_grad_()
        with torch.no_grad():
            free, _ = recurra.scan(cell, x, reverse=reverse, engine=engine)
        y, after = recurra.scan(cell, x, reverse=reverse, engine=engine)
        loss = y.values.square().sum() + after.c.sum()
        return [free.values, y.values, *after, *torch.autograd.grad(loss, [x.values, *cell.parameters()])]

    for _ in range(3):
        found("compiled")
    monkeypatch.setattr(compiled, "run", None)
    for got, want in zip(found("compiled"), found("reference"), strict=True):
        assert_close(got, want)


def test_it_is_known_after_a_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, x = LSTM(3, 5), torch.randn(9, 2, 3)
    warm(cell, x)
    assert len(ready_of(cell)) == 1
    monkeypatch.setattr(compiled, "run", None)
    y, after = recurra.scan(cell, x)
    assert_close(y, recurra.scan(cell, x, engine="reference")[0])
    block, _ = recurra.scan(cell, Block(x))
    assert isinstance(block, Block)
    y, _ = recurra.scan(cell, x, after)  # goes on where the last call ended
    assert_close(y, recurra.scan(cell, x, after, engine="reference")[0])


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_gradient_of_a_sum_stands_in_no_memory_of_its_own(
    batch: int, batch_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = Changeable(4, 6).double()
    x = torch.randn(batch, 8, 4).double().transpose(0, 1) if batch_first else torch.randn(8, batch, 4).double()

    def gradients(engine: str, weight: Tensor | None) -> list[Tensor]:
        y, after = recurra.scan(cell, x, engine=engine)
        loss = y.sum() + after.h.sum() if weight is None else (y * weight).sum()
        return list(torch.autograd.grad(loss, list(cell.parameters())))

    for _ in range(4):
        gradients("compiled", None)
    monkeypatch.setattr(compiled.Compiled, "backward", None)  # what is known serves the sum, and dense gradients
    for weight in (None, torch.randn_like(x[..., :1])):
        for got, want in zip(gradients("compiled", weight), gradients("reference", weight), strict=True):
            assert_close(got, want)


def _interchanged(cell: Changeable) -> None:
    cell.activation, cell.hidden = nn.Sequential(cell.hidden, nn.Tanh()), nn.Linear(6, 6).double()


def _transposed(cell: Changeable) -> None:
    cell.hidden.weight.data = cell.hidden.weight.data.t()  # the same memory, seen another way


def _one_in_two_places(cell: Changeable) -> None:
    cell.hidden = nn.Linear(6, 6).double()
    cell.later.append(cell.hidden)


class _Twice(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


CHANGES: dict[str, Callable[[Changeable], Any]] = {
    "a parameter is written into": lambda cell: cell.hidden.weight.data.mul_(0.5),
    "a parameter is another one": lambda cell: setattr(cell.hidden, "bias", nn.Parameter(torch.randn(6).double())),
    "the memory of a parameter is another one": lambda cell: setattr(
        cell.hidden.weight, "data", torch.randn(6, 6).double()
    ),
    "a parameter is transposed in place": _transposed,
    "a parameter is frozen": lambda cell: cell.hidden.weight.requires_grad_(False),
    "a parameter is gone": lambda cell: cell.input.register_parameter("bias", None),
    "a buffer is another one": lambda cell: setattr(cell, "scale", torch.full((6,), 0.1).double()),
    "a part without parameters is another one": lambda cell: setattr(cell, "activation", nn.Sigmoid()),
    "a part with parameters is another one": lambda cell: setattr(cell, "hidden", nn.Linear(6, 6).double()),
    "parts are interchanged": _interchanged,
    "a part is of another class": lambda cell: setattr(cell.activation, "__class__", nn.Sigmoid),
    "there is one more part": lambda cell: cell.later.append(nn.Linear(6, 6).double()),
    "there is one more buffer": lambda cell: cell.register_buffer("gain", torch.full((6,), 0.2).double()),
    "the first parameter of its own": lambda cell: setattr(cell, "gain", nn.Parameter(torch.rand(6).double())),
    "two parts become one": _one_in_two_places,
    "a number is another one": lambda cell: setattr(cell, "leak", 2),
    "a number is of another kind": lambda cell: setattr(cell, "leak", True),
    "a list holds something else": lambda cell: cell.steps.__setitem__(0, 0.25),
    "the mode is another one": lambda cell: cell.eval(),
    "a hook is added to a part": lambda cell: cell.activation.register_forward_hook(lambda _, x, y: y * 0.5),
    "a weight is made of another": lambda cell: parametrize.register_parametrization(cell.hidden, "weight", _Twice()),
    "the step is another one": lambda cell: setattr(cell, "step", lambda x, s: (x[:, :1] + s.h, State(x[:, :1] + s.h))),
    "the state begins otherwise": lambda cell: setattr(
        cell, "initial_state", lambda batch, *, dtype=None, device=None: State(torch.ones(batch, 6).double())
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_cell_is_seen(change: str) -> None:
    cell, x = Changeable(4, 6).double(), torch.randn(8, 3, 4).double()
    warm(cell, x)
    assert ready_of(cell)
    before = recurra.scan(cell, x)[0]
    CHANGES[change](cell)
    if "hook" in change:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is slow
            after = recurra.scan(cell, x, engine="auto")[0]
        assert_close(after, recurra.scan(cell, x, engine="reference")[0])
    else:
        after = recurra.scan(cell, x)[0]
        assert_right(cell, x)
    if change != "a parameter is frozen":
        assert (after - before).abs().max() > 1e-3


def test_the_precision_may_change() -> None:
    cell, x = GRU(4, 6), torch.randn(8, 3, 4)
    warm(cell, x)
    cell.double()
    assert_right(cell, x.double())
    with pytest.raises(recurra.RecurraError, match="float"):
        recurra.scan(cell, x, engine="compiled")


@pytest.mark.parametrize("kind", ["plain", "expanded", "transposed", "with gradient"])
def test_a_state_of_any_kind_is_taken(kind: str) -> None:
    cell, x = LSTM(4, 6).double(), torch.randn(8, 3, 4).double()
    warm(cell, x)
    fields = [torch.randn(3, 6).double() for _ in range(2)]
    if kind == "expanded":
        fields = [torch.randn(6).double().expand(3, 6) for _ in range(2)]
    if kind == "transposed":
        fields = [torch.randn(6, 3).double().t() for _ in range(2)]
    state = cell.State(*(field.requires_grad_(kind == "with gradient") for field in fields))
    assert_right(cell, x, state)
    if kind == "with gradient":
        got, want = (
            torch.autograd.grad(recurra.scan(cell, x, state, engine=engine)[0].sum(), list(state))
            for engine in ("compiled", "reference")
        )
        for one, other in zip(got, want, strict=True):
            assert_close(one, other)


def test_what_does_not_fit_is_named_as_before() -> None:
    cell, x = LSTM(4, 6), torch.randn(8, 3, 4)
    warm(cell, x)
    h = torch.zeros(3, 6)
    with pytest.raises(ShapeError, match=r"state\.h"):
        recurra.scan(cell, x, cell.State(h[:2], h))
    with pytest.raises(ShapeError, match="LSTMState"):
        recurra.scan(cell, x, (h,))
    with pytest.raises(ConfigError, match="Unknown engine"):
        recurra.scan(cell, x, engine="compield")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nested tensors are new
        nested = torch.nested.nested_tensor([x[0]])
    with pytest.raises(ShapeError, match="nested"):
        recurra.scan(cell, nested)
    with pytest.raises(ShapeError, match="must be a Ragged"):
        recurra.scan(cell, x.to_sparse()[..., 0])
    assert_close(recurra.scan(cell, x, (h, h))[0], recurra.scan(cell, x)[0])  # a plain tuple is a state


def test_a_state_that_is_learned_gets_its_gradient() -> None:
    cell, x = LearnedInitialState(RNN(4, 6)).double(), torch.randn(8, 3, 4).double()
    warm(cell, x)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.uniform_(-1, 1)
    assert_right(cell, x)


def test_modes_of_torch_are_seen() -> None:
    cell, x = GRU(4, 6), torch.randn(8, 3, 4)
    with torch.inference_mode():
        for _ in range(4):
            recurra.scan(cell, x)
    assert_right(cell, x)  # zeros made in inference mode could not be kept for a backward pass
    warm(cell, x)
    with torch.inference_mode():
        y, _ = recurra.scan(cell, x)
    assert y.is_inference()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close, _ = recurra.scan(cell, x, engine="compiled")
    assert close.dtype is torch.float32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow
        per_sample = torch.func.vmap(lambda one: recurra.scan(cell, one[:, None])[0])(x.transpose(0, 1))
    assert_close(per_sample[:, :, 0].transpose(0, 1), y.clone())
    seen = []

    def watch(cell: Any, x: Any, state: Any) -> Any:
        seen.append(cell)
        return recurra.engine.reference.run(cell, x, state)

    with engine_in_use(watch):
        recurra.scan(cell, x)
    assert seen == [cell]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_may_change(threads: int) -> None:
    cell, x = GRU(4, 6).double(), torch.randn(8, 3, 4).double()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - threads)
        warm(cell, x)
        torch.set_num_threads(threads)
        assert_right(cell, x)
    finally:
        torch.set_num_threads(before)


class ByThreads:
    """A ready kernel that is the faster way where there are several threads."""

    runs = 0

    def supports(self, values: Tensor) -> bool:
        return True

    def is_fast(self, x: Any) -> bool:
        return torch.get_num_threads() > 1

    def run(self, x: Any, state: Any) -> Any:
        self.runs += 1
        return recurra.engine.reference.run(Changeable(4, 6), x, state)


def test_the_choice_of_an_engine_is_made_for_each_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = ByThreads()
    monkeypatch.setattr(Changeable, "kernel", lambda self: kernel)
    cell, x, before = Changeable(4, 6), torch.randn(8, 3, 4), torch.get_num_threads()
    try:
        for threads, runs in ((1, 0), (2, 3), (1, 3), (2, 6)):
            torch.set_num_threads(threads)
            for _ in range(3):
                recurra.scan(cell, x)
            assert kernel.runs == runs
    finally:
        torch.set_num_threads(before)


def test_hooks_on_what_is_saved_may_hand_back_other_strides() -> None:
    cell = LSTM(4, 6).double()
    x = torch.randn(3, 8, 4).double().transpose(0, 1)
    warm(cell, x)
    want = numbers(cell, x, "reference")
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor.clone().contiguous()):
        got = numbers(cell, x, "compiled")
    for one, other in zip(got, want, strict=True):
        assert_close(one, other)


def test_outputs_changed_in_place_are_noticed() -> None:
    cell, x = RNN(4, 6), torch.randn(8, 3, 4, requires_grad=True)
    warm(cell, x)
    y, _ = recurra.scan(cell, x)
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_gradient_of_the_gradient() -> None:
    cell, x = RNN(4, 6).double(), torch.randn(8, 3, 4).double()
    warm(cell, x)

    def twice(engine: str) -> Tensor:
        leaf = x.clone().requires_grad_()
        (once,) = torch.autograd.grad(
            recurra.scan(cell, leaf, engine=engine)[0].square().sum(), leaf, create_graph=True
        )
        return torch.autograd.grad(once.square().sum(), leaf)[0]

    assert_close(twice("compiled"), twice("reference"))


def test_draws_are_new_every_time() -> None:
    cell, x = Zoneout(RNN(4, 6), {"h": 0.5}), torch.randn(8, 3, 4)
    warm(cell, x)
    assert not torch.equal(recurra.scan(cell, x)[0], recurra.scan(cell, x)[0])


def test_it_is_not_copied_and_keeps_nothing_alive() -> None:
    cell, x = LSTM(4, 6), torch.randn(8, 3, 4)
    warm(cell, x)
    for twin in (copy.deepcopy(cell), copy.copy(cell), pickle.loads(pickle.dumps(cell))):
        assert twin._identity.look is None
        assert_right(twin, x)
    gone = weakref.ref(cell)
    weight = weakref.ref(cell.weight_hh)
    gc.disable()
    try:
        del cell, twin
        assert gone() is None, "a cell is freed at once, as any module"
        assert weight() is None
    finally:
        gc.enable()


def test_weights_that_are_replaced_are_let_go() -> None:
    cell, x = LSTM(4, 6), torch.randn(8, 3, 4)
    warm(cell, x)
    old = weakref.ref(cell.weight_hh)
    cell.load_state_dict({name: value.clone() for name, value in cell.state_dict().items()}, assign=True)
    assert old() is None
    before = len(ready_of(cell))
    assert_right(cell, x)
    assert len(ready_of(cell)) == before, "what is known holds for weights that are alike"


def test_tied_weights_are_told_from_equal_ones() -> None:
    class Tied(Changeable):
        def __init__(self, input_size: int, hidden_size: int):
            super().__init__(input_size, hidden_size)
            self.input = nn.Linear(hidden_size, hidden_size)

    cell, x = Tied(6, 6).double(), torch.randn(8, 3, 6).double()
    warm(cell, x)
    cell.input.weight = cell.hidden.weight
    assert_right(cell, x)
    warm(cell, x)
    cell.input.weight = nn.Parameter(torch.randn(6, 6).double())
    assert_right(cell, x)


@pytest.mark.parametrize("kind", ["two tensors", "sparse"])
def test_a_tensor_without_memory_is_left_to_torch(kind: str) -> None:
    cell, x, h = Changeable(4, 6), torch.randn(8, 3, 4), torch.randn(3, 6)
    warm(cell, x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow

        def odd(tensor: Tensor) -> Tensor:
            return tensor.to_sparse() if kind == "sparse" else TwoTensor(tensor, tensor.clone())

        want, _ = recurra.scan(cell, x, State(h), engine="reference")
        for _ in range(2):
            if kind != "sparse":  # of which this step takes no state
                assert_close(plain(recurra.scan(cell, x, State(odd(h)))[0]), want)
            assert_close(plain(recurra.scan(cell, odd(x), State(h))[0]), want)
        weight = cell.hidden.weight.detach()
        cell.hidden.weight = nn.Parameter(weight.to_sparse_csr() if kind == "sparse" else odd(weight))
        assert_close(plain(recurra.scan(cell, x, State(h))[0]), want)
    with pytest.raises(CompileError, match=r"`hidden\.weight` is sparse, or a tensor of a kind of its own"):
        recurra.scan(cell, x, engine="compiled")


def test_tensors_in_the_place_of_parameters_compile_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, x = Changeable(4, 6), torch.randn(8, 3, 4)
    warm(cell, x)
    look = cell._identity.look
    monkeypatch.setattr(compiled, "_try", None)
    weights = {name: torch.randn_like(weight) for name, weight in cell.named_parameters()}
    module = Scanned(cell)
    got = torch.func.functional_call(module, {f"cell.{name}": weight for name, weight in weights.items()}, (x,))
    assert cell._identity.look is look
    cell.load_state_dict(weights, strict=False)
    assert_close(got, recurra.scan(cell, x, engine="reference")[0])


class Scanned(nn.Module):
    def __init__(self, cell: recurra.Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        return recurra.scan(self.cell, x, engine="compiled")[0]


def plain(tensor: Tensor) -> Tensor:
    return tensor.a if isinstance(tensor, TwoTensor) else tensor


def test_a_number_of_any_kind_may_be_set_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, x = Changeable(4, 6), torch.randn(8, 3, 4)
    tries = []
    monkeypatch.setattr(compiled, "_try", lambda *args: tries.append(args) or compiled.Compiled(*args))
    for part in (0.0, 0.0, 1.0, 1.0):
        cell.phase, cell.name = complex(1.0, part), str(part).encode()
        recurra.scan(cell, x)
    assert len(tries) == 2


def test_a_buffer_that_comes_to_need_a_gradient_is_seen() -> None:
    cell, x = Changeable(4, 6), torch.randn(8, 3, 4)
    warm(cell, x)
    cell.scale.requires_grad_()
    with pytest.raises(CompileError, match="a buffer of the cell needs a gradient"):
        recurra.scan(cell, x, engine="compiled")


def test_a_cell_may_say_what_its_state_is() -> None:
    class Own(Changeable):
        def as_state(self, state: Any, batch_size: int, *, like: Tensor) -> Any:
            state = super().as_state(state, batch_size, like=like)
            return State(state.h + 1)

    cell, x = Own(4, 6).double(), torch.randn(8, 3, 4).double()
    warm(cell, x)
    assert_right(cell, x)
    assert_right(cell, x, State(torch.randn(3, 6).double()))


def test_an_initial_state_that_is_changed_for_the_whole_class_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, x = Changeable(4, 6).double(), torch.randn(8, 3, 4).double()
    warm(cell, x)
    monkeypatch.setattr(
        Changeable,
        "initial_state",
        lambda self, batch, *, dtype=None, device=None: State(torch.ones(batch, 6).double()),
    )
    assert_right(cell, x)


@pytest.mark.parametrize("kind", ["sparse", "compressed", "scripted"])
def test_odd_parts_are_no_obstacle_to_a_look(kind: str) -> None:
    cell, x = Changeable(4, 6), torch.randn(8, 3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some of these are new, or old
        if kind == "scripted":
            cell.input = torch.jit.script(cell.input)
        else:
            eye = torch.eye(6)
            cell.register_buffer("other", eye.to_sparse() if kind == "sparse" else eye.to_sparse_csr())
    for _ in range(4):
        assert_close(recurra.scan(cell, x)[0], recurra.scan(cell, x, engine="reference")[0])


def test_numbers_whose_sign_stands_apart() -> None:
    cell, x = Changeable(4, 6), torch.randn(8, 3, 4)
    state = State(torch.randn(3, 6))
    for _ in range(4):
        got, _ = recurra.scan(cell, torch._neg_view(x), State(torch._neg_view(state.h)))
        assert_close(got, recurra.scan(cell, -x, State(-state.h), engine="reference")[0])


def test_zeros_without_memory() -> None:
    cell = Changeable(4, 6)
    want, _ = recurra.scan(cell, torch.zeros(8, 3, 4))
    x, h = torch._efficientzerotensor((8, 3, 4)), torch._efficientzerotensor((3, 6))
    for _ in range(4):
        assert_close(recurra.scan(cell, x, State(h))[0], want)


@pytest.mark.parametrize("options", [{}, {"checkpoint_every": 3}, {"lengths": [8, 8, 5]}], ids=str)
@pytest.mark.parametrize("kind", ["sign apart", "no memory"])
def test_gradients_that_do_not_stand_in_memory(kind: str, options: dict[str, Any]) -> None:
    cell, x = Changeable(4, 6).double(), torch.randn(8, 3, 4).double().requires_grad_()

    def gradient(engine: str, **options: Any) -> Tensor:
        y, _ = recurra.scan(cell, x, engine=engine, **options)
        if kind == "no memory":  # such is the gradient of this
            return torch.autograd.grad(torch.sgn(y).sum(), x)[0]
        return torch.autograd.grad(y, x, torch._neg_view(torch.ones_like(y)))[0]

    lengths = {"lengths": options["lengths"]} if "lengths" in options else {}
    for _ in range(4):
        assert_close(gradient("compiled", **options), gradient("reference", **lengths))


def test_weights_whose_sign_stands_apart() -> None:
    cell, x = Changeable(4, 6), torch.randn(8, 3, 4)
    for _ in range(3):
        recurra.scan(cell, x)
    cell.input.weight.data = torch._neg_view(cell.input.weight.detach().clone())
    for _ in range(3):
        assert_close(recurra.scan(cell, x)[0], recurra.scan(cell, x, engine="reference")[0])


def test_under_another_default_device_memory_is_still_on_the_processor() -> None:
    cell, x = Changeable(4, 6), torch.randn(8, 3, 4)
    want, _ = recurra.scan(cell, x, engine="reference")
    with torch.device("meta"):
        for _ in range(4):
            assert_close(recurra.scan(cell, x)[0], want)


def test_a_cell_that_moves_to_another_device_is_seen() -> None:
    cell, x = Changeable(4, 6), torch.randn(8, 3, 4)
    warm(cell, x)
    cell.to("meta")
    with pytest.raises(CompileError, match="it runs on the CPU, the cell is on meta"):
        recurra.scan(cell, x, engine="compiled")
    for engine in ("auto", "reference"):
        with pytest.raises(ShapeError, match=r"must be on meta .* got cpu: hand in `x\.to\('meta'\)`, or turn"):
            recurra.scan(cell, x, engine=engine)


class Lazy(Changeable):
    """A part whose size is that of its first input."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.input: nn.Module = nn.LazyLinear(hidden_size)


def test_a_part_may_find_its_size_at_the_first_step() -> None:
    cell, x = Lazy(4, 6), torch.randn(8, 3, 4)
    with pytest.raises(CompileError, match="no shape before the first step"):
        recurra.scan(cell, x, engine="compiled")
    with pytest.warns(UserWarning, match="no shape before the first step"):
        want, _ = recurra.scan(cell, x)
    for _ in range(3):
        assert_close(recurra.scan(cell, x, engine="compiled")[0], want)


def test_a_cell_may_be_compiled_under_another_default_device() -> None:
    network, x = recurra.Recurrent(LSTM(4, 6, layer_norm=True)), torch.randn(8, 3, 4)
    want, _ = recurra.Recurrent(network.cells, engine="reference")(x, lengths=[8, 8, 8])
    with torch.device("meta"):
        outputs, _ = network(x)
        outputs.sum().backward()
        assert_close(network(x, lengths=[8, 8, 8])[0], want)
        stream = network.stream(3)
        stream.reset(rows=[1])
        assert_close(stream.push(x), want)
    assert_close(outputs, want)


@pytest.mark.parametrize("every", [None, 3])
def test_many_gradients_at_once_are_refused_with_a_way(every: int | None) -> None:
    cell, x = Changeable(4, 6), torch.randn(8, 3, 4, requires_grad=True)
    y, _ = recurra.scan(cell, x, checkpoint_every=every)
    with pytest.raises(CompileError, match="one gradient at a time"):
        torch.autograd.grad(y, x, torch.randn(2, *y.shape), is_grads_batched=True)


class Twice(Changeable):
    """One part under two names."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size)
        self.again = self.hidden

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = torch.tanh(self.input(x) + self.hidden(state.h) - 0.5 * self.again(state.h.tanh()))
        return h, State(h)


def test_a_part_under_two_names_is_seen_under_both() -> None:
    cell, x = Twice(4, 6).double(), torch.randn(7, 3, 4).double()
    for _ in range(3):
        assert_right(cell, x)
    cell.again = nn.Linear(6, 6).double()
    assert_right(cell, x)


def test_torchs_default_type_is_seen() -> None:
    class Thirds(Changeable):
        def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
            h = torch.tanh(self.input(x) + self.hidden(state.h)) + torch.full((6,), 1 / 3)
            return h, State(h)

    cell, x = Thirds(4, 6).double(), torch.randn(7, 3, 4).double()
    for _ in range(3):
        assert_right(cell, x)
    try:
        torch.set_default_dtype(torch.float64)
        assert_right(cell, x)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_right(cell, x)


@pytest.mark.filterwarnings("ignore:The compiled engine cannot run `Changeable` here. a hook on all modules")
def test_hooks_on_all_modules_are_called_and_forgotten() -> None:
    met, other, x = Changeable(4, 6).double(), Changeable(4, 6).double(), torch.randn(7, 3, 4).double()
    for _ in range(3):
        assert_right(met, x)
    hook = nn.modules.module.register_module_forward_hook(lambda part, _, y: 2 * y if type(part) is nn.Linear else None)
    try:
        with pytest.raises(CompileError, match="a hook on all modules is to be called at every step"):
            recurra.scan(met, x, engine="compiled")
        for cell in (met, other):
            got, want = (recurra.scan(cell, x, engine=engine)[0] for engine in ("auto", "reference"))
            assert_close(got, want)
    finally:
        hook.remove()
    for cell in (met, other):
        assert_right(cell, x)


def test_many_shapes_are_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MOST", 64)
    cell = RNN(4, 6)
    for length in range(2, 90):
        recurra.scan(cell, torch.randn(length, 1, 4))
    assert len(ready_of(cell)) <= 64
    assert len({id(ready._begin[0]) for ready in ready_of(cell)}) == 1, "one state of zeros is enough"
    assert_right(cell.double(), torch.randn(5, 1, 4).double())


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"num_layers": 2}, {"bidirectional": True}], ids=str)
def test_a_drop_in_again_and_again(kind: str, options: dict[str, Any]) -> None:
    ours, theirs = getattr(recurra.nn, kind)(4, 6, **options), getattr(nn, kind)(4, 6, **options)
    for turn in range(6):
        if turn == 4:  # other weights in the same places
            theirs = getattr(nn, kind)(4, 6, **options)
        ours.load_state_dict(theirs.state_dict(), assign=turn == 4)
        x = torch.randn(20, 3, 4)
        for module in (ours, theirs):
            module.zero_grad()
        pairs = [(module(leaf), leaf) for module in (ours, theirs) for leaf in (x.clone().requires_grad_(),)]
        (got, one), (want, other) = pairs
        for outputs, state in (got, want):
            (outputs.square().sum() + sum(field.sum() for field in state)).backward()
        assert_close(got[0], want[0])
        for mine, its in zip(got[1], want[1], strict=True):
            assert_close(mine, its)
        assert one.grad is not None
        assert_close(one.grad, other.grad)
        for (name, mine), its in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            assert mine.grad is not None, name
            assert_close(mine.grad, its.grad)
        alone = torch.randn(20, 4)
        with torch.no_grad():
            assert_close(ours(alone)[0], theirs(alone)[0])
