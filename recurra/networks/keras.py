"""Weights from Keras: layers, lists of arrays, `.keras` and `.h5` files, without Keras and without pickle.

Keras keeps kernels transposed, [I, G*H], in the gate orders i f c o (LSTM) and z r h (GRU). A file needs h5py only.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurra.checks import check_known
from recurra.errors import ConfigError, DataError, RecurraError, import_extra, no_such_file
from recurra.networks.weights import CellWeights, find_slots, load_layers

__all__ = ["KerasLayer", "load_keras", "read_keras"]

KINDS = ("GRU", "LSTM", "SimpleRNN")
WAYS = ("forward_layer", "backward_layer")
# where a name of Keras is not ours, or means another function
OUR_NAMES = {"hard_tanh": "hardtanh", "leaky_relu": "leaky_relu with slope 0.2", "linear": "identity"}


@dataclass(frozen=True)
class KerasLayer:
    """A recurrent layer of Keras: its name, what it is, and its weights.

    Args:
        name: the layer's name.
        kind: `"SimpleRNN"`, `"LSTM"` or `"GRU"`.
        options: Keras' config of the layer, of the forward one where there are two.
        arrays: for each direction kernel [I, G*H], recurrent kernel [H, G*H] and, or not, bias [G*H] or [2, G*H].
        merge_mode: how the outputs of two directions are joined; None for one direction.
        backward_options: Keras' config of the backward layer; None where there is none.
    """

    name: str
    kind: str
    options: dict[str, Any]
    arrays: list[list[Any]] = field(repr=False)
    merge_mode: str | None = None
    backward_options: dict[str, Any] | None = None


def load_keras(target: nn.Module, source: Any, *, layer: str | None = None) -> None:
    """Copy weights of Keras into a cell, a `Recurrent` or a recurrent module of torch.

        recurra.networks.load_keras(recurra.GRU(8, 16), "model.keras", layer="gru_1")
        recurra.networks.load_keras(recurra.LSTM(8, 16), keras_layer.get_weights())

    Keras' single bias goes into bias_ih; bias_hh becomes 0 where there is one. A GRU with `reset_after=False` needs
    `reset="before"`.

    Args:
        target: where the weights go.
        source: a Keras layer or model, a list of layers (one for each layer of the target), the arrays of
            `layer.get_weights()`, or the path of a `.keras`, `.h5` or `.weights.h5` file. The last holds arrays alone,
            so that what they are for is the target's word, as it is for arrays.
        layer: name of the layer to take where the source holds several; all recurrent layers where not given.

    Raises:
        ConfigError: layers, directions, sizes or equations differ; nothing is copied then.
        DataError: the file is no Keras model, or has no weights.
        MissingExtra: h5py is not installed.
    """
    if _is_arrays(source):
        load_layers(target, _from_arrays(target, source))
        return
    if isinstance(source, str | Path) and str(source).endswith(".weights.h5"):
        load_layers(target, _from_arrays(target, _read_weights(Path(source), layer)))
        return
    layers = read_keras(source) if isinstance(source, str | Path) else list(_from_objects(source))
    load_layers(target, [_convert_layer(one) for one in _choose(layers, layer)])


def read_keras(path: str | Path) -> list[KerasLayer]:
    """All recurrent layers of a `.keras` or `.h5` file, in the order of the model.

    Raises:
        DataError: the file is missing, is no Keras model, or has no weights.
        MissingExtra: h5py is not installed.
    """
    path = Path(path)
    with _reading(path) as h5py:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                config = json.loads(archive.read("config.json"))
                content = io.BytesIO(archive.read("model.weights.h5"))
            with h5py.File(content, "r") as file:
                return list(_from_archive(config, file))
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                raise DataError(
                    f"`{path}` holds weights without the model they belong to: `load_keras` reads a `.weights.h5` file "
                    "into a cell that fits; save the whole model otherwise, or give `layer.get_weights()`."
                )
            return list(_from_legacy(json.loads(file.attrs["model_config"]), file["model_weights"]))


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """Inside, h5py, and what goes wrong is a fault of the file."""
    h5py = import_extra("h5py", "keras")
    if not path.is_file():
        raise DataError(no_such_file(path))
    try:
        yield h5py
    except (OSError, KeyError, ValueError) as error:
        if isinstance(error, RecurraError):
            raise
        raise DataError(f"`{path}` is not a model saved by Keras: {error}.") from error


# --- from Keras' layout to torch's ---------------------------------------------------------------------------------


def _convert_layer(layer: KerasLayer) -> list[CellWeights]:
    if len(layer.arrays) == 2 and layer.merge_mode not in ("concat", None):
        raise ConfigError(
            f"The layer `{layer.name}` joins its directions by `{layer.merge_mode}`; only 'concat' can be loaded."
        )
    ways = [layer.options, layer.backward_options or layer.options][: len(layer.arrays)]
    if layer.options.get("go_backwards"):
        raise ConfigError(
            f"The layer `{layer.name}` reads from the last step to the first (`go_backwards=True`), which weights do "
            "not tell: give `layer.get_weights()`, and run the cell by `recurra.scan(..., reverse=True)`."
        )
    return [_convert(arrays, _form(layer, way)) for arrays, way in zip(layer.arrays, ways, strict=True)]


def _form(layer: KerasLayer, options: dict[str, Any]) -> str:
    activation = _plain_name(options.get("activation", "tanh"))
    if layer.kind == "SimpleRNN":
        return f"RNN(activation={OUR_NAMES.get(activation, activation)!r})"
    recurrent = _plain_name(options.get("recurrent_activation", "sigmoid"))
    if (activation, recurrent) != ("tanh", "sigmoid"):
        raise ConfigError(
            f"The layer `{layer.name}` has activation={activation!r} and recurrent_activation={recurrent!r}; "
            f"a {layer.kind} that can be loaded has 'tanh' and 'sigmoid'."
        )
    return "LSTM" if layer.kind == "LSTM" else _gru_form(bool(options.get("reset_after", False)))


def _gru_form(reset_after: bool) -> str:
    reset = "after" if reset_after else "before"
    return f"GRU(reset={reset!r})"


def _convert(arrays: Sequence[Any], form: str) -> CellWeights:
    if not arrays:
        raise ConfigError("A layer of the source has no weights yet: build it, or call it once.")
    if len(arrays) not in (2, 3):
        raise ConfigError(f"A layer of the source has {_not_all(len(arrays))}.")
    kernel, recurrent, *bias = [_tensor(array) for array in arrays]
    order = [1, 0, 2] if form.startswith("GRU") else None  # z r h -> r z n
    tensors = {"weight_ih": _reorder(kernel.T, order), "weight_hh": _reorder(recurrent.T, order)}
    if bias:
        rows = bias[0] if bias[0].dim() == 2 else bias[0][None]
        tensors |= {name: _reorder(row, order) for name, row in zip(("bias_ih", "bias_hh"), rows, strict=False)}
    return CellWeights(form, tensors)


def _not_all(count: int) -> str:
    # Keras builds a layer of bfloat16 by halves where its initializer does not know that type, and says nothing
    return f"{count} of its 2 or 3 arrays: Keras did not build the whole layer, so build it in float32"


def _tensor(array: Any) -> Tensor:
    values = np.array(array)
    if values.dtype.kind == "V" and values.dtype.itemsize == 2:  # bfloat16, of which numpy knows the bits alone
        values = (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return torch.from_numpy(values)


def _reorder(rows: Tensor, order: list[int] | None) -> Tensor:
    return rows if order is None else torch.cat([rows.chunk(len(order))[index] for index in order])


def _plain_name(activation: Any) -> str:
    """An activation's name, from a config ("tanh", or a dict for a function with settings)."""
    if isinstance(activation, dict):
        return str(activation.get("config", activation.get("class_name")))
    return str(activation)


# --- from arrays and Keras objects ---------------------------------------------------------------------------------


def _is_arrays(source: Any) -> bool:
    return isinstance(source, list | tuple) and len(source) > 0 and all(hasattr(one, "shape") for one in source)


def _from_arrays(target: nn.Module, arrays: Sequence[Any]) -> list[list[CellWeights]]:
    """Weights in the order of `get_weights()`: layer by layer, forward before backward; the equations are the target's,
    but for a bias that tells where a GRU resets."""
    slots = find_slots(target)
    count = sum(len(layer) for layer in slots)
    if len(arrays) not in (2 * count, 3 * count):
        raise ConfigError(
            f"The target takes {2 * count} arrays without or {3 * count} with biases, as `get_weights()` gives them, "
            f"got {len(arrays)}."
        )
    size = len(arrays) // count
    pieces = iter([arrays[start : start + size] for start in range(0, len(arrays), size)])
    return [[_convert_for(slot.form, next(pieces)) for slot in layer] for layer in slots]


def _convert_for(form: str, arrays: Sequence[Any]) -> CellWeights:
    if form.startswith("GRU") and len(arrays) == 3:
        form = _gru_form(len(arrays[2].shape) == 2)
    return _convert(arrays, form)


def _from_objects(source: Any) -> Iterator[KerasLayer]:
    """Recurrent layers in a layer, a model or a list of them."""
    if isinstance(source, list | tuple):
        for one in source:
            yield from _from_objects(one)
        return
    kind = type(source).__name__
    if kind in KINDS:
        yield KerasLayer(source.name, kind, source.get_config(), [source.get_weights()])
    elif kind == "Bidirectional":
        inner, back = source.forward_layer, source.backward_layer
        kinds = {type(inner).__name__, type(back).__name__}
        if len(kinds) == 1 and kinds <= set(KINDS):
            arrays = [inner.get_weights(), back.get_weights()]
            (kind,) = kinds
            yield KerasLayer(source.name, kind, inner.get_config(), arrays, source.merge_mode, back.get_config())
    elif hasattr(source, "layers"):
        yield from _from_objects(list(source.layers))
    elif not hasattr(source, "get_weights"):
        raise ConfigError(
            "`source` must be Keras layers or a model, the arrays of `get_weights()`, or the path of a .keras or .h5 "
            f"file, got a {type(source).__name__}."
        )


def _choose(layers: list[KerasLayer], name: str | None) -> list[KerasLayer]:
    names = [layer.name for layer in layers]
    if not layers:
        raise ConfigError("The source has no SimpleRNN, LSTM or GRU layer.")
    if name is None:
        return layers
    check_known(name, names, f"The source has no recurrent layer `{name}`")
    return [layers[names.index(name)]]


# --- from files ----------------------------------------------------------------------------------------------------


def _from_archive(config: dict[str, Any], group: Any) -> Iterator[KerasLayer]:
    """Layers of a `.keras` file, whose groups are named by class and count, not by the layer's name."""
    seen: dict[str, int] = {}
    for entry in config["config"].get("layers", []):
        stem = _snake_case(entry["class_name"])
        number = seen.get(stem, 0)
        seen[stem] = number + 1
        key = stem if number == 0 else f"{stem}_{number}"
        if "layers" in entry["config"]:
            yield from _from_archive(entry, group["layers"][key])
        elif entry["class_name"] in KINDS:
            yield _described(entry, [_numbered(group["layers"][key]["cell"])])
        elif _two_ways(entry):
            ways = (group["layers"][key][way]["cell"] for way in WAYS)
            yield _described(entry, [_numbered(way) for way in ways])


def _read_weights(path: Path, layer: str | None) -> list[Any]:
    """The arrays of a `.weights.h5` file as `get_weights()` gives them: of one layer, or of all of one kind."""
    found: dict[str, list[Any]] = {}

    def look(place: str, group: Any) -> None:
        if place.endswith(WAYS) or not hasattr(group, "keys"):
            return
        ways = [group[way] for way in WAYS] if set(WAYS) <= set(group) else [group]
        if all("vars" in way.get("cell", ()) for way in ways):
            name = place.removeprefix("layers/").replace("/layers/", "/")
            found[name] = [array for way in ways for array in _numbered(way["cell"])]

    with _reading(path) as h5py, h5py.File(path, "r") as file:
        file.visititems(look)
        names = sorted(found, key=lambda name: (len(name), name))  # gru, gru_1, ..., gru_10
        if layer is not None:
            check_known(layer, names, f"`{path}` has no recurrent layer `{layer}`")
        if layer is None and len({re.sub(r"_\d+$", "", name) for name in names}) != 1:
            raise ConfigError(
                f"`{path}` does not say in which order its layers run: give one as `layer`, of {', '.join(names)}."
                if names
                else f"`{path}` has no SimpleRNN, LSTM or GRU layer."
            )
    return [array for name in ([layer] if layer else names) for array in found[name]]


def _from_legacy(config: dict[str, Any], group: Any) -> Iterator[KerasLayer]:
    """Layers of an `.h5` file: one group a layer, with the names of its arrays in order."""
    for entry in config["config"].get("layers", []):
        name = entry["config"]["name"]
        if "layers" in entry["config"]:
            raise DataError(f"The model in the model, `{name}`, cannot be read from .h5: save it as .keras.")
        if entry["class_name"] not in KINDS and not _two_ways(entry):
            continue
        own = group[name]
        arrays = [own[_text(path)][()] for path in own.attrs["weight_names"]]
        half = len(arrays) // 2
        yield _described(entry, [arrays[:half], arrays[half:]] if _two_ways(entry) else [arrays])


def _two_ways(entry: dict[str, Any]) -> bool:
    if entry["class_name"] != "Bidirectional":
        return False
    kind = entry["config"]["layer"]["class_name"]
    return kind in KINDS and _backward(entry["config"])["class_name"] == kind


def _backward(options: dict[str, Any]) -> dict[str, Any]:
    """The backward layer of a Bidirectional, where one was given; Keras makes it like the forward one otherwise."""
    backward: dict[str, Any] = options.get("backward_layer") or options["layer"]
    return backward


def _described(entry: dict[str, Any], arrays: list[list[Any]]) -> KerasLayer:
    options = entry["config"]
    for one in arrays:
        if len(one) not in (2, 3):
            what = "no weights in the file" if not one else f"in the file {_not_all(len(one))}"
            raise DataError(f"The layer `{options['name']}` has {what}.")
    if entry["class_name"] != "Bidirectional":
        return KerasLayer(options["name"], entry["class_name"], options, arrays)
    inner = options["layer"]
    kind, way, back = inner["class_name"], inner["config"], _backward(options)["config"]
    return KerasLayer(options["name"], kind, way, arrays, options["merge_mode"], back)


def _numbered(cell: Any) -> list[Any]:
    own = cell["vars"]
    return [own[str(index)][()] for index in range(len(own))]


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _snake_case(name: str) -> str:
    """Keras' own rule: SimpleRNN -> simple_rnn."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
