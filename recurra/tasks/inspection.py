"""What `recurra inspect` leaves: numbers as JSON and pictures, of a run or of cells by themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from recurra.engine.contract import Cell
from recurra.inspect import GradientFlow, Passage, StepJacobians, project, saturation, step_jacobians
from recurra.inspect.figures import (
    draw_gates,
    draw_gradients,
    draw_heatmaps,
    draw_jacobians,
    draw_projection,
    draw_unrolled,
)
from recurra.tasks.report import AttentionMap, draw_attention
from recurra.training.files import json_text, write_atomically

__all__ = ["Inspection", "Layer", "jacobians_if_small"]

LARGEST = 1024  # numbers of a state whose Jacobian is still looked at
LONGEST = 100  # characters of a layer's name in the name of a file: systems take 255 in all


def jacobians_if_small(cell: Cell, x: Tensor) -> StepJacobians | None:
    """The Jacobians along one sequence; None of a state so large that they would fill the memory.

    Shapes: x [T, I].
    """
    size = sum(field[0].numel() for field in cell.initial_state(1))
    return step_jacobians(cell, x) if size <= LARGEST else None


@dataclass(frozen=True)
class Layer:
    """One cell of a network on one example.

    Attributes:
        passage: what the cell did.
        steps: what stood at each step, e.g. words, in the order of running.
        jacobians: of its steps; None where the state is too large for them.
    """

    passage: Passage
    steps: Sequence[str] | None
    jacobians: StepJacobians | None = None

    @property
    def file_name(self) -> str:
        """Its name as a part of the name of a file, on any system."""
        return re.sub(r"[^A-Za-z0-9_.=-]+", "-", self.passage.name).strip("-")[:LONGEST]

    def states(self) -> dict[str, Tensor]:
        """Fields of the state of the first sequence, [T, ...] by name."""
        return {name: self.passage.states(name)[:, 0] for name in self.passage.cell.State._fields}

    def gates(self) -> dict[str, Tensor]:
        """What gates gave, [T, B, ...] by name."""
        return {name: self.passage.padded(steps) for name, steps in self.passage.gates.items()}


@dataclass(frozen=True)
class Inspection:
    """Everything that was seen.

    Attributes:
        flows: gradients through time, one a layer.
        curves: names of the flows in their picture.
        layers: states and gates, one a layer.
        attention: where the network looked.
    """

    flows: Sequence[GradientFlow]
    curves: Sequence[str]
    layers: Sequence[Layer] = ()
    attention: Sequence[AttentionMap] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """The numbers."""
        return {
            "gradients": [{"name": name, **flow.to_json()} for name, flow in zip(self.curves, self.flows, strict=True)],
            "layers": [_layer_numbers(layer) for layer in self.layers],
        }

    def write(self, folder: Path) -> list[Path]:
        """Write `inspect.json` and the pictures into a folder. Returns: the files."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {"gradients.png": draw_gradients(self.flows, self.curves)}
        for layer in self.layers:
            for kind, picture in _pictures(layer).items():
                name, number = f"{kind}-{layer.file_name}.png", 2
                while name in files:  # layers of one name: no picture is written over another
                    name, number = f"{kind}-{layer.file_name}-{number}.png", number + 1
                files[name] = picture
        if any(one.can_be_drawn for one in self.attention):
            files["attention.png"] = draw_attention(self.attention)
        files["inspect.json"] = (json_text(self.to_json(), indent=1) + "\n").encode()
        for name, content in files.items():
            write_atomically(folder / name, content)
        return [folder / name for name in files]


def _pictures(layer: Layer) -> dict[str, bytes]:
    """By what they show."""
    states, gates = layer.states(), layer.gates()
    flat = {name: values.flatten(1) for name, values in states.items()}
    found = {
        "unrolled": draw_unrolled(layer.passage.cell),
        "states": draw_heatmaps(flat, steps=layer.steps),
    }
    if gates:
        found["gates"] = draw_gates(saturation(gates))
        first = {name: values[:, 0].flatten(1) for name, values in gates.items()}
        found["gate-values"] = draw_heatmaps(first, steps=layer.steps)
    field_name, values = next(iter(states.items()))
    if values[0].numel() > 1:
        path = project(layer.passage.states(field_name))
        found["path"] = draw_projection(path, layer.steps)
    if layer.jacobians is not None:
        found["jacobians"] = draw_jacobians(layer.jacobians)
    return found


def _layer_numbers(layer: Layer) -> dict[str, Any]:
    jacobians = layer.jacobians
    return {
        "layer": layer.passage.name,
        "cell": layer.passage.kind,
        "steps": layer.steps,
        "states": {name: values.tolist() for name, values in layer.states().items()},
        "gates": [{"gate": one.gate, "low": one.low, "high": one.high} for one in saturation(layer.gates())],
        "spectral_radius": None if jacobians is None else jacobians.spectral_radius.tolist(),
        "singular_values": None if jacobians is None else jacobians.singular_values.tolist(),
    }
