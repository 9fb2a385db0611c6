"""What no graph of a step tells: whether hooks look on, and, run on a few rows, whether these see each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.engine.complex_numbers import planes
from recurra.engine.contract import Cell
from recurra.engine.made_weights import is_maker
from recurra.engine.reading import hooks_of, read, what_changed
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
    """Run the step and look at what it returns, and at what it leaves in its cell.

    Raises:
        ShapeError: the step returns other shapes than the contract asks for.
        CompileError: the step changes its cell at every call; or it fails, mostly by a slip in it, which its user is
            to see as it is.
    """
    twin = to_run(cell)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            _step(twin, _example(twin, dtype))
            before = read(twin).key, _buffers(twin)
            _step(twin, _example(twin, dtype))  # the first call may keep what it makes once for all
        except ShapeError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            failed = CompileError(f"`{type(cell).__name__}.step` fails{user_line(cell, error)}: {what}")
            failed.step_fails = True
            raise failed from error
    after = read(twin).key, _buffers(twin)
    if after != before:
        written = [name for name, seen in after[1].items() if before[1].get(name) != seen]
        changed = what_changed(before[0], after[0]) or (written or ["something"])[0]
        raise CompileError(
            f"`{type(cell).__name__}.step` changes `{changed}` of its cell, and has no compiled form: what passes from "
            "one step to the next belongs in the state."
        )


def _buffers(cell: Cell) -> dict[str, tuple[int, int]]:
    """Which tensor each buffer is, and how often it was written to; torch does not count that in inference mode."""
    return {name: (id(value), 0 if value.is_inference() else value._version) for name, value in cell.named_buffers()}


def expect_rows_apart(cell: Cell, dtype: torch.dtype, *, draws: bool) -> None:
    """Compare some rows of a batch with themselves alone; where the step draws numbers, with them next to others.

    Raises:
        CompileError: a mean over the batch, or the like, is in the step: it cannot run over all steps at once.
    """
    # scan keeps the value of a parametrized weight while it runs; one made here, without gradient, must not be it
    cell = to_run(cell)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        batch = _example(cell, dtype)
        others = _example(cell, dtype, seed=1) if draws else None
        for _ in range(50 if draws else 1):  # other threads may draw from the same stream meanwhile
            together = _drawn(cell, batch)
            if all(_is_alone(cell, batch, together, row, others) for row in range(0, _ROWS, 3)):
                return
        is_fixed = all(map(_are_close, together, _drawn(cell, batch)))
    why = (
        "mixes the rows of its batch, which are different sequences"
        if is_fixed
        else "gives other numbers at every call, drawn by something else than torch"
    )
    raise CompileError(f"`{type(cell).__name__}.step` {why}: it has no compiled form.")


def _is_alone(
    cell: Cell, batch: Sequence[Tensor], together: list[Any], row: int, others: Sequence[Tensor] | None
) -> bool:
    """Whether a row gives the same without the others, or among these: as many rows draw the same numbers."""
    its, here = slice(row, row + 1), slice(None)
    given = [each[its] for each in batch]
    if others is not None:
        here = its
        given = [torch.cat([other[:row], own, other[row + 1 :]]) for own, other in zip(given, others, strict=True)]
    try:
        found = _drawn(cell, given)
    except Exception:  # many rows went well: what one of them fails for is that the others are not there
        return False
    return all(_are_close(whole[its], part[here]) for whole, part in zip(together, found, strict=True))


def _drawn(cell: Cell, batch: Sequence[Tensor]) -> list[Any]:
    torch.default_generator.manual_seed(0)
    return _step(cell, batch)


def _are_close(whole: Tensor, part: Tensor) -> bool:
    return torch.allclose(planes(whole, 1), planes(part, 1), rtol=1e-3, atol=1e-4, equal_nan=True)


def _example(cell: Cell, dtype: torch.dtype, seed: int = 0) -> list[Tensor]:
    """Rows of `x` and of the fields of the state."""
    draw = torch.Generator().manual_seed(seed)
    state = cell.initial_state(_ROWS, dtype=dtype, device="cpu")
    # near the first state, as a step may ask something of it: that a covariance is positive definite, say
    fields = []
    for field in state:
        kind = field.dtype if field.is_complex() else dtype
        fields.append(field + (0.1 * torch.rand(field.shape, generator=draw, dtype=kind)).to(field.dtype))
    return [torch.rand(_ROWS, *cell.input_shape, generator=draw, dtype=dtype), *fields]


def _step(cell: Cell, batch: Sequence[Tensor]) -> list[Any]:
    x, *fields = batch
    output, after = checked(cell, cell.step(x, cell.State(*fields)), tuple(fields))
    return [output, *after]
