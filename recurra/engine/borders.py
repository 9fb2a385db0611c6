"""What is better done inside a loop although it need not be, so that less goes through memory.

A value that crosses the border of a loop is written and read once for every step of every sequence. Where a row is a
matrix this is what a step costs: so views and cheap functions of what is kept anyway are computed again, and sums that
make a vector of a matrix are computed where the matrix is at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from recurra.engine.convolution import is_convolution
from recurra.engine.rows import row_axis, row_width
from recurra.engine.trace import op_name

__all__ = [
    "WIDEST_TOTAL",
    "added_up",
    "computed_again",
    "convolutions_at_hand",
    "drawn_in",
    "finished_in",
    "is_constant",
    "is_look",
    "is_sum_with_bias",
    "is_total",
    "is_transposed",
    "is_view",
    "joined",
    "made_in_passing",
    "spread_parameters",
    "summed_axes",
]

_VIEWS = ("view", "reshape", "unsqueeze", "squeeze", "permute", "transpose", "t", "expand", "select", "slice")
_ARITHMETIC = ("add", "sub", "mul", "neg", "abs", "maximum", "minimum", "clamp", "where")
_CHEAP = (*_ARITHMETIC, "eq", "ne", "gt", "ge", "lt", "le", "logical_and", "logical_or", "logical_not")
_SUMS = ("sum", "mean", "amax", "amin", "bmm")
_COSTLY = ("sigmoid", "tanh", "div")  # computed again where nothing more must be kept for it
WIDEST_TOTAL = 1 << 13  # numbers: beyond that the sums themselves are too far from the processor
_NARROW = 8  # a value that many times smaller than another costs next to nothing beside it
_FEW = 8  # calls that are cheaper than memory
_SMALLER = 4  # a sum is drawn into the loop where its operand is at least that many times larger


def is_view(node: fx.Node) -> bool:
    """Whether a node is another look at rows that stand in memory."""
    return is_look(node) and row_axis(node) is not None


def is_look(node: fx.Node) -> bool:
    """Whether a node is another look at the memory of its operand."""
    return op_name(node) in _VIEWS


def is_transposed(node: Any) -> bool:
    """Whether a node is the transpose of a matrix."""
    return node.target is torch.ops.aten.permute.default and list(node.args[1]) == [1, 0]


def _is_matrix(node: fx.Node) -> bool:
    return node.meta["val"].dim() > 2


def is_constant(node: fx.Node) -> bool:
    """Whether a node is a number that is written in the step: whoever reads it has it in his code."""
    return op_name(node) in ("full", "scalar_tensor") and node.meta["val"].dim() == 0 and not node.all_input_nodes


def spread_parameters(nodes: list[fx.Node], depends: dict[fx.Node, int]) -> set[fx.Node]:
    """Views that repeat a parameter for each row: in a loop they are no memory at all."""
    free: set[fx.Node] = set()
    for node in nodes:
        if is_view(node) and all(arg in free or not depends[arg] for arg in node.all_input_nodes):
            free.add(node)
    return free


def made_in_passing(nodes: list[fx.Node], before: set[fx.Node], x: fx.Node) -> set[fx.Node]:
    """Values that depend on the input alone and are a few cheap calls away from what stands in memory.

    A product stands there, and so does what must be written for somebody else. Whoever reads such a value makes it as
    it goes: of a product of the input that is normalised, nothing but a mean and a scale for each row is written
    besides; a piece of a product, or 1 - z beside z, is not written at all.

    Args:
        nodes: all calls, in order.
        before: those that depend on the input alone.
        x: the input.
    """
    made: dict[fx.Node, set[fx.Node]] = {}  # with the calls that make it

    def stands(leaf: fx.Node) -> bool:
        if leaf in made:
            return False
        return leaf is x or _is_product(leaf) or not before.issuperset(leaf.users)

    for node in nodes:
        if node not in before or not _is_made_in_passing(node):
            continue
        steps = {node}
        for arg in node.all_input_nodes:
            if arg in made and row_width(arg) == row_width(node):
                steps |= made[arg]
        leaves = {arg for step in steps for arg in step.all_input_nodes if row_axis(arg) is not None} - steps
        wide = [leaf for leaf in leaves if _NARROW * row_width(leaf) > row_width(node)]
        # to read two values in place of one is still less than to write that one
        if 1 <= len(wide) <= 2 and len(steps) <= _FEW and all(map(stands, wide)):
            made[node] = steps
    return set(made)


def _is_made_in_passing(node: fx.Node) -> bool:
    is_piece = op_name(node) == "slice" and node.meta["val"].dim() == 2 and node.args[1] != 0
    is_cheap = op_name(node) in (*_ARITHMETIC, "div") and not _is_product(node)
    return row_axis(node) == 0 and bool(is_piece or is_cheap) and all(map(_reads_by_row, node.users))


def _reads_by_row(user: fx.Node) -> bool:
    """Whether a call could get its operands row by row."""
    if user.op != "call_function" or op_name(user) in ("mm", "bmm"):
        return False
    return row_axis(user) == 0 or is_total(user)


def _is_product(node: fx.Node) -> bool:
    return op_name(node) in ("mm", "bmm") or is_sum_with_bias(node)


def is_sum_with_bias(node: fx.Node) -> bool:
    """Whether a node adds a vector to a product that nobody else reads: the product adds it by itself."""
    if op_name(node) != "add" or node.kwargs or len(node.all_input_nodes) < 2:
        return False
    product, bias = node.all_input_nodes[:2]
    is_ours = node.args == (product, bias) and op_name(product) == "mm" and len(product.users) == 1
    return is_ours and bias.meta["val"].shape == product.meta["val"].shape[1:]


def joined(nodes: list[fx.Node], loop: set[fx.Node], free: set[fx.Node]) -> set[fx.Node]:
    """Those of the free calls that a loop makes for itself, as it reads what they give."""
    found: set[fx.Node] = set()
    for node in reversed(nodes):
        if node in free and node not in loop and any(user in loop or user in found for user in node.users):
            found.add(node)
    return found


def computed_again(
    nodes: list[fx.Node],
    reverse: set[fx.Node],
    of_forward: set[fx.Node],
    forward: set[fx.Node],
    depends: dict[fx.Node, int],
) -> set[fx.Node]:
    """Values of the forward pass that the reverse loop computes again rather than read from memory.

    1 - z is not kept beside z, nor the transpose of a matrix beside the matrix, nor the product of a column and a row
    beside the two. A value goes as long as what must be kept in its place is less than the value; and tanh(c), which
    takes longer, where all that it is made of is kept anyway.
    """
    read = {arg for n in nodes if n in reverse for arg in n.all_input_nodes if arg in of_forward and depends[arg]}
    again: set[fx.Node] = set()

    def cheap(node: fx.Node) -> bool:
        return is_view(node) or (node in forward and op_name(node) in _CHEAP)

    def goes(node: fx.Node) -> tuple[set[fx.Node], set[fx.Node]]:
        return _made_of(node, cheap, {n for n in (*read, *again) if n is not node}, depends)

    moved = True
    while moved:
        moved = False
        for node in reversed(nodes):
            if node not in read or not cheap(node) or _read_outside(node, reverse, of_forward):
                continue
            steps, needed = goes(node)
            gain = row_width(node) - sum(map(row_width, needed))
            if gain > 0 or (gain == 0 and is_view(node)):
                read -= steps
                read |= needed
                again |= steps
                moved = True
    for node in reversed(nodes):
        if (
            node in read
            and node in forward
            and op_name(node) in _COSTLY
            and not _read_outside(node, reverse, of_forward)
        ):
            steps, needed = goes(node)
            if not needed:
                read.remove(node)
                again |= steps
    return again


def _made_of(
    node: fx.Node, cheap: Callable[[fx.Node], bool], known: set[fx.Node], depends: dict[fx.Node, int]
) -> tuple[set[fx.Node], set[fx.Node]]:
    """The cheap calls that compute a value from what is known, and what must be known for it besides."""
    steps, needed = {node}, set[fx.Node]()
    stack = [node]
    while stack:
        reader = stack.pop()
        for arg in reader.all_input_nodes:
            if not depends[arg] or arg in known:
                continue
            if not cheap(arg) or (row_width(arg) < row_width(reader) and not is_view(arg)):
                needed.add(arg)
            elif arg not in steps:  # many may read it
                steps.add(arg)
                stack.append(arg)
    return steps, needed


def _read_outside(node: fx.Node, reverse: set[fx.Node], of_forward: set[fx.Node]) -> bool:
    """Whether a value of the forward pass is kept for somebody else than the reverse loop."""
    return any(user not in of_forward and user not in reverse and user.op == "call_function" for user in node.users)


def drawn_in(
    nodes: list[fx.Node], outside: set[fx.Node], available: set[fx.Node], at_hand: Callable[[fx.Node], bool]
) -> set[fx.Node]:
    """Sums outside of a loop over matrices that the loop has at hand, with what is added up.

    Args:
        nodes: all calls, in order.
        outside: those that are computed outside of the loop and may join it.
        available: calls whose value the loop can read or has.
        at_hand: whether a value is kept for the sake of who reads it outside.
    """
    cones: dict[fx.Node, tuple[set[fx.Node], set[fx.Node]]] = {}
    sums = [node for node in nodes if node in outside and op_name(node) in _SUMS and row_axis(node) is not None]
    later = _descendants(nodes, set(sums))
    for node in sums:
        inside, leaves = _cone(node, outside)
        if all(leaf.op != "call_function" or (leaf in available and leaf not in later) for leaf in leaves):
            cones[node] = (
                inside,
                {
                    leaf
                    for leaf in leaves
                    if _is_matrix(leaf) and at_hand(leaf) and row_width(leaf) >= _SMALLER * row_width(node)
                },
            )
    joining = set().union(*(inside for inside, _ in cones.values())) if cones else set()
    # a matrix that somebody else outside reads is written to memory all the same
    freed = {
        leaf
        for _, large in cones.values()
        for leaf in large
        if all(user in joining or user not in outside for user in leaf.users)
    }
    return set().union(*(inside for inside, large in cones.values() if large & freed)) if cones else set()


def convolutions_at_hand(nodes: list[fx.Node], loop: set[fx.Node], before: set[fx.Node]) -> set[fx.Node]:
    """Convolutions of the input that a loop alone reads: it makes them itself.

    The weight of a convolution is small and read in each step anyway, and its result is several times as large as what
    it is made of. A product is better made before the loop, which reads its weight once for many steps.

    Args:
        nodes: all calls, in order.
        loop: those of the loop.
        before: those that depend on the input alone.
    """
    return {node for node in nodes if node in before and is_convolution(node) and loop.issuperset(node.users)}


def finished_in(nodes: list[fx.Node], loop: set[fx.Node], late: set[fx.Node], known: set[fx.Node]) -> set[fx.Node]:
    """Cheap calls after a loop that turn what it writes into no more than that: the loop writes their results instead.

    The gradient of normalised rows becomes that of the rows before, and nothing goes through memory in between.

    Args:
        nodes: all calls, in order.
        loop: those of the loop.
        late: calls that follow the loop.
        known: what the loop can read.
    """
    joining: set[fx.Node] = set()
    for node in nodes:
        is_cheap = node in late and op_name(node) in (*_ARITHMETIC, "div", "sum") and _is_vectors(node)
        if is_cheap and all(arg in loop or arg in joining or arg in known for arg in node.all_input_nodes):
            joining.add(node)

    def written(inside: set[fx.Node]) -> set[fx.Node]:
        """What others read of calls of the loop, besides sums that it makes itself."""
        last = {user for node in inside for user in node.users if user.op == "output"}
        outside = last | {user for user in late if user not in inside and not is_total(user)}
        values = [node for node in inside if isinstance(node.meta["val"], Tensor)]
        return {node for node in values if not outside.isdisjoint(node.users)}

    before, after = written(loop), written(loop | joining)
    return joining if sum(map(row_width, after)) <= sum(map(row_width, before)) else set()


def _is_vectors(node: fx.Node) -> bool:
    """Whether a value has a vector or a number for each row, and was computed row by row."""
    values = [node, *node.all_input_nodes]
    return row_axis(node) == 0 and node.meta["val"].dim() == 2 and all(row_axis(each) in (0, None) for each in values)


def is_total(node: fx.Node) -> bool:
    """Whether a node is a sum over the batch, and maybe over more: a gradient of parameters."""
    if op_name(node) != "sum" or node.kwargs or not node.meta["val"].dtype.is_floating_point:
        return False
    source: Any = node.args[0]
    return source.meta["val"].dtype == node.meta["val"].dtype and row_axis(source) == 0 and 0 in summed_axes(node)


def summed_axes(node: fx.Node) -> list[int]:
    """The axes that a sum goes over."""
    source: Any = node.args[0]
    rank = source.meta["val"].dim()
    axes: Any = node.args[1] if len(node.args) > 1 else None
    return sorted(axis % rank for axis in axes or range(rank))


def added_up(
    nodes: list[fx.Node], loop: set[fx.Node], may_join: Callable[[fx.Node], bool], depends: dict[fx.Node, int]
) -> tuple[set[fx.Node], set[fx.Node]]:
    """Sums over the batch outside of a loop whose terms the loop has at hand, and the cheap calls that make these.

    The loop adds up as it goes, where a pass over all rows would read every term from memory again.

    Args:
        nodes: calls that would follow the loop, in order.
        loop: those of the loop.
        may_join: whether a call may be computed in the loop.
        depends: not 0 for what is no function of parameters alone.
    """
    at_hand = loop | {arg for node in loop for arg in node.all_input_nodes}
    totals, terms = set[fx.Node](), set[fx.Node]()
    for node in nodes:
        if not is_total(node) or row_width(node.all_input_nodes[0]) > WIDEST_TOTAL:
            continue
        inside, stack = set[fx.Node](), list(node.all_input_nodes)
        while stack:
            arg = stack.pop()
            if arg in at_hand or not depends[arg] or arg in inside:
                continue
            alone = all(user is node or user in inside for user in arg.users)
            if not may_join(arg) or op_name(arg) not in _ARITHMETIC or row_axis(arg) != 0 or not alone:
                break
            inside.add(arg)
            stack.extend(arg.all_input_nodes)
        else:
            totals.add(node)
            terms |= inside
    return totals, terms


def _cone(node: fx.Node, outside: set[fx.Node]) -> tuple[set[fx.Node], set[fx.Node]]:
    """A sum with the cheap calls on matrices that only lead to it, and what those read."""
    inside, leaves = {node}, set[fx.Node]()
    stack: list[fx.Node] = list(node.all_input_nodes)
    while stack:
        arg = stack.pop()
        if arg in outside and (is_view(arg) or (_is_matrix(arg) and op_name(arg) in (*_CHEAP, "div"))):
            if arg not in inside:
                inside.add(arg)
                stack.extend(arg.all_input_nodes)
        else:
            leaves.add(arg)
    return inside, leaves


def _descendants(nodes: list[fx.Node], seeds: set[fx.Node]) -> set[fx.Node]:
    found: set[fx.Node] = set()
    for node in nodes:
        if any(arg in seeds or arg in found for arg in node.all_input_nodes):
            found.add(node)
    return found
