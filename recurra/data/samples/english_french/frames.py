"""What a theme is made of: frames, functions that draw words and return one sentence pair."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from .grammar import english, french
from .grammar.clauses import Clause
from .grammar.noun_phrases import Link

T = TypeVar("T")


class Draw:
    """Random choices that are the same in every Python version.

    Only `Random.random()` is promised to be stable, so everything is derived from it.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed).random

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices, all equally likely."""
        return choices[int(self._random() * len(choices))]

    def fraction(self) -> float:
        """A number from 0 up to 1."""
        return self._random()

    def chance(self, probability: float) -> bool:
        """True with this probability, 0 to 1."""
        return self._random() < probability

    def between(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return low + int(self._random() * (high - low + 1))


@dataclass(frozen=True, slots=True)
class Sentence:
    """A finished pair, with the content-word combinations in it (unordered, so each is sorted)."""

    source: str
    target: str
    links: frozenset[Link] = frozenset()
    theme: str = ""
    frame: str = ""


def sentence(text: Clause, end: str = ".") -> Sentence:
    """Spells a clause in both languages and closes it with its mark."""
    links = frozenset((min(link), max(link)) for link in text.links)
    return Sentence(english.finish(text.en, end), french.finish(text.fr, end), links)


def said(en: str, fr: str, end: str = ".", links: tuple[Link, ...] = ()) -> Sentence:
    """A sentence from text in both languages."""
    return sentence(Clause(en, fr, links), end)


def after(first: Sentence, second: Sentence) -> Sentence:
    """Two sentences as one pair: "Where is my key? I can't find it." """
    return Sentence(f"{first.source} {second.source}", f"{first.target} {second.target}", first.links | second.links)


Frame = Callable[[Draw], Sentence]


@dataclass(slots=True)
class Theme:
    """A named group of frames; a frame with a larger weight is drawn more often."""

    name: str
    frames: list[tuple[str, float, Frame]] = field(default_factory=list)

    def frame(self, weight: float = 1.0) -> Callable[[Frame], Frame]:
        """Decorator: adds a function to the theme under its own name."""

        def add(function: Frame) -> Frame:
            self.frames.append((f"{self.name}.{function.__name__}", weight, function))
            return function

        return add
