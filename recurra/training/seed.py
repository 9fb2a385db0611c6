"""Random numbers: one seed for all generators, and their states as tensors that a checkpoint can hold."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

__all__ = ["random_state", "same_random_numbers_after", "seed_everything", "set_random_state"]


def seed_everything(seed: int, *, stream: int = 0) -> None:
    """Seed Python, NumPy and torch (all devices).

    Args:
        seed: any number from 0 up.
        stream: another number gives other random numbers of the same seed; the rank of a process, for instance.
    """
    mixed = int(np.random.SeedSequence([seed, stream]).generate_state(1)[0]) if stream else seed
    random.seed(mixed)
    np.random.seed(mixed % 2**32)
    torch.manual_seed(mixed)


def random_state() -> dict[str, Tensor]:
    """The states of all generators.

    Returns: `python` and `numpy` float64, which holds their 32-bit words exactly, `torch` uint8, and one
        `cuda.<index>` a device where CUDA is in use.
    """
    _, words, gauss = random.getstate()
    of_numpy = np.random.get_state(legacy=False)
    keys, position = of_numpy["state"]["key"], of_numpy["state"]["pos"]
    state = {
        "python": torch.tensor([*words, gauss is not None, gauss or 0.0], dtype=torch.float64),
        "numpy": torch.tensor([*keys, position, of_numpy["has_gauss"], of_numpy["gauss"]], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state |= {f"cuda.{index}": each for index, each in enumerate(torch.cuda.get_rng_state_all())}
    return state


def set_random_state(state: Mapping[str, Tensor]) -> None:
    """Put all generators back to what `random_state` returned."""
    *words, has_gauss, gauss = state["python"].tolist()
    random.setstate((3, tuple(int(word) for word in words), gauss if has_gauss else None))
    *keys, position, has_gauss, cached = state["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), int(position), int(has_gauss), cached))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            if (name := f"cuda.{index}") in state:
                torch.cuda.set_rng_state(state[name], index)


@contextmanager
def same_random_numbers_after() -> Iterator[None]:
    """What happens inside leaves no trace in the random numbers drawn afterwards."""
    before = random_state()
    try:
        yield
    finally:
        set_random_state(before)
