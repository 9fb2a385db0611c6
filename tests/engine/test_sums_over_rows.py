"""Sums over all steps of all sequences, added up where their terms are computed, and values made again."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from recurra import Cell, scan
from recurra.cells import GRU, LSTM, SRU, MinGRU
from recurra.engine.compiled import compiled
from recurra.engine.cpu import team
from recurra.engine.cpu.loop_kernel import LoopKernel, Tiling
from recurra.engine.cpu.target import Target, host
from recurra.engine.loop import Map, Program, Value, verify
from recurra.engine.lower import lower
from recurra.engine.region import RegionCode
from recurra.engine.rows import row_width
from recurra.engine.schedule import schedule
from recurra.engine.simplify import simplify
from recurra.engine.split import Plan, split
from recurra.engine.trace import BATCH, trace
from tests.engine.cpu.test_target import NEEDS, require
from tests.engine.engines import assert_engines_agree
from tests.tolerance import assert_close

aten = torch.ops.aten


class State(NamedTuple):
    h: Tensor


class Normalised(Cell):
    """`h = tanh(norm(W x) + V h)`: the norm of a product of the input, whose weights are learned."""

    State = State

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.w, self.v = nn.Linear(input_size, hidden_size, bias=False), nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = torch.tanh(self.norm(self.w(x)) + self.v(state.h))
        return h, State(h)


class Scales(Cell):
    """Parameters of every shape that a row is multiplied with."""

    State = State

    def __init__(self, heads: int = 3, width: int = 5) -> None:
        super().__init__(heads * width, heads * width)
        self.sizes = heads, width
        self.one, self.of_head, self.of_place = (
            nn.Parameter(torch.rand(shape)) for shape in ((), (heads, 1), (heads, width))
        )
        self.shift = nn.Parameter(torch.rand(width))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        rows = (x + state.h).view(-1, *self.sizes)
        h = torch.tanh(self.one * rows * self.of_place + self.of_head * rows + self.shift).flatten(1)
        return h, State(h)


def planned(cell: Any) -> Plan:
    traced = trace(cell, torch.float32)
    simplify(traced.graph)
    return split(traced)


def sums(nodes: Any) -> list[Any]:
    return [node for node in nodes if node.target is aten.sum.dim_IntList and 0 in node.args[1]]


@pytest.mark.parametrize("cell", [GRU(3, 5), LSTM(3, 5), LSTM(3, 5, layer_norm=True), Scales()], ids=lambda c: str(c))
def test_the_reverse_loop_adds_up_what_it_has_at_hand(cell: Any) -> None:
    plan = planned(cell)
    assert plan.reverse.totals
    assert all(row_width(node.all_input_nodes[0]) >= 5 for node in plan.reverse.totals)
    gates = [node for node in sums(plan.after_reverse.nodes) if node.all_input_nodes[0] in plan.reverse.nodes]
    assert not gates


def test_what_is_only_added_up_is_kept_nowhere() -> None:
    plan = planned(LSTM(3, 5, layer_norm=True))
    terms = {total.all_input_nodes[0] for total in plan.reverse.totals}
    read = {node for part in (plan.after_reverse,) for node in part.inputs}
    assert terms - read
    assert not (terms - read) & set(plan.reverse.saved)


def test_the_gradient_of_normalised_rows_is_finished_in_the_loop() -> None:
    plan = planned(LSTM(3, 5, layer_norm=True))
    assert {node.target for node in plan.after_reverse.nodes} <= {aten.mm.default, aten.permute.default}
    assert sorted(row_width(node) for node in plan.reverse.saved) == [20, 20]  # of the rows of x, and of the state's


def test_what_would_grow_is_not_finished_in_the_loop() -> None:
    plan = planned(MinGRU(3, 5))
    assert any(node.target is aten.cat.default for node in plan.after_reverse.nodes)
    assert [row_width(node) for node in plan.reverse.saved] == [5]


@pytest.mark.parametrize(
    "cell", [GRU(3, 17), LSTM(3, 17, layer_norm=True), Normalised(3, 17), Scales(), SRU(17, 17)], ids=lambda c: str(c)
)
@pytest.mark.parametrize("lengths", [[70, 3, 0, 129, 64], [1], [], [0, 0], [200] * 3], ids=str)
def test_gradients_of_parameters_are_those_of_the_reference(cell: Any, lengths: list[int]) -> None:
    assert_engines_agree(cell.double(), lengths)


def test_a_region_adds_up_in_the_pass_that_computes_the_terms() -> None:
    code = compiled(Normalised(3, 17), torch.float32)
    region = RegionCode(code.plan.after_reverse, torch.float32)
    (part,) = (part for part in region.parts if sums(part.nodes))
    assert len(part.nodes) > 4
    terms = [node.all_input_nodes[0] for node in sums(part.nodes)]
    assert not set(terms) & set(part.outputs)


def test_many_terms_in_float32_are_as_exact_as_torchs_sum() -> None:
    cell, x = Scales(2, 3), torch.rand(20_000, 4, 6) / 3
    found = []
    for dtype in (torch.float32, torch.float64):
        outputs, _ = scan(cell.to(dtype), x.to(dtype), engine="compiled")
        found += torch.autograd.grad(outputs.sum(), [cell.shift])
    torch.testing.assert_close(found[0].double(), found[1], rtol=2e-6, atol=0.0)


@pytest.mark.parametrize("level", NEEDS)
@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 1000])
@pytest.mark.parametrize("threads", [1, 3])
def test_sums_of_vectors_pieces_and_numbers(rows: int, threads: int, level: int) -> None:
    require(NEEDS[level])
    program, graph = Program("test"), torch.fx.Graph()

    def add(value: Value) -> Value:
        value.name = f"v{len(program.values)}"
        program.values.append(value)
        return value

    def node(name: str, *sizes: int) -> Any:
        made = graph.placeholder(name)
        made.meta["val"] = torch.empty(BATCH, *sizes, device="meta")
        return made

    x = add(Value("array", (), 21, node=node("x", 21)))
    square = add(Value("mul", (x, x), 21))
    row_sum = add(Value("sum", (square,), 1))
    turned = add(Value("copy", (add(Value("view", (x, Map(0, (7, 3), (1, 7))), 21)),), 21))
    both = add(Value("cat", (turned, square), 42))
    for value in (x, square, row_sum, both):
        total = graph.call_function(aten.sum.dim_IntList, (node(f"of_{value.name}", value.width), [0]))
        total.meta["val"] = torch.empty(value.width, device="meta")
        program.totals[total] = value
    verify(program)
    kernel = LoopKernel(schedule(program), torch.float64, reverse=False, target=Target.x86_64(level, host().triple))
    numbers = torch.randn(rows, 21, dtype=torch.float64)
    values = {kernel.plan.arrays[0][0]: numbers}
    kernel.run_on(values, Tiling.of_rows(rows, min(threads, team.num_threads())), rows)
    of_x, of_square, of_row, of_both = (values[total] for total in program.totals)
    assert_close(of_x, numbers.sum(0))
    assert_close(of_square, numbers.square().sum(0))
    assert_close(of_row, numbers.square().sum().view(1))
    assert_close(of_both, torch.cat([numbers.view(rows, 3, 7).transpose(1, 2).flatten(1), numbers.square()], 1).sum(0))


def test_the_norm_of_a_product_is_made_again_by_whoever_reads_it() -> None:
    plan = planned(Normalised(3, 17))
    wide = [node for node in plan.before.outputs if row_width(node) == 17]
    assert [node.target for node in wide] == [aten.mm.default]
    assert wide[0] in plan.forward.inputs
    assert wide[0] in plan.kept
    assert wide[0] in plan.after_reverse.inputs
    assert sum(row_width(node) == 17 for node in plan.kept) == 3  # the product, the state before, the output


def test_a_bias_is_left_to_the_product() -> None:
    plan = planned(GRU(3, 5))
    assert [node.target for node in plan.before.outputs] == [aten.add.Tensor]


def test_a_mean_that_a_variance_needs_too_is_computed_once() -> None:
    text = str(schedule(lower(planned(LSTM(3, 5, layer_norm=True)).forward)))
    assert text.count("sum(") == 4  # of the gates and of the cell, a mean and a variance each


@pytest.mark.parametrize("level", NEEDS)
@pytest.mark.parametrize("width", [1, 31, 64, 65, 127, 128, 200, 1000])
def test_reductions_of_rows_of_every_width(width: int, level: int) -> None:
    require(NEEDS[level])
    program, graph = Program("test"), torch.fx.Graph()
    x = graph.placeholder("x")
    x.meta["val"] = torch.empty(BATCH, width, device="meta")
    values = [Value("array", (), width, node=x, name="v0")]
    for op in ("sum", "max", "min"):
        goal = graph.placeholder(op)
        goal.meta["val"] = torch.empty(BATCH, 1, dtype=torch.float64, device="meta")
        values.append(Value(op, (values[0],), 1, name=op))
        program.saved[goal] = values[-1]
    program.values = values
    kernel = LoopKernel(
        schedule(verify(program)), torch.float64, reverse=False, target=Target.x86_64(level, host().triple)
    )
    rows = torch.randn(7, width, dtype=torch.float64)
    found: dict[Any, Tensor] = {x: rows}
    kernel.run_on(found, Tiling.of_rows(7, 1), 7)
    total, largest, smallest = (found[node] for node in program.saved)
    assert_close(total[:, 0], rows.sum(1))
    assert torch.equal(largest[:, 0], rows.amax(1))
    assert torch.equal(smallest[:, 0], rows.amin(1))


def test_pieces_of_a_product_and_what_is_made_of_a_gate_are_not_written() -> None:
    plan = planned(MinGRU(3, 5))  # h' = (1 - z) h + z n: z and n are pieces of one product
    (product, gate) = plan.before.outputs
    assert row_width(product) == 10
    assert gate.target is aten.sigmoid.default
    assert {*plan.kept} == {product, gate, *plan.forward.carries}


class Rectified(Cell):
    """`h = relu(W x + V h)`, whose gradient is 0 or that of h: a number that is written in the step."""

    State = State

    def __init__(self) -> None:
        super().__init__(3, 5)
        self.w, self.v = nn.Linear(3, 5), nn.Linear(5, 5)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = torch.relu(self.w(x) + self.v(state.h))
        return h, State(h)


def test_numbers_that_are_written_in_the_step_are_no_tensors() -> None:
    plan = planned(Rectified())
    numbers = [node for node in plan.reverse.nodes if node.target is aten.scalar_tensor.default]
    assert numbers
    assert not {*numbers} & {*plan.prelude.nodes}
    assert not {*numbers} & {*plan.reverse.inputs}
    assert_engines_agree(Rectified().double(), [5, 2, 0, 7])
