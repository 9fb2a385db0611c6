"""The cell that one direction of one layer of a `torch.nn.RNNBase` module is."""

from __future__ import annotations

import torch
from torch import nn

from recurra.cells.gru import GRU
from recurra.cells.lstm import LSTM
from recurra.cells.rnn import RNN
from recurra.engine.contract import Cell

__all__ = ["new_cell", "weight_names"]


def new_cell(mode: str, input_size: int, hidden_size: int, proj_size: int, bias: bool) -> Cell:
    """A cell of that mode of a module, whose weights nobody sees: the run's random numbers go on as they would."""
    with torch.random.fork_rng(devices=[]):
        if mode == "GRU":
            return GRU(input_size, hidden_size, bias=bias)
        if mode == "LSTM":
            return LSTM(input_size, hidden_size, bias=bias, proj_size=proj_size)
        return RNN(input_size, hidden_size, activation=mode.removeprefix("RNN_").lower(), bias=bias)


def weight_names(module: nn.RNNBase) -> list[str]:
    """What the cell calls the weights of a layer, in the module's order."""
    return ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if module.bias else []), "weight_hr"]
