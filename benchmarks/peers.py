"""The same layers in Recurra and elsewhere: for each peer, functions that run one with given weights on given inputs.

Weights are torch's: W [G * H, I], U [G * H, H], b and d [G * H], gates in torch's order. Every peer gets the same ones,
so that their outputs can be compared before their times are.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import recurra

__all__ = ["CELLS", "GATES", "PEERS", "Case", "LayerNormLSTM", "Run", "make_case"]

CELLS = ("RNN", "GRU", "LSTM", "LayerNormLSTM")
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4, "LayerNormLSTM": 4}
ONNX_GATES = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}  # z r h and i o f c


@dataclass(frozen=True)
class Case:
    """One layer to run: its cell, its sizes, its weights, its inputs [T, B, I]."""

    cell: str
    x: np.ndarray
    weights: dict[str, np.ndarray]

    @property
    def hidden_size(self) -> int:
        return int(self.weights["U"].shape[1])


@dataclass(frozen=True)
class Run:
    """How a peer runs a case.

    Attributes:
        forward: the outputs; a call waits until they are there.
        train: forward, and the gradients of the sum of the outputs for inputs and weights; None where it has none.
        outputs: [T, B, H], for the comparison.
    """

    forward: Callable[[], Any]
    train: Callable[[], Any] | None
    outputs: Callable[[], np.ndarray]


def make_case(cell: str, num_steps: int, batch_size: int, input_size: int, hidden_size: int) -> Case:
    """Random weights and inputs, always the same ones."""
    rng, rows = np.random.default_rng(0), GATES[cell] * hidden_size
    scale = hidden_size**-0.5
    weights = {
        "W": rng.uniform(-scale, scale, (rows, input_size)),
        "U": rng.uniform(-scale, scale, (rows, hidden_size)),
        "b": rng.uniform(-scale, scale, rows),
        "d": rng.uniform(-scale, scale, rows),
    }
    x = rng.normal(size=(num_steps, batch_size, input_size))
    return Case(cell, x.astype(np.float32), {name: value.astype(np.float32) for name, value in weights.items()})


# --- Recurra ----------------------------------------------------------------------------------------------------------


class State(NamedTuple):
    h: Tensor
    c: Tensor


class LayerNormLSTM(recurra.Cell):
    """As a user writes it: one step, in the words of the paper."""

    State = State

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.norm_x, self.norm_h = nn.LayerNorm(4 * hidden_size), nn.LayerNorm(4 * hidden_size)
        self.norm_c = nn.LayerNorm(hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        rows = self.norm_x(F.linear(x, self.weight_ih)) + self.norm_h(F.linear(state.h, self.weight_hh))
        i, f, g, o = rows.chunk(4, -1)
        c = f.sigmoid() * state.c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * self.norm_c(c).tanh()
        return h, State(h, c)


def recurra_cell(case: Case) -> recurra.Cell:
    """The cell of a case."""
    kinds: dict[str, Any] = {"RNN": recurra.RNN, "GRU": recurra.GRU, "LSTM": recurra.LSTM}
    cell: recurra.Cell = kinds.get(case.cell, LayerNormLSTM)(case.x.shape[-1], case.hidden_size)
    _load(cell, case)
    return cell


def _load(module: Any, case: Case, suffix: str = "") -> None:
    for name, key in {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b", "bias_hh": "d"}.items():
        if hasattr(module, name + suffix):
            getattr(module, name + suffix).data.copy_(torch.from_numpy(case.weights[key]))


def _torch_run(call: Callable[[Tensor], Tensor], parameters: list[Tensor], case: Case) -> Run:
    x = torch.from_numpy(case.x).requires_grad_()

    def forward() -> Tensor:
        with torch.no_grad():
            return call(x)

    def train() -> Any:
        return torch.autograd.grad(call(x).sum(), [x, *parameters])

    return Run(forward, train, lambda: forward().numpy())


def recurra_run(engine: str) -> Callable[[Case], Run]:
    """Recurra on one of its engines."""

    def make(case: Case) -> Run:
        cell = recurra_cell(case)
        return _torch_run(lambda x: recurra.scan(cell, x, engine=engine)[0], list(cell.parameters()), case)

    return make


# --- torch ------------------------------------------------------------------------------------------------------------


def torch_nn(case: Case) -> Run | None:
    """torch.nn.RNN, GRU and LSTM."""
    if case.cell == "LayerNormLSTM":
        return None
    module = getattr(nn, case.cell)(case.x.shape[-1], case.hidden_size)
    _load(module, case, "_l0")
    return _torch_run(lambda x: module(x)[0], list(module.parameters()), case)


def torch_loop(*, unbound: bool) -> Callable[[Case], Run | None]:
    """A LayerNorm LSTM as one writes it in torch today: the input's product before a Python loop over `rows[t]`.

    Args:
        unbound: the rows are taken apart once, before the loop. The gradient of `rows[t]` is as large as all rows, so
            that the loop writes and adds T of these; of rows that are unbound it is one, put together once.
    """

    def make(case: Case) -> Run | None:
        if case.cell != "LayerNormLSTM":
            return None
        cell: Any = recurra_cell(case)

        def call(x: Tensor) -> Tensor:
            h = c = x.new_zeros(x.shape[1], case.hidden_size)
            outputs = []
            rows = cell.norm_x(F.linear(x, cell.weight_ih))
            if unbound:
                rows = rows.unbind()
            for t in range(x.shape[0]):
                i, f, g, o = (rows[t] + cell.norm_h(F.linear(h, cell.weight_hh))).chunk(4, -1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * cell.norm_c(c).tanh()
                outputs.append(h)
            return torch.stack(outputs)

        return _torch_run(call, list(cell.parameters()), case)

    return make


# --- JAX --------------------------------------------------------------------------------------------------------------


def jax_scan(case: Case) -> Run:
    """jax.lax.scan over a jitted step."""
    jax = importlib.import_module("jax")
    jnp, sigmoid, tanh = jax.numpy, jax.nn.sigmoid, jax.numpy.tanh
    num_gates = GATES[case.cell]

    def norm(v: Any, gain: Any, shift: Any) -> Any:
        centred = v - v.mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gain + shift

    def step(p: Any, x: Any, h: Any, c: Any) -> tuple[Any, Any]:
        if case.cell == "LayerNormLSTM":
            rows = norm(x @ p["W"].T, p["gx"], p["sx"]) + norm(h @ p["U"].T, p["gh"], p["sh"])
            i, f, g, o = jnp.split(rows, 4, -1)
            c = sigmoid(f) * c + sigmoid(i) * tanh(g)
            return sigmoid(o) * tanh(norm(c, p["gc"], p["sc"])), c
        of_x, of_h = x @ p["W"].T + p["b"], h @ p["U"].T + p["d"]
        if case.cell == "RNN":
            return tanh(of_x + of_h), c
        if case.cell == "GRU":
            (xr, xz, xn), (hr, hz, hn) = jnp.split(of_x, 3, -1), jnp.split(of_h, 3, -1)
            z, n = sigmoid(xz + hz), tanh(xn + sigmoid(xr + hr) * hn)
            return (1 - z) * n + z * h, c
        i, f, g, o = jnp.split(of_x + of_h, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c

    p = {name: jnp.asarray(value) for name, value in case.weights.items()}
    if case.cell == "LayerNormLSTM":
        p = {name: p[name] for name in ("W", "U")}
        for name, size in (("x", num_gates), ("h", num_gates), ("c", 1)):
            p[f"g{name}"], p[f"s{name}"] = jnp.ones(size * case.hidden_size), jnp.zeros(size * case.hidden_size)
    x = jnp.asarray(case.x)

    def run(p: Any, x: Any) -> Any:
        def body(state: Any, row: Any) -> Any:
            h, c = step(p, row, *state)
            return (h, c), h

        zeros = jnp.zeros((x.shape[1], case.hidden_size))
        return jax.lax.scan(body, (zeros, zeros), x)[1]

    forward, gradient = jax.jit(run), jax.jit(jax.grad(lambda p, x: run(p, x).sum(), argnums=(0, 1)))
    return Run(
        lambda: jax.block_until_ready(forward(p, x)),
        lambda: jax.block_until_ready(gradient(p, x)),
        lambda: np.asarray(forward(p, x)),
    )


# --- ONNX Runtime -----------------------------------------------------------------------------------------------------


def onnx_runtime(case: Case) -> Run | None:
    """The RNN, GRU and LSTM of ONNX Runtime; it has no backward."""
    if case.cell == "LayerNormLSTM":
        return None
    runtime = importlib.import_module("onnxruntime")
    onnx = importlib.import_module("onnx")
    order = ONNX_GATES[case.cell]

    def reordered(value: np.ndarray) -> np.ndarray:
        blocks = np.split(value, len(order))
        return np.concatenate([blocks[k] for k in order])

    arrays = {
        "W": reordered(case.weights["W"])[None],
        "R": reordered(case.weights["U"])[None],
        "B": np.concatenate([reordered(case.weights["b"]), reordered(case.weights["d"])])[None],
    }
    extra = {"linear_before_reset": 1} if case.cell == "GRU" else {}
    real, helper = onnx.TensorProto.FLOAT, onnx.helper
    num_steps, batch_size, _ = case.x.shape
    node = helper.make_node(case.cell, ["X", "W", "R", "B"], ["Y"], hidden_size=case.hidden_size, **extra)
    goal = helper.make_tensor_value_info("Y", real, [num_steps, 1, batch_size, case.hidden_size])
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in arrays.items()]
    source = helper.make_tensor_value_info("X", real, list(case.x.shape))
    graph = helper.make_graph([node], case.cell, [source], [goal], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def forward() -> Any:
        return session.run(None, {"X": case.x})

    return Run(forward, None, lambda: forward()[0][:, 0])


# --- Keras ------------------------------------------------------------------------------------------------------------


def keras_layer(case: Case) -> Run | None:
    """The layers of Keras, on JAX where that is installed; batch-major, with weights of its own."""
    if case.cell == "LayerNormLSTM":
        return None
    if importlib.util.find_spec("jax") is not None:
        os.environ.setdefault("KERAS_BACKEND", "jax")
    else:
        os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = importlib.import_module("keras")
    layer = getattr(keras.layers, {"RNN": "SimpleRNN"}.get(case.cell, case.cell))
    x = np.ascontiguousarray(case.x.swapaxes(0, 1))
    y = np.zeros((*x.shape[:2], case.hidden_size), np.float32)
    model = keras.Sequential([keras.layers.Input(x.shape[1:]), layer(case.hidden_size, return_sequences=True)])
    model.compile("sgd", "mse")
    return Run(
        lambda: model.predict_on_batch(x), lambda: model.train_on_batch(x, y), lambda: np.zeros((0,), np.float32)
    )


# name -> what makes its run, and the packages that it needs
PEERS: dict[str, tuple[Callable[[Case], Run | None], tuple[str, ...]]] = {
    "recurra compiled": (recurra_run("compiled"), ()),
    "recurra auto": (recurra_run("auto"), ()),
    "torch.nn": (torch_nn, ()),
    "torch loop": (torch_loop(unbound=False), ()),
    "torch loop, unbound": (torch_loop(unbound=True), ()),
    "jax": (jax_scan, ("jax",)),
    "onnxruntime": (onnx_runtime, ("onnx", "onnxruntime")),
    "keras": (keras_layer, ("keras",)),
}
