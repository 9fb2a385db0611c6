"""The engine: runs any cell over time, and knows none by name."""

from recurra.engine.contract import Cell, Source
from recurra.engine.kernel import Kernel
from recurra.engine.scan import ENGINES, scan

__all__ = ["ENGINES", "Cell", "Kernel", "Source", "scan"]
