"""The equations of every cell in NumPy float64, one line an equation, written from the papers and not from our code.

One file a family, each with a `TABLE`: registered name, options, equations. The equations take the cell's weights, a
dictionary of arrays by the names of its `state_dict`, one row of the input and of every field of the state; they give
the output and the new fields.
"""

from __future__ import annotations

from tests.cells.equations import continuous, conv, exponential, gated, linear, memory, reservoir, simple
from tests.cells.equations.common import Table

TABLE: Table = [
    *conv.TABLE,
    *gated.TABLE,
    *simple.TABLE,
    *continuous.TABLE,
    *exponential.TABLE,
    *linear.TABLE,
    *memory.TABLE,
    *reservoir.TABLE,
]
