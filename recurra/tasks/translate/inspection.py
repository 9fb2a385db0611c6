"""A look inside a translator while it reads and writes sentence pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from recurra.data.batches import BatchItem, BucketedBatches, PairBatch
from recurra.data.readers import Pair
from recurra.errors import DataError
from recurra.inspect import Passage, passage_gradients, record
from recurra.ragged import Ragged
from recurra.tasks.inspection import Inspection, Layer, jacobians_if_small
from recurra.tasks.report import AttentionMap
from recurra.tasks.translate.predict import Translator

__all__ = ["inspect"]


def inspect(translator: Translator, pairs: Sequence[Pair]) -> Inspection:
    """Gradients through time over all pairs; states, gates, Jacobians and attention of the first.

    Args:
        translator: from `fit` or `load`.
        pairs: sentences with the translations that the decoder is led along.

    Raises:
        DataError: there is no pair.
    """
    if not pairs:
        raise DataError("To look inside a translator it needs sentence pairs to read, got none.")
    network = translator.network.eval()
    batch, pieces = _tokens(translator, pairs)
    with torch.enable_grad(), record(network) as passages:
        network(batch.source, batch.target_in)
    flows = [passage_gradients(passage) for passage in passages]
    source, told = (Ragged.from_list([ragged[0]]) for ragged in (batch.source, batch.target_in))
    with torch.no_grad(), record(network, gates=True) as first:
        network(source, told)
    with torch.no_grad():
        weights = None if network.attention is None else network.align(source, told)
    layers = [_layer(passage, *pieces) for passage in first]
    maps = () if weights is None else [AttentionMap(weights[0], pieces[0], pieces[1])]
    return Inspection(flows, [f"{flow.layer} ({flow.kind})" for flow in flows], layers, maps)


def _tokens(translator: Translator, pairs: Sequence[Pair]) -> tuple[PairBatch, tuple[list[str], list[str]]]:
    """All pairs as one batch, and what is read and told of the first pair as text."""
    batches = BucketedBatches(translator.vocabularies.encode(pairs), budget=1)
    batch = batches.load(BatchItem(0, np.arange(len(pairs))))
    source, target = (
        vocabulary.pieces for vocabulary in (translator.vocabularies.source, translator.vocabularies.target)
    )
    read = [source[piece] for piece in batch.source[0].tolist()]
    told = [target[piece] for piece in batch.target_in[0].tolist()]
    return batch.to(next(translator.network.parameters()).device), (read, told)


def _layer(passage: Passage, read: list[str], written: list[str]) -> Layer:
    words = read if passage.name.startswith("encoder") else written
    if passage.name.startswith("encoder") and passage.name.endswith(".1"):  # the direction that reads from the end
        words = words[::-1]
    inputs = torch.stack([x[0] for x in passage.inputs])
    return Layer(passage, words, jacobians_if_small(passage.cell, inputs))
