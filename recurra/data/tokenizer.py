"""Sentences <-> numbers: trained vocabularies of subwords (BPE), words or characters, on the `tokenizers` package.

A sentence is first normalised: Unicode NFC, lower case if asked, single spaces, none at the ends (no-break spaces are
letters of French typography and stay). Then every space becomes the mark `▁` at the head of the next piece, so that
joining the pieces and turning the marks back gives the normalised sentence, to the last blank:

    "L'homme est là !"  ->  ▁L'  homme  ▁est  ▁là  ▁!  ->  "L'homme est là !"

What stands in no piece is `<unk>`, one for a run of unknown characters (BPE), for the word (word), or for the character
(char). There is no fallback to bytes: a network learns nothing about bytes it never saw, but it can copy an unknown
piece from the source through attention; `Vocabulary.align` says what stood there and `decode` puts it in.
A sentence that contains `<s>` or `<pad>` is text like any other.

Source: BPE for translation: Sennrich et al. 2016, P16-1162; the mark for spaces: Kudo and Richardson 2018, D18-2012.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch

from recurra.checks import check_count, check_known
from recurra.errors import ConfigError, DataError, import_extra, reason_of
from recurra.files import write_whole
from recurra.ragged import Ragged

__all__ = ["MARK", "Aligned", "Kind", "Vocabulary", "train_tokenizer"]

Kind = Literal["bpe", "word", "char"]

MARK = "▁"  # stands for a space, at the head of a piece
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")

# Spaces that are one and the same in a sentence; no-break spaces are not among them.
BLANKS = r"[ \t\n\r\x0b\x0c\x{85}\x{2028}\x{2029}]+"
# A piece that subwords do not cross: a word with an elided end (`l'`), or a run of one punctuation mark, each with the
# space before it (in French often a no-break one before `!` and `»`).
WORDS = (
    r"▁?[\p{L}\p{M}\p{N}]+(?:['’](?=\p{L}))?"
    r"|[▁\x{a0}\x{202f}]?([^▁\x{a0}\x{202f}\p{L}\p{M}\p{N}])\1*"
    r"|[▁\x{a0}\x{202f}]+"
)
CHARACTERS = r"(?m:.)"  # m: a dot is any character


@dataclass(frozen=True)
class Aligned:
    """A sentence in pieces, with what stood in the sentence for each.

    Attributes:
        ids: the number of each piece.
        surfaces: the text of each piece, spaces as `▁`; also of those that are `<unk>`.
        words: for each piece the word it belongs to, from 0.
    """

    ids: list[int]
    surfaces: list[str]
    words: list[int]

    def word_around(self, piece: int) -> str:
        """The whole word that a piece belongs to, spaces as `▁`: what to copy for an unknown target word."""
        word = self.words[piece]
        return "".join(surface for surface, other in zip(self.surfaces, self.words, strict=True) if other == word)


class Vocabulary:
    """The pieces a network reads or writes, numbered; from `train_tokenizer` or `Vocabulary.load`.

    Attributes:
        pad, unk, bos, eos: the numbers of `<pad>`, `<unk>`, `<s>` (begin) and `</s>` (end), always 0, 1, 2 and 3.
    """

    pad: ClassVar[int] = 0
    unk: ClassVar[int] = 1
    bos: ClassVar[int] = 2
    eos: ClassVar[int] = 3

    def __init__(self, tokenizer: Any) -> None:
        """Around a `tokenizers.Tokenizer` that `train_tokenizer` made."""
        self.tokenizer = tokenizer
        self.tokenizer.encode_special_tokens = True  # `<s>` in a sentence is text

    def __len__(self) -> int:
        return len(self.pieces)

    def __repr__(self) -> str:
        return f"Vocabulary({self.kind}, {len(self)} pieces)"

    @cached_property
    def pieces(self) -> list[str]:
        """The text of every piece by its number, spaces as `▁`."""
        numbers: dict[str, int] = self.tokenizer.get_vocab(with_added_tokens=True)
        return sorted(numbers, key=numbers.__getitem__)

    @cached_property
    def model(self) -> dict[str, Any]:
        """The `model` part of tokenizer.json: its type, its pieces, for BPE its merges."""
        model: dict[str, Any] = json.loads(self.to_json())["model"]
        return model

    @cached_property
    def kind(self) -> Kind:
        """`bpe`, `word` or `char`."""
        if self.model["type"] == "BPE":
            return "bpe"
        return "char" if CHARACTERS in self.to_json() else "word"

    # --- there -----------------------------------------------------------------------------------------------------

    def normalise(self, sentence: str) -> str:
        """The sentence as `decode(encode(sentence))` gives it back."""
        return _unmark(self.tokenizer.normalizer.normalize_str(sentence))

    def encode(self, sentence: str) -> list[int]:
        """The numbers of the pieces of a sentence, without begin and end."""
        ids: list[int] = self.tokenizer.encode(sentence).ids
        return ids

    def encode_batch(self, sentences: Sequence[str]) -> Ragged:
        """Many sentences at once. Shapes: values [N] int64, one sequence a sentence."""
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch(list(sentences))]
        offsets = np.cumsum([0, *map(len, ids)], dtype=np.int64)
        values = np.fromiter(chain.from_iterable(ids), np.int64, count=int(offsets[-1]))
        return Ragged(torch.from_numpy(values), torch.from_numpy(offsets))

    def words(self, sentence: str) -> list[str]:
        """The words of a sentence that pieces do not cross, spaces as `▁`; joined they are the sentence."""
        marked = self.tokenizer.normalizer.normalize_str(sentence)
        return [word for word, _ in self.tokenizer.pre_tokenizer.pre_tokenize_str(marked)]

    def align(self, sentence: str) -> Aligned:
        """Encode one sentence and keep what each piece stood for, unknown ones too."""
        aligned = Aligned([], [], [])
        for number, word in enumerate(self.words(sentence)):
            letters = word.encode()
            for token in self.tokenizer.model.tokenize(word):
                start, end = token.offsets  # in bytes
                aligned.ids.append(token.id)
                aligned.surfaces.append(letters[start:end].decode())
                aligned.words.append(number)
        return aligned

    # --- and back --------------------------------------------------------------------------------------------------

    def decode(self, ids: Iterable[int], copies: Sequence[str | None] | None = None) -> str:
        """The sentence of some numbers; pad, begin and end are left out.

        Args:
            ids: numbers of pieces.
            copies: for each of `ids` the text to put where it is `<unk>`, spaces as `▁` (a surface or word of
                `Aligned`), or None to leave `<unk>`.
        """
        ids = list(ids)
        if copies is not None and len(copies) != len(ids):
            raise ConfigError(f"`copies` must have one entry for each of {len(ids)} ids, got {len(copies)}.")
        return _unmark("".join(self._text(id, copies[at] if copies else None) for at, id in enumerate(ids)))

    def decode_batch(self, batch: Ragged) -> list[str]:
        """The sentences of a batch of numbers."""
        return [self.decode(ids.tolist()) for ids in batch]

    def _text(self, id: int, copy: str | None) -> str:
        if id == self.unk:
            return MARK + SPECIAL[self.unk] if copy is None else copy
        return "" if id in (self.pad, self.bos, self.eos) else self.pieces[id]

    # --- files -----------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The text of tokenizer.json, which the `tokenizers` package reads too."""
        text: str = self.tokenizer.to_str(pretty=False)
        return text

    @classmethod
    def from_json(cls, text: str, *, name: str = "tokenizer.json") -> Vocabulary:
        """From the text of tokenizer.json.

        Raises:
            DataError: the text is damaged, or was made by something else.
        """
        tokenizers = import_extra("tokenizers", "text")
        try:
            tokenizer = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the package raises Exception itself
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise DataError(f"`{name}` is damaged ({reason}): restore it or train again.") from None
        numbers = tuple(tokenizer.token_to_id(token) for token in SPECIAL)
        known = type(tokenizer.model).__name__ in ("BPE", "WordLevel")
        if numbers != tuple(range(len(SPECIAL))) or not known or tokenizer.normalizer is None:
            raise DataError(f"`{name}` is a tokenizer of another program: train one with `train_tokenizer`.")
        return cls(tokenizer)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocabulary:
        """From a file that `save` wrote.

        Raises:
            DataError: the file is missing or damaged.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise DataError(f"There is no file `{path}`: restore it or train again.") from None
        except OSError as error:
            raise DataError(f"`{path}` cannot be read: {reason_of(error)}.") from None
        except UnicodeDecodeError:
            raise DataError(f"`{path}` is damaged (not UTF-8): restore it or train again.") from None
        return cls.from_json(text, name=str(path))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write tokenizer.json; an older file stays whole until the new one is.

        Raises:
            DataError: the file cannot be written.
        """
        try:
            write_whole(path, self.to_json())
        except OSError as error:
            raise DataError(f"`{path}` cannot be written: {reason_of(error)}.") from None


def _unmark(marked: str) -> str:
    return marked.replace(MARK, " ").removeprefix(" ")


def train_tokenizer(
    lines: Iterable[str],
    kind: Kind = "bpe",
    vocab_size: int = 8000,
    *,
    lowercase: bool = False,
    min_frequency: int = 2,
) -> Vocabulary:
    """Learn the pieces of a vocabulary from sentences; the same sentences give the same vocabulary.

    Args:
        lines: sentences; for a vocabulary shared by two languages those of both.
        kind: `bpe` (subwords), `word` or `char`.
        vocab_size: pieces at most, the four special ones among them; the most frequent characters and words win.
        lowercase: turn everything to lower case first.
        min_frequency: how often a piece must occur to get a number (of BPE: a pair of pieces to be joined).

    Raises:
        ConfigError: an option has a value that cannot be.
        DataError: there is no text to learn from.
    """
    _check_options(kind, vocab_size, min_frequency)
    tokenizers = import_extra("tokenizers", "text")
    pattern = tokenizers.Regex(CHARACTERS if kind == "char" else WORDS)
    options = {
        "vocab_size": vocab_size,
        "min_frequency": min_frequency,
        "special_tokens": list(SPECIAL),
        "show_progress": False,
    }
    unk = SPECIAL[Vocabulary.unk]
    if kind == "bpe":
        model = tokenizers.models.BPE(unk_token=unk, fuse_unk=True)
        trainer = tokenizers.trainers.BpeTrainer(limit_alphabet=vocab_size - len(SPECIAL), **options)
    else:
        model = tokenizers.models.WordLevel(unk_token=unk)
        trainer = tokenizers.trainers.WordLevelTrainer(**options)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = _normaliser(lowercase)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(pattern, "isolated")
    tokenizer.decoder = tokenizers.decoders.Metaspace(replacement=MARK, prepend_scheme="always")
    tokenizer.train_from_iterator(lines, trainer)
    vocabulary = Vocabulary(tokenizer)
    if len(vocabulary) == len(SPECIAL):
        raise DataError(f"There is nothing to learn a vocabulary from: no {kind} occurs {min_frequency} times or more.")
    return vocabulary


def _check_options(kind: str, vocab_size: int, min_frequency: int) -> None:
    check_known(kind, get_args(Kind), f"Unknown kind of vocabulary `{kind}`")
    if check_count("vocab_size", vocab_size) <= len(SPECIAL):
        raise ConfigError(f"`vocab_size` must be above the {len(SPECIAL)} special pieces, got {vocab_size}.")
    check_count("min_frequency", min_frequency)


def _normaliser(lowercase: bool) -> Any:
    tokenizers = import_extra("tokenizers", "text")
    steps = tokenizers.normalizers
    return steps.Sequence(
        [
            *([steps.Lowercase()] if lowercase else []),
            steps.NFC(),
            steps.Replace(MARK, "_"),  # in a sentence the mark itself would come back as a space
            steps.Replace(tokenizers.Regex(BLANKS), " "),
            steps.Strip(),
            steps.Prepend(MARK),
            steps.Replace(" ", MARK),
        ]
    )
