"""Decoding, shared by everything that generates sequences: greedy, beam search, sampling.

Each way takes a `step`, (tokens [R], state) -> (logits [R, V], state), and a state of one row a sentence. The state is
any nest of tensors; what all hypotheses of a sentence share is wrapped in `PerSentence`.
"""

from recurra.networks.decoding.beam import LENGTH_PENALTIES, beam_search
from recurra.networks.decoding.hypothesis import Hypothesis
from recurra.networks.decoding.one_path import greedy
from recurra.networks.decoding.sampling import sample
from recurra.networks.decoding.state import PerSentence

__all__ = ["LENGTH_PENALTIES", "Hypothesis", "PerSentence", "beam_search", "greedy", "sample"]
