"""Drop-ins for torch's recurrent modules: `sed s/torch.nn.LSTM/recurra.nn.LSTM/` changes nothing but speed."""

from torch.nn import GRUCell, LSTMCell, RNNCell

from recurra.nn.recurrent import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]
