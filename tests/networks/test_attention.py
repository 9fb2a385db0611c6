"""Attention against formulas, torch and the papers' limits: no padding, no memory, no NaN."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, ShapeError
from recurra.networks.attention import (
    AdditiveAttention,
    Attention,
    DotAttention,
    GeneralAttention,
    Memory,
    MultiHeadAttention,
    masked_softmax,
)
from recurra.ragged import Ragged
from tests.tolerance import assert_close

KINDS: dict[str, Callable[[], Attention]] = {
    "dot": lambda: DotAttention(4),
    "scaled dot": lambda: DotAttention(4, scale=0.5),
    "general": lambda: GeneralAttention(6, 4),
    "additive": lambda: AdditiveAttention(6, 4, size=5),
    "multi-head": lambda: MultiHeadAttention(6, 4, num_heads=3),
}


@pytest.fixture(params=KINDS)
def attention(request: pytest.FixtureRequest) -> Attention:
    made = KINDS[request.param]().double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


def sequences(size: int, lengths: tuple[int, ...]) -> Ragged:
    return Ragged.from_list([torch.randn(length, size, dtype=torch.float64) for length in lengths])


def score_by_formula(attention: Attention, h: Tensor, m: Tensor) -> Tensor:
    """The score of every pair as the paper writes it. Shapes: h [T, H], m [S, M] -> [T, S]."""
    if isinstance(attention, DotAttention):
        return torch.einsum("th,sh->ts", h, m) * attention.scale
    if isinstance(attention, GeneralAttention):
        return torch.einsum("th,hm,sm->ts", h, attention.weight, m)
    assert isinstance(attention, AdditiveAttention)
    w, u, b = attention.query.weight, attention.memory.weight, attention.memory.bias
    hidden = torch.tanh(torch.einsum("ah,th->ta", w, h)[:, None] + torch.einsum("am,sm->sa", u, m)[None] + b)
    return torch.einsum("a,tsa->ts", attention.weight, hidden)


@pytest.mark.parametrize("kind", ["dot", "scaled dot", "general", "additive"])
def test_contexts_and_weights_are_those_of_the_formula(kind: str) -> None:
    attention = KINDS[kind]().double()
    queries = sequences(attention.query_size, (3, 1, 2))
    memory = sequences(4, (2, 5, 1))

    context, weights = attention(queries, memory)

    for row in range(3):
        expected = score_by_formula(attention, queries[row], memory[row]).softmax(-1)
        t, s = expected.shape
        assert_close(weights[row, :t, :s], expected, relative=1e-12)
        assert_close(context[row], torch.einsum("ts,sm->tm", expected, memory[row]), relative=1e-12)
        assert weights[row, t:].abs().sum() == 0
        assert weights[row, :, s:].abs().sum() == 0


@pytest.mark.parametrize("memory_size", [6, 4])
def test_multi_head_attention_equals_torchs(memory_size: int) -> None:
    twin = nn.MultiheadAttention(6, 3, kdim=memory_size, vdim=memory_size, batch_first=True).double()
    nn.init.normal_(twin.in_proj_bias)
    nn.init.normal_(twin.out_proj.bias)
    ours = MultiHeadAttention(6, memory_size, num_heads=3).double()
    weights = dict(twin.state_dict())
    if memory_size == 6:  # torch keeps the three side by side where sizes are one
        stacked = weights.pop("in_proj_weight").chunk(3)
        weights |= dict(zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), stacked, strict=True))
    ours.load_state_dict(weights)
    queries = torch.randn(2, 3, 6, dtype=torch.float64)
    memory = torch.randn(2, 5, memory_size, dtype=torch.float64)
    lengths = torch.tensor([5, 2])

    context, attended = ours(queries, memory, lengths)
    expected, expected_weights = twin(queries, memory, memory, key_padding_mask=torch.arange(5) >= lengths[:, None])

    assert_close(context, expected, relative=1e-12)
    assert_close(attended, expected_weights, relative=1e-12)


def test_a_ragged_batch_equals_its_sequences_one_by_one(attention: Attention) -> None:
    queries = sequences(attention.query_size, (3, 0, 2, 1))
    memory = sequences(4, (2, 3, 0, 5))

    context, weights = attention(queries, memory)

    assert weights.shape == (4, 3, 5)
    for row in range(4):
        alone, own = attention(queries[row][None], memory[row][None])
        assert_close(context[row], alone[0])
        assert_close(weights[row, : len(queries[row]), : len(memory[row])], own[0])


def test_an_empty_memory_gives_zeros_and_finite_gradients(attention: Attention) -> None:
    queries = torch.randn(2, 3, attention.query_size, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(2, 4, 4, dtype=torch.float64, requires_grad=True)

    context, weights = attention(queries, memory, [0, 2])
    context.square().sum().backward()

    assert context[0].abs().sum() == 0
    assert weights[0].abs().sum() == 0
    assert queries.grad is not None
    assert memory.grad is not None
    assert queries.grad.isfinite().all()
    assert memory.grad[0].abs().sum() == 0
    nothing, no_weights = attention(queries, memory[:, :0])
    assert nothing.abs().sum() == 0
    assert no_weights.shape == (2, 3, 0)


def test_a_nan_in_the_padding_never_leaks(attention: Attention) -> None:
    queries = torch.randn(2, 3, attention.query_size, dtype=torch.float64)
    clean = torch.randn(2, 4, 4, dtype=torch.float64)
    spoiled = clean.clone()
    spoiled[0, 2:] = float("nan")
    spoiled.requires_grad_()

    context, weights = attention(queries, spoiled, [2, 4])
    context.sum().backward()

    expected, expected_weights = attention(queries, clean, [2, 4])
    assert_close(context, expected)
    assert_close(weights, expected_weights)
    assert spoiled.grad is not None
    assert spoiled.grad.isfinite().all()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in attention.parameters())


def test_weights_sum_to_one_where_there_is_a_memory(attention: Attention) -> None:
    _, weights = attention(sequences(attention.query_size, (3, 3)), sequences(4, (2, 5)))

    assert_close(weights.sum(-1), torch.ones(2, 3, dtype=torch.float64))


def test_a_prepared_memory_gives_the_same_and_is_not_projected_again(
    attention: Attention, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = torch.randn(2, 3, attention.query_size, dtype=torch.float64)
    memory = sequences(4, (2, 5))
    expected, expected_weights = attention(queries, memory)
    ready = attention.prepare(memory)
    monkeypatch.setattr(attention, "prepare", None)
    monkeypatch.setattr(attention, "keys", None)

    for step in range(3):
        context, weights = attention(queries[:, step : step + 1], ready)
        assert_close(context, expected[:, step : step + 1])
        assert_close(weights, expected_weights[:, step : step + 1])
    assert isinstance(ready, Memory)


def test_gradients_are_those_of_finite_differences(attention: Attention) -> None:
    queries = torch.randn(2, 2, attention.query_size, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(lambda q, m: attention(q, m, [3, 2])[0], (queries, memory))


def test_masked_softmax_ignores_what_is_masked() -> None:
    scores = torch.tensor([[1.0, float("inf"), 2.0], [5.0, 6.0, 7.0]])
    mask = torch.tensor([[True, False, True], [False, False, False]])

    weights = masked_softmax(scores, mask)

    assert weights[0].tolist() == pytest.approx([1 / (1 + math.e), 0, math.e / (1 + math.e)])
    assert weights[1].tolist() == [0, 0, 0]


def test_what_does_not_fit_is_refused() -> None:
    attention = GeneralAttention(6, 4)
    queries, memory = torch.zeros(2, 3, 6), torch.zeros(2, 5, 4)
    with pytest.raises(ShapeError, match=r"`queries` must have shape \[B, T, H=6\], got \[2, 3, 4\]"):
        attention(torch.zeros(2, 3, 4), memory)
    with pytest.raises(ShapeError, match=r"`queries` must have shape \[N, H=6\]"):
        attention(Ragged.from_list([torch.zeros(3, 4)]), memory[:1])
    with pytest.raises(ShapeError, match="`queries` hold 2 sequences and `memory` 1"):
        attention(queries, memory[:1])
    with pytest.raises(ShapeError, match=r"or have shape \[B, S, M=4\]"):
        attention(queries, torch.zeros(2, 5, 3))
    with pytest.raises(ShapeError, match=r"`memory\.values` must have shape \[N, M=4\]"):
        attention.prepare(Ragged.from_list([torch.zeros(5, 3)]))
    with pytest.raises(ShapeError, match=r"within 0\.\.5, got \[6, 1\]"):
        attention(queries, memory, [6, 1])
    with pytest.raises(ShapeError, match="a Ragged carries its own"):
        attention.prepare(Ragged.from_list([torch.zeros(5, 4)]), [5])
    with pytest.raises(ConfigError, match="`num_heads` must divide the size of a query, 6, got 4"):
        MultiHeadAttention(6, 4, num_heads=4)
    for size in (0, 4.0, "4"):
        with pytest.raises(ConfigError, match=f"`memory_size` must be a whole number of at least 1, got {size!r}"):
            GeneralAttention(6, size)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=f"`num_heads` must be a whole number of at least 1, got {size!r}"):
            MultiHeadAttention(6, 4, num_heads=size)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`scale` must be a number, got None"):
        DotAttention(4, scale=None)  # type: ignore[arg-type]


def test_the_print_says_sizes() -> None:
    assert "query_size=6, memory_size=4, num_heads=3" in repr(MultiHeadAttention(6, 4, num_heads=3))


def test_the_hidden_layer_of_additive_attention_has_a_unit_at_least() -> None:
    with pytest.raises(ConfigError, match="`size` must be a whole number of at least 1, got 0"):
        AdditiveAttention(4, 4, size=0)


def test_additive_attention_is_drawn_anew_as_it_was_made() -> None:
    torch.manual_seed(5)
    made = AdditiveAttention(4, 3, size=6)
    again = copy.deepcopy(made)
    for parameter in again.parameters():
        nn.init.zeros_(parameter)

    torch.manual_seed(5)
    again.reset_parameters()

    for name, weight in made.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight)


def test_lengths_belong_to_padded_memories_and_are_whole() -> None:
    attention, memory, queries = DotAttention(4), torch.randn(2, 5, 4), torch.randn(2, 1, 4)
    with pytest.raises(ShapeError, match="a prepared one carries its own"):
        attention(queries, attention.prepare(memory), [2, 5])
    for lengths in ([1.5, 2.0], torch.tensor([True, False])):
        with pytest.raises(ShapeError, match=r"`lengths` must be 2 whole numbers within 0\.\.5"):
            attention(queries, memory, lengths)
