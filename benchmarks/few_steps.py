"""The drop-in layers beside torch's with few steps a call: python -m benchmarks.few_steps

A robot is controlled, and an agent trained, one step or a few at a time. Each figure is how many times as long as
`recurra.nn` torch's own layer takes, both by turns: padded inputs, the same from a state that is given, and packed
sequences of lengths 1 to T; without a gradient, and trained.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import recurra
from benchmarks.layers import interleaved, machine

LAYERS = ("LSTM", "GRU", "RNN")
KINDS = ("padded", "from a state", "packed")
STEPS = (1, 2, 4, 16, 64)
SIZES = ((1, 32), (1, 256), (16, 32), (16, 256), (64, 256))  # B, H


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.few_steps", description=__doc__)
    options.add_argument("--threads", type=int, default=2, help="threads of both")
    options.add_argument("--seconds", type=float, default=0.5, help="for each figure")
    options.add_argument("--layers", nargs="+", choices=LAYERS, default=LAYERS, help="leave others out")
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="leave others out")
    options.add_argument("--num-layers", type=int, default=1, help="layers of both")
    options.add_argument("--bidirectional", action="store_true", help="layers of two directions")
    options.add_argument("--json", type=Path, help="file for the figures")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    print(f"| layer | | B, H | {' | '.join(f'T={steps}' for steps in STEPS)} |")
    print(f"|---|---|---|{'---:|' * len(STEPS)}")
    network = {"num_layers": given.num_layers, "bidirectional": given.bidirectional}
    rows = []
    for layer, is_trained, kind, sizes in itertools.product(given.layers, (False, True), given.kinds, SIZES):
        batch, hidden = sizes
        ratios = [measure(layer, network, kind, is_trained, (steps, *sizes), given.seconds) for steps in STEPS]
        what = f"{kind}, {'trained' if is_trained else 'no gradient'}"
        print(f"| {layer} | {what} | {batch}, {hidden} | {' | '.join(f'{each:.2f}' for each in ratios)} |", flush=True)
        rows.append({"layer": layer, "kind": kind, "trained": is_trained, "B": batch, "H": hidden, "ratios": ratios})
    if given.json:
        found = {"machine": machine(given.threads), **network, "T": STEPS, "rows": rows}
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def measure(
    layer: str, network: dict[str, Any], kind: str, is_trained: bool, sizes: tuple[int, int, int], seconds: float
) -> float:
    """How many times as long as ours torch's layer takes, after both gave the same numbers; sizes are T, B, H."""
    steps, batch, hidden = sizes
    torch.manual_seed(0)
    ours, theirs = (getattr(home, layer)(hidden, hidden, **network) for home in (recurra.nn, nn))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(steps, batch, hidden, requires_grad=is_trained)
    lengths = torch.randint(1, steps + 1, (batch,))
    h = torch.randn(network["num_layers"] * (2 if network["bidirectional"] else 1), batch, hidden)
    state = None if kind != "from a state" else (h, h.clone()) if layer == "LSTM" else h

    def call(module: nn.Module) -> Any:
        if kind == "packed":
            return module(pack_padded_sequence(x, lengths, enforce_sorted=False))[0].data
        return module(x, state)[0]

    def run(module: nn.Module) -> Callable[[], Any]:
        if is_trained:
            return lambda: torch.autograd.grad(call(module).sum(), [x, *module.parameters()])
        return torch.no_grad()(lambda: call(module))

    torch.testing.assert_close(call(ours), call(theirs), rtol=1e-4, atol=1e-5)
    found = interleaved({"ours": run(ours), "theirs": run(theirs)}, seconds, rounds=3, before=6)
    return found["theirs"] / found["ours"]


if __name__ == "__main__":
    main()
