"""The bridge between encoders and decoders of any cells and numbers of layers."""

from __future__ import annotations

import pytest
import torch

from recurra.cells import GRU, LSTM, MLSTM, NTM, QRNN, RNN, SLSTM, Clockwork
from recurra.errors import ConfigError
from recurra.networks.bridge import Bridge
from recurra.networks.recurrent import Recurrent
from tests.tolerance import assert_close


def states(encoder: Recurrent) -> tuple[torch.Tensor, ...]:
    return encoder(torch.randn(3, 2, encoder.input_size))[1]


def test_tanh_of_a_layer_of_both_directions_for_each_field() -> None:
    encoder = Recurrent(LSTM(3, 4), num_layers=2, bidirectional=True)
    decoder = Recurrent(LSTM(3, 5), num_layers=2)
    bridge = Bridge(encoder, decoder)
    ends = states(encoder)

    made = bridge(ends, decoder, 2, like=torch.zeros(1))

    for layer in range(2):
        for field in ("h", "c"):
            e = torch.cat([getattr(ends[2 * layer], field), getattr(ends[2 * layer + 1], field)], 1)
            assert_close(getattr(made[layer], field), torch.tanh(bridge.layers[layer][field](e)))


@pytest.mark.parametrize(
    ("encoder_layers", "decoder_layers", "expected"),
    [(2, 2, [0, 1]), (3, 1, [2]), (3, 2, [1, 2]), (1, 3, [0, 0, 0]), (2, 3, [0, 1, 1])],
)
def test_top_layers_stand_opposite_each_other(encoder_layers: int, decoder_layers: int, expected: list[int]) -> None:
    encoder = Recurrent(RNN(4, 4), num_layers=encoder_layers)
    decoder = Recurrent(RNN(4, 4), num_layers=decoder_layers)
    ends = states(encoder)

    made = Bridge(encoder, decoder, "copy")(ends, decoder, 2, like=torch.zeros(1))

    for layer, source in enumerate(expected):
        assert torch.equal(made[layer].h, ends[source].h)


def test_a_field_that_the_encoder_has_not_is_made_of_all_it_has() -> None:
    gru, lstm = Recurrent(GRU(3, 4), bidirectional=True), Recurrent(LSTM(3, 5))
    ends = states(gru)
    bridge = Bridge(gru, lstm, "linear")

    (made,) = bridge(ends, lstm, 2, like=torch.zeros(1))

    e = torch.cat([ends[0].h, ends[1].h], 1)
    assert_close(made.c, bridge.layers[0]["c"](e))
    back = Bridge(lstm, Recurrent(GRU(3, 4)), "tanh")
    assert back(states(lstm), Recurrent(GRU(3, 4)), 2, like=torch.zeros(1))[0].h.shape == (2, 4)


def test_copy_and_sum_keep_numbers() -> None:
    encoder = Recurrent(LSTM(3, 4), bidirectional=True)
    ends = states(encoder)
    wide, narrow = Recurrent(LSTM(3, 8)), Recurrent(LSTM(3, 4))

    (copied,) = Bridge(encoder, wide, "copy")(ends, wide, 2, like=torch.zeros(1))
    (summed,) = Bridge(encoder, narrow, "sum")(ends, narrow, 2, like=torch.zeros(1))

    assert torch.equal(copied.c, torch.cat([ends[0].c, ends[1].c], 1))
    assert torch.equal(summed.h, ends[0].h + ends[1].h)


def test_none_leaves_the_decoders_own_beginning() -> None:
    encoder, decoder = Recurrent(RNN(3, 4)), Recurrent(RNN(3, 4), learned_initial_state=True)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.fill_(0.5)

    (made,) = Bridge(encoder, decoder, "none")(states(encoder), decoder, 2, like=torch.zeros(1))

    assert torch.equal(made.h, torch.full((2, 4), 0.5))


def test_masks_of_recurrent_dropout_are_drawn_and_not_bridged() -> None:
    encoder, decoder = Recurrent(RNN(3, 4)), Recurrent(RNN(3, 40), recurrent_dropout=0.5)

    (made,) = Bridge(encoder, decoder)(states(encoder), decoder, 2, like=torch.zeros(1))

    assert made.h.abs().max() < 1
    assert set(made.h_mask.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("kind", ["tanh", "linear", "sum"])
def test_a_field_that_is_not_free_begins_as_it_always_does(kind: str) -> None:
    for cell in (Clockwork(3, 4), SLSTM(3, 4), QRNN(3, 4), NTM(3, 4, memory_size=5, word_size=2)):
        encoder, decoder = Recurrent(cell), Recurrent(cell.clone())
        bridge = Bridge(encoder, decoder, kind)
        (made,), (begin,) = bridge(states(encoder), decoder, 2, like=torch.zeros(1)), decoder.initial_state(2)
        for name in cell.State._fields:
            assert torch.equal(getattr(made, name), getattr(begin, name)) == (name not in cell.free_fields), name


def test_what_is_not_free_of_the_encoder_is_read_only_where_nothing_is() -> None:
    for cell in (Clockwork(3, 4), SLSTM(3, 4), QRNN(3, 4), NTM(3, 4, memory_size=5, word_size=2)):
        encoder, decoder = Recurrent(cell), Recurrent(LSTM(3, 5))
        bridge, (end,) = Bridge(encoder, decoder, "linear"), states(encoder)
        others = {name: torch.full_like(getattr(end, name), 1e6) for name in set(end._fields) - set(cell.free_fields)}
        (made,), (same,) = (bridge([ends], decoder, 2, like=torch.zeros(1)) for ends in (end, end._replace(**others)))
        assert torch.equal(made.h, same.h)
        assert torch.equal(made.c, same.c)
    assert Bridge(Recurrent(MLSTM(3, 4)), Recurrent(GRU(3, 5))).plan == [{"h": ["C", "n", "m"]}]


def test_a_copy_between_cells_of_one_kind_is_the_whole_state() -> None:
    for cell in (Clockwork(3, 4), SLSTM(3, 4), MLSTM(3, 4)):
        encoder, decoder = Recurrent(cell), Recurrent(cell.clone())
        ends = states(encoder)
        for got, want in zip(
            Bridge(encoder, decoder, "copy")(ends, decoder, 2, like=torch.zeros(1))[0], ends[0], strict=True
        ):
            assert torch.equal(got, want)
    encoder, decoder = Recurrent(GRU(3, 4)), Recurrent(SLSTM(3, 4))
    (made,) = Bridge(encoder, decoder, "copy")(states(encoder), decoder, 2, like=torch.zeros(1))
    assert made.h.all()
    assert not made.n.any()


def test_a_decoder_with_nothing_free_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no field of the state of `MLSTM` is free: take the bridge `none`"):
        Bridge(Recurrent(GRU(3, 4)), Recurrent(MLSTM(3, 4)))
    two = Recurrent([MLSTM(3, 4), GRU(4, 4)])
    bridge, ends = Bridge(two, two), states(two)
    mlstm, gru = bridge(ends, two, 2, like=torch.zeros(1))
    assert not mlstm.C.any()
    assert gru.h.all()


@pytest.mark.parametrize("kind", ["copy", "sum"])
def test_sizes_that_do_not_agree_are_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"field `h` of `GRU` has 5 numbers, the encoder gives 4"):
        Bridge(Recurrent(GRU(3, 4)), Recurrent(GRU(3, 5)), kind)
    with pytest.raises(ConfigError, match=r"field `c` of `LSTM` has 4 numbers, the encoder gives 0"):
        Bridge(Recurrent(GRU(3, 4)), Recurrent(LSTM(3, 4)), kind)


def test_an_unknown_bridge_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Unknown bridge `coppy`\. Did you mean `copy`"):
        Bridge(Recurrent(GRU(3, 4)), Recurrent(GRU(3, 4)), "coppy")


def test_the_print_says_the_kind() -> None:
    assert "kind='sum'" in repr(Bridge(Recurrent(GRU(3, 4)), Recurrent(GRU(3, 4)), "sum"))
