"""Which number format products are computed in."""

from __future__ import annotations

import torch

__all__ = ["uses_bf16"]


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Whether products run in bfloat16 under autocast.

    Args:
        precision: `float32`, `bf16`, or `auto`: bf16 where the device multiplies it in hardware. A processor that only
            emulates it would be slower, and no more exact.
        device: what it runs on.
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
