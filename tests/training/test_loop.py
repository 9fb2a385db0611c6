"""`fit` against loops written out, its ends, its refusals, and its return from death inside one process."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra.errors import ConfigError, DataError, RunError, ShapeError
from recurra.training import Loss, TrainingConfig, fit, read_checkpoint, read_metrics, truncated_bptt
from recurra.training.averaging import weights_of
from recurra.training.bptt import cut_time
from recurra.training.checkpoint import Checkpoint, write_checkpoint
from recurra.training.loss import sum_losses
from recurra.training.optimise import learning_rate_at
from tests.tolerance import assert_close
from tests.training.tiny import (
    TinyNetwork,
    TinySource,
    fingerprint,
    objective,
    squared_error,
    stateful_objective,
    train,
    validate,
)

DOUBLE = torch.float64


def network(dropout: float = 0.0, dtype: torch.dtype = torch.float32) -> TinyNetwork:
    torch.manual_seed(3)
    return TinyNetwork(dropout, dtype)


def plain(model: nn.Module, source: Any, config: TrainingConfig, **more: Any) -> Any:
    return fit(model, source, more.pop("objective", objective), config, **{"progress": "none", **more})


def objective_alone(model: nn.Module, batch: Any, state: Any) -> Loss:
    return stateful_objective(model, batch, state)[0]


def assert_same_weights(got: nn.Module, expected: nn.Module) -> None:
    for a, b in zip(got.parameters(), expected.parameters(), strict=True):
        assert_close(a.detach(), b.detach())


# --- updates ---------------------------------------------------------------------------------------------------------


def test_training_is_the_loop_one_would_write() -> None:
    config = TrainingConfig(epochs=2, optimizer="adam", weight_decay=0.0, clip_norm=0.3, warmup_steps=3)
    source, got, expected = TinySource(dtype=DOUBLE), network(dtype=DOUBLE), network(dtype=DOUBLE)
    result = plain(got, source, config)
    optimizer, step = torch.optim.Adam(expected.parameters()), 0
    for epoch in range(2):
        for item in source.plan(epoch):
            optimizer.zero_grad()
            objective(expected, source.load(item)).mean.backward()
            torch.nn.utils.clip_grad_norm_(expected.parameters(), 0.3)
            optimizer.param_groups[0]["lr"] = learning_rate_at(config, step, 12)
            optimizer.step()
            step += 1
    assert (result.step, result.epoch, result.reason) == (12, 2, "epochs")
    assert result.items == 2 * sum(len(example) for example in source.examples)
    torch.testing.assert_close([*got.parameters()], [*expected.parameters()], rtol=1e-6, atol=1e-8)  # 1e-6 in the norm


def test_micro_batches_make_the_gradient_of_the_whole_batch() -> None:
    options: dict[str, Any] = {"epochs": 3, "optimizer": "sgd", "clip_norm": None, "schedule": "constant"}
    small, large = network(dtype=DOUBLE), network(dtype=DOUBLE)
    plain(small, TinySource(batch_size=4, dtype=DOUBLE), TrainingConfig(accumulate=3, **options))
    plain(large, TinySource(batch_size=12, dtype=DOUBLE), TrainingConfig(**options))
    assert_same_weights(small, large)


@pytest.mark.parametrize(("k1", "k2"), [(2, 2), (2, 5), (3, 4)])
def test_truncated_training_is_the_loop_one_would_write(k1: int, k2: int) -> None:
    config = TrainingConfig(
        epochs=1, k1=k1, k2=k2, optimizer="sgd", clip_norm=None, schedule="constant", weight_decay=0.0
    )
    source, got, expected = TinySource(dtype=DOUBLE), network(dtype=DOUBLE), network(dtype=DOUBLE)
    result = plain(got, source, config, objective=stateful_objective)
    optimizer, step = torch.optim.SGD(expected.parameters(), lr=config.learning_rate, momentum=0.9), 0
    for item in source.plan(0):
        x, y = source.load(item)
        for window in truncated_bptt(expected, x, k1=k1, k2=k2):
            optimizer.zero_grad()
            squared_error(window.outputs, cut_time(y, window.start, window.stop)).mean.backward()
            optimizer.step()
            step += 1
    assert result.step == step > len(source.plan(0))
    assert_same_weights(got, expected)


def test_bf16_computes_in_bf16_and_keeps_float32_weights() -> None:
    seen = set()

    def watched(model: nn.Module, batch: Any) -> Loss:
        seen.add(model.into(batch[0].values).dtype)  # type: ignore[operator]
        return objective(model, batch)

    model = network()
    plain(model, TinySource(), TrainingConfig(max_steps=3, precision="bf16"), objective=watched)
    assert seen == {torch.bfloat16}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_threads_are_set() -> None:
    before = torch.get_num_threads()
    try:
        plain(network(), TinySource(), TrainingConfig(max_steps=1, threads=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# --- which weights are kept --------------------------------------------------------------------------------------


class Scripted:
    """Scores from a list; remembers the weights that were judged."""

    def __init__(self, scores: list[float]) -> None:
        self.scores, self.judged = scores, list[str]()

    def __call__(self, model: nn.Module) -> dict[str, float]:
        assert not model.training
        assert not torch.is_grad_enabled()
        self.judged.append(fingerprint(model))
        return {"bleu": self.scores[len(self.judged) - 1]}


@pytest.mark.parametrize("averaging", ["none", "ema", "last"])
def test_the_best_weights_come_back(averaging: Any) -> None:
    scores = Scripted([1.0, 5.0, 2.0, 3.0, 1.0])
    config = TrainingConfig(
        max_steps=20, evaluate_every=2, metric="bleu", metric_goal="max", patience=3, averaging=averaging
    )
    model = network()
    result = plain(model, TinySource(), config, validate=scores)
    assert (result.reason, result.step, result.best_step, result.scores) == ("patience", 10, 4, {"bleu": 5.0})
    assert fingerprint(model) == scores.judged[1]
    assert not model.training


def test_the_last_update_is_judged_too() -> None:
    scores = Scripted([3.0, 2.0])
    model = network()
    result = plain(model, TinySource(), TrainingConfig(max_steps=7, evaluate_every=5, metric="bleu"), validate=scores)
    assert (result.reason, result.best_step) == ("max_steps", 7)
    assert fingerprint(model) == scores.judged[1]


def test_the_last_updates_before_patience_ends_are_logged() -> None:
    rows: list[dict[str, Any]] = []
    config = TrainingConfig(max_steps=20, evaluate_every=2, log_every=5, metric="bleu", patience=1)
    plain(network(), TinySource(), config, validate=Scripted([1.0, 2.0]), on_metrics=rows.append)
    assert [(row["step"], row["split"]) for row in rows] == [(2, "validation"), (4, "validation"), (4, "train")]


def test_without_validation_the_average_comes_back() -> None:
    after: list[dict[str, Tensor]] = []
    model = network()
    plain(
        model,
        TinySource(),
        TrainingConfig(max_steps=6, evaluate_every=2, averaging="last", average_last=2, log_every=1),
        on_metrics=lambda row: after.append({name: w.clone() for name, w in weights_of(model).items()}),
    )
    for name, weight in weights_of(model).items():
        assert_close(weight, (after[3][name] + after[5][name]) / 2)


def test_an_evaluation_leaves_no_trace_in_training() -> None:
    def noisy(model: nn.Module) -> dict[str, float]:
        return {"loss": 1.0 + float(torch.rand(5).sum())}

    rows: dict[int, list[Any]] = {}
    for every in (1, 5):
        kept = rows.setdefault(every, [])
        plain(
            network(dropout=0.5),
            TinySource(),
            TrainingConfig(max_steps=5, log_every=1, evaluate_every=every),
            validate=noisy,
            on_metrics=kept.append,
        )
    losses = [[row["loss"] for row in each if row["split"] == "train"] for each in rows.values()]
    assert losses[0] == losses[1]


def test_what_is_logged_is_what_is_in_the_file(tmp_path: Path) -> None:
    rows: list[Any] = []
    train(tmp_path, {"max_steps": 8, "evaluate_every": 4}, network(), on_metrics=rows.append)
    assert read_metrics(tmp_path / "metrics.jsonl") == rows
    assert [(row["step"], row["split"]) for row in rows] == [
        (3, "train"),
        (4, "validation"),
        (6, "train"),
        (8, "train"),
        (8, "validation"),
    ]
    assert rows[0].keys() == {
        "step", "epoch", "seconds", "split", "loss", "absolute", "gradient_norm", "learning_rate",
    }  # fmt: skip


# --- refusals ------------------------------------------------------------------------------------------------------


def exploding(at: int, spoil: Callable[[Tensor], Tensor]) -> Callable[..., Loss]:
    calls = 0

    def spoiled(model: nn.Module, batch: Any) -> Loss:
        nonlocal calls
        calls += 1
        loss = objective(model, batch)
        return Loss(spoil(loss.total), loss.count, loss.extra) if calls == at else loss

    return spoiled


@pytest.mark.parametrize(
    ("spoil", "what"),
    [(lambda total: total * math.nan, "loss"), (lambda total: (total - total.detach()).sqrt(), "gradient")],
)
def test_a_loss_that_is_not_finite_stops_training_and_keeps_the_checkpoint(
    tmp_path: Path, spoil: Any, what: str
) -> None:
    with pytest.raises(ConfigError) as stopped:
        train(tmp_path, {"save_every": 2}, network(), objective=exploding(6, spoil))
    assert str(stopped.value) == (
        f"The {what} is not finite at update 6: lower `learning_rate` (now 0.001) or lower `clip_norm`; "
        f"the checkpoint of update 4 is kept in `{tmp_path / 'checkpoint.safetensors'}`."
    )
    assert read_checkpoint(tmp_path / "checkpoint.safetensors").values["step"] == 4


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    options = {"learning_rate": 1e38, "optimizer": "sgd", "clip_norm": None, "save_every": 1, "schedule": "constant"}
    with pytest.raises(
        ConfigError, match=r"not finite at update \d: lower `learning_rate` \(now 1e\+38\) or set `clip"
    ):
        train(tmp_path, options, network(), objective=exploding(1, lambda total: total * 1e6))
    weights = read_checkpoint(tmp_path / "checkpoint.safetensors").part("model")
    assert all(bool(weight.isfinite().all()) for weight in weights.values())


@pytest.mark.parametrize(
    ("options", "more", "refusal", "sentence"),
    [
        ({"patience": 2}, {}, ConfigError, "`patience` and the schedule `plateau` look at scores: give `validate`"),
        ({"schedule": "plateau"}, {}, ConfigError, "give `validate`"),
        (
            {"max_steps": None},
            {},
            ConfigError,
            "`max_steps` and `epochs` cannot both be none: training would never end",
        ),
        ({}, {"resume": True}, ConfigError, "`resume` needs `checkpoint`"),
        (
            {"metric": "los", "max_steps": 1},
            {"validate": validate},
            ConfigError,
            "`metric` must be one of `loss`, `absolute`, got 'los'. Did you mean `loss`?",
        ),
        (
            {"clip_state_gradient": 0.5},
            {},
            ConfigError,
            "`clip_state_gradient` 0.5 is kept by the cells, and no cell of the model does: build it with",
        ),
        ({"device": "cuda:77"}, {}, ConfigError, "`device` cuda:77 is not there"),
        (
            {},
            {"objective": lambda model, batch: Loss(objective(model, batch).total, 0)},
            ConfigError,
            "The batches of update 1 have no items: their `count` is 0",
        ),
        (
            {},
            {"objective": lambda model, batch: objective(model, batch).total},
            ConfigError,
            "The objective must return a `Loss(total, count)`, the sum over items and how many they are, got a Tensor",
        ),
        (
            {},
            {"objective": lambda model, batch: objective(model, batch).detach()},
            ConfigError,
            "No gradient flows from",
        ),
        ({"k1": 2}, {"objective": objective_alone}, ConfigError, "must return the pair (Loss, state), got a Loss"),
        (
            {"evaluate_every": 1},
            {"validate": lambda model: 0.5},
            ConfigError,
            "scores by name, {'loss': 0.5}, got a float",
        ),
        ({}, {"checkpoint": "/"}, RunError, "`/` is a folder: name a file"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    options: dict[str, Any], more: dict[str, Any], refusal: type[Exception], sentence: str
) -> None:
    with pytest.raises(refusal) as refused:
        plain(network(), TinySource(), TrainingConfig(**options), **more)
    assert sentence in str(refused.value)


def test_parts_of_another_kind_are_refused() -> None:
    model, source, config = network(), TinySource(), TrainingConfig(max_steps=1)
    with pytest.raises(ConfigError, match=r"`model` must be an nn\.Module, got a function"):
        fit(objective, source, objective, config)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`model` has nothing to train"):
        fit(network().requires_grad_(False), source, objective, config)
    with pytest.raises(ConfigError, match=r"`source` must have the methods `plan\(epoch\)`, .*, got a list"):
        fit(model, [], objective, config)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"`config` must be a TrainingConfig, .*, got a dict"):
        fit(model, source, objective, {"max_steps": 1})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"`progress` must be 'auto', .* got 'quiet'"):
        fit(model, source, objective, config, progress="quiet")  # type: ignore[arg-type]


def test_a_limit_of_the_state_gradient_that_the_cells_keep_is_trained_with() -> None:
    model = recurra.Recurrent(recurra.RNN(2, 1), clip_state_gradient=0.5)
    assert plain(model, TinySource(), TrainingConfig(max_steps=1, clip_state_gradient=0.5)).step == 1
    with pytest.raises(ConfigError, match="`clip_state_gradient` 2 is kept by the cells"):
        plain(model, TinySource(), TrainingConfig(max_steps=1, clip_state_gradient=2))


def test_no_batches_are_refused() -> None:
    with pytest.raises(DataError, match="the plan of epoch 0 has no batches"):
        plain(network(), TinySource(examples=0), TrainingConfig())


def test_batches_of_no_steps_cannot_be_cut_into_windows() -> None:
    class Empty(TinySource):
        def load(self, item: list[int]) -> Any:
            return cut_time(super().load(item), 99, 100)

    with pytest.raises(DataError, match="Batch 0 of epoch 0 has no time steps"):
        plain(network(), Empty(), TrainingConfig(k1=2), objective=stateful_objective)


def test_a_word_for_progress_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`progress` must be 'auto', 'bar', 'lines' or 'none', got 'line'"):
        plain(network(), TinySource(), TrainingConfig(), progress="line")


def test_a_loss_must_be_a_sum() -> None:
    with pytest.raises(ShapeError, match=r"`total` of a Loss must be a single number.*got a float"):
        Loss(1.5, 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`total` of a Loss must be a single number.*got \[3\]"):
        Loss(torch.zeros(3), 3)


@pytest.mark.parametrize("name", ["total", "count", "stop", "save", "loss", "step"])
def test_an_extra_does_not_take_the_name_of_what_training_counts(name: str) -> None:
    with pytest.raises(ConfigError, match=f"a name that training uses itself, `{name}`: take another one"):
        Loss(torch.zeros(()), 3, {name: 1.0})


def test_losses_with_other_extras_are_not_added() -> None:
    plain, more = Loss(torch.zeros(()), 3), Loss(torch.zeros(()), 3, {"correct": 1.0})
    for losses in ([plain, more], [more, plain]):
        for add in (lambda losses: losses[0] + losses[1], sum_losses):
            with pytest.raises(
                ConfigError, match="must have the same `extra`, but some lack `correct`: give it in each"
            ):
                add(losses)


# --- saving and resuming ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["checkpoint", "metrics"])
def test_traces_of_another_run_are_not_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(RunError, match=r"is there from another run: go on with `resume=True`"):
        plain(network(), TinySource(), TrainingConfig(), **{name: tmp_path / name})
    assert (tmp_path / name).read_text() == "precious"


class Killed(BaseException):
    """As sudden as SIGKILL can be inside one process."""


def dying(at: int, whole: Callable[..., Any]) -> Callable[..., Any]:
    calls = 0

    def mortal(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise Killed
        return whole(*args)

    return mortal


def curve(folder: Path) -> list[dict[str, Any]]:
    rows = read_metrics(folder / "metrics.jsonl")
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


LIVES: list[dict[str, Any]] = [
    {"averaging": "ema", "accumulate": 4, "save_every": 1},
    {"averaging": "last", "average_last": 2, "optimizer": "sgd", "schedule": "linear", "warmup_steps": 5},
    {"optimizer": "rmsprop", "schedule": "plateau", "plateau_patience": 1, "evaluate_every": 2},
    {"optimizer": "adam", "patience": 3, "evaluate_every": 3, "max_steps": None, "epochs": 4, "accumulate": 5},
    {"k1": 2, "k2": 5, "accumulate": 3, "save_every": 1},
    {"k1": 3, "save_every": 2, "optimizer": "rmsprop"},
]


@pytest.mark.parametrize("options", LIVES, ids=lambda options: "-".join(map(str, options.values())))
def test_a_run_that_dies_again_and_again_is_a_run_that_lives(tmp_path: Path, options: dict[str, Any]) -> None:
    options = {"max_steps": 23, "save_every": 3, **options}
    (tmp_path / "unbroken").mkdir()
    unbroken, broken = network(dropout=0.3), tmp_path / "broken"
    expected = train(tmp_path / "unbroken", options, unbroken)
    broken.mkdir()
    whole = objective if "k1" not in options else stateful_objective
    for at in (1, 11, 2, 25, 7, 16):
        torch.manual_seed(at)  # what happens between two lives must not matter
        model = network(dropout=0.3)
        try:
            train(broken, options, model, objective=dying(at, whole))
        except Killed:
            continue
    result = train(broken, options, model := network(dropout=0.3))
    assert fingerprint(model) == fingerprint(unbroken)
    assert curve(broken) == curve(tmp_path / "unbroken")
    assert (result.step, result.scores, result.best_step, result.items) == (
        expected.step, expected.scores, expected.best_step, expected.items,
    )  # fmt: skip


def test_a_finished_run_is_resumed_at_its_end(tmp_path: Path) -> None:
    first, again = network(), network()
    result = train(tmp_path, {"max_steps": 5}, first)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    assert train(tmp_path, {"max_steps": 5}, again, objective=dying(1, objective)).scores == result.scores
    assert fingerprint(again) == fingerprint(first)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_run_can_be_made_longer(tmp_path: Path) -> None:
    train(tmp_path, {"max_steps": 5}, network())
    assert train(tmp_path, {"max_steps": 9}, network()).step == 9


@pytest.mark.parametrize(
    ("options", "model", "sentence"),
    [
        ({"optimizer": "sgd"}, network(), "begun with `optimizer` adamw, not sgd"),
        ({"averaging": "ema"}, network(), "begun with `averaging` none, not ema"),
        ({"metric": "absolute"}, network(), "begun with `metric` loss, not absolute"),
        ({"metric_goal": "max"}, network(), "begun with `metric_goal` min, not max"),
        ({}, nn.Linear(2, 1), "The saved weights are of another network"),
    ],
)
def test_another_run_is_not_resumed(tmp_path: Path, options: dict[str, Any], model: nn.Module, sentence: str) -> None:
    train(tmp_path, {"max_steps": 2}, network())
    with pytest.raises(RunError, match=sentence):
        train(tmp_path, {"max_steps": 5, **options}, model)


def test_other_data_are_not_resumed(tmp_path: Path) -> None:
    files = {"checkpoint": tmp_path / "checkpoint"}
    plain(network(), TinySource(), TrainingConfig(max_steps=2), **files)
    with pytest.raises(RunError, match="epoch 0 has 3 batches now and had 6"):
        plain(network(), TinySource(examples=9), TrainingConfig(max_steps=5), resume=True, **files)


@pytest.mark.parametrize("options", [{}, {"k1": 1, "k2": 1}, {"k1": 1, "k2": 3}, {"k1": 2, "k2": 2}], ids=str)
def test_a_window_is_not_resumed_with_others_or_none(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(Killed):
        train(tmp_path, {"k1": 1, "k2": 2, "save_every": 1}, network(), objective=dying(5, stateful_objective))
    with pytest.raises(RunError, match="resume it with the same `k1` and `k2`"):
        train(tmp_path, {"max_steps": 7, **options}, network())


def test_a_checkpoint_that_does_not_say_its_metric_is_resumed(tmp_path: Path) -> None:
    train(tmp_path, {"max_steps": 2}, network())
    saved = read_checkpoint(tmp_path / "checkpoint.safetensors")
    values = {name: value for name, value in saved.values.items() if not name.startswith("metric")}
    write_checkpoint(tmp_path / "checkpoint.safetensors", Checkpoint(saved.tensors, values))
    assert train(tmp_path, {"max_steps": 4, "metric": "absolute"}, network()).step == 4


def test_a_checkpoint_that_does_not_say_its_windows_is_resumed(tmp_path: Path) -> None:
    options = {"k1": 1, "k2": 2, "save_every": 1, "max_steps": 7}
    with pytest.raises(Killed):
        train(tmp_path, options, network(), objective=dying(5, stateful_objective))
    saved = read_checkpoint(tmp_path / "checkpoint.safetensors")
    position = saved.values["position"]
    assert (position.pop("k1"), position.pop("k2"), position["window"] > 0) == (1, 2, True)
    write_checkpoint(tmp_path / "checkpoint.safetensors", saved)
    assert train(tmp_path, options, network()).step == 7


def test_a_full_disk_in_the_middle_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.fsync, 0

    def full(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls >= 8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"checkpoint\.safetensors` could not be written \(no space left on device\)"):
        train(tmp_path, {"save_every": 1, "max_steps": 6}, network())
    monkeypatch.undo()
    step = read_checkpoint(tmp_path / "checkpoint.safetensors").values["step"]
    assert step > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.safetensors", "metrics.jsonl"]
    unbroken = network()
    plain(unbroken, TinySource(), TrainingConfig(max_steps=6))
    assert train(tmp_path, {"max_steps": 6}, resumed := network(), validate=None).step == 6
    assert fingerprint(resumed) == fingerprint(unbroken)


def test_time_alone_can_ask_for_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(tmp_path, {"save_seconds": 1e-9}, network(), objective=dying(5, objective))
    assert read_checkpoint(tmp_path / "checkpoint.safetensors").values["step"] == 4
