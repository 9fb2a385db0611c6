"""What users hand to an echo state network, as one `Ragged` batch, checked; and answers in the form that came."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from recurra.errors import DataError, ShapeError
from recurra.ragged import Ragged, offsets_of
from recurra.shapes import describe

__all__ = ["Form", "Series", "as_series", "lengths_text", "windows"]


@dataclass(frozen=True)
class Form:
    """What a user gave, and how answers go back to that form.

    Args:
        kind: one series as a "row" [T] or a "block" [T, I], or several as a "batch" [T, B, I], a list of "rows" or of
            "blocks", or "ragged".
        back: a tensor in the kind of array that the user gave.
    """

    kind: Literal["row", "block", "batch", "rows", "blocks", "ragged"]
    back: Callable[[Tensor], Any]

    def restore(self, rows: Tensor, offsets: Tensor) -> Any:
        """Rows [N, O] of sequences with these offsets in this form; where it is of one series, several are a batch."""
        lengths = offsets.diff().tolist()
        if self.kind in ("row", "rows") and rows.shape[1] == 1 and (self.kind == "rows" or len(lengths) == 1):
            rows = rows[:, 0]
        if self.kind in ("rows", "blocks"):
            return [self.back(part) for part in rows.split(lengths)]
        if self.kind == "ragged":
            return Ragged(self.back(rows), offsets)
        if self.kind == "batch" or len(lengths) > 1:
            return self.back(rows.unflatten(0, (len(lengths), -1)).transpose(0, 1))
        return self.back(rows)


@dataclass(frozen=True)
class Series:
    """Sequences as a Ragged batch, and the form that they came in."""

    ragged: Ragged
    form: Form

    def restore(self, rows: Tensor) -> Any:
        """Rows [N, O] of the same sequences in the form that came."""
        return self.form.restore(rows, self.ragged.offsets)


def as_series(name: str, given: Any, *, dtype: torch.dtype, device: torch.device | None = None) -> Series:
    """Check sequences and make them a Ragged batch.

    Args:
        name: what the user calls them.
        given: one series [T, I] or [T], several [T, B, I], a list of [T_b, I] or [T_b], or a Ragged; tensors or
            arrays.
        dtype: of the numbers in the Ragged.
        device: likewise.

    Raises:
        ShapeError: it is none of these.
        DataError: a number is NaN or infinite.
    """
    if isinstance(given, Ragged):
        if given.resets is not None:
            raise ShapeError(f"`{name}` must be a Ragged without resets: give each stretch as a sequence of its own.")
        series = Series(given.to(device=device, dtype=dtype), Form("ragged", _back(given.values)))
    elif isinstance(given, list | tuple) and given and all(isinstance(one, np.ndarray | Tensor) for one in given):
        series = _of_list(name, given, dtype, device)
    else:
        series = _of_block(name, given, dtype, device)
    if series.ragged.values.dim() != 2:
        raise ShapeError(f"`{name}.values` must have shape [N, I], got {describe(series.ragged.values)}.")
    _check_finite(name, series.ragged)
    return series


def _of_list(name: str, given: Any, dtype: torch.dtype, device: torch.device | None) -> Series:
    parts = [_tensor(name, one, dtype, device) for one in given]
    kind: Literal["rows", "blocks"] = "rows" if all(part.dim() == 1 for part in parts) else "blocks"
    parts = [part[:, None] if part.dim() == 1 else part for part in parts]
    if any(part.dim() != 2 or part.shape[1] != parts[0].shape[1] for part in parts):
        raise ShapeError(
            f"`{name}` must be a list of series [T, I] with the same I, got {', '.join(map(describe, parts[:4]))}."
        )
    return Series(Ragged.from_list(parts), Form(kind, _back(given[0])))


def _of_block(name: str, given: Any, dtype: torch.dtype, device: torch.device | None) -> Series:
    block = _tensor(name, given, dtype, device)
    back = _back(given)
    if block.dim() in (1, 2):
        rows = block[:, None] if block.dim() == 1 else block
        offsets = torch.tensor([0, len(rows)], device=rows.device)
        return Series(Ragged(rows, offsets), Form("row" if block.dim() == 1 else "block", back))
    if block.dim() != 3:
        raise ShapeError(f"`{name}` must have shape [T, I], [T] or [T, B, I], got {describe(block)}.")
    steps, batch = block.shape[:2]
    offsets = torch.arange(batch + 1, device=block.device) * steps
    return Series(Ragged(block.transpose(0, 1).flatten(0, 1).contiguous(), offsets), Form("batch", back))


def _tensor(name: str, given: Any, dtype: torch.dtype, device: torch.device | None) -> Tensor:
    tensor = given.detach() if isinstance(given, Tensor) else torch.from_numpy(_numbers(name, given))
    return tensor.to(device=device, dtype=dtype)


def _numbers(name: str, given: Any) -> np.ndarray:
    """In memory that torch takes: a copy where it is read-only or runs backwards."""
    try:
        array = np.asarray(given)
        if array.dtype.kind in "mMc":
            raise TypeError(f"{array.dtype} is no type of them")
        if np.ma.is_masked(given):
            raise TypeError("fill or leave out what is masked")
        return np.require(array, np.float64, ["C", "W"])
    except (TypeError, ValueError) as error:
        raise ShapeError(f"`{name}` must be an array or tensor of numbers, got {describe(given)}: {error}.") from None


def _back(given: Any) -> Callable[[Tensor], Any]:
    if isinstance(given, Tensor):
        kind = given.dtype if given.is_floating_point() else torch.get_default_dtype()
        return functools.partial(_to_tensor, device=given.device, dtype=kind)
    return _to_array


def _to_tensor(rows: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    return rows.to(device, dtype)


def _to_array(rows: Tensor) -> np.ndarray:
    return rows.cpu().numpy()


def _check_finite(name: str, series: Ragged) -> None:
    """Check that there is no NaN and no infinity.

    Raises:
        DataError: there is one; the message names its row.
    """
    fine = series.values.isfinite().all(dim=1)
    if bool(fine.all()):
        return
    row = int((~fine).nonzero()[0])
    number = float(series.values[row][~series.values[row].isfinite()][0])
    where = ""
    if series.batch_size > 1:
        where = f" of series {int(series.sequence_index[row])}"
        row = int(series.position[row])
    raise DataError(f"`{name}` has {number} in row {row}{where}: fill or leave out what is missing.")


def windows(series: Ragged, rows: int) -> Iterator[tuple[list[int], Tensor]]:
    """Cut a batch in pieces of about `rows` rows, time after time, so that states can pass from piece to piece.

    Yields: the offsets of a piece [B+1], and which rows of the batch it holds.
    """
    if series.num_steps <= rows:
        yield series.offsets.tolist(), torch.arange(series.num_steps, device=series.values.device)
        return
    steps = max(1, rows // max(1, series.batch_size))
    starts, lengths = series.offsets[:-1], series.lengths
    for first in range(0, series.max_length, steps):
        counts = (lengths - first).clamp(0, steps)
        offsets = offsets_of(counts)
        within = torch.arange(int(offsets[-1]), device=offsets.device)
        owner = torch.arange(len(counts), device=offsets.device).repeat_interleave(counts)
        yield offsets.tolist(), (starts + first - offsets[:-1])[owner] + within


def lengths_text(series: Ragged) -> str:
    """How long the series are, in words, for a message."""
    lengths = series.lengths.tolist()
    return ", ".join(map(str, lengths[:4])) + (", ..." if len(lengths) > 4 else "")
