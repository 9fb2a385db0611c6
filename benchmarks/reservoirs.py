"""Echo state networks: the one-step forecast of Mackey-Glass, large reservoirs, and the Santa Fe laser.

    python benchmarks/reservoirs.py --threads 1 --data ../shared/data

The first experiment is that of reservoirpy's README: 2000 points of Mackey-Glass (tau 17), the first 80 % to fit to,
100 units, spectral radius 1.25, leak 0.3, ridge 1e-5, 100 steps of warm-up, RMSE on the rest; it reports 0.0020282.
Here it is run with 20 seeds and the median counts, for Recurra and for peers that are installed:

    reservoirpy    itself
    loop           a Python loop over the same equations, W and W_in as CSR matrices of scipy; dense in NumPy without it
    jax            the same equations as a jitted `lax.scan`, W dense

Times are medians, in milliseconds for fit and run together, drawing the weights included; for large reservoirs in
microseconds a step, states alone.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

import recurra
from recurra.cells import ESN
from recurra.data.series import mackey_glass
from recurra.networks import EchoStateNetwork
from recurra.networks.reservoir import search

Array = Any
RADIUS, LEAK, RIDGE, UNITS, WARM_UP = 1.25, 0.3, 1e-5, 100, 100


def installed(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


# --- the first experiment; each peer gives the forecast of the test part ---------------------------------------------


def forecast_recurra(x: Array, y: Array, x_test: Array, seed: int) -> Array:
    model = EchoStateNetwork(UNITS, spectral_radius=RADIUS, leak=LEAK, ridge=RIDGE, washout=WARM_UP, seed=seed)
    return model.fit(x, y).predict(x_test, state=model.state_)


def forecast_reservoirpy(x: Array, y: Array, x_test: Array, seed: int) -> Array:
    model = importlib.import_module("reservoirpy").ESN(units=UNITS, sr=RADIUS, lr=LEAK, ridge=RIDGE, seed=seed)
    model.fit(x, y, warmup=WARM_UP)
    return model.run(x_test)


def forecast_loop(x: Array, y: Array, x_test: Array, seed: int) -> Array:
    """Normal weights in a tenth of W, signs in a tenth of W_in, no bias: the defaults of reservoirpy."""
    draw = np.random.default_rng(seed)
    w, w_in = loop_weights(UNITS, 0.1, draw)
    w *= RADIUS / loop_radius(w)
    states, last = loop_states(w, w_in, x, np.zeros(UNITS), LEAK)
    kept, target = states[WARM_UP:], y[WARM_UP:]
    mean, mean_y = kept.mean(axis=0), target.mean(axis=0)
    gram = (kept - mean).T @ (kept - mean) + RIDGE * np.eye(UNITS)
    w_out = np.linalg.solve(gram, (kept - mean).T @ (target - mean_y))
    return (loop_states(w, w_in, x_test, last, LEAK)[0] - mean) @ w_out + mean_y


def loop_weights(units: int, connectivity: float, draw: Any, dtype: Any = np.float64) -> tuple[Any, Any]:
    sparse = installed("scipy.sparse")
    signs = np.where(draw.random((units, 1)) < 0.5, -1.0, 1.0) * (draw.random((units, 1)) < 0.1)
    if sparse is None:
        matrix = draw.standard_normal((units, units)) * (draw.random((units, units)) < connectivity)
        return matrix.astype(dtype), signs.astype(dtype)
    matrix = sparse.random_array(
        (units, units), density=connectivity, format="csr", rng=draw, data_sampler=draw.standard_normal
    )
    return matrix.astype(dtype), sparse.csr_array(signs.astype(dtype))


def loop_radius(w: Any) -> float:
    linalg = installed("scipy.sparse.linalg")
    if linalg is None:
        return float(abs(np.linalg.eigvals(w)).max())
    return float(abs(linalg.eigs(w, k=1, which="LM", maxiter=20 * w.shape[0], return_eigenvectors=False))[0])


def loop_states(w: Any, w_in: Any, x: Array, h: Array, leak: float) -> tuple[Array, Array]:
    states = np.empty((len(x), len(h)), dtype=h.dtype)
    for t in range(len(x)):
        h = (1 - leak) * h + leak * np.tanh(w @ h + w_in @ x[t])
        states[t] = h
    return states, h


def first_experiment(seeds: int) -> None:
    series = mackey_glass(2000).numpy()
    x, y = series[:-1], series[1:]
    cut = round(0.8 * len(x))
    peers: dict[str, Callable[..., Array]] = {"recurra": forecast_recurra, "loop": forecast_loop}
    if installed("reservoirpy"):
        peers["reservoirpy"] = forecast_reservoirpy
    print(f"\nMackey-Glass, one step ahead, {UNITS} units, {seeds} seeds")
    times: dict[str, list[float]] = {name: [] for name in peers}
    errors: dict[str, list[float]] = {name: [] for name in peers}
    for seed in range(-2, seeds):  # two to warm up
        for name, forecast in peers.items():
            start = time.perf_counter()
            found = forecast(x[:cut], y[:cut], x[cut:], seed + 2)
            if seed >= 0:
                times[name].append(1e3 * (time.perf_counter() - start))
                errors[name].append(float(np.sqrt(np.mean((found - y[cut:]) ** 2))))
    for name in peers:
        error = statistics.median(errors[name])
        print(f"  {name:12} RMSE {error:.6f}   fit + run {statistics.median(times[name]):8.2f} ms")
    if "reservoirpy" not in peers:
        print("  reservoirpy  is not installed here; its README reports RMSE 0.0020282 with one seed")


# --- large reservoirs ------------------------------------------------------------------------------------------------


def large(units: int, connectivity: float, steps: int, repeats: int) -> None:
    print(f"\n{units} units, connectivity {connectivity:g}, states of {steps} steps of one series")
    x = mackey_glass(steps)
    for dtype in (torch.float64, torch.float32):
        peers = {
            "recurra": recurra_run(units, connectivity, x.to(dtype)),
            "loop": loop_run(units, connectivity, x, dtype),
        }
        if installed("jax") and units <= 2000:  # its matrix is dense
            peers["jax"] = jax_run(units, connectivity, x.to(dtype))
        times: dict[str, list[float]] = {name: [] for name in peers}
        for _ in range(repeats):  # in turn, so that a noisy moment is noisy for all
            for name, run in peers.items():
                start = time.perf_counter()
                run()
                times[name].append(1e6 * (time.perf_counter() - start) / steps)
        found = "   ".join(f"{name} {statistics.median(mine):8.1f}" for name, mine in times.items())
        print(f"  {str(dtype).removeprefix('torch.')}   {found}   us a step", flush=True)


def reservoir(units: int, connectivity: float, dtype: torch.dtype) -> ESN:
    """Scaled by the circular law: uniform weights in ±1 have variance 1/3, and their spectral radius is about the root
    of that times their number in a row."""
    cell = ESN(1, units, leak=LEAK, connectivity=connectivity, spectral_radius=None, seed=0).to(dtype).eval()
    (cell.weight_hh if cell.weight_hh is not None else cell.values).mul_(0.9 / (connectivity * units / 3) ** 0.5)  # type: ignore[union-attr]
    return cell


def recurra_run(units: int, connectivity: float, x: torch.Tensor) -> Callable[[], Any]:
    cell = reservoir(units, connectivity, x.dtype)
    series = recurra.Ragged.from_list([x])
    recurra.scan(cell, series)
    return lambda: recurra.scan(cell, series)


def loop_run(units: int, connectivity: float, x: torch.Tensor, dtype: torch.dtype) -> Callable[[], Any]:
    kind = np.float32 if dtype == torch.float32 else np.float64
    w, w_in = loop_weights(units, connectivity, np.random.default_rng(0), kind)
    w *= 0.9 / (connectivity * units) ** 0.5
    h, series = np.zeros(units, kind), x.numpy().astype(kind)
    loop_states(w, w_in, series[:3], h, LEAK)
    return lambda: loop_states(w, w_in, series, h, LEAK)


def jax_run(units: int, connectivity: float, x: torch.Tensor) -> Callable[[], Any]:
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", x.dtype == torch.float64)
    cell = reservoir(units, connectivity, x.dtype)
    rows, columns, values = cell.connections()
    dense = torch.zeros(units, units, dtype=x.dtype).index_put((rows, columns), values)
    w, w_in, bias = (jax.numpy.asarray(part.numpy()) for part in (dense, cell.weight_ih, cell.bias))

    @jax.jit
    def states(h: Any, series: Any) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = (1 - LEAK) * h + LEAK * jax.numpy.tanh(w @ h + w_in @ x + bias)
            return h, h

        return jax.lax.scan(step, h, series)

    h, series = jax.numpy.zeros(units, w.dtype), jax.numpy.asarray(x.numpy())
    jax.block_until_ready(states(h, series))
    return lambda: jax.block_until_ready(states(h, series))


# --- the laser -------------------------------------------------------------------------------------------------------


def laser(data: Path, units: int, trials: int) -> None:
    print("\nSanta Fe laser, one step ahead, points 1 to 9000, the last 1000 of them as test")
    path = data / "echo_state" / "santa_fe_laser" / "santafe_laser.npy"
    if not path.exists():
        print(f"  {path} is not here: nothing was measured.")
        return
    series = np.load(path, allow_pickle=False).reshape(-1, 1).astype(np.float64)[:9000] / 255
    x, y = series[:-1], series[1:]
    cut = len(y) - 1000
    start = time.perf_counter()
    found = search(x[:cut], y[:cut], units=units, washout=100, trials=trials, ranges={"ridge": (1e-8, 1e-2)})
    best = {**found.best.options}
    model = EchoStateNetwork(units, washout=100, members=5, seed=0, **best).fit(x[:cut], y[:cut])
    forecast = model.predict_members(x[cut:], state=model.state_)
    wanted = y[cut:]
    errors = [float(((one - wanted) ** 2).mean() / wanted.var()) for one in forecast]
    together = float(((np.mean(forecast, axis=0) - wanted) ** 2).mean() / wanted.var())
    print(f"  chosen on the end of the first part: {', '.join(f'{name}={value:.3g}' for name, value in best.items())}")
    print(f"  NMSE {statistics.median(errors):.5f} (median of 5 networks of {units} units), {together:.5f} their mean")
    print(f"  persistence {float(((x[cut:] - wanted) ** 2).mean() / wanted.var()):.5f}")
    print(f"  search, fit and forecast {time.perf_counter() - start:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=50_000, help="of large reservoirs")
    parser.add_argument("--repeats", type=int, default=3, help="of large reservoirs")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with echo_state/")
    parser.add_argument("--only", choices=["first", "large", "laser"])
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"torch {torch.__version__}, {given.threads} threads")
    if given.only in (None, "first"):
        first_experiment(given.seeds)
    if given.only in (None, "large"):
        for units, connectivity in ((1000, 0.1), (1000, 0.01), (10_000, 0.01)):
            large(units, connectivity, given.steps, given.repeats)
    if given.only in (None, "laser"):
        laser(given.data, 500, 40)


if __name__ == "__main__":
    main()
