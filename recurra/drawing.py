"""Figures and colours that all pictures share. Drawn without pyplot: no window, no global state, safe in threads."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

from recurra.errors import import_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["GRID", "INK", "SERIES", "new_figure", "tidy", "to_png"]

INK, GRID = "#22303c", "#e4e9ed"
SERIES = ("#2a78a8", "#d1603d", "#4f9d69", "#8e5ea2", "#c2a83e", "#5c6b73", "#b04a6f", "#3aa6a0")


def new_figure(inches: tuple[float, float]) -> Figure:
    """An empty figure.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    module = import_extra("matplotlib.figure", "plot")
    figure: Figure = module.Figure(figsize=inches, layout="constrained", facecolor="white")
    return figure


def tidy(panel: Axes, across: str, down: str) -> None:
    """Axes with names, a light grid and no frame."""
    panel.set_xlabel(across, color=INK)
    panel.set_ylabel(down, color=INK)
    panel.grid(color=GRID, linewidth=0.8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(colors=INK)


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # a script that the built-in font lacks shows as boxes, which is no reason to stop
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
