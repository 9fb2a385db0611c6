"""The network of a translator: an encoder-decoder made from the options, its loss, and its search."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recurra.cells.registry import make_cell
from recurra.data.batches import PairBatch
from recurra.data.tokenizer import Vocabulary
from recurra.networks.attention import (
    AdditiveAttention,
    Attention,
    DotAttention,
    GeneralAttention,
    MultiHeadAttention,
)
from recurra.networks.decoding import Hypothesis, beam_search, greedy
from recurra.networks.encoder_decoder import EncoderDecoder
from recurra.networks.linear_cross_entropy import linear_cross_entropy
from recurra.networks.recurrent import Recurrent
from recurra.ragged import Ragged
from recurra.tasks.translate.config import TranslateConfig
from recurra.tasks.translate.examples import Vocabularies
from recurra.training.loss import Loss, Objective

__all__ = ["decode", "make_network", "translation_loss"]


def make_network(config: TranslateConfig, vocabularies: Vocabularies) -> EncoderDecoder:
    """The network that the options describe, freshly initialised.

    Raises:
        ConfigError: a cell has no such option, or sizes do not fit.
    """
    size, hidden = config.embedding_size, config.hidden_size
    target = _embedding(len(vocabularies.target), size)
    source = target if vocabularies.are_shared else _embedding(len(vocabularies.source), size)
    encoder = _recurrent(config, size, hidden // 2, config.encoder_layers, bidirectional=True)
    decoder = _recurrent(config, size * (1 + config.input_feeding), hidden, config.decoder_layers, bidirectional=False)
    return EncoderDecoder(
        encoder,
        decoder,
        _attention(config, decoder.output_size, encoder.output_size),
        source_embedding=source,
        target_embedding=target,
        tie_output=config.tie_embeddings,
        bridge=config.bridge,
        dropout=config.dropout,
        embedding_dropout=config.embedding_dropout,
        feature_dropout=config.feature_dropout,
        memory_dropout=config.memory_dropout,
        word_dropout=config.word_dropout,
        variational=config.variational,
        embedding_scale=size**0.5 if config.scale_embeddings else 1.0,
        input_feeding=config.input_feeding,
        lexical=config.attention in ("dot", "general", "additive") if config.lexical is None else config.lexical,
    )


def _embedding(vocab_size: int, size: int) -> nn.Embedding:
    embedding = nn.Embedding(vocab_size, size)
    nn.init.normal_(embedding.weight, std=size**-0.5)  # as the weights of the output layer, logits begin near 1
    return embedding


def _recurrent(
    config: TranslateConfig, input_size: int, hidden_size: int, num_layers: int, *, bidirectional: bool
) -> Recurrent:
    """Layers of the cell; the inner ones take what both directions of the one below give."""
    first = make_cell(config.cell, input_size, hidden_size, **config.cell_options)
    inner = first.output_size * (1 + bidirectional)
    cells = [first, *(make_cell(config.cell, inner, hidden_size, **config.cell_options) for _ in range(num_layers - 1))]
    one_mask = config.variational and not (config.input_feeding and not bidirectional)
    return Recurrent(
        cells,
        bidirectional=bidirectional,
        residual=config.residual,
        dropout=0.0 if one_mask else config.dropout,
        variational_dropout=config.dropout if one_mask else 0.0,
        zoneout=config.zoneout,
        recurrent_dropout=config.recurrent_dropout,
        weight_drop=config.weight_drop,
        clip_state_gradient=config.clip_state_gradient,
    )


def _attention(config: TranslateConfig, query_size: int, memory_size: int) -> Attention | None:
    if config.attention == "none":
        return None
    if config.attention == "dot":
        return DotAttention(query_size)
    if config.attention == "additive":
        return AdditiveAttention(query_size, memory_size)
    if config.attention == "multi_head":
        return MultiHeadAttention(query_size, memory_size, num_heads=config.num_heads)
    return GeneralAttention(query_size, memory_size)


def translation_loss(label_smoothing: float) -> Objective:
    """Cross entropy of every piece of the target, its end too, given those before; with the part predicted right."""

    def loss(network: nn.Module, batch: PairBatch) -> Loss:
        assert isinstance(network, EncoderDecoder), "the objective of the translate task is given its own network"
        features = network.hidden(batch.source, batch.target_in)
        found = linear_cross_entropy(
            features, network.weight, network.bias, batch.target_out, label_smoothing=label_smoothing
        )
        return Loss(found.loss, found.num_rows, {"accuracy": found.correct})

    return loss


@torch.no_grad()
def decode(
    network: EncoderDecoder,
    source: Ragged,
    max_length: Tensor,
    *,
    beam: int,
    n_best: int,
    length_penalty: float,
    forbidden: tuple[int, ...],
) -> list[list[Hypothesis]]:
    """The best translations of some sentences, the best first.

    Shapes: source.values [N] pieces with ends, max_length [B] pieces of a translation at most.

    Args:
        network: in evaluation.
        source: the sentences.
        max_length: one number a sentence.
        beam: hypotheses in the running; 1 is greedy.
        n_best: hypotheses returned a sentence, at most `beam`.
        length_penalty: power of the length that scores are divided by.
        forbidden: pieces that never come.
    """
    state = network.encode(source)
    alignment = None if network.attention is None else (lambda after: after.alignment)
    if beam == 1:
        found = greedy(
            network.step,
            state,
            max_length=max_length,
            forbidden=forbidden,
            alignment=alignment,
            bos=Vocabulary.bos,
            eos=Vocabulary.eos,
        )
        return [[one._replace(score=one.score / len(one.log_probs) ** length_penalty)] for one in found]
    return beam_search(
        network.step,
        state,
        max_length=max_length,
        beam_size=beam,
        num_best=n_best,
        alpha=length_penalty,
        forbidden=forbidden,
        alignment=alignment,
        bos=Vocabulary.bos,
        eos=Vocabulary.eos,
    )
