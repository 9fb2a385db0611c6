"""What is special to the reservoir: how it is drawn and scaled, how it is kept, and its compiled loop."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import warnings
from typing import Any

import pytest
import torch

import recurra
from recurra import Ragged
from recurra.cells import ESN, spectrum
from recurra.cells.echo_state_kernel import ReservoirLoop
from recurra.engine.cpu import sparse_loop
from recurra.engine.scan import _say_slow
from recurra.errors import ConfigError, MissingExtra, ShapeError
from tests.tolerance import assert_close

HAS_SCIPY = importlib.util.find_spec("scipy") is not None


@pytest.fixture
def _float64() -> None:
    torch.set_default_dtype(torch.float64)  # conftest sets it back


def dense(cell: ESN) -> Any:
    rows, columns, values = cell.connections()
    matrix = torch.zeros(cell.hidden_size, cell.hidden_size, dtype=values.dtype)
    matrix[rows, columns] = values
    return matrix


@pytest.mark.parametrize("options", [{"storage": "dense"}, {"storage": "sparse"}, {"trainable": True}])
def test_reset_parameters_draws_as_when_the_cell_was_made(options: dict[str, Any]) -> None:
    x = torch.randn(20, 2, 3)
    for seed in (None, 5):
        cell = ESN(3, 40, seed=seed, spectral_radius=0.7, **options)
        before = {name: tensor.clone() for name, tensor in cell.state_dict().items()}
        with torch.no_grad():
            recurra.scan(cell, x)
            cell.bias.zero_()
            cell.reset_parameters()
            assert_close(recurra.scan(cell, x)[0], recurra.scan(cell, x, engine="reference")[0])
        same = [torch.equal(tensor, before[name]) for name, tensor in cell.state_dict().items() if name != "rows"]
        assert all(same) if seed else not any(same)
        assert cell.spectral_radius() == pytest.approx(0.7, rel=1e-4)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("units", [1, 2, 7, 120])
@pytest.mark.parametrize("storage", ["dense", "sparse"])
def test_the_spectral_radius_is_what_was_asked(units: int, storage: Any) -> None:
    cell = ESN(3, units, spectral_radius=0.7, connectivity=0.05, storage=storage, seed=3)
    eigenvalues = torch.linalg.eigvals(dense(cell))
    assert float(eigenvalues.abs().max()) == pytest.approx(0.7, rel=1e-9)
    assert cell.spectral_radius() == pytest.approx(0.7, rel=1e-9)


@pytest.mark.skipif(not HAS_SCIPY, reason="scipy is not installed")
def test_large_and_small_matrices_have_the_same_spectral_radius(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = ESN(1, 500, seed=0, spectral_radius=None)
    by_arnoldi = cell.spectral_radius()
    monkeypatch.setattr(spectrum, "_SMALL", 500)
    assert by_arnoldi == pytest.approx(cell.spectral_radius(), rel=1e-8)


def test_a_large_matrix_without_scipy_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", absent)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(spectrum, "_LARGE", 20)
    monkeypatch.setattr(spectrum, "_SMALL", 10)
    ESN(1, 15, seed=8)
    with pytest.raises(MissingExtra, match=r"needs the package `scipy`.*recurra\[reservoir\]"):
        ESN(1, 21, seed=8)


def test_every_unit_hears_the_same_number_of_others() -> None:
    cell = ESN(1, 50, connectivity=0.1, seed=0)
    rows, columns, _ = cell.connections()
    assert torch.bincount(rows, minlength=50).tolist() == [5] * 50
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == 250


def test_inputs_biases_and_feedback_have_their_own_scales() -> None:
    cell = ESN(5, 400, input_scaling=0.5, bias_scaling=0.2, feedback_size=2, feedback_scaling=3.0, seed=0)
    largest = cell.weight_ih.abs().amax(dim=0)
    assert bool((largest[:3] <= 0.5).all())
    assert bool((largest[:3] > 0.45).all())
    assert bool((largest[3:] <= 3.0).all())
    assert bool((largest[3:] > 2.7).all())
    assert 0.18 < float(cell.bias.abs().max()) <= 0.2


def test_each_unit_sees_its_share_of_the_inputs() -> None:
    cell = ESN(10, 30, input_connectivity=0.3, seed=0)
    assert (cell.weight_ih != 0).sum(dim=1).tolist() == [3] * 30


def test_a_seed_draws_the_same_reservoir_and_another_seed_another() -> None:
    first, second, third = ESN(2, 20, seed=1), ESN(2, 20, seed=1), ESN(2, 20, seed=2)
    assert torch.equal(dense(first), dense(second))
    assert torch.equal(first.weight_ih, second.weight_ih)
    assert not torch.equal(dense(first), dense(third))
    torch.manual_seed(4)
    drawn = ESN(2, 20)
    torch.manual_seed(4)
    assert torch.equal(dense(drawn), dense(ESN(2, 20)))


def test_a_matrix_of_ones_own_is_scaled_too() -> None:
    ring = torch.eye(4).roll(1, 0)
    cell = ESN(1, 4, recurrent=ring, spectral_radius=0.5, seed=0)
    assert_close(dense(cell), 0.5 * ring)
    assert_close(dense(ESN(1, 4, recurrent=ring, spectral_radius=None)), ring)
    assert "recurrent=[4, 4]" in repr(cell)


def test_a_matrix_without_eigenvalues_cannot_be_scaled() -> None:
    line = torch.diag(torch.ones(5), diagonal=1)  # every connection leads on, none back
    with pytest.raises(ConfigError, match=r"`recurrent` cannot be scaled .* all its eigenvalues are 0"):
        ESN(1, 6, recurrent=line)
    with pytest.raises(ConfigError, match="all its eigenvalues are 0"):
        ESN(1, 6, recurrent=torch.zeros(6, 6))
    with pytest.raises(ConfigError, match="`recurrent` must be finite numbers, got a NaN or an infinity"):
        ESN(1, 6, recurrent=torch.full((6, 6), torch.nan))
    with pytest.raises(ShapeError, match=r"`recurrent` must have shape \[H=6, H=6\], got \[5, 6\]"):
        ESN(1, 6, recurrent=torch.ones(5, 6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1.5}, "`seed` must be a whole number from .* below 2.64, got 1.5"),
        ({"spectral_radius": 0}, "`spectral_radius` must be a number above 0, got 0"),
        ({"leak": 1.5}, "`leak` must be a number above 0 and at most 1, got 1.5"),
        ({"leak": 0.0}, "`leak` must be a number above 0, got 0.0"),
        ({"connectivity": -1}, "`connectivity` must be a number above 0, got -1"),
        ({"noise": -0.1}, "`noise` must be a number of at least 0, got -0.1"),
        ({"feedback_size": 4}, "`feedback_size` must be at most I=3, got 4"),
        ({"activation": "tan"}, "`activation` must be .*got 'tan'. Did you mean `tanh`"),
        ({"storage": "thin"}, "`storage` must be 'auto', 'dense' or 'sparse', got 'thin'"),
        ({"storage": "sparse", "trainable": True}, "`storage` must be 'dense' or 'auto' where `trainable`"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ESN(3, 6, **options)


def test_few_connections_among_many_units_are_kept_as_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recurra.cells.echo_state._SPARSE_UNITS", 60)
    assert ESN(1, 60, seed=0).weight_hh is None
    assert ESN(1, 60, connectivity=0.5, seed=0).weight_hh is not None
    assert ESN(1, 50, seed=0).weight_hh is not None
    assert ESN(1, 60, trainable=True, seed=0).weight_hh is not None


@pytest.mark.parametrize("storage", ["dense", "sparse"])
def test_nothing_is_trained_unless_asked_and_gradients_reach_the_inputs(storage: Any) -> None:
    cell = ESN(3, 12, storage=storage, seed=0)
    assert not list(cell.parameters())
    assert {name for name, _ in ESN(3, 12, trainable=True).named_parameters()} == {"weight_ih", "bias", "weight_hh"}
    x = torch.randn(4, 2, 3, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a list of connections may run on the reference engine, which says so
        recurra.scan(cell, x)[0].sum().backward()
    assert float(x.grad.abs().min()) > 0  # type: ignore[union-attr]


def test_a_list_of_connections_says_that_a_gradient_takes_the_python_loop() -> None:
    _say_slow.cache_clear()
    cell = ESN(3, 12, storage="sparse", seed=0)
    x = torch.randn(4, 2, 3)
    recurra.scan(cell, x)  # no gradient: its own loop, and no word
    with pytest.warns(UserWarning, match=r"ESN.step.*no compiled form.*reference engine, a Python loop over time"):
        recurra.scan(cell, x.requires_grad_())


def test_sparse_and_dense_are_the_same_reservoir() -> None:
    sparse, dense_ = (ESN(3, 40, storage=storage, seed=5, leak=0.4).double() for storage in ("sparse", "dense"))
    x = torch.randn(30, 2, 3).double()
    for engine in ("reference", "auto"):
        assert_close(recurra.scan(sparse, x, engine=engine)[0], recurra.scan(dense_, x, engine=engine)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("form", ["panel", "gather"])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "identity", "relu"])
@pytest.mark.parametrize("units", [1, 5, 67])
def test_the_compiled_loop_is_the_reference_loop(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, form: Any, activation: str, units: int
) -> None:
    monkeypatch.setattr(sparse_loop, "_cheaper_form", lambda *_: form)
    cell = ESN(3, units, leak=0.6, connectivity=0.2, activation=activation, seed=units).to(dtype)
    x = Ragged.from_list([torch.randn(length, 3, dtype=dtype) for length in (7, 0, 1, 20)])
    state = cell.State(torch.randn(4, units, dtype=dtype))
    kernel: Any = cell.kernel()
    assert kernel.supports(x.values)
    outputs, after = kernel.run(x, state)
    expected, last = recurra.scan(cell, x, state, engine="reference")
    assert_close(outputs, expected.values)
    assert_close(after.h, last.h)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_windows_of_time_give_the_same(monkeypatch: pytest.MonkeyPatch, shared: bool, noise: float) -> None:
    cell = ESN(2, 40, seed=0, leak=0.5, noise=noise, storage="sparse").double()
    x = Ragged.from_list([torch.randn(length, 2).double() for length in (8, 0, 3, 20)])
    whole, last = recurra.scan(cell.eval(), x)
    monkeypatch.setattr("recurra.cells.echo_state_kernel._WINDOW", 1)
    monkeypatch.setattr("recurra.cells.echo_state_kernel._LEAST_STEPS", 3)
    if shared:
        monkeypatch.setattr(sparse_loop, "_SHARED", 0)
        monkeypatch.setattr(sparse_loop.team, "num_threads", lambda: 5)
    outputs, after = recurra.scan(cell.train(noise > 0), x)
    if noise:
        assert 0 < float((outputs.values - whole.values).abs().max()) < 1
        return
    assert_close(outputs.values, whole.values)
    assert_close(after.h, last.h)


@pytest.mark.parametrize("steps", [1, 4, 5])
def test_threads_that_share_the_rows_give_the_same(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    cell = ESN(2, 90, connectivity=0.5, seed=0, leak=0.5).double()
    x = torch.randn(steps, 1, 2).double()
    expected, last = recurra.scan(cell, x, engine="reference")
    monkeypatch.setattr(sparse_loop, "_SHARED", 0)
    monkeypatch.setattr(sparse_loop.team, "num_threads", lambda: 3)
    outputs, after = recurra.scan(cell, x)
    assert_close(outputs, expected)
    assert_close(after.h, last.h)


def test_a_loop_may_have_fewer_threads_than_it_was_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cell: Any = ESN(2, 90, connectivity=0.5, seed=0).double()
    x, out = torch.randn(4, 2).double(), torch.empty(4, 90).double()
    monkeypatch.setattr(sparse_loop, "_SHARED", 0)
    monkeypatch.setattr(sparse_loop.team, "num_threads", lambda: 3)
    loop = ReservoirLoop([cell], [0, 4], [torch.zeros(1, 90).double()], [out])
    monkeypatch.setattr(sparse_loop.team, "num_threads", lambda: 1)  # as after a fork, where no other would come
    run, counts = sparse_loop.team.run, list[int]()
    monkeypatch.setattr(sparse_loop.team, "run", lambda *args: (counts.append(args[-1]), run(*args)))
    loop.run([x])
    assert counts == [1] * 4
    assert_close(out, recurra.scan(cell, x[:, None], engine="reference")[0][:, 0])


def test_the_loop_sees_weights_that_changed() -> None:
    cell = ESN(2, 10, seed=0).double()
    x = torch.randn(6, 1, 2).double()
    before, _ = recurra.scan(cell, x)
    cell.rescale(torch.full((10,), 0.5).double(), torch.full((10,), 0.1).double())
    after, _ = recurra.scan(cell, x)
    assert not torch.allclose(before, after)
    assert_close(after, recurra.scan(cell, x, engine="reference")[0])
    cell.load_state_dict(ESN(2, 10, seed=0).double().state_dict())
    assert_close(recurra.scan(cell, x)[0], before)


def test_gain_and_shift_act_on_the_net_input() -> None:
    gain, shift = torch.rand(8).double() + 0.5, torch.randn(8).double()
    x, h = torch.randn(3, 2).double(), torch.randn(3, 8).double()
    for storage in ("dense", "sparse"):
        cell = ESN(2, 8, seed=0, storage=storage, connectivity=0.4).double()  # type: ignore[arg-type]
        net = cell.step(x, cell.State(h))[0].atanh()
        cell.rescale(gain, shift)
        assert_close(cell.step(x, cell.State(h))[0], (gain * net + shift).tanh())


def test_noise_is_there_in_training_alone() -> None:
    cell = ESN(2, 300, seed=0, noise=0.1, activation="identity").double()
    x, state = torch.randn(1, 2).double(), cell.initial_state(1)
    still = cell.eval().step(x, state)[0]
    assert torch.equal(cell.step(x, state)[0], still)
    cell.train()
    assert float((cell.step(x, state)[0] - still).std()) == pytest.approx(0.1, rel=0.2)
    assert float((recurra.scan(cell, x[None])[0][0] - still).std()) == pytest.approx(0.1, rel=0.2)


def test_a_state_that_is_learned_gets_its_gradient() -> None:
    cell = ESN(2, 6, seed=0).double()
    h = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    outputs, _ = recurra.scan(cell, torch.randn(3, 1, 2).double(), cell.State(h))
    outputs.sum().backward()
    assert h.grad is not None
    assert float(h.grad.abs().max()) > 0


def test_a_reservoir_that_has_run_is_copied_and_pickled() -> None:
    cell = ESN(2, 10, seed=0)
    x = torch.randn(5, 1, 2)
    expected = recurra.scan(cell, x)[0]
    for twin in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert torch.equal(recurra.scan(twin, x)[0], expected)


def test_a_layer_of_a_network_that_is_trained() -> None:
    network = torch.nn.Sequential()
    reservoir = recurra.Recurrent(ESN(4, 30, seed=0, spectral_radius=0.8))
    network.append(torch.nn.Linear(1, 4)).append(torch.nn.Linear(30, 1))
    x = torch.sin(0.3 * torch.arange(61))[:, None, None]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    losses = []
    for _ in range(60):
        answers = network[1](reservoir(network[0](x[:-1]))[0])
        loss = (answers - x[1:]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]
