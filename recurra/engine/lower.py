"""Stage 4 of the compiled engine: graph nodes become values of a loop program, by one table of ATen calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import fx

from recurra.engine.builder import Builder
from recurra.engine.composed import COMPOSED
from recurra.engine.convolution import convolution_of
from recurra.engine.loop import COMPARISONS, LOGIC, MOVES, POINTWISE, Map, Program, Value, verify
from recurra.engine.movement import origins, places_of
from recurra.engine.rows import row_axis, row_shape, row_width
from recurra.engine.simplify import is_random, strided, strided_scatter
from recurra.engine.split import Loop
from recurra.engine.trace import Unsupported, op_name

__all__ = ["lower"]

aten, prims = torch.ops.aten, torch.ops.prims

_WHOLE = (torch.int8, torch.int16, torch.int32, torch.int64)  # in a loop they are counts and signs: floats hold them
_NARROW = (torch.uint8, torch.int8, torch.int16)  # which soon overflow, as floats do not
# what makes no new digits of numbers
_EXACT = (
    *("single", "where", "neg", "abs", "maximum", "minimum", "max", "min", "floor", "trunc", "round", "copysign"),
    *("copy", "const", "array", "vector", "cat", "join", *MOVES),
)
_CONSTANT = ("full", "zeros", "ones", "scalar_tensor")  # written where they are read, wherever they were computed


def lower(loop: Loop, dtype: torch.dtype | None = None) -> Program:
    """Turn the graph nodes of a loop into a program.

    Args:
        loop: what runs at a step.
        dtype: the precision of the program; that of the state where not given.

    Raises:
        Unsupported: an operation has no vector form.
    """
    dtype = dtype or loop.carries[0].meta["val"].dtype
    builder = _Builder(Program(loop.name), set(loop.carries), set(loop.nodes), is_double=dtype is torch.float64)
    program = builder.program
    program.carries = [builder.value(node) for node in loop.carries]
    for node in loop.nodes:
        builder.value(node)
    program.results = [builder.full(builder.value(node), row_width(node)) for node in loop.results]
    program.saved = {node: builder.full(builder.value(node), row_width(node)) for node in loop.saved}
    for node in loop.totals:
        terms = _arg(node, 0)
        program.totals[node] = builder.full(builder.value(terms), row_width(terms))
    _share_equal(program)
    _remove_dead(program)
    for index, value in enumerate(program.values):
        value.name = f"{'m' if value.op == 'matrix' else 'v'}{index}"
    return verify(program)


def _share_equal(program: Program) -> None:
    """Compute numbers once that are computed twice alike, as the mean that a variance has made of its own.

    Vectors are computed again where they are read again: it takes less than to keep them.
    """
    first: dict[Any, Value] = {}
    same: dict[Value, Value] = {}
    for value in program.values:
        args = tuple(same.get(arg, arg) if isinstance(arg, Value) else arg for arg in value.args)
        key = (value.op, args, value.width, value.boolean) if args and value.op != "const" else value
        same[value] = first.setdefault(key, value)
        value.args = tuple(same[arg] if isinstance(arg, Value) and arg.width == 1 else arg for arg in value.args)


def _remove_dead(program: Program) -> None:
    live: set[int] = set()
    stack = [*program.carries, *program.results, *program.saved.values(), *program.totals.values()]
    while stack:
        value = stack.pop()
        if id(value) not in live:
            live.add(id(value))
            stack.extend(value.operands())
    program.values = [value for value in program.values if id(value) in live]


class _Builder(Builder):
    """Makes the values of graph nodes; what a step computes in float32 is rounded to it where a loop is of float64."""

    def __init__(self, program: Program, carries: set[fx.Node], inside: set[fx.Node], *, is_double: bool) -> None:
        super().__init__(program)
        self.carries, self.inside, self.is_double = carries, inside, is_double

    def value(self, node: Any) -> Value:
        """The value of a graph node or a number."""
        if not isinstance(node, fx.Node):
            return self.const(node)
        if node in self.known:
            return self.known[node]
        if node in self.inside or (node.op == "call_function" and op_name(node) in _CONSTANT):
            lowering = _LOWER.get(node.target)
            if lowering is None:
                raise Unsupported(op_name(node))
            made = lowering(self, node)
            if self.is_single(node) and made.op not in _EXACT and not made.boolean:
                made = self.pointwise("single", made)
        else:
            made = self._leaf_of(node)
        self.known[node] = made
        return made

    def _leaf_of(self, node: fx.Node) -> Value:
        dtype = node.meta["val"].dtype
        if not _is_real(node):
            raise Unsupported(op_name(node), f"its type is {dtype}")
        kind = "vector" if row_axis(node) is None else "carry" if node in self.carries else "array"
        return self.leaf(kind, node, row_width(node), dtype == torch.bool)

    def is_single(self, node: fx.Node) -> bool:
        """Whether a call gives float32 in a loop of float64."""
        return self.is_double and node.meta["val"].dtype is torch.float32

    def operand(self, arg: Any, node: fx.Node) -> Value:
        """An argument of a pointwise call, spread to the shape of its result."""
        _expect_wide(node)
        if isinstance(arg, float) and self.is_single(node):
            arg = torch.tensor(arg, dtype=torch.float32, device="cpu").item()
        value = self.value(arg)
        return self.spread(value, row_shape(arg), row_shape(node)) if isinstance(arg, fx.Node) else value


def _is_real(node: fx.Node) -> bool:
    return node.meta["val"].dtype in (torch.float32, torch.float64, torch.bool, *_WHOLE)


def _expect_wide(node: fx.Node) -> None:
    """Refuse results that would soon be too large for their type, and begin anew."""
    if node.meta["val"].dtype in _NARROW:
        raise Unsupported(op_name(node), f"its type is {node.meta['val'].dtype}")


def _arg(node: fx.Node, index: int, default: Any = None) -> Any:
    """An argument of a call; fx's own type for it has no use here."""
    return node.args[index] if len(node.args) > index else default


_Lowering = Callable[[_Builder, fx.Node], Value]


def _pointwise(op: str) -> _Lowering:
    def make(builder: _Builder, node: fx.Node) -> Value:
        args = [builder.operand(arg, node) for arg in node.args[: POINTWISE[op]]]
        if node.kwargs.get("alpha", 1) != 1:
            args[1] = builder.pointwise("mul", args[1], node.kwargs["alpha"])
        boolean = node.meta["val"].dtype == torch.bool
        made = builder.pointwise({"add": "or", "mul": "and"}.get(op, op) if boolean else op, *args)
        if made.boolean != boolean:
            raise Unsupported(op_name(node), "on truth values" if boolean else "on whole numbers")
        return made

    return make


def _differ(builder: _Builder, node: fx.Node) -> Value:
    """Whether one of two is true."""
    return builder.pointwise("ne", *(builder.flag(builder.operand(arg, node)) for arg in node.args))


def _log1p(builder: _Builder, node: fx.Node) -> Value:
    """Of exp(-|x|), which logsigmoid has, it is less work."""
    x = builder.operand(_arg(node, 0), node)
    of = [x.op, *[each.op for each in x.args[:1] if isinstance(each, Value)]]
    is_unit = of == ["exp", "neg"] and x.args[0].args[0].op == "abs"
    return builder.pointwise("log1p_unit" if is_unit else "log1p", x)


def _composed(function: Callable[..., Value]) -> _Lowering:
    """A pointwise call made of several operations: `function(make, *operands)`, where `make(op, *args)`."""

    def lowering(builder: _Builder, node: fx.Node) -> Value:
        operands = [builder.operand(a, node) if isinstance(a, fx.Node) else a for a in node.args]
        return function(builder.pointwise, *operands, **node.kwargs)

    return lowering


def _moved(builder: _Builder, node: fx.Node) -> Value:
    if row_axis(node) is None:
        raise Unsupported(op_name(node), "it mixes the rows of the batch")
    sources, places = origins(node, builder.value)
    return builder.move(sources, places, op_name(node))


def _known(node: fx.Node, reader: fx.Node) -> Any:
    """The value of what is made of no input, such as a list of places written in the step."""
    if node.op != "call_function" or is_random(node):
        raise Unsupported(op_name(reader), "its places are not known when it is compiled")
    target: Any = node.target
    args: Any = fx.map_arg(node.args, lambda arg: _known(arg, reader))
    return target(*args, **node.kwargs)


def _places_named(node: fx.Node, source: fx.Node, indices: Any) -> torch.Tensor:
    """The places of a row of the source that an index names, in the shape of what is found there."""
    axis = row_axis(source)
    if axis is None or (axis < len(indices) and indices[axis] is not None):
        raise Unsupported(op_name(node), "it mixes the rows of the batch")
    shape = row_shape(source)
    found = [slice(None) if index is None else _known(index, node) for index in indices]
    return torch.arange(math.prod(shape), device="cpu").reshape(shape)[tuple(found)]


def _indexed(builder: _Builder, node: fx.Node) -> Value:
    source, indices = _arg(node, 0), _arg(node, 1)
    named = _places_named(node, source, indices)
    value, places = places_of(builder.value(source), row_width(source))
    return builder.move([value], places[named], op_name(node))


def _index_put(builder: _Builder, node: fx.Node) -> Value:
    """Written one after the other where several numbers go to one place, or added up there."""
    target, indices, new = (_arg(node, index) for index in range(3))
    named = _places_named(node, target, indices)
    old, mine = places_of(builder.value(target), row_width(target))
    value, theirs = places_of(builder.value(new), row_width(new))
    theirs = theirs.reshape(row_shape(new)).expand(named.shape).flatten()
    goals = named.flatten()
    if not _arg(node, 3, False):
        places = mine.clone()
        places[goals] = old.width + theirs
        return builder.move([old, value], places, op_name(node))
    total = builder.value(target)
    while len(goals):
        first = torch.from_numpy(np.unique(goals.numpy(), return_index=True)[1])
        places = torch.full_like(mine, value.width)
        places[goals[first]] = theirs[first]
        total = builder.pointwise("add", total, builder.move([value, builder.const(0.0)], places, op_name(node)))
        left = torch.ones_like(goals, dtype=torch.bool)
        left[first] = False
        goals, theirs = goals[left], theirs[left]
    return total


# --- products --------------------------------------------------------------------------------------------------------


def _dot(builder: _Builder, node: fx.Node) -> Value:
    left, right = _arg(node, 0), _arg(node, 1)
    if row_axis(left) != 0 or row_axis(right) is not None:
        raise Unsupported("mm", "only a row times a matrix of parameters")
    if row_shape(left)[0] > 1:  # [B * n, k]: the same matrix for each of n rows
        return _contraction(builder, node, (1, *row_shape(left)), (1, *row_shape(right)))
    inner, outer = right.meta["val"].shape
    rows = builder.full(builder.number(builder.value(left)), inner)
    if rows.op == "view":  # a product reads numbers that stand side by side
        rows = builder.pointwise("copy", rows)
    return builder.add("dot", (rows, builder.leaf("matrix", right, inner * outer)), outer)


def _bmm(builder: _Builder, node: fx.Node) -> Value:
    left, right = _arg(node, 0), _arg(node, 1)
    if row_axis(node) is None:
        raise Unsupported("bmm", "it mixes the rows of the batch")
    return _contraction(builder, node, row_shape(left), row_shape(right))


def _contraction(builder: _Builder, node: fx.Node, left: tuple[int, ...], right: tuple[int, ...]) -> Value:
    """[b, n, k] times [b, k, m]: the sum over k of a product of two views [b, n, m, k]."""
    (b, n, k), m = left, right[2]
    values = [builder.number(builder.value(arg)) for arg in node.args[:2]]
    (one, mine), (other, theirs) = builder.mapped(values[0], left), builder.mapped(values[1], right)
    sizes: tuple[int, ...] = (b, n, m, k)
    ours = (*mine.strides[:2], 0, mine.strides[2])
    others = (theirs.strides[0], 0, theirs.strides[2], theirs.strides[1])
    # vectors go along the last axis that is kept: where n allows that and m does not, the product is made transposed
    transposed = min(n, m) > 1 and ours[1] == 1 and others[2] != 1
    order = (0, 2, 1, 3) if transposed else (0, 1, 2, 3)
    sizes = tuple(sizes[axis] for axis in order)
    views = [
        builder.view(source, Map(start, sizes, tuple(strides[axis] for axis in order)))
        for source, start, strides in ((one, mine.start, ours), (other, theirs.start, others))
    ]
    made = _reduced(builder, "sum", builder.pointwise("mul", *views), sizes, {3})
    return builder.view(made, Map(0, (b, n, m), (n * m, 1, n))) if transposed else made


def _convolution(builder: _Builder, node: fx.Node) -> Value:
    of = convolution_of(node)
    source, weight, bias = (_arg(node, index) for index in range(3))
    image = builder.full(builder.number(builder.value(source)), row_width(source))
    if image.op == "view":  # it reads numbers that stand side by side
        image = builder.pointwise("copy", image)
    parameters = [builder.leaf("vector", each, row_width(each)) for each in (weight, bias) if each is not None]
    return builder.add("conv", (image, *parameters, of), row_width(node))


# --- over a row ------------------------------------------------------------------------------------------------------


def _reduced(builder: _Builder, op: str, value: Value, sizes: tuple[int, ...], axes: set[int]) -> Value:
    """Reduce a value of these sizes over some axes."""
    count = math.prod(sizes[axis] for axis in axes)
    if count == 1:
        return value
    if count == 0:  # there are sums of nothing alone
        return builder.const(0.0)
    value = builder.full(value, math.prod(sizes))
    joined: list[tuple[int, bool]] = []  # axes side by side that are both kept or both reduced are one
    for axis, size in enumerate(sizes):
        if size == 1:
            continue
        if joined and joined[-1][1] == (axis in axes):
            joined[-1] = (joined[-1][0] * size, axis in axes)
        else:
            joined.append((size, axis in axes))
    if len(joined) == 1:
        return builder.add(op, (value,), 1)
    kept = math.prod(size for size, gone in joined if not gone)
    gone = tuple(axis for axis, (_, gone) in enumerate(joined) if gone)
    return builder.add(op, (value, tuple(size for size, _ in joined), gone), kept)


def _axes(node: fx.Node) -> set[int]:
    """The axes that a reduction names."""
    source, dims = _arg(node, 0), _arg(node, 1)
    rank = len(row_shape(source))
    axes = {d % rank for d in ([dims] if isinstance(dims, int) else dims or range(rank))}
    if row_axis(source) is None or row_axis(source) in axes:
        raise Unsupported(op_name(node), "it mixes the rows of the batch")
    return axes


def _over_row(builder: _Builder, node: fx.Node, op: str, value: Value) -> Value:
    """Reduce a value of the shape of the call's first argument over the sizes that the call names."""
    _expect_wide(node)
    return _reduced(builder, op, builder.number(value), row_shape(_arg(node, 0)), _axes(node))


def _reduction(op: str) -> _Lowering:
    def make(builder: _Builder, node: fx.Node) -> Value:
        found = _over_row(builder, node, op, builder.value(_arg(node, 0)))
        return builder.flag(found) if node.meta["val"].dtype == torch.bool else found

    return make


def _count(node: fx.Node) -> int:
    return math.prod(row_shape(_arg(node, 0))[axis] for axis in _axes(node))


def _mean(builder: _Builder, node: fx.Node) -> Value:
    total = _over_row(builder, node, "sum", builder.value(_arg(node, 0)))
    return builder.pointwise("div", total, float(_count(node)))


def _variance(builder: _Builder, node: fx.Node) -> Value:
    x, shape = builder.value(_arg(node, 0)), row_shape(_arg(node, 0))
    with_mean = tuple(1 if axis in _axes(node) else size for axis, size in enumerate(shape))
    mean = builder.spread(_mean(builder, node), with_mean, shape)
    centred = builder.pointwise("sub", builder.full(x, math.prod(shape)), mean)
    total = _over_row(builder, node, "sum", builder.pointwise("mul", centred, centred))
    correction = node.kwargs.get("correction", _arg(node, 2, 1))
    return builder.pointwise("div", total, _count(node) - (1.0 if correction is None else float(correction)))


def _full(builder: _Builder, node: fx.Node) -> Value:
    if op_name(node) == "scalar_tensor":
        return builder.value(_arg(node, 0))
    number = {"zeros": 0.0, "ones": 1.0}.get(op_name(node))
    number = _arg(node, 1) if number is None else number
    if (
        isinstance(number, float) and node.meta["val"].is_floating_point()
    ):  # of the node's own type: another default one may be narrower than the cell's
        number = torch.tensor(number, dtype=node.meta["val"].dtype, device="cpu").item()
    made = builder.value(number)
    return builder.flag(made) if node.meta["val"].dtype == torch.bool else made


def _cast(builder: _Builder, node: fx.Node) -> Value:
    source = _arg(node, 0)
    value = builder.value(source)
    to, was = node.meta["val"].dtype, source.meta["val"].dtype
    if to == torch.bool:
        return builder.flag(value)
    if was not in (to, torch.bool):
        _expect_wide(node)
    if to in _WHOLE and was.is_floating_point:
        return builder.pointwise("trunc", value)
    if to != was and was.is_floating_point and not builder.is_double:
        raise Unsupported("to", f"from {was} to {to}")
    return builder.pointwise("single", value) if builder.is_single(node) and to != was else builder.number(value)


def _written(builder: _Builder, node: fx.Node) -> Value:
    """`copy(old, new)`, what a step that writes into a part of a tensor is made of."""
    new = _arg(node, 1)
    if new.meta["val"].dtype == node.meta["val"].dtype:
        return builder.operand(new, node)
    if not builder.is_double:
        raise Unsupported("copy", f"from {new.meta['val'].dtype} to {node.meta['val'].dtype}")
    made = builder.number(builder.operand(new, node))
    return builder.pointwise("single", made) if builder.is_single(node) else made


def _same(builder: _Builder, node: fx.Node) -> Value:
    return builder.value(_arg(node, 0))


def _table() -> dict[Any, _Lowering]:
    table: dict[Any, _Lowering] = {}

    def give(lowering: _Lowering, *names: str) -> None:
        for name in names:
            namespace, _, op = name.rpartition(":")
            packet = getattr(prims if namespace == "prims" else aten, op)
            table.update({getattr(packet, overload): lowering for overload in packet.overloads()})

    for name in ("add", "sub", "mul", "maximum", "minimum", *COMPARISONS, "where", "fmod", "copysign"):
        give(_pointwise(name), name)
    for name in ("neg", "abs", "sqrt", "exp", "expm1", "log", "tanh", "sigmoid", "erf", "sin", "cos", "atan"):
        give(_pointwise(name), name)
    give(_log1p, "log1p")
    for name in ("floor", "trunc"):
        give(_pointwise(name), name)
    for name in LOGIC:
        give(_pointwise(name), f"logical_{name}", f"bitwise_{name}")
    give(_pointwise("ne"), "bitwise_xor")
    give(_differ, "logical_xor")
    give(_pointwise("div"), "prims:div")
    for name, function in COMPOSED.items():
        give(_composed(function), name)
    give(_moved, "view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "expand", "prims:broadcast_in_dim")
    give(_moved, "slice", "select", "cat", "permute", "flip", "repeat", "constant_pad_nd", "slice_scatter")
    give(_moved, "select_scatter", "t", "transpose", "roll", "unfold", "diagonal", "diagonal_scatter")
    give(_moved, "as_strided_copy")
    give(_indexed, "index", "_unsafe_index")
    give(_index_put, "index_put", "_unsafe_index_put")
    table[strided] = table[strided_scatter] = _moved
    give(_dot, "mm")
    give(_bmm, "bmm")
    give(_convolution, "convolution")
    give(_reduction("sum"), "sum", "prims:sum")
    give(_reduction("max"), "amax", "prims:amax")
    give(_reduction("min"), "amin", "prims:amin")
    give(_reduction("max"), "any")
    give(_mean, "mean")
    give(_variance, "var", "prims:var")
    give(_full, "full", "zeros", "ones", "scalar_tensor")
    give(_cast, "_to_copy", "prims:convert_element_type")
    give(_written, "copy")
    give(_same, "clone", "alias", "detach")
    return table


_LOWER = _table()
