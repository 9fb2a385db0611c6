"""A controller and a memory outside of it: the ground of the Neural Turing Machine and its successor."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from recurra.checks import check_count, check_number, check_probability
from recurra.engine.contract import Cell, Source
from recurra.engine.reference import checked
from recurra.engine.state_class import state_class
from recurra.errors import ConfigError
from recurra.shapes import describe

__all__ = ["MemoryCell"]


class MemoryCell(Cell):
    """The ground of cells that read and write a memory: controller, interface, state, output.

    The controller sees the input and the words that were read at the step before. A linear layer makes of its output
    what the heads do, another one makes the cell's output of it and of the words that are read now.

    Args:
        input_size: I.
        hidden_size: H, units of the controller.
        controller: the name of a cell, or a cell that takes I + R W numbers.
        controller_options: keywords of a controller that is made by its name.
        memory_size: N, slots.
        word_size: W, numbers in a slot.
        num_reads: R, heads that read.
        num_writes: heads that write.
        output_size: O; H where not given.
        clip: limit of the numbers that the controller hands to the heads; None for no limit.
        bypass_dropout: probability that a unit of the controller is hidden from the output, in training.

    Attributes:
        own_fields: the fields of the state before those of the controller.
        interface: the linear layer that makes of the controller's output what the heads do.
        output: the linear layer that makes the output.
        option_sources: the papers behind the options of the constructor.

    Raises:
        ConfigError: a size cannot be, there are more heads than slots, or the controller does not fit.
    """

    own_fields: ClassVar[tuple[str, ...]]
    option_sources: ClassVar[dict[str, Source]] = {
        "bypass_dropout": Source(
            key="franke2018robust",
            authors="Franke, Jörg and Niehues, Jan and Waibel, Alex",
            title="Robust and Scalable Differentiable Neural Computer for Question Answering",
            year=2018,
            venue="Workshop on Machine Reading for Question Answering, ACL",
            url="https://arxiv.org/abs/1807.02658",
        )
    }

    controller: Cell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        controller: str | Cell,
        controller_options: Mapping[str, Any] | None,
        memory_size: int,
        word_size: int,
        num_reads: int,
        num_writes: int,
        output_size: int | None,
        clip: float | None,
        bypass_dropout: float,
    ) -> None:
        super().__init__(input_size, hidden_size)
        sizes = {"memory_size": memory_size, "word_size": word_size, "num_reads": num_reads, "num_writes": num_writes}
        for name, size in {**sizes, "output_size": hidden_size if output_size is None else output_size}.items():
            check_count(name, size)
        for name in ("num_reads", "num_writes"):
            if sizes[name] > memory_size:
                raise ConfigError(
                    f"`{name}={sizes[name]}` is more heads than a memory of {memory_size} slots can hold: "
                    f"give it at most {memory_size}, or a larger `memory_size`."
                )
        self.memory_size, self.word_size = memory_size, word_size
        self.num_reads, self.num_writes = num_reads, num_writes
        self.output_size = hidden_size if output_size is None else output_size
        self.clip = None if clip is None else check_number("clip", clip, above=0)
        self.bypass_dropout = check_probability("bypass_dropout", bypass_dropout)
        self.controller = _make_controller(
            controller, controller_options, input_size + num_reads * word_size, hidden_size
        )
        _ = self.State  # made now, so that torch.compile finds it

    def _connect(self, parts: dict[str, tuple[int, ...]]) -> None:
        """Make the linear layers.

        Args:
            parts: what the controller hands to the heads: names, and the shape of each.
        """
        features = self.controller.output_size
        self._parts = parts
        self.interface = nn.Linear(features, sum(map(math.prod, parts.values())))
        self.output = nn.Linear(features + self.num_reads * self.word_size, self.output_size)

    def reset_parameters(self) -> None:
        """Draw all weights anew; those of a controller that has no `reset_parameters` stay."""
        for part in (self.controller, self.interface, self.output):
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()

    @property
    def State(self) -> Any:
        """The memory and its heads, then the state of the controller."""
        controller = (f"controller_{field}" for field in self.controller.State._fields)
        return state_class(f"{type(self).__name__}State", (*self.own_fields, *controller))

    @property
    def free_fields(self) -> tuple[str, ...]:
        """Those of the controller: weightings, usage and links keep sums and limits, and the memory goes with them."""
        return tuple(f"controller_{field}" for field in self.controller.free_fields)

    def initial_state(
        self, batch_size: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Any:
        """The memory as it begins, the heads as they begin, and the initial state of the controller."""
        like = self.output.weight
        kind: dict[str, Any] = {"dtype": dtype or like.dtype, "device": device or like.device}
        own = {name: value.to(**kind).expand(batch_size, *value.shape) for name, value in self._start().items()}
        return self.State(*(own[name] for name in self.own_fields), *self.controller.initial_state(batch_size, **kind))

    def _start(self) -> dict[str, Tensor]:
        """What each of the own fields begins with, for one sequence."""
        raise NotImplementedError

    def clone(self, **changes: Any) -> Self:
        """As for every cell; a controller that was handed in is cloned to the sizes of the new cell."""
        arguments = {**self._arguments, **changes}
        if isinstance(self._arguments.get("controller"), Cell) and "controller" not in changes:
            reads = arguments.get("num_reads", self.num_reads) * arguments.get("word_size", self.word_size)
            changes["controller"] = self.controller.clone(
                input_size=arguments["input_size"] + reads, hidden_size=arguments["hidden_size"]
            )
        return super().clone(**changes)

    # --- one step ----------------------------------------------------------------------------------------------------

    def _control(self, x: Tensor, state: Any) -> tuple[Tensor, tuple[Tensor, ...], dict[str, Tensor]]:
        """The controller's output [B, H], its new state, and what it hands to the heads, by name."""
        before = self.controller.State(*state[len(self.own_fields) :])
        result = self.controller.step(torch.cat([x, state.reads.flatten(1)], -1), before)
        h, after = checked(self.controller, result, before)
        handed = self.interface(h)
        if self.clip is not None:
            handed = handed.clamp(-self.clip, self.clip)
        pieces = handed.split([math.prod(shape) for shape in self._parts.values()], -1)
        parts = {
            name: piece.unflatten(-1, shape) if len(shape) > 1 else piece
            for (name, shape), piece in zip(self._parts.items(), pieces, strict=True)
        }
        return h, tuple(after), parts

    def _answer(self, h: Tensor, reads: Tensor) -> Tensor:
        """The output [B, O] of a step, of the controller's output and the words that were read."""
        if self.bypass_dropout and self.training:
            h = functional.dropout(h, self.bypass_dropout)  # the heads were told before, by all units
        return self.output(torch.cat([h, reads.flatten(1)], -1))


def _make_controller(
    controller: str | Cell, options: Mapping[str, Any] | None, input_size: int, hidden_size: int
) -> Cell:
    if options is not None and not isinstance(options, Mapping):
        raise ConfigError(f"`controller_options` must be names with values, got {options!r}.")
    if isinstance(controller, str):
        # the registry lists the cells of this file, too: it is asked when both are there
        registry = importlib.import_module("recurra.cells.registry")
        made: Cell = registry.make_cell(controller, input_size, hidden_size, **(options or {}))
        return made
    if options:
        raise ConfigError("`controller_options` are of a `controller` by name: give them to the cell where it is made.")
    if not isinstance(controller, Cell):
        raise ConfigError(f"`controller` must be the name of a cell or a recurra.Cell, got {describe(controller)}.")
    if controller.input_shape != (input_size,) or controller.hidden_size != hidden_size:
        raise ConfigError(
            f"`controller` must take I + R W = {input_size} numbers and have {hidden_size} units, as `hidden_size` "
            f"says; got `{type(controller).__name__}` with {controller.input_size} and {controller.hidden_size}."
        )
    return controller
