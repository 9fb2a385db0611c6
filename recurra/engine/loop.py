"""What stage 4 of the compiled engine makes: the loop body as a small program on vectors.

Inside the loop every value is one vector for each sequence: `width` numbers. A program is a list of `Value`s in order:
leaves (rows of an array, carried state, parameters), products with a matrix, slices and concatenations, sums and
maxima over a row, and pointwise operations. It is printable, and `verify` says what a legal one is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import fx

__all__ = ["POINTWISE", "Program", "Value", "verify"]

# leaves; `const` is a number, `carry` the state, `array` a row that torch computed for this step, the rest parameters
LEAVES = ("const", "carry", "array", "vector", "matrix")
REDUCTIONS = ("sum", "max", "min")
# name of the operation -> number of operands
POINTWISE = {
    **dict.fromkeys(("add", "sub", "mul", "div", "maximum", "minimum", "and", "or"), 2),
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne"), 2),
    **dict.fromkeys(("neg", "abs", "sqrt", "exp", "expm1", "log", "log1p", "tanh", "sigmoid", "erf"), 1),
    **dict.fromkeys(("sin", "cos", "floor", "not", "copy"), 1),
    "where": 3,
}


@dataclass(eq=False)
class Value:
    """One vector for each sequence.

    Attributes:
        op: a leaf, `dot`, `slice`, `cat`, a reduction, or a pointwise operation.
        args: the values it is made of; for a `const` the number, for a `slice` also its start.
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

    def __str__(self) -> str:
        args = ", ".join(arg.name if isinstance(arg, Value) else f"{arg!r}" for arg in self.args)
        kind = "bool" if self.boolean else "real"
        return f"{self.name}: {kind}[{self.width}] = {self.op}({args if self.args else self.node})"


@dataclass
class Program:
    """A loop body.

    Attributes:
        values: in order of computation.
        carries: the value with which each field enters the step.
        results: the value of each field after the step.
        saved: value to keep at every step, by graph node.
    """

    name: str
    values: list[Value] = field(default_factory=list)
    carries: list[Value] = field(default_factory=list)
    results: list[Value] = field(default_factory=list)
    saved: dict[fx.Node, Value] = field(default_factory=dict)

    def leaves(self, op: str) -> list[Value]:
        """The leaves of one kind, in order."""
        return [value for value in self.values if value.op == op]

    def __str__(self) -> str:
        lines = [f"loop {self.name}:", *(f"  {value}" for value in self.values)]
        lines += [
            f"  next {carry.name} = {after.name}" for carry, after in zip(self.carries, self.results, strict=True)
        ]
        lines += [f"  keep {value.name}" for value in self.saved.values()]
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
            assert start in range(source.width - value.width + 1), f"{value} reaches beyond its source"
        elif value.op == "cat":
            assert sum(arg.width for arg in operands) == value.width, f"{value} does not add up"
        elif value.op == "dot":
            assert operands[1].op == "matrix", f"{value} is no product with a matrix"
        elif value.op in REDUCTIONS:
            assert value.width == 1, f"{value} is one number"
        else:
            assert value.op in LEAVES, f"{value} is no known operation"
        seen.add(id(value))
    for carry, after in zip(program.carries, program.results, strict=True):
        assert carry.width == after.width, f"{carry} changes its width to {after.width}"
    return program
