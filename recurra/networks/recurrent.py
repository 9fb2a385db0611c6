"""`Recurrent`: any cell in layers and directions, with what published networks put between them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from recurra.cells.clip_state_gradient import ClipStateGradient
from recurra.cells.learned_initial_state import LearnedInitialState
from recurra.cells.recurrent_dropout import RecurrentDropout
from recurra.cells.weight_drop import WeightDrop
from recurra.cells.zoneout import Zoneout
from recurra.checks import check_bool, check_count, check_number, check_probability
from recurra.engine.block import Block
from recurra.engine.contract import Cell, expect_cell, first_state
from recurra.engine.made_weights import make_weights
from recurra.engine.reference import checked
from recurra.engine.scan import as_batch, engine_named, goes_to_eager, in_eager, scan, scan_both
from recurra.errors import ConfigError, ShapeError
from recurra.networks.dropout import dropout as drop
from recurra.ragged import Ragged
from recurra.shapes import describe, shape_text, size_text

if TYPE_CHECKING:
    from recurra.engine.stream import Stream

__all__ = ["Recurrent", "variational"]

Batch = TypeVar("Batch", Tensor, Ragged)


class Recurrent(nn.Module):
    """A stack of recurrent layers, of any cell.

        network = recurra.Recurrent(recurra.LSTM(32, 64), num_layers=2, bidirectional=True, dropout=0.3)
        outputs, state = network(x)                   # x [T, B, 32] or Ragged -> outputs [T, B, 128] or Ragged
        outputs, state = network(more, state)         # go on where the last call ended (one direction)

    Layer l takes the outputs of layer l - 1 (the first one x) and does, in this order,

        u = dropout(y_{l-1})                          between layers, in training
        v = [scan(cell, u) ; scan back(cell', u)]     outputs of both directions side by side
        n = LayerNorm(v)                              with `layer_norm`
        y_l = n + y_{l-1}                             with `residual`, from the second layer on

    so that the sum that runs through the layers is never normalised or dropped.

    Shapes: x [T, B, I] or Ragged with values [N, I] -> outputs [T, B, O * D] or Ragged with values [N, O * D]; state a
        tuple of L * D cell states with fields [B, ...], layer after layer, forward before backward. Sizes that cells
        have beside I and O, as height and width of images, stay as they are: both directions stand side by side in
        the features.

    Args:
        cells: one cell, which becomes the first layer (its clones, freshly initialised, become the others), or one cell
            for each layer, sizes fitting.
        num_layers: L; given by `cells` where that is a sequence.
        bidirectional: every layer also runs a clone of its cell from the last step to the first; D = 2.
        residual: from the second layer on, the input of a layer is added to its output.
        dropout: probability of dropping a number between layers, drawn anew for every step.
        variational_dropout: the same with one mask a sequence for all its steps.
        layer_norm: normalise the outputs of each layer.
        learned_initial_state: the state before the first step is a parameter.
        zoneout: probability that a unit of a state keeps its old value at a step, in the fields that are free.
        recurrent_dropout: probability that a unit of `h` is hidden from the next steps, one mask a sequence.
        weight_drop: probability of dropping a recurrent weight, drawn once a call.
        clip_state_gradient: limit of the gradient's numbers as they pass from step to step; none where not given.
        engine: as in `recurra.scan`.
        checkpoint_every: as in `recurra.scan`.

    Attributes:
        layers: ModuleList of L ModuleLists of D cells, with their wrappers.
        input_size: I of the first layer.
        output_size: O * D of the last layer.
        input_shape: of one input of one sequence, (I,) or (I, height, width) and the like.
        output_shape: of one output of one sequence, likewise.

    Raises:
        ConfigError: sizes of cells do not fit each other, or an option has a value that cannot be.

    Source: directions: Schuster and Paliwal 1997, IEEE Trans. Signal Processing 45(11). Residual from the second layer
        on: Wu et al. 2016, arXiv:1609.08144, section 3.1. One mask a sequence: Gal and Ghahramani 2016,
        arXiv:1512.05287. LayerNorm: Ba et al. 2016, arXiv:1607.06450; inside the products it is an option of a cell.
    """

    def __init__(
        self,
        cells: Cell | Sequence[Cell],
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        residual: bool = False,
        dropout: float = 0.0,
        variational_dropout: float = 0.0,
        layer_norm: bool = False,
        learned_initial_state: bool = False,
        zoneout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        clip_state_gradient: float | None = None,
        engine: str = "auto",
        checkpoint_every: int | None = None,
    ) -> None:
        super().__init__()
        self.dropout = check_probability("dropout", dropout)
        self.variational_dropout = check_probability("variational_dropout", variational_dropout)
        if dropout and variational_dropout:
            raise ConfigError("`dropout` and `variational_dropout` do the same in two ways: choose one of them.")
        check_probability("weight_drop", weight_drop)
        check_probability("recurrent_dropout", recurrent_dropout)
        check_probability("zoneout", zoneout, one=True)
        check_bool("layer_norm", layer_norm)
        check_bool("learned_initial_state", learned_initial_state)
        if clip_state_gradient is not None:
            check_number("clip_state_gradient", clip_state_gradient, above=0)
        self.bidirectional = check_bool("bidirectional", bidirectional)
        self.num_directions = 2 if bidirectional else 1
        self.residual = check_bool("residual", residual)
        engine_named(engine, checkpoint_every)
        self.engine, self.checkpoint_every = engine, checkpoint_every
        stack = _stack(cells, num_layers, self.num_directions)
        _check_fit(stack, self.num_directions)
        if residual:
            _check_residual(stack, self.num_directions)

        def wrapped(cell: Cell) -> Cell:
            return _wrap(cell, weight_drop, recurrent_dropout, zoneout, clip_state_gradient, learned_initial_state)

        self.layers = nn.ModuleList(
            nn.ModuleList(wrapped(one) for one in ([cell, _alike(cell)] if bidirectional else [cell])) for cell in stack
        )
        shapes = [_joined(cell, self.num_directions) for cell in stack]
        norms = (_norm_like(cell, shape) for cell, shape in zip(stack, shapes, strict=True) if layer_norm)
        self.norms = nn.ModuleList(norms)
        self.input_size = stack[0].input_size
        self.output_size = stack[-1].output_size * self.num_directions
        self.input_shape, self.output_shape = stack[0].input_shape, shapes[-1]
        self.num_layers = len(stack)

    def forward(
        self,
        x: Batch,
        state: Sequence[Any] | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Batch, tuple[Any, ...]]:
        """Run all layers over time.

        Args:
            x: the inputs, padded and time-major, or ragged.
            state: L * D states to begin with, as returned; the cells' initial states where not given.
            lengths: steps of each padded sequence, [B]; what stands beyond is never read, and outputs there are 0.
            resets: bool [T, B], for padded inputs: True where all states begin anew just before that step.

        Raises:
            ShapeError: inputs, lengths, resets or state have the wrong shape.
        """
        if goes_to_eager(x, lengths, resets, self.checkpoint_every):
            return in_eager(self.forward, x, state, lengths=lengths, resets=resets)
        y: Any = as_batch(x, self.input_shape, lengths, resets, reader=type(self).__name__)
        states = self._split_state(state)
        after: list[Any] = []
        for index, cells in enumerate(self.layers):
            u = self._drop(y) if index else y
            values, ends = self._run_layer(cells, u, states[index])  # type: ignore[arg-type]
            if self.norms:
                values = self.norms[index](values)
            y = y.replace(values + y.values if self.residual and index else values)
            after.extend(ends)
        if isinstance(x, Ragged):
            return y, tuple(after)
        return y.to_padded(num_steps=x.shape[0]), tuple(after)

    def step(self, x: Tensor, state: Sequence[Any] | None = None) -> tuple[Tensor, tuple[Any, ...]]:
        """One time step of all layers, for streams and decoders; the same numbers as `forward` in evaluation.

        Shapes: x [B, I], fields of states [B, ...] -> output [B, O], states.

        Args:
            x: the inputs of the step.
            state: L * D states, as the step before returned them; the cells' initial states where not given.

        Raises:
            ConfigError: the network has two directions, or one mask a sequence is wanted in training.
            ShapeError: x has another shape, or there are more or fewer states.
        """
        if not isinstance(x, Tensor) or x.shape[1:] != self.input_shape:
            raise ShapeError(f"`x` must have shape {shape_text('B', I=self.input_shape)}, got {describe(x)}.")
        if self.bidirectional:
            raise ConfigError("A bidirectional network needs whole sequences: it has no single step.")
        if self.training and self.variational_dropout:
            raise ConfigError("`variational_dropout` has one mask for a whole sequence: no single step in training.")
        if state is None:
            state = self.initial_state(x.shape[0], dtype=x.dtype, device=x.device)
        else:
            state = [one for (one,) in self._split_state(state)]
        after: list[Any] = []
        y = x
        for index, cell in enumerate(self.cells):
            u = drop(y, self.dropout, self.training) if index else y
            make_weights(cell)
            value, end = checked(cell, cell.step(u, state[index]), state[index])
            if self.norms:
                value = self.norms[index](value)
            y = value + y if self.residual and index else value
            after.append(end)
        return y, tuple(after)

    def stream(self, batch_size: int = 1) -> Stream:
        """Live sequences: an object that takes step after step, in microseconds, and keeps the state.

            stream = network.stream()
            output = stream.push(x)       # x [I] -> output [O], an array of numpy or a tensor

        It answers as the network does in evaluation, with the weights of this moment (`stream.refresh` reads them
        again).

        Args:
            batch_size: B, sequences side by side.

        Raises:
            ConfigError: the network has two directions.
            CompileError: the network was made with `engine="compiled"` and cannot be compiled.
            TraceError: a step branches on the value of a tensor.
        """
        if self.bidirectional:
            raise ConfigError("A bidirectional network needs whole sequences: it cannot be streamed.")
        # imported when first used: LLVM takes longer to load than the rest of this library
        stream: Stream = importlib.import_module("recurra.engine.stream").Stream(self, batch_size)
        return stream

    def initial_state(
        self, batch_size: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> tuple[Any, ...]:
        """The L * D states before the first step."""
        return tuple(first_state(cell, batch_size, dtype=dtype, device=device) for cell in self.cells)

    def as_state(self, state: Sequence[Any] | None, batch_size: int, *, like: Tensor) -> tuple[Any, ...]:
        """Check L * D states that a user hands in, or make the initial ones for None."""
        given = [one for layer in self._split_state(state) for one in layer]
        return tuple(cell.as_state(one, batch_size, like=like) for cell, one in zip(self.cells, given, strict=True))

    @property
    def cells(self) -> list[Cell]:
        """All L * D cells, in the order of the states."""
        return [cell for layer in self.layers for cell in layer]  # type: ignore[attr-defined]

    def _split_state(self, state: Sequence[Any] | None) -> list[list[Any]]:
        directions = self.num_directions
        if state is None:
            return [[None] * directions for _ in self.layers]
        if not isinstance(state, tuple | list) or len(state) != directions * self.num_layers:
            got = f"{len(state)}" if isinstance(state, tuple | list) else describe(state)
            raise ShapeError(
                f"`state` must be {directions * self.num_layers} cell states, layer after layer, forward before "
                f"backward, got {got}."
            )
        return [list(state[start : start + directions]) for start in range(0, len(state), directions)]

    def _run_layer(self, cells: Sequence[Cell], x: Any, states: list[Any]) -> tuple[Tensor, list[Any]]:
        found = None
        if len(cells) == 2 and self.checkpoint_every is None:
            found = scan_both(cells, x, states, engine=self.engine)
        if found is None:
            options: dict[str, Any] = {"engine": self.engine, "checkpoint_every": self.checkpoint_every}
            scans = [
                scan(cell, x, state, reverse=direction == 1, **options)
                for direction, (cell, state) in enumerate(zip(cells, states, strict=True))
            ]
            found = [(outputs.values, end) for outputs, end in scans]
        outputs, ends = [values for values, _ in found], [end for _, end in found]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, -len(self.output_shape)), ends

    def _drop(self, y: Any) -> Any:
        if not self.variational_dropout:
            return y.map(lambda values: drop(values, self.dropout, self.training))
        return variational(y, self.variational_dropout, self.training)

    def extra_repr(self) -> str:
        """Sizes and what stands between the layers, for `print`."""
        options = {
            "bidirectional": self.bidirectional,
            "residual": self.residual,
            "dropout": self.dropout,
            "variational_dropout": self.variational_dropout,
            "layer_norm": len(self.norms) > 0,
            "engine": self.engine if self.engine != "auto" else None,
            "checkpoint_every": self.checkpoint_every,
        }
        said = "".join(f", {name}={value!r}" for name, value in options.items() if value)
        sizes = f"{size_text(self.input_shape)} -> {size_text(self.output_shape)}"
        return f"{sizes}, num_layers={self.num_layers}{said}"


def variational(x: Any, p: float, training: bool) -> Any:
    """Dropout with one mask a sequence for all its steps; of a Ragged or a Block, and so is the result."""
    if not training or p == 0:
        return x
    sizes = x.values.shape[2:] if isinstance(x, Block) else x.values.shape[1:]
    mask = drop(x.values.new_ones(x.batch_size, *sizes), p, True)
    return x.map(lambda values: values * x.expand(mask))


def _alike(cell: Cell, **changes: int) -> Cell:
    """A clone of a cell, of the type and on the device of its weights."""
    clone = cell.clone(**changes)
    like = next(cell.parameters(), None)
    if like is None:
        return clone
    if not like.is_complex() and not any(map(Tensor.is_complex, clone.parameters())):
        return clone.to(like.device, like.dtype)
    kinds = {name: parameter.dtype for name, parameter in cell.named_parameters()}
    for name, parameter in clone.named_parameters():  # `to` makes complex weights real
        parameter.data = parameter.data.to(like.device, kinds.get(name, parameter.dtype))
    return clone


def _stack(cells: Cell | Sequence[Cell], num_layers: int, num_directions: int) -> list[Cell]:
    """The cell of each layer, forward."""
    if isinstance(cells, type | nn.Module) and not isinstance(cells, nn.ModuleList | nn.Sequential):
        expect_cell("cells", cells)
    if isinstance(cells, Cell):
        check_count("num_layers", num_layers)
        size = cells.output_size * num_directions
        return [cells, *(_alike(cells, input_size=size) for _ in range(num_layers - 1))]
    stack = list(cells) if isinstance(cells, Iterable) else []
    if not stack or not all(isinstance(cell, Cell) for cell in stack):
        raise ConfigError(f"`cells` must be a recurra.Cell or a sequence of them, got {cells!r}.")
    if num_layers not in (1, len(stack)):
        raise ConfigError(f"`cells` are {len(stack)} layers: leave out `num_layers`, got {num_layers}.")
    if len({id(cell) for cell in stack}) < len(stack):
        raise ConfigError("`cells` must be different objects: give one cell and `num_layers` to have it cloned.")
    return stack


def _joined(cell: Cell, num_directions: int) -> tuple[int, ...]:
    """Shape of what a layer gives for one step: all directions side by side in the features.

    Raises:
        ConfigError: there are two directions, and the cell's outputs have no features.
    """
    if num_directions == 1:
        return cell.output_shape
    if not cell.output_shape:
        raise ConfigError(
            f"The outputs of `{type(cell).__name__}` have no features in which directions could be joined."
        )
    return (cell.output_shape[0] * num_directions, *cell.output_shape[1:])


def _check_fit(stack: list[Cell], num_directions: int) -> None:
    for index in range(1, len(stack)):
        given, taken = _joined(stack[index - 1], num_directions), stack[index].input_shape
        if taken != given:
            raise ConfigError(
                f"`cells[{index}]` must take inputs of shape {shape_text('B', I=given)}, the outputs of the layer "
                f"below, got {shape_text('B', I=taken)}."
            )


def _check_residual(stack: list[Cell], num_directions: int) -> None:
    if len(stack) == 1:
        raise ConfigError("`residual` joins layers from the second one on: there is only one.")
    for index, cell in enumerate(stack[1:], start=1):
        taken, given = cell.input_shape, _joined(cell, num_directions)
        if taken != given:
            raise ConfigError(
                f"`residual` needs layers of one size: layer {index} takes {size_text(taken)} numbers and gives "
                f"{size_text(given)}."
            )


def _wrap(
    cell: Cell,
    weight_drop: float,
    recurrent_dropout: float,
    zoneout: float,
    clip_state_gradient: float | None,
    learned_initial_state: bool,
) -> Cell:
    """The wrappers that were asked for, weights innermost."""
    wrappers: dict[str, tuple[Callable[[Cell, float], Cell], float]] = {
        "weight_drop": (WeightDrop, weight_drop),
        "recurrent_dropout": (RecurrentDropout, recurrent_dropout),
        "zoneout": (Zoneout, zoneout),
    }
    for option, (wrapper, p) in wrappers.items():
        try:
            cell = wrapper(cell, p) if p else cell
        except ConfigError as error:
            raise ConfigError(f"`{option}` does not go with this cell: {error}") from None
    if learned_initial_state:
        cell = LearnedInitialState(cell)
    return cell if clip_state_gradient is None else ClipStateGradient(cell, clip_state_gradient)


def _norm_like(cell: Cell, shape: tuple[int, ...]) -> nn.LayerNorm:
    like = next(cell.parameters(), torch.empty(0))
    return nn.LayerNorm(shape, device=like.device, dtype=like.dtype)
