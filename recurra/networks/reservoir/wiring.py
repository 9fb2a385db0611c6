"""The reservoirs of an echo state network, drawn from its options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from recurra.cells.echo_state import ESN, new_generator
from recurra.checks import check_count
from recurra.errors import ConfigError
from recurra.networks.reservoir.reservoirs import Reservoirs

__all__ = ["Options", "PerReservoir", "draw_reservoirs"]

PerReservoir = float | Sequence[float]


class Options(Protocol):
    """What is read here; `EchoStateNetwork` says what each means."""

    units: int
    spectral_radius: PerReservoir
    leak: PerReservoir
    input_scaling: PerReservoir
    bias_scaling: float
    connectivity: float
    input_connectivity: float
    feedback: bool
    feedback_scaling: float
    noise: float
    activation: str
    layers: int
    layer_scaling: float
    groups: int
    members: int
    sees_input: bool
    seed: int | None
    dtype: torch.dtype


def draw_reservoirs(options: Options, input_size: int, output_size: int, device: torch.device) -> Reservoirs:
    """Draw the reservoirs of all layers, members and groups.

    Raises:
        ConfigError: an option has a value that cannot be.
    """
    for name in ("units", "layers", "groups", "members"):
        check_count(name, getattr(options, name))
    if options.dtype not in (torch.float32, torch.float64):
        raise ConfigError(f"`dtype` must be torch.float32 or torch.float64, got {options.dtype!r}.")
    draw = new_generator(options.seed)
    radius, leak, scaling = (_each(options, name) for name in ("spectral_radius", "leak", "input_scaling"))
    fed_back = output_size if options.feedback else 0
    below = options.groups * options.units

    def reservoir(layer: int, group: int) -> ESN:
        index = layer * options.groups + group
        cell = ESN(
            input_size + fed_back if layer == 0 else below,
            options.units,
            spectral_radius=radius[index],
            leak=leak[index],
            # uniform weights within this bound give a sum over the layer below the variance layer_scaling²
            input_scaling=scaling[index] if layer == 0 else options.layer_scaling * (3 / below) ** 0.5,
            bias_scaling=options.bias_scaling,
            connectivity=options.connectivity,
            input_connectivity=options.input_connectivity,
            feedback_size=fed_back if layer == 0 else 0,
            feedback_scaling=options.feedback_scaling,
            noise=options.noise,
            activation=options.activation,
            seed=int(torch.randint(2**62, (), generator=draw)),
        )
        return cell.to(device, options.dtype)

    cells = [
        [[reservoir(layer, group) for group in range(options.groups)] for _ in range(options.members)]
        for layer in range(options.layers)
    ]
    return Reservoirs(cells, input_size if options.sees_input else 0)


def _each(options: Options, name: str) -> list[float]:
    given, count = getattr(options, name), options.layers * options.groups
    if not isinstance(given, Sequence):
        return [given] * count
    if len(given) != count:
        raise ConfigError(
            f"`{name}` must be one number or {count}, one for each of {options.layers} layers of {options.groups} "
            f"groups, got {len(given)}."
        )
    return list(given)
