"""Networks: how cells are wired into stacks, directions, attention, encoder-decoders, and how sequences are decoded."""

from recurra.networks.attention import (
    AdditiveAttention,
    Attention,
    DotAttention,
    GeneralAttention,
    Memory,
    MultiHeadAttention,
)
from recurra.networks.bridge import BRIDGES, Bridge
from recurra.networks.decoding import LENGTH_PENALTIES, Hypothesis, PerSentence, beam_search, greedy, sample
from recurra.networks.encoder_decoder import DecoderState, EncoderDecoder
from recurra.networks.heads import OUTPUT_ACTIVATIONS, OutputLayer
from recurra.networks.keras import KerasLayer, load_keras, read_keras
from recurra.networks.linear_cross_entropy import TokenLoss, linear_cross_entropy
from recurra.networks.memory_trace import memory_trace
from recurra.networks.pooling import POOLINGS, AttentionPooling, Pooling
from recurra.networks.recurrent import Recurrent
from recurra.networks.reservoir import (
    EchoStateNetwork,
    IntrinsicPlasticity,
    ReservoirState,
    SearchResult,
    Trial,
    search,
)
from recurra.networks.sequence_models import ManyToMany, ManyToOne, OneToMany, OneToOne
from recurra.networks.summary import LayerSummary, Summary, summary, unrolled
from recurra.networks.weights import load_torch, to_torch

__all__ = [
    "BRIDGES",
    "LENGTH_PENALTIES",
    "OUTPUT_ACTIVATIONS",
    "POOLINGS",
    "AdditiveAttention",
    "Attention",
    "AttentionPooling",
    "Bridge",
    "DecoderState",
    "DotAttention",
    "EchoStateNetwork",
    "EncoderDecoder",
    "GeneralAttention",
    "Hypothesis",
    "IntrinsicPlasticity",
    "KerasLayer",
    "LayerSummary",
    "ManyToMany",
    "ManyToOne",
    "Memory",
    "MultiHeadAttention",
    "OneToMany",
    "OneToOne",
    "OutputLayer",
    "PerSentence",
    "Pooling",
    "Recurrent",
    "ReservoirState",
    "SearchResult",
    "Summary",
    "TokenLoss",
    "Trial",
    "beam_search",
    "greedy",
    "linear_cross_entropy",
    "load_keras",
    "load_torch",
    "memory_trace",
    "read_keras",
    "sample",
    "search",
    "summary",
    "to_torch",
    "unrolled",
]
