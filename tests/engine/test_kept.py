"""What is kept for the backward pass: one tensor, and much of it past the caches."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import recurra
from recurra import Cell, Ragged
from recurra.cells import CELLS, DNC, GRU, LSTM, SLSTM, Clockwork, make_cell
from recurra.engine.block import Block
from recurra.engine.compiled import compiled
from recurra.engine.cpu import loop_kernel
from recurra.engine.cpu.loop_kernel import LoopKernel
from recurra.engine.cpu.replay import Program
from recurra.engine.cpu.target import Target, host
from recurra.engine.cpu.tiling import Layout, Tiling
from recurra.engine.loop import Program as Body
from recurra.engine.loop import Value, verify
from recurra.engine.schedule import schedule
from tests.engine.cpu.test_target import NEEDS, require
from tests.engine.engines import assert_engines_agree

MADE: dict[str, Callable[[], Cell]] = {
    "gru": lambda: GRU(3, 16),
    "gru of an odd size": lambda: GRU(3, 17),
    "lstm layer norm": lambda: LSTM(3, 32, layer_norm=True),
    "slstm": lambda: SLSTM(3, 16),
    "clockwork": lambda: Clockwork(3, 16),
    "dnc": lambda: DNC(3, 8, output_size=8, memory_size=8, word_size=8),
}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("lengths", [[70, 3, 0, 129], [1], [5] * 33], ids=str)
def test_what_is_written_past_the_caches_is_read_as_it_was(
    name: str, lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_kernel, "_MANY", 0)
    assert_engines_agree(MADE[name]().double(), lengths)


@pytest.mark.parametrize("name", ["training", "reverse"])
def test_much_goes_past_the_caches_and_little_does_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, x = GRU(3, 16), torch.randn(9, 4, 3)
    kernel = getattr(compiled(cell, torch.float32), name)
    width = sum(kernel.plan.arrays[index][1] for index in kernel.plan.streamed)
    monkeypatch.setattr(loop_kernel, "_MANY", 9 * 4 * width * 4)
    recurra.scan(cell, x[:8], engine="compiled")[0].sum().backward()
    assert "code_past_caches" not in vars(kernel)
    recurra.scan(cell, x, engine="compiled")[0].sum().backward()
    assert "code_past_caches" in vars(kernel)
    assert "nontemporal" in kernel._ir(past_caches=True)
    assert "nontemporal" not in kernel.ir


def test_the_output_does_not_go_past_the_caches() -> None:
    code = compiled(LSTM(3, 16), torch.float32)
    plan = code.training.plan
    (index,) = (number for number, (node, _) in enumerate(plan.arrays) if node is code.output)
    assert plan.streamed == set(range(plan.num_inputs, len(plan.arrays))) - {index}


@pytest.mark.parametrize("level", NEEDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("width", [16, 48, 21])
def test_every_processor_writes_past_its_caches(
    width: int, dtype: torch.dtype, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(NEEDS[level])
    monkeypatch.setattr(loop_kernel, "_MANY", 0)
    graph, body = torch.fx.Graph(), Body("test")
    source, goal = graph.placeholder("source"), graph.placeholder("goal")
    for node in (source, goal):
        node.meta["val"] = torch.empty(999_983, width, dtype=dtype, device="meta")
    x = Value("array", (), width, name="x", node=source)
    body.values += [x, Value("neg", (x,), width, name="y")]
    body.saved[goal] = body.values[1]
    verify(body)
    kernel = LoopKernel(
        schedule(body, streamed=[goal]), dtype, reverse=False, target=Target.x86_64(level, host().triple)
    )
    numbers = torch.randn(37, width, dtype=dtype)
    found = {source: numbers}
    kernel.run_on(found, Tiling.of_rows(37, 1), 37)
    assert torch.equal(found[goal], -numbers)
    assert ("nontemporal" in kernel._ir(past_caches=True)) == (width != 21)


def test_a_loop_keeps_one_tensor() -> None:
    assert compiled(GRU(3, 5), torch.float32).keeps == (None,)
    code = compiled(recurra.RNN(3, 5), torch.float32)
    assert set(code.keeps) == {*code.plan.forward.carries, code.output}


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_outputs_and_the_states_before_share_their_memory(batch_size: int, backward: bool) -> None:
    cell, count = recurra.RNN(3, 5).double(), 7 * batch_size
    code = compiled(cell, torch.float64)
    x, start = torch.randn(7, batch_size, 3).double(), torch.randn(batch_size, 5).double()
    layout = Layout.of(Block(x, backward=backward))
    assert layout.may_share
    constants = [parameter.detach() for parameter in cell.parameters()]
    for _ in range(3):  # as it is written, recorded, and replayed
        output, _, *kept = code.forward(layout, code.given(layout, (*constants, x, start)), keep=True)
        rows, before = (kept[code.keeps.index(node)] for node in (code.output, *code.plan.forward.carries))
        assert rows.untyped_storage().data_ptr() == before.untyped_storage().data_ptr()
        want = torch.cat([output[1:], start[None]] if backward else [start[None], output[:-1]])
        torch.testing.assert_close(before, want.reshape(count, 5), rtol=0, atol=0)


def test_outputs_that_the_backward_pass_reads_are_not_changed_unnoticed() -> None:
    x = torch.randn(4, 2, 3)
    y, _ = recurra.scan(recurra.RNN(3, 5), x, engine="compiled")
    y[1:].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("name", sorted(CELLS))
def test_every_pass_of_every_cell_is_a_program(name: str) -> None:
    options = getattr(CELLS[name], "example_options", {})
    cell = make_cell(name, 4, 6, **options).double()
    code = compiled(cell, torch.float64)
    for _ in range(3):
        x = torch.randn(5, 2, *cell.input_shape, dtype=torch.float64, requires_grad=True)
        recurra.scan(cell, x, engine="compiled")[0].sum().backward()
    for passed in ("training", "backward"):
        found = [each for known in code._programs[passed]._known.values() for each in known.values()]
        assert [type(each) for each in found] == [Program], passed


def test_a_ragged_batch_keeps_rows_that_begin_where_vectors_do() -> None:
    cell = GRU(3, 5)
    batch = Ragged.from_list([torch.randn(count, 3) for count in (7, 2, 4)])
    code, count = compiled(cell, torch.float32), batch.num_steps
    kept = code._together
    numbers = torch.arange(len(kept.new(count))).float()
    starts = [int(rows[0, 0]) for rows in kept.rows(numbers, count).values()]
    assert len(starts) == len(kept.nodes) == 5
    assert [start % 16 for start in starts] == [0] * len(starts)
