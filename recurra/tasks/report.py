"""Pictures of a run: the loss over training, and where a network attends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from recurra.drawing import GRID, INK, SERIES, new_figure, tidy, to_png
from recurra.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MOST_PANELS", "AttentionMap", "draw_attention", "draw_losses"]

TRAIN, VALIDATION = SERIES[:2]
MOST_PANELS = 12  # sentences in one picture
MOST_CELLS = 10_000  # words against words in one picture, so that it is drawn in seconds: one sentence of 100 words
CELL_INCHES = 0.34  # of a word against a word


@dataclass(frozen=True)
class AttentionMap:
    """How much each output word looked at each input word.

    Shapes: weights [T, S], each row from 0 to 1 with sum 1.
    """

    weights: Tensor
    inputs: Sequence[str]  # S words
    outputs: Sequence[str]  # T words

    @property
    def can_be_drawn(self) -> bool:
        """Whether it is small enough for a picture."""
        return len(self.inputs) * len(self.outputs) <= MOST_CELLS


def draw_attention(maps: Sequence[AttentionMap], *, of: int | None = None) -> bytes:
    """A PNG with one panel a sentence: input words across, output words down, darker where attention is higher.

    Args:
        maps: at least one that can be drawn; others are left out, and so are those after the twelfth or where the
            picture would grow too large, and the picture says so.
        of: how many sentences there were, where these are the first of them.

    Raises:
        DataError: no map can be drawn.
        MissingExtra: matplotlib is not installed.
    """
    shown = _that_fit(maps)
    if not shown:
        raise DataError(f"There is no attention to draw: no sentence has at most {MOST_CELLS:,} words against words.")
    columns = math.ceil(math.sqrt(len(shown)))
    rows = math.ceil(len(shown) / columns)
    across = max(max(len(m.inputs) for m in shown), 4)
    down = max(max(len(m.outputs) for m in shown), 4)
    size = (columns * (across * CELL_INCHES + 1.6), rows * (down * CELL_INCHES + 1.6))
    figure = new_figure(size)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, attention in zip(panels, shown, strict=False):
        _attention_panel(panel, attention)
    for panel in panels[len(shown) :]:
        panel.axis("off")
    if (total := len(maps) if of is None else of) > len(shown):
        figure.suptitle(f"The first {len(shown)} of {total} sentences", color=INK, fontsize=10)
    return to_png(figure)


def _that_fit(maps: Sequence[AttentionMap]) -> list[AttentionMap]:
    """The first maps whose panels, all as large as the largest, make a picture of a sensible size."""
    shown: list[AttentionMap] = []
    across = down = 0
    for one in maps:
        if not one.can_be_drawn:
            continue
        across, down = max(across, len(one.inputs)), max(down, len(one.outputs))
        if len(shown) == MOST_PANELS or (len(shown) + 1) * across * down > MOST_CELLS:
            break
        shown.append(one)
    return shown


def _attention_panel(panel: Axes, attention: AttentionMap) -> None:
    weights = attention.weights.detach().float().cpu().numpy()
    panel.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    panel.set_xticks(range(len(attention.inputs)), [_label(word) for word in attention.inputs])
    panel.set_yticks(range(len(attention.outputs)), [_label(word) for word in attention.outputs])
    panel.tick_params(axis="x", rotation=60, labelsize=9, top=True, labeltop=True, bottom=False, labelbottom=False)
    for label in panel.get_xticklabels():
        label.set(horizontalalignment="left", rotation_mode="anchor")
    panel.tick_params(axis="both", labelsize=9, length=0, colors=INK)
    panel.set_xticks(np.arange(-0.5, len(attention.inputs)), minor=True)
    panel.set_yticks(np.arange(-0.5, len(attention.outputs)), minor=True)
    panel.grid(which="minor", color=GRID, linewidth=0.8)
    panel.tick_params(which="minor", length=0)
    panel.spines[:].set_visible(False)


def _label(word: str) -> str:
    """A word as a tick label; `$` would begin mathematics."""
    word = word if len(word) <= 18 else word[:17] + "…"
    return word.replace("$", r"\$")


def draw_losses(rows: Sequence[Mapping[str, Any]], *, unit: str, train_label: str = "training") -> bytes:
    """A PNG of the loss over training, on the training part and on the validation part.

    Args:
        rows: lines of `metrics.jsonl`; one without a loss, or with one that is not finite, is no point.
        unit: what the loss is, for the axis.
        train_label: what the curve of the training part is called; it may be measured under other conditions.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure = new_figure((7.2, 4.2))
    panel = figure.subplots()
    panel.plot(*_curve(rows, "train"), color=TRAIN, linewidth=1.6, label=train_label)
    steps, losses = _curve(rows, "validation")
    panel.plot(steps, losses, color=VALIDATION, linewidth=1.6, marker="o", markersize=4, label="validation")
    if losses:
        best = int(np.argmin(losses))
        panel.annotate(
            f"best {losses[best]:.3f}",
            (steps[best], losses[best]),
            xytext=(0, 10), textcoords="offset points", ha="right", color=VALIDATION, fontsize=9,
        )  # fmt: skip
    tidy(panel, "updates of the weights", unit)
    panel.legend(frameon=False, labelcolor=INK, loc="upper right")
    return to_png(figure)


def _curve(rows: Sequence[Mapping[str, Any]], split: str) -> tuple[list[float], list[float]]:
    """Updates, and the losses after them."""
    points = [(row["step"], row["loss"]) for row in rows if row["split"] == split and row.get("loss") is not None]
    return [float(step) for step, _ in points], [float(loss) for _, loss in points]
