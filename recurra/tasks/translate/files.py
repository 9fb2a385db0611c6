"""Names of the files that a translator adds to its run folder."""

from __future__ import annotations

__all__ = ["ATTENTION", "FILES", "LOSS", "SHARED", "SOURCE", "TARGET"]

SHARED, SOURCE, TARGET = "tokenizer.json", "tokenizer.source.json", "tokenizer.target.json"
LOSS, ATTENTION = "plots/loss.png", "plots/attention.png"
FILES = (SHARED, SOURCE, TARGET, LOSS, ATTENTION)
