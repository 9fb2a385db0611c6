"""Stage 5 of the compiled engine: in which order, in which loops, and from which memory the values are computed.

A step is a list of segments. A segment begins with its products (row times matrix, for all rows of a tile, so that a
panel of weights is read once for many rows) and goes on with groups: one pass over the columns of a row in which a
whole chain of pointwise operations stays in registers. A value gets memory only when another group, a product, the
next step or the caller reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from torch import fx

from recurra.engine.loop import MOVES, POINTWISE, REDUCTIONS, Map, Program, Value, root
from recurra.engine.spaces import FLAT, Space, is_computed, spaces, span

__all__ = ["Group", "Place", "Schedule", "Segment", "schedule"]


@dataclass(frozen=True)
class Place:
    """Where the numbers of a value stand.

    Attributes:
        kind: scratch, array or vector.
        index: which one.
        start: its first column.
        map: where its columns stand, counted from the first of the memory, if not side by side from `start` on.
    """

    kind: str
    index: int
    start: int = 0
    map: Map | None = None

    def __str__(self) -> str:
        return f"{self.kind}{self.index}{self.map or f'[{self.start}]'}"


@dataclass
class Group:
    """Values of one width and one space computed in one pass over the columns of a row."""

    width: int
    values: list[Value] = field(default_factory=list)
    space: Space = FLAT

    def __str__(self) -> str:
        if self.space == FLAT:
            return f"pass over {self.width} columns"
        axes = self.space.axes(self.width)
        return f"pass over {' x '.join(f'{size} (reduced)' if gone else str(size) for size, gone in axes)} columns"


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
        totals: for each sum over all rows the graph node it goes to, and its width.
        place: where a value can be read from.
        stores: where a value is written to when its group is computed.
        streamed: the arrays that may be written past the caches.
    """

    program: Program
    segments: list[Segment] = field(default_factory=list)
    arrays: list[tuple[fx.Node, int]] = field(default_factory=list)
    num_inputs: int = 0
    vectors: list[fx.Node] = field(default_factory=list)
    matrices: list[fx.Node] = field(default_factory=list)
    scratch: list[int] = field(default_factory=list)
    carries: list[int] = field(default_factory=list)
    totals: list[tuple[fx.Node, int]] = field(default_factory=list)
    place: dict[Value, Place] = field(default_factory=dict)
    stores: dict[Value, list[Place]] = field(default_factory=dict)
    streamed: set[int] = field(default_factory=set)

    @property
    def outputs(self) -> list[tuple[fx.Node, int]]:
        """The arrays that the loop writes."""
        return self.arrays[self.num_inputs :]

    @property
    def signature(self) -> str:
        """All that the code of this schedule depends on, as text: the same text, the same code."""
        numbers: dict[Value, int] = {}
        lines: list[str] = []

        def number(value: Value) -> int:
            if value not in numbers:
                args = [f"%{number(arg)}" if isinstance(arg, Value) else repr(arg) for arg in value.args]
                places = self.place.get(value), self.stores.get(value)
                lines.append(f"{value.op} {value.width} {value.boolean} {args} {places}")
                numbers[value] = len(numbers)
            return numbers[value]

        for value in self.program.values:  # operands come first: no deep recursion
            number(value)
        segments = [
            (
                [number(dot) for dot in segment.dots],
                [(group.width, group.space, [number(value) for value in group.values]) for group in segment.groups],
            )
            for segment in self.segments
        ]
        widths = [width for _, width in self.arrays], [width for _, width in self.totals]
        sizes = widths, len(self.vectors), len(self.matrices), self.scratch, self.carries, sorted(self.streamed)
        return "\n".join([*lines, repr(segments), repr(sizes)])

    def __str__(self) -> str:
        lines = [f"schedule {self.program.name}: scratch {self.scratch}"]
        for number, segment in enumerate(self.segments):
            lines.append(f"  segment {number}:")
            lines += [f"    {value} -> {self.place[value]}" for value in segment.dots]
            for group in segment.groups:
                lines.append(f"    {group}:")
                for value in group.values:
                    to = ", ".join(str(place) for place in self.stores.get(value, []))
                    lines.append(f"      {value}{to and ' -> ' + to}")
        return "\n".join(lines)


Key = tuple[int, int]


def schedule(program: Program, *, streamed: Collection[fx.Node] = ()) -> Schedule:
    """Order a program and give its values memory.

    Args:
        program: the loop body; changed by adding copies.
        streamed: values whose arrays may be written past the caches, as nobody reads them soon.
    """
    plan = Schedule(program)
    kept = dict(program.saved)
    _own_values(program, kept)
    passes = _Passes(program, spaces(program))
    _sink(passes)
    _name_leaves(plan)
    temporary = _place_carries(plan, passes)
    _place_outputs(plan, kept, program.totals)
    _place_cats(plan)
    _place_the_rest(plan, passes)
    _order(plan, passes, temporary)
    written = range(plan.num_inputs, len(plan.arrays))
    plan.streamed.update(index for index in written if plan.arrays[index][0] in streamed)
    return plan


def _own_values(program: Program, kept: dict[fx.Node, Value]) -> None:
    """What is kept or carried becomes a computed value of its own, where it is a leaf, a slice or a product."""

    def own(value: Value) -> Value:
        copy = Value("copy", (value,), value.width, value.boolean, name=f"{value.name}'")
        program.values.append(copy)
        return copy

    for goals in (kept, program.totals):
        for node, value in goals.items():
            if not is_computed(value) and value.op not in ("cat", "join"):
                goals[node] = own(value)
    for index, (carry, value) in enumerate(zip(program.carries, program.results, strict=True)):
        if value is not carry and not is_computed(value):
            program.results[index] = own(value)
    # one value cannot be the next state of two fields: each store has one owner
    for index, value in enumerate(program.results):
        if value in program.results[:index]:
            program.results[index] = own(value)
    for value in list(program.values):
        if value.op in ("cat", "join"):
            value.args = tuple(
                own(piece) if isinstance(piece, Value) and piece.op not in POINTWISE else piece for piece in value.args
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


class _Passes:
    """The (segment, pass) in which each value is computed, or can be read for those that are not computed."""

    def __init__(self, program: Program, space: dict[Value, Space]) -> None:
        self.program, self.space = program, space
        self.users = program.users()
        self.keys: dict[Value, Key] = {}
        for value in program.values:
            key = (0, 0)
            is_pass = is_computed(value) or value.op == "conv"
            for arg in value.operands():
                ready = self.keys[arg]
                crosses = is_pass and self._ends_pass(arg, value)
                key = max(key, (ready[0], ready[1] + 1) if crosses else ready)
            self.keys[value] = (key[0] + 1, 0) if value.op == "dot" else key

    def one_space(self, value: Value, user: Value) -> bool:
        """Whether a computed value could be computed in the pass that computes another one."""
        return is_computed(user) and span(user) == value.width and self.space[user] == self.space[value]

    def _ends_pass(self, arg: Value, user: Value) -> bool:
        """Whether `user` can only read `arg` after the pass that computes it is over."""
        source = root(arg)
        if source.op in REDUCTIONS or source.op in ("cat", "join", "conv"):
            return True
        return is_computed(source) and (source is not arg or not self.one_space(arg, user))

    def order(self, value: Value) -> tuple[Key, int, tuple[int, ...], tuple[tuple[int, int], ...]]:
        """What the passes of a step are ordered by, for a computed value."""
        space = self.space.get(value, FLAT)
        return self.keys[value], span(value), space.cuts, space.reduced


def _sink(passes: _Passes) -> None:
    """Move a pointwise value into the first pass that reads it: it stays in a register instead of going to memory."""
    program, keys = passes.program, passes.keys
    fixed = {*program.results, *program.saved.values(), *program.totals.values()}
    for value in reversed(program.values):
        if value.op not in POINTWISE or value.op == "copy" or value in fixed or not passes.users[value]:
            continue
        if all(passes.one_space(value, user) for user in passes.users[value]):
            keys[value] = max(keys[value], min(keys[user] for user in passes.users[value]))


def _name_leaves(plan: Schedule) -> None:
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


def _place_carries(plan: Schedule, passes: _Passes) -> list[tuple[Value, Place]]:
    """Write the next state over the old one where nobody reads the old one later, else beside it.

    Returns: the values written beside, with the place they must be copied to when the step is over.
    """
    temporary: list[tuple[Value, Place]] = []
    for carry, value in zip(plan.program.carries, plan.program.results, strict=True):
        if value is carry:
            continue
        home = plan.place[carry]
        if not _safe_in_place(passes, carry, value):
            temporary.append((value, home))
            home = _buffer(plan, value.width)
        plan.stores.setdefault(value, []).append(home)
        plan.place.setdefault(value, home)
    return temporary


def _safe_in_place(passes: _Passes, carry: Value, value: Value) -> bool:
    for reader, direct in _readers(passes.program, carry):
        if reader.op == "dot":
            if passes.keys[reader][0] > passes.keys[value][0]:
                return False
            continue
        read, written = passes.order(reader), passes.order(value)
        if read > written or (read == written and not direct):
            return False
    return True


def _readers(program: Program, source: Value) -> Iterator[tuple[Value, bool]]:
    """Computed values and products that read `source`, and whether they read it column by column."""
    for value in program.values:
        for arg in value.operands():
            if root(arg) is source and value.op not in MOVES:
                yield value, arg is source and value.op != "conv"


def _place_outputs(plan: Schedule, kept: dict[fx.Node, Value], totals: dict[fx.Node, Value]) -> None:
    for kind, goals, values in (("array", plan.arrays, kept), ("total", plan.totals, totals)):
        for node, value in values.items():
            goals.append((node, value.width))
            is_made = value.op in ("cat", "join")
            for piece, places in value.pieces() if is_made else [(value, Map.whole((value.width,)))]:
                plan.stores.setdefault(piece, []).append(_at(kind, len(goals) - 1, places))


def _at(kind: str, index: int, places: Map, start: int = 0) -> Place:
    """Those places of a memory, counted from `start`."""
    places = places.joined()
    if places.strides in ((), (1,)):
        return Place(kind, index, start + places.start)
    return Place(kind, index, 0, Map(start + places.start, places.sizes, places.strides))


def _place_cats(plan: Schedule) -> None:
    users = plan.program.users()
    for value in plan.program.values:
        if value.op in ("cat", "join") and users[value]:
            home = _buffer(plan, value.width)
            plan.place[value] = home
            for piece, places in value.pieces():
                place = _at("scratch", home.index, places)
                plan.stores.setdefault(piece, []).append(place)
                if place.map is None:
                    plan.place.setdefault(piece, place)


def _place_the_rest(plan: Schedule, passes: _Passes) -> None:
    """Scratch for products and for what is read outside its own pass; slices are offsets into their source."""

    def read_elsewhere(value: Value) -> bool:
        for user in passes.users[value]:
            if user.op in ("dot", "conv", *MOVES):
                return True
            if is_computed(user) and (
                passes.keys[user] != passes.keys[value] or not passes.one_space(value, user) or value.op in REDUCTIONS
            ):
                return True
        return False

    for value in plan.program.values:
        if value.op == "dot":
            plan.place[value] = _buffer(plan, value.width)
        elif value.op == "conv" or (is_computed(value) and value not in plan.place and read_elsewhere(value)):
            home = _buffer(plan, value.width)
            plan.place[value] = home
            plan.stores.setdefault(value, []).append(home)
        elif value.op in MOVES:
            plan.place[value] = _place_of_move(plan, value)


def _place_of_move(plan: Schedule, value: Value) -> Place:
    source, at = value.args
    place = plan.place.get(source)
    assert place is not None, f"{value} reads a value that has no memory"
    places = at if isinstance(at, Map) else Map.whole((value.width,), at)
    return _at(place.kind, place.index, places, place.start)


def _order(plan: Schedule, passes: _Passes, temporary: list[tuple[Value, Place]]) -> None:
    keys = passes.keys
    groups: dict[object, Group] = {}
    num_segments = 1 + max(
        (key[0] for value, key in keys.items() if is_computed(value) or value.op == "dot"), default=0
    )
    plan.segments = [Segment() for _ in range(num_segments)]
    for value in plan.program.values:
        if value.op == "dot":
            plan.segments[keys[value][0]].dots.append(value)
        elif value.op == "conv":
            groups[value] = Group(value.width, [value])
        elif is_computed(value):
            groups.setdefault(passes.order(value), Group(span(value), [], passes.space[value])).values.append(value)
    for group in sorted(groups.values(), key=lambda group: passes.order(group.values[0])):
        plan.segments[keys[group.values[0]][0]].groups.append(group)
    for value, home in temporary:
        copy = Value("copy", (value,), value.width, name=f"{value.name}'")
        plan.stores[copy] = [home]
        plan.segments[-1].groups.append(Group(value.width, [copy]))
    plan.segments = [segment for segment in plan.segments if segment.dots or segment.groups]
