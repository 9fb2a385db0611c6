"""Running a region: products and sums over all rows by torch, chains of row-wise operations by one compiled pass.

A region's nodes are put into alternating parts. Torch parts hold the products with weights and whatever contracts over
the rows (parameter gradients); row parts hold pointwise operations and sums over a row, which torch would run as one
pass over memory each.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from recurra.engine import sources
from recurra.engine.borders import WIDEST_TOTAL, is_constant, is_sum_with_bias, is_total, is_transposed, is_view
from recurra.engine.cpu import team
from recurra.engine.cpu.loop_kernel import NO_GOALS, Goals, LoopKernel
from recurra.engine.cpu.tiling import Tiling
from recurra.engine.lower import lower
from recurra.engine.products import product, transposed_product
from recurra.engine.rows import row_axis, row_width
from recurra.engine.schedule import schedule
from recurra.engine.simplify import is_random
from recurra.engine.split import Loop, Region, is_rows
from recurra.engine.trace import BATCH, Unsupported, batch_factor, op_name

__all__ = ["RegionCode"]

aten = torch.ops.aten


@dataclass(frozen=True)
class _Part:
    nodes: tuple[fx.Node, ...]
    inputs: tuple[fx.Node, ...]
    outputs: tuple[fx.Node, ...]
    run: Callable[[dict[fx.Node, Tensor], int, Goals], None]
    kernel: LoopKernel | None = None  # of what is no work for torch


class RegionCode:
    """A region, ready to run.

    Args:
        region: what to run.
        dtype: its precision.
        bf16: whether the factors of its products are rounded to bfloat16.
    """

    def __init__(self, region: Region, dtype: torch.dtype, *, bf16: bool = False) -> None:
        self.region, self.bf16 = region, bf16
        by_torch = {node for node in region.nodes if not _row_wise(node) and not _adds_up_rows(node)}
        by_torch |= {node for node in region.nodes if is_sum_with_bias(node) and node.args[0] in by_torch}
        parts = self._try(by_torch, dtype)
        while parts is None:
            parts = self._try(by_torch, dtype)
        self.parts = parts

    def _try(self, by_torch: set[fx.Node], dtype: torch.dtype) -> list[_Part] | None:
        """The parts, or None after `by_torch` has grown by an operation that has no vector form: torch has it."""
        parts = []
        for nodes in _alternate([node for node in self.region.nodes if not is_constant(node)], by_torch):
            try:
                parts.append(self._part(nodes, by_torch, dtype))
            except Unsupported as error:
                # what it stumbled over may be an operand, such as a row of whole numbers; then the part goes as a whole
                named = {node for node in nodes if op_name(node) == error.op}
                by_torch |= named or set(nodes)
                return None
        return parts

    def run(self, values: dict[fx.Node, Tensor], num_rows: int, goals: Goals = NO_GOALS) -> None:
        """Compute the outputs of the region from `values`, and add them to it; `goals` as for a loop."""
        for part in self.parts:
            part.run(values, num_rows, goals)

    @property
    def kernels(self) -> list[LoopKernel]:
        """Of the parts that are passes over the rows."""
        return [part.kernel for part in self.parts if part.kernel is not None]

    def _part(self, nodes: tuple[fx.Node, ...], by_torch: set[fx.Node], dtype: torch.dtype) -> _Part:
        members = set(nodes)
        read_later = {*self.region.outputs}
        for node in self.region.nodes:
            if node not in members:
                read_later |= set(node.all_input_nodes)
        outputs = tuple(node for node in nodes if node in read_later)
        constants = dict.fromkeys(arg for node in nodes for arg in node.all_input_nodes if is_constant(arg))
        nodes = (*constants, *nodes)
        members |= set(constants)
        inputs = tuple(dict.fromkeys(arg for node in nodes for arg in node.all_input_nodes if arg not in members))
        if by_torch.issuperset(nodes) or all(map(is_view, nodes)):  # a view is no work at all
            return _Part(nodes, inputs, outputs, _by_torch(nodes, inputs, outputs, bf16=self.bf16))
        kernel = _of_rows(self.region.name, nodes, outputs, dtype)
        return _Part(nodes, inputs, outputs, functools.partial(_by_rows, kernel), kernel)


def _row_wise(node: fx.Node) -> bool:
    """Whether a node computes each row from the same row of its operands."""
    if not is_rows(node) or node.target is aten.mm.default or is_random(node):
        return False
    # a size that the batch went into elsewhere than first, as after a transpose, is no matter of one row
    return all(
        BATCH not in arg.meta["val"].shape[1:] and (is_rows(arg) or BATCH not in arg.meta["val"].shape)
        for arg in [node, *node.all_input_nodes]
    )


def _adds_up_rows(node: fx.Node) -> bool:
    """Whether a node is a sum over the batch of vectors that are not too long to be added up as they are read."""
    source = node.all_input_nodes[0] if is_total(node) else None
    return source is not None and source.meta["val"].dim() == 2 and row_width(source) <= WIDEST_TOTAL


def _alternate(nodes: Sequence[fx.Node], by_torch: set[fx.Node]) -> list[tuple[fx.Node, ...]]:
    """Parts in order: as few as the dependences allow, torch and rows by turns."""
    turn: dict[fx.Node, int] = {}
    added_up: set[fx.Node] = set()
    for node in nodes:
        parity = 0 if node in by_torch else 1
        known = [arg for arg in node.all_input_nodes if arg in turn]
        if is_total(node) and known and turn[known[0]] % 2 == 1 and known[0] not in added_up:
            turn[node] = turn[known[0]]  # the pass that computes the terms adds them up
            added_up.add(node)
        else:
            earliest = max((turn[arg] + (arg in added_up) for arg in known), default=0)
            turn[node] = earliest if earliest % 2 == parity else earliest + 1
    turns = sorted(set(turn.values()))
    return [tuple(node for node in nodes if turn[node] == number) for number in turns]


def _by_torch(
    nodes: tuple[fx.Node, ...], inputs: tuple[fx.Node, ...], outputs: tuple[fx.Node, ...], *, bf16: bool
) -> Callable[[dict[fx.Node, Tensor], int, Goals], None]:
    graph = fx.Graph()
    num_rows = graph.placeholder("num_rows")
    copies = {node: graph.placeholder(node.name) for node in inputs}
    for node in nodes:
        copies[node] = _short(graph, node, copies, bf16=bf16) or graph.node_copy(node, copies.__getitem__)
        copies[node].args = _with_rows(copies[node].args, num_rows, copies[node])
    graph.output([copies[node] for node in outputs])
    graph.eliminate_dead_code()
    with sources.forgotten():
        call = fx.GraphModule(torch.nn.Module(), graph).forward

    def run(values: dict[fx.Node, Tensor], count: int, _: Goals) -> None:
        results = call(count, *(values[node] for node in inputs))
        values.update(zip(outputs, results, strict=True))

    return run


def _of_rows(name: str, nodes: tuple[fx.Node, ...], outputs: tuple[fx.Node, ...], dtype: torch.dtype) -> LoopKernel:
    totals = tuple(node for node in outputs if is_total(node))
    terms, saved = (tuple(node for node in some if node not in totals) for some in (nodes, outputs))
    return LoopKernel(schedule(lower(Loop(name, terms, (), (), saved, totals), dtype)), dtype, reverse=False)


def _by_rows(kernel: LoopKernel, values: dict[fx.Node, Tensor], count: int, goals: Goals) -> None:
    kernel.run_on(values, Tiling.of_rows(count, team.num_threads()), count, goals)


def _short(graph: fx.Graph, node: fx.Node, copies: dict[Any, fx.Node], *, bf16: bool) -> fx.Node | None:
    """A product on the faster library, the sum of one with a bias included, or another call in a shorter form."""
    args: tuple[Any, ...] = node.args
    if node.target is aten.mm.default:
        return _short_product(graph, node, copies, {"bf16": bf16})
    if is_sum_with_bias(node):
        made = copies[args[0]]
        if made.target is _product:
            return graph.call_function(_product, (*made.args, copies[args[1]]), made.kwargs)
    if is_transposed(node):
        return graph.call_method("t", (copies[args[0]],))
    if node.target is aten.sum.dim_IntList and not node.kwargs:
        return graph.call_method("sum", (copies[args[0]], *args[1:]))
    return None


def _short_product(graph: fx.Graph, node: fx.Node, copies: dict[Any, fx.Node], how: dict[str, Any]) -> fx.Node:
    left, right = node.args
    if row_axis(node) == 0:
        return graph.call_function(_product, (copies[left], copies[right]), how)
    if is_transposed(left) and left.args[0] in copies:  # type: ignore[union-attr]
        return graph.call_function(transposed_product, (copies[left.args[0]], copies[right]), how)  # type: ignore[union-attr]
    return graph.call_function(_contraction, (copies[left], copies[right]), how)


def _product(left: Tensor, right: Tensor, bias: Tensor | None = None, *, bf16: bool) -> Tensor:
    return product(left, right.t(), bias, bf16=bf16)


def _contraction(left: Tensor, right: Tensor, *, bf16: bool) -> Tensor:
    return transposed_product(left.t(), right, bf16=bf16)


def _with_rows(value: Any, num_rows: fx.Node, where: fx.Node) -> Any:
    """Replace every size that the traced batch went into."""
    if isinstance(value, tuple | list):
        return type(value)(_with_rows(item, num_rows, where) for item in value)
    factor = batch_factor(value)
    if factor in (0, 1):
        return num_rows if factor else value
    with where.graph.inserting_before(where):
        return where.graph.call_function(operator.mul, (num_rows, factor))
