"""A checkpoint: all that training knows, in one safetensors file, tensors by name and the rest as JSON in its header.

One file, because two could be of different moments after a crash. Its numbers carry a checksum: a damaged disk is
told apart from a strange run. Nothing in it can execute.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from recurra.errors import RunError, reason_of
from recurra.training.files import write_atomically

__all__ = ["FORMAT", "Checkpoint", "read_bytes", "read_checkpoint", "write_checkpoint"]

FORMAT = 1
"""Rises whenever an older Recurra could not make sense of a checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by dotted names, and values that JSON can hold."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `prefix` and a dot, by the rest of their names."""
        prefix += "."
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}

    def to_bytes(self) -> bytes:
        """The file."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        header = {"format": FORMAT, "checksum": _checksum(tensors, self.values), "values": self.values}
        return save(tensors, {"recurra.checkpoint": json.dumps(header)})

    @classmethod
    def from_bytes(cls, data: bytes, path: str | os.PathLike[str]) -> Checkpoint:
        """From the bytes of the file at `path`.

        Raises:
            RunError: the bytes are damaged, no checkpoint, or of a newer version.
        """
        try:
            tensors = load(data)
            length = int.from_bytes(data[:8], "little")
            header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["recurra.checkpoint"])
            version, checksum, values = header["format"], header["checksum"], header["values"]
        except (SafetensorError, ValueError, KeyError, TypeError):
            raise RunError(
                f"`{path}` is damaged or no checkpoint of Recurra: remove it to begin the run anew."
            ) from None
        if version > FORMAT:
            raise RunError(
                f"`{path}` is a checkpoint of a newer Recurra (format {version}, this one reads {FORMAT}); "
                "upgrade with `pip install -U recurra`."
            )
        if checksum != _checksum(tensors, values):
            raise RunError(f"`{path}` is damaged, its checksum is wrong: remove it to begin the run anew.")
        return cls(tensors, values)


def write_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Put a checkpoint in place, whole or not at all.

    Raises:
        RunError: the disk is full or refuses; the old checkpoint is still there.
    """
    write_atomically(path, checkpoint.to_bytes())


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """The checkpoint at `path`.

    Raises:
        RunError: it is missing, damaged or of a newer version.
    """
    return Checkpoint.from_bytes(read_bytes(path), path)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file that should be there.

    Raises:
        RunError: it is not, or cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        reason = "there is none" if isinstance(error, FileNotFoundError) else reason_of(error)
        raise RunError(f"`{path}` cannot be read as a checkpoint: {reason}.") from None


def _checksum(tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> int:
    checksum = zlib.crc32(json.dumps(values).encode())
    for name in sorted(tensors):
        checksum = zlib.crc32(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode(), checksum)
        checksum = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, checksum)
    return checksum
