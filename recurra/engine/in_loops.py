"""Calls of torch that stand in a loop and have no form there, taken apart into those that have.

Outside of the loops torch runs them as they are: there it has all steps at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, fx
from torch._guards import detect_fake_mode
from torch.fx.experimental.proxy_tensor import make_fx

from recurra.engine import sources
from recurra.engine.phases import convolution_in_phases
from recurra.engine.pooling import POOLING
from recurra.engine.resampling import RESAMPLING
from recurra.engine.simplify import called, simplify
from recurra.engine.small_matrices import SMALL_MATRICES
from recurra.engine.taken_apart import MOST_PLACES, Formless
from recurra.engine.trace import Unsupported, decompositions, op_name

__all__ = ["taken_apart_in"]

aten = torch.ops.aten

_BITS = 24  # of the whole numbers that float32 holds


def _between(
    edges: Tensor,
    x: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Any:
    """How many edges are below a number, or at it where it belongs to the right; NaN is above all."""
    if sorter is not None:
        return NotImplemented
    if edges.shape[-1] > MOST_PLACES:
        raise Formless(f"it compares with more than {MOST_PLACES} edges")
    edges = edges if edges.dim() == 1 else edges.unsqueeze(-2)
    x = x.unsqueeze(-1)
    is_above = edges > x if right or side == "right" else edges >= x
    return is_above.logical_not().sum(-1, dtype=torch.int32 if out_int32 else torch.int64)


def _low_bits(x: Tensor, mask: Any) -> Any:
    """`x & 7` and the like: what a division by 8 leaves."""
    is_low = isinstance(mask, int) and mask >= 0 and mask & (mask + 1) == 0
    return x.remainder(mask + 1) if is_low and x.dtype != torch.bool else NotImplemented


def _shifted_left(x: Tensor, count: Any) -> Any:
    return x * 2**count if isinstance(count, int) and 0 <= count < _BITS else NotImplemented


def _shifted_right(x: Tensor, count: Any) -> Any:
    is_known = isinstance(count, int) and 0 <= count < _BITS
    return x.div(2**count, rounding_mode="floor") if is_known else NotImplemented


def _distances(x: Tensor, y: Tensor, p: float, mode: int | None = None) -> Any:
    """Of each row of a matrix from each row of another one, [.., n, m]."""
    apart = (x.unsqueeze(-2) - y.unsqueeze(-3)).abs()
    if p == 2:
        return apart.square().sum(-1).sqrt()
    if p == 1:
        return apart.sum(-1)
    return apart.amax(-1) if p == math.inf else NotImplemented


def _distances_backward(d: Tensor, x: Tensor, y: Tensor, p: float, distances: Tensor) -> Any:
    """The gradient of the first matrix: 0 where two rows are the same."""
    apart, distances = x.unsqueeze(-2) - y.unsqueeze(-3), distances.unsqueeze(-1)
    if p == 2:
        way = torch.where(distances == 0, 0.0, apart / distances)
    elif p in (1, math.inf):
        way = apart.sign() if p == 1 else torch.where(apart.abs() == distances, apart.sign(), 0.0)
    else:
        return NotImplemented
    return (d.unsqueeze(-1) * way).sum(-2)


_IN_LOOPS: dict[Any, Callable[..., Any]] = {
    aten.convolution.default: convolution_in_phases,
    aten.bucketize.Tensor: lambda x, edges, **how: _between(edges, x, **how),
    aten.searchsorted.Tensor: _between,
    aten.bitwise_and.Scalar: _low_bits,
    aten.bitwise_and.Tensor: _low_bits,
    aten.__lshift__.Scalar: _shifted_left,
    aten.__rshift__.Scalar: _shifted_right,
    aten.bitwise_left_shift.Tensor_Scalar: _shifted_left,
    aten.bitwise_right_shift.Tensor_Scalar: _shifted_right,
    aten._cdist_forward.default: _distances,
    aten._cdist_backward.default: _distances_backward,
    **POOLING,
    **RESAMPLING,
    **SMALL_MATRICES,
}


def taken_apart_in(graph: fx.Graph, loops: Collection[fx.Node], op: str) -> bool:
    """Take apart the calls of an operation that stand in loops; whether there was one for which this is known.

    Raises:
        Unsupported: one of them is too large.
    """
    calls = [node for node in graph.nodes if op_name(node) == op]
    # all results of a call are made of the same steps
    given = [(node.args, node.kwargs) for node in calls if node in loops]
    found = [_take_apart(graph, node) for node in calls if (node.args, node.kwargs) in given]
    if any(found):
        simplify(graph)
    return any(found)


class _AsItIs(Exception):
    """This call is not taken apart."""


def _take_apart(graph: fx.Graph, node: fx.Node) -> bool:
    call, index = called(node)
    function = _IN_LOOPS.get(call)
    if function is None:
        return False
    operands = node.all_input_nodes

    def run(*values: Tensor) -> Tensor:
        known = dict(zip(operands, values, strict=True))
        args, kwargs = fx.map_arg((node.args, node.kwargs), known.__getitem__)
        results = function(*args, **kwargs)
        result = results if index is None or results is NotImplemented else results[index]
        if not isinstance(result, Tensor):
            raise _AsItIs
        return result

    values = [operand.meta["val"] for operand in operands]
    mode: Any = detect_fake_mode(values)
    try:
        with mode, sources.forgotten():
            made = make_fx(run, decomposition_table=decompositions())(*values).graph
    except _AsItIs:
        return False
    except Formless as error:
        raise Unsupported(op_name(node), str(error)) from None
    places = [each for each in made.nodes if each.op == "placeholder"]
    with graph.inserting_before(node):
        result: Any = graph.graph_copy(made, dict(zip(places, operands, strict=True)))
    node.replace_all_uses_with(result)
    graph.erase_node(node)
    return True
