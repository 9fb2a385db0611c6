"""Weights from Keras, compared with Keras itself where it is installed."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import recurra
import recurra.nn
from recurra.cells import GRU, LSTM, RNN
from recurra.errors import ConfigError, DataError, MissingExtra
from recurra.networks.keras import load_keras, read_keras
from recurra.networks.recurrent import Recurrent
from tests.tolerance import assert_close

X = np.random.default_rng(0).normal(size=(3, 7, 4)).astype("float32")  # [B, T, I]


@pytest.fixture(scope="module")
def keras() -> Iterator[Any]:
    """Keras on torch; its own warnings are not ours."""
    os.environ["KERAS_BACKEND"] = "torch"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("keras", reason="keras is not installed: pip install keras")
        pytest.importorskip("h5py", reason="h5py is not installed: pip install h5py")
        yield module


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns at saving to .h5 and on newer torch
        yield


def shaken(model: Any) -> Any:
    """All weights random, biases too: nothing may hide behind a zero."""
    generator = np.random.default_rng(1)
    model.set_weights([generator.normal(size=w.shape, scale=0.5).astype("float32") for w in model.get_weights()])
    return model


def model_of(keras: Any, *layers: Any) -> Any:
    return shaken(keras.Sequential([keras.Input((7, 4)), *layers]))


def assert_like_keras(module: Any, model: Any) -> None:
    """Equal outputs, of a cell, a network or a module of torch."""
    x = torch.from_numpy(X).transpose(0, 1)
    outputs = recurra.scan(module, x)[0] if isinstance(module, recurra.Cell) else module(x)[0]
    assert_close(outputs.transpose(0, 1), torch.as_tensor(np.asarray(model.predict(X, verbose=0))))


CELLS: dict[str, tuple[Any, Any]] = {
    "SimpleRNN": (lambda k, **o: k.layers.SimpleRNN(5, **o), lambda **o: RNN(4, 5, **o)),
    "SimpleRNN relu": (
        lambda k, **o: k.layers.SimpleRNN(5, activation="relu", **o),
        lambda **o: RNN(4, 5, activation="relu", **o),
    ),
    "SimpleRNN linear": (
        lambda k, **o: k.layers.SimpleRNN(5, activation="linear", **o),
        lambda **o: RNN(4, 5, activation="identity", **o),
    ),
    "LSTM": (lambda k, **o: k.layers.LSTM(5, **o), lambda **o: LSTM(4, 5, **o)),
    "GRU after": (lambda k, **o: k.layers.GRU(5, reset_after=True, **o), lambda **o: GRU(4, 5, **o)),
    "GRU before": (
        lambda k, **o: k.layers.GRU(5, reset_after=False, **o),
        lambda **o: GRU(4, 5, reset="before", **o),
    ),
}


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("name", CELLS)
def test_a_cell_computes_what_the_layer_does(keras: Any, name: str, bias: bool, tmp_path: Path) -> None:
    make_layer, make_cell = CELLS[name]
    model = model_of(keras, make_layer(keras, return_sequences=True, use_bias=bias))
    model.save(tmp_path / "model.keras")
    model.save(tmp_path / "model.h5")
    for source in (model, model.layers[0], model.get_weights(), tmp_path / "model.keras", str(tmp_path / "model.h5")):
        cell = make_cell(bias=bias)
        load_keras(cell, source)
        assert_like_keras(cell, model)


def test_a_layer_without_biases_loads_into_a_cell_with_them(keras: Any) -> None:
    model = model_of(keras, keras.layers.LSTM(5, return_sequences=True, use_bias=False))
    cell = LSTM(4, 5)
    load_keras(cell, model)
    assert_like_keras(cell, model)


def test_a_single_bias_takes_that_of_keras(keras: Any) -> None:
    model = model_of(keras, keras.layers.LSTM(5, return_sequences=True))
    cell = LSTM(4, 5, bias="single")
    load_keras(cell, model)
    assert_like_keras(cell, model)
    assert sum(parameter.numel() for parameter in cell.parameters()) == model.count_params()


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_stacks_of_two_directions_load_into_networks_and_modules_of_torch(
    keras: Any, kind: str, tmp_path: Path
) -> None:
    def layer() -> Any:
        return keras.layers.Bidirectional(getattr(keras.layers, kind)(5, return_sequences=True))

    model = model_of(keras, layer(), keras.layers.Dropout(0.5), layer())
    model.save(tmp_path / "model.keras")
    model.save(tmp_path / "model.h5")
    cell = {"SimpleRNN": RNN, "LSTM": LSTM, "GRU": GRU}[kind]
    name = {"SimpleRNN": "RNN"}.get(kind, kind)
    model.save_weights(tmp_path / "model.weights.h5")
    files = [tmp_path / name for name in ("model.keras", "model.h5", "model.weights.h5")]
    for source in (model, model.get_weights(), *files):
        targets = [
            Recurrent(cell(4, 5), num_layers=2, bidirectional=True),
            getattr(nn, name)(4, 5, num_layers=2, bidirectional=True),
            getattr(recurra.nn, name)(4, 5, num_layers=2, bidirectional=True),
        ]
        for target in targets:
            load_keras(target, source)
            assert_like_keras(target, model)


def test_one_layer_of_a_larger_model_is_taken_by_its_name(keras: Any, tmp_path: Path) -> None:
    inner = keras.Sequential(
        [keras.Input((7, 4)), keras.layers.GRU(5, return_sequences=True, name="deep")], name="inner"
    )
    model = model_of(
        keras,
        inner,
        keras.layers.GRU(3, return_sequences=True, name="first"),
        keras.layers.Dense(6, name="between"),
        keras.layers.GRU(2, return_sequences=True, reset_after=False, name="second"),
        keras.layers.LSTM(2, name="last"),
    )
    model.save(tmp_path / "model.keras")
    read = read_keras(tmp_path / "model.keras")
    assert [layer.name for layer in read] == ["deep", "first", "second", "last"]
    for layer in read:
        source = inner.get_layer("deep") if layer.name == "deep" else model.get_layer(layer.name)
        for got, want in zip(layer.arrays[0], source.get_weights(), strict=True):
            assert np.array_equal(got, want)
    cell = GRU(6, 2, reset="before")
    load_keras(cell, tmp_path / "model.keras", layer="second")
    other = GRU(6, 2, reset="before")
    load_keras(other, model, layer="second")
    assert torch.equal(cell.weight_ih, other.weight_ih)
    with pytest.raises(ConfigError, match=r"no recurrent layer `secnd`. Did you mean `second`"):
        load_keras(cell, model, layer="secnd")
    with pytest.raises(ConfigError, match=r"has 1 layer of 1 direction\(s\), the weights are for 4 layers"):
        load_keras(cell, model)
    model.save(tmp_path / "model.h5")
    with pytest.raises(DataError, match=r"save it as \.keras"):
        read_keras(tmp_path / "model.h5")


def test_weights_alone_are_what_the_target_says(keras: Any, tmp_path: Path) -> None:
    inner = keras.Sequential([keras.Input((7, 4)), keras.layers.GRU(5, return_sequences=True)])

    def eleven() -> list[Any]:
        return [keras.layers.GRU(3 + number, return_sequences=True) for number in range(11)]

    grus = eleven()
    model = model_of(keras, inner, *grus, keras.layers.LSTM(2, return_sequences=True))
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)

    cell = GRU(5, 3)
    load_keras(cell, path, layer="gru")
    same = GRU(5, 3)
    load_keras(same, grus[0])
    assert torch.equal(cell.weight_ih, same.weight_ih)
    load_keras(GRU(4, 5), path, layer="sequential/gru")
    with pytest.raises(ConfigError, match=r"in which order its layers run: give one as `layer`, of gru, lstm"):
        load_keras(cell, path)
    with pytest.raises(ConfigError, match=r"has no recurrent layer `gru_11`. Did you mean `gru_1"):
        load_keras(cell, path, layer="gru_11")
    with pytest.raises(ConfigError, match=r"`weight_ih` of layer 0 must have shape"):
        load_keras(LSTM(5, 3), path, layer="gru")

    stack = model_of(keras, *eleven())
    stack.save_weights(path)
    network = Recurrent([GRU(size, width) for size, width in zip([4, *range(3, 13)], range(3, 14), strict=True)])
    load_keras(network, path)  # the tenth after the ninth, and not after the first
    assert_like_keras(network, stack)
    model_of(keras, keras.layers.Dense(2)).save_weights(path)
    with pytest.raises(ConfigError, match="has no SimpleRNN, LSTM or GRU layer"):
        load_keras(cell, path)


def test_bfloat16_is_read_and_a_layer_that_keras_built_by_halves_is_refused(keras: Any, tmp_path: Path) -> None:
    model = model_of(keras, keras.layers.GRU(5, dtype="bfloat16", recurrent_initializer="glorot_uniform"))
    z = torch.tensor(model.get_weights()[1].astype("float32")).T[:5]  # the first of theirs, the second of ours
    for name in ("model.keras", "model.h5", "model.weights.h5"):
        (model.save_weights if "weights" in name else model.save)(tmp_path / name)
    for source in (model, model.get_weights(), *tmp_path.iterdir()):
        cell = GRU(4, 5)
        load_keras(cell, source)
        assert torch.equal(cell.weight_hh[5:10], z)

    half = model_of(keras, keras.layers.GRU(5, dtype="bfloat16"))  # its orthogonal initializer knows no bfloat16
    half.save(tmp_path / "half.keras")
    for source, kind in ((half, ConfigError), (tmp_path / "half.keras", DataError)):
        with pytest.raises(kind, match="1 of its 2 or 3 arrays: Keras did not build the whole layer"):
            load_keras(GRU(4, 5), source)


def test_layers_of_a_functional_model_are_found(keras: Any, tmp_path: Path) -> None:
    entry = keras.Input((7, 4))
    middle = keras.layers.LSTM(5, return_sequences=True, name="one")(entry)
    model = shaken(keras.Model(entry, keras.layers.LSTM(5, return_sequences=True, name="two")(middle)))
    model.save(tmp_path / "model.keras")
    model.save(tmp_path / "model.h5")
    for path in (tmp_path / "model.keras", tmp_path / "model.h5"):
        target = nn.LSTM(4, 5, num_layers=2)
        load_keras(target, path)
        assert_like_keras(target, model)


def test_what_keras_computes_otherwise_is_refused(keras: Any) -> None:
    layers = keras.layers
    cases = [
        (layers.LSTM(5, activation="relu"), LSTM(4, 5), "activation='relu'"),
        (layers.GRU(5, recurrent_activation="hard_sigmoid"), GRU(4, 5), "recurrent_activation='hard_sigmoid'"),
        (layers.GRU(5, reset_after=False), GRU(4, 5), r"those of GRU\(reset='before'\)"),
        (layers.SimpleRNN(5, activation="leaky_relu"), RNN(4, 5, activation="leaky_relu"), "leaky_relu with slope"),
        (layers.Bidirectional(layers.LSTM(5), merge_mode="sum"), Recurrent(LSTM(4, 5), bidirectional=True), "by `sum`"),
        (layers.LSTM(5, go_backwards=True), LSTM(4, 5), r"reads from the last step to the first"),
        (layers.Dense(5), LSTM(4, 5), "no SimpleRNN, LSTM or GRU layer"),
    ]
    for layer, target, message in cases:
        with pytest.raises(ConfigError, match=message):
            load_keras(target, model_of(keras, layer))


def test_a_backward_layer_of_its_own_kind_is_refused(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    target = Recurrent(LSTM(4, 5), bidirectional=True)
    for back, message in [
        (layers.LSTM(5, activation="relu", go_backwards=True), "activation='relu'"),
        (layers.GRU(5, go_backwards=True), "no SimpleRNN, LSTM or GRU layer"),
    ]:
        model = model_of(keras, layers.Bidirectional(layers.LSTM(5), backward_layer=back))
        model.save(tmp_path / "model.keras")
        model.save(tmp_path / "model.h5")
        for source in (model, tmp_path / "model.keras", tmp_path / "model.h5"):
            with pytest.raises(ConfigError, match=message):
                load_keras(target, source)


def test_a_layer_that_was_never_built_is_refused(keras: Any) -> None:
    with pytest.raises(ConfigError, match="no weights yet: build it"):
        load_keras(LSTM(4, 5), keras.layers.LSTM(5))


def test_lists_of_arrays_need_no_keras_and_must_fit() -> None:
    arrays = [np.ones((4, 15)), np.ones((5, 15)), np.ones(15)]
    with pytest.raises(ConfigError, match=r"those of GRU\(reset='before'\)"):
        load_keras(GRU(4, 5), arrays)
    with pytest.raises(ConfigError, match="takes 2 arrays without or 3 with biases"):
        load_keras(GRU(4, 5), arrays[:1])
    with pytest.raises(ConfigError, match=r"`weight_ih` of layer 0 must have shape \[15, 4\], got \[15, 3\]"):
        load_keras(GRU(4, 5, reset="before"), [np.ones((3, 15)), *arrays[1:]])
    with pytest.raises(ConfigError, match="got a int"):
        load_keras(GRU(4, 5), 7)


def test_files_that_are_no_models_are_refused(tmp_path: Path, keras: Any) -> None:
    model = model_of(keras, keras.layers.LSTM(5))
    model.save_weights(tmp_path / "model.weights.h5")
    (tmp_path / "words.keras").write_text("no model")
    whole = tmp_path / "whole.keras"
    model.save(whole)
    (tmp_path / "cut.keras").write_bytes(whole.read_bytes()[:-200])
    for name, message in [
        ("missing.keras", "There is no file"),
        ("words.keras", "is not a model saved by Keras"),
        ("cut.keras", "is not a model saved by Keras"),
        ("model.weights.h5", "weights without the model"),
    ]:
        with pytest.raises(DataError, match=message):
            read_keras(tmp_path / name)


def test_without_h5py_the_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtra, match=r"pip install 'recurra\[keras\]'"):
        read_keras(tmp_path / "model.keras")
