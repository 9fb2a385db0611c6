"""A program for `torchrun`: several trainings by all processes together, their weights written by the first.

python -m torch.distributed.run --standalone --nproc_per_node=2 -m tests.training.parallel FOLDER
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from recurra.training import Interrupted, Loss, write_atomically
from recurra.training.averaging import weights_of
from tests.training.tiny import TinyNetwork, stateful_objective, train

# 21 examples in batches of 4: the last batch of an epoch has one example, and the second process none of it
TRAININGS: dict[str, dict[str, Any]] = {
    "plain": {"epochs": 3, "optimizer": "sgd"},
    "accumulated": {"epochs": 3, "accumulate": 4, "averaging": "ema"},
    "truncated": {"max_steps": 25, "k1": 2, "k2": 3, "patience": 5, "evaluate_every": 5},
}


def network(rank: int = 0) -> TinyNetwork:
    torch.manual_seed(3 + rank)  # the others must take over the weights of the first
    return TinyNetwork(dtype=torch.float64)


def stopping(at: int, rank: int, whole: Any) -> Any:
    """An objective during whose n-th call the second process, and it alone, is interrupted."""
    calls = 0

    def stopped(*args: Any) -> Loss:
        nonlocal calls
        calls += 1
        if calls == at and rank == 1:
            os.kill(os.getpid(), 2)
        return whole(*args)

    return stopped


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    for name, options in TRAININGS.items():
        (folder / name).mkdir(exist_ok=True)
        finish(folder, name, train(folder / name, options, model := network(rank)), model)

    name, options = "interrupted", TRAININGS["truncated"]
    (folder / name).mkdir(exist_ok=True)
    try:
        train(folder / name, options, network(rank), objective=stopping(19, rank, stateful_objective))
    except Interrupted as stop:
        print(f"stopped after update {stop.step}")
    else:
        raise AssertionError("nobody was interrupted")
    finish(folder, name, train(folder / name, options, model := network(rank)), model)


def finish(folder: Path, name: str, result: Any, model: nn.Module) -> None:
    """Leave what every process ended with."""
    rank = os.environ["RANK"]
    ended = {"step": result.step, "items": result.items, "scores": result.scores}
    tensors = {key: weight.contiguous() for key, weight in weights_of(model).items()}
    write_atomically(folder / f"{name}.{rank}.safetensors", save(tensors, {"ended": json.dumps(ended)}))


def gloo_threads() -> int:
    """Threads in which gloo works for this process; 0 where the system does not tell."""
    return sum("gloo_run" in name.read_text() for name in Path("/proc/self/task").glob("*/comm"))


def expect_fewer_than(threads: int) -> None:
    """At the very end: a thread that still lets go of tensors while the interpreter closes would abort the process."""
    if threads and gloo_threads() >= threads:
        print(f"{gloo_threads()} threads of gloo outlive the training", file=sys.stderr, flush=True)
        os._exit(1)


if __name__ == "__main__":
    # what is registered first is called last
    atexit.register(lambda: expect_fewer_than(threads))
    main(Path(sys.argv[1]))
    threads = gloo_threads()
