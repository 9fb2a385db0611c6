"""Stage 3 of the compiled engine: what is done before, inside and after the loop over time.

A value that depends on the input alone is computed for all steps of all sequences at once, before the loop; a value
that does not feed the state is computed so after it; parameter gradients, sums over the batch in the traced step,
become one product over all steps after the reverse loop. Only what is truly recurrent stays inside. Rows of the traced
batch do not see each other, so "all steps at once" is the traced code itself with N rows instead of B.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from recurra.engine.borders import (
    added_up,
    computed_again,
    convolutions_at_hand,
    drawn_in,
    finished_in,
    is_constant,
    is_look,
    joined,
    made_in_passing,
    spread_parameters,
)
from recurra.engine.rows import row_axis
from recurra.engine.simplify import is_random
from recurra.engine.trace import BATCH, Trace, Unsupported, batch_factor, op_name

__all__ = ["Loop", "Plan", "Region", "is_rows", "split"]

aten = torch.ops.aten

_PRODUCTS = (aten.mm.default, aten.bmm.default, aten.convolution.default)
_X, _STATE, _D_OUTPUT, _D_STATE = 1, 2, 4, 8


@dataclass(frozen=True)
class Region:
    """Nodes that are computed for all rows at once; `region` runs them."""

    name: str
    nodes: tuple[fx.Node, ...]
    inputs: tuple[fx.Node, ...]
    outputs: tuple[fx.Node, ...]


@dataclass(frozen=True)
class Loop:
    """Nodes that run once a time step.

    Attributes:
        nodes: the calls, in order.
        carries: the node at which each field enters a step (its value after the step before).
        results: the node that holds each field after the step, in the order of `carries`.
        saved: nodes whose value at every step is kept, for a region or for the reverse loop.
        totals: sums over the batch, which become sums over all steps of all sequences.
    """

    name: str
    nodes: tuple[fx.Node, ...]
    carries: tuple[fx.Node, ...]
    results: tuple[fx.Node, ...]
    saved: tuple[fx.Node, ...]
    totals: tuple[fx.Node, ...] = ()

    @property
    def inputs(self) -> tuple[fx.Node, ...]:
        """What the loop reads besides its carries: rows [N, width] and parameters."""
        inside = {*self.nodes, *self.carries}
        read = [arg for node in (*self.nodes, *self.totals) for arg in node.all_input_nodes]
        read += [*self.results, *self.saved]
        return tuple(dict.fromkeys(node for node in read if node not in inside))


@dataclass(frozen=True)
class Plan:
    """A traced step, split. Run in the order of the fields."""

    trace: Trace
    prelude: Region  # parameters alone: transposes, slices, products of weights
    before: Region
    forward: Loop
    after: Region
    before_reverse: Region
    reverse: Loop
    after_reverse: Region
    postlude: Region  # sums over all rows alone: gradients of parameters put together from them
    kept: tuple[fx.Node, ...]  # values of the forward pass that the backward pass reads


@dataclass(frozen=True)
class _Step:
    """A traced step by what its values are.

    Attributes:
        nodes: all calls, in order.
        x, state, d_output, d_state: what goes in.
        output, state_after, gradients, d_before: what comes out.
        depends: of each node, which of the inputs it depends on; 0 for what depends on parameters alone.
        of_forward: what the outputs and the state after the step are made of.
    """

    nodes: list[fx.Node]
    x: fx.Node
    state: tuple[fx.Node, ...]
    d_output: fx.Node
    d_state: tuple[fx.Node, ...]
    output: fx.Node
    state_after: tuple[fx.Node, ...]
    gradients: tuple[Any, ...]
    d_before: tuple[fx.Node, ...]
    depends: dict[fx.Node, int]
    of_forward: set[fx.Node]


@dataclass(frozen=True)
class _Inside:
    """Which calls the two loops have.

    Attributes:
        forward, reverse: what is truly recurrent, and what joins it.
        totals: sums over the batch that the reverse loop adds up.
        passing: calls that whoever reads them makes for himself, in a loop or outside.
        own: of these and of views of parameters, those that the forward and the reverse loop make.
    """

    forward: set[fx.Node]
    reverse: set[fx.Node]
    totals: set[fx.Node]
    passing: set[fx.Node]
    own: tuple[set[fx.Node], set[fx.Node]]


def split(trace: Trace, formless: Collection[str] = ()) -> Plan:
    """Split a traced step.

    Args:
        trace: the step.
        formless: names of operations that have no form in a loop: what need not be there is left to torch.
    """
    step = _sorted_out(trace)
    _refuse_shared_draws(step.nodes)
    return _around(trace, step, _inside(step, formless))


def _sorted_out(trace: Trace) -> _Step:
    nodes = [node for node in trace.graph.nodes if node.op == "call_function"]
    inputs, outputs = trace.inputs, trace.outputs
    num_constants, num_fields = len(trace.constants), len(trace.fields)
    x = inputs[num_constants]
    state = tuple(inputs[num_constants + 1 : num_constants + 1 + num_fields])
    d_output = inputs[num_constants + 1 + num_fields]
    d_state = tuple(inputs[num_constants + 2 + num_fields :])
    output, state_after = outputs[0], tuple(outputs[1 : 1 + num_fields])
    depends = _dependence(
        trace.inputs,
        nodes,
        {x: _X, d_output: _D_OUTPUT, **dict.fromkeys(state, _STATE), **dict.fromkeys(d_state, _D_STATE)},
    )
    return _Step(
        nodes=nodes,
        x=x,
        state=state,
        d_output=d_output,
        d_state=d_state,
        output=output,
        state_after=state_after,
        gradients=tuple(outputs[1 + num_fields : -num_fields]),
        d_before=tuple(outputs[-num_fields:]),
        depends=depends,
        of_forward=_ancestors([output, *state_after]),
    )


def _inside(step: _Step, formless: Collection[str]) -> _Inside:
    """What feeds the state, or its gradient, and what is better done where that is computed."""
    nodes, depends, of_forward = step.nodes, step.depends, step.of_forward
    into_state, into_d_state = _ancestors(step.state_after), _ancestors(step.d_before)
    forward = {n for n in nodes if n in of_forward and depends[n] & _STATE and n in into_state}
    reverse = {n for n in nodes if n not in of_forward and depends[n] & _D_STATE and n in into_d_state}
    forward |= drawn_in(
        nodes,
        {n for n in nodes if n in of_forward and depends[n] & _STATE and n not in forward},
        {n for n in nodes if n in forward or not depends[n] & _STATE},
        lambda n: bool(depends[n] & _STATE),
    )
    forward |= _slices_of_rows(nodes, [*_reads(forward), *step.state_after])
    forward |= convolutions_at_hand(nodes, forward, {n for n in nodes if n in of_forward and depends[n] == _X})
    reverse |= _pulled_in(nodes, reverse, of_forward, depends, formless)
    reverse |= _drawn_into_reverse(nodes, _ancestors([*reverse, *step.d_before]), reverse, of_forward, depends)
    reverse |= {n for n in _slices_of_rows(nodes, _reads(reverse)) if n.args[0] not in forward}
    late = [n for n in nodes if n not in of_forward and n not in reverse and depends[n] & _D_STATE]
    finished = finished_in(nodes, reverse, set(late), {n for n in depends if not depends[n] & _D_STATE})
    reverse |= finished
    reverse |= _pulled_in(nodes, finished, of_forward, depends, formless)
    late = [n for n in late if n not in finished]
    totals, terms = added_up(late, reverse, lambda n: n not in of_forward and n not in reverse, depends)
    reverse |= terms
    reverse |= computed_again(nodes, reverse, of_forward, forward, depends)
    before = {n for n in nodes if n in of_forward and depends[n] == _X}
    passing = made_in_passing(nodes, before, step.x) | set(filter(is_constant, nodes))
    free = spread_parameters(nodes, depends) | passing
    return _Inside(
        forward, reverse, totals, passing, (joined(nodes, forward, free), joined(nodes, reverse | totals, free))
    )


def _around(trace: Trace, step: _Step, inside: _Inside) -> Plan:
    """The loops, and the regions around them: from the end to the beginning, a part computes what the parts after it
    read."""
    nodes, depends, of_forward = step.nodes, step.depends, step.of_forward
    forward, reverse, totals, passing, own = inside.forward, inside.reverse, inside.totals, inside.passing, inside.own
    forward_loop = [n for n in nodes if n in forward or n in own[0]]
    reverse_loop = [n for n in nodes if n in reverse or n in own[1]]
    read_in_reverse = [*_reads(reverse_loop), *_reads(totals), *step.d_before]
    for_loop = reverse | _ancestors(read_in_reverse)
    reads: list[Any] = list(step.gradients)

    def region(name: str, is_inside: Callable[[fx.Node], Any]) -> Region:
        loop = reverse if name.endswith("reverse") else forward  # the reverse loop may compute again what stands before
        part = _region(nodes, name, [n for n in reads if n not in loop], is_inside)
        made = set(part.outputs)
        reads[:] = [*(n for n in reads if n not in made), *part.inputs]
        return part

    summed = _of_sums(nodes, depends, of_forward | totals)
    postlude = region("postlude", lambda n: n in summed or is_constant(n))
    if all(map(is_look, postlude.nodes)):  # who hands out the sums shows them from that side
        postlude, reads = Region("postlude", (), (), ()), list(step.gradients)
    after_reverse = region(
        "after_reverse",
        # what the loop does not read is computed here, too, in one pass with what it is read by
        lambda n: n in passing or (n not in of_forward and depends[n] and n not in for_loop and n not in totals),
    )
    saved_reverse = tuple(dict.fromkeys(n for n in reads if n in reverse or n in step.d_state))
    reads += [n for n in read_in_reverse if n not in reverse and n not in own[1]]
    before_reverse = region(
        "before_reverse",
        # what was pulled into the loop is computed here too, where something before the loop reads it
        lambda n: n in passing or (n not in of_forward and depends[n] and not depends[n] & _D_STATE),
    )
    kept = tuple(dict.fromkeys(n for n in reads if n in of_forward and depends[n] and n is not step.x))
    reads.append(step.output)
    after = region("after", lambda n: n in passing or (n in of_forward and depends[n] & _STATE and n not in forward))
    saved = tuple(dict.fromkeys(n for n in reads if n in forward or n in step.state))
    reads += [n for n in [*_reads(forward_loop), *step.state_after] if n not in own[0]]
    before = region("before", lambda n: n in passing or (n in of_forward and depends[n] == _X))
    prelude = region("prelude", lambda n: not depends[n])
    return Plan(
        trace=trace,
        prelude=prelude,
        before=before,
        forward=Loop("forward", tuple(forward_loop), step.state, step.state_after, saved),
        after=after,
        before_reverse=before_reverse,
        reverse=Loop(
            "reverse",
            tuple(reverse_loop),
            step.d_state,
            step.d_before,
            saved_reverse,
            tuple(n for n in nodes if n in totals),
        ),
        after_reverse=after_reverse,
        postlude=postlude,
        kept=kept,
    )


def _of_sums(nodes: list[fx.Node], depends: dict[fx.Node, int], others: set[fx.Node]) -> set[fx.Node]:
    """Calls on sums over all rows and on parameters alone, which give no rows."""
    return {
        node
        for node in nodes
        if node not in others and depends[node] and not any(map(_has_rows, (node, *node.all_input_nodes)))
    }


def _has_rows(node: fx.Node) -> bool:
    value = node.meta["val"]
    return not isinstance(value, torch.Tensor) or any(map(batch_factor, value.shape))


def _refuse_shared_draws(nodes: list[fx.Node]) -> None:
    """Random numbers that all sequences share are new at each step: nothing before the loop can draw them."""
    for node in nodes:
        if is_random(node) and row_axis(node) is None:
            raise Unsupported(op_name(node), "it draws numbers that have no row for each sequence")


def is_rows(node: fx.Node) -> bool:
    """Whether a value has one row for each sequence of the batch."""
    shape = node.meta["val"].shape
    return len(shape) > 0 and shape[0] == BATCH


def _dependence(inputs: list[fx.Node], nodes: list[fx.Node], seeds: dict[fx.Node, int]) -> dict[fx.Node, int]:
    depends: dict[fx.Node, int] = {**dict.fromkeys(inputs, 0), **seeds}
    for node in nodes:
        depends[node] = functools.reduce(operator.or_, (depends[arg] for arg in node.all_input_nodes), 0)
        if depends[node] == 0 and row_axis(node) is not None:
            depends[node] = _X  # zeros or ones of the batch size: known before the loop, like the input
    return depends


def _ancestors(targets: Iterable[Any]) -> set[fx.Node]:
    found: set[fx.Node] = set()
    stack = [node for node in targets if isinstance(node, fx.Node)]
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(node.all_input_nodes)
    return found


def _reads(nodes: Iterable[fx.Node]) -> list[fx.Node]:
    return [arg for node in nodes for arg in node.all_input_nodes]


def _region(nodes: list[fx.Node], name: str, wanted: Iterable[Any], inside: Callable[[fx.Node], Any]) -> Region:
    """The nodes for which `inside` holds and that `wanted` needs, as a region."""
    outputs = tuple(
        dict.fromkeys(n for n in wanted if isinstance(n, fx.Node) and n.op == "call_function" and inside(n))
    )
    members: set[fx.Node] = set()
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node in members:
            continue
        members.add(node)
        stack.extend(arg for arg in node.all_input_nodes if arg.op == "call_function" and inside(arg))
    ordered = tuple(node for node in nodes if node in members)
    inputs = dict.fromkeys(arg for node in ordered for arg in node.all_input_nodes if arg not in members)
    return Region(name, ordered, tuple(inputs), outputs)


def _slices_of_rows(nodes: list[fx.Node], reads: Iterable[fx.Node]) -> set[fx.Node]:
    """Slices that a loop reads join it: inside, a slice is an offset into a row; outside, a strided tensor."""
    read = set(reads)
    found: set[fx.Node] = set()
    for node in reversed(nodes):  # a slice may be one of a slice
        if node in read and node.target is aten.slice.Tensor and is_rows(node) and node.args[1] != 0:
            found.add(node)
            read.update(node.all_input_nodes)
    return found


def _drawn_into_reverse(
    nodes: list[fx.Node],
    feeds: set[fx.Node],
    reverse: set[fx.Node],
    of_forward: set[fx.Node],
    depends: dict[fx.Node, int],
) -> set[fx.Node]:
    """Sums over matrices join the reverse loop, if they do not feed it; what depends on them is computed after it, and
    marked so."""
    late = {n for n in nodes if n not in of_forward and n not in reverse and depends[n] & _D_STATE}
    drawn = drawn_in(
        nodes,
        {n for n in nodes if n not in of_forward and n not in feeds and depends[n]},
        {n for n in nodes if n not in late},
        lambda n: bool(depends[n] & (_STATE | _D_STATE)),
    )
    sums = {n for n in drawn if not any(user in drawn for user in n.users)}
    for node in nodes:
        if node in sums or any(depends[arg] & _D_STATE for arg in node.all_input_nodes):
            depends[node] |= _D_STATE
    return drawn


def _pulled_in(
    nodes: list[fx.Node],
    core: set[fx.Node],
    forward_nodes: set[fx.Node],
    depends: dict[fx.Node, int],
    formless: Collection[str],
) -> set[fx.Node]:
    """What joins the reverse loop although it need not.

    Cheap functions of saved values (1 - h * h) are computed where they are used rather than written to memory first;
    a concatenation of gate gradients is written in place by the loop, so that it can go straight into a product.
    """
    pulled: set[fx.Node] = set()
    stack = list(core)
    while stack:
        for arg in stack.pop().all_input_nodes:
            joins = arg not in core and arg not in pulled and arg.op == "call_function" and arg not in forward_nodes
            has_form = arg.target not in _PRODUCTS and row_axis(arg) is not None and op_name(arg) not in formless
            if joins and depends[arg] and has_form:
                pulled.add(arg)
                stack.append(arg)
    for node in nodes:
        if node.target is aten.cat.default and node not in forward_nodes and depends[node] & _D_STATE:
            pieces = node.all_input_nodes
            if node not in core and all(piece in core or piece in pulled for piece in pieces):
                pulled.add(node)
    return pulled
