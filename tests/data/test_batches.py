"""Every example exactly once an epoch, within the budget, in an order of seed and epoch alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.data.batches import BucketedBatches, EncodedPairs, PairBatch, encode_pairs, length_batches
from recurra.data.readers import Pair
from recurra.data.subwords import SubwordSampler
from recurra.data.tokenizer import Vocabulary, train_tokenizer
from recurra.errors import ConfigError, ShapeError
from recurra.ragged import Ragged

LINES = [f"{'word ' * (n % 7)}number {n}" for n in range(60)]
PAIRS = [Pair(line, f"{line} !" + " mot" * (n % 3), n + 1) for n, line in enumerate(LINES)]
VOCABULARY = train_tokenizer([side for pair in PAIRS for side in (pair.source, pair.target)], "bpe", 80)
ENCODED = encode_pairs(PAIRS, VOCABULARY)

lengths_of_pairs = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60)


def row_lists(batches: list[npt.NDArray[np.int64]]) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


@settings(max_examples=60)
@given(lengths_of_pairs, st.integers(1, 100), st.integers(-2, 2), st.integers(0, 3), st.floats(0, 5))
def test_every_example_is_in_one_batch_within_the_budget(
    lengths: list[tuple[int, int]], budget: int, seed: int, epoch: int, noise: float
) -> None:
    table = np.array(lengths, dtype=np.int64).reshape(-1, 2)
    batches = length_batches(table, budget, seed=seed, epoch=epoch, length_noise=noise)
    assert sorted(row for batch in row_lists(batches) for row in batch) == list(range(len(table)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * table[batch].max() <= budget
    again = length_batches(table, budget, seed=seed, epoch=epoch, length_noise=noise)
    assert row_lists(again) == row_lists(batches)


def test_examples_of_like_length_meet() -> None:
    random = np.random.default_rng(0)
    table = random.integers(5, 40, (2000, 1)) + random.integers(-3, 4, (2000, 2))
    batches = length_batches(table, 1000)
    padded = sum(len(batch) * table[batch].max(0) for batch in batches)
    assert (padded < 1.2 * table.sum(0)).all()  # in the order they come: 1.8
    assert len(batches) < 1.2 * table.sum(0).max() / 1000


def test_one_list_of_lengths_is_enough() -> None:
    lengths = [3, 1, 2, 3, 2, 1]
    batches = row_lists(length_batches(lengths, 6, length_noise=0))
    assert sorted([lengths[row] for row in batch] for batch in batches) == [[1, 1, 2], [2, 3], [3]]


def test_a_longer_example_than_the_budget_is_a_batch_of_its_own() -> None:
    assert sorted(row_lists(length_batches([100, 1, 1], 10, length_noise=0)), key=len)[0] == [0]


def test_every_epoch_has_other_batches_in_another_order() -> None:
    lengths = np.random.default_rng(0).integers(1, 20, 500)
    first, second = (row_lists(length_batches(lengths, 200, epoch=epoch)) for epoch in (0, 1))
    assert {frozenset(batch) for batch in first}.isdisjoint(frozenset(batch) for batch in second)
    longest = [max(lengths[batch]) for batch in first]
    assert longest != sorted(longest)
    assert row_lists(length_batches(lengths, 200, seed=1)) != first


def test_no_examples_make_no_batches() -> None:
    assert length_batches([], 10) == []
    assert length_batches(np.zeros((0, 2), np.int64), 10) == []


def test_bad_lengths_and_budgets_are_refused() -> None:
    for budget in (0, "8"):
        with pytest.raises(ConfigError, match=f"`budget` must be a whole number of at least 1, got {budget!r}"):
            length_batches([1], budget)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=f"`budget` must be a whole number of at least 1, got {budget!r}"):
            BucketedBatches(ENCODED, budget=budget)  # type: ignore[arg-type]
    for lengths in ([-1], [0.5], [[[1]]]):
        with pytest.raises(ShapeError, match="`lengths` must be whole numbers of at least 0"):
            length_batches(lengths, 10)


# --- batches of pairs ----------------------------------------------------------------------------------------------


def check_batch(batch: PairBatch, pairs: EncodedPairs) -> None:
    for at, row in enumerate(batch.rows.tolist()):
        source, target = pairs.source[row].tolist(), pairs.target[row].tolist()
        begin, end = batch.target_in.offsets[at : at + 2].tolist()
        assert batch.source[at].tolist() == [*source, Vocabulary.eos]
        assert batch.target_in[at].tolist() == [Vocabulary.bos, *target]
        assert batch.target_out[begin:end].tolist() == [*target, Vocabulary.eos]
    assert batch.num_tokens == len(batch.target_out) == batch.target_in.num_steps


@pytest.mark.parametrize("epoch", [0, 3])
def test_an_epoch_loads_every_pair_once(epoch: int) -> None:
    batches = BucketedBatches(ENCODED, budget=100, seed=5)
    plan = batches.plan(epoch)
    loaded = [batches.load(item) for item in plan]
    assert sorted(torch.cat([batch.rows for batch in loaded]).tolist()) == list(range(len(batches)))
    for batch in loaded:
        check_batch(batch, ENCODED)
        longest = max(batch.source.max_length, batch.target_in.max_length)
        assert len(batch) == 1 or len(batch) * longest <= 100


def test_a_plan_depends_on_seed_and_epoch_alone() -> None:
    def plan(seed: int, epoch: int) -> list[list[int]]:
        batches = BucketedBatches(ENCODED, budget=100, seed=seed)
        batches.plan(epoch + 1)  # what was asked before does not count
        return [item.rows.tolist() for item in batches.plan(epoch)]

    assert plan(0, 1) == plan(0, 1)
    assert plan(0, 1) != plan(0, 2)
    assert plan(0, 1) != plan(1, 1)


def test_empty_sentences_still_have_their_ends() -> None:
    empty = Ragged(torch.zeros(0, dtype=torch.int64), torch.zeros(3, dtype=torch.int64))
    batches = BucketedBatches(EncodedPairs(empty, empty), budget=10)
    (item,) = batches.plan(0)
    check_batch(batches.load(item), EncodedPairs(empty, empty))


def test_no_pairs_make_an_empty_plan() -> None:
    assert BucketedBatches(encode_pairs([], VOCABULARY), budget=10).plan(0) == []


def test_other_subwords_in_every_epoch() -> None:
    samplers = [SubwordSampler(VOCABULARY, [pair[side] for pair in PAIRS], 0.3) for side in (0, 1)]  # type: ignore[misc]

    def resample(epoch: int) -> EncodedPairs:
        source, target = (sampler.sample(seed, epoch) for seed, sampler in enumerate(samplers))
        return EncodedPairs(source, target)

    batches = BucketedBatches(ENCODED, budget=100, resample=resample)
    plans = [batches.plan(epoch) for epoch in (0, 1)]
    for epoch in (1, 0, 1):  # a resumed run may ask for any epoch
        for item in plans[epoch]:
            check_batch(batches.load(item), resample(epoch))
    assert [i.rows.tolist() for i in batches.plan(0)] == [i.rows.tolist() for i in plans[0]]


def test_resampling_must_keep_the_examples() -> None:
    batches = BucketedBatches(ENCODED, budget=100, resample=lambda epoch: encode_pairs(PAIRS[:3], VOCABULARY))
    with pytest.raises(ShapeError, match="`resample` must give all 60 examples, got 3"):
        batches.plan(0)


def test_two_vocabularies_can_differ() -> None:
    letters = train_tokenizer(LINES, "char", 50)
    encoded = encode_pairs(PAIRS[:2], VOCABULARY, letters)
    assert encoded.source[1].tolist() == VOCABULARY.encode(PAIRS[1].source)
    assert encoded.target[1].tolist() == letters.encode(PAIRS[1].target)


def test_sides_must_have_as_many_sentences() -> None:
    with pytest.raises(ShapeError, match="as many sequences, got 60 and 1"):
        EncodedPairs(ENCODED.source, VOCABULARY.encode_batch(["one"]))


def one_batch() -> PairBatch:
    batches = BucketedBatches(ENCODED, budget=400)
    return batches.load(max(batches.plan(0), key=lambda item: len(item.rows)))


def test_a_batch_moves_as_one() -> None:
    moved = one_batch().to("meta")
    parts = (moved.source.values, moved.target_in.offsets, moved.target_out, moved.rows)
    assert all(part.device.type == "meta" for part in parts)


@pytest.mark.parametrize("parts", [2, 3])
def test_shares_of_several_processes_are_the_batch(parts: int) -> None:
    batches = BucketedBatches(ENCODED, budget=120)
    for item in batches.plan(0):
        shares = [share for share in batches.split(item, parts) if share is not None]
        assert sorted(row for share in shares for row in share.rows.tolist()) == sorted(item.rows.tolist())
        assert {share.epoch for share in shares} == {item.epoch}
        assert sum(len(batches.load(share)) for share in shares) == len(item.rows)


def test_a_batch_of_one_example_leaves_the_other_process_none() -> None:
    batches = BucketedBatches(ENCODED, budget=1)
    assert batches.split(batches.plan(0)[0], 2)[1] is None
