"""Variational dropout of the state: the same units are dropped at every step of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from recurra.cells.wrapper import Wrapper, check_fields, check_names, step_reading
from recurra.checks import check_probability
from recurra.engine.block import AnyBatch
from recurra.engine.contract import Cell, Source, kernel_of
from recurra.engine.kernel import Kernel
from recurra.engine.state_class import state_class
from recurra.errors import ConfigError, ShapeError
from recurra.ragged import Ragged
from recurra.shapes import describe

__all__ = ["RecurrentDropout"]


class RecurrentDropout(Wrapper):
    """Variational recurrent dropout around any cell: one mask a sequence, the same at every step.

        output, s' = step(x, s ⊙ m)        m ~ Bernoulli(1 - p) / (1 - p), drawn when a sequence begins

    The masks are the last fields of the state (`h_mask` for `h`), so a sequence fed in chunks keeps its mask, and a
    reset draws a new one. A state of the cell inside is accepted too, and is given new masks. What is carried on stays
    whole where the cell tells what its products see from what it carries on, as the GRU does (`step_reading`). In
    evaluation nothing is dropped.

    Args:
        cell: any cell.
        p: probability of dropping a unit.
        fields: fields of the state that are dropped.

    Raises:
        ConfigError: p is no probability below 1, or a field is unknown.

    Source: Gal and Ghahramani 2016, arXiv:1512.05287.
    """

    source = Source(
        key="gal2016theoretically",
        authors="Gal, Yarin and Ghahramani, Zoubin",
        title="A Theoretically Grounded Application of Dropout in Recurrent Neural Networks",
        year=2016,
        venue="NIPS",
        url="https://arxiv.org/abs/1512.05287",
    )

    def __init__(self, cell: Cell, p: float, fields: Sequence[str] = ("h",)) -> None:
        super().__init__(cell)
        self.p = check_probability("p", p)
        self.fields = check_names("fields", "field", fields)
        check_fields(cell, self.fields)
        for name in self.fields:
            if f"{name}_mask" in cell.State._fields:
                raise ConfigError(f"`{name}` of `{type(cell).__name__}` is dropped already: it has a `{name}_mask`.")
        _ = self.State  # made now, so that torch.compile finds it

    @property
    def State(self) -> Any:
        """The state of the cell inside, and a mask for each dropped field."""
        inner = self.cell.State
        names = (*inner._fields, *(f"{name}_mask" for name in self.fields))
        return state_class(f"{inner.__name__}WithMasks", names)

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Those of the cell inside; a mask has that of its field."""
        shapes, names = self.cell.state_shapes, self.cell.State._fields
        return *shapes, *(shapes[names.index(name)] for name in self.fields)

    def initial_state(
        self, batch_size: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Any:
        """That of the cell inside, with new masks."""
        return self._draw(super().initial_state(batch_size, dtype=dtype, device=device))

    def as_state(self, state: Any, batch_size: int, *, like: Tensor) -> Any:
        """As in every cell; a state of the cell inside is given new masks."""
        if state is None:
            return self.initial_state(batch_size, dtype=like.dtype, device=like.device)
        names = self.State._fields
        masked = isinstance(state, tuple | list) and len(state) == len(names)
        if not masked or getattr(state, "_fields", names) != names:
            return self._draw(self.cell.as_state(state, batch_size, like=like))
        split = len(self.cell.State._fields)
        inner = self.cell.as_state(tuple(state[:split]), batch_size, like=like)
        for name, mask in zip(self.fields, state[split:], strict=True):
            shape = getattr(inner, name).shape
            if not isinstance(mask, Tensor) or mask.shape != shape:
                raise ShapeError(f"`state.{name}_mask` must have shape {list(shape)}, got {describe(mask)}.")
        return self.State(*inner, *state[split:])

    def _draw(self, inner: Any) -> Any:
        ones = (torch.ones_like(getattr(inner, name).real) for name in self.fields)
        return self.State(*inner, *(functional.dropout(mask, self.p, self.training) for mask in ones))

    def step(self, x: Tensor, state: Any, read: Any = None) -> tuple[Tensor, Any]:
        """One step of the cell inside, which sees its state through the masks."""
        split = len(self.cell.State._fields)
        carried, masks = self.cell.State(*state[:split]), state[split:]
        seen = None if read is None else self.cell.State(*read[:split])
        if self.training:
            whole = carried if seen is None else seen
            seen = whole._replace(
                **{name: getattr(whole, name) * mask for name, mask in zip(self.fields, masks, strict=True)}
            )
        output, after = step_reading(self.cell, x, carried, seen)
        return output, self.State(*after, *masks)

    def kernel(self) -> Kernel | None:
        """That of the cell inside where nothing is dropped."""
        inner = None if self.training and self.p > 0 else kernel_of(self.cell)
        return None if inner is None else _CarryMasks(inner, self.cell.State)


@dataclass(frozen=True)
class _CarryMasks:
    """A kernel of the cell inside, around which the masks pass."""

    inner: Kernel
    state: Any

    def supports(self, values: Tensor) -> bool:
        return self.inner.supports(values)

    def is_fast(self, x: AnyBatch) -> bool:
        return self.inner.is_fast(x)

    def run(self, x: Ragged, state: Any) -> tuple[Tensor, Any]:
        split = len(self.state._fields)
        outputs, after = self.inner.run(x, self.state(*state[:split]))
        return outputs, type(state)(*after, *state[split:])
