"""Ragged batches whose lengths are new each time, as training has them: python -m benchmarks.new_lengths

A forward pass, and one with its way back, over sequences of lengths 1 to T. `torch.nn` takes them packed, where packing
is part of the call, or padded to the longest, steps of padding included; Recurra as a `Ragged` that nobody has seen
before, and its drop-in packed. All by turns, over the same batches; milliseconds, medians.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import recurra
from benchmarks.layers import interleaved, machine

LAYERS = ("RNN", "GRU", "LSTM")
SHAPES = ((16, 16, 64), (25, 32, 128), (100, 32, 64), (100, 32, 128), (100, 32, 256))  # T, B, H
PEERS = ("recurra", "recurra.nn, packed", "torch.nn, packed", "torch.nn, padded")
BATCHES = 50


class Batch(NamedTuple):
    """One batch in all its forms."""

    padded: Tensor
    lengths: Tensor
    values: Tensor
    offsets: Tensor


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.new_lengths", description=__doc__)
    options.add_argument("--threads", type=int, default=2, help="threads of all")
    options.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    options.add_argument("--json", type=Path, help="file for the figures")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    print(f"| | T, B, H | {' | '.join(PEERS)} | of the faster of torch's |")
    print(f"|---|---|{'---:|' * (len(PEERS) + 1)}")
    rows = []
    for layer, is_trained, shape in itertools.product(LAYERS, (False, True), SHAPES):
        found = measure(layer, is_trained, *shape, seconds=given.seconds)
        ratio = min(found["torch.nn, packed"], found["torch.nn, padded"]) / found["recurra"]
        what = f"{layer}, {'trained' if is_trained else 'forward'} | {', '.join(map(str, shape))}"
        print(f"| {what} | {' | '.join(f'{1e3 * found[peer]:.2f}' for peer in PEERS)} | {ratio:.2f} |", flush=True)
        rows.append({"layer": layer, "trained": is_trained, "T, B, H": shape, "seconds": found})
    if given.json:
        content = {"machine": machine(given.threads), "rows": rows}
        given.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def measure(layer: str, is_trained: bool, steps: int, batch: int, hidden: int, *, seconds: float) -> dict[str, float]:
    """Seconds of a call by peer, after all gave the same numbers."""
    torch.manual_seed(0)
    ours, theirs = (getattr(home, layer)(hidden, hidden) for home in (recurra.nn, nn))
    theirs.load_state_dict(ours.state_dict())
    network = recurra.Recurrent(getattr(recurra, layer)(hidden, hidden))
    network.cells[0].load_state_dict({name[: -len("_l0")]: value for name, value in ours.state_dict().items()})
    batches = [made(torch.randint(1, steps + 1, (batch,)), hidden) for _ in range(BATCHES)]
    calls: dict[str, tuple[nn.Module, Callable[[Batch], Any]]] = {
        "recurra": (network, lambda each: network(recurra.Ragged(each.values, each.offsets.clone()))[0].values),
        "recurra.nn, packed": (ours, lambda each: ours(packed(each))[0].data),
        "torch.nn, packed": (theirs, lambda each: theirs(packed(each))[0].data),
        "torch.nn, padded": (theirs, lambda each: theirs(each.padded)[0]),
    }
    sums = [call(batches[0]).detach().double().sum().item() for _, call in itertools.islice(calls.values(), 3)]
    assert max(sums) - min(sums) < 1e-2, f"the peers disagree: {sums}"

    def run(module: nn.Module, call: Callable[[Batch], Any]) -> Callable[[], Any]:
        upcoming = itertools.cycle(batches)
        if is_trained:
            return lambda: torch.autograd.grad(call(next(upcoming)).sum(), list(module.parameters()))
        return torch.no_grad()(lambda: call(next(upcoming)))

    return interleaved({name: run(*each) for name, each in calls.items()}, seconds, rounds=3)


def made(lengths: Tensor, size: int) -> Batch:
    """A batch of sequences of such lengths."""
    padded = torch.randn(int(lengths.max()), len(lengths), size)
    ragged = recurra.Ragged.from_padded(padded, lengths)
    return Batch(padded, lengths, ragged.values, ragged.offsets)


def packed(batch: Batch) -> Any:
    """As `torch.nn` takes it."""
    return pack_padded_sequence(batch.padded, batch.lengths, enforce_sorted=False)


if __name__ == "__main__":
    main()
