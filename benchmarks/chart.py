"""The chart of the documentation, from the figures of `python -m benchmarks.layers`: python -m benchmarks.chart

Reads benchmarks/results/layers.json, writes docs/images/layers.png.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

from benchmarks.layers import OURS

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HOUSE = Path(__file__).parent.parent
COLOURS = {
    "torch.nn": "#c2410c",
    "torch loop": "#9f1239",
    "torch loop, unbound": "#e879a0",
    "jax": "#0e7490",
    "onnxruntime": "#6d28d9",
    "keras": "#4d7c0f",
}
MARKS = {"torch.nn": "o", "torch loop": "s", "torch loop, unbound": "s", "jax": "D", "onnxruntime": "^", "keras": "v"}


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.chart", description=__doc__)
    options.add_argument("--figures", type=Path, default=HOUSE / "benchmarks" / "results" / "layers.json")
    options.add_argument("--out", type=Path, default=HOUSE / "docs" / "images" / "layers.png")
    given = options.parse_args()
    found = json.loads(given.figures.read_text(encoding="utf-8"))
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (speed, growth) = plt.subplots(1, 2, figsize=(11, 7.2), width_ratios=(1.6, 1))
    draw_speed(speed, [row for row in found["layers"] if row["what"] == "train"])
    draw_growth(growth, found["doubling"])
    figure.tight_layout()
    figure.savefig(given.out, dpi=110)
    print(f"Drawn to {given.out}.")


def draw_speed(axes: Any, rows: list[dict[str, Any]]) -> None:
    """One line for each cell and shape: how many times as long as the compiled engine each peer takes."""
    labels = []
    for place, row in enumerate(rows):
        labels.append(f"{row['cell']}  {', '.join(map(str, row['shape']))}")
        for name, milliseconds in row["ms"].items():
            if name in COLOURS:
                ratio = milliseconds / row["ms"][OURS]
                axes.plot(ratio, place, MARKS[name], color=COLOURS[name], markersize=5)
        axes.axhline(place, color="#e5e7eb", linewidth=0.6, zorder=0)
    axes.axvline(1, color="#111827", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_yticks(range(len(labels)), labels, fontsize=7.5)
    axes.invert_yaxis()
    axes.set_xlabel("training step: time of the peer / time of the compiled engine")
    axes.set_title("Cell, and T, B, I, H", loc="left", fontsize=9)
    shown = sorted({name for row in rows for name in row["ms"]} & set(COLOURS), key=list(COLOURS).index)
    handles = [plt.Line2D([], [], color=COLOURS[n], marker=MARKS[n], linestyle="", label=n) for n in shown]
    axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False, fontsize=8)


def draw_growth(axes: Any, doubling: dict[str, list[dict[str, Any]]]) -> None:
    """Time and memory of a GRU's training step as one size doubles, beside the slope of the last doubling."""
    for colour, (letter, rows) in zip(("#0e7490", "#c2410c", "#4d7c0f"), doubling.items(), strict=True):
        times = [2**power for power in range(len(rows))]
        for key, unit, style in (("ms", 1.0, "-o"), ("bytes", 1 / 2**20, "--s")):
            numbers = [row[key] * unit for row in rows]
            slope = rows[-1][f"slope_of_{'time' if key == 'ms' else 'bytes'}"]
            what = "ms" if key == "ms" else "MiB kept"
            axes.plot(times, numbers, style, color=colour, markersize=4, label=f"{letter}, {what}: slope {slope:.2f}")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    first = next(iter(doubling.values()))[0]
    axes.set_xlabel(f"times as large as T={first['T']}, B={first['B']}, H={first['H']}")
    axes.set_title("GRU training step as one size doubles", loc="left", fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="upper left")


if __name__ == "__main__":
    main()
