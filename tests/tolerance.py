"""One table of tolerances for all tests, the same at home and in CI."""

from __future__ import annotations

import torch
from torch import Tensor

RELATIVE = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-2}


def assert_close(actual: Tensor, expected: Tensor, *, relative: float | None = None) -> None:
    """Equal up to `relative` times the largest expected number (so that zeros among large numbers may be noise)."""
    assert actual.shape == expected.shape, f"shape {list(actual.shape)}, expected {list(expected.shape)}"
    assert actual.dtype == expected.dtype, f"dtype {actual.dtype}, expected {expected.dtype}"
    relative = RELATIVE[expected.dtype.to_real()] if relative is None else relative
    scale = max(1.0, float(expected.detach().abs().max())) if expected.numel() else 1.0
    torch.testing.assert_close(actual, expected, rtol=relative, atol=relative * scale)
