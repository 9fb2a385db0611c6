"""The options of a translator: what fits together, and what is said when it does not."""

from __future__ import annotations

from typing import Any

import pytest

from recurra.errors import ConfigError
from recurra.tasks.translate import TranslateConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": 'gru:{"bias":false}'}, "The cell is `gru`: what follows the colon in .* goes into `cell_options`"),
        ({"cell": "lstmm"}, "Unknown cell `lstmm`. Did you mean `lstm`"),
        ({"hiden_size": 3}, "Unknown option `hiden_size`. Did you mean `hidden_size`"),
        ({"hidden_size": 7}, "must be even"),
        ({"dropout": 1.0}, "`dropout` must be less than 1"),
        ({"attention": "generall"}, "Did you mean `general`"),
        ({"metric": "blue"}, "Unknown metric `blue`. Did you mean `bleu`"),
        ({"tokenizer": "char", "bpe_dropout": 0.1}, "`bpe_dropout` needs the tokenizer `bpe`"),
        ({"k1": 5}, "sentences are trained whole"),
        ({"metric_goal": "max"}, "`metric_goal` max would keep the weights of the worst loss: leave it out"),
        ({"metric": "bleu", "metric_goal": "min"}, "`metric_goal` min would keep the weights of the worst bleu"),
        ({"source_column": "en"}, "both `source_column` and `target_column`"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_options_that_cannot_be_are_refused_in_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        TranslateConfig(**options)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("metric", "goal"), [("loss", "min"), ("perplexity", "min"), ("bleu", "max"), ("accuracy", "max")]
)
def test_the_goal_follows_the_metric(metric: str, goal: str) -> None:
    assert TranslateConfig(metric=metric).metric_goal == goal


def test_every_option_is_described_and_the_defaults_fit_together() -> None:
    config = TranslateConfig()

    assert all(field.description for field in TranslateConfig.model_fields.values())
    assert TranslateConfig(**config.model_dump()) == config


def test_panels_begin_at_fields_that_exist() -> None:
    assert set(TranslateConfig.panels) <= set(TranslateConfig.model_fields)
