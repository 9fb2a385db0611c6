"""Batches whose lengths are new each time, as training and users have them: python -m benchmarks.new_lengths

A forward pass, and one with its way back, over sequences of lengths 1 to T. `torch.nn` takes them packed, where packing
is part of the call, or padded to the longest, steps of padding included; Recurra as a `Ragged` that nobody has seen
before, and its drop-in packed; in one direction or both. A second table has sequences of one length, from T / 10 to T,
alone or side by side. All by turns, over the same batches; milliseconds, medians.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import recurra
from benchmarks.layers import interleaved, machine

LAYERS = ("RNN", "GRU", "LSTM")
SHAPES = ((16, 16, 64), (25, 32, 128), (100, 32, 64), (100, 32, 128), (100, 32, 256))  # T, B, H
EVEN_SHAPES = ((40, 1, 64), (400, 1, 64), (2000, 1, 64), (60, 8, 128), (100, 32, 64))
PEERS = ("recurra", "recurra.nn, packed", "torch.nn, packed", "torch.nn, padded")
EVEN_PEERS = ("recurra.nn", "torch.nn")
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
    for layer, both, is_trained, shape in itertools.product(LAYERS, (False, True), (False, True), SHAPES):
        found = measure(layer, both, is_trained, *shape, seconds=given.seconds)
        times = " | ".join(f"{1e3 * found[peer]:.2f}" for peer in PEERS)
        ratio = min(found["torch.nn, packed"], found["torch.nn, padded"]) / found["recurra"]
        print(
            f"| {title(layer, both, is_trained)} | {', '.join(map(str, shape))} | {times} | {ratio:.2f} |", flush=True
        )
        rows.append({"layer": layer, "bidirectional": both, "trained": is_trained, "T, B, H": shape, "seconds": found})
    print(f"\n| | T, B, H | {' | '.join(EVEN_PEERS)} | times as long |\n|---|---|---:|---:|---:|")
    even = []
    for layer, both, is_trained, shape in itertools.product(LAYERS, (False, True), (False, True), EVEN_SHAPES):
        found = measure_even(layer, both, is_trained, *shape, seconds=given.seconds)
        times = " | ".join(f"{1e3 * found[peer]:.2f}" for peer in EVEN_PEERS)
        ratio = found["torch.nn"] / found["recurra.nn"]
        print(
            f"| {title(layer, both, is_trained)} | {', '.join(map(str, shape))} | {times} | {ratio:.2f} |", flush=True
        )
        even.append({"layer": layer, "bidirectional": both, "trained": is_trained, "T, B, H": shape, "seconds": found})
    if given.json:
        content = {"machine": machine(given.threads), "rows": rows, "even": even}
        given.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def title(layer: str, both: bool, is_trained: bool) -> str:
    """What a line of a table is about."""
    return f"{layer}{', both directions' if both else ''}, {'trained' if is_trained else 'forward'}"


def measure(
    layer: str, both: bool, is_trained: bool, steps: int, batch: int, hidden: int, *, seconds: float
) -> dict[str, float]:
    """Seconds of a call by peer, after all gave the same numbers."""
    torch.manual_seed(0)
    ours, theirs = (getattr(home, layer)(hidden, hidden, bidirectional=both) for home in (recurra.nn, nn))
    theirs.load_state_dict(ours.state_dict())
    network = recurra.Recurrent(getattr(recurra, layer)(hidden, hidden), bidirectional=both)
    for cell, ending in zip(network.cells, ("_l0", "_l0_reverse"), strict=False):
        cell.load_state_dict({key: ours.state_dict()[key + ending] for key in cell.state_dict()})
    batches = [made(torch.randint(1, steps + 1, (batch,)), hidden) for _ in range(BATCHES)]
    calls: dict[str, tuple[nn.Module, Callable[[Batch], Any]]] = {
        "recurra": (network, lambda each: network(recurra.Ragged(each.values, each.offsets.clone()))[0].values),
        "recurra.nn, packed": (ours, lambda each: ours(packed(each))[0].data),
        "torch.nn, packed": (theirs, lambda each: theirs(packed(each))[0].data),
        "torch.nn, padded": (theirs, lambda each: theirs(each.padded)[0]),
    }
    sums = [call(batches[0]).detach().double().sum().item() for _, call in itertools.islice(calls.values(), 3)]
    assert max(sums) - min(sums) < 1e-2, f"the peers disagree: {sums}"
    return by_turns({name: passes(*each, batches, is_trained) for name, each in calls.items()}, seconds)


def measure_even(
    layer: str, both: bool, is_trained: bool, steps: int, batch: int, hidden: int, *, seconds: float
) -> dict[str, float]:
    """Likewise of batches of one length each."""
    torch.manual_seed(0)
    ours, theirs = (getattr(home, layer)(hidden, hidden, bidirectional=both) for home in (recurra.nn, nn))
    theirs.load_state_dict(ours.state_dict())
    lengths = torch.randint(-(-steps // 10), steps + 1, (BATCHES,)).tolist()
    batches = [torch.randn(length, batch, hidden) for length in lengths]
    torch.testing.assert_close(ours(batches[0])[0], theirs(batches[0])[0], rtol=1e-4, atol=1e-5)
    modules = dict(zip(EVEN_PEERS, (ours, theirs), strict=True))
    runs = {
        name: passes(module, lambda x, module=module: module(x)[0], batches, is_trained)
        for name, module in modules.items()
    }
    return by_turns(runs, seconds)


def by_turns(runs: dict[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Seconds of a pass by peer, once each has seen all lengths twice."""
    return interleaved(runs, seconds, rounds=3, before=2 * BATCHES)


def passes(
    module: nn.Module, call: Callable[[Any], Any], batches: Sequence[Any], is_trained: bool
) -> Callable[[], Any]:
    """A pass over the next batch, with its way back or without."""
    upcoming = itertools.cycle(batches)
    if is_trained:
        return lambda: torch.autograd.grad(call(next(upcoming)).sum(), list(module.parameters()))
    return torch.no_grad()(lambda: call(next(upcoming)))


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
