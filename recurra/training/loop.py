"""`fit`: train any network on any batches, and go on after a crash as if there had been none.

    model + source + objective + config  ->  the best (or averaged) weights in the model, and a FitResult

One update, from top to bottom of `_Run._update`: forward and backward of its pieces, sums over all processes, one
division by the number of items, clipping, the optimiser. Everything that a later update depends on (weights,
optimiser, averages, random numbers, position in the data, scores so far) is in the checkpoint, and nothing depends on
the clock but when checkpoints are written. So a run that was killed at any moment and resumed gives the same numbers,
bit for bit, as one that was not.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from recurra.cells import ClipStateGradient
from recurra.checks import check_choice
from recurra.errors import ConfigError, RunError, did_you_mean
from recurra.shapes import describe
from recurra.training.averaging import copy_of, make_average, set_weights, weights_in_use, weights_of
from recurra.training.bptt import Truncation
from recurra.training.checkpoint import Checkpoint, read_bytes, write_checkpoint
from recurra.training.config import TrainingConfig
from recurra.training.distributed import Group, join
from recurra.training.feed import Feed
from recurra.training.interrupt import Interrupted, StopRequest, listening
from recurra.training.loss import BatchSource, Loss, Objective, StatefulObjective, check_source, sum_losses
from recurra.training.metrics import append_metrics, keep_metrics_until
from recurra.training.optimise import (
    Judge,
    clip_gradients,
    learning_rate_at,
    make_optimizer,
    optimizer_tensors,
    restore_optimizer,
    set_learning_rate,
)
from recurra.training.precision import uses_bf16
from recurra.training.progress import Progress, ProgressKind, showing
from recurra.training.seed import random_state, same_random_numbers_after, seed_everything, set_random_state
from recurra.training.watch import GradientWatch, at_some_lags

__all__ = ["FitResult", "fit"]

SAME = ("optimizer", "averaging", "metric", "metric_goal")  # what a resumed run cannot have another one of

Row = dict[str, Any]
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class FitResult:
    """How training ended.

    Args:
        step: updates made.
        epoch: whole passes over the data.
        reason: what ended it.
        scores: of the validation part, with the weights that the model has now; empty without validation.
        best_step: updates made when these weights were judged; `step` without validation.
        items: items trained on, repeats counted.
        seconds: time spent, with that of the runs it resumed.
    """

    step: int
    epoch: int
    reason: Literal["max_steps", "epochs", "patience"]
    scores: dict[str, float]
    best_step: int
    items: int
    seconds: float


def fit(
    model: nn.Module,
    source: BatchSource,
    objective: Objective | StatefulObjective,
    config: TrainingConfig,
    *,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    checkpoint: PathLike | None = None,
    resume: bool = False,
    metrics: PathLike | None = None,
    on_metrics: Callable[[Row], object] | None = None,
    progress: ProgressKind = "auto",
    unit: str = "items",
) -> FitResult:
    """Train a model in place; it ends with the weights that did best.

    These are, with `validate`, the weights (averaged ones where `config.averaging` says so) of the evaluation with the
    best `config.metric`; without it the averaged or the last ones. Under `torchrun` all processes call this alike.

    Args:
        model: moved to the device of the configuration.
        source: where batches come from.
        objective: `objective(model, batch) -> Loss`; under truncated BPTT (`config.k1`)
            `objective(model, batch, state) -> (Loss, state)`, where batch is a stretch of time and state None at first.
        config: every option. Two of them others carry out: the cells clip the gradient of the state (`fit` refuses a
            limit that no cell of the model keeps), and the objective smooths its labels.
        validate: scores of the validation part by name. The model comes in eval mode, without gradients.
        checkpoint: file to save to; it stays there after the end.
        resume: go on from `checkpoint`. Where there is none yet, begin: the run was killed before its first.
        metrics: file for a JSON line every `config.log_every` updates and every evaluation.
        on_metrics: called with each such line.
        progress: `auto`, `bar`, `lines` or `none`; always on stderr.
        unit: what the objective counts, in the plural.

    Returns: how it ended.

    Raises:
        Interrupted: Ctrl-C; the checkpoint is saved first. A KeyboardInterrupt.
        ConfigError: the loss is no longer finite, an option needs something that is not there, or a part is of another
            kind.
        RunError: the checkpoint cannot be written, or cannot be resumed from.
        DataError: there are no batches.
    """
    _expect_parts(model, source, config)
    check_choice("progress", progress, get_args(ProgressKind))
    if config.max_steps is None and config.epochs is None:
        raise ConfigError("`max_steps` and `epochs` cannot both be none: training would never end; give one.")
    files = _Files(None if checkpoint is None else Path(checkpoint), None if metrics is None else Path(metrics))
    if validate is None and (config.patience is not None or config.schedule == "plateau"):
        raise ConfigError("`patience` and the schedule `plateau` look at scores: give `validate`, or do without them.")
    check_choice("progress", progress, get_args(ProgressKind))
    _expect_clipping(model, config.clip_state_gradient)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    group = join(config.device)
    if group.is_first:
        files.expect_nothing_lost(resume)
    with ExitStack() as stack:
        stop = stack.enter_context(listening())
        run = _Run(model, source, objective, config, group, validate, files, on_metrics)
        run.begin(resume)
        kind = progress if group.is_first else "none"
        run.show = stack.enter_context(showing(kind, start=run.step, total=run.total_steps, unit=unit))
        return run.train(stop)


@dataclass(frozen=True)
class _Files:
    """Where a run leaves its traces; None: nowhere."""

    checkpoint: Path | None
    metrics: Path | None

    def expect_nothing_lost(self, resume: bool) -> None:
        if resume and self.checkpoint is None:
            raise ConfigError("`resume` needs `checkpoint`, the file to go on from.")
        for path in (self.checkpoint, self.metrics):
            if path is not None and path.is_dir():
                raise RunError(f"`{path}` is a folder: name a file.")
            if not resume and path is not None and path.exists():
                raise RunError(f"`{path}` is there from another run: go on with `resume=True`, or remove it first.")


class _Run:
    """A training under way. `begin` it, then `train`."""

    def __init__(
        self,
        model: nn.Module,
        source: BatchSource,
        objective: Objective | StatefulObjective,
        config: TrainingConfig,
        group: Group,
        validate: Callable[[nn.Module], Mapping[str, float]] | None,
        files: _Files,
        on_metrics: Callable[[Row], object] | None,
    ) -> None:
        self.model, self.config, self.group = model.to(group.device), config, group
        self.validate, self.files, self.on_metrics = validate, files, on_metrics
        self.replica = group.replicate(model)  # first of all: now all processes have the weights of rank 0
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = make_optimizer(model, config)
        self.average = make_average(config.averaging, model, decay=config.ema_decay, last=config.average_last)
        self.watch = GradientWatch(model, config.watch_gradients)
        self.judge = Judge(config.metric_goal, config.patience, config.plateau_patience)
        truncation = Truncation(config.k1, config.k2 or config.k1) if config.k1 else None
        self.feed = Feed(source, objective, group, truncation, config.accumulate)
        self.total_steps = _total_steps(config, len(self.feed.plan))
        self.show: Progress

        self.step = 0
        self.items = 0
        self.seconds = 0.0
        self.best: dict[str, Tensor] = {}
        self.best_scores: dict[str, float] = {}
        self.since_logged: dict[str, float] = {}
        self.saved_step = -1

    # --- the course ----------------------------------------------------------------------------------------------

    def begin(self, resume: bool) -> None:
        """The first update, or the one after the checkpoint."""
        seed_everything(self.config.seed, stream=self.group.rank)
        self.clock = time.monotonic()
        path = self.files.checkpoint
        data = self.group.from_first(
            read_bytes(path) if resume and self.group.is_first and path is not None and path.exists() else b""
        )
        if data:
            self._restore(Checkpoint.from_bytes(data, self._path))
        if resume and self.group.is_first and self.files.metrics is not None:
            keep_metrics_until(self.files.metrics, self.step)

    def train(self, stop: StopRequest) -> FitResult:
        """Update until the end; evaluate, log and save in between."""
        self.model.train()
        self.saved_at = time.monotonic()
        if self.step == 0:
            self._save()  # a disk that refuses is better known now than in an hour
        while (reason := self._reason_to_end()) is None:
            sums = self._update(stop)
            if self.step % self.config.log_every == 0 or self._reason_to_end():
                self._log()
            if self.step % self.config.evaluate_every == 0 or self._reason_to_end():
                self._evaluate()
            if self.since_logged and self._reason_to_end():
                self._log()  # patience ended here, which was not known before the evaluation
            if sums["save"] or sums["stop"] or self._reason_to_end():
                self._save()  # last: all lines of this update are in metrics.jsonl already
            if sums["stop"]:
                raise Interrupted(self.step, self.files.checkpoint)
        return self._finish(reason)

    def _reason_to_end(self) -> Literal["max_steps", "epochs", "patience"] | None:
        if self.config.max_steps is not None and self.step >= self.config.max_steps:
            return "max_steps"
        if self.config.epochs is not None and self.feed.epoch >= self.config.epochs:
            return "epochs"
        return "patience" if self.judge.is_tired else None

    def _finish(self, reason: Literal["max_steps", "epochs", "patience"]) -> FitResult:
        chosen = self.best or self.average.weights()
        if chosen:
            set_weights(self.model, chosen)
        self.model.eval()
        return FitResult(
            step=self.step,
            epoch=self.feed.epoch,
            reason=reason,
            scores=dict(self.best_scores),
            best_step=self.judge.best_step if self.best else self.step,
            items=self.items,
            seconds=self._seconds(),
        )

    # --- one update ----------------------------------------------------------------------------------------------

    def _update(self, stop: StopRequest) -> dict[str, float]:
        """One change of the weights. Returns the sums of its losses, and whether to stop and to save after it."""
        if self.watch.is_due(self.step):
            self._look_at_gradients()
        self.optimizer.zero_grad()
        losses = [self._forward_backward(piece.compute, piece.is_last) for piece in self.feed.next_update()]
        self.group.expect_gradients(self.model)
        wishes = {"stop": float(stop.came), "save": float(self.group.is_first and self._is_save_due())}
        sums = self.group.sum({**sum_losses(losses), **wishes})
        self._check_count(sums["count"])
        # the backward averaged the processes' gradients: times their number it is the sum, by the items the mean
        norm = clip_gradients(
            self.parameters,
            scale=self.group.size / sums["count"],
            norm=self.config.clip_norm,
            value=self.config.clip_value,
        )
        if not math.isfinite(sums["total"]) or not math.isfinite(norm):
            raise self._diverged("loss" if not math.isfinite(sums["total"]) else "gradient")
        set_learning_rate(self.optimizer, self._learning_rate())
        self.optimizer.step()
        self.average.after_update(self.model)
        self._count(sums, norm)
        return sums

    def _forward_backward(self, compute: Callable[[nn.Module], Loss], is_last: bool) -> Loss:
        with self.group.apart(self.replica, alone=not is_last):
            with torch.autocast(
                self.group.device.type, torch.bfloat16, enabled=uses_bf16(self.config.precision, self.group.device)
            ):
                loss: Loss = self.replica(compute)
            loss.total.backward()
        return loss.detach()

    def _look_at_gradients(self) -> None:
        flows = self.watch.look(self.feed.peek)  # in every process, for they open batches together
        if flows:
            self._tell({"split": "gradients", "layers": {flow.layer: at_some_lags(flow) for flow in flows}})
        for advice in self.watch.new_advice(flows):
            self.show.note(advice)

    def _learning_rate(self) -> float:
        return learning_rate_at(self.config, self.step, self.total_steps, self.judge.reductions)

    def _count(self, sums: Mapping[str, float], norm: float) -> None:
        self.step += 1
        self.items += round(sums["count"])
        news = {name: value for name, value in sums.items() if name not in ("stop", "save")}
        news |= {"gradient_norm": norm, "updates": 1.0}
        self.since_logged = {name: self.since_logged.get(name, 0.0) + value for name, value in news.items()}
        self.show.update(self.step, sums["count"], sums["total"] / sums["count"])

    def _check_count(self, count: float) -> None:
        if not count > 0:
            raise ConfigError(f"The batches of update {self.step + 1} have no items: their `count` is {count:g}.")

    def _diverged(self, what: str) -> ConfigError:
        limit = "lower `clip_norm`" if self.config.clip_norm else "set `clip_norm`"
        kept = f"; the checkpoint of update {self.saved_step} is kept in `{self._path}`" if self.saved_step >= 0 else ""
        return ConfigError(
            f"The {what} is not finite at update {self.step + 1}: lower `learning_rate` "
            f"(now {self.config.learning_rate:g}) or {limit}{kept}."
        )

    # --- what is told --------------------------------------------------------------------------------------------

    def _log(self) -> None:
        sums = self.since_logged
        self.since_logged = {}
        own = ("total", "count", "gradient_norm", "updates")
        means = {name: value / sums["count"] for name, value in sums.items() if name not in own}
        self._tell(
            {
                "split": "train",
                "loss": sums["total"] / sums["count"],
                **means,
                "gradient_norm": sums["gradient_norm"] / sums["updates"],
                "learning_rate": self.optimizer.param_groups[0]["lr"],
            }
        )

    def _evaluate(self) -> None:
        """Judge the weights that would be kept now."""
        self.average.before_evaluation(self.model)
        if self.validate is None:
            return
        with weights_in_use(self.model, self.average.weights()):
            scores = self._scores(self.validate)
            is_best = self.judge.see(scores[self.config.metric], self.step)
            if is_best:
                self.best, self.best_scores = copy_of(weights_of(self.model)), scores
        self._tell({"split": "validation", **scores})
        self.show.evaluated(self.step, scores, is_best)

    def _scores(self, validate: Callable[[nn.Module], Mapping[str, float]]) -> dict[str, float]:
        """Scores of the validation part, from rank 0 to all."""
        scores: dict[str, float] = {}
        if self.group.is_first:
            self.model.eval()
            with torch.no_grad(), same_random_numbers_after():
                found = validate(self.model)
                if not isinstance(found, Mapping):
                    raise ConfigError(
                        f"`validate` must return scores by name, {{'loss': 0.5}}, got a {type(found).__name__}."
                    )
                scores = {name: float(score) for name, score in found.items()}
            self.model.train()
        scores = json.loads(self.group.from_first(json.dumps(scores).encode()))
        if self.config.metric not in scores:
            raise ConfigError(
                f"`metric` must be one of {', '.join(f'`{name}`' for name in scores)}, got {self.config.metric!r}."
                + did_you_mean(self.config.metric, scores)
            )
        return scores

    def _tell(self, news: Row) -> None:
        row = {"step": self.step, "epoch": self.feed.epoch, "seconds": round(self._seconds(), 1), **news}
        if not self.group.is_first:
            return
        if self.files.metrics is not None:
            append_metrics(self.files.metrics, row)
        if self.on_metrics is not None:
            self.on_metrics(row)

    def _seconds(self) -> float:
        return self.seconds + time.monotonic() - self.clock

    # --- the checkpoint ------------------------------------------------------------------------------------------

    @property
    def _path(self) -> Path:
        return self.files.checkpoint or Path("checkpoint.safetensors")

    def _is_save_due(self) -> bool:
        every, seconds = self.config.save_every, self.config.save_seconds
        by_step = every is not None and (self.step + 1) % every == 0
        return by_step or (seconds is not None and time.monotonic() - self.saved_at >= seconds)

    def _save(self) -> None:
        if self.files.checkpoint is None:
            return
        # the generators of every process, and the state each carries through time
        everyone = self.group.gather(
            {**_under("random", random_state()), **_under("carried", self.feed.carried())},
        )
        if self.group.is_first:
            weights = weights_of(self.model)
            if not all(bool(weight.isfinite().all()) for weight in weights.values()):
                raise self._diverged("network")
            tensors = {
                **_under("model", weights),
                **_under("optimizer", optimizer_tensors(self.optimizer)),
                **_under("average", self.average.tensors()),
                **_under("best", self.best),
            }
            for rank, own in enumerate(everyone):
                tensors |= _under(f"process.{rank}", own)
            write_checkpoint(self._path, Checkpoint(tensors, self._values()))
        self.saved_step, self.saved_at = self.step, time.monotonic()

    def _values(self) -> Row:
        return {
            "torch": torch.__version__,
            **{name: getattr(self.config, name) for name in SAME},
            "processes": self.group.size,
            "step": self.step,
            "items": self.items,
            "seconds": self._seconds(),
            "position": self.feed.memory(),
            "judge": self.judge.memory(),
            "best_scores": self.best_scores,
            "since_logged": self.since_logged,
        }

    def _restore(self, saved: Checkpoint) -> None:
        values = saved.values
        self._expect_same(values)
        own = saved.part(f"process.{self.group.rank}")
        alone = Checkpoint(own, {})
        # first, as it runs the model: weights, buffers and random numbers are put right after it
        self.feed.restore(values["position"], alone.part("carried"), self.model)
        set_weights(self.model, saved.part("model"))
        restore_optimizer(self.optimizer, saved.part("optimizer"))
        device = self.group.device
        self.average.restore({name: tensor.to(device) for name, tensor in saved.part("average").items()})
        self.best = {name: tensor.to(device) for name, tensor in saved.part("best").items()}
        self.judge.restore(values["judge"])
        self.step = self.saved_step = values["step"]
        self.items, self.seconds = values["items"], values["seconds"]
        self.best_scores, self.since_logged = values["best_scores"], values["since_logged"]
        if values["processes"] == self.group.size:
            set_random_state(alone.part("random"))
        else:  # other processes draw other numbers; they must only not be those of the beginning
            seed_everything(self.config.seed + self.step, stream=self.group.rank)

    def _expect_same(self, values: Mapping[str, Any]) -> None:
        for name in SAME:
            now = getattr(self.config, name)
            then = values.get(name, now)  # checkpoints of before do not say their metric
            if then != now:
                raise RunError(f"The run was begun with `{name}` {then}, not {now}; resume it with that.")
        if values["processes"] != self.group.size and values["position"]["window"]:
            raise RunError(
                f"The run was stopped inside a long batch by {values['processes']} processes and can be resumed only "
                f"by as many, not {self.group.size}."
            )


def _expect_parts(model: Any, source: Any, config: Any) -> None:
    """Refuse parts of another kind, which fail far inside and say nothing there."""
    if not isinstance(model, nn.Module):
        raise ConfigError(f"`model` must be an nn.Module, got {describe(model)}.")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("`model` has nothing to train: no parameter of it requires a gradient.")
    check_source(source)
    if not isinstance(config, TrainingConfig):
        raise ConfigError(
            f"`config` must be a TrainingConfig, `TrainingConfig(max_steps=1000)`, got {describe(config)}."
        )


def _expect_clipping(model: nn.Module, limit: float | None) -> None:
    """Refuse a limit of the gradient between time steps that nothing in the model keeps."""
    if limit is not None and not any(isinstance(m, ClipStateGradient) and m.limit == limit for m in model.modules()):
        raise ConfigError(
            f"`clip_state_gradient` {limit:g} is kept by the cells, and no cell of the model does: build it with "
            f"`Recurrent(..., clip_state_gradient={limit:g})`, or put a cell into `recurra.cells.ClipStateGradient`."
        )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _total_steps(config: TrainingConfig, batches: int) -> int | None:
    """Updates of the whole training, where known: an epoch of windows has an end that only the data know."""
    if config.epochs is None or config.k1 is not None:
        return config.max_steps
    by_epochs = config.epochs * math.ceil(batches / config.accumulate)
    return by_epochs if config.max_steps is None else min(by_epochs, config.max_steps)
