"""Where to compute, by name."""

from __future__ import annotations

import re

import torch

from recurra.errors import ConfigError

__all__ = ["check_device", "find_device"]


def check_device(name: str) -> str:
    """Check the name of a device; whether it is there is another question.

    Raises:
        ConfigError: it is none.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ConfigError(f"`device` must be auto, cpu, cuda or cuda:<number>, got {name!r}.")
    return name


def find_device(name: str | torch.device, local_rank: int | None = None) -> torch.device:
    """The device of that name; a GPU becomes the current one.

    Args:
        name: auto, cpu, cuda or cuda:<number>; auto is cuda where there is one.
        local_rank: which of several processes on this machine this one is: each takes its own GPU.

    Raises:
        ConfigError: there is no such device.
    """
    name = check_device(str(name))
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"`device` {name} is not there: torch {torch.__version__} sees no GPU; use cpu or auto.")
    device = torch.device(name)
    if device.type == "cuda":
        index = device.index if local_rank is None or device.index is not None else local_rank
        device = torch.device("cuda", torch.cuda.current_device() if index is None else index)
        if device.index >= torch.cuda.device_count():
            raise ConfigError(f"`device` {device} is not there: torch sees {torch.cuda.device_count()} GPUs, from 0.")
        torch.cuda.set_device(device)
    return device
