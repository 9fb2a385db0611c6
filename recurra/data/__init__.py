"""How files become ragged batches: lines, pairs, checks, splits, vocabularies, batches."""

from recurra.data.batches import BatchItem, BucketedBatches, EncodedPairs, PairBatch, encode_pairs, length_batches
from recurra.data.check import PairReport, check_pairs
from recurra.data.lines import Fault
from recurra.data.readers import Pair, read_pairs, scan_pairs
from recurra.data.series import lorenz, mackey_glass, narma
from recurra.data.split import Overlap, find_overlap, split_pairs
from recurra.data.subwords import SubwordSampler
from recurra.data.tokenizer import Aligned, Vocabulary, train_tokenizer

__all__ = [
    "Aligned",
    "BatchItem",
    "BucketedBatches",
    "EncodedPairs",
    "Fault",
    "Overlap",
    "Pair",
    "PairBatch",
    "PairReport",
    "SubwordSampler",
    "Vocabulary",
    "check_pairs",
    "encode_pairs",
    "find_overlap",
    "length_batches",
    "lorenz",
    "mackey_glass",
    "narma",
    "read_pairs",
    "scan_pairs",
    "split_pairs",
    "train_tokenizer",
]
