"""Draws sentences from all themes and parts them into training and held-out pairs."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .frames import Draw, Frame, Sentence
from .held_out import is_held_out, without
from .themes import THEMES
from .themes.fixed import fixed

SMALLEST, LARGEST = 2_000, 60_000  # pairs; below, held-out words would not be seen in training, above, frames run dry
_HELD_OUT_PART = 16  # one pair in sixteen
_SEEN = 5  # times that a word of the held-out part occurs in training, at least; once in a thousand pairs if more
_TOKEN = re.compile(r"[\w-]+'?")


class Pair(NamedTuple):
    """One sentence in both languages."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Samples:
    """Sentence pairs to learn from, and pairs whose combinations of words are new."""

    train: tuple[Pair, ...]
    held_out: tuple[Pair, ...]


def words(text: str) -> list[str]:
    """Lower-case words; an elided article is a word of its own: "l'eau" is "l'" and "eau"."""
    return _TOKEN.findall(text.lower())


def alternating(draw: Draw) -> Iterator[Sentence]:
    """Sentences without end: themes in turn, frames within a theme by their weight."""
    tables: list[tuple[str, list[tuple[float, str, Frame]]]] = []
    for theme in THEMES:
        total = 0.0
        ladder = []
        for name, weight, frame in theme.frames:
            total += weight
            ladder.append((total, name, frame))
        tables.append((theme.name, [(step / total, name, frame) for step, name, frame in ladder]))
    while True:
        for theme_name, ladder in tables:
            mark = draw.fraction()
            name, frame = next((name, frame) for step, name, frame in ladder if mark < step)
            drawn = frame(draw)
            yield Sentence(drawn.source, drawn.target, drawn.links, theme_name, name)


def draw_sentences(seed: int, num_train: int, num_held_out: int) -> tuple[list[Sentence], list[Sentence]]:
    """The sentences of both parts, with their theme, frame and combinations."""
    train = list(fixed())
    held_out: list[Sentence] = []
    translation = {sentence.source.lower(): sentence.target for sentence in train}
    ample = num_train + num_train // 25
    spare = max(num_held_out * 2, min(num_held_out * 8, 4_000))  # some fall away below, more in a small sample
    for sentence in alternating(Draw(seed)):
        kept = any(is_held_out(link) for link in sentence.links)
        part, size = (held_out, spare) if kept else (train, ample)
        if len(part) < size and sentence.source.lower() not in translation:
            translation[sentence.source.lower()] = sentence.target
            part.append(sentence)
        elif len(train) >= ample and len(held_out) >= spare:
            break
    train = without(train, held_out)[:num_train]
    return train, _learnable(train, held_out)[:num_held_out]


def _learnable(train: list[Sentence], held_out: list[Sentence]) -> list[Sentence]:
    """Held-out sentences whose every word, in this very form, training shows often enough to be known.

    They ask whether words are put together anew, not whether rare words are remembered.
    """
    enough = max(_SEEN, len(train) // 1000)
    seen: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for sentence in train:
        seen[0].update(words(sentence.source))
        seen[1].update(words(sentence.target))
    return [
        sentence
        for sentence in held_out
        if all(seen[0][word] >= enough for word in words(sentence.source))
        and all(seen[1][word] >= enough for word in words(sentence.target))
    ]


def generate(seed: int = 0, num_pairs: int = 24_000) -> Samples:
    """English-French sentence pairs, the same for the same seed on every machine.

    Args:
        seed: another seed gives other sentences; the held-out combinations stay the same.
        num_pairs: of both parts together, 2,000 to 60,000; one in sixteen is held out, or fewer in a small sample,
            where few words are seen often enough.

    Raises:
        ValueError: num_pairs is out of its bounds.
    """
    if not SMALLEST <= num_pairs <= LARGEST:
        raise ValueError(f"`num_pairs` must be {SMALLEST} to {LARGEST}, got {num_pairs}.")
    num_held_out = num_pairs // _HELD_OUT_PART
    train, held_out = draw_sentences(seed, num_pairs - num_held_out, num_held_out)
    return Samples(
        tuple(Pair(sentence.source, sentence.target) for sentence in train),
        tuple(Pair(sentence.source, sentence.target) for sentence in held_out),
    )
