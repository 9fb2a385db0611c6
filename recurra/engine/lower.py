"""Stage 4 of the compiled engine: graph nodes become values of a loop program, by one table of ATen calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import fx

from recurra.engine.loop import POINTWISE, Map, Program, Value, verify
from recurra.engine.movement import MAX_PIECES, Box, boxes, origins, pieces
from recurra.engine.rows import row_axis, row_shape, row_width
from recurra.engine.split import Loop
from recurra.engine.trace import Unsupported

__all__ = ["lower"]

aten, prims = torch.ops.aten, torch.ops.prims

_CONSTANT = ("full", "zeros", "ones", "scalar_tensor")  # written where they are read, wherever they were computed
_COMPARE = ("gt", "ge", "lt", "le", "eq", "ne")
_LOGIC = ("and", "or", "not")


def lower(loop: Loop) -> Program:
    """Turn the graph nodes of a loop into a program.

    Raises:
        Unsupported: an operation has no vector form.
    """
    builder = _Builder(Program(loop.name), set(loop.carries), set(loop.nodes))
    program = builder.program
    program.carries = [builder.value(node) for node in loop.carries]
    for node in loop.nodes:
        builder.value(node)
    program.results = [builder.full(builder.value(node), row_width(node)) for node in loop.results]
    program.saved = {node: builder.full(builder.value(node), row_width(node)) for node in loop.saved}
    _remove_dead(program)
    for index, value in enumerate(program.values):
        value.name = f"{'m' if value.op == 'matrix' else 'v'}{index}"
    return verify(program)


def _remove_dead(program: Program) -> None:
    live: set[int] = set()
    stack = [*program.carries, *program.results, *program.saved.values()]
    while stack:
        value = stack.pop()
        if id(value) not in live:
            live.add(id(value))
            stack.extend(value.operands())
    program.values = [value for value in program.values if id(value) in live]


@dataclass
class _Builder:
    program: Program
    carries: set[fx.Node]
    inside: set[fx.Node]
    known: dict[Any, Value] = field(default_factory=dict)

    # --- making values -----------------------------------------------------------------------------------------------

    def add(self, op: str, args: tuple[Any, ...], width: int, boolean: bool = False) -> Value:
        value = Value(op, args, width, boolean)
        self.program.values.append(value)
        return value

    def leaf(self, op: str, node: fx.Node, width: int, boolean: bool = False) -> Value:
        if (op, node) not in self.known:
            value = Value(op, (), width, boolean, node)
            self.program.values.append(value)
            self.known[op, node] = value
        return self.known[op, node]

    def const(self, number: float) -> Value:
        """A number that serves the whole row."""
        key = ("const", repr(number))  # 0 and -0 are equal, and NaN is not
        if key not in self.known:
            self.known[key] = self.add("const", (number,), 1)
        return self.known[key]

    def pointwise(self, op: str, *args: Any) -> Value:
        """A pointwise operation on values and numbers, of the kinds that it works on."""
        values = [arg if isinstance(arg, Value) else self.value(arg) for arg in args]
        width = max(value.width for value in values)
        boolean = op in _COMPARE or op in _LOGIC
        if op in _LOGIC:
            values = [self.flag(value) for value in values]
        elif op == "where":
            boolean = values[1].boolean and values[2].boolean
            kind = self.flag if boolean else self.number
            values = [self.flag(values[0]), kind(values[1]), kind(values[2])]
        elif op != "copy":
            values = [self.number(value) for value in values]
        return self.add(op, tuple(values), width, boolean)

    def number(self, value: Value) -> Value:
        """1 for true and 0 for false."""
        if not value.boolean:
            return value
        return self.add("where", (value, self.value(1.0), self.value(0.0)), value.width)

    def flag(self, value: Value) -> Value:
        """True for what is not 0."""
        return value if value.boolean else self.add("ne", (value, self.value(0.0)), value.width, True)

    def full(self, value: Value, width: int) -> Value:
        """As a vector of that many numbers of its own, for what is kept, carried or put beside others."""
        if value.width == width and value.op not in ("const", "vector"):
            return value
        if value.boolean:
            return self.add("or", (value, self.flag(self.value(0.0))), width, True)
        # -0 is what can be added to every number and changes none
        return self.add("add", (value, self.value(-0.0)), width)

    def view(self, source: Value, places: Map) -> Value:
        """The numbers of a value at these places: the value itself or a slice of it where that is what they are.

        Of width 1 where all of them are one number.
        """
        if source.op == "view":
            source = self.add("copy", (source,), source.width, source.boolean)
        while source.op == "slice":
            source, start = source.args
            places = Map(places.start + start, places.sizes, places.strides)
        places = places.joined()
        if not any(places.strides):
            return self._slice(source, places.start, 1)
        if places.strides == (1,):
            return self._slice(source, places.start, places.width)
        return self.add("view", (source, places), places.width, source.boolean)

    def mapped(self, value: Value, sizes: tuple[int, ...]) -> tuple[Value, Map]:
        """The value whose memory is read, and where it stands there, axis by axis; one number serves all axes."""
        if value.width == 1 != math.prod(sizes):
            return value, Map(0, sizes, (0,) * len(sizes))
        if value.op != "view":
            return value, Map.whole(sizes)
        source, places = value.args
        cut = places.cut(sizes)
        return (value, Map.whole(sizes)) if cut is None else (source, cut)

    def spread(self, value: Value, mine: tuple[int, ...], sizes: tuple[int, ...]) -> Value:
        """A value of shape `mine` broadcast to `sizes`."""
        if math.prod(mine) == math.prod(sizes) or value.width == 1:
            return value
        source, places = self.mapped(value, mine)
        new = len(sizes) - len(mine)
        strides = [0] * new + [
            s if n == size else 0 for n, s, size in zip(mine, places.strides, sizes[new:], strict=True)
        ]
        return self.view(source, Map(places.start, sizes, tuple(strides)))

    def move(self, sources: list[Value], places: torch.Tensor, op: str) -> Value:
        """The numbers at these places of the sources; of width 1 where all of them are one number."""
        found = list(islice(pieces(sources, places), MAX_PIECES + 1))
        if len(found) > 1 and len(fewer := boxes(sources, places)) < len(found):
            return self._put_together(fewer, places.numel(), op)
        if len(found) > MAX_PIECES:
            raise Unsupported(op, f"it moves a row in more than {MAX_PIECES} pieces")
        parts = [(self._slice(source, start, 1 if same else count), count) for source, start, count, same in found]
        if len(parts) == 1:
            return parts[0][0]
        boolean = all(part.boolean for part, _ in parts)
        parts = [(part if boolean else self.number(part), count) for part, count in parts]
        return self.add("cat", tuple(self.full(part, count) for part, count in parts), places.numel(), boolean)

    def _put_together(self, found: list[Box], width: int, op: str) -> Value:
        if len(found) > MAX_PIECES:
            raise Unsupported(op, f"it moves a row in more than {MAX_PIECES} pieces")
        if len(found) == 1:
            return self.view(*found[0][:2])
        parts = [(self.view(source, places), goal) for source, places, goal in found]
        boolean = all(part.boolean for part, _ in parts)
        args = [(self.full(part if boolean else self.number(part), goal.width), goal) for part, goal in parts]
        return self.add("join", tuple(item for arg in args for item in arg), width, boolean)

    def _slice(self, source: Value, start: int, width: int) -> Value:
        if width == source.width:
            return source
        return self.add("slice", (source, start), width, source.boolean)

    # --- graph nodes -------------------------------------------------------------------------------------------------

    def value(self, node: Any) -> Value:
        """The value of a graph node or a number."""
        if not isinstance(node, fx.Node):
            if isinstance(node, complex):
                raise Unsupported("complex")
            return self.const(float(node))
        if node in self.known:
            return self.known[node]
        if node in self.inside or (node.op == "call_function" and _name(node) in _CONSTANT):
            lowering = _LOWER.get(node.target)
            if lowering is None:
                raise Unsupported(_name(node))
            made = lowering(self, node)
        else:
            made = self._leaf_of(node)
        self.known[node] = made
        return made

    def _leaf_of(self, node: fx.Node) -> Value:
        dtype = node.meta["val"].dtype
        if not _is_real(node):
            raise Unsupported(_name(node), f"its type is {dtype}")
        kind = "vector" if row_axis(node) is None else "carry" if node in self.carries else "array"
        return self.leaf(kind, node, row_width(node), dtype == torch.bool)

    def operand(self, arg: Any, node: fx.Node) -> Value:
        """An argument of a pointwise call, spread to the shape of its result."""
        value = self.value(arg)
        return self.spread(value, row_shape(arg), row_shape(node)) if isinstance(arg, fx.Node) else value


def _is_real(node: fx.Node) -> bool:
    return node.meta["val"].dtype in (torch.float32, torch.float64, torch.bool)


def _name(node: fx.Node) -> str:
    target: Any = getattr(node.target, "overloadpacket", node.target)
    return target if isinstance(target, str) else target.__name__  # an input of the graph goes by its name


def _arg(node: fx.Node, index: int, default: Any = None) -> Any:
    """An argument of a call; fx's own type for it has no use here."""
    return node.args[index] if len(node.args) > index else default


_Lowering = Callable[[_Builder, fx.Node], Value]


def _pointwise(op: str) -> _Lowering:
    def make(builder: _Builder, node: fx.Node) -> Value:
        if node.kwargs.get("rounding_mode") is not None:
            raise Unsupported(_name(node), f"rounding_mode={node.kwargs['rounding_mode']!r}")
        args = [builder.operand(arg, node) for arg in node.args[: POINTWISE[op]]]
        if node.kwargs.get("alpha", 1) != 1:
            args[1] = builder.pointwise("mul", args[1], node.kwargs["alpha"])
        boolean = node.meta["val"].dtype == torch.bool
        made = builder.pointwise({"add": "or", "mul": "and"}.get(op, op) if boolean else op, *args)
        if made.boolean != boolean:
            raise Unsupported(_name(node), "on truth values")
        return made

    return make


def _composed(function: Callable[..., Value]) -> _Lowering:
    """A pointwise call made of several operations: `function(make, *operands)`, where `make(op, *args)`."""

    def lowering(builder: _Builder, node: fx.Node) -> Value:
        operands = [builder.operand(a, node) if isinstance(a, fx.Node) else a for a in node.args]
        return function(builder.pointwise, *operands)

    return lowering


def _power(make: Any, base: Any, exponent: Any) -> Any:
    plain = isinstance(exponent, int | float) and math.isfinite(exponent)
    if not plain or 2 * exponent != int(2 * exponent) or abs(exponent) > 16:
        return make("pow", base, exponent)
    if exponent == 0:
        return make("copy", 1.0)
    power = None if abs(exponent) % 1 == 0 else make("sqrt", base)
    square, left = base, int(abs(exponent))
    while left:
        if left & 1:
            power = square if power is None else make("mul", power, square)
        left >>= 1
        square = make("mul", square, square) if left else square
    return power if exponent > 0 else make("div", 1.0, power)


def _clamp(make: Any, x: Value, low: Any = None, high: Any = None) -> Value:
    x = x if low is None else make("maximum", x, low)
    return x if high is None else make("minimum", x, high)


def _sign(make: Any, x: Value) -> Value:
    return make("where", make("gt", x, 0.0), 1.0, make("where", make("lt", x, 0.0), -1.0, 0.0))


def _moved(builder: _Builder, node: fx.Node) -> Value:
    if row_axis(node) is None:
        raise Unsupported(_name(node), "it mixes the rows of the batch")
    sources, places = origins(node, builder.value)
    return builder.move(sources, places, _name(node))


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
    sizes = (b, n, m, k)
    places = (
        Map(mine.start, sizes, (mine.strides[0], mine.strides[1], 0, mine.strides[2])),
        Map(theirs.start, sizes, (theirs.strides[0], 0, theirs.strides[2], theirs.strides[1])),
    )
    views = [builder.view(source, where) for source, where in zip((one, other), places, strict=True)]
    return _reduced(builder, "sum", builder.pointwise("mul", *views), sizes, {3})


# --- over a row ------------------------------------------------------------------------------------------------------


def _reduced(builder: _Builder, op: str, value: Value, sizes: tuple[int, ...], axes: set[int]) -> Value:
    """Reduce a value of these sizes over some axes."""
    if math.prod(sizes[axis] for axis in axes) == 1:
        return value
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
        raise Unsupported(_name(node), "it mixes the rows of the batch")
    return axes


def _over_row(builder: _Builder, node: fx.Node, op: str, value: Value) -> Value:
    """Reduce a value of the shape of the call's first argument over the sizes that the call names."""
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
    if _name(node) == "scalar_tensor":
        return builder.value(_arg(node, 0))
    number = {"zeros": 0.0, "ones": 1.0}.get(_name(node))
    made = builder.value(_arg(node, 1) if number is None else number)
    return builder.flag(made) if node.meta["val"].dtype == torch.bool else made


def _cast(builder: _Builder, node: fx.Node) -> Value:
    source = _arg(node, 0)
    value = builder.value(source)
    to, was = node.meta["val"].dtype, source.meta["val"].dtype
    if to == torch.bool:
        return builder.flag(value)
    if to != was and was.is_floating_point:  # whole numbers in a loop are counts and signs: floats hold them exactly
        raise Unsupported("to", f"from {was} to {to}")
    return builder.number(value)


def _same(builder: _Builder, node: fx.Node) -> Value:
    return builder.value(_arg(node, 0))


def _table() -> dict[Any, _Lowering]:
    table: dict[Any, _Lowering] = {}

    def give(lowering: _Lowering, *names: str) -> None:
        for name in names:
            namespace, _, op = name.rpartition(":")
            packet = getattr(prims if namespace == "prims" else aten, op)
            table.update({getattr(packet, overload): lowering for overload in packet.overloads()})

    for name in ("add", "sub", "mul", "div", "maximum", "minimum", *_COMPARE, "where"):
        give(_pointwise(name), name)
    for name in ("neg", "abs", "sqrt", "exp", "expm1", "log", "log1p", "tanh", "sigmoid", "sin", "cos", "floor", "erf"):
        give(_pointwise(name), name)
    for name in _LOGIC:
        give(_pointwise(name), f"logical_{name}", f"bitwise_{name}")
    give(_pointwise("div"), "prims:div")
    give(_composed(lambda make, x: make("maximum", x, 0.0)), "relu")
    give(_composed(lambda make, x: make("div", 1.0, x)), "reciprocal")
    give(_composed(lambda make, x: make("div", 1.0, make("sqrt", x))), "rsqrt")
    give(_composed(lambda make, x: make("neg", make("floor", make("neg", x)))), "ceil")
    give(_composed(lambda make, x: make("ne", x, x)), "isnan")
    give(_composed(lambda make, x: make("eq", make("abs", x), math.inf)), "isinf")
    give(_composed(_power), "pow")
    give(_composed(_clamp), "clamp")
    give(_composed(lambda make, x, low: make("maximum", x, low)), "clamp_min")
    give(_composed(lambda make, x, high: make("minimum", x, high)), "clamp_max")
    give(_composed(_sign), "sign", "sgn")
    give(_moved, "view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "expand", "prims:broadcast_in_dim")
    give(_moved, "slice", "select", "cat", "permute", "flip", "repeat", "constant_pad_nd", "slice_scatter")
    give(_moved, "select_scatter", "t", "transpose", "roll", "unfold", "diagonal", "as_strided_copy")
    give(_dot, "mm")
    give(_bmm, "bmm")
    give(_reduction("sum"), "sum", "prims:sum")
    give(_reduction("max"), "amax", "prims:amax")
    give(_reduction("min"), "amin", "prims:amin")
    give(_reduction("max"), "any")
    give(_mean, "mean")
    give(_variance, "var", "prims:var")
    give(_full, "full", "zeros", "ones", "scalar_tensor")
    give(_cast, "_to_copy", "prims:convert_element_type")
    give(_same, "clone", "alias", "detach")
    return table


_LOWER = _table()
