"""The report of a fit: scores beside the baseline's, pictures, and the model card."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from recurra import __version__
from recurra.data.readers import Pair
from recurra.tasks.report import draw_attention, draw_losses
from recurra.tasks.run_folder import RunFolder
from recurra.tasks.translate.baseline import WordForWord
from recurra.tasks.translate.config import TranslateConfig
from recurra.tasks.translate.evaluate import score_pairs
from recurra.tasks.translate.examples import Examples
from recurra.tasks.translate.files import ATTENTION, LOSS
from recurra.tasks.translate.predict import Translator
from recurra.tasks.translate.scores import TranslationScores, score_translations
from recurra.training.loop import FitResult
from recurra.training.metrics import read_metrics

__all__ = ["write_report"]

EXAMPLES_IN_CARD, MAPS, WORDS_OF_A_MAP = 5, 6, (3, 14)
LIMITS = (
    "It has learned from these pairs alone: words, subjects and styles that they lack it translates badly or copies, "
    "and what is wrong in them it repeats. Scores on one set of sentences say little about others. Have somebody who "
    "reads both languages check what matters."
)


def write_report(
    translator: Translator,
    examples: Examples,
    result: FitResult,
    rows: Sequence[Mapping[str, Any]],
    folder: RunFolder | None,
    say: Callable[[str], None],
) -> None:
    """Score a translator that was just trained, and leave everything in its folder, the weights first.

    Args:
        translator: receives scores and facts.
        examples: what it was trained on.
        result: how training ended.
        rows: lines of metrics of this process; those of the folder count where there is one.
        folder: where to write; None: nowhere.
        say: for notes.
    """
    if folder is not None:
        folder.save_weights(translator.network.state_dict())
    config, sample = translator.config, examples.validation[: translator.config.report_sentences]
    say(f"Scoring {len(sample):,} validation sentences with beam {config.beam_size} ...")
    scores = score_pairs(translator, sample)
    baseline = _baseline_scores(examples.training, sample, config)
    translator.scores = {"network": scores.model_dump(), "baseline": baseline.model_dump()}
    translator.facts = examples.facts
    for line in _score_lines(scores, baseline):
        say(line)
    if folder is None:
        return
    folder.save_record("translate", config.model_dump(), {**examples.facts, "scores": translator.scores})
    if config.plots:
        _draw(translator, sample, read_metrics(folder.metrics) or rows, folder)
    chosen = sample[:: -(-len(sample) // EXAMPLES_IN_CARD)]
    shown = zip(chosen, translator([pair.source for pair in chosen]), strict=True)
    examples_shown = [[pair.source, translation, pair.target] for pair, translation in shown]
    folder.write(folder.card.name, _card(translator, result, scores, baseline, examples_shown, folder))
    folder.finish()
    say(f"The run is in {folder}: `recurra predict {folder}` translates what you type, README.md tells the rest.")


def _baseline_scores(training: Sequence[Pair], sample: Sequence[Pair], config: TranslateConfig) -> TranslationScores:
    baseline = WordForWord(
        [pair.source for pair in training], [pair.target for pair in training], lowercase=config.lowercase
    )
    return score_translations(
        [baseline(pair.source) for pair in sample], [pair.target for pair in sample], lowercase=config.lowercase
    )


def _score_lines(scores: TranslationScores, baseline: TranslationScores) -> list[str]:
    return [
        f"{'':<15}{'network':>9}{'word for word':>15}",
        *(
            f"{name:<15}{network:>9}{words:>15}"
            for name, network, words in (
                ("BLEU", f"{scores.bleu:.1f}", f"{baseline.bleu:.1f}"),
                ("chrF", f"{scores.chrf:.1f}", f"{baseline.chrf:.1f}"),
                ("exact match", f"{scores.exact_match:.1f} %", f"{baseline.exact_match:.1f} %"),
                ("perplexity", f"{scores.perplexity:.2f}", ""),
            )
        ),
    ]


def _draw(translator: Translator, sample: Sequence[Pair], rows: Sequence[Mapping[str, Any]], folder: RunFolder) -> None:
    harder = [name for name in ("dropout", "label_smoothing") if getattr(translator.config, name)]
    label = " with ".join(["training", *([" and ".join(harder).replace("_", " ")] if harder else [])])
    folder.write(LOSS, draw_losses(rows, unit="loss (natural logarithm, a piece)", train_label=label))
    least, most = WORDS_OF_A_MAP
    sentences = [pair.source for pair in sample if least <= len(pair.source.split()) <= most][:MAPS]
    translated = translator.translate(sentences or [pair.source for pair in sample[:MAPS]])
    maps = [found for each in translated if (found := each.attention_map()) is not None]
    if any(one.can_be_drawn for one in maps):
        folder.write(ATTENTION, draw_attention(maps))


def _card(
    translator: Translator,
    result: FitResult,
    scores: TranslationScores,
    baseline: TranslationScores,
    shown: Sequence[Sequence[str]],
    folder: RunFolder,
) -> str:
    parts = [
        f"# {folder.path.name}: a translator",
        f"Trained by Recurra {__version__} with torch {torch.__version__}. It translates one sentence at a time.",
        f'```\necho "..." | recurra predict {folder}\n```',
        f'```python\nimport recurra\n\nmodel = recurra.tasks.translate.load("{folder}")\nmodel("...")\n```',
        "## Scores",
        _scores_section(scores, baseline),
        "## Examples",
        "Sentences of the validation part, taken at equal distances:",
        _table(["source", "translation", "reference"], shown),
        *_pictures(folder),
        "## Data",
        _data_section(translator.facts),
        "## Training",
        _training_section(translator, result),
        "## Options",
        "Those that differ from the defaults; all are in `config.json`.",
        _options_section(translator.config),
        "## Limits",
        LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _scores_section(scores: TranslationScores, baseline: TranslationScores) -> str:
    rows = [
        ["BLEU", f"{scores.bleu:.2f}", f"{baseline.bleu:.2f}", f"`{scores.bleu_signature}`"],
        ["chrF", f"{scores.chrf:.2f}", f"{baseline.chrf:.2f}", f"`{scores.chrf_signature}`"],
        ["exact match", f"{scores.exact_match:.2f} %", f"{baseline.exact_match:.2f} %", "same text as the reference"],
        ["perplexity", f"{scores.perplexity:.3f}", "", "of the references, a piece of this vocabulary"],
    ]
    return (
        f"On {scores.sentences:,} sentences of the validation part. The baseline translates word for word, each word "
        "by its most frequent translation (IBM model 1).\n\n"
        + _table(["score", "network", "word for word", "how"], rows)
    )


def _pictures(folder: RunFolder) -> list[str]:
    pictures = {
        LOSS: "Loss over training",
        ATTENTION: "Where the network looks as it writes: columns are the source and its end, rows the translation",
    }
    found = [f"![{title}]({name})\n\n*{title}.*" for name, title in pictures.items() if (folder.path / name).is_file()]
    return ["## Pictures", *found] if found else []


def _data_section(facts: Mapping[str, Any]) -> str:
    held_out = facts["validation_files"]
    origin = "a part of the sources, chosen by their hash" if held_out is None else _names(held_out)
    rows = [
        ["learned from", f"{facts['training_pairs']:,} pairs of {_names(facts['files'])}"],
        ["validated on", f"{facts['validation_pairs']:,} pairs: {origin}"],
        ["validation pairs also learned from", f"{facts['validation_seen_in_training']:,}"],
        ["lines left out", f"{facts['skipped_lines']:,}"],
        ["digest of the pairs", f"`{facts['digest']}`"],
    ]
    return _table(["", ""], rows)


def _names(paths: Sequence[str]) -> str:
    """Files without their folders, which are nobody's business on another machine."""
    return " and ".join(f"`{Path(path).name}`" for path in paths)


def _training_section(translator: Translator, result: FitResult) -> str:
    weights = sum(parameter.numel() for parameter in translator.network.parameters())
    minutes, seconds = divmod(round(result.seconds), 60)
    rows = [
        ["network", f"{translator.config.cell} encoder and decoder, {weights:,} weights"],
        ["vocabulary", f"{len(translator.vocabularies.target):,} pieces ({translator.config.tokenizer})"],
        ["updates", f"{result.step:,}, of which the weights of number {result.best_step:,} are kept"],
        ["pieces read", f"{result.items:,}"],
        ["time", f"{minutes} min {seconds} s"],
    ]
    return _table(["", ""], rows)


def _options_section(config: TranslateConfig) -> str:
    defaults = TranslateConfig.model_validate({}).model_dump()
    changed = {name: value for name, value in config.model_dump().items() if value != defaults[name]}
    if not changed:
        return "None."
    return _table(["option", "value"], [[f"`{name}`", f"`{json.dumps(value)}`"] for name, value in changed.items()])


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
