"""The encoder-decoder: all steps at once equal step by step, a batch equals its pairs, and it learns."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from recurra.cells import GRU, LSTM, RNN
from recurra.errors import ConfigError, ShapeError
from recurra.networks.attention import (
    AdditiveAttention,
    Attention,
    DotAttention,
    GeneralAttention,
    MultiHeadAttention,
)
from recurra.networks.decoding import beam_search, greedy, sample
from recurra.networks.encoder_decoder import EncoderDecoder, _Feeding
from recurra.networks.linear_cross_entropy import linear_cross_entropy
from recurra.networks.recurrent import Recurrent
from recurra.ragged import Ragged
from tests.tolerance import assert_close

ATTENTIONS: dict[str, Any] = {
    "none": lambda: None,
    "dot": lambda: DotAttention(8),
    "general": lambda: GeneralAttention(8, 8),
    "additive": lambda: AdditiveAttention(8, 8),
    "multi-head": lambda: MultiHeadAttention(8, 8, num_heads=2),
}


def make(
    attention: Attention | None,
    *,
    encoder: Any = GRU,
    decoder: Any = LSTM,
    input_feeding: bool = False,
    encoder_options: dict[str, Any] | None = None,
    decoder_options: dict[str, Any] | None = None,
    engine: str = "auto",
    **options: Any,
) -> EncoderDecoder:
    embedding = nn.Embedding(12, 6)
    reads = Recurrent(encoder(6, 4), num_layers=2, bidirectional=True, engine=engine, **(encoder_options or {}))
    writes = Recurrent(decoder(12 if input_feeding else 6, 8), num_layers=3, engine=engine, **(decoder_options or {}))
    options = {"source_embedding": embedding, "target_embedding": embedding, "tie_output": True, **options}
    return EncoderDecoder(reads, writes, attention, input_feeding=input_feeding, **options).double()


def pairs(lengths: list[tuple[int, int]]) -> tuple[Ragged, Ragged]:
    sources = [torch.randint(12, (source,)) for source, _ in lengths]
    targets = [torch.randint(12, (target,)) for _, target in lengths]
    return Ragged.from_list(sources), Ragged.from_list(targets)


PAIRS = [(4, 3), (1, 5), (0, 2), (6, 0), (2, 1)]


@pytest.mark.parametrize("input_feeding", [False, True], ids=["attention behind", "input feeding"])
@pytest.mark.parametrize(
    ("kind", "lexical"), [*((kind, False) for kind in ATTENTIONS), ("dot", True), ("general", True), ("additive", True)]
)
def test_all_steps_at_once_equal_step_by_step_pair_by_pair(kind: str, lexical: bool, input_feeding: bool) -> None:
    network = make(ATTENTIONS[kind](), input_feeding=input_feeding, lexical=lexical).eval()
    source, previous = pairs(PAIRS)

    logits, state = network(source, previous)

    weights = None if kind == "none" else network.align(source, previous)
    for row, (source_length, target_length) in enumerate(PAIRS):
        alone = network.encode(Ragged.from_list([source[row]]))
        for t, token in enumerate(previous[row]):
            step_logits, alone = network.step(token[None], alone)
            assert_close(step_logits[0], logits[row][t])
            if weights is not None:
                assert_close(alone.alignment[0], weights[row, t, :source_length])
        for one, other in zip(alone.cells, state.cells, strict=True):
            for field, wanted in zip(one, other, strict=True):
                assert_close(field[0], wanted[row])
        if kind != "none":
            assert_close(alone.alignment[0], state.alignment[row, :source_length])
            assert weights is not None
            assert weights[row, target_length:].abs().sum() == 0


@pytest.mark.parametrize("input_feeding", [False, True], ids=["attention behind", "input feeding"])
@pytest.mark.parametrize("encoder", [RNN, LSTM, GRU])
@pytest.mark.parametrize("decoder", [RNN, LSTM, GRU])
def test_any_cells_go_together_and_everything_gets_a_gradient(encoder: Any, decoder: Any, input_feeding: bool) -> None:
    cells = {"encoder": encoder, "decoder": decoder}
    network = make(GeneralAttention(8, 8), **cells, input_feeding=input_feeding, engine="reference")

    network.hidden(*pairs(PAIRS)).square().sum().backward()

    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert without == ["bias"]  # the features do not see the output layer


def test_features_are_the_attentional_vector_of_the_paper() -> None:
    network = make(GeneralAttention(8, 8)).eval()
    source, previous = pairs([(4, 3)])
    memory, _ = network.encoder(source.map(network.target_embedding))
    h, _ = network.decoder(previous.map(network.target_embedding), network.encode(source).cells)
    assert network.attention is not None
    context, _ = network.attention(h, memory)
    w, b = network.combine.weight, network.combine.bias

    expected = torch.tanh(torch.cat([context.values, h.values], 1) @ w.T + b)

    assert_close(network.hidden(source, previous), expected)
    logits = network(source, previous)[0].values
    assert_close(logits, expected @ network.target_embedding.weight.T + network.bias)


def test_the_lexical_way_adds_what_the_words_attended_to_mean_alone() -> None:
    network = make(GeneralAttention(8, 8), lexical=True, embedding_scale=3.0).eval()
    source, previous = pairs([(4, 3)])
    features, _ = network.write(previous, network.encode(source))
    weights = network.align(source, previous)[0]
    f = torch.tanh(weights @ (3 * network.target_embedding(source.values)))
    assert network.lexical is not None
    lexical = torch.tanh(f @ network.lexical.weight.T) + f

    network.lexical = None  # the same network without that way

    plain, _ = network.write(previous, network.encode(source))
    assert_close(features.values, plain.values + lexical)


def test_the_lexical_way_needs_weights_and_words() -> None:
    for attention in (None, MultiHeadAttention(8, 8, num_heads=2)):
        with pytest.raises(ConfigError, match="one set of weights: dot, general or additive"):
            make(attention, lexical=True)
    with pytest.raises(ConfigError, match="size of the features 5, got one of size 6"):
        make(GeneralAttention(8, 8), lexical=True, tie_output=False, feature_size=5)
    with pytest.raises(ConfigError, match="source embedding of the size of the features 6, got none"):
        make(GeneralAttention(8, 8), lexical=True, source_embedding=None)


def test_under_input_feeding_each_forward_has_the_same_kind_of_state() -> None:
    network = make(DotAttention(8), input_feeding=True).eval()
    kinds = [_Feeding(network, network.encode(Ragged.from_list([torch.tensor([4, 5])]))).State for _ in range(2)]
    assert kinds[0] is kinds[1]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own look at inputs
def test_torch_compile_changes_no_number_of_input_feeding() -> None:
    torch.compiler.reset()
    network = make(GeneralAttention(8, 8), input_feeding=True)
    source, previous = pairs(PAIRS)
    compiled = torch.compile(network, backend="aot_eager")

    def results(run: Any) -> list[torch.Tensor]:
        logits, state = run(source, previous)
        loss = logits.values.square().sum()
        return [logits.values, state.feed, state.alignment, *torch.autograd.grad(loss, list(network.parameters()))]

    for _ in range(2):
        for got, want in zip(results(compiled), results(network), strict=True):
            assert torch.equal(got, want)
    torch.compiler.reset()


def test_input_feeding_gives_the_features_to_the_next_step() -> None:
    network = make(DotAttention(8), input_feeding=True).eval()
    source, previous = pairs([(4, 2)])
    state = network.encode(source)
    features, _ = network.write(previous, state)

    x = torch.cat([network.target_embedding(previous[0]), torch.stack([torch.zeros(6), features[0][0]])], 1)
    h, _ = network.decoder(x[:, None].double(), state.cells)
    assert network.attention is not None
    context, _ = network.attention(h.transpose(0, 1), state.memory.value)

    assert_close(features.values, torch.tanh(network.combine(torch.cat([context[0], h[:, 0]], 1))))


def test_a_target_in_chunks_equals_the_whole() -> None:
    for input_feeding in (False, True):
        network = make(GeneralAttention(8, 8), input_feeding=input_feeding).eval()
        source, previous = pairs([(4, 6), (3, 6)])
        begin = network.encode(source)
        rows = previous.to_padded()

        whole, end = network.write(previous, begin)
        first, state = network.write(Ragged.from_padded(rows[:2]), begin)
        second, state = network.write(Ragged.from_padded(rows[2:]), state)

        assert_close(torch.cat([first.to_padded(), second.to_padded()]), whole.to_padded())
        assert_close(state.cells[0].h, end.cells[0].h)
        assert_close(state.alignment, end.alignment)


def test_weights_are_tied_and_stored_once() -> None:
    three = make(None)
    two = make(None, source_embedding=nn.Embedding(9, 6))
    none = make(None, tie_output=False)

    assert three.weight is three.target_embedding.weight
    for network in (three, two, none):
        names = [name for name in network.state_dict() if name.endswith("embedding.weight") or name == "output_weight"]
        assert len({network.state_dict()[name].data_ptr() for name in names}) == len(names)
    assert "source_embedding.weight" not in three.state_dict()
    assert two.state_dict()["source_embedding.weight"].shape == (9, 6)
    assert none.weight is none.output_weight
    assert none.weight.shape == (12, 6)


def test_a_copy_and_a_loaded_state_dict_compute_the_same() -> None:
    network, other = make(GeneralAttention(8, 8)).eval(), make(GeneralAttention(8, 8)).eval()
    batch = pairs(PAIRS)

    other.load_state_dict(network.state_dict())

    assert torch.equal(copy.deepcopy(network).hidden(*batch), network.hidden(*batch))
    assert torch.equal(other.hidden(*batch), network.hidden(*batch))


def test_a_source_of_vectors_is_read_as_it_is() -> None:
    network = make(GeneralAttention(8, 8), source_embedding=None).eval()
    _, previous = pairs([(0, 2), (0, 3)])
    source = Ragged.from_list([torch.randn(4, 6, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)])

    assert network.hidden(source, previous).shape == (5, 6)


def test_features_may_have_a_size_of_their_own() -> None:
    network = make(None, tie_output=False, feature_size=5)

    assert network.hidden(*pairs(PAIRS)).shape == (11, 5)
    assert network.weight.shape == (12, 5)


def test_the_scale_multiplies_embeddings() -> None:
    network = make(None, embedding_scale=3.0).eval()
    plain = make(None).eval()
    plain.load_state_dict(network.state_dict())
    with torch.no_grad():
        plain.target_embedding.weight.mul_(3)
    batch = pairs(PAIRS)

    assert_close(network.hidden(*batch), plain.hidden(*batch))


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.5},
        {"embedding_dropout": 0.5},
        {"feature_dropout": 0.5},
        {"memory_dropout": 0.5},
        {"word_dropout": 0.5},
        {"dropout": 0.5, "variational": True},
        {"decoder_options": {"dropout": 0.3, "recurrent_dropout": 0.3, "zoneout": 0.1, "weight_drop": 0.2}},
    ],
    ids=str,
)
@pytest.mark.parametrize("input_feeding", [False, True], ids=["attention behind", "input feeding"])
def test_training_drops_and_evaluation_does_not(options: dict[str, Any], input_feeding: bool) -> None:
    network = make(GeneralAttention(8, 8), input_feeding=input_feeding, engine="reference", **options)
    batch = pairs(PAIRS)

    assert not torch.equal(network.hidden(*batch), network.hidden(*batch))
    network.hidden(*batch).sum().backward()
    network.eval()
    assert torch.equal(network.hidden(*batch), network.hidden(*batch))


def test_words_are_dropped_as_a_whole() -> None:
    network = make(None, word_dropout=0.5)

    x = network._drop_words(Ragged.from_list([torch.ones(200, 6)])).values

    assert set(map(tuple, x.tolist())) == {(0.0,) * 6, (2.0,) * 6}


@pytest.mark.parametrize("input_feeding", [False, True], ids=["attention behind", "input feeding"])
def test_it_learns_to_write_a_sequence_backwards(input_feeding: bool) -> None:
    begin, end = 0, 1
    embedding = nn.Embedding(8, 16)
    nn.init.normal_(embedding.weight, std=0.25)
    size = 32 if input_feeding else 16
    network = EncoderDecoder(
        Recurrent(GRU(16, 16), bidirectional=True),
        Recurrent(GRU(size, 32)),
        GeneralAttention(32, 32),
        source_embedding=embedding,
        target_embedding=embedding,
        tie_output=True,
        embedding_scale=4.0,
        input_feeding=input_feeding,
    )
    source = Ragged.from_list([torch.randint(2, 8, (3,)) for _ in range(48)])
    target = source.reverse()
    previous = Ragged.from_list([torch.cat([torch.tensor([begin]), row]) for row in target])
    wanted = torch.cat([torch.cat([row, torch.tensor([end])]) for row in target])
    optimizer = torch.optim.Adam(network.parameters(), 2e-2)
    for _ in range(80):
        loss = linear_cross_entropy(network.hidden(source, previous), network.weight, network.bias, wanted)
        optimizer.zero_grad()
        (loss.loss / len(wanted)).backward()
        optimizer.step()

    network.eval()
    state = network.encode(source)
    options: dict[str, Any] = {"bos": begin, "eos": end, "max_length": source.lengths + 2}
    beam = beam_search(network.step, state, **options, alignment=lambda state: state.alignment)
    first = greedy(network.step, state, **options)
    drawn = sample(network.step, state, **options, temperature=0.01, num_samples=2)

    truth = [row.tolist() for row in target]
    assert sum(found[0].tokens == row for found, row in zip(beam, truth, strict=True)) >= 45
    assert sum(found.tokens == row for found, row in zip(first, truth, strict=True)) >= 45
    assert sum(found[1].tokens == row for found, row in zip(drawn, truth, strict=True)) >= 45
    assert beam[0][0].alignment is not None
    assert_close(beam[0][0].alignment.sum(1), torch.ones(len(beam[0][0].log_probs)))


@pytest.mark.parametrize("input_feeding", [False, True], ids=["attention behind", "input feeding"])
def test_log_probabilities_of_a_search_are_those_of_the_network(input_feeding: bool) -> None:
    network = make(GeneralAttention(8, 8), input_feeding=input_feeding).eval()
    source, _ = pairs([(4, 0), (2, 0), (3, 0)])

    found = beam_search(network.step, network.encode(source), bos=2, eos=3, max_length=6, num_best=3)

    for row, hypotheses in enumerate(found):
        for hypothesis in hypotheses:
            written = Ragged.from_list([torch.tensor([2, *hypothesis.tokens])])
            logits, _ = network(Ragged.from_list([source[row]]), written)
            wanted = torch.tensor([*hypothesis.tokens, 3])
            expected = -functional.cross_entropy(logits.values, wanted, reduction="none")
            assert_close(torch.tensor(hypothesis.log_probs, dtype=torch.float64), expected)


def test_an_empty_batch_is_legal() -> None:
    network = make(GeneralAttention(8, 8)).eval()
    nothing = Ragged(torch.zeros(0, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))

    assert network.hidden(nothing, nothing).shape == (0, 6)
    assert beam_search(network.step, network.encode(nothing), bos=0, eos=1, max_length=3) == []


def test_sizes_that_do_not_fit_are_refused() -> None:
    def build(**changes: Any) -> EncoderDecoder:
        parts = {
            "encoder": Recurrent(GRU(6, 4)),
            "decoder": Recurrent(GRU(6, 8)),
            "attention": GeneralAttention(8, 4),
            "target_embedding": nn.Embedding(12, 6),
            "source_embedding": nn.Embedding(12, 6),
        }
        return EncoderDecoder(**{**parts, **changes})  # type: ignore[arg-type]

    assert build() is not None
    for changes, message in (
        ({"source_embedding": nn.Embedding(12, 5)}, "`encoder` takes 6 numbers a step, the source embedding gives 5"),
        ({"target_embedding": nn.Embedding(12, 5)}, "`decoder` takes 6 numbers a step, the target embedding gives 5"),
        ({"attention": GeneralAttention(7, 4)}, "query_size=7, it must be 8"),
        ({"attention": GeneralAttention(8, 5)}, "memory_size=5, it must be 4"),
        ({"decoder": Recurrent(GRU(6, 8), bidirectional=True)}, "one direction"),
        ({"input_feeding": True}, "the target embedding with the features gives 12"),
        ({"tie_output": True, "feature_size": 5}, "`tie_output` needs features of the size .* 6, got `feature_size=5`"),
        ({"dropout": 2.0}, "`dropout` must be a probability"),
        *(({name: "no"}, f"`{name}` must be true or false, got 'no'") for name in ("tie_output", "variational")),
        *(({name: "no"}, f"`{name}` must be true or false, got 'no'") for name in ("input_feeding", "lexical")),
        ({"feature_size": 5.0}, "`feature_size` must be a whole number of at least 1, got 5.0"),
        ({"embedding_scale": None}, "`embedding_scale` must be a number, got None"),
        ({"encoder": GRU(6, 4)}, r"`encoder` must be a recurra\.Recurrent, got a GRU"),
        (
            {"decoder": Recurrent(GRU(12, 8), num_layers=2, variational_dropout=0.1), "input_feeding": True},
            "not with `input_feeding`",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            build(**changes)


def test_inputs_that_do_not_fit_are_refused() -> None:
    network = make(None)
    source, previous = pairs([(4, 3), (1, 5)])
    with pytest.raises(ShapeError, match="`previous` holds 1 sequences and the source 2"):
        network.hidden(source, Ragged.from_list([previous[0]]))
    with pytest.raises(ShapeError, match=r"`previous\.values` must be tokens of shape \[N\]"):
        network.hidden(source, previous.map(lambda tokens: tokens[:, None]))
    with pytest.raises(ShapeError, match=r"`source\.values` must be tokens of shape \[N\]"):
        network.hidden(source.map(lambda tokens: tokens[:, None]), previous)
    with pytest.raises(ShapeError, match=r"`tokens` must have shape \[R=2\]"):
        network.step(torch.zeros(3, dtype=torch.int64), network.encode(source))
    with pytest.raises(ConfigError, match="has no attention"):
        network.align(source, previous)
    feeding = make(DotAttention(8), input_feeding=True)
    with pytest.raises(ConfigError, match="Resets inside a target sequence"):
        feeding.hidden(source, Ragged(previous.values, previous.offsets, torch.tensor([1])))


def test_the_print_says_what_is_tied() -> None:
    text = repr(make(DotAttention(8), dropout=0.1, input_feeding=True))

    assert "tie_output=True, tied_embeddings=True, input_feeding=True, embedding_dropout=0.1" in text
