"""Rewrites of `convolution_backward`, one call for three gradients, as what each of them is.

The gradient of what is read is a convolution again, with the same weight, which a loop can have. That of the weight is
a sum over all steps, and so is that of the bias.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx

from recurra.engine.convolution import has_steps_of_one
from recurra.engine.cpu.weight_gradient import weight_gradient
from recurra.engine.rows import row_axis

__all__ = ["gradients_of_convolutions"]

aten = torch.ops.aten


def gradients_of_convolutions(graph: fx.Graph) -> None:
    """Replace each gradient that somebody reads."""
    for node in list(graph.nodes):
        call: Any = node.args[0] if node.target is operator.getitem else None
        if isinstance(call, fx.Node) and call.target is aten.convolution_backward.default:
            with graph.inserting_before(node):
                made = _gradient(graph, call, node)
            made.meta = dict(node.meta)
            node.replace_all_uses_with(made)


def _gradient(graph: fx.Graph, call: fx.Node, node: fx.Node) -> fx.Node:
    args: Any = call.args
    d_y, x, weight, _, stride, padding, dilation, transposed, output_padding, groups, _ = args
    index: Any = node.args[1]
    axes, kernel = len(padding), tuple(weight.meta["val"].shape[2:])
    if index == 2:
        of_rows = graph.call_function(aten.sum.dim_IntList, (d_y, list(range(2, 2 + axes))))
        of_rows.meta["val"] = d_y.meta["val"].sum(list(range(2, 2 + axes)))
        return graph.call_function(aten.sum.dim_IntList, (of_rows, [0]))
    if index == 0:
        sizes = zip(x.meta["val"].shape[2:], d_y.meta["val"].shape[2:], stride, padding, dilation, kernel, strict=True)
        # a few places behind the last tap, which a stride leaves, have no gradient
        left = [0 if transposed else n + 2 * p - d * (k - 1) - 1 - (m - 1) * s for n, m, s, p, d, k in sizes]
        steps = (stride, padding, dilation, not transposed, left, groups)
        return graph.call_function(aten.convolution.default, (d_y, weight, None, *steps))
    # torch has this for strides; where each sequence has a kernel of its own, which is a group, nothing is one sum
    if not has_steps_of_one(stride, output_padding) or row_axis(weight) is not None:
        return graph.call_function(_weight_gradient, args[:-1])
    read, result = (d_y, x) if transposed else (x, d_y)
    how = (read, result, kernel, tuple(padding), tuple(dilation), groups)
    return graph.call_function(weight_gradient, how)


def _weight_gradient(*args: Any) -> Tensor:
    return aten.convolution_backward(*args, [False, True, False])[1]
