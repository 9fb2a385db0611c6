"""Stage 2 of the compiled engine: rewrites that make the traced graph smaller, one function each."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from recurra.engine.blocks import gradients_of_spread_weights, products_of_heads, products_of_spread_weights
from recurra.engine.borders import is_transposed, summed_axes
from recurra.engine.convolution_gradients import gradients_of_convolutions
from recurra.engine.graph_writer import GraphWriter
from recurra.engine.lookups import lookups
from recurra.engine.row_order import rows_in_order
from recurra.engine.rows import row_axis
from recurra.engine.trace import Unsupported, named_as, op_name, out_of_place

__all__ = ["called", "is_random", "simplify", "strided", "strided_scatter"]

aten = torch.ops.aten

_SAME = {aten.clone.default, aten.alias.default, aten.detach.default, aten.lift_fresh_copy.default}
_VIEWS = {aten.reshape.default, aten.expand.default}  # all views are reshapes by then


def simplify(graph: fx.Graph) -> fx.Graph:
    """Run every rewrite once, in order; the graph is changed in place."""
    rewrites = (
        _out_of_place,
        lookups,
        _strides_of_rows_in_order,
        _shapes_only,
        _slices_for_splits,
        gradients_of_convolutions,
        _checks_of_matrices,
        _one_result_a_call,
        _reshapes_for_views,
        _drop_identities,
        rows_in_order,
        _rows_first,
        _cancel_transposes,
        _sums_without_axes,
        gradients_of_spread_weights,
        products_of_spread_weights,
        products_of_heads,
        _share_equal,
    )
    for rewrite in rewrites:
        rewrite(graph)
        graph.eliminate_dead_code()
    graph.lint()
    return graph


def _value(node: Any) -> Any:
    return node.meta.get("val") if isinstance(node, fx.Node) else None


def _same_type(node: fx.Node, other: Any) -> bool:
    mine, theirs = _value(node), _value(other)
    return theirs is not None and mine.dtype == theirs.dtype and mine.shape == theirs.shape


def _out_of_place(graph: fx.Graph) -> None:
    """`logical_and_(a, b)`, which torch's decompositions write where nobody else reads `a`, as `logical_and(a, b)`."""
    for node in graph.nodes:
        if node.op == "call_function" and hasattr(node.target, "_schema") and node.target._schema.is_mutable:
            node.target = out_of_place(node) or node.target


def strided(tensor: Tensor, *args: Any) -> Tensor:
    """`as_strided` of numbers in order, wherever they lie."""
    return aten.as_strided.default(tensor.clone(memory_format=torch.contiguous_format), *args)


def strided_scatter(tensor: Tensor, *args: Any) -> Tensor:
    """`as_strided_scatter`, likewise."""
    return aten.as_strided_scatter.default(tensor.clone(memory_format=torch.contiguous_format), *args)


_STRIDED = {aten.as_strided.default: strided, aten.as_strided_scatter.default: strided_scatter}
for _call, _in_order in _STRIDED.items():
    named_as(_call, _in_order)


def _strides_of_rows_in_order(graph: fx.Graph) -> None:
    """`as_strided` reads memory as it lay when the step was traced: put in that order first, it is like any view."""
    for node in graph.nodes:
        if node.target in _STRIDED:
            source = node.args[0].meta["val"]
            if not source.is_contiguous() or source.storage_offset():
                raise Unsupported(op_name(node), "its numbers lie in another order in memory")
            node.target = _STRIDED[node.target]


_LIKE = {
    aten.rand_like.default: aten.rand.default,
    aten.randn_like.default: aten.randn.default,
    aten.zeros_like.default: aten.zeros.default,
    aten.ones_like.default: aten.ones.default,
    **dict.fromkeys((aten.empty_like.default, aten.empty.memory_format), aten.zeros.default),
    **dict.fromkeys((aten.empty_permuted.default, aten.empty_strided.default), aten.zeros.default),
    **dict.fromkeys((aten.new_empty.default, aten.new_empty_strided.default), aten.zeros.default),
}


def _shapes_only(graph: fx.Graph) -> None:
    """`rand_like(h)` reads the shape of h, not h: written so, masks can be drawn for all steps before the loop."""
    for node in list(graph.nodes):
        if node.target in _LIKE or node.target is aten.full_like.default:
            value = node.meta["val"]
            kind = {"dtype": value.dtype, "device": value.device}
            with graph.inserting_before(node):
                if node.target is aten.full_like.default:
                    fresh = graph.call_function(aten.full.default, (list(value.shape), node.args[1]), kind)
                else:
                    fresh = graph.call_function(_LIKE[node.target], (list(value.shape),), kind)
            fresh.meta = dict(node.meta)
            node.replace_all_uses_with(fresh)


def is_random(node: fx.Node) -> bool:
    """Whether two calls with the same arguments give different numbers."""
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def _slices_for_splits(graph: fx.Graph) -> None:
    """`getitem(split(x), k)` is a slice of x: one kind of node instead of two, and no tuples."""
    for node in list(graph.nodes):
        if node.target is not operator.getitem or node.args[0].target is not aten.split_with_sizes.default:
            continue
        split, index = node.args
        source, sizes = split.args[:2]
        dim = split.args[2] if len(split.args) > 2 else 0
        start = sum(sizes[:index])
        with graph.inserting_before(node):
            piece = graph.call_function(aten.slice.Tensor, (source, dim, start, start + sizes[index]))
        piece.meta = dict(node.meta)
        node.replace_all_uses_with(piece)


def _checks_of_matrices(graph: fx.Graph) -> None:
    """That a matrix has an inverse is looked at by the call that takes it: a call without a result is run by nobody."""
    for node in list(graph.nodes):
        if node.target is aten._linalg_check_errors.default:
            call = node.args[0].args[0]
            call.kwargs = {**call.kwargs, "check_errors": True}
            graph.erase_node(node)


def _one_result_a_call(graph: fx.Graph) -> None:
    """`getitem(topk(x, 2), k)` becomes a call that gives this result alone: every other stage knows lone tensors."""
    for node in list(graph.nodes):
        if isinstance(node.meta.get("val"), tuple | list) and is_random(node):
            raise Unsupported(op_name(node), "it draws more than one tensor")
        if node.target is not operator.getitem:
            continue
        call, index = node.args
        with graph.inserting_before(node):
            alone = graph.call_function(_result(call.target, index), call.args, call.kwargs)
        alone.meta = dict(node.meta)
        node.replace_all_uses_with(alone)


@functools.cache  # equal calls are found by what is called
def _result(target: Any, index: int) -> Callable[..., Tensor]:
    def result(*args: Any, **kwargs: Any) -> Tensor:
        found: Tensor = target(*args, **kwargs)[index]
        return found

    result.__dict__["call"] = target, index
    return named_as(target, result)


def called(node: fx.Node) -> tuple[Any, int | None]:
    """What a node calls, and which of its results it takes where there are several."""
    found: tuple[Any, int | None] = getattr(node.target, "call", (node.target, None))
    return found


def _reshapes_for_views(graph: fx.Graph) -> None:
    """A view that asks for no order in memory: the copy that made the order is about to go as an identity."""
    for node in graph.nodes:
        if node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default


def _drop_identities(graph: fx.Graph) -> None:
    """x * 1, x / 1, copies and views that change nothing."""
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        source: Any = None
        if node.target in (aten.mul.Tensor, aten.div.Tensor, aten.mul.Scalar, aten.div.Scalar):
            left, right = node.args[:2]
            if isinstance(right, int | float) and right == 1:
                source = left
            elif isinstance(left, int | float) and left == 1 and node.target is aten.mul.Tensor:
                source = right
        elif node.target in _SAME or node.target in _VIEWS or node.target is aten._to_copy.default:
            source = node.args[0]
        if source is not None and _same_type(node, source):
            node.replace_all_uses_with(source)


def _cancel_transposes(graph: fx.Graph) -> None:
    """The transpose of a transpose is the matrix itself."""
    for node in list(graph.nodes):
        if is_transposed(node) and is_transposed(node.args[0]):
            node.replace_all_uses_with(node.args[0].args[0])


def _rows_first(graph: fx.Graph) -> None:
    """`W h` with the batch in columns, as papers write it, is the transpose of `h W` with the batch in rows."""
    for node in list(graph.nodes):
        if node.target is aten.mm.default and row_axis(node) == 1 and row_axis(node.args[1]) == 1:
            writer = GraphWriter(node)
            left, right = (writer.turn(arg, 1, 0) for arg in node.args)
            writer.replace(writer.turn(writer.call(aten.mm.default, right, left), 1, 0))


def _sums_without_axes(graph: fx.Graph) -> None:
    """A sum that keeps its axes, reshaped to go without them, is a sum that does not keep them."""
    for node in list(graph.nodes):
        inner = node.args[0] if node.target is aten.reshape.default else None
        if not isinstance(inner, fx.Node) or inner.target is not aten.sum.dim_IntList or inner.kwargs:
            continue
        source: Any = inner.args[0]
        axes = summed_axes(inner)
        left = [size for axis, size in enumerate(source.meta["val"].shape) if axis not in axes]
        if len(inner.args) > 2 and inner.args[2] and list(node.meta["val"].shape) == left:
            with graph.inserting_before(node):
                plain = graph.call_function(aten.sum.dim_IntList, (source, axes))
            plain.meta = dict(node.meta)
            node.replace_all_uses_with(plain)


def _share_equal(graph: fx.Graph) -> None:
    """Two calls with the same arguments are one call."""
    seen: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function" or is_random(node):
            continue
        key = (node.target, _frozen(node.args), _frozen(node.kwargs))
        if key in seen:
            node.replace_all_uses_with(seen[key])
        else:
            seen[key] = node


def _frozen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return tuple((key, _frozen(item)) for key, item in value.items())
    # 1 and 1.0 and True are equal, and different arguments; so are 0.0 and -0.0
    return type(value).__name__, repr(value) if isinstance(value, float) else value
