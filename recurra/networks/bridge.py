"""The bridge: from the states an encoder ends in to those a decoder begins with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recurra.cells.wrapper import free_state, name_of, unwrap
from recurra.checks import check_known
from recurra.engine.contract import Cell
from recurra.engine.products import linear
from recurra.errors import ConfigError
from recurra.networks.recurrent import Recurrent

__all__ = ["BRIDGES", "Bridge"]

BRIDGES = ("copy", "linear", "none", "sum", "tanh")


class Bridge(nn.Module):
    """Makes the initial states of a decoder from the final states of an encoder, whatever their cells.

        s = tanh(W e + b)      "tanh": a layer for every field of every decoder layer
        s = W e + b            "linear"
        s = e                  "copy": sizes must agree
        s = e_forward + e_backward      "sum": sizes of one direction must agree
                               "none": the decoder begins as it always does

    e is the field of the same name in the encoder's layer, both directions side by side; where the encoder has no such
    field (an LSTM's c after a GRU), all fields it has. The top layers stand opposite each other: where the encoder has
    more layers, its lowest are left out; where it has fewer, its top layer serves the decoder's remaining ones.

    e and s are free fields of the states: what is not free of the encoder's, as the clock of a clockwork network, is
    read only where nothing of it is free, and what is not free of the decoder's begins as it always does. "copy" alone
    hands on all fields between cells of one kind: together they stay what they were.

    Args:
        encoder: where the states come from.
        decoder: whose states are made.
        kind: one of `BRIDGES`.

    Raises:
        ConfigError: the kind is unknown, sizes or fields do not agree where they must, or no field is free.

    Source: tanh of a layer: Bahdanau et al. 2014, arXiv:1409.0473, appendix A.2.2, where it takes the backward state.
    """

    def __init__(self, encoder: Recurrent, decoder: Recurrent, kind: str = "tanh") -> None:
        super().__init__()
        check_known(kind, BRIDGES, f"Unknown bridge `{kind}`")
        self.kind = kind
        self.num_directions = encoder.num_directions
        self.from_layer = _opposite(encoder.num_layers, decoder.num_layers)
        # for each decoder layer: field -> the encoder's fields it is made of
        self.plan: list[dict[str, list[str]]] = []
        self.layers = nn.ModuleList()
        if kind == "none":
            return
        for index, cell in enumerate(decoder.cells):
            below = encoder.cells[self.from_layer[index] * self.num_directions]
            sizes = _sizes(below)
            whole = kind == "copy" and unwrap(cell).State is unwrap(below).State
            free, free_below = free_state(cell), free_state(below)
            fields = {name: size for name, size in _sizes(cell).items() if whole or name in free}
            if not whole:  # a clock or a normaliser has numbers of another size, which would drown the others
                sizes = {name: size for name, size in sizes.items() if name in free_below} or sizes
            self.plan.append({name: [name] if name in sizes else list(sizes) for name in fields})
            self.layers.append(self._layer(cell, fields, sizes))
        if not any(self.plan):
            kinds = ", ".join(dict.fromkeys(f"`{name_of(cell)}`" for cell in decoder.cells))
            raise ConfigError(
                f"The bridge `{kind}` has nothing to make, since no field of the state of {kinds} is free: take the "
                "bridge `none`, or `copy` from an encoder of the same cells."
            )

    def _layer(self, cell: Cell, fields: dict[str, int], sizes: dict[str, int]) -> nn.ModuleDict:
        if self.kind in ("tanh", "linear"):
            return nn.ModuleDict(
                {
                    name: nn.Linear(self.num_directions * sum(sizes[part] for part in self.plan[-1][name]), size)
                    for name, size in fields.items()
                }
            )
        times = self.num_directions if self.kind == "copy" else 1
        for name, size in fields.items():
            got = sizes.get(name, 0) * times
            if got != size:
                raise ConfigError(
                    f"The bridge `{self.kind}` needs states of one size: field `{name}` of `{name_of(cell)}` has "
                    f"{size} numbers, the encoder gives {got}; take the bridge `tanh`."
                )
        return nn.ModuleDict()

    def forward(self, states: Sequence[Any], decoder: Recurrent, batch_size: int, *, like: Tensor) -> tuple[Any, ...]:
        """Shapes: fields of the encoder's states [B, ...] -> fields of the decoder's states [B, ...].

        Args:
            states: L * D final states of the encoder.
            decoder: whose states are made.
            batch_size: B.
            like: a tensor with the type and device of the decoder's inputs.
        """
        if self.kind == "none":
            return decoder.as_state(None, batch_size, like=like)
        made = []
        for index, cell in enumerate(decoder.cells):
            start = self.from_layer[index] * self.num_directions
            ends = states[start : start + self.num_directions]
            made.append(cell.as_state(self._state(index, cell, ends, batch_size, like), batch_size, like=like))
        return tuple(made)

    def _state(self, index: int, cell: Cell, ends: Sequence[Any], batch_size: int, like: Tensor) -> Any:
        initial = unwrap(cell).initial_state(batch_size, dtype=like.dtype, device=like.device)
        made = {
            name: self._field(index, name, [[getattr(end, part).flatten(1) for part in parts] for end in ends])
            for name, parts in self.plan[index].items()
        }
        return initial._replace(**{name: value.view_as(getattr(initial, name)) for name, value in made.items()})

    def _field(self, index: int, name: str, parts: list[list[Tensor]]) -> Tensor:
        """One field from its parts, direction by direction."""
        sides = [torch.cat(side, 1) for side in parts]
        if self.kind == "sum":
            return torch.stack(sides).sum(0)
        joined = torch.cat(sides, 1)
        if self.kind == "copy":
            return joined
        layer = self.layers[index][name]  # type: ignore[index]
        value = linear(joined, layer.weight, layer.bias)
        return torch.tanh(value) if self.kind == "tanh" else value

    def extra_repr(self) -> str:
        """The kind, for `print`."""
        return f"kind={self.kind!r}"


def _opposite(encoder_layers: int, decoder_layers: int) -> list[int]:
    """For each decoder layer the encoder layer it takes its state from, top opposite top."""
    first = max(0, encoder_layers - decoder_layers)
    return [min(first + layer, encoder_layers - 1) for layer in range(decoder_layers)]


def _sizes(cell: Cell) -> dict[str, int]:
    """Numbers of one row of each floating-point field of the innermost cell's state; masks of wrappers are none."""
    state = unwrap(cell).initial_state(1)
    fields = zip(state._fields, state, strict=True)
    return {name: field.numel() for name, field in fields if field.is_floating_point()}
