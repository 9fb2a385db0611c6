"""A validation part by a hash of the source: the same for ever, and never torn through a repeated sentence.

Whether a pair belongs to the validation part depends on its own source, the seed and the fraction alone, so adding
data never moves a pair from one part to the other, except where a part would be empty.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from recurra.checks import check_probability
from recurra.data.readers import Pair
from recurra.errors import DataError

__all__ = ["Overlap", "find_overlap", "hash_position", "normalise_source", "split_pairs"]


def normalise_source(sentence: str) -> str:
    """The sentence as the split sees it: Unicode NFKC, case folded, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", sentence).casefold().split())


def hash_position(sentence: str, seed: int = 0) -> float:
    """A place in [0, 1) that a sentence keeps for ever, evenly spread over different sentences."""
    key = seed.to_bytes(8, "little", signed=True)
    digest = hashlib.blake2b(normalise_source(sentence).encode(), digest_size=8, key=key).digest()
    return (int.from_bytes(digest, "little") >> 11) / (1 << 53)


def split_pairs(pairs: Sequence[Pair], fraction: float, *, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """Training and validation pairs, each in the order they came.

    Pairs whose source is the same up to case, blanks and Unicode form go the same way. Both parts get at least one
    source: the nearest one changes sides where the hash alone would leave a part empty.

    Args:
        pairs: all pairs.
        fraction: part of the sources that validates, within 0..1; 0 for none.
        seed: another seed gives another split.

    Returns: training pairs, validation pairs.

    Raises:
        ConfigError: the fraction is not within 0..1 (1 excluded).
        DataError: there are not two different sources to split.
    """
    if check_probability("fraction", fraction) == 0:
        return list(pairs), []
    places = [hash_position(pair.source, seed) for pair in pairs]
    distinct = sorted(set(places))
    if len(distinct) < 2:
        raise DataError(
            f"A validation part needs at least two different source sentences, got {len(distinct)}: "
            "give more pairs or a validation file."
        )
    bound = min(max(fraction, distinct[1]), distinct[-1])  # validation is what lies below it
    training = [pair for pair, place in zip(pairs, places, strict=True) if place >= bound]
    validation = [pair for pair, place in zip(pairs, places, strict=True) if place < bound]
    return training, validation


class Overlap(NamedTuple):
    """Validation pairs that training has seen; scores on them measure memory, not translation."""

    sources: int  # validation pairs whose normalised source is in training
    pairs: int  # of these, those whose target is in training with that source
    total: int  # all validation pairs


def find_overlap(training: Sequence[Pair], validation: Sequence[Pair]) -> Overlap:
    """Count the validation pairs that stand in the training part too, up to case, blanks and Unicode form."""
    seen = {(normalise_source(pair.source), normalise_source(pair.target)) for pair in training}
    seen_sources = {source for source, _ in seen}
    keys = [(normalise_source(pair.source), normalise_source(pair.target)) for pair in validation]
    return Overlap(sum(key[0] in seen_sources for key in keys), sum(key in seen for key in keys), len(keys))
