"""One cell, one network, one task, in seconds: run it before each commit."""

from __future__ import annotations

from pathlib import Path

import torch

import recurra

PAIRS = [
    "hello\tbonjour",
    "good morning\tbonjour",
    "thank you\tmerci",
    "goodbye\tau revoir",
    "how are you\tcomment ça va",
]


def test_a_cell_runs_as_its_steps() -> None:
    cell = recurra.GRU(3, 5)
    x = torch.randn(4, 2, 3)
    outputs, state = recurra.scan(cell, x)
    by_hand = cell.initial_state(2)
    for x_t in x:
        output, by_hand = cell.step(x_t, by_hand)
    torch.testing.assert_close(outputs[-1], output)
    torch.testing.assert_close(state.h, by_hand.h)


def test_a_network_learns_what_it_heard_two_steps_ago() -> None:
    network = recurra.Recurrent(recurra.LSTM(1, 8))
    x = torch.randn(12, 16, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        outputs, _ = network(x)
        loss = (outputs[2:, :, :1] - 0.5 * x[:-2].tanh()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


def test_a_translator_knows_five_phrases_by_heart(tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text("\n".join(PAIRS), encoding="utf-8")
    model = recurra.tasks.translate.fit(
        file, validation=file, out=tmp_path / "run", tokenizer="word", min_frequency=1, epochs=60, learning_rate=0.02,
        hidden_size=32, embedding_size=16, encoder_layers=1, decoder_layers=1, dropout=0.0, warmup_steps=0,
        label_smoothing=0.0, averaging="none", plots=False, progress="none",
    )  # fmt: skip
    assert model("thank you") == "merci"
    again = recurra.tasks.translate.load(tmp_path / "run")
    sources = [pair.split("\t")[0] for pair in PAIRS]
    assert again(sources) == model(sources) == [pair.split("\t")[1] for pair in PAIRS]
