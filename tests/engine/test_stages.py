"""The stages between a step and its machine code, one by one."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from recurra import Cell
from recurra.cells import ESN, GRU, LSTM, RNN, Zoneout
from recurra.engine import trace as tracing
from recurra.engine.compiled import compiled
from recurra.engine.explain import STAGES, explain
from recurra.engine.loop import Program, Value, verify
from recurra.engine.lower import lower
from recurra.engine.movement import pieces
from recurra.engine.region import RegionCode
from recurra.engine.schedule import schedule
from recurra.engine.simplify import is_random, simplify
from recurra.engine.split import Plan, is_rows, split
from recurra.engine.trace import BATCH, batch_factor, trace
from recurra.errors import ConfigError
from tests.engine.engines import assert_engines_agree

aten = torch.ops.aten


class State(NamedTuple):
    h: Tensor


class MinGRU(Cell):
    """A linear recurrence: no product of the state."""

    State = State

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.z, self.n = nn.Linear(input_size, hidden_size), nn.Linear(input_size, hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        z = torch.sigmoid(self.z(x))
        h = (1 - z) * state.h + z * self.n(x)
        return h, State(h)


class Head(RNN):
    """An output that does not feed the state."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.head = nn.Linear(hidden_size, 7)
        self.output_size = 7

    def step(self, x: Tensor, state: Any) -> Any:
        h, state = super().step(x, state)
        return self.head(h), state


def planned(cell: Any) -> Plan:
    traced = trace(cell, torch.float32)
    simplify(traced.graph)
    return split(traced)


def targets(nodes: Any) -> list[Any]:
    return [node.target for node in nodes]


# --- trace -----------------------------------------------------------------------------------------------------------


def test_a_trace_names_what_goes_in_and_gives_what_the_contract_says() -> None:
    traced = trace(LSTM(3, 5).double(), torch.float64)
    assert traced.fields == ("h", "c")
    assert set(traced.learned) == {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}
    assert len(traced.inputs) == 4 + 1 + 2 + 1 + 2
    shapes = [tuple(node.meta["val"].shape) for node in traced.outputs]
    assert shapes == [(BATCH, 5)] * 3 + [(20, 3), (20, 5), (20,), (20,)] + [(BATCH, 3), (BATCH, 5), (BATCH, 5)]
    assert {node.meta["val"].dtype for node in traced.outputs} == {torch.float64}


def test_tracing_draws_nothing_from_the_stream_of_the_run() -> None:
    cell = Zoneout(LSTM(3, 5), 0.5)
    before = torch.get_rng_state()
    trace(cell, torch.float32)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("number", "factor"), [(BATCH, 1), (3 * BATCH, 3), (5, 0), (True, 0), (2**63 - 1, 0), (1.5, 0), (BATCH + 1, 0)]
)
def test_the_batch_size_is_told_from_other_numbers(number: Any, factor: int) -> None:
    assert batch_factor(number) == factor


# --- simplify --------------------------------------------------------------------------------------------------------


def test_identities_go_and_equal_calls_are_shared() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    x.meta["val"] = torch.zeros(4, 3)

    def call(target: Any, *args: Any) -> fx.Node:
        node = graph.call_function(target, args)
        node.meta["val"] = torch.zeros(4, 3)
        return node

    one = call(aten.mul.Tensor, call(aten.clone.default, x), 1.0)
    graph.output([call(aten.tanh.default, one), call(aten.tanh.default, x), call(aten.view.default, x, [4, 3])])
    simplify(graph)
    assert targets(node for node in graph.nodes if node.op == "call_function") == [aten.tanh.default]


def test_numbers_that_are_drawn_twice_are_not_shared() -> None:
    graph = fx.Graph()
    first, second = (graph.call_function(aten.rand.default, ([4, 3],)) for _ in range(2))
    for node in (first, second):
        node.meta["val"] = torch.zeros(4, 3)
    graph.output([first, second])
    simplify(graph)
    assert sum(is_random(node) for node in graph.nodes) == 2


def test_what_writes_in_place_is_written_out_of_place() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    fresh = graph.call_function(aten.neg.default, (x,))
    changed = graph.call_function(aten.mul_.Tensor, (fresh, x))
    for node in (x, fresh, changed):
        node.meta["val"] = torch.zeros(4, 3)
    graph.output([changed])
    simplify(graph)
    assert aten.mul.Tensor in targets(graph.nodes)


# --- split -----------------------------------------------------------------------------------------------------------


def test_products_of_the_input_and_of_the_gradient_stand_outside_of_the_loops() -> None:
    plan = planned(GRU(3, 5))
    assert targets(plan.before.nodes).count(aten.mm.default) == 1
    assert targets(plan.forward.nodes).count(aten.mm.default) == 1
    assert targets(plan.reverse.nodes).count(aten.mm.default) == 1
    assert targets(plan.after_reverse.nodes).count(aten.mm.default) == 3  # two weights and x


def test_an_output_that_feeds_no_state_is_computed_after_the_loop() -> None:
    plan = planned(Head(3, 5))
    assert aten.mm.default in targets(plan.after.nodes)
    assert aten.mm.default in targets(plan.before_reverse.nodes)


def test_a_linear_recurrence_has_no_product_in_its_loops() -> None:
    plan = planned(MinGRU(3, 5))
    assert aten.mm.default not in targets((*plan.forward.nodes, *plan.reverse.nodes))


def test_every_part_reads_what_was_computed_before_it() -> None:
    for cell in (GRU(3, 5), LSTM(3, 5, layer_norm=True), Head(3, 5), MinGRU(3, 5), Zoneout(LSTM(3, 5), 0.3)):
        plan = planned(cell)
        known = set(plan.trace.inputs)
        for part in (plan.prelude, plan.before, plan.forward, plan.after):
            assert known >= set(part.inputs)
            known |= set(getattr(part, "outputs", ())) | set(getattr(part, "saved", ()))
        assert known >= set(plan.kept)
        later = {*plan.trace.inputs, *plan.prelude.outputs, *plan.kept}
        for part in (plan.before_reverse, plan.reverse, plan.after_reverse, plan.postlude):
            assert later >= set(part.inputs)
            for gives in ("outputs", "saved", "totals"):
                later |= set(getattr(part, gives, ()))


# --- loop ------------------------------------------------------------------------------------------------------------


def test_a_program_can_be_read() -> None:
    text = str(lower(planned(RNN(3, 5)).forward))
    assert text.startswith("loop forward:")
    assert "real[5] = dot(" in text
    assert "real[5] = tanh(" in text
    assert "next v" in text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Value("add", (Value("const", (1.0,), 1),), 3), "used before"),
        (Value("unknown", (), 3), "no known operation"),
        (Value("neg", (), 3), "wrong number of operands"),
    ],
)
def test_an_illegal_program_is_found(value: Value, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        verify(Program("bad", [value]))


def test_places_are_read_off_in_the_longest_stretches() -> None:
    a, b = Value("array", (), 4), Value("array", (), 3)
    found = list(pieces([a, b], [1, 2, 3, 4, 5, 5, 5, 0]))
    assert found == [(a, 1, 3, False), (b, 0, 2, False), (b, 1, 2, True), (a, 0, 1, False)]


# --- schedule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [GRU(3, 5), LSTM(3, 5, layer_norm=True), Head(3, 5), MinGRU(3, 5)], ids=str)
def test_a_value_has_memory_before_it_is_read(cell: Any) -> None:
    plan = planned(cell)
    for loop in (plan.forward, plan.reverse):
        made = schedule(lower(loop))
        known = {value for value in made.place if value.op in ("array", "vector", "matrix", "carry")}
        for segment in made.segments:
            for dot in segment.dots:
                assert dot.args[0] in made.place
                known.add(dot)
            for group in segment.groups:
                inside = set(group.values)
                for value in group.values:
                    for arg in value.operands():
                        source = arg
                        while source.op == "slice":
                            source = source.args[0]
                        parts = source.args if source.op == "cat" else (source,)
                        assert all(p in known or p in inside or p.op == "const" for p in parts), str(value)
                known |= inside


def test_a_step_of_an_lstm_is_one_product_and_few_passes() -> None:
    made = schedule(lower(planned(LSTM(3, 5)).forward))
    assert sum(len(segment.dots) for segment in made.segments) == 1
    assert sum(len(segment.groups) for segment in made.segments) <= 3


class Unfolded(MinGRU):
    """A solver of four steps: the same two products in each."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.wide, self.narrow = nn.Linear(hidden_size, 24), nn.Linear(24, hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = state.h
        for _ in range(4):
            h = h + 0.1 * self.narrow(torch.tanh(self.wide(h) + self.z(x).mean(-1, keepdim=True)))
        return h, State(h)


def test_the_code_of_products_that_are_alike_is_written_once() -> None:
    text = explain(Unfolded(3, 8), "llvm")
    forward, reverse = text.split("define void", 2)[1:]
    for loop in (forward, reverse):
        calls = re.findall(r"call void @.?(dot_\w+)", loop)
        assert len(calls) == 8
        assert len(set(calls)) == 2


class OfTorch(MinGRU):
    """A cell of torch's inside of a step."""

    def __init__(self, kind: type[nn.RNNCellBase], **options: Any) -> None:
        super().__init__(3, 5)
        self.input_size, self.hidden_size, self.cell = 3, 5, kind(3, 5, **options)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        is_pair = isinstance(self.cell, nn.LSTMCell)
        found = self.cell(x, (state.h, state.h.tanh()) if is_pair else state.h)
        h, c = found if is_pair else (found, found)
        return c, State(h)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [(nn.RNNCell, {}), (nn.RNNCell, {"nonlinearity": "relu"}), (nn.GRUCell, {}), (nn.LSTMCell, {})],
    ids=["rnn", "relu", "gru", "lstm"],
)
def test_cells_of_torch_in_a_step_are_traced_once(
    kind: type[nn.RNNCellBase], options: Any, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(tracing, "make_fx", lambda *args, **how: made.append(args) or make_fx(*args, **how))
    cell = OfTorch(kind, bias=bias, **options).double()
    assert_engines_agree(cell, [4, 0, 2])
    assert len(made) == 1


# --- region ----------------------------------------------------------------------------------------------------------


def test_a_region_computes_what_the_graph_says() -> None:
    cell = LSTM(3, 5, layer_norm=True)
    plan = planned(cell)
    constants = [dict(cell.named_parameters())[name].detach() for name in plan.trace.constants]
    x = torch.randn(11, 3)
    values = dict(zip(plan.trace.inputs, [*constants, x], strict=False))
    RegionCode(plan.prelude, torch.float32).run(values, 11)
    RegionCode(plan.before, torch.float32).run(values, 11)
    assert all(len(values[node]) == 11 for node in plan.before.outputs if is_rows(node))
    assert all(values[node].isfinite().all() for node in plan.before.outputs)


# --- explain ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_can_be_shown(stage: str) -> None:
    assert len(explain(GRU(3, 5), stage).splitlines()) >= 4


def test_the_summary_says_what_a_step_costs() -> None:
    text = explain(LSTM(16, 32))
    assert "inside the forward loop: products: 32 x 128" in text
    assert f"{2 * 32 * 128:,} flops" in text
    assert "kept for the backward pass" in text


@pytest.mark.parametrize("dtype", ["float32", torch.int32])
def test_a_type_that_cannot_be_explained_is_refused(dtype: Any) -> None:
    with pytest.raises(ConfigError, match=r"`dtype` must be torch\.float32 or torch\.float64, got"):
        explain(GRU(3, 5), dtype=dtype)


def test_a_cell_of_fixed_numbers_is_explained_in_the_type_asked_for() -> None:
    assert explain(ESN(3, 5), dtype=torch.float64).startswith("ESN(input_size=3, hidden_size=5), float64\n")


def test_an_unknown_stage_is_refused_with_its_neighbours() -> None:
    with pytest.raises(ConfigError, match="Did you mean `split`"):
        explain(GRU(3, 5), "splt")


@pytest.mark.parametrize("cell", [nn.GRU(3, 5), GRU])
def test_what_is_no_cell_is_not_explained(cell: Any) -> None:
    with pytest.raises(ConfigError, match=r"`cell` must be a recurra.Cell, got the (module|class)"):
        explain(cell)


def test_what_was_compiled_is_used_again() -> None:
    cell = GRU(3, 5)
    first = compiled(cell, torch.float32)
    assert compiled(cell, torch.float32) is first
    assert compiled(cell.double(), torch.float64) is not first
    assert compiled(cell.float(), torch.float32) is first
