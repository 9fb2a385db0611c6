"""`TrainingConfig`: every option of training, with its unit and its reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from recurra.errors import ConfigError, did_you_mean
from recurra.training.device import check_device

__all__ = ["TrainingConfig"]


class TrainingConfig(BaseModel):
    """How a network is trained. Tasks add their own fields by inheriting; one update is one change of the weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    if not TYPE_CHECKING:  # checkers of types see a parameter for each field

        def __init__(self, **options: Any) -> None:
            """Options by name, also as typed on a command line or read from a file.

            Raises:
                ConfigError: an option is unknown or has a value that cannot be; one sentence about the first of them.
            """
            try:
                super().__init__(**options)
            except ValidationError as error:
                # without `from`: the sentence says it all, pydantic's report would only repeat it
                raise ConfigError(_sentence(error.errors()[0], type(self))) from None

    # titles of the groups of options, each by the first field of its group
    panels: ClassVar[Mapping[str, str]] = {
        "max_steps": "Training: how long",
        "optimizer": "Training: how large the changes are",
        "clip_norm": "Training: what keeps them in bounds",
        "averaging": "Training: which weights are kept",
        "k1": "Training: backpropagation through time",
        "seed": "The machine",
        "save_every": "What is written down",
    }

    # how long
    max_steps: int | None = Field(default=10_000, ge=1, description="Updates at most; none: `epochs` alone decides.")
    epochs: int | None = Field(
        default=None, ge=1, description="Passes over the data at most; none: `max_steps` alone decides."
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Evaluations without a better `metric` before training stops early; none: never.",
    )
    evaluate_every: int = Field(
        default=500, ge=1, description="Updates between two evaluations on the validation part."
    )
    metric: str = Field(default="loss", description="Score of the validation part that says which weights are best.")
    metric_goal: Literal["min", "max"] = Field(
        default="min", description="Whether a small or a large `metric` is good."
    )

    # how large the changes are
    optimizer: Literal["sgd", "adam", "adamw", "rmsprop"] = Field(
        default="adamw", description="Rule that changes the weights."
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="Largest learning rate, reached after the warm-up.")
    weight_decay: float = Field(
        default=0.01, ge=0, description="Pull of weight matrices towards 0; biases and normalisations are left alone."
    )
    momentum: float | None = Field(
        default=None, ge=0, lt=1, description="Momentum of sgd and rmsprop; none: 0.9 for sgd, 0 for rmsprop."
    )
    beta1: float = Field(default=0.9, ge=0, lt=1, description="Decay of the average gradient in adam and adamw.")
    beta2: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Decay of the average square in adam, adamw and rmsprop; none: 0.999, for rmsprop 0.99.",
    )
    epsilon: float = Field(
        default=1e-8, gt=0, description="Added to the root of the average square, against division by 0."
    )
    warmup_steps: int = Field(
        default=0, ge=0, description="Updates over which the learning rate rises in a line from 0."
    )
    schedule: Literal["constant", "linear", "cosine", "plateau"] = Field(
        default="cosine",
        description="Course of the learning rate after the warm-up, down to `final_fraction` at the last update; "
        "plateau: lower it when the metric no longer gets better.",
    )
    final_fraction: float = Field(
        default=0.05, ge=0, le=1, description="Lowest learning rate, as a part of `learning_rate`."
    )
    plateau_factor: float = Field(
        default=0.5, gt=0, lt=1, description="What a plateau multiplies the learning rate by."
    )
    plateau_patience: int = Field(
        default=2, ge=1, description="Evaluations without a better metric that make a plateau."
    )

    # what keeps them in bounds
    clip_norm: float | None = Field(
        default=1.0, gt=0, description="Largest Euclidean norm of the gradient of all weights together; none: no limit."
    )
    clip_value: float | None = Field(
        default=None, gt=0, description="Largest size of each number of the gradient; none: no limit."
    )
    clip_state_gradient: float | None = Field(
        default=None,
        gt=0,
        description="Largest size of each number of the gradient that flows from one time step to the one before; "
        "none: no limit.",
    )
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Probability taken from the right class and spread over all, against overconfidence.",
    )

    # which weights are kept
    averaging: Literal["none", "ema", "last"] = Field(
        default="none",
        description="Weights that are judged and kept: the newest, an exponential average, or the mean of the last.",
    )
    ema_decay: float = Field(default=0.999, ge=0, lt=1, description="Decay of the exponential average, per update.")
    average_last: int = Field(default=5, ge=1, description="Evaluations whose weights `last` averages.")

    # backpropagation through time
    k1: int | None = Field(
        default=None, ge=1, description="Truncated BPTT: time steps between two backward passes; none: full BPTT."
    )
    k2: int | None = Field(
        default=None, ge=1, description="Truncated BPTT: time steps that a gradient flows back, at least k1; none: k1."
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        description="Batches (windows of k1 steps under truncated BPTT) of one update, for less memory each.",
    )

    # the machine
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Start of all random numbers; the same seed, the same run."
    )
    precision: Literal["auto", "float32", "bf16"] = Field(
        default="float32",
        description="Number format of the products, weights stay float32; auto: bf16 where the hardware multiplies it.",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:<number>; auto: cuda where there is one.")
    threads: int | None = Field(
        default=None, ge=1, le=1024, description="Processor threads; none: as many as torch takes by itself."
    )

    # what is written down
    save_every: int | None = Field(
        default=None, ge=1, description="Updates between two checkpoints; none: by time alone."
    )
    save_seconds: float | None = Field(
        default=60.0,
        gt=0,
        description="Seconds between two checkpoints, the most that a killed run loses; none: never by time.",
    )
    watch_gradients: int | None = Field(
        default=1000,
        ge=1,
        description="Updates between two looks at gradients through time, with a word when they vanish or explode; "
        "each runs one batch step by step in Python; none: never.",
    )
    log_every: int = Field(default=50, ge=1, description="Updates between two lines of training loss in metrics.jsonl.")

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, device: str) -> str:
        return check_device(device)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.k2 is not None and self.k1 is None:
            raise ValueError("`k2` needs `k1`, the time steps between two backward passes; give both or none.")
        if self.k1 is not None and self.k2 is not None and self.k2 < self.k1:
            raise ValueError(f"`k2` must be at least `k1` = {self.k1}, got {self.k2}: raise `k2` or lower `k1`.")
        if self.schedule in ("linear", "cosine") and self.k1 is not None and self.max_steps is None:
            raise ValueError(
                f"`schedule` {self.schedule} must know the last update: under truncated BPTT give `max_steps` too."
            )
        return self


def _sentence(problem: Any, cls: type[BaseModel]) -> str:
    """One of pydantic's findings in words."""
    name, kind, message = ".".join(map(str, problem["loc"])), problem["type"], problem["msg"]
    if kind == "extra_forbidden":
        return f"Unknown option `{name}`.{did_you_mean(name, cls.model_fields)}"
    if kind == "missing":
        return f"The option `{name}` must be given."
    if kind == "value_error":
        return str(problem["ctx"]["error"])
    value = problem["input"]
    expected = message.removeprefix("Input should be ").split(", unable to parse")[0].replace("'", "`")
    expected = expected.replace("String should match pattern", "a text that matches")
    hint = did_you_mean(value, re.findall(r"'([^']+)'", message)) if isinstance(value, str) else ""
    return f"`{name}` must be {expected}, got {value!r}.{hint}"
