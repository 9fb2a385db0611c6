"""A translator small enough to train in a test: a few pairs, learned by heart in a second or two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recurra.tasks.translate import fit

PAIRS = [
    ("hello", "bonjour"),
    ("good morning", "bonjour"),
    ("thank you", "merci"),
    ("good night", "bonne nuit"),
    ("where is the cat?", "où est le chat ?"),
    ("the cat is black.", "le chat est noir."),
    ("where is the dog?", "où est le chien ?"),
    ("the dog is white.", "le chien est blanc."),
    ("the night is black.", "la nuit est noire."),
    ("I love the cat.", "j'aime le chat."),
]

# learns PAIRS by heart
OPTIONS: dict[str, Any] = {
    "tokenizer": "word",
    "vocab_size": 60,
    "min_frequency": 1,
    "hidden_size": 32,
    "embedding_size": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "learning_rate": 0.02,
    "warmup_steps": 5,
    "averaging": "none",
    "batch_tokens": 60,
    "epochs": None,
    "max_steps": 60,
    "evaluate_every": 20,
    "log_every": 10,
    "save_every": 10,
    "save_seconds": None,
    "plots": False,
}


def write_pairs(path: Path, pairs: list[tuple[str, str]] = PAIRS) -> Path:
    """A TSV file of pairs."""
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")
    return path


def as_arguments(options: dict[str, Any]) -> list[str]:
    """Options as they are typed."""
    arguments = []
    for name, value in options.items():
        spelled = name.replace("_", "-")
        if isinstance(value, bool):
            arguments.append(f"--{spelled}" if value else f"--no-{spelled}")
        else:
            arguments += [f"--{spelled}", "none" if value is None else str(value)]
    return arguments


def learn_by_heart(folder: Path) -> Path:
    """Fit PAIRS; returns the run folder."""
    pairs = write_pairs(folder / "pairs.tsv")
    fit(pairs, out=folder / "run", validation=pairs, progress="none", **OPTIONS)
    return folder / "run"
