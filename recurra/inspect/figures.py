"""Pictures of what `recurra.inspect` finds; every function returns a PNG.

Raises, all of them:
    MissingExtra: matplotlib is not installed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from recurra.drawing import GRID, INK, SERIES, new_figure, tidy, to_png
from recurra.engine.contract import Cell
from recurra.inspect.gates import Saturation
from recurra.inspect.gradients import GradientFlow
from recurra.inspect.jacobians import StepJacobians

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_gates", "draw_gradients", "draw_heatmaps", "draw_jacobians", "draw_projection", "draw_unrolled"]

SMALLEST = 1e-30  # what a logarithmic axis shows of a zero
LARGEST = 1e30  # what a picture shows of what is larger


def draw_gradients(flows: Sequence[GradientFlow], names: Sequence[str] | None = None) -> bytes:
    """The norm of the gradient against the lag, one curve a layer, on a logarithmic scale.

    Args:
        flows: of `gradient_flow`.
        names: of the curves; layer and cell where not given.
    """
    figure = new_figure((7.2, 4.4))
    panel = figure.subplots()
    labels = names or [f"{flow.layer} ({flow.kind})" for flow in flows]
    for place, (flow, label) in enumerate(zip(flows, labels, strict=True)):
        lags = range(1, len(flow.norms) + 1)
        norms = [max(norm, SMALLEST) for norm in flow.norms]
        panel.plot(lags, norms, color=SERIES[place % len(SERIES)], linewidth=1.8, label=label)
    panel.set_yscale("log")
    panel.invert_xaxis()  # time runs to the right, as it does for the network
    tidy(panel, "steps back from the last output", "norm of the gradient by the state")
    panel.legend(frameon=False, labelcolor=INK, loc="lower right")
    return to_png(figure)


def draw_heatmaps(values: Mapping[str, Tensor], *, steps: Sequence[str] | None = None) -> bytes:
    """Values of one sequence over time, units down, steps across: states, gates, the heads of a memory.

    Of complex numbers it shows the sizes.

    Shapes: values [T, H] by name.

    Args:
        values: one panel each.
        steps: what stood at each step, as labels; numbers where not given.
    """
    longest = max((len(one) for one in values.values()), default=1)
    figure = new_figure((max(6.0, min(0.28 * longest + 2, 16)), 2.1 * len(values) + 0.6))
    panels = figure.subplots(len(values), 1, squeeze=False)[:, 0]
    for panel, (name, one) in zip(panels, values.items(), strict=True):
        _heatmap(panel, name, one)
    if steps is not None:
        panels[-1].set_xticks(range(len(steps)), [step.replace("$", r"\$") for step in steps], rotation=60, fontsize=8)
    return to_png(figure)


def _heatmap(panel: Axes, name: str, values: Tensor) -> None:
    values = values.abs() if values.is_complex() else values
    numbers = values.detach().flatten(1).clamp(-LARGEST, LARGEST).float()
    signed = bool((values < 0).any())
    bound = float(numbers.abs().nan_to_num().max()) if values.numel() else 1.0
    shown = panel.imshow(
        numbers.t().cpu().numpy(), aspect="auto", interpolation="nearest", cmap="RdBu_r" if signed else "Blues",
        vmin=-bound if signed else 0, vmax=bound or 1,
    )  # fmt: skip
    panel.set_ylabel(name.replace("$", r"\$"), color=INK)
    panel.tick_params(colors=INK, labelsize=8)
    panel.spines[:].set_visible(False)
    panel.figure.colorbar(shown, ax=panel, fraction=0.03, pad=0.01).outline.set_visible(False)


def draw_gates(saturations: Sequence[Saturation]) -> bytes:
    """Share of each gate that stands at its ends, over time."""
    columns = min(3, max(1, len(saturations)))
    rows = max(1, math.ceil(len(saturations) / columns))
    figure = new_figure((3.4 * columns, 2.4 * rows))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for panel, one in zip(panels, saturations, strict=False):
        steps = range(len(one.low))
        panel.plot(steps, one.low, color=SERIES[0], linewidth=1.5, label="low end")
        panel.plot(steps, one.high, color=SERIES[1], linewidth=1.5, label="high end")
        panel.set_title(one.gate.replace("$", r"\$"), fontsize=9, color=INK)
        panel.set_ylim(-0.02, 1.02)
        tidy(panel, "step", "share of units")
    for panel in panels[len(saturations) :]:
        panel.axis("off")
    panels[0].legend(frameon=False, labelcolor=INK, fontsize=8, loc="upper right")
    return to_png(figure)


def draw_jacobians(found: StepJacobians) -> bytes:
    """Spectral radius and singular values of the Jacobian of each step."""
    figure = new_figure((7.2, 4.2))
    panel = figure.subplots()
    values, radius = (one.detach().cpu().numpy() for one in (found.singular_values, found.spectral_radius))
    steps = range(len(radius))
    panel.plot(steps, values, color=GRID, linewidth=0.7)
    panel.plot(steps, values[:, 0], color=SERIES[1], label="largest singular value")
    panel.plot(steps, radius, color=SERIES[0], linewidth=2, label="spectral radius")
    panel.axhline(1, color=INK, linewidth=0.8, linestyle=":")
    tidy(panel, "step", "of the Jacobian")
    panel.legend(frameon=False, labelcolor=INK, loc="upper right")
    return to_png(figure)


def draw_projection(points: Tensor, labels: Sequence[str] | None = None) -> bytes:
    """Paths of states in the plane, one line a sequence, from light to dark in time.

    Shapes: points [T, B, 2], NaN where a sequence has ended.

    Args:
        points: of `project`.
        labels: of the steps of the first sequence, e.g. its words.
    """
    figure = new_figure((6.2, 5.6))
    panel = figure.subplots()
    for row in range(points.shape[1]):
        path = points[:, row]
        places = path[~path.isnan().any(1)].clamp(-LARGEST, LARGEST).cpu().numpy()
        if not len(places):
            continue
        colour = SERIES[row % len(SERIES)]
        panel.plot(places[:, 0], places[:, 1], color=colour, linewidth=0.8, alpha=0.5)
        for t, (across, down) in enumerate(places, start=1):
            panel.plot(across, down, "o", color=colour, markersize=4, alpha=t / len(places))
        for place, label in zip(places, labels or (), strict=False) if row == 0 else ():
            panel.annotate(label.replace("$", r"\$"), place, fontsize=8, color=INK)
    tidy(panel, "first principal component", "second")
    return to_png(figure)


def draw_unrolled(cell: Cell, num_steps: int = 3) -> bytes:
    """A cell unrolled over a few steps, with the shapes of what goes in, out and on."""
    figure = new_figure((2.9 * num_steps + 2.4, 3.6))
    panel = figure.subplots()
    state = [f"{name} {_shape(field)}" for name, field in cell.initial_state(1)._asdict().items()]
    x, output = (", ".join(map(str, ("B", *shape))) for shape in (cell.input_shape, cell.output_shape))
    for step in range(num_steps):
        left = 3.0 * step
        panel.text(left, 0, type(cell).__name__, **dict(_BOX))
        _arrow(panel, (left, -1.3), (left, -0.35), f"x$_{{{step + 1}}}$ [{x}]", below=True)
        _arrow(panel, (left, 0.35), (left, 1.3), f"output$_{{{step + 1}}}$ [{output}]", below=False)
        _arrow(panel, (left - 2.3, 0), (left - 0.7, 0), "")
        panel.text(left - 1.5, 0.12, "\n".join(state), ha="center", va="bottom", fontsize=8, color=SERIES[1])
    last = 3.0 * (num_steps - 1)
    _arrow(panel, (last + 0.7, 0), (last + 2.3, 0), "")
    panel.set_xlim(-2.6, last + 2.6)
    panel.set_ylim(-1.9, 1.9)
    panel.axis("off")
    return to_png(figure)


_BOX: Mapping[str, Any] = {
    "ha": "center", "va": "center", "fontsize": 11, "color": "white",
    "bbox": {"boxstyle": "round,pad=0.6", "facecolor": SERIES[0], "edgecolor": "none"},
}  # fmt: skip


def _shape(field: Tensor) -> str:
    return f"[{', '.join(map(str, ('B', *field.shape[1:])))}]"


def _arrow(panel: Axes, start: tuple[float, float], end: tuple[float, float], text: str, below: bool = False) -> None:
    panel.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.2})
    if text:
        place = start if below else end
        panel.text(*place, text, ha="center", va="top" if below else "bottom", fontsize=9, color=INK)
