"""recurra.nn under `torch.compile`: in eager mode between two graphs, or as calls in one where torch allows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.utils.rnn import pack_sequence

import recurra
from recurra.nn import GRU, LSTM, RNN
from tests.nn.test_on_the_engine import is_compiled
from tests.tolerance import assert_close

# torch's own look at the inputs of a graph
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")

KINDS = [RNN, LSTM, GRU]


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


class Model(nn.Module):
    """Layers with a product before and behind."""

    def __init__(self, kind: Any, **options: Any) -> None:
        super().__init__()
        self.inputs, self.layers = nn.Linear(3, 4), kind(4, 5, **options)
        width = self.layers.hidden_size * (2 if self.layers.bidirectional else 1)
        self.head = nn.Linear(self.layers.proj_size or width, 2)

    def forward(self, x: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        y, after = self.layers(self.inputs(x), hx)
        return self.head(y), after


def results(model: nn.Module, called: Any, *args: Any) -> list[Tensor]:
    torch.manual_seed(0)
    y, after = called(*args)
    last = after if isinstance(after, tuple) else (after,)
    gradients = torch.autograd.grad(y.square().sum() + last[0].sum(), list(model.parameters()))
    return [y, *last, *gradients]


def calls_of(graphs: list[fx.GraphModule]) -> list[str]:
    return [str(node.target) for graph in graphs for node in graph.graph.nodes if "recurra" in str(node.target)]


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "dropout": 0.3, "batch_first": True}])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_steps", [5, 20, 40])
def test_where_torch_allows_it_each_direction_is_one_call_of_a_full_graph(
    kind: Any, options: dict[str, Any], num_steps: int
) -> None:
    model = Model(kind, **options).double()
    x = torch.randn(2, num_steps, 3).double()
    graphs: list[fx.GraphModule] = []

    def backend(graph: fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    want = results(model, model, x)
    with torch._dynamo.config.patch(allow_rnn=True):
        got = results(model, torch.compile(model, backend=backend, fullgraph=True), x)
    assert calls_of(graphs) == ["recurra.scan.default"] * (4 if options else 1)
    for one, other in zip(got, want, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("allow_rnn", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_state_that_is_given_is_where_the_layers_begin(kind: Any, allow_rnn: bool) -> None:
    model = Model(kind, num_layers=2).double()
    x, h = torch.randn(20, 2, 3).double(), torch.randn(2, 2, 5).double()
    hx = (h, torch.randn_like(h)) if kind is LSTM else h
    with torch._dynamo.config.patch(allow_rnn=allow_rnn):
        got = results(model, torch.compile(model, backend="aot_eager", fullgraph=allow_rnn), x, hx)
    for one, other in zip(got, results(model, model, x, hx), strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("kind", [RNN, GRU])
def test_between_two_graphs_the_layers_run_on_the_compiled_engine(kind: Any) -> None:
    model = Model(kind, num_layers=2, bidirectional=True)
    x = torch.randn(40, 2, 3)
    seen: list[Tensor] = []
    model.layers.register_forward_hook(lambda _, args, output: seen.append(output[0]))
    got = results(model, torch.compile(model, backend="aot_eager"), x)
    assert is_compiled(seen[0])
    for one, other in zip(got, results(model, model, x), strict=True):
        assert torch.equal(one, other)


def test_packed_and_ragged_inputs_run_between_two_graphs() -> None:
    layers = GRU(3, 5)
    compiled = torch.compile(layers, backend="aot_eager")
    steps = [torch.randn(length, 3) for length in (20, 9, 30)]
    for x in (pack_sequence(steps, enforce_sorted=False), recurra.Ragged.from_list(steps)):
        (got, h), (want, last) = compiled(x), layers(x)
        assert torch.equal(h, last)
        assert torch.equal(*((each.values if isinstance(each, recurra.Ragged) else each.data) for each in (got, want)))


def test_modules_of_one_class_and_other_options_have_calls_of_their_own() -> None:
    models = [
        RNN(3, 5, nonlinearity=nonlinearity, bias=bias) for nonlinearity in ("tanh", "relu") for bias in (True, False)
    ]
    x = torch.randn(20, 2, 3)
    with torch._dynamo.config.patch(allow_rnn=True):
        both = torch.compile(lambda x: [model(x)[0] for model in models], backend="aot_eager", fullgraph=True)
        found = both(x)
    for got, model in zip(found, models, strict=True):
        assert_close(got, model(x)[0])


def test_under_autocast_the_layers_are_torchs_own() -> None:
    layers, x = GRU(3, 5), torch.randn(20, 2, 3)
    graphs: list[fx.GraphModule] = []

    def backend(graph: fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    with torch.autocast("cpu", torch.bfloat16), torch._dynamo.config.patch(allow_rnn=True):
        got, _ = torch.compile(layers, backend=backend, fullgraph=True)(x)
        assert torch.equal(got, layers(x)[0])
    assert not calls_of(graphs)


@pytest.mark.filterwarnings("ignore:The tensor attributes:UserWarning")  # torch's own, of layers of its own, too
def test_an_exported_program_has_none_of_our_operators() -> None:
    model, x = Model(LSTM).eval(), torch.randn(20, 2, 3)
    for strict in (False, True):
        program = torch.export.export(model, (x,), strict=strict)
        assert not calls_of([program.graph_module])
        assert_close(program.module()(x)[0], model(x)[0])
