"""Cells: one time step of one paper a file, and wrappers that change one thing about any cell."""

from recurra.cells.cfc import CfC, CfCState
from recurra.cells.clip_state_gradient import ClipStateGradient
from recurra.cells.clockwork import Clockwork, ClockworkState
from recurra.cells.conv import ConvGRU, ConvGRUState, ConvLSTM, ConvLSTMState
from recurra.cells.cornn import CoRNN, CoRNNState
from recurra.cells.dnc import DNC
from recurra.cells.echo_state import ESN, ESNState
from recurra.cells.gru import GRU, GRUState
from recurra.cells.indrnn import IndRNN, IndRNNState
from recurra.cells.irnn import IRNN
from recurra.cells.jordan import Jordan, JordanState
from recurra.cells.learned_initial_state import LearnedInitialState
from recurra.cells.lem import LEM, LEMState
from recurra.cells.lmu import LMU, LMUState
from recurra.cells.lru import LRU, LRUState
from recurra.cells.lstm import LSTM, LSTMState
from recurra.cells.mgu import MGU, MGUState
from recurra.cells.min_rnn import MinGRU, MinGRUState, MinLSTM, MinLSTMState
from recurra.cells.ntm import NTM
from recurra.cells.ornn import ORNN, ORNNState
from recurra.cells.qrnn import QRNN
from recurra.cells.recurrent_dropout import RecurrentDropout
from recurra.cells.registry import CELLS, CellOption, cell_options, cell_sources, find_cell, make_cell
from recurra.cells.rnn import ACTIVATIONS, RNN, RNNState
from recurra.cells.sru import SRU, SRUState
from recurra.cells.summary import CellSummary, cell_summary
from recurra.cells.weight_drop import WeightDrop
from recurra.cells.wrapper import Wrapper, step_reading, unwrap
from recurra.cells.xlstm import MLSTM, SLSTM, MLSTMState, SLSTMState
from recurra.cells.zoneout import Zoneout

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "DNC",
    "ESN",
    "GRU",
    "IRNN",
    "LEM",
    "LMU",
    "LRU",
    "LSTM",
    "MGU",
    "MLSTM",
    "NTM",
    "ORNN",
    "QRNN",
    "RNN",
    "SLSTM",
    "SRU",
    "CellOption",
    "CellSummary",
    "CfC",
    "CfCState",
    "ClipStateGradient",
    "Clockwork",
    "ClockworkState",
    "CoRNN",
    "CoRNNState",
    "ConvGRU",
    "ConvGRUState",
    "ConvLSTM",
    "ConvLSTMState",
    "ESNState",
    "GRUState",
    "IndRNN",
    "IndRNNState",
    "Jordan",
    "JordanState",
    "LEMState",
    "LMUState",
    "LRUState",
    "LSTMState",
    "LearnedInitialState",
    "MGUState",
    "MLSTMState",
    "MinGRU",
    "MinGRUState",
    "MinLSTM",
    "MinLSTMState",
    "ORNNState",
    "RNNState",
    "RecurrentDropout",
    "SLSTMState",
    "SRUState",
    "WeightDrop",
    "Wrapper",
    "Zoneout",
    "cell_options",
    "cell_sources",
    "cell_summary",
    "find_cell",
    "make_cell",
    "step_reading",
    "unwrap",
]
