"""Stage 5 of the compiled engine: in which order, in which loops, and from which memory the values are computed.

A step is a list of segments. A segment begins with its products (row times matrix, for all rows of a tile, so that a
panel of weights is read once for many rows) and goes on with groups: one pass over the columns of a row in which a
whole chain of pointwise operations stays in registers. A value gets memory only when another group, a product, the
next step or the caller reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import fx

from recurra.engine.loop import POINTWISE, REDUCTIONS, Program, Value

__all__ = ["Group", "Place", "Schedule", "Segment", "schedule"]


@dataclass(frozen=True)
class Place:
    """Where the numbers of a value stand: `kind` is scratch, array or vector; `start` is the first column."""

    kind: str
    index: int
    start: int = 0


@dataclass
class Group:
    """Values of one width computed in one pass over the columns of a row."""

    width: int
    values: list[Value] = field(default_factory=list)


@dataclass
class Segment:
    """Products first, then groups."""

    dots: list[Value] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)


@dataclass
class Schedule:
    """A program with its order and its memory.

    Attributes:
        arrays: for each array the graph node it comes from or goes to, and its width; rows [N, width] in memory.
        vectors, matrices: graph nodes of the parameters, in order.
        scratch: width of each scratch buffer (one row for each sequence of a tile).
        carries: scratch index of each carried field.
        place: where a value can be read from.
        stores: where a value is written to when its group is computed.
    """

    program: Program
    segments: list[Segment] = field(default_factory=list)
    arrays: list[tuple[fx.Node, int]] = field(default_factory=list)
    num_inputs: int = 0
    vectors: list[fx.Node] = field(default_factory=list)
    matrices: list[fx.Node] = field(default_factory=list)
    scratch: list[int] = field(default_factory=list)
    carries: list[int] = field(default_factory=list)
    place: dict[Value, Place] = field(default_factory=dict)
    stores: dict[Value, list[Place]] = field(default_factory=dict)

    @property
    def outputs(self) -> list[tuple[fx.Node, int]]:
        """The arrays that the loop writes."""
        return self.arrays[self.num_inputs :]

    def __str__(self) -> str:
        lines = [f"schedule {self.program.name}: scratch {self.scratch}"]
        for number, segment in enumerate(self.segments):
            lines.append(f"  segment {number}:")
            lines += [f"    {value} -> {self.place[value]}" for value in segment.dots]
            for group in segment.groups:
                lines.append(f"    pass over {group.width} columns:")
                for value in group.values:
                    to = ", ".join(str(place) for place in self.stores.get(value, []))
                    lines.append(f"      {value}{to and ' -> ' + to}")
        return "\n".join(lines)


Key = tuple[int, int]


def schedule(program: Program, *, save: bool = True) -> Schedule:
    """Order a program and give its values memory.

    Args:
        program: the loop body; changed by adding copies.
        save: whether the values in `program.saved` are written to arrays (not under `torch.no_grad`, but for those
            that the region after the loop reads: the caller leaves out of `saved` what nobody reads).
    """
    plan = Schedule(program)
    kept = dict(program.saved) if save else {}
    _own_values(program, kept)
    keys = _keys(program)
    _sink(program, keys)
    _name_leaves(plan, kept)
    temporary = _place_carries(plan, keys)
    _place_outputs(plan, kept)
    _place_cats(plan, kept)
    _place_the_rest(plan, keys)
    _order(plan, keys, temporary)
    return plan


def _computed(value: Value) -> bool:
    return value.op in POINTWISE or value.op in REDUCTIONS


def _own_values(program: Program, kept: dict[fx.Node, Value]) -> None:
    """What is kept or carried becomes a computed value of its own, where it is a leaf, a slice or a product."""

    def own(value: Value) -> Value:
        copy = Value("copy", (value,), value.width, value.boolean, name=f"{value.name}'")
        program.values.append(copy)
        return copy

    for node, value in kept.items():
        if not _computed(value) and value.op != "cat":
            kept[node] = own(value)
    for index, (carry, value) in enumerate(zip(program.carries, program.results, strict=True)):
        if value is not carry and not _computed(value):
            program.results[index] = own(value)
    # one value cannot be the next state of two fields: each store has one owner
    for index, value in enumerate(program.results):
        if value in program.results[:index]:
            program.results[index] = own(value)
    for value in list(program.values):
        if value.op == "cat":
            value.args = tuple(
                piece if _computed(piece) and piece.op not in REDUCTIONS else own(piece) for piece in value.args
            )
    _topological(program)


def _topological(program: Program) -> None:
    order: dict[Value, None] = {}

    def visit(value: Value) -> None:
        if value not in order:
            for arg in value.operands():
                visit(arg)
            order[value] = None

    for value in program.values:
        visit(value)
    program.values = list(order)


def _keys(program: Program) -> dict[Value, Key]:
    """The earliest (segment, pass) at which each value can be computed, or read for those that are not computed."""
    keys: dict[Value, Key] = {}
    for value in program.values:
        key = (0, 0)
        for arg in value.operands():
            ready = keys[arg]
            crosses = value.op != "dot" and _computed(value) and _ends_pass(arg, value)
            key = max(key, (ready[0], ready[1] + 1) if crosses else ready)
        keys[value] = (key[0] + 1, 0) if value.op == "dot" else key
    return keys


def _ends_pass(arg: Value, user: Value) -> bool:
    """Whether `user` can only read `arg` after the pass that computes it is over."""
    source = arg
    while source.op == "slice":
        source = source.args[0]
    if source.op in REDUCTIONS or source.op == "cat":
        return True
    return _computed(source) and (source is not arg or arg.width != user.width)


def _users(program: Program) -> dict[Value, list[Value]]:
    users: dict[Value, list[Value]] = {value: [] for value in program.values}
    for value in program.values:
        for arg in value.operands():
            users[arg].append(value)
    return users


def _sink(program: Program, keys: dict[Value, Key]) -> None:
    """Move a pointwise value into the first pass that reads it: it stays in a register instead of going to memory."""
    users = _users(program)
    fixed = {*program.results, *program.saved.values()}
    for value in reversed(program.values):
        if value.op not in POINTWISE or value.op == "copy" or value in fixed or not users[value]:
            continue
        if all(_computed(user) and user.width == value.width for user in users[value]):
            keys[value] = max(keys[value], min(keys[user] for user in users[value]))


def _name_leaves(plan: Schedule, kept: dict[fx.Node, Value]) -> None:
    for value in plan.program.values:
        if value.op == "array" and value.node is not None:
            plan.place[value] = Place("array", len(plan.arrays))
            plan.arrays.append((value.node, value.width))
        elif value.op == "vector" and value.node is not None:
            plan.place[value] = Place("vector", len(plan.vectors))
            plan.vectors.append(value.node)
        elif value.op == "matrix" and value.node is not None:
            plan.place[value] = Place("matrix", len(plan.matrices))
            plan.matrices.append(value.node)
        elif value.op == "carry":
            plan.place[value] = _buffer(plan, value.width)
    plan.carries = [plan.place[carry].index for carry in plan.program.carries]
    plan.num_inputs = len(plan.arrays)


def _buffer(plan: Schedule, width: int) -> Place:
    plan.scratch.append(width)
    return Place("scratch", len(plan.scratch) - 1)


def _place_carries(plan: Schedule, keys: dict[Value, Key]) -> list[tuple[Value, Place]]:
    """Write the next state over the old one where nobody reads the old one later, else beside it.

    Returns: the values written beside, with the place they must be copied to when the step is over.
    """
    temporary: list[tuple[Value, Place]] = []
    for carry, value in zip(plan.program.carries, plan.program.results, strict=True):
        if value is carry:
            continue
        home = plan.place[carry]
        if not _safe_in_place(plan.program, keys, carry, value):
            temporary.append((value, home))
            home = _buffer(plan, value.width)
        plan.stores.setdefault(value, []).append(home)
        plan.place.setdefault(value, home)
    return temporary


def _safe_in_place(program: Program, keys: dict[Value, Key], carry: Value, value: Value) -> bool:
    for reader, direct in _readers(program, carry):
        if reader.op == "dot":
            if keys[reader][0] > keys[value][0]:
                return False
            continue
        read, written = (keys[reader], reader.width), (keys[value], value.width)
        if read > written or (read == written and not direct):
            return False
    return True


def _readers(program: Program, source: Value) -> Iterator[tuple[Value, bool]]:
    """Computed values and products that read `source`, and whether they read it column by column."""
    for value in program.values:
        for arg in value.operands():
            inner, direct = arg, True
            while inner.op == "slice":
                inner, direct = inner.args[0], False
            if inner is source and value.op != "slice":
                yield value, direct


def _place_outputs(plan: Schedule, kept: dict[fx.Node, Value]) -> None:
    for node, value in kept.items():
        place = Place("array", len(plan.arrays))
        plan.arrays.append((node, value.width))
        for piece, start in _pieces(value):
            plan.stores.setdefault(piece, []).append(Place("array", place.index, start))


def _pieces(value: Value) -> list[tuple[Value, int]]:
    if value.op != "cat":
        return [(value, 0)]
    pieces, start = [], 0
    for arg in value.args:
        pieces.append((arg, start))
        start += arg.width
    return pieces


def _place_cats(plan: Schedule, kept: dict[fx.Node, Value]) -> None:
    users = _users(plan.program)
    for value in plan.program.values:
        if value.op == "cat" and users[value]:
            home = _buffer(plan, value.width)
            plan.place[value] = home
            for piece, start in _pieces(value):
                plan.stores.setdefault(piece, []).append(Place("scratch", home.index, start))
                plan.place.setdefault(piece, Place("scratch", home.index, start))


def _place_the_rest(plan: Schedule, keys: dict[Value, Key]) -> None:
    """Scratch for products and for what is read outside its own pass; slices are offsets into their source."""
    users = _users(plan.program)

    def read_elsewhere(value: Value) -> bool:
        for user in users[value]:
            if user.op in ("slice", "dot"):
                return True
            if _computed(user) and (keys[user] != keys[value] or user.width != value.width or value.op in REDUCTIONS):
                return True
        return False

    for value in plan.program.values:
        if value.op == "dot":
            plan.place[value] = _buffer(plan, value.width)
        elif _computed(value) and value not in plan.place and read_elsewhere(value):
            home = _buffer(plan, value.width)
            plan.place[value] = home
            plan.stores.setdefault(value, []).append(home)
        elif value.op == "slice":
            source, start = value.args
            place = plan.place.get(source)
            assert place is not None, f"{value} reads a value that has no memory"
            plan.place[value] = Place(place.kind, place.index, place.start + start)


def _order(plan: Schedule, keys: dict[Value, Key], temporary: list[tuple[Value, Place]]) -> None:
    groups: dict[tuple[int, int, int], Group] = {}
    num_segments = 1 + max((key[0] for value, key in keys.items() if _computed(value) or value.op == "dot"), default=0)
    plan.segments = [Segment() for _ in range(num_segments)]
    for value in plan.program.values:
        if value.op == "dot":
            plan.segments[keys[value][0]].dots.append(value)
        elif _computed(value):
            segment, number = keys[value]
            # a row sum passes over the columns of what it adds up
            width = value.args[0].width if value.op in REDUCTIONS else value.width
            groups.setdefault((segment, number, width), Group(width)).values.append(value)
    for (segment, _, _), group in sorted(groups.items(), key=lambda item: item[0]):
        plan.segments[segment].groups.append(group)
    for value, home in temporary:
        copy = Value("copy", (value,), value.width, name=f"{value.name}'")
        plan.stores[copy] = [home]
        plan.segments[-1].groups.append(Group(value.width, [copy]))
    plan.segments = [segment for segment in plan.segments if segment.dots or segment.groups]
