"""`torch.compile` around scans: one call forward and one back, with the numbers of eager mode."""

from __future__ import annotations

import copy
import functools
import gc
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from functorch.compile import make_boxed_func
from torch import Tensor, fx, nn
from torch._dynamo.backends.common import aot_autograd
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

import recurra
from recurra import GRU, LSTM, RNN, Cell, CompileError, Recurrent
from recurra.cells.registry import CELLS, make_cell
from recurra.engine import operators, state_class
from recurra.engine.identity import Identity
from tests.tolerance import assert_close

OPTIONS: dict[str, dict[str, Any]] = {"convgru": {"size": (4, 4)}, "convlstm": {"size": (4, 4)}}


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def gradients(function: Callable[..., Any], tensors: list[Tensor], *, seed: int = 0) -> list[Tensor]:
    """All results of a function, and the gradients of a sum of them with weights of its own for each number."""
    torch.manual_seed(seed)
    results = _flat(function())
    loss = sum(
        (each * torch.linspace(-1, 1, each.numel(), dtype=each.dtype).view(each.shape)).sum() for each in results
    )
    assert isinstance(loss, Tensor)
    found = torch.autograd.grad(loss, tensors, allow_unused=True)
    return [*results, *(torch.zeros_like(t) if g is None else g for t, g in zip(tensors, found, strict=True))]


def _flat(results: Any) -> list[Tensor]:
    return [results] if isinstance(results, Tensor) else [each for part in results for each in _flat(part)]


def assert_equal(got: list[Tensor], want: list[Tensor]) -> None:
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        assert torch.equal(one, other)


class Graphs:
    """A backend that runs graphs as they are, through AOTAutograd, and counts the scans in them."""

    def __init__(self) -> None:
        self.sizes: dict[str, list[int]] = {"forward": [], "backward": []}
        self.scans: dict[str, list[int]] = {"forward": [], "backward": []}

    def __call__(self, module: fx.GraphModule, examples: Any) -> Any:
        def counted(name: str) -> Any:
            def compiler(graph: fx.GraphModule, _: Any) -> Any:
                self.sizes[name].append(len(graph.graph.nodes))
                self.scans[name].append(sum("recurra" in str(node.target) for node in graph.graph.nodes))
                return make_boxed_func(graph.forward)

            return compiler

        return aot_autograd(fw_compiler=counted("forward"), bw_compiler=counted("backward"))(module, examples)


# --- one call --------------------------------------------------------------------------------------------------------


def test_a_scan_is_one_call_forward_and_one_back_whatever_the_number_of_steps() -> None:
    cell = GRU(3, 5)
    sizes = []
    for num_steps in (2, 7, 60):
        torch.compiler.reset()
        graphs = Graphs()
        x = torch.randn(num_steps, 4, 3, requires_grad=True)
        y, _ = torch.compile(lambda x: recurra.scan(cell, x), backend=graphs, fullgraph=True)(x)
        y.sum().backward()
        assert graphs.scans == {"forward": [1], "backward": [1]}
        sizes.append(graphs.sizes)
    assert sizes[0] == sizes[1] == sizes[2]


def test_a_step_of_training_runs_the_cell_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    cell = GRU(3, 5)
    code = operators.form_of(cell, torch.float32).code

    def noted(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*args: Any, **options: Any) -> Any:
            calls.append(name)
            return run(*args, **options)

        return noting

    for name in ("forward", "backward"):
        monkeypatch.setattr(code, name, noted(name, getattr(code, name)))
    x = torch.randn(7, 4, 3, requires_grad=True)
    torch.compile(lambda: recurra.scan(cell, x)[0], backend="aot_eager", fullgraph=True)().sum().backward()
    assert calls == ["forward", "backward"]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", sorted(CELLS))
def test_every_cell_gives_the_numbers_of_eager_mode_exactly(name: str, reverse: bool) -> None:
    cell = make_cell(name, 5, 8, **OPTIONS.get(name, {})).double()
    x = torch.randn(*((3, 7) if reverse else (7, 3)), *cell.input_shape).double().requires_grad_()
    begin = cell.initial_state(3, dtype=torch.float64)
    state = type(begin)(*(torch.randn_like(field).mul(0.3).requires_grad_() for field in begin))

    def scan(engine: str) -> Any:
        steps = x.transpose(0, 1) if reverse else x  # batch-major where it runs back
        return recurra.scan(cell, steps, state, reverse=reverse, engine=engine)

    graphs = Graphs()
    compiled = torch.compile(scan, backend=graphs, fullgraph=True)
    wanted = [x, *state, *(each for each in cell.parameters() if each.requires_grad)]
    got = gradients(lambda: compiled("compiled"), wanted)
    assert_equal(got, gradients(lambda: scan("compiled"), wanted))
    assert graphs.scans == {"forward": [1], "backward": [1]}
    for one, other in zip(got, gradients(lambda: scan("reference"), wanted), strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("name", ["dnc", "gru", "qrnn"])
def test_a_cell_whose_kind_of_state_nobody_has_asked_for_can_be_compiled(
    name: str, copied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_class, "_known", {})
    network: Any = Recurrent(make_cell(name, 5, 8), recurrent_dropout=0.2 if name == "gru" else 0.0)
    if copied:
        monkeypatch.setattr(state_class, "_known", {})
        network = pickle.loads(pickle.dumps(network))
    x = torch.randn(7, 3, 5)
    _, (after,) = torch.compile(network, backend="aot_eager", fullgraph=True)(x)
    assert isinstance(after, network.cells[0].State)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_gives_the_numbers_of_eager_mode_exactly(dtype: torch.dtype, backend: str) -> None:
    network = Recurrent(
        LSTM(5, 6), num_layers=2, bidirectional=True, dropout=0.3, layer_norm=True, learned_initial_state=True
    ).to(dtype)
    x = torch.randn(9, 4, 5, dtype=dtype, requires_grad=True)
    wanted = [x, *network.parameters()]
    compiled = torch.compile(network, backend=backend, fullgraph=True)
    want = gradients(lambda: network(x), wanted, seed=3)
    assert_equal(gradients(lambda: compiled(x), wanted, seed=3), want)
    states = tuple(type(each)(*(field.detach() for field in each)) for each in network(x)[1])
    want = gradients(lambda: network(x, states), wanted, seed=4)
    assert_equal(gradients(lambda: compiled(x, states), wanted, seed=4), want)


def test_inputs_that_change_their_sizes_are_run_right() -> None:
    cell = GRU(3, 5).double()
    compiled = torch.compile(lambda x: recurra.scan(cell, x), backend="aot_eager", fullgraph=True)
    for num_steps, batch_size in [(7, 4), (9, 4), (7, 5), (12, 6), (1, 3), (5, 1), (6, 0)]:
        x = torch.randn(num_steps, batch_size, 3).double().requires_grad_()
        wanted = [x, *cell.parameters()]
        want = gradients(functools.partial(recurra.scan, cell, x), wanted)
        for one, other in zip(gradients(functools.partial(compiled, x), wanted), want, strict=True):
            assert_close(one, other)


def test_sizes_that_are_marked_dynamic_are_symbols_of_one_graph() -> None:
    cell = GRU(3, 5)
    graphs = Graphs()
    compiled = torch.compile(lambda x: recurra.scan(cell, x), backend=graphs, fullgraph=True)
    for num_steps, batch_size in [(7, 4), (9, 4), (70, 5)]:
        x = torch.randn(num_steps, batch_size, 3).requires_grad_()
        torch._dynamo.mark_dynamic(x, 0)
        torch._dynamo.mark_dynamic(x, 1)
        wanted = [x, *cell.parameters()]
        want = gradients(functools.partial(recurra.scan, cell, x, engine="compiled"), wanted)
        assert_equal(gradients(functools.partial(compiled, x), wanted), want)
    assert graphs.scans == {"forward": [1], "backward": [1]}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_nothing_is_kept(mode: Any) -> None:
    cell = GRU(3, 5)
    graphs = Graphs()
    compiled = torch.compile(lambda x: recurra.scan(cell, x), backend=graphs, fullgraph=True)
    x = torch.randn(7, 4, 3)
    with mode():
        (y, state), (want, after) = compiled(x), recurra.scan(cell, x, engine="compiled")
    assert torch.equal(y, want)
    assert torch.equal(state.h, after.h)
    assert graphs.scans == {"forward": [1], "backward": []}
    assert not any(tensor.requires_grad for tensor in (y, state.h))


def test_under_autocast_factors_are_rounded_as_in_eager_mode() -> None:
    cell, x = GRU(16, 32), torch.randn(9, 4, 16)
    compiled = torch.compile(lambda: recurra.scan(cell, x), backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        want = recurra.scan(cell, x, engine="compiled")[0]
        assert torch.equal(compiled()[0], want)
    assert torch.equal(compiled()[0], recurra.scan(cell, x, engine="compiled")[0])


@pytest.mark.parametrize("name", sorted(CELLS))
def test_what_torch_is_told_of_an_operator_is_so(name: str) -> None:
    cell = make_cell(name, 5, 8, **OPTIONS.get(name, {}))
    form = operators.form_of(cell, torch.float32)
    named = {**dict(cell.named_parameters()), **dict(cell.named_buffers())}
    state = cell.initial_state(3)
    tensors = [*(named[name] for name in form.code.constants), torch.randn(4, 3, *cell.input_shape), *state]
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.recurra.scan.default, (tensors, form.name, False, False, True), test_utils=tests)


# --- whose call ------------------------------------------------------------------------------------------------------


def test_two_cells_of_one_class_in_one_function_are_told_apart() -> None:
    cells = [RNN(3, 5, activation="tanh"), RNN(3, 5, activation="relu")]
    cells[1].load_state_dict(cells[0].state_dict())
    x = torch.randn(7, 4, 3)
    both = torch.compile(lambda: [recurra.scan(cell, x)[0] for cell in cells], backend="aot_eager", fullgraph=True)
    for got, cell in zip(both(), cells, strict=True):
        assert torch.equal(got, recurra.scan(cell, x, engine="compiled")[0])


def test_one_function_of_two_cells_of_one_class_tells_them_apart() -> None:
    x = torch.randn(7, 4, 3)
    scan = torch.compile(lambda cell: recurra.scan(cell, x)[0], backend="aot_eager", fullgraph=True)
    for activation in ("tanh", "relu", "tanh"):
        cell = RNN(3, 5, activation=activation)
        assert torch.equal(scan(cell), recurra.scan(cell, x, engine="compiled")[0])


class Scaled(Cell):
    """An RNN with attributes of many kinds."""

    class State(NamedTuple):
        h: Tensor

    def __init__(self, input_size: int, hidden_size: int, scale: Any = 1.0) -> None:
        super().__init__()
        self.input, self.hidden = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.scale = scale
        self.function: Any = torch.tanh
        self.scales = {"h": [1.0, 2.0]}
        self.inner = nn.Module()
        self.inner.power = 1

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.function(self.input(x) + self.scale * self.hidden(state.h)) * self.scales["h"][1]
        if self.training:
            h = h / 2
        return h**self.inner.power, self.State(h)


class Scale:
    value = 1.0

    def __rmul__(self, other: Tensor) -> Tensor:
        return other * self.value

    def __mul__(self, other: Tensor) -> Tensor:
        return other * self.value


def _set(name: str, value: Any) -> Callable[[Scaled], Any]:
    return lambda cell: setattr(cell, name, value)


@pytest.mark.parametrize(
    "change",
    [
        _set("scale", 0.5),
        _set("function", torch.sigmoid),
        _set("function", lambda x: x.clamp(-1, 1)),
        lambda cell: cell.scales["h"].__setitem__(1, 0.5),
        lambda cell: setattr(cell.inner, "power", 2),
        lambda cell: cell.eval(),
    ],
)
def test_a_changed_attribute_is_seen(change: Callable[[Scaled], Any]) -> None:
    cell, x = Scaled(3, 5), torch.randn(7, 4, 3)
    compiled = torch.compile(lambda: recurra.scan(cell, x, engine="compiled")[0], backend="aot_eager", fullgraph=True)
    before = compiled()
    change(cell)
    got = compiled()
    assert not torch.equal(got, before)
    assert torch.equal(got, recurra.scan(cell, x, engine="compiled")[0])


def test_a_number_that_changes_again_and_again_is_seen() -> None:
    cell, x = Scaled(3, 5), torch.randn(7, 4, 3)
    compiled = torch.compile(lambda: recurra.scan(cell, x, engine="compiled")[0], backend="aot_eager", fullgraph=True)
    for turn in range(4):
        cell.scale, cell.scales["h"][1] = 1.0 - 0.1 * turn, 2.0 + turn
        assert torch.equal(compiled(), recurra.scan(cell, x, engine="compiled")[0])


def test_a_change_that_no_guard_sees_is_an_error() -> None:
    cell, x = Scaled(3, 5), torch.randn(7, 4, 3)
    compiled = torch.compile(lambda: recurra.scan(cell, x)[0], backend="aot_eager", fullgraph=True)
    compiled()
    cell.scale = 1.0
    compiled()
    cell.input.register_forward_hook(lambda *_: None)
    with pytest.raises(CompileError, match=r"`Scaled` has changed in a way that `torch\.compile`"):
        compiled()


def test_weights_that_change_are_seen() -> None:
    cell, x = GRU(3, 5), torch.randn(7, 4, 3)
    compiled = torch.compile(lambda: recurra.scan(cell, x)[0], backend="aot_eager", fullgraph=True)
    optimizer = torch.optim.SGD(cell.parameters(), lr=1.0)
    for _ in range(3):
        got = compiled()
        assert torch.equal(got, recurra.scan(cell, x, engine="compiled")[0])
        optimizer.zero_grad()
        got.square().sum().backward()
        optimizer.step()
        with torch.no_grad():
            cell.weight_hh.mul_(0.5)
    cell.weight_ih = nn.Parameter(torch.zeros_like(cell.weight_ih))
    assert torch.equal(compiled(), recurra.scan(cell, x, engine="compiled")[0])


def test_parametrized_weights_have_gradients_of_what_they_are_made_of() -> None:
    cell, x = GRU(3, 5).double(), torch.randn(7, 4, 3).double()
    parametrizations.weight_norm(cell, "weight_hh")
    parametrizations.orthogonal(cell, "weight_ih")
    wanted = list(cell.parameters())
    compiled = torch.compile(lambda: recurra.scan(cell, x, engine="compiled"), backend="aot_eager", fullgraph=True)
    want = gradients(lambda: recurra.scan(cell, x, engine="compiled"), wanted)
    for got, other in zip(gradients(compiled, wanted), want, strict=True):
        assert_close(got, other)


def test_frozen_weights_get_no_gradient_and_the_others_do() -> None:
    cell, x = GRU(3, 5), torch.randn(7, 4, 3)
    cell.weight_hh.requires_grad_(False)
    torch.compile(lambda: recurra.scan(cell, x)[0], backend="aot_eager", fullgraph=True)().sum().backward()
    assert cell.weight_hh.grad is None
    assert cell.weight_ih.grad is not None


@pytest.mark.parametrize(
    ("how", "parametrized"),  # torch pickles no modules with parametrizations
    [*((how, False) for how in ("copy", "deepcopy", "pickle", "save", "clone")), ("deepcopy", True), ("clone", True)],
)
def test_a_copy_of_a_cell_is_somebody_else(how: str, parametrized: bool) -> None:
    cell, x = RNN(3, 5), torch.randn(7, 4, 3)
    if parametrized:
        parametrizations.weight_norm(cell, "weight_hh")
    scan = torch.compile(lambda cell: recurra.scan(cell, x)[0], backend="aot_eager", fullgraph=True)
    before = scan(cell)
    other = _copied(cell, how)
    assert other._identity.word != cell._identity.word
    other.activation = torch.relu
    assert torch.equal(scan(other), recurra.scan(other, x, engine="compiled")[0])
    assert torch.equal(scan(cell), before)


def _copied(cell: Cell, how: str) -> Any:
    if how == "save":
        file = io.BytesIO()
        torch.save(cell, file)
        file.seek(0)
        return torch.load(file, weights_only=False)
    made = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda one: pickle.loads(pickle.dumps(one))}
    return made[how](cell) if how in made else cell.clone()


def test_an_identity_is_no_part_of_what_a_cell_is() -> None:
    cell = GRU(3, 5)
    assert isinstance(vars(cell)["_identity"], Identity)
    assert cell.state_dict().keys() == dict(cell.named_parameters()).keys()
    assert "identity" not in repr(cell)
    alike = operators.read(cell).key == operators.read(copy.deepcopy(cell)).key
    assert alike


def test_a_backward_pass_runs_when_its_cell_is_gone() -> None:
    x = torch.randn(7, 4, 3, requires_grad=True)
    cell: Any = GRU(3, 5)
    want = torch.autograd.grad(recurra.scan(cell, x, engine="compiled")[0].sum(), x)[0]
    y = torch.compile(lambda cell: recurra.scan(cell, x)[0], backend="aot_eager", fullgraph=True)(cell)
    del cell
    gc.collect()
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], want)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_gradients_reach_a_scan_that_is_used_in_part(backend: str) -> None:
    cell, x = GRU(3, 5), torch.randn(7, 4, 3, requires_grad=True)
    for part in (lambda: recurra.scan(cell, x)[1], lambda: recurra.scan(cell, x)[0]):
        want = gradients(part, [x, *cell.parameters()])
        assert_equal(gradients(torch.compile(part, backend=backend, fullgraph=True), [x, *cell.parameters()]), want)


def test_gradients_of_gradients_are_right_where_the_backend_allows_them() -> None:
    cell, x = GRU(3, 5).double(), torch.randn(7, 4, 3).double().requires_grad_()

    def twice(scan: Callable[..., Any]) -> Tensor:
        (gradient,) = torch.autograd.grad(scan()[0].square().sum(), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), x)[0]

    compiled = torch.compile(lambda: recurra.scan(cell, x), backend="eager", fullgraph=True)
    assert_close(twice(compiled), twice(lambda: recurra.scan(cell, x, engine="reference")))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_checkpoint_around_a_scan_runs_it_again(backend: str) -> None:
    cell, x = GRU(3, 5), torch.randn(7, 4, 3, requires_grad=True)

    def run() -> Any:
        return checkpoint(lambda x: recurra.scan(cell, x)[0].sin(), x, use_reentrant=False)

    wanted = [x, *cell.parameters()]
    assert_equal(gradients(torch.compile(run, backend=backend), wanted), gradients(run, wanted))


# --- what draws, and what has no call --------------------------------------------------------------------------------


class Noisy(Cell):
    """Adds noise of its own at each step."""

    class State(NamedTuple):
        h: Tensor

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = 0.9 * state.h + x + torch.randn_like(x)
        return h, self.State(h)


def test_two_scans_that_draw_are_not_made_one() -> None:
    cell, x = Noisy(5, 5), torch.randn(7, 4, 5, requires_grad=True)

    def twice() -> list[Tensor]:
        return [recurra.scan(cell, x)[0] for _ in range(2)]

    compiled = torch.compile(twice, backend="aot_eager", fullgraph=True)
    torch.manual_seed(5)
    first, second = compiled()
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    assert_equal(compiled(), [first, second])
    torch.manual_seed(5)
    assert_equal([first, second], twice())


def test_dropout_of_a_state_follows_the_seed() -> None:
    network = Recurrent(GRU(5, 6), recurrent_dropout=0.4, zoneout=0.2, weight_drop=0.3)
    x = torch.randn(9, 4, 5, requires_grad=True)
    wanted = [x, *network.parameters()]
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    first = gradients(lambda: compiled(x), wanted, seed=1)
    assert_equal(gradients(lambda: compiled(x), wanted, seed=1), first)
    assert not torch.equal(gradients(lambda: compiled(x), wanted, seed=2)[0], first[0])
    network.eval()
    assert torch.equal(compiled(x)[0], network(x)[0])


class Highest(Cell):
    """The highest numbers so far along a state have no compiled form."""

    class State(NamedTuple):
        h: Tensor

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = (state.h + x).cummax(dim=-1).values
        return h, self.State(h)


def test_a_cell_without_a_compiled_form_is_unrolled_and_says_so() -> None:
    cell, x = Highest(5, 5), torch.randn(7, 4, 5, requires_grad=True)
    compiled = torch.compile(lambda: recurra.scan(cell, x), backend="aot_eager", fullgraph=True)
    want = gradients(lambda: recurra.scan(cell, x, engine="reference"), [x])
    with pytest.warns(UserWarning, match="`torch.compile` unrolls it over time") as said:
        assert_equal(gradients(compiled, [x]), want)
    assert said[0].filename == __file__


@pytest.mark.parametrize("fullgraph", [False, True])
def test_what_asks_for_the_compiled_engine_is_told_that_there_is_none(fullgraph: bool) -> None:
    cell, x = GRU(5, 6).bfloat16(), torch.randn(7, 4, 5).bfloat16()
    compiled = torch.compile(lambda: recurra.scan(cell, x, engine="compiled"), backend="eager", fullgraph=fullgraph)
    with pytest.raises((CompileError, torch._dynamo.exc.Unsupported), match="The compiled engine cannot run `GRU`"):
        compiled()


# torch's own look at the inputs of a graph
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("given", ["lengths", "resets", "ragged", "checkpoints"])
def test_what_is_looked_at_runs_in_eager_mode_between_two_graphs(given: str) -> None:
    network = Recurrent(GRU(3, 5), num_layers=2, checkpoint_every=3 if given == "checkpoints" else None)
    head = nn.Linear(5, 2)
    x = torch.randn(7, 4, 3, requires_grad=True)
    lengths = torch.tensor([7, 3, 0, 5])
    options: dict[str, Any] = {"lengths": {"lengths": lengths}, "resets": {"resets": torch.rand(7, 4) < 0.3}}

    def run(steps: Any) -> Tensor:
        y, _ = network(steps, **options.get(given, {}))
        return head(y.values if given == "ragged" else y)

    def steps() -> Any:
        return recurra.Ragged.from_padded(x, lengths) if given == "ragged" else 2 * x

    compiled = torch.compile(run, backend="aot_eager")
    wanted = [x, *network.parameters(), *head.parameters()]
    assert_equal(gradients(lambda: compiled(steps()), wanted), gradients(lambda: run(steps()), wanted))


@pytest.mark.filterwarnings("ignore:.*runs on the reference engine")
def test_an_exported_loop_takes_batches_of_any_size() -> None:
    network = Recurrent(LSTM(3, 5, layer_norm=True))
    sizes = ({1: torch.export.Dim("batch", min=2, max=64)},)
    program = torch.export.export(network, (torch.randn(3, 4, 3),), dynamic_shapes=sizes, strict=False)
    x = torch.randn(3, 7, 3)
    assert_close(program.module()(x)[0], network(x)[0])


def test_wrong_inputs_are_refused_in_the_same_words() -> None:
    cell = GRU(3, 5)
    with pytest.raises(recurra.ShapeError, match=r"`x` must be a Ragged or have shape \[T, B, I=3\]"):
        torch.compile(lambda x: recurra.scan(cell, x), backend="aot_eager")(torch.randn(7, 4, 2))


def test_who_looks_on_sees_the_scans_of_a_compiled_network() -> None:
    network, x = Recurrent(GRU(3, 5), num_layers=2), torch.randn(7, 4, 3)
    compiled = torch.compile(network, backend="aot_eager")
    compiled(x)
    with recurra.inspect.record(network) as passages:
        compiled(x)
    assert len(passages) == 2
    assert torch.equal(compiled(x)[0], network(x)[0])
