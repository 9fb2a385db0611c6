"""The shapes that recurrent networks have in textbooks, as networks: [embedding], recurrent layers, output layer.

        OneToOne          OneToMany            ManyToOne            ManyToMany           EncoderDecoder

           y            y1  y2  y3                    y             y1  y2  y3                 y1  y2
           ^            ^   ^   ^                     ^             ^   ^   ^                  ^   ^
          [ ]          [ ]>[ ]>[ ]          [ ]>[ ]>[ ]            [ ]>[ ]>[ ]       [ ]>[ ]>[ ]>[ ]
           ^            ^                    ^   ^   ^              ^   ^   ^         ^   ^
           x            x                   x1  x2  x3             x1  x2  x3        x1  x2

        one step     caption, music    sentiment, any class     tag, forecast        translation

Each is called as `y, state = network(x, state)`, but for `OneToMany`, which also reads what it wrote before:
`network(x, previous)`. Inputs are padded [T, B, ...] with lengths, or Ragged; with
`batch_first` padded tensors are [B, T, ...] on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from recurra.cells.wrapper import free_state, name_of, unwrap
from recurra.checks import check_bool, check_count
from recurra.engine.contract import Cell
from recurra.errors import ConfigError, ShapeError
from recurra.networks.heads import OutputLayer
from recurra.networks.pooling import make_pooling
from recurra.networks.recurrent import Recurrent
from recurra.ragged import Ragged
from recurra.shapes import describe, shape_text

__all__ = ["ManyToMany", "ManyToOne", "OneToMany", "OneToOne"]

Batch = TypeVar("Batch", Tensor, Ragged)
Lengths = Tensor | Sequence[int] | None


class _SequenceModel(nn.Module):
    """What the shapes share: an optional embedding in front, an output layer behind.

    Attributes:
        embedding: tokens to vectors; None where inputs are vectors.
        recurrent: the recurrent layers.
        output: the output layer.
    """

    def __init__(
        self,
        recurrent: Recurrent | Cell,
        output: int | nn.Module,
        embedding: nn.Embedding | None,
        batch_first: bool,
    ) -> None:
        super().__init__()
        layers = Recurrent(recurrent) if isinstance(recurrent, Cell) else recurrent
        if not isinstance(layers, Recurrent):
            raise ConfigError(f"`recurrent` must be a recurra.Recurrent or a recurra.Cell, got {describe(recurrent)}.")
        if embedding is not None and embedding.embedding_dim != layers.input_size:
            raise ConfigError(
                f"`embedding` gives {embedding.embedding_dim} numbers a token, `recurrent` takes {layers.input_size}: "
                "they must agree."
            )
        self.batch_first = check_bool("batch_first", batch_first)
        self.embedding = embedding
        self.recurrent = layers
        self.output = output if callable(output) else _dense(layers, output)

    def _read(self, x: Tensor | Ragged, lengths: Lengths, resets: Tensor | None = None) -> Ragged:
        """The inputs as vectors, Ragged."""
        if not isinstance(x, Ragged):
            shape = () if self.embedding is not None else self.recurrent.input_shape
            if not isinstance(x, Tensor) or x.dim() != 2 + len(shape):
                expected = shape_text(*("BT" if self.batch_first else "TB"), I=shape)
                raise ShapeError(f"`x` must be a Ragged or have shape {expected}, got {describe(x)}.")
            x = Ragged.from_padded(x, lengths, batch_first=self.batch_first, resets=resets)
        elif lengths is not None or resets is not None:
            raise ShapeError("`lengths` and `resets` belong to padded inputs: a Ragged carries its own.")
        return x if self.embedding is None else x.map(self.embedding)

    def _padded_like(self, y: Ragged, x: Batch) -> Batch:
        if isinstance(x, Ragged):
            return y
        num_steps = x.shape[1] if self.batch_first else x.shape[0]
        return y.to_padded(batch_first=self.batch_first, num_steps=num_steps)

    def extra_repr(self) -> str:
        """The order of padded tensors, for `print`."""
        return "batch_first=True" if self.batch_first else ""


def _dense(layers: Recurrent, size: Any) -> OutputLayer:
    if len(layers.output_shape) != 1:
        raise ConfigError(
            f"`output={size}` is a dense layer, which takes vectors; the layers give "
            f"{shape_text('N', O=layers.output_shape)}: hand in a module that takes these."
        )
    return OutputLayer(layers.output_size, size)


class OneToOne(_SequenceModel):
    """One input, one output: a single step. Given its state again it is a network that lives in a loop.

           y
           ^
          [ ] > state
           ^
           x

        network = OneToOne(RNN(4, 16), 2)
        y, state = network(x)                  # x [B, 4] -> y [B, 2]
        y, state = network(x, state)

    Args:
        recurrent: the recurrent layers, of one direction, or a cell for one layer.
        output: size of the output, or the module that makes it.
        embedding: tokens to vectors, where x is tokens [B].
    """

    def __init__(
        self, recurrent: Recurrent | Cell, output: int | nn.Module, *, embedding: nn.Embedding | None = None
    ) -> None:
        super().__init__(recurrent, output, embedding, False)

    def forward(self, x: Tensor, state: Sequence[Any] | None = None) -> tuple[Tensor, tuple[Any, ...]]:
        """Shapes: x [B, I], or tokens [B] -> y [B, O], state."""
        shape = () if self.embedding is not None else self.recurrent.input_shape
        if x.dim() != 1 + len(shape):
            raise ShapeError(f"`x` must have shape {shape_text('B', I=shape)}, got {describe(x)}.")
        vector = x if self.embedding is None else self.embedding(x)
        h, after = self.recurrent.step(vector, self.recurrent.as_state(state, len(x), like=vector))
        return self.output(h), after


class ManyToOne(_SequenceModel):
    """A sequence in, one output: classification, regression.

                  y
                  ^
                pool
                  ^
        [ ] > [ ] > [ ]
         ^     ^     ^
        x1    x2    x3

        network = ManyToOne(Recurrent(LSTM(10, 32), num_layers=2), 3, batch_first=True)
        logits, state = network(x, lengths=lengths)          # x [B, T, 10] -> logits [B, 3]

        text = ManyToOne(LSTM(64, 128), 10, embedding=nn.Embedding(1000, 64), batch_first=True)
        logits, state = text(tokens)                         # tokens [B, T] -> logits [B, 10]

    Args:
        recurrent: the recurrent layers, or a cell for one layer.
        output: size of the output (classes), or the module that makes it from [B, O], or from the images of cells that
            give images.
        embedding: tokens to vectors, where x is tokens.
        pooling: what is taken of the steps: `"last"`, `"mean"`, `"max"` or `"attention"`, which is of vectors alone.
        batch_first: padded x is [B, T, ...] instead of [T, B, ...].

    Raises:
        ConfigError: the pooling is unknown, or layers, output and pooling do not fit each other.
    """

    def __init__(
        self,
        recurrent: Recurrent | Cell,
        output: int | nn.Module,
        *,
        embedding: nn.Embedding | None = None,
        pooling: str = "last",
        batch_first: bool = False,
    ) -> None:
        super().__init__(recurrent, output, embedding, batch_first)
        shape = self.recurrent.output_shape
        if pooling == "attention" and len(shape) != 1:
            raise ConfigError(
                f"`pooling='attention'` compares vectors; the layers give {shape_text('N', O=shape)}: take 'last', "
                "'mean' or 'max'."
            )
        self.pooling = make_pooling(pooling, self.recurrent.output_size, self.recurrent.num_directions)

    def forward(
        self, x: Tensor | Ragged, state: Sequence[Any] | None = None, *, lengths: Lengths = None
    ) -> tuple[Tensor, tuple[Any, ...]]:
        """Shapes: x [T, B, I], tokens [T, B], or Ragged -> y [B, O], state after the last step."""
        h, after = self.recurrent(self._read(x, lengths), state)
        return self.output(self.pooling(h)), after


class ManyToMany(_SequenceModel):
    """A sequence in, an output for each of its steps: tagging, forecasting, language models.

        y1    y2    y3
         ^     ^     ^
        [ ] > [ ] > [ ]
         ^     ^     ^
        x1    x2    x3

        network = ManyToMany(Recurrent(GRU(8, 32), bidirectional=True), 5)
        logits, state = network(x, lengths=lengths)          # x [T, B, 8] -> logits [T, B, 5]

    For sequences that are not aligned there is `EncoderDecoder`.

    Args:
        recurrent: the recurrent layers, or a cell for one layer.
        output: size of the output, or the module that makes it from [N, O], all steps at once.
        embedding: tokens to vectors, where x is tokens.
        batch_first: padded tensors are [B, T, ...] instead of [T, B, ...].
    """

    def __init__(
        self,
        recurrent: Recurrent | Cell,
        output: int | nn.Module,
        *,
        embedding: nn.Embedding | None = None,
        batch_first: bool = False,
    ) -> None:
        super().__init__(recurrent, output, embedding, batch_first)

    def forward(
        self,
        x: Batch,
        state: Sequence[Any] | None = None,
        *,
        lengths: Lengths = None,
        resets: Tensor | None = None,
    ) -> tuple[Batch, tuple[Any, ...]]:
        """Shapes: x [T, B, I], tokens [T, B], or Ragged -> y of the same steps, [T, B, O] or Ragged; state."""
        h, after = self.recurrent(self._read(x, lengths, resets), state)
        return self._padded_like(h.map(self.output), x), after


class OneToMany(_SequenceModel):
    """One input, a sequence of outputs: captions, melodies from a mood, trajectories from a goal.

         y1    y2    y3
          ^     ^     ^
    x > [ ] > [ ] > [ ]
          ^     ^     ^
        start  y1    y2

    x becomes the initial state, through a layer with tanh for each free field of it (`Cell.free_fields`); the others
    begin as they always do. Each step is told the output before it.

        network = OneToMany(16, LSTM(8, 32), 8)
        y, state = network(x, previous)              # training: x [B, 16], previous [T, B, 8] what each step is told
        y, state = network.generate(x, 20)           # y [20, B, 8]: each step is told the network's own output

    With an embedding the outputs are logits of tokens; `start` and `step` are then what beam search and sampling want.

    Args:
        size: numbers of the one input.
        recurrent: the recurrent layers, of one direction, or a cell for one layer.
        output: size of the output, or the module that makes it from [N, O].
        embedding: tokens to vectors, where the sequence is tokens.
        batch_first: padded tensors are [B, T, ...] instead of [T, B, ...].

    Raises:
        ConfigError: there are two directions, or no field of any layer's state is free.
    """

    def __init__(
        self,
        size: int,
        recurrent: Recurrent | Cell,
        output: int | nn.Module,
        *,
        embedding: nn.Embedding | None = None,
        batch_first: bool = False,
    ) -> None:
        super().__init__(recurrent, output, embedding, batch_first)
        if self.recurrent.bidirectional:
            raise ConfigError("`recurrent` must have one direction: what comes later is not known while generating.")
        self.size = check_count("size", size)
        self.begin = nn.ModuleList(
            nn.ModuleDict({name: nn.Linear(size, field.numel()) for name, field in free_state(cell).items()})
            for cell in self.recurrent.cells
        )
        if not any(self.begin):
            kinds = ", ".join(dict.fromkeys(f"`{name_of(cell)}`" for cell in self.recurrent.cells))
            raise ConfigError(
                f"The one input becomes the initial state, and no field of the state of {kinds} is free: take another."
            )

    def start(self, x: Tensor) -> tuple[Any, ...]:
        """The state before the first step. Shapes: x [B, size] -> fields [B, ...]."""
        if x.dim() != 2 or x.shape[1] != self.size:
            raise ShapeError(f"`x` must have shape [B, {self.size}], got {describe(x)}.")
        states = []
        for cell, layers in zip(self.recurrent.cells, self.begin, strict=True):
            initial = unwrap(cell).initial_state(len(x), dtype=x.dtype, device=x.device)
            made = {
                name: torch.tanh(layer(x)).view_as(getattr(initial, name))
                for name, layer in layers.items()  # type: ignore[operator]
            }
            states.append(cell.as_state(initial._replace(**made), len(x), like=x))
        return tuple(states)

    def forward(self, x: Tensor, previous: Batch, *, lengths: Lengths = None) -> tuple[Batch, tuple[Any, ...]]:
        """All steps at once, each told what stood before it.

        Shapes: x [B, size], previous [T, B, I], tokens [T, B], or Ragged -> y of the same steps, state.
        """
        h, after = self.recurrent(self._read(previous, lengths), self.start(x))
        return self._padded_like(h.map(self.output), previous), after

    def step(self, previous: Tensor, state: Sequence[Any]) -> tuple[Tensor, tuple[Any, ...]]:
        """One step. Shapes: previous [R, I], or tokens [R] -> y [R, O], state."""
        vector = previous if self.embedding is None else self.embedding(previous)
        h, after = self.recurrent.step(vector, state)
        return self.output(h), after

    def generate(self, x: Tensor, num_steps: int, first: Tensor | None = None) -> tuple[Tensor, tuple[Any, ...]]:
        """Go on alone: every step is told the output of the one before. For tokens there is beam search.

        Shapes: x [B, size], first [B, I] or None for zeros -> y [num_steps, B, I], state.

        Raises:
            ConfigError: the network has an embedding.
        """
        if self.embedding is not None:
            raise ConfigError("`generate` is for vectors; for tokens use greedy, beam_search or sample with `step`.")
        state = self.start(x)
        shape = self.recurrent.input_shape
        y = x.new_zeros(len(x), *shape) if first is None else first
        outputs = []
        for _ in range(num_steps):
            y, state = self.step(y, state)
            if y.shape[1:] != shape:
                raise ShapeError(
                    f"An output must be fit for the next step, {shape_text('B', I=shape)}, got {describe(y)}."
                )
            outputs.append(y)
        if not outputs:
            return x.new_zeros(*((len(x), 0) if self.batch_first else (0, len(x))), *y.shape[1:]), state
        return torch.stack(outputs, 1 if self.batch_first else 0), state
