"""What stage 4 of the compiled engine makes: the loop body as a small program on vectors.

Inside the loop every value is one vector for each sequence: `width` numbers. A program is a list of `Value`s in order:
leaves (rows of an array, carried state, parameters), products with a matrix, slices and concatenations, sums and
maxima over a row, and pointwise operations. It is printable, and `verify` says what a legal one is.

A matrix or a larger tensor for each sequence is such a vector too, its numbers in the order of memory. What is
transposed, broadcast or taken from the middle of one is a `view`: the same memory read with other strides. Sums over
some axes of a vector name its sizes; a product of two matrices of a sequence is the sum of a product of two views.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from torch import fx

__all__ = [
    "COMPARISONS",
    "LEAVES",
    "LOGIC",
    "MOVES",
    "POINTWISE",
    "REDUCTIONS",
    "Map",
    "Program",
    "Value",
    "root",
    "verify",
]

# leaves; `const` is a number, `carry` the state, `array` a row that torch computed for this step, the rest parameters
LEAVES = ("const", "carry", "array", "vector", "matrix")
REDUCTIONS = ("sum", "max", "min")
COMPARISONS = ("gt", "ge", "lt", "le", "eq", "ne")
LOGIC = ("and", "or", "not")
MOVES = ("slice", "view")  # other names for the memory of their source
# name of the operation -> number of operands
POINTWISE = {
    **dict.fromkeys(("add", "sub", "mul", "div", "maximum", "minimum", "and", "or"), 2),
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne", "pow", "fmod", "copysign"), 2),
    **dict.fromkeys(("neg", "abs", "sqrt", "exp", "expm1", "log", "log1p", "log1p_unit", "tanh"), 1),
    **dict.fromkeys(("sigmoid", "erf", "sin", "cos", "atan", "floor", "round", "trunc", "single", "not", "copy"), 1),
    "where": 3,
}


@dataclass(frozen=True)
class Map:
    """Some numbers of a vector in some order: number (i, j, ..) of `sizes` stands at start + i s + j s' + ..

    Attributes:
        start: where the first of them stands.
        sizes: how many there are along each axis.
        strides: the s, s', ..; 0 along an axis whose numbers are all the same one.
    """

    start: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def whole(cls, sizes: tuple[int, ...], start: int = 0) -> Map:
        """All numbers of a vector, in order."""
        return cls(start, sizes, tuple(math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))))

    @property
    def width(self) -> int:
        """How many numbers there are."""
        return math.prod(self.sizes)

    @property
    def limits(self) -> tuple[int, int]:
        """The lowest and the highest place."""
        ends = [(size - 1) * stride for size, stride in zip(self.sizes, self.strides, strict=True)]
        return self.start + sum(min(end, 0) for end in ends), self.start + sum(max(end, 0) for end in ends)

    def joined(self) -> Map:
        """The same with as few axes as possible: none of size 1, and none that goes on where the next one ends."""
        axes: list[tuple[int, int]] = []
        for size, stride in zip(self.sizes, self.strides, strict=True):
            if size == 1:
                continue
            if axes and axes[-1][1] == size * stride:
                axes[-1] = (axes[-1][0] * size, stride)
            else:
                axes.append((size, stride))
        return Map(self.start, tuple(size for size, _ in axes), tuple(stride for _, stride in axes))

    def cut(self, sizes: tuple[int, ...]) -> Map | None:
        """The same with these sizes, or None where they are no refinement of its own."""
        axes = list(zip(self.sizes, self.strides, strict=True))
        strides: list[int] = []
        left, stride = 1, 0
        for size in reversed(sizes):
            while size > 1 and left == 1 and axes:
                left, stride = axes.pop()
            if left % size:
                return None
            strides.append(stride if size > 1 else 0)
            left, stride = left // size, stride * size
        return Map(self.start, sizes, tuple(reversed(strides)))

    def __repr__(self) -> str:
        return f"[{self.start} + {' + '.join(f'{n}*{s}' for n, s in zip(self.sizes, self.strides, strict=True)) or 0}]"


@dataclass(eq=False)
class Value:
    """One vector for each sequence.

    Attributes:
        op: a leaf, `dot`, `conv`, `slice`, `view`, `cat`, `join`, a reduction, or a pointwise operation.
        args: the values it is made of; for a `const` the number, for a `slice` also its start, for a `view` its `Map`,
            for a `join` the `Map` of the places of each piece after it, for a `conv` its
            `Convolution`. For a reduction over some axes of its operand the sizes of that and the axes.
        width: numbers in the vector; 1 for a number that serves the whole row.
        boolean: whether it holds truth values.
        node: the graph node of a leaf.
    """

    op: str
    args: tuple[Any, ...]
    width: int
    boolean: bool = False
    node: fx.Node | None = None
    name: str = ""

    def operands(self) -> list[Value]:
        """The values among the arguments."""
        return [arg for arg in self.args if isinstance(arg, Value)]

    def pieces(self) -> list[tuple[Value, Map]]:
        """What a `cat` or a `join` is made of, with the places it goes to."""
        if self.op == "join":
            return list(zip(self.args[::2], self.args[1::2], strict=True))
        starts = [sum(arg.width for arg in self.args[:index]) for index in range(len(self.args))]
        return [(arg, Map.whole((arg.width,), start)) for arg, start in zip(self.args, starts, strict=True)]

    def __str__(self) -> str:
        args = ", ".join(arg.name if isinstance(arg, Value) else f"{arg!r}" for arg in self.args)
        kind = "bool" if self.boolean else "real"
        return f"{self.name}: {kind}[{self.width}] = {self.op}({args if self.args else self.node})"


def root(value: Value) -> Value:
    """The value whose memory is read where this one is."""
    while value.op in MOVES:
        value = value.args[0]
    return value


@dataclass
class Program:
    """A loop body.

    Attributes:
        values: in order of computation.
        carries: the value with which each field enters the step.
        results: the value of each field after the step.
        saved: value to keep at every step, by graph node.
        totals: value to add up over all steps of all sequences, by the graph node of the sum.
    """

    name: str
    values: list[Value] = field(default_factory=list)
    carries: list[Value] = field(default_factory=list)
    results: list[Value] = field(default_factory=list)
    saved: dict[fx.Node, Value] = field(default_factory=dict)
    totals: dict[fx.Node, Value] = field(default_factory=dict)

    @property
    def flops(self) -> int:
        """Of the products with matrices and the convolutions of one step of one sequence."""
        products = sum(2 * value.args[0].width * value.width for value in self.values if value.op == "dot")
        return products + sum(value.args[-1].flops for value in self.values if value.op == "conv")

    def users(self) -> dict[Value, list[Value]]:
        """The values that read each value."""
        users: dict[Value, list[Value]] = {value: [] for value in self.values}
        for value in self.values:
            for arg in value.operands():
                users[arg].append(value)
        return users

    def __str__(self) -> str:
        lines = [f"loop {self.name}:", *(f"  {value}" for value in self.values)]
        lines += [
            f"  next {carry.name} = {after.name}" for carry, after in zip(self.carries, self.results, strict=True)
        ]
        lines += [f"  keep {value.name}" for value in self.saved.values()]
        lines += [f"  add up {value.name}" for value in self.totals.values()]
        return "\n".join(lines)


def verify(program: Program) -> Program:
    """Check that a program is legal: operands come first, widths and kinds fit."""
    seen: set[int] = set()
    for value in program.values:
        operands = value.operands()
        assert all(id(arg) in seen for arg in operands), f"{value} is used before it is computed"
        if value.op in POINTWISE:
            assert len(value.args) == POINTWISE[value.op], f"{value} has the wrong number of operands"
            assert all(arg.width in (1, value.width) for arg in operands), f"{value} mixes widths"
        elif value.op == "slice":
            source, start = value.args
            assert source.op != "view", f"{value} is a slice of a view"
            assert start in range(source.width - value.width + 1), f"{value} reaches beyond its source"
        elif value.op == "view":
            source, view = value.args
            low, high = view.limits
            assert source.op not in MOVES, f"{value} is a view of a view"
            assert low >= 0, f"{value} reaches before its source"
            assert high < source.width, f"{value} reaches beyond its source"
            assert view.width == value.width, f"{value} has other sizes than its width"
        elif value.op in ("cat", "join"):
            assert sum(arg.width for arg in operands) == value.width, f"{value} does not add up"
            assert all(piece.width == places.width for piece, places in value.pieces()), f"{value} mixes widths"
            assert all(places.limits[1] < value.width for _, places in value.pieces()), f"{value} is too short"
        elif value.op == "dot":
            assert operands[1].op == "matrix", f"{value} is no product with a matrix"
        elif value.op == "conv":
            _verify_convolution(value)
        elif value.op in REDUCTIONS:
            _verify_reduction(value)
        else:
            assert value.op in LEAVES, f"{value} is no known operation"
        seen.add(id(value))
    for carry, after in zip(program.carries, program.results, strict=True):
        assert carry.width == after.width, f"{carry} changes its width to {after.width}"
    return program


def _verify_convolution(value: Value) -> None:
    *(source, weight, *bias), of = value.args
    assert source.op != "view", f"{value} reads numbers that do not stand side by side"
    assert source.width == of.channels * math.prod(of.size), f"{value} has other sizes than its operand"
    assert value.width == of.out_channels * math.prod(of.out_size), f"{value} has other sizes than its result"
    assert weight.width * of.groups == of.channels * of.out_channels * of.taps, f"{value} has another weight"
    assert all(each.width == of.out_channels for each in bias), f"{value} has another bias"


def _verify_reduction(value: Value) -> None:
    if len(value.args) == 1:
        assert value.width == 1, f"{value} is one number"
        return
    source, sizes, axes = value.args
    assert math.prod(sizes) == source.width, f"{value} has other sizes than its operand"
    kept = math.prod(size for axis, size in enumerate(sizes) if axis not in axes)
    assert kept == value.width, f"{value} keeps {kept} numbers"
