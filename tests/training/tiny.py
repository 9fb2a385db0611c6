"""A network, data and losses small enough to train in a test; run as a program, a training that a test may kill.

python -m tests.training.tiny FOLDER '{"max_steps": 60}' [fsync:7]       SIGKILL at the 7th fsync
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recurra.ragged import Ragged
from recurra.training import FitResult, Loss, TrainingConfig, fit, seed_everything, write_atomically
from recurra.training.averaging import weights_of

Batch = tuple[Ragged, Ragged]


class TinyNetwork(nn.Module):
    """A tanh RNN written out step by step; a sequence that has ended keeps its state."""

    def __init__(self, dropout: float = 0.0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.into = nn.Linear(2, 5, dtype=dtype)
        self.around = nn.Linear(5, 5, bias=False, dtype=dtype)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(5, 1, dtype=dtype)

    def forward(self, x: Ragged, state: tuple[Tensor] | None = None) -> tuple[Ragged, tuple[Tensor]]:
        h = x.values.new_zeros(x.batch_size, 5) if state is None else state[0]
        inputs, outputs = self.into(x.to_padded()), []
        for step, exists in enumerate(x.mask().T):
            h = torch.where(exists[:, None], torch.tanh(inputs[step] + self.around(h)), h)
            outputs.append(h)
        padded = torch.stack(outputs) if outputs else inputs
        return Ragged.from_padded(padded, x.lengths).map(lambda values: self.out(self.dropout(values))), (h,)


class TinySource:
    """Sequences of 1 to 9 steps; the target is a running sum. Batches of `batch_size`, the last one smaller."""

    def __init__(self, examples: int = 21, batch_size: int = 4, dtype: torch.dtype = torch.float32) -> None:
        self.batch_size = batch_size
        generator = torch.Generator().manual_seed(7)
        lengths = torch.randint(1, 10, (examples,), generator=generator).tolist()
        self.examples = [torch.randn(length, 2, generator=generator, dtype=dtype) for length in lengths]

    def plan(self, epoch: int) -> list[list[int]]:
        order = torch.randperm(len(self.examples), generator=torch.Generator().manual_seed(epoch)).tolist()
        return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]

    def load(self, item: list[int]) -> Batch:
        x = Ragged.from_list([self.examples[index] for index in item])
        y = Ragged.from_list([self.examples[index].sum(1, keepdim=True).cumsum(0).tanh() for index in item])
        return x, y


def squared_error(outputs: Ragged, targets: Ragged) -> Loss:
    difference = outputs.values - targets.values
    return Loss(difference.square().sum(), targets.num_steps, {"absolute": difference.detach().abs().sum()})


def objective(model: nn.Module, batch: Batch) -> Loss:
    return squared_error(model(batch[0])[0], batch[1])


def stateful_objective(model: nn.Module, batch: Batch, state: Any) -> tuple[Loss, Any]:
    outputs, state = model(batch[0], state)
    return squared_error(outputs, batch[1]), state


def validate(model: nn.Module) -> dict[str, float]:
    batch = TinySource(examples=30, dtype=next(model.parameters()).dtype).load(list(range(21, 30)))
    loss = objective(model, batch)
    return {"loss": float(loss.mean), "absolute": float(loss.extra["absolute"])}


def train(folder: Path, options: dict[str, Any], model: nn.Module, **more: Any) -> FitResult:
    """Train in a folder, from where the last training there stopped."""
    config = TrainingConfig(**{"evaluate_every": 10, "log_every": 3, "save_seconds": None, **options})
    source = TinySource(dtype=next(model.parameters()).dtype)
    files = {"checkpoint": folder / "checkpoint.safetensors", "metrics": folder / "metrics.jsonl"}
    settings: dict[str, Any] = {"validate": validate, "progress": "none", "resume": True, **files, **more}
    loss = settings.pop("objective", objective if config.k1 is None else stateful_objective)
    return fit(model, source, loss, config, **settings)


def fingerprint(model: nn.Module) -> str:
    """Every bit of the weights."""
    return "\n".join(f"{name} {weight.double().tolist()}" for name, weight in weights_of(model).items())


def kill_at(event: str) -> None:
    """Arrange that this process kills itself at the n-th call of a function: `fsync:7`, `replace:3`, `dropout:40`."""
    name, _, count = event.partition(":")
    module: Any = nn.functional if name == "dropout" else os
    before, calls = getattr(module, name), 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == int(count):
            os.kill(os.getpid(), signal.SIGKILL)
        return before(*args, **kwargs)

    setattr(module, name, counted)


def main(folder: str, options: str, event: str = "") -> None:
    torch.set_num_threads(1)
    if event:
        kill_at(event)
    seed_everything(3)
    model = TinyNetwork(dropout=0.3)
    train(Path(folder), json.loads(options), model, on_metrics=lambda row: print(row["step"], flush=True))
    write_atomically(Path(folder) / "weights.txt", fingerprint(model))


if __name__ == "__main__":
    main(*sys.argv[1:])
