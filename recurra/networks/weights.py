"""Weights from torch's modules and back: same names, same layout, so loading is copying with checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from recurra.cells.clip_state_gradient import ClipStateGradient
from recurra.cells.gru import GRU
from recurra.cells.lstm import LSTM
from recurra.cells.recurrent_dropout import RecurrentDropout
from recurra.cells.rnn import ACTIVATIONS, RNN
from recurra.cells.weight_drop import WeightDrop
from recurra.cells.wrapper import Wrapper, unwrap
from recurra.engine.contract import Cell
from recurra.errors import ConfigError
from recurra.networks.recurrent import Recurrent

__all__ = ["CellWeights", "Slot", "find_slots", "load_layers", "load_torch", "to_torch"]

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


@dataclass(frozen=True)
class CellWeights:
    """Weights of one layer and direction, and what they are for.

    Args:
        form: the cell that they belong to with the options that change its equations, e.g. `"GRU(reset='after')"`.
        tensors: some of weight_ih, weight_hh, bias_ih, bias_hh, weight_hr, laid out as torch's.
    """

    form: str
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Slot:
    """A place for the weights of one layer and direction.

    Args:
        owner: the module that holds the parameters.
        suffix: what follows their names, e.g. `"_l0_reverse"`.
        form: as in `CellWeights`.
    """

    owner: nn.Module
    suffix: str
    form: str

    def take(self) -> CellWeights:
        """The weights that stand here; of one that is dropped or parametrized, what is stored."""
        found = {name: _stored(self.owner, name + self.suffix) for name in NAMES}
        return CellWeights(self.form, {name: value for name, value in found.items() if value is not None})

    def fit(self, weights: CellWeights, where: str) -> dict[str, Tensor]:
        """The tensors for this place: missing biases are 0, two biases become the sum where there is room for one.

        Raises:
            ConfigError: the weights are for other equations or sizes.
        """
        if weights.form != self.form:
            raise ConfigError(f"The weights of {where} are those of {weights.form}, but the cell there is {self.form}.")
        mine, given = self.take().tensors, dict(weights.tensors)
        if "bias_ih" in mine and "bias_hh" in given and "bias_hh" not in mine and self.form != "GRU(reset='after')":
            given["bias_ih"] = given["bias_ih"] + given.pop("bias_hh")
        for name in sorted(given.keys() - mine.keys()):
            raise ConfigError(f"The weights of {where} have a `{name}`, but the cell there, {self.form}, has none.")
        if "weight_hr" in mine and "weight_hr" not in given:
            raise ConfigError(f"The cell of {where}, {self.form}, has a `weight_hr`, but the weights have none.")
        for name, place in mine.items():
            value = given.setdefault(name, torch.zeros_like(place))
            if value.shape != place.shape:
                raise ConfigError(f"`{name}` of {where} must have shape {list(place.shape)}, got {list(value.shape)}.")
        return given

    def put(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy tensors that fit in."""
        with torch.no_grad():
            for name, place in self.take().tensors.items():
                if parametrize.is_parametrized(self.owner, name + self.suffix):
                    # a copy: what is assigned to a parametrization is stored without one
                    setattr(self.owner, name + self.suffix, tensors[name].detach().to(place, copy=True))
                else:
                    place.copy_(tensors[name])


def load_torch(target: nn.Module, module: nn.Module) -> None:
    """Copy the weights of torch's recurrent module into a cell or a network.

        recurra.networks.load_torch(recurra.Recurrent(recurra.LSTM(8, 16), num_layers=2), torch.nn.LSTM(8, 16, 2))

    Args:
        target: a cell, a `Recurrent`, or one of torch's modules; wrappers around cells stay as they are.
        module: `torch.nn.RNN`, `LSTM`, `GRU` or one of their cells.

    Raises:
        ConfigError: layers, directions, sizes or equations differ; nothing is copied then.
    """
    load_layers(target, [[slot.take() for slot in layer] for layer in find_slots(module)])


def load_layers(target: nn.Module, layers: Sequence[Sequence[CellWeights]]) -> None:
    """Copy weights, layer by layer and direction by direction, into a cell or a network.

    Raises:
        ConfigError: layers, directions, sizes or equations differ; nothing is copied then.
    """
    slots = find_slots(target)
    sizes = [len(layer) for layer in slots], [len(layer) for layer in layers]
    if sizes[0] != sizes[1]:
        raise ConfigError(f"The target has {_count(sizes[0])}, the weights are for {_count(sizes[1])}.")
    fitting = [
        (slot, slot.fit(weights, f"layer {layer}" + (", backward" if direction else "")))
        for layer, (row, given) in enumerate(zip(slots, layers, strict=True))
        for direction, (slot, weights) in enumerate(zip(row, given, strict=True))
    ]
    for slot, tensors in fitting:
        slot.put(tensors)


def find_slots(module: nn.Module) -> list[list[Slot]]:
    """The places for weights in a cell, a `Recurrent` or one of torch's modules, as layers of directions.

    Raises:
        ConfigError: it is none of those, or a cell that torch and Keras do not have.
    """
    if isinstance(module, Cell):
        return [[_cell_slot(module)]]
    if isinstance(module, Recurrent):
        return [[_cell_slot(cell) for cell in layer] for layer in module.layers]  # type: ignore[attr-defined]
    if isinstance(module, nn.RNNBase):
        form = _torch_form(module.mode)
        suffixes = ("", "_reverse") if module.bidirectional else ("",)
        return [[Slot(module, f"_l{index}{suffix}", form) for suffix in suffixes] for index in range(module.num_layers)]
    if isinstance(module, nn.RNNCellBase):
        mode = f"RNN_{module.nonlinearity}" if isinstance(module, nn.RNNCell) else type(module).__name__
        return [[Slot(module, "", _torch_form(mode.removesuffix("Cell")))]]
    hint = ": load it into such a module first, by `load_state_dict`" if isinstance(module, Mapping) else ""
    raise ConfigError(
        "Weights stand in a recurra cell, a recurra.Recurrent or a recurrent module of torch.nn, "
        f"got a {type(module).__name__}{hint}."
    )


def to_torch(source: Cell | Recurrent) -> nn.Module:
    """The same network as torch's module: a cell becomes `torch.nn.LSTMCell` ..., a `Recurrent` `torch.nn.LSTM` ...

    What acts in training only (recurrent dropout, weight drop, clipping of the state gradient) is left behind.

    Raises:
        ConfigError: torch has no such network.
    """
    slots = find_slots(source)
    first = slots[0][0]
    cells = [source] if isinstance(source, Cell) else source.cells
    for cell in cells:
        _check_wrappers(cell)
    weight = first.take().tensors["weight_ih"]
    inner = unwrap(cells[0])
    kind, keywords = _torch_class(first.form)
    options: dict[str, Any] = {**keywords, "bias": inner.bias, "device": weight.device, "dtype": weight.dtype}
    proj_size = getattr(inner, "proj_size", 0)
    if isinstance(source, Cell):
        if proj_size:
            raise ConfigError("torch.nn.LSTMCell has no projection: put the cell into a `Recurrent` first.")
        module: nn.Module = getattr(nn, f"{kind}Cell")(inner.input_size, inner.hidden_size, **options)
    else:
        _check_stack(source, slots)
        if proj_size:
            options["proj_size"] = proj_size
        module = getattr(nn, kind)(
            inner.input_size,
            inner.hidden_size,
            num_layers=source.num_layers,
            bidirectional=source.bidirectional,
            dropout=source.dropout,
            **options,
        )
    load_torch(module, source)
    return module.train(source.training)


def _cell_slot(cell: Cell) -> Slot:
    inner = unwrap(cell)
    return Slot(inner, "", _form(inner))


def _form(cell: Cell) -> str:
    kind = parametrize.type_before_parametrizations(cell)
    if kind is RNN:
        return f"RNN(activation={_activation_name(cell.activation)!r})"
    if kind is GRU:
        return f"GRU(reset={cell.reset!r})"
    if kind is LSTM:
        extra = [name for name in ("coupled", "layer_norm", "peephole") if getattr(cell, name)]
        return f"LSTM({', '.join(f'{name}=True' for name in extra)})" if extra else "LSTM"
    raise ConfigError(
        f"torch and Keras have no cell `{kind.__name__}`: only RNN, LSTM and GRU have weights to exchange."
    )


def _activation_name(activation: Any) -> str:
    return next((name for name, function in ACTIVATIONS.items() if function is activation), repr(activation))


def _torch_form(mode: str) -> str:
    if mode.startswith("RNN_"):
        return f"RNN(activation={mode.removeprefix('RNN_').lower()!r})"
    return "GRU(reset='after')" if mode == "GRU" else mode


def _torch_class(form: str) -> tuple[str, dict[str, Any]]:
    """Name of torch's class for a form, and the keywords that choose the form."""
    known: dict[str, tuple[str, dict[str, Any]]] = {
        "LSTM": ("LSTM", {}),
        "GRU(reset='after')": ("GRU", {}),
        "RNN(activation='tanh')": ("RNN", {"nonlinearity": "tanh"}),
        "RNN(activation='relu')": ("RNN", {"nonlinearity": "relu"}),
    }
    if form not in known:
        raise ConfigError(f"torch has no module for {form}.")
    return known[form]


def _check_wrappers(cell: Cell) -> None:
    while isinstance(cell, Wrapper):
        if not isinstance(cell, WeightDrop | RecurrentDropout | ClipStateGradient):
            raise ConfigError(f"torch has no module for {type(cell).__name__}, which acts in evaluation too.")
        cell = cell.cell


def _check_stack(network: Recurrent, slots: list[list[Slot]]) -> None:
    if network.residual or len(network.norms) or network.variational_dropout:
        raise ConfigError("torch has no module with `residual`, `layer_norm` or `variational_dropout` between layers.")
    inner: list[Any] = [unwrap(cell) for cell in network.cells]
    alike = {(cell.hidden_size, cell.output_size, cell.bias) for cell in inner}
    if len(alike) > 1 or len({slot.form for layer in slots for slot in layer}) > 1:
        raise ConfigError("torch has no module whose layers differ in cell, size or bias.")


def _stored(owner: nn.Module, name: str) -> Tensor | None:
    """The parameter itself, before any parametrization."""
    if parametrize.is_parametrized(owner, name):
        parametrizations: Any = owner.parametrizations
        stored = parametrizations[name]
        value: Tensor = stored.original if hasattr(stored, "original") else getattr(owner, name)
        return value
    return getattr(owner, name, None)


def _count(directions: list[int]) -> str:
    layers = f"{len(directions)} layer{'s' if len(directions) != 1 else ''}"
    return f"{layers} of {' and '.join(str(n) for n in sorted(set(directions)))} direction(s)"
