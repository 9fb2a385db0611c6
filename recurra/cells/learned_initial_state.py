"""A state to begin with that is learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recurra.cells.wrapper import Wrapper, free_state, name_of, step_reading
from recurra.engine.contract import Cell, kernel_of
from recurra.engine.kernel import Kernel
from recurra.errors import ConfigError

__all__ = ["LearnedInitialState"]


class LearnedInitialState(Wrapper):
    """Begin every sequence, and go on after every reset, with a state that is a parameter.

    There is one parameter for each free field of the innermost cell's state that holds floats or complex numbers, the
    same for all sequences; it starts at the state that the cell begins with (zeros, for most). Fields that are not
    free, as the clock of a clockwork network, begin as they do without.

    Args:
        cell: any cell with a field that is free.

    Raises:
        ConfigError: no field is free.
    """

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        like = next(cell.parameters(), torch.empty(0))
        start = free_state(cell, dtype=like.dtype, device=like.device, with_complex=True)
        if not start:
            raise ConfigError(f"No field of the state of `{name_of(cell)}` is free to be learned.")
        self.initial = nn.ParameterDict(
            {name: nn.Parameter(field[0].detach().clone()) for name, field in start.items()}
        )

    def initial_state(
        self, batch_size: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Any:
        """The learned state, once for every sequence."""
        state = super().initial_state(batch_size, dtype=dtype, device=device)
        return state._replace(
            **{name: value.to(getattr(state, name)).expand(batch_size, *value.shape) for name, value in self._learned()}
        )

    def _learned(self) -> list[tuple[str, Tensor]]:
        return list(self.initial.items())

    def step(self, x: Tensor, state: Any, read: Any = None) -> tuple[Tensor, Any]:
        """One step of the cell inside."""
        return step_reading(self.cell, x, state, read)

    def kernel(self) -> Kernel | None:
        """That of the cell inside."""
        return kernel_of(self.cell)
