"""What no graph of a step tells: whether hooks look on, and, run on a few rows, whether these see each other."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from recurra.engine.complex_numbers import planes
from recurra.engine.contract import Cell
from recurra.engine.made_weights import is_maker
from recurra.engine.reading import hooks_of
from recurra.engine.reference import checked
from recurra.engine.trace import to_run, user_line
from recurra.errors import CompileError, ShapeError

__all__ = ["expect_contract", "expect_no_hooks", "expect_rows_apart"]

# of the batches tried; a number that sizes seldom have, as torch tells some batches from matrices by their shape alone
_ROWS = 7


def expect_no_hooks(cell: Cell) -> None:
    """Refuse hooks, which are to see every step, but for those by which torch makes weights.

    Raises:
        CompileError: there is one.
    """
    for name, module in cell.named_modules():
        hooks = hooks_of(module) if name else []
        if not all(map(is_maker, hooks)):
            raise CompileError(
                f"`{type(cell).__name__}.step` has no compiled form while `{name}` has a hook, which is to be called "
                "at every step."
            )


def expect_contract(cell: Cell, dtype: torch.dtype) -> None:
    """Run the step once and look at what it returns.

    Raises:
        ShapeError: the step returns other shapes than the contract asks for.
        CompileError: the step itself fails, mostly by a slip in it, which its user is to see as it is.
    """
    twin = to_run(cell)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            _step(twin, *_example(twin, dtype))
        except ShapeError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            failed = CompileError(f"`{type(cell).__name__}.step` fails{user_line(cell, error)}: {what}")
            failed.step_fails = True
            raise failed from error


def expect_rows_apart(cell: Cell, dtype: torch.dtype, *, draws: bool) -> None:
    """Compare a batch with its rows one by one.

    Args:
        cell: the cell.
        dtype: of its inputs.
        draws: whether its step draws random numbers, which are all the same one here.

    Raises:
        CompileError: a mean over the batch, or the like, is in the step: it cannot run over all steps at once.
    """
    # scan keeps the value of a parametrized weight while it runs; one made here, without gradient, must not be it
    cell = to_run(cell)
    x, fields = _example(cell, dtype)
    with torch.no_grad(), torch.random.fork_rng(devices=[]), _SameDraws() if draws else nullcontext():
        together = _step(cell, x, fields)
        for row in range(0, _ROWS, 3):
            alone = _step(cell, x[row : row + 1], [field[row : row + 1] for field in fields])
            for whole, part in zip(together, alone, strict=True):
                row_of_whole, part = planes(whole[row : row + 1], 1), planes(part, 1)
                if not torch.allclose(row_of_whole, part, rtol=1e-3, atol=1e-4, equal_nan=True):
                    raise CompileError(
                        f"`{type(cell).__name__}.step` mixes the rows of its batch, which are different sequences: "
                        "it has no compiled form."
                    )


class _SameDraws(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        is_random = torch.Tag.nondeterministic_seeded in func.tags
        return tree_map_only(Tensor, lambda drawn: drawn.fill_(0.5), result) if is_random else result


def _example(cell: Cell, dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    draw = torch.Generator().manual_seed(0)
    state = cell.initial_state(_ROWS, dtype=dtype, device="cpu")
    # near the first state, as a step may ask something of it: that a covariance is positive definite, say
    fields = []
    for field in state:
        kind = field.dtype if field.is_complex() else dtype
        fields.append(field + (0.1 * torch.rand(field.shape, generator=draw, dtype=kind)).to(field.dtype))
    return torch.rand(_ROWS, *cell.input_shape, generator=draw, dtype=dtype), fields


def _step(cell: Cell, x: Tensor, fields: list[Tensor]) -> list[Any]:
    output, after = checked(cell, cell.step(x, cell.State(*fields)), tuple(fields))
    return [output, *after]
