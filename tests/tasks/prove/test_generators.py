"""Each problem's batches against a slow, obvious definition of what is asked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Generator, Tensor

from recurra.data.series import lorenz, mackey_glass, narma
from recurra.errors import ConfigError
from recurra.tasks.prove import PROBLEMS, Batch, Problem
from recurra.tasks.prove.adding import Adding
from recurra.tasks.prove.associative_recall import AssociativeRecall
from recurra.tasks.prove.copy import Copy
from recurra.tasks.prove.copying_memory import CopyingMemory
from recurra.tasks.prove.dyck import Dyck
from recurra.tasks.prove.lorenz import Lorenz
from recurra.tasks.prove.mackey_glass import MackeyGlass
from recurra.tasks.prove.narma import Narma
from recurra.tasks.prove.parity import ModularArithmetic, Parity
from recurra.tasks.prove.pixels import PermutedPixels, Pixels, draw_digits
from recurra.tasks.prove.priority_sort import PrioritySort
from recurra.tasks.prove.repeat_copy import RepeatCopy
from recurra.tasks.prove.temporal_order import TemporalOrder
from tests.tolerance import assert_close

GENERATED = [kind() for name, kind in PROBLEMS.items() if name not in ("santa-fe", "babi")]


def random(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def sequences(batch: Batch) -> Iterator[tuple[Tensor, list[int], Tensor]]:
    """Of each sequence its inputs, the steps that count, and their targets."""
    assert len(batch.rows) == len(batch.target)
    for x, begin, end in zip(batch.x, batch.x.offsets, batch.x.offsets[1:], strict=False):
        own = (batch.rows >= begin) & (batch.rows < end)
        yield x, (batch.rows[own] - begin).tolist(), batch.target[own]


@pytest.mark.parametrize("problem", GENERATED, ids=lambda problem: problem.name)
def test_a_seed_is_a_batch_and_another_seed_another(problem: Problem) -> None:
    first, same, other = (problem.draw(5, random(seed)) for seed in (1, 1, 2))

    assert torch.equal(first.x.values, same.x.values)
    assert torch.equal(first.target, same.target)
    assert torch.equal(first.rows, same.rows)
    assert first.x.values.shape != other.x.values.shape or not torch.equal(first.x.values, other.x.values)


@pytest.mark.parametrize("problem", GENERATED, ids=lambda problem: problem.name)
def test_batches_have_the_sizes_that_the_problem_names(problem: Problem) -> None:
    batch = problem.draw(5, random())

    assert batch.x.batch_size == 5
    assert batch.x.values.shape[1:] == (problem.input_size,)
    assert bool((batch.rows.diff() > 0).all())
    if batch.target.dtype == torch.int64:
        assert int(batch.target.min()) >= 0
        assert int(batch.target.max()) < problem.output_size
    else:
        assert batch.target.shape[1:] == (problem.output_size,)


def test_copy_asks_for_the_vectors_before_the_mark() -> None:
    for x, counted, target in sequences(Copy(bits=3, max_length=6).draw(20, random())):
        (mark,) = x[:, 3].nonzero().flatten().tolist()
        assert counted == list(range(mark + 1, len(x)))
        assert torch.equal(target, x[:mark, :3])
        assert not x[mark:, :3].any()


def test_copy_is_tested_at_every_length_that_was_named() -> None:
    tests = Copy(tests_at=(4, 9), test_size=3).tests(random())

    assert {name: batches[0].x.lengths.tolist() for name, batches in tests.items()} == {
        "length 4": [9] * 3,
        "length 9": [19] * 3,
    }


def test_repeat_copy_asks_for_so_many_copies_and_an_end() -> None:
    problem = RepeatCopy(bits=2, max_length=3, max_times=4)
    numbers = (torch.arange(1.0, 5) - 2.5) / torch.arange(1.0, 5).std(correction=0)
    for x, counted, target in sequences(problem.draw(30, random())):
        at = counted[0] - 1
        times = int((x[at, 2] - numbers).abs().argmin()) + 1
        asked = [[*x[i, :2].tolist(), 0.0] for _ in range(times) for i in range(at)] + [[0.0, 0.0, 1.0]]
        assert target.tolist() == asked
        assert len(x) == at + 1 + len(asked)


def test_associative_recall_asks_for_the_item_after_the_query() -> None:
    problem = AssociativeRecall(bits=5, item_length=2, max_items=4)
    for x, counted, target in sequences(problem.draw(30, random())):
        marks, queries = (x[:, 5 + i].nonzero().flatten().tolist() for i in (0, 1))
        items = [x[at + 1 : at + 3, :5] for at in marks]
        asked = x[queries[0] + 1 : queries[0] + 3, :5]
        followers = [after for item, after in itertools.pairwise(items) if torch.equal(item, asked)]
        assert any(torch.equal(target, follower) for follower in followers)
        assert counted == [len(x) - 2, len(x) - 1]
        assert queries[1] == len(x) - 3


def test_priority_sort_asks_for_the_best_in_their_order() -> None:
    for x, counted, target in sequences(PrioritySort(bits=3, read=6, asked=4).draw(10, random())):
        best = sorted(range(6), key=lambda i: -float(x[i, 3]))[:4]
        assert torch.equal(target, x[best, :3])
        assert counted == [7, 8, 9, 10]
        assert x[6].tolist() == [0, 0, 0, 0, 1]


def test_adding_asks_for_the_sum_of_the_two_marked_numbers() -> None:
    for x, counted, target in sequences(Adding(length=30, shortest=5).draw(20, random())):
        marked = [float(number) for number, mark in x.tolist() if mark]
        assert len(marked) == 2
        assert counted == [len(x) - 1]
        assert_close(target[0].double(), torch.tensor([sum(marked)], dtype=torch.float64), relative=1e-6)


def test_adding_is_tested_at_full_length() -> None:
    (batches,) = Adding(length=30, test_size=200).tests(random()).values()

    assert [batch.x.lengths.tolist() for batch in batches] == [[30] * 100] * 2


@pytest.mark.parametrize(
    ("problem", "sizes"),
    [
        (Adding(length=5, test_size=150), [100, 50]),
        (CopyingMemory(delay=5, test_size=60), [32, 28]),
        (TemporalOrder(length=10, test_size=600), [256, 256, 88]),
        (Pixels(size=4, test_size=300), [250, 50]),
        (PermutedPixels(size=4, test_size=7), [7]),
        (Adding(length=5, test_size=200), [100, 100]),
    ],
    ids=lambda given: given.name if isinstance(given, Problem) else str(given),
)
def test_no_sequence_of_a_test_is_left_out(problem: Problem, sizes: list[int]) -> None:
    (batches,) = problem.tests(random()).values()
    assert [batch.x.batch_size for batch in batches] == sizes


def test_copying_memory_asks_for_blanks_and_then_for_what_came_first() -> None:
    for x, counted, target in sequences(CopyingMemory(delay=15, shortest=15, kept=4).draw(5, random())):
        read = x.argmax(-1).tolist()
        assert read[4:18] + read[19:] == [0] * (14 + 4)
        assert read[18] == 9
        assert target.tolist() == [0] * 19 + read[:4]
        assert counted == list(range(23))
        assert set(read[:4]) <= set(range(1, 9))


def test_copying_memory_learns_from_shorter_delays_and_is_tested_at_the_full_one() -> None:
    problem = CopyingMemory(delay=40, shortest=2, kept=3, test_size=64)
    lengths = []
    for x, counted, target in sequences(problem.draw(200, random())):
        read = x.argmax(-1).tolist()
        delay = len(read) - 6
        assert read.index(9) == 3 + delay - 1
        assert target.tolist() == [0] * (3 + delay) + read[:3]
        assert counted == list(range(len(read)))
        lengths.append(delay)
    assert (min(lengths), max(lengths)) == (2, 40)
    (batches,) = problem.tests(random()).values()
    assert [batch.x.lengths.tolist() for batch in batches] == [[46] * 32] * 2


def test_temporal_order_names_the_order_of_the_two_symbols() -> None:
    for x, counted, target in sequences(TemporalOrder().draw(20, random())):
        read = x.argmax(-1).tolist()
        first, second = (symbol - 2 for symbol in read if symbol in (2, 3))
        at = [step for step, symbol in enumerate(read) if symbol in (2, 3)]
        assert target.tolist() == [2 * first + second]
        assert 10 <= at[0] <= 20 < 50 <= at[1] <= 60
        assert (read[0], read[-1]) == (0, 1)
        assert counted == [len(x) - 1]
        assert 100 <= len(x) <= 110


@pytest.mark.parametrize("length", [10, 19, 29, 89, 100, 105])
def test_temporal_order_has_sequences_of_its_length_and_a_tenth_more(length: int) -> None:
    lengths = TemporalOrder(length=length).draw(300, random()).x.lengths

    assert set(lengths.tolist()) == set(range(length, length + length // 10 + 1))


def test_parity_is_asked_after_every_bit() -> None:
    for x, counted, target in sequences(Parity(max_length=9).draw(20, random())):
        bits = x.argmax(-1).tolist()
        assert target.tolist() == [sum(bits[: i + 1]) % 2 for i in range(len(bits))]
        assert counted == list(range(len(bits)))


def test_parity_is_tested_on_the_last_answer_of_long_sequences() -> None:
    (batches,) = Parity(test_length=50, test_size=300).tests(random()).values()

    assert sum(batch.x.batch_size for batch in batches) == 300
    for batch in batches:
        for x, counted, target in sequences(batch):
            assert counted == [49]
            assert target.tolist() == [int(x[:, 1].sum()) % 2]


@pytest.mark.parametrize("times", [True, False])
def test_modular_arithmetic_is_done_from_left_to_right(times: bool) -> None:
    problem = ModularArithmetic(max_length=11, test_length=30, times=times)
    (test,) = problem.tests(random()).values()
    lengths = set()
    for batch in [problem.draw(40, random()), test[0]]:
        for x, counted, target in sequences(batch):
            value, values = 0, []
            for step, symbol in enumerate(x.argmax(-1).tolist()):
                if step % 2:
                    operation = symbol
                    assert symbol in ((5, 6, 7) if times else (5, 6))
                    continue
                value = symbol if step == 0 else eval(f"value {'+-*'[operation - 5]} {symbol}") % 5
                values.append(value)
            assert target.tolist() == [values[step // 2] for step in counted]
            assert counted in (list(range(0, len(x), 2)), [len(x) - 1])
            lengths.add(len(x))
    assert lengths == {1, 3, 5, 7, 9, 11, 29}


def test_dyck_names_the_brackets_that_may_follow() -> None:
    for x, counted, target in sequences(Dyck(kinds=3, max_depth=3, max_length=20).draw(30, random())):
        stack: list[int] = []
        for symbol, following in zip(x.argmax(-1).tolist(), target.tolist(), strict=True):
            if symbol < 3:
                stack.append(symbol)
            else:
                assert stack.pop() == symbol - 3
            assert following[:3] == [float(len(stack) < 3)] * 3
            assert following[3:] == [float(stack[-1:] == [kind]) for kind in range(3)]
        assert stack == []
        assert counted == list(range(len(x)))


def test_dyck_is_tested_on_strings_that_close() -> None:
    for batches in Dyck(tests_at=(2, 12), test_size=20).tests(random()).values():
        for x, _, _ in sequences(batches[0]):
            assert x[:, :2].sum() == x[:, 2:].sum()
    with pytest.raises(ConfigError, match=r"`tests_at` must be even, since every bracket is closed in the end, got 7"):
        Dyck(tests_at=(50, 7))


def test_digits_are_ink_within_the_sheet_and_differ_from_each_other() -> None:
    images = draw_digits(torch.arange(10), 16, 0.0, random())

    assert float(images.min()) == 0
    assert float(images.max()) <= 1
    edges = images.sum() - images[:, 1:-1, 1:-1].sum()
    assert float(edges) < 0.02 * float(images.sum())
    flat = images.flatten(1)
    assert bool((flat.sum(1) > 5).all())
    assert float((torch.cdist(flat, flat) + 99 * torch.eye(10)).min()) > 1


def test_pixels_are_the_same_images_in_an_order_that_never_changes() -> None:
    rows, permuted = (kind(size=8, noise=0.0).draw(6, random()) for kind in (Pixels, PermutedPixels))
    images, shuffled = (batch.x.values.view(6, 64) for batch in (rows, permuted))

    assert torch.equal(rows.target, permuted.target)
    assert not torch.equal(images, shuffled)
    assert torch.equal(images.sort(1).values, shuffled.sort(1).values)
    again = PermutedPixels(size=8, noise=0.0).draw(6, random(3)).x.values.view(6, 64)
    plain = Pixels(size=8, noise=0.0).draw(6, random(3)).x.values.view(6, 64)
    order = torch.randperm(64, generator=random(0))
    assert torch.equal(plain[:, order], again)


@pytest.mark.parametrize(
    ("problem", "x", "y"),
    [
        (MackeyGlass(steps=300, test_steps=50), mackey_glass(300)[:-1], mackey_glass(300)[1:]),
        (Lorenz(steps=400, test_steps=60), lorenz(400, discard=500)[:-5, :1], lorenz(400, discard=500)[5:]),
        (Narma(steps=400, test_steps=60), narma(400)[0][:-1], narma(400)[1][1:]),
    ],
    ids=["mackey-glass", "lorenz", "narma"],
)
def test_a_forecast_is_learned_from_stretches_before_the_test_alone(problem: Problem, x: Tensor, y: Tensor) -> None:
    test_steps = problem.test_steps  # type: ignore[attr-defined]
    x, y = ((one - one[:-test_steps].mean(0)) / one[:-test_steps].std(0) for one in (x, y))
    places = {round(float(value), 5): step for step, value in enumerate(x[:, 0])}

    for read, counted, target in sequences(problem.draw(8, random())):
        start = places[round(float(read[0, 0]), 5)]
        assert start + 150 <= len(x) - test_steps
        assert counted == list(range(50, 150))
        assert_close(read, x[start : start + 150].float())
        assert_close(target, y[start + 50 : start + 150].float())
    ((test,),) = problem.tests(random()).values()
    assert_close(test.x.values, x.float())
    assert_close(test.target, y[-test_steps:].float())
    assert test.rows.tolist() == list(range(len(x) - test_steps, len(x)))
