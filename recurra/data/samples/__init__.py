"""Sample data that this project writes or generates itself, so that every task runs on a fresh machine."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import english_french

__all__ = ["SAMPLES", "Sample"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: a sentence that says what it is, and a function that writes its files into a folder."""

    description: str
    write: Callable[[Path], tuple[Path, ...]]


SAMPLES: dict[str, Sample] = {
    "english-french": Sample(
        "24,000 English-French sentence pairs from a grammar; 1,500 of them, held out, combine known words anew.",
        english_french.write,
    ),
}
