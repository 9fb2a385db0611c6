"""Echo state networks: reservoirs that are drawn, read-outs that are solved."""

from recurra.networks.reservoir.network import EchoStateNetwork
from recurra.networks.reservoir.plasticity import IntrinsicPlasticity
from recurra.networks.reservoir.reservoirs import ReservoirState
from recurra.networks.reservoir.search import SearchResult, Trial, search

__all__ = ["EchoStateNetwork", "IntrinsicPlasticity", "ReservoirState", "SearchResult", "Trial", "search"]
