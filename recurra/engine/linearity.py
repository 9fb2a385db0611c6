"""How the state of a step enters the next one: linearly, unit by unit, across units, or through products.

Each value of a loop program is given the way in which it depends on the state: a pass of one rule for each kind of
operation, from the carries to the results. A field whose next value is made of the input alone, or of other such
fields, holds a window of the input, however it goes on from there: what is made of it counts as made of the input.
"""

from __future__ import annotations

from enum import IntEnum

from recurra.engine.loop import MOVES, REDUCTIONS, Program, Value

__all__ = ["Recurrence", "recurrence"]


class Recurrence(IntEnum):
    """How a value depends on the state, from not at all to in every way; `str` says it in words.

    Attributes:
        WINDOW: not at all, or on a bounded number of inputs alone.
        LINEAR: number k of it is affine in number k of each field; the coefficients may be anything made of the input.
        ELEMENTWISE: number k of it is some function of number k of each field.
        ACROSS: some number of it depends on others of the state, by sums over a row or by moves within one.
        PRODUCTS: it depends on a product of the state and a matrix of parameters.
    """

    WINDOW = 0
    LINEAR = 1
    ELEMENTWISE = 2
    ACROSS = 3
    PRODUCTS = 4

    def __str__(self) -> str:
        return _WORDS[self]


_WORDS = {
    Recurrence.WINDOW: "none, the state holds a window of the input",
    Recurrence.LINEAR: "linear, the state enters affinely and unit by unit",
    Recurrence.ELEMENTWISE: "elementwise, each unit of the state sees itself alone, not linearly",
    Recurrence.ACROSS: "across units, with no product of the state and a weight",
    Recurrence.PRODUCTS: "with products of the state and a weight",
}


def recurrence(program: Program) -> Recurrence:
    """How the state after a step depends on the state before it.

        recurrence(lower(plan.forward))

    Args:
        program: the forward loop of a cell.
    """
    windows: set[Value] = set()
    while True:
        found = _dependence(program, windows)
        new = {
            carry
            for carry, after in zip(program.carries, program.results, strict=True)
            if found[after] == Recurrence.WINDOW and carry not in windows
        }
        if not new:
            return max((found[after] for after in program.results), default=Recurrence.WINDOW)
        windows |= new


def _dependence(program: Program, windows: set[Value]) -> dict[Value, Recurrence]:
    found: dict[Value, Recurrence] = {}
    for value in program.values:
        if value.op == "carry":
            found[value] = Recurrence.WINDOW if value in windows else Recurrence.LINEAR
        else:
            found[value] = _of(value, found)
    return found


def _of(value: Value, found: dict[Value, Recurrence]) -> Recurrence:
    """The dependence of one value, from those of its operands."""
    operands = value.operands()
    most = max((found[arg] for arg in operands), default=Recurrence.WINDOW)
    if most == Recurrence.WINDOW:
        return most
    if value.op in ("dot", "conv"):
        return Recurrence.PRODUCTS
    spread = any(found[arg] and arg.width != value.width for arg in operands)  # one number for the whole row
    if value.op in (*REDUCTIONS, *MOVES, "cat", "join") or spread:
        return max(most, Recurrence.ACROSS)
    return most if _is_affine(value, found) else max(most, Recurrence.ELEMENTWISE)


def _is_affine(value: Value, found: dict[Value, Recurrence]) -> bool:
    """Whether an operation on numbers of a unit is affine in those operands that depend on the state."""
    depends = [bool(isinstance(arg, Value) and found[arg]) for arg in value.args]
    if value.op in ("add", "sub", "neg", "copy"):
        return True
    if value.op == "mul":
        return not all(depends)
    if value.op in ("div", "where"):  # a divisor or a condition of the state bends it
        return not depends[1 if value.op == "div" else 0]
    return False
