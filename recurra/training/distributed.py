"""Several processes that train one model together, started by `torchrun`; and one process, the same way.

Each process takes its share of every batch, so the result is that of one process: more of them change the speed, not
the training. The gradients are summed by torch's DistributedDataParallel; everything else that must be agreed on (sums
of losses, "stop now", a checkpoint to resume from) goes through the few methods of `Group`.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from recurra.errors import ConfigError
from recurra.training.device import find_device

__all__ = ["Group", "is_first_process", "join", "own_device", "shares_of"]

Result = TypeVar("Result")

# rank 0 may judge translations for a long time while the others wait
PATIENCE = timedelta(hours=6)


class _Replica(nn.Module):
    """The model as DistributedDataParallel wants it: one forward, in which anything may be done with the model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[nn.Module], Result]) -> Result:
        return compute(self.model)


@dataclass(frozen=True)
class Group:
    """The processes that train together.

    Args:
        rank: which of them this one is, from 0; only rank 0 validates and writes files.
        size: how many there are.
        device: where this one computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def replicate(self, model: nn.Module) -> Callable[[Callable[[nn.Module], Any]], Any]:
        """The model, called as `replica(lambda model: ...)`; its weights become those of rank 0.

        A backward after such a call averages the gradients over all processes, unless inside `apart`.
        """
        if self.size == 1:
            return lambda compute: compute(model)
        device = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(_Replica(model), device_ids=device)

    def expect_gradients(self, model: nn.Module) -> None:
        """Look after a backward whether all weights had a part in it: the processes share gradients many at once.

        Raises:
            ConfigError: one had none, so that those which were to be shared with it were not.
        """
        if self.size == 1:
            return
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and parameter.grad is None:
                raise ConfigError(
                    f"With several processes every weight must have a part in the loss of every batch, and `{name}` "
                    "had none: freeze it with `requires_grad_(False)`, or train in one process."
                )

    def apart(self, replica: Any, alone: bool) -> AbstractContextManager[None]:
        """Where `alone`, gradients stay in this process and add up; the next backward outside shares them."""
        return replica.no_sync() if alone and self.size > 1 else nullcontext()

    def sum(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Each number summed over all processes; all give the same names, in any order."""
        if self.size == 1:
            return dict(numbers)
        names = sorted(numbers)
        values = _tensor([numbers[name] for name in names], torch.float64)
        dist.all_reduce(values, group=_line())
        return dict(zip(names, values.tolist(), strict=True))

    def maximum(self, number: int) -> int:
        """The largest of the numbers that the processes give."""
        if self.size == 1:
            return number
        value = _tensor([number], torch.int64)
        dist.all_reduce(value, dist.ReduceOp.MAX, group=_line())
        return int(value)

    def from_first(self, data: bytes) -> bytes:
        """What rank 0 gives; what the others give is ignored."""
        if self.size == 1:
            return data
        length = _tensor([len(data)], torch.int64)
        dist.broadcast(length, src=0, group=_line())
        if length == 0:  # torch sends no empty tensors
            return b""
        buffer = _bytes(data if self.is_first else bytes(int(length)))
        dist.broadcast(buffer, src=0, group=_line())
        return buffer.numpy().tobytes()

    def gather(self, tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """The tensors of every process, by rank; names and shapes may differ between them."""
        if self.size == 1:
            return [dict(tensors)]
        data = safetensors.torch.save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})
        room = self.maximum(len(data))
        lengths = [_tensor([0], torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, _tensor([len(data)], torch.int64), group=_line())
        buffers = [_bytes(bytes(room)) for _ in range(self.size)]
        dist.all_gather(buffers, _bytes(data.ljust(room)), group=_line())
        return [
            safetensors.torch.load(buffer.numpy().tobytes()[: int(length)])
            for buffer, length in zip(buffers, lengths, strict=True)
        ]


def _tensor(numbers: Sequence[float], dtype: torch.dtype) -> Tensor:
    return torch.tensor(numbers, dtype=dtype)


def _bytes(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


_lines: list[dist.ProcessGroup] = []  # one, once there are several processes


def _line() -> dist.ProcessGroup:
    """What the processes talk over, apart from the gradients: gloo, as all that is said comes from the CPU.

    Gloo's threads let go of our tensors some time after a call has returned, for which they need the interpreter; one
    that is late finds it closing and aborts the process. A group waits for its threads when nobody has it any more, but
    one that a DistributedDataParallel has had is never let go. So this one is never given to any.
    """
    if not _lines:
        _lines.append(dist.new_group(backend="gloo", timeout=PATIENCE))
        atexit.register(_hang_up)
    return _lines[0]


def _hang_up() -> None:
    """Let go of the line, which waits for its threads, before the interpreter ends."""
    while _lines:
        line = _lines.pop()
        if dist.is_initialized():  # the program may have left by itself
            dist.destroy_process_group(line)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def is_first_process() -> bool:
    """Whether this process is the one that writes, also before it joins the others of `torchrun`."""
    return os.environ.get("RANK", "0") == "0"


def own_device(device: str) -> torch.device:
    """Where this process computes; with several on a machine, each takes its own GPU.

    Raises:
        ConfigError: there is no such device.
    """
    return find_device(device, int(os.environ.get("LOCAL_RANK", "0")) if _size() > 1 else None)


def _size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def join(device: str) -> Group:
    """Join the processes that `torchrun` started, until this process ends; a group of one without `torchrun`.

    Args:
        device: auto, cpu, cuda or cuda:<number>; with several processes a machine, each takes its own GPU.

    Raises:
        ConfigError: there is no such device.
    """
    here = own_device(device)
    if _size() == 1:
        return Group(0, 1, here)
    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if here.type == "cuda" else "gloo"
        _lines.clear()  # of a group that the program has left
        dist.init_process_group(backend, timeout=PATIENCE)
        # not after every training: a group that is left and joined again may wait for itself for ever
        atexit.register(_leave)
    return Group(dist.get_rank(), dist.get_world_size(), here)


def shares_of(source: Any, item: Any, parts: int) -> list[Any]:
    """The share of each process of one item of a plan; None where there is too little for all.

    Raises:
        ConfigError: the source has items that are no lists and no `split`.
    """
    if parts == 1:
        return [item]
    if hasattr(source, "split"):
        return list(source.split(item, parts))
    if not isinstance(item, list):
        raise ConfigError(
            f"To train with {parts} processes, give the batch source a method `split(item, parts)`: "
            f"its items are of type {type(item).__name__}, which only it can share out."
        )
    return [item[rank::parts] or None for rank in range(parts)]
