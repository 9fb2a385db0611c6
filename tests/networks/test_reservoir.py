"""Echo state networks: read-outs against least squares, wiring, streams, free runs, and every refusal."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recurra import ConfigError, DataError, Ragged, ShapeError
from recurra.data.series import lorenz, mackey_glass, narma
from recurra.networks import EchoStateNetwork, IntrinsicPlasticity
from recurra.networks.reservoir import drawn, search
from recurra.networks.reservoir.readouts import LMS, RLS, QRRidge, Ridge
from tests.tolerance import assert_close


@functools.cache
def chaos() -> Tensor:
    return mackey_glass(1300, discard=100)


def sine(steps: int, batch: int = 3) -> Tensor:
    t = torch.arange(steps, dtype=torch.float64)[:, None]
    return torch.sin(0.2 * t + torch.arange(batch))[:, :, None]


def small(**options: Any) -> EchoStateNetwork:
    return EchoStateNetwork(**{"units": 30, "seed": 0, "ridge": 1e-6, "washout": 20, **options})


def features_of(model: EchoStateNetwork, x: Tensor) -> Tensor:
    """[1 ; x ; h] by hand, from the cell's own step."""
    cell = model.drawn_.reservoirs.cells[0][0][0]
    state, rows = cell.initial_state(1), []
    for row in x:
        h, state = cell.step(row[None], state)
        rows.append(torch.cat([torch.ones(1, 1, dtype=x.dtype), row[None], h], dim=1))
    return torch.cat(rows)


# --- read-outs -------------------------------------------------------------------------------------------------------


def pieces(rows: int = 200, size: int = 12, outputs: int = 2) -> tuple[Tensor, Tensor]:
    return torch.randn(2, rows, size).double(), torch.randn(rows, outputs).double()


@pytest.mark.parametrize("kind", [Ridge, QRRidge])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_read_outs_from_pieces_are_least_squares_of_the_whole(kind: Any, ridge: float) -> None:
    x, y = pieces()
    readout = kind(ridge)
    for start in (0, 7, 8, 130):
        stop = {0: 7, 7: 8, 8: 130, 130: 200}[start]
        readout.update(x[:, start:stop], y[start:stop])
    held = ridge**0.5 * torch.eye(12).double()
    for member in range(2):
        system = torch.cat([x[member], held])
        expected = torch.linalg.lstsq(system, torch.cat([y, torch.zeros(12, 2).double()])).solution
        assert_close(readout.weights()[member], expected)


def test_a_gram_matrix_in_pieces_of_its_columns_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = pieces()
    whole, cut = Ridge(0.1), Ridge(0.1)
    whole.update(x, y)
    monkeypatch.setattr("recurra.networks.reservoir.readouts._BLOCK", 5)
    cut.update(x, y)
    assert_close(cut.weights(), whole.weights())


def test_qr_keeps_the_digits_that_normal_equations_lose() -> None:
    x, _ = pieces()
    x[:, :, 1] = x[:, :, 0] + 1e-7 * x[:, :, 1]  # nearly the same column twice
    true = torch.randn(12, 2).double()
    y = x[0] @ true
    found = {}
    for kind in (QRRidge, Ridge):
        readout = kind(0.0)
        readout.update(x[:1], y)
        try:
            found[kind] = float((readout.weights()[0] - true).abs().max())
        except ConfigError:
            found[kind] = float("inf")
    assert found[QRRidge] < 1e-6 < found[Ridge]


@pytest.mark.parametrize("kind", [Ridge, QRRidge])
@pytest.mark.parametrize("rows", [200, 5])
def test_a_system_without_a_unique_solution_is_refused(kind: Any, rows: int) -> None:
    x, y = pieces(rows)
    x[:, :, 3] = x[:, :, 1] + x[:, :, 2]
    readout = kind(0.0)
    readout.update(x, y)
    with pytest.raises(
        ConfigError, match=r"With ridge=0 the read-out has no unique solution in float64.*larger `ridge`"
    ):
        readout.weights()


def test_recursive_least_squares_are_ridge_after_every_row() -> None:
    x, y = pieces()
    online, ridge = RLS(0.5), Ridge(0.5)
    for start, stop in ((0, 1), (1, 100), (100, 200)):
        online.update(x[:, start:stop], y[start:stop])
        ridge.update(x[:, start:stop], y[start:stop])
        assert_close(online.weights(), ridge.weights())


def test_forgetting_weighs_rows_by_their_age() -> None:
    x, y = pieces()
    online = RLS(0.5, forgetting=0.98)
    online.update(x, y)
    weight = 0.98 ** torch.arange(199, -1, -1).double()
    system = x[0].T @ (weight[:, None] * x[0]) + 0.98**200 * 0.5 * torch.eye(12).double()
    assert_close(online.weights()[0], torch.linalg.solve(system, x[0].T @ (weight[:, None] * y)))


def test_least_mean_squares_find_what_has_no_noise() -> None:
    x, _ = pieces(2000)
    true = torch.randn(12, 2).double()
    readout = LMS(1.0)
    readout.update(x[:1], x[0] @ true)
    assert float((readout.weights()[0] - true).abs().max()) < 1e-6


# --- fitting ---------------------------------------------------------------------------------------------------------


def test_the_read_out_is_ridge_regression_on_the_states_of_the_cell() -> None:
    x = chaos()[:300]
    model = small(leak=0.5, readout="qr").fit(x[:-1], x[1:])
    rows = features_of(model, x[:-1])
    kept = torch.cat([rows[20:], 1e-3 * torch.eye(rows.shape[1]).double()])
    target = torch.cat([x[21:], torch.zeros(rows.shape[1], 1).double()])
    expected = rows @ torch.linalg.lstsq(kept, target).solution
    assert_close(model.predict(x[:-1]), expected, relative=1e-7)


def test_a_read_out_need_not_see_the_input() -> None:
    x = chaos()[:300]
    assert small().fit(x[:-1], x[1:]).weights_.shape == (1, 32, 1)
    assert small(sees_input=False).fit(x[:-1], x[1:]).weights_.shape == (1, 31, 1)


@pytest.mark.parametrize("readout", ["ridge", "qr", "rls", "lms"])
@pytest.mark.parametrize("feedback", [False, True])
def test_pieces_of_a_series_fit_as_the_whole(readout: Any, feedback: bool) -> None:
    x = chaos()[:400]
    whole = small(readout=readout, feedback=feedback).fit(x[:-1], x[1:])
    cut = small(readout=readout, feedback=feedback)
    for start, stop in ((0, 5), (5, 150), (150, 399)):
        cut.partial_fit(x[start:stop], x[start + 1 : stop + 1])
    assert_close(cut.weights_, whole.weights_, relative=1e-6)
    for mine, other in zip(cut.state_.units[0], whole.state_.units[0], strict=True):
        assert_close(mine, other)


def test_windows_of_time_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    x = [sine(n, 1)[:, 0] for n in (90, 300, 0, 131)]
    model = small(ridge=1e-3, washout=0)
    whole = model.fit(x, x).predict(x)
    monkeypatch.setattr(drawn, "_NUMBERS", 1)
    for mine, other in zip(small(ridge=1e-3, washout=0).fit(x, x).predict(x), whole, strict=True):
        assert_close(mine, other, relative=1e-8)


def test_several_series_fit_as_one_after_another() -> None:
    x = sine(100)
    together = small().fit(x[:-1], x[1:])
    apart = small()
    for b in range(3):
        apart.partial_fit(x[:-1, b], x[1:, b], new_series=True)
    assert_close(together.weights_, apart.weights_, relative=1e-5)


def test_a_batch_is_predicted_as_its_series_one_by_one() -> None:
    x = sine(80)
    for model in (small(), small(feedback=True, noise=1e-3)):
        model.fit(x[:-1], x[1:])
        batch = model.predict(x)
        ragged = model.predict([x[:, 0], x[:31, 1], x[:, 2]])
        for b, length in enumerate((80, 31, 80)):
            assert_close(batch[:length, b], model.predict(x[:length, b]), relative=1e-8)
            assert_close(ragged[b], batch[:length, b], relative=1e-8)


def test_a_prediction_goes_on_from_a_state() -> None:
    x = chaos()[:500]
    for model in (small(), small(feedback=True, noise=1e-3), small(layers=2, groups=2)):
        model.fit(x[:-1], x[1:])
        whole, end = model.run(x)
        first, state = model.run(x[:123])
        second, last = model.run(x[123:], state=state)
        assert_close(torch.cat([first, second]), whole)
        assert_close(last.output, end.output)


def test_a_fit_that_was_interrupted_leaves_no_noise_in_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    x = chaos()[:200]
    model = small(noise=0.1).fit(x[:-1], x[1:])
    expected = model.predict(x)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(model.drawn_.readout, "update", interrupt)
    with pytest.raises(KeyboardInterrupt) as kept:  # with the frames in it, as a notebook keeps them
        model.partial_fit(x[:-1], x[1:])

    assert_close(model.predict(x), expected)
    assert kept.tb is not None


def test_answers_come_in_the_form_of_the_inputs() -> None:
    x = chaos()[:200, 0]
    model = small().fit(x[:-1], x[1:])
    assert model.predict(x).shape == (200,)
    assert model.predict(x[:, None].float()).dtype == torch.float32
    array = model.predict(x[:, None].numpy())
    assert isinstance(array, np.ndarray)
    assert array.shape == (200, 1)
    assert model.predict(x[:, None, None].expand(-1, 4, -1)).shape == (200, 4, 1)
    assert [len(part) for part in model.predict([x[:5, None], x[:9, None]])] == [5, 9]
    ragged = model.predict(Ragged.from_list([x[:5, None], x[:9, None]]))
    assert ragged.lengths.tolist() == [5, 9]


def test_float32_and_float64_agree() -> None:
    x = chaos()[:600]
    wide = small(ridge=1e-3).fit(x[:-1], x[1:]).predict(x)
    narrow = small(ridge=1e-3, dtype=torch.float32).fit(x[:-1], x[1:]).predict(x)
    assert float((wide - narrow).abs().max()) < 1e-3


def test_any_activation_runs_where_the_loop_has_none() -> None:
    x = chaos()[:200]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recurra.cells.echo_state_kernel._COMPILED", ())
        slow = small(layers=2).fit(x[:-1], x[1:])
        answers, free = slow.predict(x), slow.generate(10)
    model = small(layers=2).fit(x[:-1], x[1:])
    assert_close(model.predict(x), answers, relative=1e-7)
    assert_close(model.generate(10), free, relative=1e-6)


# --- wiring ----------------------------------------------------------------------------------------------------------


def test_members_are_networks_of_their_own_and_the_answer_is_their_mean() -> None:
    x = chaos()[:300]
    model = small(members=3).fit(x[:-1], x[1:])
    answers = torch.stack(model.predict_members(x))
    assert_close(model.predict(x), answers.mean(dim=0))
    for member in range(3):
        cell = model.drawn_.reservoirs.cells[0][member][0]
        alone = small().fit(x[:-1], x[1:])
        alone.drawn_.reservoirs.cells[0][0][0].load_state_dict(cell.state_dict())
        alone.partial_fit(x[:0], x[:0])
        readout = Ridge(1e-6)
        readout.update(features_of(alone, x[:-1])[None, 20:], x[21:])
        assert_close(features_of(alone, x) @ readout.weights()[0], answers[member], relative=1e-6)


def test_layers_read_the_layer_below_and_groups_the_same_input() -> None:
    x = chaos()[:120]
    model = small(units=8, layers=2, groups=2, leak=[1.0, 0.5, 0.4, 0.3]).fit(x[:-1], x[1:])
    cells = [layer[0] for layer in model.drawn_.reservoirs.cells]
    assert [[cell.leak for cell in layer] for layer in cells] == [[1.0, 0.5], [0.4, 0.3]]
    states: Any = [[cell.initial_state(1) for cell in layer] for layer in cells]
    for row in x:
        below = row[None]
        rows = [torch.ones(1, 1).double(), below]
        for layer, mine in zip(cells, states, strict=True):
            hs = []
            for k, cell in enumerate(layer):
                h, mine[k] = cell.step(below, mine[k])
                hs.append(h)
            below = torch.cat(hs, dim=1)
            rows.append(below)
    assert model.weights_.shape == (1, 1 + 1 + 32, 1)
    assert_close(torch.cat(rows, dim=1) @ model.weights_[0], model.predict(x)[-1:], relative=1e-7)


def test_feedback_sees_the_true_output_while_fitting_and_its_own_later() -> None:
    u, y = narma(150)
    model = small(feedback=True, noise=0.0).fit(u, y)
    shown = torch.cat([u, torch.cat([torch.zeros(1, 1).double(), y[:-1]])], dim=1)
    cell = model.drawn_.reservoirs.cells[0][0][0]
    state = cell.initial_state(1)
    rows = []
    for row in shown:
        h, state = cell.step(row[None], state)
        rows.append(torch.cat([torch.ones(1, 1).double(), row[None, :1], h], dim=1))
    readout = Ridge(1e-6)
    readout.update(torch.cat(rows)[None, 20:], y[20:])
    assert_close(model.weights_, readout.weights(), relative=1e-6)
    state, last = cell.initial_state(1), torch.zeros(1, 1).double()
    for t, answer in enumerate(model.predict(u[:40])):
        h, state = cell.step(torch.cat([u[t : t + 1], last], dim=1), state)
        last = torch.cat([torch.ones(1, 1).double(), u[t : t + 1], h], dim=1) @ model.weights_[0]
        assert_close(answer[None], last)


@pytest.mark.parametrize(("activation", "mean"), [("tanh", 0.1), ("sigmoid", 0.2)])
def test_intrinsic_plasticity_brings_outputs_to_their_distribution(activation: str, mean: float) -> None:
    u, _ = narma(400)
    x = 4 * u - 1
    before = small(units=40, activation=activation).fit(x, x)
    rule = IntrinsicPlasticity(mean=mean, deviation=0.25, rate=5e-3, epochs=4)
    after = small(units=40, activation=activation, plasticity=rule).fit(x, x)

    def miss(model: EchoStateNetwork) -> float:
        return float((features_of(model, x)[50:, 2:].mean(dim=0) - mean).abs().mean())

    assert miss(after) < 0.3 * miss(before)
    if activation == "tanh":
        spread = features_of(after, x)[50:, 2:].std(dim=0)
        assert float((spread - 0.25).abs().mean()) < 0.08


# --- free runs -------------------------------------------------------------------------------------------------------


def test_a_free_run_stays_on_the_attractor_of_mackey_glass() -> None:
    x = chaos()
    model = EchoStateNetwork(units=300, spectral_radius=1.25, leak=0.3, ridge=1e-8, washout=100, seed=0)
    model.fit(x[:999], x[1:1000])
    free = model.generate(300)
    assert free.shape == (300, 1)
    assert float((free[:80] - x[1000:1080]).abs().max()) < 0.02
    assert 0.2 < float(free.min()) < float(free.max()) < 1.5


def test_a_free_run_is_a_prediction_of_what_was_predicted() -> None:
    x = chaos()[:400]
    model = small(members=2).fit(x[:-1], x[1:])
    free = model.generate(6, prompt=x[:200])
    one_by_one = []
    state, row = None, x[:200]
    members = model.drawn_.reservoirs.members
    assert members == 2
    model = small().fit(x[:-1], x[1:])
    alone = model.generate(6, prompt=x[:200])
    for _ in range(6):
        answers, state = model.run(row, state=state)
        row = answers[-1:]
        one_by_one.append(row)
    assert_close(alone, torch.cat(one_by_one))
    assert free.shape == alone.shape
    assert_close(model.generate(5), model.generate(5, state=model.state_))
    assert_close(model.generate(5)[:1], model.predict(x[-1:], state=model.state_))


def test_several_series_are_generated_at_once() -> None:
    x = sine(150)
    model = small(washout=30).fit(x[:-1], x[1:])
    free = model.generate(20)
    assert free.shape == (20, 3, 1)
    t = torch.arange(150, 170).double()[:, None]
    expected = torch.sin(0.2 * t + torch.arange(3))[:, :, None]
    assert float((free - expected).abs().max()) < 1e-2
    assert model.generate(4, prompt=[x[:40, 0], x[:31, 1]])[1].shape == (4, 1)


def test_a_network_of_feedback_alone_draws_a_sine() -> None:
    y = sine(400, 1)[:, 0]
    model = small(units=50, feedback=True, noise=1e-4, washout=50).fit(y[:, :0], y)
    free = model.generate(50)
    expected = torch.sin(0.2 * torch.arange(400, 450).double())[:, None]
    assert float((free - expected).abs().max()) < 0.1


def test_lorenz_is_followed_for_a_while() -> None:
    x = lorenz(1600, discard=200) / 10
    model = EchoStateNetwork(200, leak=0.6, spectral_radius=1.1, input_scaling=0.3, washout=100, ridge=1e-6, seed=0)
    free = model.fit(x[:1499], x[1:1500]).generate(50)
    assert float((free - x[1500:1550]).abs().max()) < 0.05


# --- search ----------------------------------------------------------------------------------------------------------


def test_a_search_gives_a_table_with_the_best_first_and_a_fitted_network() -> None:
    x = chaos()[:500]
    found = search(x[:-1], x[1:], trials=4, units=40, washout=50, seed=3)
    errors = [trial.error for trial in found.table]
    assert errors == sorted(errors)
    assert 4 <= len(errors) <= 40
    assert found.best is found.table[0]
    assert found.network.get_params()["leak"] == found.best.leak
    again = search(x[:-1], x[1:], trials=4, units=40, washout=50, seed=3)
    assert again.best == found.best
    by_hand = EchoStateNetwork(40, washout=50, seed=3, **found.best.options).fit(x[:374], x[1:375])
    error = (by_hand.predict(x[374:-1], state=by_hand.state_) - x[375:]).square().mean().sqrt()
    assert found.best.error == pytest.approx(float(error / x[375:].std(correction=0)), rel=1e-4)


def test_a_search_with_feedback_and_a_fixed_range() -> None:
    u, y = narma(200)
    found = search(u, y, trials=2, units=20, washout=20, feedback=True, ranges={"leak": (1.0, 1.0)})
    assert {trial.leak for trial in found.table} == {1.0}


# --- options and refusals --------------------------------------------------------------------------------------------


def test_options_are_read_and_set_as_in_scikit_learn() -> None:
    model = EchoStateNetwork(50, leak=0.3)
    twin = EchoStateNetwork(**model.get_params())
    assert repr(twin) == repr(model) == "EchoStateNetwork(units=50, leak=0.3)"
    assert model.set_params(leak=0.5, seed=1) is model
    assert (model.leak, model.seed) == (0.5, 1)
    with pytest.raises(ConfigError, match=r"has no option `leek`\. Did you mean `leak`"):
        model.set_params(leek=1)


def test_the_score_is_the_share_of_variance_explained() -> None:
    x = chaos()[:400]
    model = small().fit(x[:-1], x[1:])
    answers = model.predict(x[:-1])
    expected = 1 - ((answers - x[1:]) ** 2).sum() / ((x[1:] - x[1:].mean()) ** 2).sum()
    assert model.score(x[:-1], x[1:]) == pytest.approx(float(expected))


@pytest.mark.parametrize("options", [{}, {"activation": "softsign"}, {"activation": "softsign", "feedback": True}])
def test_a_free_run_leaves_the_state_where_fitting_ended(options: dict[str, Any]) -> None:
    x = chaos()[:100]
    inputs = x[:-1, :0] if options.get("feedback") else x[:-1]
    model = small(**options).fit(inputs, x[1:])
    first = model.generate(5)
    assert_close(model.generate(5), first)


def test_options_that_change_count_from_the_next_fit_on() -> None:
    x = chaos()[:100]
    model = small().fit(x[:-1], x[1:])
    first, answers = model.generate(5), model.predict(x)
    model.set_params(feedback=True, dtype=torch.float32)
    assert_close(model.generate(5), first)
    assert_close(model.predict(x), answers)


def test_what_is_not_fitted_cannot_answer() -> None:
    model = small()
    for ask in (
        lambda: model.predict(chaos()),
        lambda: model.generate(3),
        lambda: model.state_,
        lambda: model.weights_,
    ):
        with pytest.raises(ConfigError, match="not fitted: call `fit`"):
            ask()


def test_arrays_that_run_backwards_or_are_read_only_are_taken() -> None:
    x = np.sin(np.arange(100.0))
    x.setflags(write=False)
    answers = small().fit(x[::-1][:-1], x[::-1][1:]).predict(x)
    np.testing.assert_array_equal(answers, small().fit(x[::-1][:-1].copy(), x[::-1][1:].copy()).predict(x.copy()))


def test_a_list_of_rows_is_answered_by_rows() -> None:
    x = chaos()[:100, 0]
    answers = small().fit([x[:60], x[40:]], [x[:60], x[40:]]).predict([x[:5], x[:7]])
    assert [list(answer.shape) for answer in answers] == [[5], [7]]


def test_an_option_that_is_a_text_is_called_no_number() -> None:
    with pytest.raises(ConfigError, match=r"`spectral_radius` must be a number .*, got '0\.9'"):
        small(spectral_radius="0.9").fit(chaos()[:60], chaos()[:60])


def test_a_series_without_steps_is_refused() -> None:
    with pytest.raises(ShapeError, match="nothing to fit to yet"):
        EchoStateNetwork(units=5).fit(np.zeros(0), np.zeros(0))


def test_a_washout_longer_than_a_series_is_refused() -> None:
    x = chaos()
    with pytest.raises(ShapeError, match="`washout` is 20 steps and the series has 20: nothing is left to fit to"):
        small().fit(x[:20], x[:20])
    with pytest.raises(ShapeError, match="`washout` is 20 steps and series 1 has 15"):
        small().fit([x[:40], x[:15]], [x[:40], x[:15]])
    model = small().partial_fit(x[:15], x[:15])
    with pytest.raises(ShapeError, match="nothing to fit to yet: give more steps than the `washout` of 20"):
        model.predict(x)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_named_by_its_row(number: float) -> None:
    x = chaos()[:100].clone()
    x[37] = number
    with pytest.raises(DataError, match=rf"`x` has {number} in row 37: fill or leave out"):
        small().fit(x, chaos()[:100])
    with pytest.raises(DataError, match=rf"`y` has {number} in row 7 of series 1"):
        small(washout=0).fit([chaos()[:40], chaos()[:30]], [chaos()[:40], x[30:60]])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(30, 1), torch.zeros(29, 1), "`x` and `y` must have the same steps, got series of 30 and 29"),
        (torch.zeros(30, 0), torch.zeros(30, 1), "`x` must have I=1 column or more, or `feedback`"),
        (torch.zeros(30, 1), torch.zeros(30, 0), "`y` must have O=1 column or more, got 0"),
        (torch.zeros(3, 3, 3, 3), torch.zeros(30, 1), r"`x` must have shape \[T, I\], \[T\] or \[T, B, I\], got"),
        ("words", torch.zeros(30, 1), "`x` must be an array or tensor of numbers, got a str: could not convert"),
        (np.arange(30).astype("datetime64[D]"), torch.zeros(30, 1), "got a ndarray: datetime64.D. is no type of them"),
        (
            np.ma.masked_array(np.ones(30), mask=np.arange(30) == 3),
            torch.zeros(30, 1),
            "fill or leave out what is masked",
        ),
        ([torch.zeros(3, 1), torch.zeros(3, 2)], torch.zeros(30, 1), "`x` must be a list of series .* the same I"),
        (
            Ragged(torch.zeros(3, 1), torch.tensor([0, 3]), torch.tensor([1])),
            torch.zeros(3, 1),
            "`x` must be a Ragged without resets",
        ),
    ],
)
def test_wrong_shapes_are_refused(x: Any, y: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        small(washout=0).fit(x, y)


def test_what_does_not_fit_the_fitted_network_is_refused() -> None:
    x = chaos()[:100]
    model = small().fit(x[:-1], x[1:])
    with pytest.raises(ShapeError, match="`x` must have I=1 columns as in `fit`, got 2"):
        model.predict(torch.zeros(5, 2))
    with pytest.raises(ShapeError, match="`y` must have O=1 columns as in `fit`, got 3"):
        model.partial_fit(torch.zeros(5, 1), torch.zeros(5, 3))
    with pytest.raises(ShapeError, match=r"`x` must have the 1 series that go on, got 2; .*new_series=True"):
        model.partial_fit(torch.zeros(5, 2, 1), torch.zeros(5, 2, 1))
    with pytest.raises(ShapeError, match="`state` must be of 2 series as `x` is, got 1"):
        model.predict(torch.zeros(5, 2, 1), state=model.state_)
    with pytest.raises(ShapeError, match="`state` must be a ReservoirState"):
        model.predict(x, state=3)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"`state` must be a ReservoirState.*, got \[3\]"):
        model.generate(3, state=torch.zeros(3))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`x` of `generate` is for networks with feedback"):
        model.generate(3, x=x)
    with pytest.raises(ConfigError, match="`steps` must be a whole number of at least 1, got 0"):
        model.generate(0)
    with pytest.raises(ShapeError, match="`prompt` must have at least one step"):
        model.generate(3, prompt=x[:0])
    with pytest.raises(ConfigError, match="An output of O=2 numbers cannot be the next input of I=1"):
        small().fit(x, x.expand(-1, 2)).generate(3)


@pytest.mark.parametrize("other", [{"units": 20}, {"layers": 2}, {"groups": 2}, {"members": 3}])
def test_the_state_of_another_network_is_refused(other: dict[str, Any]) -> None:
    x = chaos()[:100]
    model, state = small().fit(x[:-1], x[1:]), small(**other).fit(x[:-1], x[1:]).state_
    for use in (lambda: model.predict(x, state=state), lambda: model.generate(3, state=state)):
        with pytest.raises(ShapeError, match=r"`state` must be one of this network, of .* units and O=1 outputs"):
            use()


def test_a_network_that_was_fitted_to_one_series_generates_several_from_their_states() -> None:
    x = chaos()[:100]
    model = small().fit(x[:-1], x[1:])
    _, state = model.run(torch.stack([x[:40], x[20:60]], 1))
    made = model.generate(5, state=state)
    assert made.shape == (5, 2, 1)
    torch.testing.assert_close(made[:, 1], model.generate(5, state=model.run(x[20:60])[1]))


@pytest.mark.parametrize("kind", ["numpy", "tensor"])
def test_a_fitted_network_can_be_pickled(kind: str) -> None:
    x = chaos()[:100]
    model = small(layers=2).fit(*((x[:-1].numpy(), x[1:].numpy()) if kind == "numpy" else (x[:-1], x[1:])))
    expected = model.generate(5)
    again = pickle.loads(pickle.dumps(model)).generate(5)
    assert type(again) is type(expected)
    torch.testing.assert_close(torch.as_tensor(again), torch.as_tensor(expected))


def test_a_free_run_with_feedback_needs_its_inputs() -> None:
    u, y = narma(100)
    model = small(feedback=True).fit(u, y)
    assert model.generate(7, x=u[:7]).shape == (7, 1)
    with pytest.raises(ShapeError, match="`x` must have the I=1 inputs of the 7 steps, got none"):
        model.generate(7)
    with pytest.raises(ShapeError, match="`x` must have 1 series of 7 steps, got 6"):
        model.generate(7, x=u[:6])
    with pytest.raises(ConfigError, match="`prompt` is for networks without feedback"):
        model.generate(7, prompt=u)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": 0}, "`units` must be a whole number of at least 1, got 0"),
        ({"members": True}, "`members` must be a whole number of at least 1, got True"),
        ({"feedback": "no"}, "`feedback` must be true or false, got 'no'"),
        ({"sees_input": 0}, "`sees_input` must be true or false, got 0"),
        ({"washout": -1}, "`washout` must be a whole number of at least 0, got -1"),
        ({"dtype": torch.float16}, "`dtype` must be torch.float32 or torch.float64, got torch.float16"),
        ({"readout": "rigde"}, "Unknown read-out `rigde`. Did you mean `ridge`"),
        ({"ridge": -1.0}, "`ridge` must be a number of at least 0, got -1.0"),
        ({"readout": "rls", "ridge": 0.0}, "`ridge` must be above 0 for the read-out 'rls'"),
        ({"readout": "rls", "forgetting": "1"}, "`forgetting` must be a number above 0, got '1'"),
        ({"readout": "lms", "rate": "1"}, "`rate` must be a number above 0, got '1'"),
        ({"seed": "0"}, "`seed` must be a whole number from .*, got '0'"),
        ({"seed": 2**64}, "`seed` must be a whole number from .*, got 18446744073709551616"),
        ({"ridge": True}, "`ridge` must be a number of at least 0, got True"),
        ({"plasticity": True}, "`plasticity` must be an IntrinsicPlasticity or None, got True"),
        ({"forgetting": 0.99}, "`forgetting` is of the read-out `rls`; `ridge` forgets nothing"),
        ({"dtype": "float64"}, "`dtype` must be torch.float32 or torch.float64, got 'float64'"),
        ({"readout": "rls", "forgetting": 1.1}, "`forgetting` must be above 0 and at most 1, got 1.1"),
        ({"readout": "lms", "rate": 2.0}, "`rate` of the read-out 'lms' must be above 0 and below 2, got 2.0"),
        ({"leak": [0.5, 0.4]}, "`leak` must be one number or 1, one for each of 1 layers of 1 groups, got 2"),
        ({"units": 200, "ridge": 0.0}, "With ridge=0 the read-out has no unique solution"),
        ({"plasticity": IntrinsicPlasticity(), "activation": "relu"}, "Intrinsic plasticity is for tanh and sigmoid"),
        ({"plasticity": IntrinsicPlasticity(), "activation": "sigmoid"}, "`mean` of .* above 0 for sigmoid"),
    ],
)
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    x = chaos()[:100]
    with pytest.raises(ConfigError, match=message):
        small(**options).fit(x[:-1], x[1:])


def test_plasticity_needs_all_of_the_series_at_once() -> None:
    x = chaos()[:100]
    with pytest.raises(ConfigError, match="`plasticity` goes through the data before"):
        small(plasticity=IntrinsicPlasticity()).partial_fit(x, x)
    with pytest.raises(ShapeError, match="With `plasticity` all series must have the same length, got 50, 40"):
        small(plasticity=IntrinsicPlasticity()).fit([x[:50], x[:40]], [x[:50], x[:40]])
    with pytest.raises(ConfigError, match="`rate` must be a number above 0, got 0"):
        IntrinsicPlasticity(rate=0)
    with pytest.raises(ConfigError, match="`deviation` must be a number above 0, got '1'"):
        IntrinsicPlasticity(deviation="1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 1.0}, "`validation` must be above 0 and below 1, got 1.0"),
        ({"validation": "0.5"}, "`validation` must be a number above 0, got '0.5'"),
        ({"seed": 0.5}, "`seed` must be a whole number from .*, got 0.5"),
        ({"trials": 0}, "`trials` must be a whole number of at least 1, got 0"),
        ({"ranges": {"lek": (0, 1)}}, "A search has no range `lek`. Did you mean `leak`"),
        ({"ranges": {"leak": (0.0, 1.0)}}, "The range `leak` must be two numbers above 0, the lower first"),
        ({"ranges": {"leak": (0.5,)}}, "The range `leak` must be two numbers above 0, the lower first"),
        ({"ranges": {"leak": "ab"}}, "The range `leak` must be two numbers above 0, the lower first"),
        ({"leak": 0.5}, "use `ranges` to fix one of them"),
    ],
)
def test_a_search_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    x = chaos()[:100]
    with pytest.raises(ConfigError, match=message):
        search(x[:-1], x[1:], **{"units": 10, "trials": 1, **options})
