"""Recurra: recurrent neural networks on PyTorch. Write one time step, train it, stream it."""

from recurra.engine.contract import Cell
from recurra.engine.scan import scan
from recurra.ragged import Ragged

__all__ = ["Cell", "Ragged", "scan"]
