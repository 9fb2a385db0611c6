"""Cells: one time step of one paper a file, and wrappers that change one thing about any cell."""

from recurra.cells.clip_state_gradient import ClipStateGradient
from recurra.cells.gru import GRU, GRUState
from recurra.cells.learned_initial_state import LearnedInitialState
from recurra.cells.lstm import LSTM, LSTMState
from recurra.cells.recurrent_dropout import RecurrentDropout
from recurra.cells.registry import CELLS, CellOption, cell_options, cell_sources, find_cell, make_cell
from recurra.cells.rnn import ACTIVATIONS, RNN, RNNState
from recurra.cells.weight_drop import WeightDrop
from recurra.cells.wrapper import Wrapper, step_reading, unwrap
from recurra.cells.zoneout import Zoneout

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "GRU",
    "LSTM",
    "RNN",
    "CellOption",
    "ClipStateGradient",
    "GRUState",
    "LSTMState",
    "LearnedInitialState",
    "RNNState",
    "RecurrentDropout",
    "WeightDrop",
    "Wrapper",
    "Zoneout",
    "cell_options",
    "cell_sources",
    "find_cell",
    "make_cell",
    "step_reading",
    "unwrap",
]
