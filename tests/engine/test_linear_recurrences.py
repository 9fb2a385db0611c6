"""Cells whose gates see the input alone: nothing but a few multiply-adds is left in the loop over time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import recurra
from recurra.cells import LRU, QRNN, SRU, MinGRU, MinLSTM
from recurra.engine.compiled import compiled
from recurra.engine.loop import LEAVES, MOVES
from recurra.engine.lower import lower
from tests.engine.engines import assert_engines_agree

aten = torch.ops.aten
CONTRACTIONS = {aten.mm.default, aten.addmm.default, aten.bmm.default, aten.dot.default, aten.mv.default}
CONTRACTIONS |= {aten.convolution.default, aten.convolution_backward.default}

CELLS = [
    (MinGRU, {}),
    (MinGRU, {"candidate": "positive"}),
    (MinLSTM, {}),
    (MinLSTM, {"candidate": "positive", "normalise": False}),
    (LRU, {}),
    (LRU, {"output_size": 5}),
    (QRNN, {"window": 1, "pooling": "f"}),
    (QRNN, {}),
    (QRNN, {"window": 4, "pooling": "ifo"}),
    (SRU, {}),
    (SRU, {"peephole": False, "highway_bias": -1.0}),
]
every_cell = pytest.mark.parametrize(
    ("kind", "options"), CELLS, ids=[f"{kind.__name__}-{options}" for kind, options in CELLS]
)


def made(kind: Any, options: dict[str, Any], input_size: int = 3, hidden_size: int = 17) -> Any:
    cell = kind(input_size, hidden_size, **options).double()
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=0.5)
    return cell


@every_cell
def test_the_loops_hold_no_product(kind: Any, options: dict[str, Any]) -> None:
    plan = compiled(made(kind, options), torch.float64).plan
    assert not CONTRACTIONS & {node.target for node in (*plan.forward.nodes, *plan.reverse.nodes)}
    for loop in (plan.forward, plan.reverse):
        assert "dot" not in {value.op for value in lower(loop).values}
    assert aten.mm.default in {node.target for node in plan.before.nodes}  # that of the input, of all steps at once
    assert aten.mm.default in {node.target for node in plan.after_reverse.nodes}  # the gradient of its weights


@pytest.mark.parametrize(("kind", "most"), [(MinGRU, 4), (MinLSTM, 4), (LRU, 10)])
def test_what_is_left_of_a_step_is_a_few_cheap_calls(kind: Any, most: int) -> None:
    program = lower(compiled(made(kind, {}), torch.float64).plan.forward)
    work = [value.op for value in program.values if value.op not in (*LEAVES, *MOVES)]
    assert set(work) <= {"add", "sub", "mul"}
    assert len(work) <= most


@every_cell
@pytest.mark.parametrize("sizes", [(1, 1), (3, 17), (16, 64)], ids=str)
def test_the_compiled_engine_agrees_with_the_reference(
    kind: Any, options: dict[str, Any], sizes: tuple[int, int]
) -> None:
    assert_engines_agree(made(kind, options, *sizes), [7, 1, 0, 63, 5])


@every_cell
def test_it_agrees_backwards_and_with_resets(kind: Any, options: dict[str, Any]) -> None:
    resets = torch.tensor([0, 3, 9])
    assert_engines_agree(made(kind, options), [8, 6], resets=resets)
    assert_engines_agree(made(kind, options), [8, 6], resets=resets, reverse=True)


@every_cell
def test_a_stream_answers_as_the_whole_sequence(kind: Any, options: dict[str, Any]) -> None:
    network = recurra.Recurrent(made(kind, options))
    x = torch.randn(9, 2, 3).double()
    with torch.no_grad():
        expected, _ = network(x)
    stream = network.stream(batch_size=2)
    assert stream.is_compiled
    torch.testing.assert_close(torch.stack([stream.push(step).clone() for step in x]), expected)


def test_a_weight_may_be_turned_before_it_is_reshaped() -> None:
    class Turned(MinGRU):
        def step(self, x: Any, state: Any) -> Any:
            weight = self.weight_ih.reshape(2, -1, self.input_size).permute(2, 1, 0).reshape(self.input_size, -1)
            z, n = (x @ weight).chunk(2, dim=-1)
            h = state.h + z.sigmoid() * (n - state.h)
            return h, state._replace(h=h)

    assert_engines_agree(made(Turned, {}), [5, 2])
