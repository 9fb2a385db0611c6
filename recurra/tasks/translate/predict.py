"""`Translator`: sentences in, translations out, many at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import torch
from torch import Tensor

from recurra.checks import check_choice, check_count, check_number
from recurra.data.tokenizer import MARK, Aligned, Vocabulary
from recurra.errors import ConfigError, DataError, RunError
from recurra.networks.decoding import Hypothesis
from recurra.networks.encoder_decoder import EncoderDecoder
from recurra.ragged import Ragged
from recurra.tasks.report import AttentionMap
from recurra.tasks.run_folder import RunFolder
from recurra.tasks.translate.config import TranslateConfig
from recurra.tasks.translate.examples import Vocabularies
from recurra.tasks.translate.files import FILES
from recurra.tasks.translate.network import decode, make_network
from recurra.training.device import find_device

__all__ = ["Candidate", "Translated", "Translator", "load"]

SOURCE_TOKENS = 6000  # pieces of source times beam, padding included, that are translated together
HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")
END, UNKNOWN = "(end)", "<unk>"


@dataclass(frozen=True, eq=False)
class Candidate:
    """One translation of a sentence.

    Attributes:
        text: the translation.
        score: what candidates are ordered by: mean log-probability (natural) of its pieces, by the length penalty.
        words: its words and marks; spaces stand at their heads as `▁`.
        attention: how much each word looked at each word of the source and, last, at its end; [words, source words
            + 1], rows sum to 1; None without attention.
    """

    text: str
    score: float
    words: list[str]
    attention: Tensor | None = field(repr=False)


@dataclass(frozen=True, eq=False)
class Translated:
    """A sentence and its translations, the best first; there is always one, an empty text for an empty sentence.

    Attributes:
        source: the sentence as it came.
        words: its words and marks as the network reads them; spaces stand at their heads as `▁`.
        candidates: at most as many as were asked for, all different.
    """

    source: str
    words: list[str]
    candidates: list[Candidate]

    @property
    def text(self) -> str:
        """The best translation."""
        return self.candidates[0].text

    def attention_map(self) -> AttentionMap | None:
        """Of the best translation, to be drawn; None where there is nothing to draw."""
        best = self.candidates[0]
        if best.attention is None or not best.words:
            return None
        return AttentionMap(best.attention, [*map(_bare, self.words), END], [_bare(word) for word in best.words])

    def to_json(self) -> dict[str, Any]:
        """Plain lists, words and numbers: what `recurra predict --json` writes."""
        return {
            "source": self.source,
            "source_words": [_bare(word) for word in self.words],
            "translations": [
                {
                    "text": candidate.text,
                    "score": round(candidate.score, 5),
                    "words": [_bare(word) for word in candidate.words],
                    "attention": None
                    if candidate.attention is None
                    else [[round(weight, 4) for weight in row] for row in candidate.attention.tolist()],
                }
                for candidate in self.candidates
            ],
        }


def _bare(word: str) -> str:
    return word.replace(MARK, "")


class Translator:
    """A network with its vocabularies, ready to translate; from `fit` or `load`.

        model("good morning")                            # -> "bonjour"
        model(["good morning", "thank you"])             # -> two translations
        model.translate(["good morning"], n_best=3)      # -> scores, words and attention too

    Attributes:
        network: the encoder-decoder.
        vocabularies: of the source and the target.
        config: the options it was made with; those under "Translating" are the defaults here.
        scores: of the report, by name; empty before there is one.
    """

    def __init__(self, network: EncoderDecoder, vocabularies: Vocabularies, config: TranslateConfig) -> None:
        self.network = network
        self.vocabularies = vocabularies
        self.config = config
        self.scores: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}

    def __repr__(self) -> str:
        weights = sum(parameter.numel() for parameter in self.network.parameters())
        return f"Translator({self.config.cell}, {len(self.vocabularies.target):,} pieces, {weights:,} weights)"

    @overload
    def __call__(self, sentences: str, **options: Any) -> str: ...
    @overload
    def __call__(self, sentences: Iterable[str], **options: Any) -> list[str]: ...
    def __call__(self, sentences: str | Iterable[str], **options: Any) -> str | list[str]:
        """The best translation of a sentence, or of each of many; options are those of `translate`."""
        if isinstance(sentences, str):
            return self.translate([sentences], **options)[0].text
        return [translated.text for translated in self.translate(sentences, **options)]

    def translate(
        self,
        sentences: Iterable[str],
        *,
        beam: int | None = None,
        n_best: int = 1,
        length_penalty: float | None = None,
        max_length: int | None = None,
        unknown_words: str | None = None,
    ) -> list[Translated]:
        """Translate many sentences, those of like length together.

        Line ends and other blanks inside a sentence count as one space. A sentence that holds no known piece is its own
        translation with `unknown_words` copy.

        Args:
            sentences: in any order; empty ones are translated by empty texts.
            beam: candidates in the running at each step; 1 takes the best piece every time.
            n_best: candidates returned a sentence, at most `beam`; fewer where some have the same text.
            length_penalty: power of the length that scores are divided by.
            max_length: pieces of a translation at most; twice those of the source and twenty where not given.
            unknown_words: `copy`, `keep` or `drop`, see `TranslateConfig`.

        Raises:
            ConfigError: an option has a value that cannot be.
            DataError: something among the sentences is no text.
        """
        if isinstance(sentences, str):
            raise ConfigError('`sentences` must be a list of sentences, got one text: write ["..."].')
        how = _How(
            beam=self.config.beam_size if beam is None else beam,
            n_best=n_best,
            length_penalty=self.config.length_penalty if length_penalty is None else length_penalty,
            max_length=max_length,
            unknown_words=self.config.unknown_words if unknown_words is None else unknown_words,
        )
        texts = list(sentences) if isinstance(sentences, Iterable) else [sentences]
        for text in texts:
            if not isinstance(text, str):
                raise DataError(f"`sentences` must be a text or a list of texts, got a {type(text).__name__}.")
            if HALF_A_CHARACTER.search(text):
                raise DataError(f"`sentences` must be text, got {text[:40]!r} with half a surrogate pair in it.")
        read = [self.vocabularies.source.align(text) for text in texts]
        results: list[Translated | None] = [None] * len(texts)
        for rows in _batches([len(aligned.ids) for aligned in read], SOURCE_TOKENS // how.beam):
            for row, candidates in zip(rows, self._decode([read[row] for row in rows], how), strict=True):
                results[row] = Translated(texts[row], _words(read[row]), candidates)
        return [
            result or Translated(text, [], [Candidate("", 0.0, [], None)])
            for text, result in zip(texts, results, strict=True)
        ]

    def _decode(self, read: Sequence[Aligned], how: _How) -> list[list[Candidate]]:
        """Candidates of some sentences, none of them empty."""
        vocabulary = self.vocabularies.source
        source = Ragged.from_list([torch.tensor([*aligned.ids, vocabulary.eos]) for aligned in read])
        device = next(self.network.parameters()).device
        limits = source.lengths * 2 + 20 if how.max_length is None else torch.full_like(source.lengths, how.max_length)
        self.network.eval()
        found = decode(
            self.network,
            source.to(device),
            limits.to(device),
            beam=how.beam,
            n_best=how.n_best,
            length_penalty=how.length_penalty,
            forbidden=(Vocabulary.pad, Vocabulary.bos, *([Vocabulary.unk] if how.unknown_words == "drop" else [])),
        )
        return [
            _different(self._candidate(aligned, hypothesis, how) for hypothesis in best)
            for aligned, best in zip(read, found, strict=True)
        ]

    def _candidate(self, source: Aligned, hypothesis: Hypothesis, how: _How) -> Candidate:
        weights = None if hypothesis.alignment is None else hypothesis.alignment[: len(hypothesis.tokens)].float().cpu()
        copies = None
        if how.unknown_words == "copy":
            if all(id == Vocabulary.unk for id in source.ids):  # nothing that the network could know anything about
                return _copy(source, hypothesis.score)
            if weights is not None:
                copies = [_attended(source, row[: len(source.ids)]) for row in weights]
        vocabulary = self.vocabularies.target
        text = vocabulary.decode(hypothesis.tokens, copies)
        pieces = [vocabulary.pieces[id] for id in hypothesis.tokens]
        if copies is not None:
            pieces = [copy if piece == UNKNOWN else piece for piece, copy in zip(pieces, copies, strict=True)]
        words = vocabulary.words(text)
        owners = _owners(pieces, words)
        attention = None if weights is None else _by_words(weights, owners, len(words), source)
        return Candidate(text, hypothesis.score, words, attention)

    def save(self, out: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a run folder that `load` reads; the report is that of the fit, where there was one.

        Raises:
            RunError: the folder is in the way or cannot be written.
        """
        folder = RunFolder(out)
        folder.check_free(resume=None, overwrite=overwrite)
        with folder.replacing(*FILES):
            self.vocabularies.save(folder)
            folder.save_record("translate", self.config.model_dump(), {**self.facts, "scores": self.scores})
            folder.save_weights(self.network.state_dict())
            folder.finish()


def _different(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Each text once, with its best score: other pieces, or copies in the place of unknown ones, may give the same."""
    found: dict[str, Candidate] = {}
    for candidate in candidates:
        found.setdefault(candidate.text, candidate)
    return list(found.values())


@dataclass(frozen=True)
class _How:
    """The options of one call of `translate`."""

    beam: int
    n_best: int
    length_penalty: float
    max_length: int | None
    unknown_words: str

    def __post_init__(self) -> None:
        for name in ("beam", "n_best"):
            check_count(name, getattr(self, name))
        if self.n_best > self.beam:
            raise ConfigError(f"`n_best` must be at most `beam` = {self.beam}, got {self.n_best}: raise `beam`.")
        check_number("length_penalty", self.length_penalty, least=0)
        if self.max_length is not None:
            check_count("max_length", self.max_length)
        check_choice("unknown_words", self.unknown_words, ("copy", "keep", "drop"))


def _batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Rows of sentences of like length, the longest first, whose padded sizes keep the budget; empty ones in none."""
    rows = sorted((row for row, length in enumerate(lengths) if length), key=lambda row: -lengths[row])
    while rows:
        count = max(1, budget // (lengths[rows[0]] + 1))
        yield rows[:count]
        rows = rows[count:]


def _attended(source: Aligned, weights: Tensor) -> str:
    """What to put for an unknown piece: the unknown piece looked at most, else the whole word looked at most."""
    piece = int(weights.argmax())
    return source.surfaces[piece] if source.ids[piece] == Vocabulary.unk else source.word_around(piece)


def _copy(source: Aligned, score: float) -> Candidate:
    words = _words(source)
    text = "".join(source.surfaces).replace(MARK, " ").strip(" ")
    return Candidate(text, score, words, torch.eye(len(words), len(words) + 1))


def _words(aligned: Aligned) -> list[str]:
    """The words of a sentence, from its pieces."""
    words = [""] * (aligned.words[-1] + 1) if aligned.words else []
    for surface, word in zip(aligned.surfaces, aligned.words, strict=True):
        words[word] += surface
    return words


def _owners(pieces: Sequence[str], words: Sequence[str]) -> list[int]:
    """For each piece the word in which it begins; where joined they differ, the nearest."""
    ends: list[int] = []
    for word in words:
        ends.append((ends[-1] if ends else 0) + len(word))
    owners, at, owner = [], 0, 0
    for piece in pieces:
        while owner < len(words) - 1 and at >= ends[owner]:
            owner += 1
        owners.append(owner)
        at += len(piece)
    return owners


def _by_words(weights: Tensor, owners: Sequence[int], num_words: int, source: Aligned) -> Tensor:
    """Attention between pieces -> between words: summed over the source, averaged over the target.

    Shapes: weights [T, S + 1], the last column the end of the source -> [num_words, number of source words + 1].
    """
    end = source.words[-1] + 1
    columns = torch.tensor([*source.words, end])
    summed = weights.new_zeros(len(weights), end + 1).index_add_(1, columns, weights[:, : len(columns)])
    rows = torch.tensor(owners, dtype=torch.int64)
    total = summed.new_zeros(num_words, end + 1).index_add_(0, rows, summed)
    return total / total.sum(1, keepdim=True).clamp_min(1e-9)


def load(path: str | os.PathLike[str], *, device: str | torch.device = "auto") -> Translator:
    """The translator of a run folder.

    Args:
        path: the folder.
        device: where it computes: auto, cpu, cuda or cuda:<number>; auto is cuda where there is one.

    Raises:
        ConfigError: there is no such device.
        RunError: the folder is no run, was cut short, is of a newer version, or is damaged.
    """
    if not isinstance(path, str | os.PathLike):
        raise RunError(f"`path` must be that of a run folder, got a {type(path).__name__}.")
    folder, where = RunFolder(path), find_device(device)
    record = folder.record()
    if record.task != "translate":
        raise RunError(f"`{folder}` holds a run of the task `{record.task}`, not of `translate`.")
    folder.expect_weights()
    try:
        config = TranslateConfig(**record.options)
    except ConfigError as error:
        raise RunError(f"`{folder.path / 'config.json'}` is damaged: {error}") from None
    vocabularies = Vocabularies.load(folder, shared=config.shared_vocabulary)
    network = make_network(config, vocabularies)
    folder.fill(network)
    translator = Translator(network.to(where).eval(), vocabularies, config)
    translator.facts = {name: value for name, value in record.data.items() if name != "scores"}
    translator.scores = record.data.get("scores", {})
    return translator
