"""bAbI: short stories with questions, word by word. Real data, read from a file."""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from recurra.errors import ConfigError, DataError
from recurra.tasks.prove.files import find_file
from recurra.tasks.prove.problem import CLASSES, Batch, Problem, Published, Settings, join, symbols

__all__ = ["Babi", "Story", "read_stories"]

ASK = "-"  # the step at which an answer is asked for
FOLDERS = {"10k": "en-10k", "1k": "en"}  # of the archive, by the questions to learn from
APART = 20  # of so many stories one is kept for the goal
ADNC = "README of JoergFranke/ADNC (one network for all 20 tasks)"


class Story(NamedTuple):
    """Words in order, `-` where an answer is asked for; the answers in their order."""

    words: list[str]
    answers: list[str]


@dataclass(frozen=True)
class Babi(Problem):
    """A story and its questions are read word by word; after each question one step asks for the answer.

    Answers of several words are one answer. Words that no story to learn from has are read as one unknown word. One
    story of twenty is not learned from: the goal is measured on these.

    Args:
        data: the archive or folder of the tasks (English, v1.2), or a folder that holds the archive.
        task: 1 to 20, or several of them for one network that learns all of them together.
        questions: `"10k"` or `"1k"` to learn from.
        shuffled: the sentences between two questions come in another order each time that a story is learned from. It
            makes many stories of one, for tasks whose sentences may stand in any order, as those of 4 and 15.
        foretell: of the questions to learn from each next word is asked for as well. Where Mary is asked about a place,
            it often is where she went: to foretell it, one has to know what a yes or no hardly teaches.
    """

    name: ClassVar[str] = "babi"
    summary: ClassVar[str] = "where is the football? Questions about short stories (needs --data)"
    origin: ClassVar[str] = "Weston et al. 2015, arXiv:1502.05698"
    answer = CLASSES
    published = tuple(
        Published("dnc", value, ADNC, f"task {task}")
        for task, value in [(1, "91.0"), (2, "60.8"), (4, "99.6"), (6, "93.1")]
    )
    settings = Settings(hidden_size=128, steps=16_000, batch_size=32, learning_rate=3e-3, clip_norm=10.0, goal=0.02)
    cell_settings: ClassVar = {"dnc": {"options": {"memory_size": 32, "word_size": 32, "num_reads": 2}}}

    data: str | None = None
    task: int | tuple[int, ...] = (1,)
    questions: str = "10k"
    shuffled: bool = False
    foretell: bool = False

    def __post_init__(self) -> None:
        """Check the tasks and the questions."""
        tasks = self._tasks
        if self.questions not in FOLDERS or not tasks or not all(one in range(1, 21) for one in tasks):
            raise ConfigError(
                f"`questions` must be 10k or 1k and `task` 1 to 20, got {self.questions!r} and {self.task!r}."
            )

    @property
    def _tasks(self) -> tuple[int, ...]:
        return (self.task,) if isinstance(self.task, int) else self.task

    @cached_property
    def _train(self) -> list[Story]:
        return [story for task in self._tasks for story in self._read(task, "train")]

    @cached_property
    def _learned(self) -> list[Story]:
        return [story for i, story in enumerate(self._train) if (i + 1) % APART]

    @cached_property
    def _test(self) -> dict[int, list[Story]]:
        return {task: self._read(task, "test") for task in self._tasks}

    def _read(self, task: int, part: str) -> list[Story]:
        archive = f"babi_en_{self.questions}*.tar.gz"
        path = find_file(self.name, "the bAbI tasks", self.data, [archive, f"qa{task}_*_train.txt"])
        return read_stories(_text(path, FOLDERS[self.questions], task, part))

    @cached_property
    def _words(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(sorted({w for one in self._train for w in one.words}), 1)}

    @cached_property
    def _answers(self) -> dict[str, int]:
        stories = [*self._train, *(story for part in self._test.values() for story in part)]
        return {answer: number for number, answer in enumerate(sorted({a for story in stories for a in story.answers}))}

    @property
    def input_size(self) -> int:
        """The words, and one for those that are unknown."""
        return len(self._words) + 1

    @property
    def output_size(self) -> int:
        """The answers, and the words where they are foretold."""
        return len(self._answers) + (self.input_size if self.foretell else 0)

    def draw(self, batch_size: int, random: Generator) -> Batch:
        """Shapes: x.values [N, words + 1]; a step after each question counts, and those in it with `foretell`."""
        drawn = _draw(self._learned, batch_size, random)
        if self.shuffled:
            drawn = [_shuffled(story, random) for story in drawn]
        return self._batch(drawn, self.foretell)

    def draw_unseen(self, batch_size: int, random: Generator) -> Batch:
        """The same of the stories that are not learned from, as they are."""
        return self._batch(_draw(self._train[APART - 1 :: APART] or self._train, batch_size, random))

    def tests(self, random: Generator) -> dict[str, list[Batch]]:
        """All stories of the test, task by task."""
        return {
            f"task {task}": [self._batch(stories[i : i + 100]) for i in range(0, len(stories), 100)]
            for task, stories in self._test.items()
        }

    def _batch(self, stories: Sequence[Story], foretell: bool = False) -> Batch:
        read = [torch.tensor([self._words.get(word, 0) for word in story.words]) for story in stories]
        counted = [_counted(story.words, foretell) for story in stories]
        targets = [self._targets(story, steps) for story, steps in zip(stories, counted, strict=True)]
        return join([symbols(words, self.input_size) for words in read], counted, targets)

    def _targets(self, story: Story, steps: Tensor) -> Tensor:
        """The answers at the steps that ask for one, the next word at others. Shapes: steps [m] -> [m] int64."""
        answers = iter(story.answers)
        return torch.tensor(
            [
                self._answers[next(answers)]
                if story.words[step] == ASK
                else len(self._answers) + self._words[story.words[step + 1]]
                for step in steps.tolist()
            ],
            dtype=torch.int64,
        )


def read_stories(text: str) -> list[Story]:
    """The stories of one file: lines `number words.`, and `number question?<tab>answer<tab>supporting lines`.

    Raises:
        DataError: a line has no number, a question has no answer, or there is no question.
    """
    stories: list[Story] = []
    for place, line in enumerate(text.splitlines(), 1):
        number, _, rest = line.strip().partition(" ")
        if not number.isdigit():
            raise DataError(f"Line {place} of a bAbI file must begin with a number, got `{line[:40]}`.")
        if number == "1":
            stories.append(Story([], []))
        if not stories:
            raise DataError(f"Line {place} of a bAbI file must begin a story with the number 1, got {number}.")
        sentence, *answer = rest.split("\t")
        stories[-1].words.extend(re.findall(r"\w+|[.?]", sentence.lower()))
        if answer:
            stories[-1].words.append(ASK)
            stories[-1].answers.append(answer[0].lower())
        elif "?" in sentence:
            raise DataError(
                f"Line {place} of a bAbI file asks and has no answer, `{line[:40]}`: a tab stands before it."
            )
    if not any(story.answers for story in stories):
        raise DataError("A bAbI file must have a question, got none.")
    return stories


def _draw(stories: Sequence[Story], size: int, random: Generator) -> list[Story]:
    return [stories[i] for i in torch.randint(len(stories), (size,), generator=random).tolist()]


def _counted(words: Sequence[str], foretell: bool) -> Tensor:
    """The steps that ask for an answer; with `foretell` those, too, whose next word is one of the question."""
    steps, first = [], 0
    for step, word in enumerate(words):
        if word == ASK:
            steps += [*range(first, step - 2), step] if foretell else [step]  # the last word is the mark before it
        if word in (".", ASK):
            first = step + 1
    return torch.tensor(steps, dtype=torch.int64)


def _shuffled(story: Story, random: Generator) -> Story:
    """The sentences before each question in another order; the questions stay where they are."""
    words: list[str] = []
    told: list[list[str]] = [[]]
    for word in story.words:
        told[-1].append(word)
        if word == ".":
            told.append([])
        elif word == ASK:
            *sentences, question = told
            order = torch.randperm(len(sentences), generator=random).tolist()
            words.extend(word for i in order for word in sentences[i])
            words.extend(question)
            told = [[]]
    return Story(words, story.answers)


def _text(path: Path, folder: str, task: int, part: str) -> str:
    """One file of the tasks, out of the archive or beside the file that was found."""
    try:
        return _bytes(path, folder, task, part).decode("utf-8")
    except (tarfile.TarError, EOFError, zlib.error, UnicodeDecodeError):
        raise DataError(
            f"`{path}` must be the archive of the bAbI tasks or one of its text files; it is none."
        ) from None


def _bytes(path: Path, folder: str, task: int, part: str) -> bytes:
    if path.suffix == ".txt":
        beside = sorted(path.parent.glob(f"qa{task}_*_{part}.txt"))
        if not beside:
            raise DataError(f"There is no `qa{task}_*_{part}.txt` beside `{path}`.")
        return beside[0].read_bytes()
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            if re.search(rf"/{folder}/qa{task}_[\w-]+_{part}\.txt$", member.name):
                file = archive.extractfile(member)
                if file is not None:
                    return file.read()
    raise DataError(f"There is no `{folder}/qa{task}_*_{part}.txt` in `{path}`.")
