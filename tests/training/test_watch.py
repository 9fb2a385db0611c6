"""The watch on gradients: it warns once, leaves no trace, and writes down what it saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from recurra import Ragged, Recurrent
from recurra.cells import RNN
from recurra.networks import DotAttention, EncoderDecoder
from recurra.training import Loss, TrainingConfig, fit, read_metrics
from recurra.training.watch import GradientWatch


class Data:
    def plan(self, epoch: int) -> list[list[int]]:
        return [[0], [1], [2], [3]]

    def load(self, item: list[int]) -> torch.Tensor:
        return torch.randn(30, 2, 3, generator=torch.Generator().manual_seed(item[0]))


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Recurrent(RNN(3, 4), num_layers=2, dropout=0.3)


def windows(model: Any, batch: torch.Tensor, state: Any) -> tuple[Loss, Any]:
    outputs, after = model.inner(batch, state)
    return Loss(outputs.square().sum(), outputs.numel()), after


def whole(model: Any, batch: torch.Tensor) -> Loss:
    return windows(model, batch, None)[0]


def trained(options: dict[str, Any], progress: Any = "none") -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    network, rows = Network(), []
    config = TrainingConfig(max_steps=6, log_every=3, schedule="constant", **options)
    objective: Any = windows if config.k1 else whole
    fit(network, Data(), objective, config, on_metrics=rows.append, progress=progress)
    return rows, network.state_dict()


def test_it_says_once_which_layer_forgets_and_what_helps(capsys: pytest.CaptureFixture[str]) -> None:
    rows, _ = trained({"watch_gradients": 2}, progress="lines")

    said = [line for line in capsys.readouterr().err.splitlines() if "vanishes" in line]
    assert len(said) == 2
    assert "`inner.layers.0.0` (RNN)" in said[0]
    assert "`inner.layers.1.0` (RNN)" in said[1]
    assert "gated cell" in said[0]
    looks = [row for row in rows if row["split"] == "gradients"]
    assert [row["step"] for row in looks] == [2, 4]
    norms = looks[0]["layers"]["inner.layers.0.0"]["norms"]
    assert list(norms) == ["1", "2", "5", "10", "20"]
    assert norms["20"] < 1e-3 * norms["1"]


def test_training_is_the_same_with_and_without_it() -> None:
    rows, watched = trained({"watch_gradients": 1})
    others, unwatched = trained({"watch_gradients": None})
    assert [row["loss"] for row in rows if row["split"] == "train"] == [row["loss"] for row in others]
    assert all(torch.equal(watched[name], unwatched[name]) for name in watched)


def test_truncated_training_is_the_same_with_and_without_it() -> None:
    _, watched = trained({"watch_gradients": 1, "k1": 10, "k2": 20})
    _, unwatched = trained({"watch_gradients": None, "k1": 10, "k2": 20})
    assert all(torch.equal(watched[name], unwatched[name]) for name in watched)


def test_a_run_killed_after_a_look_writes_it_down_once(tmp_path: Path) -> None:
    files: dict[str, Any] = {"checkpoint": tmp_path / "checkpoint", "metrics": tmp_path / "metrics.jsonl"}
    config = TrainingConfig(max_steps=4, log_every=1, save_every=2, save_seconds=None, watch_gradients=2)
    calls = 0

    def dying(model: Any, batch: torch.Tensor) -> Loss:
        nonlocal calls
        calls += 1
        if calls == 4:  # two updates, the look, and then
            raise KeyboardInterrupt
        return whole(model, batch)

    with pytest.raises(KeyboardInterrupt):
        fit(Network(), Data(), dying, config, progress="none", **files)
    fit(Network(), Data(), whole, config, progress="none", resume=True, **files)

    written = [(row["step"], row["split"]) for row in read_metrics(files["metrics"])]
    assert written == [(1, "train"), (2, "train"), (2, "gradients"), (3, "train"), (4, "train")]


def test_an_encoder_decoder_with_input_feeding_is_watched_and_learns_the_same() -> None:
    def network() -> EncoderDecoder:
        torch.manual_seed(0)
        encoder, decoder = Recurrent(RNN(3, 4)), Recurrent(RNN(6, 4))
        return EncoderDecoder(
            encoder, decoder, DotAttention(4), target_embedding=nn.Embedding(5, 3), input_feeding=True, dropout=0.3
        )

    def loss(model: Any, batch: torch.Tensor) -> Loss:
        source, previous = Ragged.from_padded(batch), Ragged.from_padded(batch[:12, :, 0].gt(0).long())
        return Loss(model.hidden(source, previous).square().sum(), 24)

    rows: list[dict[str, Any]] = []
    config = TrainingConfig(max_steps=3, schedule="constant", watch_gradients=1)
    fit(watched := network(), Data(), loss, config, on_metrics=rows.append, progress="none")
    fit(other := network(), Data(), loss, config.model_copy(update={"watch_gradients": None}), progress="none")

    assert [len(row["layers"]) for row in rows if row["split"] == "gradients"] == [2, 2]
    assert all(torch.equal(watched.state_dict()[name], weight) for name, weight in other.state_dict().items())


def test_a_network_without_cells_has_nothing_to_watch() -> None:
    watch = GradientWatch(nn.Linear(2, 2), 1)
    assert watch.look(lambda model: model(torch.zeros(1, 2))) == []
    assert not watch.is_due(0)
    assert watch.is_due(1)
