"""From files of sentence pairs to batches: what is learned from, what is validated on, in which pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from recurra.data.batches import BucketedBatches, EncodedPairs, encode_pairs
from recurra.data.columns import NoSuchColumn
from recurra.data.lines import Fault
from recurra.data.readers import Pair, PathOrPaths, as_paths, read_pairs
from recurra.data.split import find_overlap, split_pairs
from recurra.data.subwords import SubwordSampler
from recurra.data.tokenizer import Vocabulary, train_tokenizer
from recurra.errors import DataError
from recurra.tasks.run_folder import RunFolder
from recurra.tasks.translate.config import TranslateConfig
from recurra.tasks.translate.files import SHARED, SOURCE, TARGET

__all__ = ["Examples", "Vocabularies", "read_as_fitted", "read_examples"]


@dataclass(frozen=True)
class Vocabularies:
    """The pieces of both languages; one object twice where they share one."""

    source: Vocabulary
    target: Vocabulary

    @classmethod
    def train(cls, pairs: Sequence[Pair], config: TranslateConfig) -> Vocabularies:
        """Learn them from the training pairs."""

        def learn(lines: Iterable[str]) -> Vocabulary:
            return train_tokenizer(
                lines,
                config.tokenizer,
                config.vocab_size,
                lowercase=config.lowercase,
                min_frequency=config.min_frequency,
            )

        sources, targets = [pair.source for pair in pairs], [pair.target for pair in pairs]
        if config.shared_vocabulary:
            both = learn(chain(sources, targets))
            return cls(both, both)
        return cls(learn(sources), learn(targets))

    @property
    def are_shared(self) -> bool:
        """Whether both languages use the same pieces."""
        return self.source is self.target

    def save(self, folder: RunFolder) -> None:
        """Write `tokenizer.json`, or one such file a language."""
        files = {SHARED: self.source} if self.are_shared else {SOURCE: self.source, TARGET: self.target}
        for name, vocabulary in files.items():
            folder.write(name, vocabulary.to_json())

    @classmethod
    def load(cls, folder: RunFolder, *, shared: bool) -> Vocabularies:
        """Read what `save` wrote.

        Raises:
            RunError: a file is missing or no text.
            DataError: a file is damaged.
        """
        names = (SHARED,) if shared else (SOURCE, TARGET)
        read = [Vocabulary.from_json(folder.read_text(name), name=str(folder.path / name)) for name in names]
        return cls(read[0], read[-1])

    def encode(self, pairs: Sequence[Pair]) -> EncodedPairs:
        """Pairs in numbers."""
        return encode_pairs(pairs, self.source, self.target)


@dataclass(frozen=True)
class Examples:
    """The sentence pairs of a fit.

    Attributes:
        training: pairs to learn from.
        validation: pairs to judge by.
        facts: files, counts and a digest, for `config.json` and the model card.
        skipped: lines that were left out.
    """

    training: list[Pair]
    validation: list[Pair]
    facts: dict[str, Any]
    skipped: list[Fault]

    def batches(self, vocabularies: Vocabularies, config: TranslateConfig) -> BucketedBatches:
        """The training pairs as a source of batches."""
        return BucketedBatches(
            vocabularies.encode(self.training),
            budget=config.batch_tokens,
            seed=config.seed,
            resample=_resampler(self.training, vocabularies, config) if config.bpe_dropout else None,
        )


def _resampler(
    pairs: Sequence[Pair], vocabularies: Vocabularies, config: TranslateConfig
) -> Callable[[int], EncodedPairs]:
    source = SubwordSampler(vocabularies.source, [pair.source for pair in pairs], config.bpe_dropout)
    target = SubwordSampler(vocabularies.target, [pair.target for pair in pairs], config.bpe_dropout)
    # two seeds: else a word that is the same in both languages would always be cut alike
    return lambda epoch: EncodedPairs(source.sample(2 * config.seed, epoch), target.sample(2 * config.seed + 1, epoch))


def read_examples(paths: PathOrPaths, validation: PathOrPaths | None, config: TranslateConfig) -> Examples:
    """Read all pairs, and set some aside for validation where there are no files for it.

    Raises:
        DataError: a file cannot be used.
    """
    skipped: list[Fault] = []
    pairs = _read(paths, config, skipped)
    if validation is None:
        training, held_out = split_pairs(pairs, config.validation_fraction, seed=config.seed)
    else:
        training, held_out = pairs, _read(validation, config, skipped)
    if not training or not held_out:
        raise DataError("A translator needs at least one pair to learn from and one to validate on.")
    facts = {
        "files": _names(paths),
        "validation_files": None if validation is None else _names(validation),
        "training_pairs": len(training),
        "validation_pairs": len(held_out),
        "skipped_lines": len(skipped),
        "validation_seen_in_training": find_overlap(training, held_out).pairs,
        "digest": _digest(training, held_out),
    }
    return Examples(training, held_out, facts, skipped)


def read_as_fitted(
    paths: PathOrPaths,
    config: TranslateConfig,
    *,
    source_column: str | None,
    target_column: str | None,
    on_bad: Literal["error", "skip"],
    max_words: int | None = None,
    max_characters: int | None = None,
) -> list[Pair]:
    """Pairs for a run that is there, from the columns that it was fitted with where none are given.

    Raises:
        DataError: a file cannot be used.
        ConfigError: an option has a value that cannot be.
    """
    own = source_column is None and target_column is None and len(as_paths(paths)) == 1
    if own:
        source_column, target_column = config.source_column, config.target_column
    try:
        return read_pairs(
            paths,
            source_column=source_column,
            target_column=target_column,
            max_words=max_words,
            max_characters=max_characters,
            on_bad=on_bad,
        )
    except NoSuchColumn as error:
        if not own:
            raise
        raise DataError(
            f"{error} The run was fitted with the columns `{source_column}` and `{target_column}`: name those of this "
            "file with `source_column` and `target_column`, by number where it has no header."
        ) from None


def _read(paths: PathOrPaths, config: TranslateConfig, skipped: list[Fault]) -> list[Pair]:
    return read_pairs(
        paths,
        source_column=config.source_column,
        target_column=config.target_column,
        max_words=config.max_words,
        max_characters=config.max_characters,
        on_bad=config.on_bad,
        skipped=skipped,
    )


def _names(paths: PathOrPaths) -> list[str]:
    return [str(Path(path).absolute()) for path in as_paths(paths)]


def _digest(*parts: Sequence[Pair]) -> str:
    """The same for the same pairs in the same parts and order."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        for pair in part:
            digest.update(f"{pair.source}\0{pair.target}\0".encode())
    return digest.hexdigest()
