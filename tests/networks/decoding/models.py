"""Step functions for the tests of decoding: small worlds whose every sequence can be enumerated."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.networks.decoding import PerSentence

BOS, EOS = 0, 1


class State(NamedTuple):
    """Which sentence a row belongs to, how many steps it has taken, and a memory that its hypotheses share."""

    sentence: Tensor
    clock: dict[str, Tensor]
    memory: PerSentence


class Table:
    """Logits looked up by sentence, time and latest token: every prefix has its own next distribution or nearly so.

    Shapes: logits [B, T, V, V].
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self.calls = 0

    @classmethod
    def random(
        cls, seed: int, *, batch_size: int = 1, vocab_size: int = 4, steps: int = 5, spread: float = 1.5
    ) -> Table:
        generator = torch.Generator().manual_seed(seed)
        return cls(
            spread * torch.randn(batch_size, steps, vocab_size, vocab_size, generator=generator, dtype=torch.float64)
        )

    @property
    def vocab_size(self) -> int:
        return self.logits.shape[-1]

    def start(self) -> State:
        sentences = torch.arange(len(self.logits), device=self.logits.device)
        return State(sentences, {"t": torch.zeros_like(sentences)}, PerSentence([sentences + 100]))

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        self.calls += 1
        shared = state.memory.value[0].repeat_interleave(len(tokens) // max(1, len(state.memory.value[0])))
        assert torch.equal(shared - 100, state.sentence), "rows of a sentence must stay next to each other"
        t = state.clock["t"].clamp(max=self.logits.shape[1] - 1)
        return self.logits[state.sentence, t, tokens], state._replace(clock={"t": state.clock["t"] + 1})

    def alone(self, sentence: int) -> Table:
        return Table(self.logits[sentence : sentence + 1])

    def log_probs(self, sentence: int, tokens: tuple[int, ...]) -> list[float]:
        """Of a sequence and its end token."""
        found, before = [], BOS
        for t, token in enumerate((*tokens, EOS)):
            row = self.logits[sentence, min(t, self.logits.shape[1] - 1), before].log_softmax(-1)
            found.append(float(row[token]))
            before = token
        return found

    def every_sequence(self, sentence: int, max_length: int) -> dict[tuple[int, ...], float]:
        """All sequences up to a length with the sum of their log-probabilities."""
        others = [token for token in range(self.vocab_size) if token != EOS]
        sequences: Any = itertools.chain.from_iterable(
            itertools.product(others, repeat=length) for length in range(max_length + 1)
        )
        return {sequence: sum(self.log_probs(sentence, sequence)) for sequence in sequences}
