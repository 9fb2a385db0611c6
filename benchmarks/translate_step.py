"""A training step of the translate task against a plain PyTorch script that trains the same network.

    python benchmarks/translate_step.py --data multi30k/raw --peer "python translate_torch.py --time-steps 60 ..."

Same architecture, sizes and batch: two bidirectional LSTM layers of 128 units each way, two LSTM layers of 256 with dot
attention behind them, tied embeddings of 8,000 pieces, 96 sentences of like length, Adam, label smoothing, dropout 0.3.
The peer prints `<seconds> s per step`; the two run one after the other, several times, and the ratio of medians counts.

    python benchmarks/translate_step.py --data multi30k/raw --cells lstm gru --before

takes the same steps without the compiled engine and without products of our own, too, as they were before those: on
torch's kernels and MKL.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import random
import re
import shlex
import statistics
import subprocess
import time
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from recurra import Recurrent
from recurra.data.batches import BatchItem, BucketedBatches
from recurra.data.readers import Pair
from recurra.engine import products
from recurra.tasks.translate.config import TranslateConfig
from recurra.tasks.translate.examples import Vocabularies
from recurra.tasks.translate.network import make_network, translation_loss


def read(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [line.rstrip("\n") for line in lines]


def seconds_per_step(
    folder: Path, cell: str, precision: str, steps: int, *, engine: str = "auto", batch: int = 96, warm_up: int = 10
) -> float:
    """Mean seconds of an update, data and optimiser included."""
    config = TranslateConfig(
        cell=cell, vocab_size=8000, lowercase=True, dropout=0.3, attention="dot", lexical=False, bpe_dropout=0.0
    )
    torch.manual_seed(0)
    random.seed(0)
    texts = zip(read(folder / "train.en.gz"), read(folder / "train.fr.gz"), strict=True)
    pairs = [Pair(source, target, line) for line, (source, target) in enumerate(texts, 1)]
    vocabularies = Vocabularies.train(pairs, config)
    network = make_network(config, vocabularies)
    for module in network.modules():
        if isinstance(module, Recurrent):
            module.engine = engine
    encoded = vocabularies.encode(pairs)
    source = BucketedBatches(encoded, budget=config.batch_tokens, seed=0)
    targets, sources = encoded.target.lengths.tolist(), encoded.source.lengths.tolist()
    order = sorted(range(len(pairs)), key=lambda i: (int(targets[i] + 3 * random.random()), sources[i]))
    items = [order[start : start + batch] for start in range(0, len(order), batch)]
    random.shuffle(items)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.9, 0.98), fused=True)
    objective = translation_loss(0.1)
    times = []
    for item in items[: steps + warm_up]:
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = objective(network, source.load(BatchItem(0, np.array(item))))
        optimizer.zero_grad()
        (loss.total / loss.count).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        times.append(time.perf_counter() - start)
    return statistics.mean(times[warm_up:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.en.gz and train.fr.gz")
    parser.add_argument("--peer", help="command that prints `<seconds> s per step`")
    parser.add_argument("--cells", nargs="+", default=["lstm"], help="recurrent cells; the peer's is an LSTM")
    parser.add_argument("--before", action="store_true", help="also without the compiled engine")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if not (args.data / "train.en.gz").exists():
        print(f"`{args.data}` has no train.en.gz: the data of this benchmark is not here, nothing was measured.")
        return
    found: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        if args.peer:
            printed = subprocess.run(shlex.split(args.peer), check=True, capture_output=True, text=True).stdout
            match = re.search(r"([\d.]+) s per step", printed)
            assert match, f"the peer printed no `s per step`: {printed}"
            found.setdefault("peer", []).append(float(match[1]))
        for cell, precision in itertools.product(args.cells, ("float32", "bf16")):
            seconds = seconds_per_step(args.data, cell, precision, args.steps)
            found.setdefault(f"{cell} {precision}", []).append(seconds)
        for cell in args.cells if args.before else ():
            with mock.patch.object(products, "outruns_mkl", return_value=False):
                seconds = seconds_per_step(args.data, cell, "float32", args.steps, engine="torch")
            found.setdefault(f"{cell} float32 before", []).append(seconds)
    medians = {name: statistics.median(times) for name, times in found.items()}
    for name, seconds in medians.items():
        ratio = f", {seconds / medians['peer']:.2f} of the peer" if "peer" in medians else ""
        print(f"{name}: {seconds:.4f} s a step{ratio}   ({', '.join(f'{t:.4f}' for t in found[name])})")


if __name__ == "__main__":
    main()
