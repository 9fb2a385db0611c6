"""`record`: what every cell of a network does, step by step, while the network runs.

    with record(network) as passages:
        outputs, state = network(x)
    passages[0].states("h")          # [T, B, H]

Inside, every scan runs as the Python loop, whatever engine the network has, and keeps each step: slow, and open to
every look.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from recurra.cells.wrapper import check_fields, name_of
from recurra.engine import reference
from recurra.engine.complex_numbers import is_number
from recurra.engine.contract import Cell
from recurra.engine.scan import engine_in_use
from recurra.inspect.gates import GateFinder, GateReader
from recurra.ragged import Ragged

__all__ = ["Passage", "record"]


@dataclass
class Passage:
    """One cell going once over a batch of sequences. Time is that of running: a backward direction begins at the end.

    Attributes:
        name: where the cell sits in the network, as in its state_dict.
        cell: the cell.
        lengths: steps of each sequence, [B].
        order: which sequences the rows of a step are, [B]: the longest first, so those that run on are the first rows.
        inputs: x of each step, [rows, ...].
        before: fields of the state before each step, [rows, ...].
        outputs: output of each step, [rows, ...].
        gates: by name, what each sigmoid, tanh and softmax of the step gave, at each step.
        gated: whether a sigmoid of the step multiplies something in it.
    """

    name: str
    cell: Cell
    lengths: Tensor
    order: Tensor
    inputs: list[Tensor] = field(default_factory=list, repr=False)
    before: list[tuple[Tensor, ...]] = field(default_factory=list, repr=False)
    outputs: list[Tensor] = field(default_factory=list, repr=False)
    gates: dict[str, list[Tensor]] = field(default_factory=dict, repr=False)
    gated: bool = False

    @property
    def num_steps(self) -> int:
        """T, steps of the longest sequence."""
        return len(self.outputs)

    @property
    def kind(self) -> str:
        """Class of the cell, without wrappers."""
        return name_of(self.cell)

    def states(self, name: str) -> Tensor:
        """A field of the state before each step. Shapes: [T, B, ...], NaN where a sequence has ended.

        Raises:
            ConfigError: the state has no such field.
        """
        check_fields(self.cell, [name])
        index = self.cell.State._fields.index(name)
        return self.padded([fields_t[index] for fields_t in self.before])

    def padded(self, steps: list[Tensor]) -> Tensor:
        """Values of all steps in the order of the batch, whole numbers and truths as float64.

        Shapes: [T, B, ...], NaN where a sequence has ended.
        """
        if not steps:
            return torch.empty(0, len(self.lengths))
        first = steps[0] if is_number(steps[0]) else steps[0].double()  # no other type knows NaN
        found = first.new_full((len(steps), len(self.lengths), *first.shape[1:]), float("nan"))
        for t, values in enumerate(steps):
            found[t, self.order[: len(values)]] = values.detach().to(found.dtype)
        return found

    def ends(self) -> Tensor:
        """The output of the last step of each sequence that has one, the longest first. Shapes: [rows, ...]."""
        lengths = self.lengths[self.order].tolist()
        return torch.stack([self.outputs[length - 1][row] for row, length in enumerate(lengths) if length])


class _Watched:
    """A cell for the reference engine that keeps what it sees."""

    def __init__(self, cell: Cell, passage: Passage, gates: bool) -> None:
        self.cell, self.passage, self._step = cell, passage, cell.step
        self.reader = GateReader(passage.gates) if gates else None
        self.State, self.output_shape = cell.State, cell.output_shape

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        if torch.is_grad_enabled():
            state = self.State(*map(_apart, state))
        self.passage.inputs.append(x)
        self.passage.before.append(tuple(state))
        finder = GateFinder() if len(self.passage.inputs) == 1 else None  # all steps are alike
        with finder or nullcontext(), self.reader or nullcontext():
            output, after = self._step(x, state)
        self.passage.gated |= finder is not None and finder.found
        self.passage.outputs.append(output)
        return output, after


@contextmanager
def _in_place_of(cell: Cell, watched: _Watched) -> Iterator[None]:
    """Inside, whoever steps the cell is watched."""
    vars(cell)["step"] = watched.step
    try:
        yield
    finally:
        del vars(cell)["step"]


def _apart(field: Tensor) -> Tensor:
    """A field that a gradient can be asked for, by itself: h of an LSTM is computed from c, and yet is not c.

    Masks and counts have none, and stay what they are.
    """
    if not is_number(field):
        return field
    return field.view_as(field) if field.requires_grad else field.detach().requires_grad_()


@contextmanager
def record(network: nn.Module, *, gates: bool = False) -> Iterator[list[Passage]]:
    """Keep every step of every cell that runs inside the block, in the order in which the cells run.

    Args:
        network: whose cells are named; cells of other networks go by their class.
        gates: keep what the sigmoids, tanhs and softmaxes of the steps give, too.
    """
    names = {module: name or type(module).__name__ for name, module in network.named_modules()}
    passages: list[Passage] = []

    def run(cell: Cell, x: Ragged, state: Any) -> tuple[Tensor, Any]:
        order = x.lengths.argsort(descending=True, stable=True)  # as the reference engine has its rows

        def watched(one: Cell) -> _Watched:
            passages.append(Passage(names.get(one, type(one).__name__), one, x.lengths, order))
            return _Watched(one, passages[-1], gates)

        shown: tuple[Cell, ...] = getattr(cell, "shown", ())  # cells that a step of this one is made of
        if not shown:
            return reference.run(watched(cell), x, state)
        with ExitStack() as stack:
            for one in shown:
                stack.enter_context(_in_place_of(one, watched(one)))
            return reference.run(cell, x, state)

    with engine_in_use(run):
        yield passages
