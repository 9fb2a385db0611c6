"""Problems on real data: what they read of a file, and what they say where there is none."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator

from recurra.errors import ConfigError, DataError
from recurra.tasks.prove.babi import Babi, read_stories
from recurra.tasks.prove.santa_fe import SantaFe

TRAIN = """1 Mary went to the hall.
2 Where is Mary? \thall\t1
3 John took the milk, then the apple.
4 What has John?\tmilk,apple\t3
1 John sat.
2 Where is Mary?\tkitchen\t1
"""
TEST = "1 Sue sat.\n2 Where is Sue?\thall\t1\n"


def archive(folder: Path) -> Path:
    path = folder / "somewhere" / "babi_en_10k_all.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for name, text in [("qa1_facts_train", TRAIN), ("qa1_facts_test", TEST), ("qa11_other_train", "1 No.\n")]:
            info = tarfile.TarInfo(f"tasks/en-10k/{name}.txt")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


def test_a_story_is_its_words_with_a_step_for_each_answer() -> None:
    first, second = read_stories(TRAIN)

    assert " ".join(first.words) == (
        "mary went to the hall . where is mary ? - john took the milk then the apple . what has john ? -"
    )
    assert first.answers == ["hall", "milk,apple"]
    assert second.answers == ["kitchen"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("Mary went.\n", "Line 1 of a bAbI file must begin with a number, got `Mary went.`"),
     ("2 Mary went.\n", "Line 1 of a bAbI file must begin a story with the number 1, got 2."),
     ("1 Mary went.\n2 Where is Mary?\n", "Line 2 of a bAbI file asks and has no answer, `2 Where is Mary.`"),
     ("1 Mary went.\n", "A bAbI file must have a question, got none."),
     ("", "A bAbI file must have a question, got none.")],
)  # fmt: skip
def test_what_is_no_story_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_stories(text)


def test_babi_is_read_out_of_its_archive(tmp_path: Path) -> None:
    archive(tmp_path)
    problem = Babi(data=str(tmp_path))

    batch = problem.draw(40, Generator().manual_seed(0))
    ((test,),) = problem.tests(Generator()).values()

    words = sorted({word for story in read_stories(TRAIN) for word in story.words})
    assert problem.input_size == len(words) + 1
    assert problem.output_size == 3  # hall, kitchen, milk,apple
    assert batch.x.batch_size == 40
    assert bool((batch.x.values[batch.rows].argmax(-1) == words.index("-") + 1).all())
    sue = ["sue", "sat", ".", "where", "is", "sue", "?", "-"]  # whom no story to learn from knows
    assert test.x.values.argmax(-1).tolist() == [0 if word == "sue" else words.index(word) + 1 for word in sue]
    assert test.target.tolist() == [0]


def test_one_network_may_learn_several_tasks_and_is_judged_on_each(tmp_path: Path) -> None:
    for task, place in ((1, "hall"), (2, "garden")):
        (tmp_path / f"qa{task}_facts_train.txt").write_text(TRAIN.replace("hall", place))
        (tmp_path / f"qa{task}_facts_test.txt").write_text(TEST.replace("hall", place))
    problem = Babi(data=str(tmp_path), task=(1, 2))

    assert problem.output_size == 4  # garden, hall, kitchen, milk,apple
    tests = problem.tests(Generator())
    assert list(tests) == ["task 1", "task 2"]
    assert [batch.target.tolist() for (batch,) in tests.values()] == [[1], [0]]


def test_every_twentieth_story_is_kept_for_the_goal(tmp_path: Path) -> None:
    stories = "".join(f"1 Mary saw {i}.\n2 What?\t{i}\t1\n" for i in range(40))
    (tmp_path / "qa1_facts_train.txt").write_text(stories)
    (tmp_path / "qa1_facts_test.txt").write_text(TEST)
    problem = Babi(data=str(tmp_path))
    names = sorted(problem._answers, key=problem._answers.__getitem__)

    learned = problem.draw(2000, Generator().manual_seed(0))
    unseen = problem.draw_unseen(2000, Generator().manual_seed(0))

    assert {names[i] for i in unseen.target.tolist()} == {"19", "39"}
    assert {names[i] for i in learned.target.tolist()} == {str(i) for i in range(40) if i not in (19, 39)}


def test_a_story_without_a_question_may_stand_among_others(tmp_path: Path) -> None:
    (tmp_path / "qa1_facts_train.txt").write_text("1 Mary sat.\n" + TRAIN)
    (tmp_path / "qa1_facts_test.txt").write_text(TEST)

    batch = Babi(data=str(tmp_path)).draw(20, Generator().manual_seed(0))

    assert len(batch.rows) == len(batch.target) > 0
    assert batch.target.dtype == torch.int64


def test_shuffled_stories_have_their_sentences_in_another_order_before_each_question(tmp_path: Path) -> None:
    (tmp_path / "qa1_facts_train.txt").write_text(
        "1 A is b.\n2 C is d.\n3 What is a?\tb\t1\n4 E is f.\n5 G is h.\n6 What is e?\tf\t4\n"
    )
    (tmp_path / "qa1_facts_test.txt").write_text(TEST)
    problem = Babi(data=str(tmp_path), shuffled=True)
    words = {number: word for word, number in problem._words.items()}

    drawn = problem.draw(100, Generator().manual_seed(0))
    stories = {" ".join(words[i] for i in one.argmax(-1).tolist()) for one in drawn.x.to_list()}

    first, second = ("a is b . c is d .", "c is d . a is b ."), ("e is f . g is h .", "g is h . e is f .")
    assert stories == {f"{one} what is a ? - {other} what is e ? -" for one in first for other in second}
    assert drawn.target.tolist() == [problem._answers[one] for one in ("b", "f")] * 100


def test_words_of_questions_are_foretold_in_learning_alone(tmp_path: Path) -> None:
    (tmp_path / "qa1_facts_train.txt").write_text("1 A is b.\n2 Where is a?\tb\t1\n3 C is d.\n4 Is c b?\tno\t3\n")
    (tmp_path / "qa1_facts_test.txt").write_text(TEST)
    plain, problem = Babi(data=str(tmp_path)), Babi(data=str(tmp_path), foretell=True)
    words = {number: word for word, number in problem._words.items()}
    answers = {number: answer for answer, number in problem._answers.items()}
    size = plain.output_size

    drawn = problem.draw(2, Generator().manual_seed(0))

    asked = [words[i] for i in drawn.x.values[drawn.rows].argmax(-1).tolist()]
    named = [answers[i] if i < size else words[i - size] for i in drawn.target.tolist()]
    assert list(zip(asked, named, strict=True)) == [
        ("where", "is"), ("is", "a"), ("-", "b"), ("is", "c"), ("c", "b"), ("-", "no"),
    ] * 2  # fmt: skip
    assert problem.output_size == size + problem.input_size
    for batches in (one.tests(Generator())["task 1"] for one in (plain, problem)):
        assert all(words[i] == "-" for batch in batches for i in batch.x.values[batch.rows].argmax(-1).tolist())
    assert len(problem.draw_unseen(3, Generator()).rows) == len(plain.draw_unseen(3, Generator()).rows)


def test_babi_is_read_out_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "qa1_facts_train.txt").write_text(TRAIN)
    (tmp_path / "qa1_facts_test.txt").write_text(TEST)

    assert Babi(data=str(tmp_path)).output_size == 3


def test_santa_fe_is_the_first_points_with_the_last_of_them_as_test(tmp_path: Path) -> None:
    values = np.arange(700) % 17
    np.save(tmp_path / "santafe_laser.npy", values)
    problem = SantaFe(data=str(tmp_path), steps=600, test_steps=100)

    ((test,),) = problem.tests(Generator()).values()

    assert len(test.x.values) == 599
    learned = torch.from_numpy(values[1:500].astype(np.float64))
    expected = (torch.from_numpy(values[500:600].astype(np.float64)) - learned.mean()) / learned.std()
    torch.testing.assert_close(test.target[:, 0], expected.float())


def test_absent_data_are_one_sentence(tmp_path: Path) -> None:
    problems = [SantaFe(), SantaFe(data=str(tmp_path)), Babi(), Babi(data=str(tmp_path))]

    for problem in problems:
        with pytest.raises(DataError, match=r"^`(santa-fe|babi)` reads .* `--data`\.$"):
            problem.draw(1, Generator())


def test_a_series_that_is_too_short_or_none_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "santafe_laser.npy", np.zeros(10))
    with pytest.raises(DataError, match="must hold at least 9000 numbers, got 10"):
        SantaFe(data=str(tmp_path)).draw(1, Generator())

    for content in (b"no numbers", b""):
        (tmp_path / "santafe_laser.npy").write_bytes(content)
        with pytest.raises(DataError, match=r"must be an array of numbers, as `numpy.save` writes one; it is none\.$"):
            SantaFe(data=str(tmp_path)).draw(1, Generator())


@pytest.mark.parametrize(("value", "what"), [(np.nan, "have a NaN or an infinity among them"), (0, "are all the same")])
def test_a_series_that_cannot_be_learned_is_told_before_training(tmp_path: Path, value: float, what: str) -> None:
    values = np.zeros(9000)
    values[5] = value
    np.save(tmp_path / "santafe_laser.npy", values)
    with pytest.raises(DataError, match=f"must be a series; they {what}.$"):
        SantaFe(data=str(tmp_path)).draw(1, Generator())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("babi_en_10k.tar.gz", b""),
        ("babi_en_10k.tar.gz", b"no archive"),
        ("babi_en_10k.tar.gz", b"\x1f\x8b\x08\x00\x00\x00"),
        ("qa1_facts_test.txt", b"\xff no text"),
    ],
)
def test_what_is_no_archive_of_stories_is_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "qa1_facts_train.txt").write_text(TRAIN)
    (tmp_path / "qa1_facts_test.txt").write_text(TEST)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        DataError, match=r"must be the archive of the bAbI tasks or one of its text files; it is none.$"
    ):
        Babi(data=str(tmp_path / name)).draw(1, Generator())


def test_a_task_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`task` 1 to 20"):
        Babi(data=str(tmp_path), task=21).draw(1, Generator())
    with pytest.raises(ConfigError, match=r"`task` 1 to 20, got '10k' and \(\)"):
        Babi(data=str(tmp_path), task=()).draw(1, Generator())
    archive(tmp_path)
    with pytest.raises(DataError, match=r"There is no `en-10k/qa2_\*_train.txt`"):
        Babi(data=str(tmp_path), task=2).draw(1, Generator())
