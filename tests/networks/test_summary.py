"""The table of a network and its drawing."""

from __future__ import annotations

import textwrap

import pytest
from torch import nn

from recurra.cells import GRU, LSTM, RNN, ConvGRU
from recurra.networks.attention import DotAttention
from recurra.networks.encoder_decoder import EncoderDecoder
from recurra.networks.recurrent import Recurrent
from recurra.networks.sequence_models import ManyToMany, ManyToOne, OneToMany, OneToOne
from recurra.networks.summary import summary, unrolled


def classic() -> ManyToOne:
    return ManyToOne(LSTM(64, 128, bias="single"), 10, embedding=nn.Embedding(1000, 64), batch_first=True)


def translator(**options: bool) -> EncoderDecoder:
    embedding = nn.Embedding(100, 16)
    return EncoderDecoder(
        Recurrent(GRU(16, 4), bidirectional=True),
        Recurrent(LSTM(16, 8)),
        DotAttention(8),
        source_embedding=embedding,
        target_embedding=embedding,
        **options,
    )


def test_the_classic_classifier_counts_as_textbooks_do() -> None:
    table = summary(classic())

    assert [layer.parameters for layer in table.layers] == [64_000, 98_816, 1_290]
    assert table.parameters == table.trainable == 164_106
    assert [layer.kind for layer in table.layers] == ["Embedding", "LSTM", "OutputLayer"]
    assert [layer.output for layer in table.layers] == ["[T, B, 64]", "[T, B, 128]", "[B, 10]"]
    assert table.layers[1].state == {"h": 128, "c": 128}
    assert table.state_size == 256
    assert "64,000 + 98,816 + 1,290 = 164,106" in str(table) == repr(table)


def test_the_norm_of_images_has_their_shape() -> None:
    table = summary(Recurrent(ConvGRU(1, 2, size=(3, 5)), layer_norm=True))

    assert {layer.kind: layer.output for layer in table.layers} == dict.fromkeys(
        ["ConvGRU", "LayerNorm"], "[T, B, 2, 3, 5]"
    )


def test_frozen_parameters_are_not_trainable() -> None:
    network = classic()
    assert network.embedding is not None
    network.embedding.weight.requires_grad_(False)

    assert summary(network).trainable == 100_106
    assert summary(network).parameters == 164_106


@pytest.mark.parametrize(
    "network",
    [
        translator(),
        translator(tie_output=True),
        ManyToMany(Recurrent(GRU(8, 8), num_layers=2, residual=True, layer_norm=True, weight_drop=0.1), 5),
        OneToMany(4, LSTM(3, 6), 3),
        OneToOne(RNN(3, 6), 3),
        ManyToOne(Recurrent(GRU(3, 6), bidirectional=True), 3, pooling="attention"),
        nn.Sequential(nn.Embedding(9, 4), nn.LSTM(4, 5), nn.Linear(5, 2)),
        GRU(3, 4),
        nn.Linear(3, 4),
    ],
    ids=lambda network: type(network).__name__,
)
def test_every_parameter_is_counted_once(network: nn.Module) -> None:
    table = summary(network)

    assert table.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert str(table)


def test_wrappers_and_directions_are_told() -> None:
    table = summary(Recurrent(GRU(3, 4), bidirectional=True, zoneout=0.1, learned_initial_state=True))

    assert [layer.kind for layer in table.layers] == ["GRU + Zoneout + LearnedInitialState"] * 2
    assert [layer.name for layer in table.layers] == ["layers.0.0", "layers.0.1"]


def test_source_and_target_have_steps_of_their_own() -> None:
    outputs = {layer.name: layer.output for layer in summary(translator()).layers}

    assert outputs["encoder.layers.0.1"] == "[S, B, 4]"
    assert outputs["decoder.layers.0.0"] == "[T, B, 8]"
    assert outputs["output"] == "[T, B, 100]"
    assert outputs["bridge"] == "states [B, ...]"


def test_the_drawing_of_many_to_one() -> None:
    expected = """\
                          y
                          ^
                   [OutputLayer 3]
                          ^
                       (last)
                          ^
        [GRU 4]     >  [GRU 4]
           ^              ^
          x1             x2"""

    drawn = unrolled(ManyToOne(GRU(2, 4), 3), num_steps=2)

    assert [line.split() for line in drawn.splitlines()] == [
        line.split() for line in textwrap.dedent(expected).splitlines()
    ]


def test_arrows_show_directions_and_told_outputs() -> None:
    both = unrolled(ManyToMany(Recurrent(GRU(2, 4), bidirectional=True), 3), num_steps=3)
    generated = unrolled(OneToMany(4, GRU(3, 6), 3), num_steps=3)

    assert "[GRU 4]     >" in both
    assert "[GRU 4]     <" in both
    assert generated.splitlines()[-1].split() == ["start", "y1", "y2"]
    assert generated.splitlines()[0].split() == ["y1", "y2", "y3"]
    assert "x > " in generated
    pooled = unrolled(ManyToOne(Recurrent(GRU(2, 4), bidirectional=True), 3), num_steps=3).splitlines()
    assert pooled[5].count("^") == 2  # last of the forward, first of the backward half
    assert unrolled(OneToOne(GRU(2, 4), 3)).splitlines()[-1].split() == ["x1"]


def test_the_drawing_of_an_encoder_decoder_tells_bridge_and_attention() -> None:
    drawn = unrolled(translator(), num_steps=2)

    assert "by the bridge `tanh`" in drawn
    assert "its outputs are the memory of DotAttention" in drawn
    assert drawn.index("decoder:") < drawn.index("encoder:")


def test_all_columns_of_a_drawing_stand_under_each_other() -> None:
    for network in (classic(), Recurrent(LSTM(2, 3), num_layers=2), GRU(2, 3)):
        lines = unrolled(network, num_steps=3).splitlines()
        arrows = [[place for place, letter in enumerate(line) if letter == "^"] for line in lines if "^" in line]
        assert arrows
        assert all(set(places) <= set(arrows[-1]) for places in arrows)


def test_what_is_not_ours_has_no_drawing() -> None:
    assert unrolled(nn.Linear(2, 3)) == ""
