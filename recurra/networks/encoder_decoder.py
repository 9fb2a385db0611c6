"""`EncoderDecoder`: many-to-many, unaligned; one sequence is read, another is written.

    source tokens ──embedding──encoder──┬── bridge ──► state ─┐
                                        └── memory ─────────┐ │
    previous tokens ──embedding──────────────────► decoder ─┴─┴► attention ──► read-out ──► next tokens

The attention stands behind the decoder: its query is the decoder's output, and what it finds goes to the read-out
alone. So the whole decoder runs through its engine at once and nothing loops over time in Python. With input feeding
the read-out of a step is part of the decoder's next input; then time must be walked step by step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra.checks import check_bool, check_count, check_number, check_probability
from recurra.engine.contract import Cell
from recurra.engine.products import linear
from recurra.engine.scan import goes_to_eager, in_eager, scan
from recurra.engine.state_class import state_class
from recurra.errors import ConfigError, ShapeError
from recurra.networks.attention import Attention, Memory
from recurra.networks.bridge import Bridge
from recurra.networks.decoding.state import PerSentence
from recurra.networks.dropout import dropout as drop
from recurra.networks.recurrent import Recurrent, variational
from recurra.ragged import Ragged
from recurra.shapes import describe, expect_shape

__all__ = ["DecoderState", "EncoderDecoder"]


class DecoderState(NamedTuple):
    """Everything a decoder carries from step to step; decoding repeats and reorders its rows.

    Shapes: fields of cells [R, ...]; memory one row a sentence; feed [R, E], or [R, 0] without input feeding;
        alignment [R, S], the attention weights of the latest step, zeros before the first.
    """

    cells: tuple[Any, ...]
    memory: PerSentence
    feed: Tensor
    alignment: Tensor


class EncoderDecoder(nn.Module):
    """Reads one sequence and writes another: translation, chat, captions.

        features = tanh(W [context ; h] + b)     the attentional vector, of size E
        logits = V features + v                  V is the target embedding where tied

    and with `lexical`, where w is the mean of the source embeddings under the weights of the attention,

        f = tanh(w)
        features = tanh(W [context ; h] + b) + tanh(L f) + f

    Shapes: source Ragged with values [N] of tokens (or [N, I] without a source embedding), previous Ragged with values
        [N'] of tokens: what the decoder is told at each step, the begin token and then the target -> logits [N', V].

    Args:
        encoder: reads the source; one direction or two.
        decoder: writes; one direction. Takes embeddings of the target (and features, with input feeding).
        attention: queries of the decoder's output size over a memory of the encoder's; without it the bridge alone
            carries what was read.
        target_embedding: of target tokens.
        source_embedding: of source tokens; None where the source is vectors. The same module as `target_embedding` ties
            the two.
        feature_size: E; the size of the target embedding where not given.
        tie_output: the target embedding is V, whose size E must then be.
        bridge: from final to initial states, one of `BRIDGES`.
        dropout: probability of dropping a number of an embedding or a feature, unless said otherwise below. What stands
            between the layers belongs to `encoder` and `decoder`.
        embedding_dropout: of the embeddings.
        feature_dropout: of the features.
        memory_dropout: of what the attention looks at.
        word_dropout: probability of dropping the embedding of a token as a whole.
        variational: embeddings and memory are dropped with one mask a sequence.
        embedding_scale: factor of the embeddings as they enter. Where V is tied and begins small for the sake of the
            logits, the root of E brings the inputs to a good size.
        input_feeding: features of a step are given to the decoder at the next one, beside the embedding.
        lexical: a way past the recurrent networks from the words attended to, as they are, to the features. What a word
            means alone is learned once and holds in company never seen before; names can be copied.

    Raises:
        ConfigError: sizes do not fit each other, or an option has a value that cannot be.

    Source: Sutskever et al. 2014, arXiv:1409.3215, for the two networks; Luong et al. 2015, arXiv:1508.04025, Eq. 5 for
        the features and section 3.3 for input feeding; Press and Wolf 2017, arXiv:1608.05859, for tied embeddings;
        Nguyen and Chiang 2018, arXiv:1710.01329, for the lexical way, here with V as the output layer of both ways.
    """

    def __init__(
        self,
        encoder: Recurrent,
        decoder: Recurrent,
        attention: Attention | None = None,
        *,
        target_embedding: nn.Embedding,
        source_embedding: nn.Embedding | None = None,
        feature_size: int | None = None,
        tie_output: bool = False,
        bridge: str = "tanh",
        dropout: float = 0.0,
        embedding_dropout: float | None = None,
        feature_dropout: float | None = None,
        memory_dropout: float = 0.0,
        word_dropout: float = 0.0,
        variational: bool = False,
        embedding_scale: float = 1.0,
        input_feeding: bool = False,
        lexical: bool = False,
    ) -> None:
        super().__init__()
        for name, network in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(network, Recurrent):
                raise ConfigError(f"`{name}` must be a recurra.Recurrent, got {describe(network)}.")
        self.feature_size = (
            target_embedding.embedding_dim if feature_size is None else check_count("feature_size", feature_size)
        )
        fed = self.feature_size if check_bool("input_feeding", input_feeding) else 0
        _check_decoder(decoder, target_embedding.embedding_dim + fed, input_feeding)
        _check_sizes(encoder, decoder, attention, source_embedding)
        if check_bool("tie_output", tie_output) and self.feature_size != target_embedding.embedding_dim:
            raise ConfigError(
                f"`tie_output` needs features of the size of the target embedding {target_embedding.embedding_dim}, "
                f"got `feature_size={self.feature_size}`."
            )
        if check_bool("lexical", lexical):
            _check_lexical(attention, source_embedding, self.feature_size)
        self.dropout = check_probability("dropout", dropout)
        self.embedding_dropout = check_probability(
            "embedding_dropout", dropout if embedding_dropout is None else embedding_dropout
        )
        self.feature_dropout = check_probability(
            "feature_dropout", dropout if feature_dropout is None else feature_dropout
        )
        self.memory_dropout = check_probability("memory_dropout", memory_dropout)
        self.word_dropout = check_probability("word_dropout", word_dropout)
        self.variational = check_bool("variational", variational)
        self.embedding_scale = check_number("embedding_scale", embedding_scale)
        self.input_feeding = input_feeding
        self.tie_output = tie_output
        self.reads_tokens = source_embedding is not None
        self.target_embedding = target_embedding
        # one module under one name, so that a state_dict holds no weight twice
        self.source_embedding = None if source_embedding is target_embedding else source_embedding
        self.encoder = encoder
        self.bridge = Bridge(encoder, decoder, bridge)
        self.decoder = decoder
        self.attention = attention
        self.combine = nn.Linear(
            decoder.output_size + (0 if attention is None else attention.context_size), self.feature_size
        )
        self.lexical = nn.Linear(self.feature_size, self.feature_size, bias=False) if lexical else None
        vocab_size = target_embedding.num_embeddings
        self.output_weight = None if tie_output else nn.Parameter(torch.empty(vocab_size, self.feature_size))
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        if self.output_weight is not None:
            nn.init.normal_(self.output_weight, std=self.feature_size**-0.5)

    @property
    def weight(self) -> Tensor:
        """V [V, E], the output layer: the loss is `linear_cross_entropy(hidden, weight, bias, targets)`."""
        return self.target_embedding.weight if self.output_weight is None else self.output_weight

    @property
    def vocab_size(self) -> int:
        """V, tokens of the target."""
        return self.target_embedding.num_embeddings

    # --- reading ---------------------------------------------------------------------------------------------------

    def encode(self, source: Ragged) -> DecoderState:
        """Read the source: the state before the first target token, and the memory inside it.

        Shapes: source.values [N] int64, or [N, I] where there is no source embedding -> rows of the state [B, ...].
        """
        x = self._embed_source(source)
        encoded, ends = self.encoder(x)
        batch_size, values = x.batch_size, x.values
        cells = self.bridge(ends, self.decoder, batch_size, like=encoded.values)
        feed = values.new_zeros(batch_size, self.feature_size if self.input_feeding else 0)
        if self.attention is None:
            return DecoderState(cells, PerSentence(()), feed, values.new_zeros(batch_size, 0))
        memory = self.attention.prepare(self._drop(encoded, self.memory_dropout))
        if self.lexical is not None:  # the words stand before what was read of them, under the same weights
            memory = memory._replace(values=torch.cat([x.to_padded(batch_first=True), memory.values], -1))
        return DecoderState(cells, PerSentence(memory), feed, values.new_zeros(memory.mask.shape))

    # --- writing, all steps at once ----------------------------------------------------------------------------------

    def hidden(self, source: Ragged, previous: Ragged) -> Tensor:
        """The features of all target steps, before the output layer: all that a loss over `weight` and `bias` needs.

        Shapes: source.values [N], previous.values [N'] -> [N', E].
        """
        features, _ = self.write(previous, self.encode(source))
        return features.values

    def forward(self, source: Ragged, previous: Ragged) -> tuple[Ragged, DecoderState]:
        """Logits of all target steps. Shapes: source.values [N], previous.values [N'] -> values [N', V], state."""
        features, state = self.write(previous, self.encode(source))
        return features.map(self.logits), state

    def write(self, previous: Ragged, state: DecoderState) -> tuple[Ragged, DecoderState]:
        """Go through target tokens that are known.

        Shapes: previous.values [N'] int64 -> features, values [N', E]; the state after the last token of each sequence.
        """
        features, state, _ = self._write(previous, state)
        return features, state

    def align(self, source: Ragged, previous: Ragged) -> Tensor:
        """Attention weights of target tokens that are known. Shapes: [B, T, S]; 0 where T or S is padding.

        Raises:
            ConfigError: the network has no attention.
        """
        if self.attention is None:
            raise ConfigError("The network has no attention, so it has no weights to show.")
        state = self.encode(source)
        if not self.input_feeding:
            return self._write(previous, state)[2]
        weights = []
        tokens = previous.to_padded()
        for row in tokens:  # only to look at, so the plain loop will do
            _, state = self.step(row, state)
            weights.append(state.alignment)
        stacked = torch.stack(weights, 1) if weights else state.alignment[:, None][:, :0]
        return stacked * previous.mask()[:, :, None]

    def logits(self, features: Tensor) -> Tensor:
        """The output layer. Shapes: features [..., E] -> [..., V]."""
        return linear(features, self.weight, self.bias)

    def _write(self, previous: Ragged, state: DecoderState) -> tuple[Ragged, DecoderState, Tensor]:
        if previous.values.dim() != 1:
            raise ShapeError(f"`previous.values` must be tokens of shape [N], got {describe(previous.values)}.")
        if previous.batch_size != len(state.alignment):
            raise ShapeError(
                f"`previous` holds {previous.batch_size} sequences and the source {len(state.alignment)}: "
                "they must be as many."
            )
        x = self._drop_words(self._embed(previous, self.target_embedding))
        if self.input_feeding:
            # `torch.compile` leaves a scan of a Ragged to eager mode, and cannot make the cell of it either
            is_left = goes_to_eager(x, None, None, None)
            outputs, after = in_eager(self._feed, x, state) if is_left else self._feed(x, state)
            return outputs, after, state.alignment[:, None][:, :0]
        outputs, cells = self.decoder(x, state.cells)
        features, weights = self._read_out(outputs, state.memory.value)
        return features, state._replace(cells=cells, alignment=_last(weights, previous, state.alignment)), weights

    def _feed(self, x: Ragged, state: DecoderState) -> tuple[Ragged, DecoderState]:
        feeding = _Feeding(self, state)
        outputs, last = scan(feeding, x, feeding.pack(state), engine="reference")
        return outputs, feeding.unpack(last, state)

    def _read_out(self, h: Any, memory: Any) -> tuple[Any, Tensor]:
        """Features from the decoder's outputs, Ragged or [B, T, O], and the attention weights [B, T, S]."""
        if self.attention is None:
            joined = h
            weights = self.bias.new_zeros(0)
        else:
            context, weights = self.attention(h, memory)
            joined = (
                h.replace(torch.cat([context.values, h.values], -1))
                if isinstance(h, Ragged)
                else torch.cat([context, h], -1)
            )
        return (joined.map(self._features) if isinstance(joined, Ragged) else self._features(joined)), weights

    def _features(self, joined: Tensor) -> Tensor:
        """Shapes: [context ; h], or [words ; context ; h] with the lexical way -> [..., E]."""
        words = joined[..., : self.feature_size]
        read = joined if self.lexical is None else joined[..., self.feature_size :]
        features = torch.tanh(linear(read, self.combine.weight, self.combine.bias))
        if self.lexical is not None:
            f = torch.tanh(words)
            features = features + torch.tanh(linear(f, self.lexical.weight)) + f
        return drop(features, self.feature_dropout, self.training)

    # --- writing, one step at a time ---------------------------------------------------------------------------------

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """One step for `recurra.networks.decoding`: beam search, greedy, sampling.

        The rows of a sentence (its hypotheses) stand next to each other. `state.alignment` holds the attention weights.

        Shapes: tokens [R] int64, the latest of each hypothesis -> logits [R, V], state.
        """
        expect_shape("tokens", tokens, R=len(state.alignment))
        x = drop(self._scaled(tokens, self.target_embedding), self.embedding_dropout, self.training)
        features, state = self._advance(x, state)
        return self.logits(features), state

    def _advance(self, x: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        if self.input_feeding:
            x = torch.cat([x, state.feed], -1)
        h, cells = self.decoder.step(x, state.cells)
        memory = state.memory.value
        sentences = len(memory.mask) if isinstance(memory, Memory) else len(h)
        by_sentence = h.unflatten(0, (sentences, -1)) if sentences else h[:, None]
        features, weights = self._read_out(by_sentence, memory)
        features = features.flatten(0, 1)
        return features, state._replace(
            cells=cells,
            feed=features if self.input_feeding else state.feed,
            alignment=state.alignment if self.attention is None else weights.flatten(0, 1),
        )

    # --- embeddings --------------------------------------------------------------------------------------------------

    def _embed_source(self, source: Ragged) -> Ragged:
        if not self.reads_tokens:
            return source
        if source.values.dim() != 1:
            raise ShapeError(f"`source.values` must be tokens of shape [N], got {describe(source.values)}.")
        embedding = self.target_embedding if self.source_embedding is None else self.source_embedding
        return self._drop_words(self._embed(source, embedding))

    def _embed(self, tokens: Ragged, embedding: nn.Embedding) -> Ragged:
        return self._drop(tokens.replace(self._scaled(tokens.values, embedding)), self.embedding_dropout)

    def _scaled(self, tokens: Tensor, embedding: nn.Embedding) -> Tensor:
        x: Tensor = embedding(tokens)
        return x if self.embedding_scale == 1 else x * self.embedding_scale

    def _drop(self, x: Ragged, p: float) -> Ragged:
        if self.variational:
            return variational(x, p, self.training)
        return x.map(lambda values: drop(values, p, self.training))

    def _drop_words(self, x: Ragged) -> Ragged:
        if not self.training or not self.word_dropout:
            return x
        return x.map(lambda values: values * drop(values.new_ones(len(values), 1), self.word_dropout, True))

    def extra_repr(self) -> str:
        """What is tied and dropped, for `print`."""
        options = {
            "tie_output": self.tie_output,
            "tied_embeddings": self.reads_tokens and self.source_embedding is None,
            "input_feeding": self.input_feeding,
            "lexical": self.lexical is not None,
            "embedding_dropout": self.embedding_dropout,
            "feature_dropout": self.feature_dropout,
            "memory_dropout": self.memory_dropout,
            "word_dropout": self.word_dropout,
            "variational": self.variational,
        }
        return ", ".join(f"{name}={value!r}" for name, value in options.items() if value)


class _Feeding(Cell):
    """The decoder with input feeding as one cell: its state carries the features, and the memory that it looks at.

    A step reads the memory from the rows of its own state, so rows may leave the batch as sequences end.
    """

    def __init__(self, network: EncoderDecoder, state: DecoderState) -> None:
        super().__init__(network.target_embedding.embedding_dim, network.feature_size)
        # not a submodule: the network is only lent for one scan
        object.__setattr__(self, "network", network)
        flat = [f"cell{place}" for place in range(len(_flat(state.cells)))]
        memory = [f"memory{place}" for place in range(len(state.memory.value))]
        self.packed = state_class("Packed", (*flat, "feed", "alignment", *memory))
        self.kinds = [(type(cell), len(cell)) for cell in state.cells]

    network: EncoderDecoder

    @property
    def State(self) -> Any:
        return self.packed

    @property
    def shown(self) -> tuple[Cell, ...]:
        """The decoder's cells: what `recurra.inspect` looks at, since features and memory are no state of theirs."""
        return tuple(self.network.decoder.cells)

    def pack(self, state: DecoderState) -> Any:
        return self.State(*_flat(state.cells), state.feed, state.alignment, *state.memory.value)

    def unpack(self, packed: Any, like: DecoderState) -> DecoderState:
        cells, start = [], 0
        for kind, count in self.kinds:
            cells.append(kind(*packed[start : start + count]))
            start += count
        feed, alignment, *memory = packed[start:]
        value = like.memory.value
        return DecoderState(tuple(cells), PerSentence(type(value)(*memory) if memory else ()), feed, alignment)

    def initial_state(self, batch_size: int, **kind: Any) -> Any:
        raise ConfigError("Resets inside a target sequence have no state to begin from: cut it into sequences.")

    def as_state(self, state: Any, batch_size: int, *, like: Tensor) -> Any:
        return state

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        network = self.network
        unpacked = self.unpack(state, DecoderState((), PerSentence(self._memory_kind(state)), x, x))
        features, after = network._advance(x, unpacked)
        return features, self.pack(after)

    def _memory_kind(self, state: Any) -> Any:
        return Memory(state.memory0, state.memory1, state.memory2) if "memory0" in state._fields else ()


def _flat(cells: tuple[Any, ...]) -> list[Tensor]:
    return [field for cell in cells for field in cell]


def _last(weights: Tensor, steps: Ragged, before: Tensor) -> Tensor:
    """The weights of each sequence's last step; those of before where it has no step. Shapes: [B, T, S] -> [B, S]."""
    if weights.dim() != 3 or weights.shape[1] == 0:
        return before
    place = (steps.lengths - 1).clamp(min=0)
    chosen = weights[torch.arange(len(weights), device=weights.device), place]
    return torch.where((steps.lengths > 0)[:, None], chosen, before)


def _check_sizes(
    encoder: Recurrent,
    decoder: Recurrent,
    attention: Attention | None,
    source_embedding: nn.Embedding | None,
) -> None:
    if source_embedding is not None and source_embedding.embedding_dim != encoder.input_size:
        raise ConfigError(
            f"`encoder` takes {encoder.input_size} numbers a step, the source embedding gives "
            f"{source_embedding.embedding_dim}: they must agree."
        )
    if attention is None:
        return
    for name, has, needs in (
        ("query_size", attention.query_size, decoder.output_size),
        ("memory_size", attention.memory_size, encoder.output_size),
    ):
        if has != needs:
            raise ConfigError(f"`attention` has {name}={has}, it must be {needs} here.")


def _check_lexical(attention: Attention | None, source_embedding: nn.Embedding | None, feature_size: int) -> None:
    if attention is None or not attention.averages_memory:
        raise ConfigError("`lexical` needs an attention with one set of weights: dot, general or additive.")
    if source_embedding is None or source_embedding.embedding_dim != feature_size:
        got = "none" if source_embedding is None else f"one of size {source_embedding.embedding_dim}"
        raise ConfigError(f"`lexical` needs a source embedding of the size of the features {feature_size}, got {got}.")


def _check_decoder(decoder: Recurrent, input_size: int, input_feeding: bool) -> None:
    if decoder.bidirectional:
        raise ConfigError("`decoder` must have one direction: what comes later is not known while writing.")
    if decoder.input_size != input_size:
        what = "target embedding with the features" if input_feeding else "target embedding"
        raise ConfigError(
            f"`decoder` takes {decoder.input_size} numbers a step, the {what} gives {input_size}: they must agree."
        )
    if input_feeding and decoder.variational_dropout:
        raise ConfigError("`variational_dropout` of the decoder needs all inputs at once: not with `input_feeding`.")
