"""The network of a translator: what the options make of it, its loss, and its search."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recurra.data.batches import BucketedBatches
from recurra.data.readers import Pair
from recurra.errors import ConfigError
from recurra.tasks.translate.config import TranslateConfig
from recurra.tasks.translate.examples import Vocabularies
from recurra.tasks.translate.network import decode, make_network, translation_loss
from tests.tasks.translate.toy import OPTIONS, PAIRS
from tests.tolerance import assert_close

TOY = [Pair(source, target, line) for line, (source, target) in enumerate(PAIRS, start=1)]


def make(**options: Any) -> tuple[Any, Vocabularies, TranslateConfig]:
    config = TranslateConfig(**(OPTIONS | options))
    vocabularies = Vocabularies.train(TOY, config)
    return make_network(config, vocabularies), vocabularies, config


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "gru"},
        {"cell": "rnn", "cell_options": {"activation": "relu"}},
        {"cell_options": {"peephole": True}},
        {"shared_vocabulary": False},
        {"tie_embeddings": False},
        {"attention": "dot"},
        {"attention": "additive"},
        {"attention": "multi_head"},
        {"attention": "none"},
        {"input_feeding": True, "variational": True, "dropout": 0.1},
        {"encoder_layers": 3, "decoder_layers": 2, "residual": True},
        {"variational": True, "dropout": 0.3, "word_dropout": 0.1, "weight_drop": 0.2, "memory_dropout": 0.1},
        {"zoneout": 0.1},
        {"recurrent_dropout": 0.1},
        {"clip_state_gradient": 1.0},
    ],
    ids=str,
)
def test_every_option_of_the_network_trains_and_translates(options: dict[str, Any]) -> None:
    network, vocabularies, config = make(**options)
    batches = BucketedBatches(vocabularies.encode(TOY), budget=1000)
    (item,) = batches.plan(0)
    batch = batches.load(item)

    loss = translation_loss(config.label_smoothing)(network, batch)
    loss.mean.backward()

    assert loss.count == batch.num_tokens
    silent = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert silent == []
    found = decode(
        network.eval(), batch.source, torch.full((len(TOY),), 6), beam=3, n_best=2, length_penalty=1.0, forbidden=(0, 2)
    )
    assert [len(best) for best in found] == [2] * len(TOY)
    assert (found[0][0].alignment is None) == (config.attention == "none")


def test_the_loss_is_the_cross_entropy_of_the_logits() -> None:
    network, vocabularies, _ = make()
    batches = BucketedBatches(vocabularies.encode(TOY), budget=1000)
    batch = batches.load(batches.plan(0)[0])

    loss = translation_loss(0.1)(network, batch)

    logits = network(batch.source, batch.target_in)[0].values
    expected = torch.nn.functional.cross_entropy(logits, batch.target_out, label_smoothing=0.1, reduction="sum")
    assert_close(loss.total, expected)
    assert int(loss.extra["accuracy"]) == int((logits.argmax(1) == batch.target_out).sum())


def test_greedy_is_a_beam_of_one() -> None:
    network, vocabularies, _ = make()
    batches = BucketedBatches(vocabularies.encode(TOY), budget=1000)
    source = batches.load(batches.plan(0)[0]).source

    ((one,), *_) = decode(
        network.eval(), source, torch.full((10,), 5), beam=1, n_best=1, length_penalty=1.0, forbidden=()
    )

    assert one.score == pytest.approx(sum(one.log_probs) / len(one.log_probs))


def test_no_graph_is_kept_while_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    network, vocabularies, _ = make()
    batches = BucketedBatches(vocabularies.encode(TOY), budget=1000)
    source = batches.load(batches.plan(0)[0]).source
    recorded, encode = [], network.encode
    monkeypatch.setattr(network, "encode", lambda source: (recorded.append(torch.is_grad_enabled()), encode(source))[1])

    for beam in (1, 2):
        decode(network.eval(), source, torch.full((10,), 5), beam=beam, n_best=1, length_penalty=1.0, forbidden=())

    assert recorded == [False, False]


def test_an_option_that_the_cell_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no option `peephol`\. Did you mean `peephole`"):
        make(cell_options={"peephol": True})
