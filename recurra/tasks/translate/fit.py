"""`fit`: from files of sentence pairs to a translator and its run folder.

The order of things is chosen so that nothing is lost: everything that can be refused is refused before the folder is
touched, the folder is a run from its `config.json` on, training saves itself, and the checkpoint goes only when the
weights, the scores and the card are there.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from recurra.data.readers import PathOrPaths
from recurra.errors import ConfigError, DataError, RunError, import_extra
from recurra.networks.encoder_decoder import EncoderDecoder
from recurra.tasks.run_folder import RunFolder, RunRecord
from recurra.tasks.translate.config import TranslateConfig
from recurra.tasks.translate.evaluate import Validation
from recurra.tasks.translate.examples import Examples, Vocabularies, read_examples
from recurra.tasks.translate.files import FILES
from recurra.tasks.translate.network import make_network, translation_loss
from recurra.tasks.translate.predict import Translator, load
from recurra.tasks.translate.report import write_report
from recurra.training.distributed import is_first_process, own_device
from recurra.training.loop import FitResult
from recurra.training.loop import fit as train
from recurra.training.progress import ProgressKind
from recurra.training.seed import seed_everything

__all__ = ["fit", "with_epochs"]

EPOCHS, MIN_UPDATES = 16, 1500  # as the description of `epochs` says

# options that a resumed run may be given anew: how long, how often, on what machine, and how it translates in the end
MAY_CHANGE = {
    "max_steps", "epochs", "patience", "evaluate_every", "save_every", "save_seconds", "log_every", "watch_gradients",
    "device", "threads", "beam_size", "length_penalty", "unknown_words", "report_sentences", "plots",
}  # fmt: skip


def fit(
    *paths: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    validation: PathOrPaths | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: ProgressKind = "auto",
    **options: Any,
) -> Translator:
    """Train a translator.

        model = recurra.tasks.translate.fit("pairs.tsv", out="runs/enfr")
        model("good morning")

    Args:
        paths: one file of sentence pairs (TSV, CSV or JSON lines) or two parallel text files, plain or gzip. With
            `resume` they may be left out: the run remembers them.
        out: the run folder; without it nothing is written, and the model can `save` itself later.
        validation: files to judge by, likewise; without them a part of the sources, chosen by their hash.
        resume: go on with the run in `out` with the options it was begun with; those that may be given anew it keeps.
            Where there is none, begin.
        overwrite: put a new run in the place of the one in `out`, which is lost when the new one has weights.
        progress: `auto`, `bar`, `lines` or `none`; always on stderr.
        options: fields of `TranslateConfig`.

    Returns: the translator, with the weights that did best on the validation part.

    Raises:
        ConfigError: an option is unknown or cannot have its value.
        DataError: a file cannot be used.
        RunError: `out` cannot be written, or holds something that is in the way or cannot be resumed.
        MissingExtra: a package is not installed.
        Interrupted: Ctrl-C; the run is saved first.
    """
    say = _Say(progress)
    writes = is_first_process()
    folder = None if out is None else RunFolder(out)
    if folder is None and (resume or overwrite):
        raise ConfigError("`resume` and `overwrite` are about a run folder: give `out`.")
    if folder is not None and writes:
        folder.check_free(resume=resume, overwrite=overwrite)
    if folder is not None and resume and folder.exists:
        return _resume(folder, paths, validation, options, say)
    config = TranslateConfig(**options)
    _expect_packages(config)
    if not paths:
        missing = f"There is no run to resume in `{out}`: give" if resume else "Give"
        raise DataError(f"{missing} one file of sentence pairs or two parallel text files.")
    examples = read_examples(paths, validation, config)
    vocabularies = Vocabularies.train(examples.training, config)
    plan = _Plan(config, examples, vocabularies, _new_network(config, vocabularies), folder, say)
    beginning = nullcontext() if folder is None or not writes else folder.replacing(*FILES)
    with beginning:
        if folder is not None and writes:
            plan.vocabularies.save(folder)
            folder.save_record("translate", config.model_dump(), examples.facts)
        return plan.carry_out(resume=False)


def _resume(
    folder: RunFolder,
    paths: Sequence[str | os.PathLike[str]],
    validation: PathOrPaths | None,
    options: dict[str, Any],
    say: _Say,
) -> Translator:
    record = folder.record()
    if record.task != "translate":
        raise RunError(f"`{folder}` holds a run of the task `{record.task}`, not of `translate`.")
    try:
        config = TranslateConfig(**{**record.options, **options})
    except ConfigError:  # perhaps a given option does not go with one that nobody gave now
        _expect_same_options(folder, record, TranslateConfig(**options), options)
        raise
    _expect_same_options(folder, record, config, options)
    if folder.is_finished:
        say(f"The run in {folder} has ended before, there is nothing to resume; for a longer one begin a new run.")
        return load(folder.path)
    if not folder.checkpoint.exists():
        say(f"There is no checkpoint in {folder}: the run begins anew.")
    _expect_packages(config)
    remembered = [] if paths else record.data["files"]
    if gone := next((path for path in remembered if not os.path.exists(path)), None):
        raise DataError(f"The run in `{folder}` was begun with `{gone}`, which is gone: say where the pairs are now.")
    examples = read_examples(list(paths) or remembered, validation or record.data["validation_files"], config)
    if examples.facts["digest"] != record.data["digest"]:
        raise DataError(
            f"The sentence pairs are not those that the run in `{folder}` was begun with: give those, or begin anew."
        )
    vocabularies = Vocabularies.load(folder, shared=config.shared_vocabulary)
    network = _new_network(config, vocabularies)
    if is_first_process():  # what was given anew counts from here on, for the translator and for the next resume
        folder.save_record("translate", config.model_dump(), examples.facts)
    return _Plan(config, examples, vocabularies, network, folder, say).carry_out(resume=True)


def _expect_same_options(folder: RunFolder, record: RunRecord, config: TranslateConfig, given: dict[str, Any]) -> None:
    """Refuse to go on with other options than the run was begun with."""
    for name, value in config.model_dump().items():
        if name in given and name not in MAY_CHANGE and value != record.options.get(name):
            raise ConfigError(
                f"The run in `{folder}` was begun with `{name}` {record.options.get(name)}, not {value}: resume it "
                "without this option, or begin a new run in another folder."
            )


def _expect_packages(config: TranslateConfig) -> None:
    """Better missed now than after an hour of training."""
    import_extra("tokenizers", "text")
    import_extra("sacrebleu", "text")
    if config.plots:
        import_extra("matplotlib", "plot")


def _new_network(config: TranslateConfig, vocabularies: Vocabularies) -> EncoderDecoder:
    """The network before training; made before the folder is touched, for cells refuse options, machines devices."""
    own_device(config.device)
    seed_everything(config.seed, stream=0)
    return make_network(config, vocabularies)


class _Say:
    """Notes on stderr, unless nothing is to be shown."""

    def __init__(self, progress: ProgressKind) -> None:
        self.progress = progress

    def __call__(self, note: str) -> None:
        if self.progress != "none" and is_first_process():
            print(note, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class _Plan:
    """A run that has all it needs."""

    config: TranslateConfig
    examples: Examples
    vocabularies: Vocabularies
    network: EncoderDecoder
    folder: RunFolder | None
    say: _Say

    def carry_out(self, *, resume: bool) -> Translator:
        """Train, score, write the report."""
        config, network, folder, facts = self.config, self.network, self.folder, self.examples.facts
        translator = Translator(network, self.vocabularies, config)
        pairs = "1 sentence pair" if facts["training_pairs"] == 1 else f"{facts['training_pairs']:,} sentence pairs"
        self.say(f"{pairs} to learn from, {facts['validation_pairs']:,} to validate on.")
        if facts["skipped_lines"]:
            lines = "1 line was" if facts["skipped_lines"] == 1 else f"{facts['skipped_lines']:,} lines were"
            self.say(f"{lines} left out; `recurra check-data` shows what is wrong.")
        if seen := facts["validation_seen_in_training"]:
            self.say(f"{seen:,} of the pairs to validate on are also learned from: scores on them measure memory.")
        weights = sum(parameter.numel() for parameter in network.parameters())
        self.say(f"{len(self.vocabularies.target):,} pieces in the vocabulary, {weights:,} weights in the network.")
        rows: list[dict[str, Any]] = []
        batches = self.examples.batches(self.vocabularies, config)
        result = train(
            network,
            batches,
            translation_loss(config.label_smoothing),
            with_epochs(config, len(batches.plan(0))),
            validate=Validation(translator, self.examples.validation),
            checkpoint=None if folder is None else folder.checkpoint,
            resume=resume,
            metrics=None if folder is None else folder.metrics,
            on_metrics=rows.append,
            progress=self.say.progress,
            unit="tokens",
        )
        self.say(_ending(result))
        if is_first_process():
            write_report(translator, self.examples, result, rows, folder, self.say)
        return translator


def with_epochs(config: TranslateConfig, num_batches: int) -> TranslateConfig:
    """How long to train, where the options leave it open: a small file needs more passes to be learned at all."""
    if config.epochs is not None or config.max_steps is not None or not num_batches:
        return config
    updates = math.ceil(num_batches / config.accumulate)
    return config.model_copy(update={"epochs": max(EPOCHS, math.ceil(MIN_UPDATES / updates))})


def _ending(result: FitResult) -> str:
    reasons = {"max_steps": "all updates are done", "epochs": "all epochs are done", "patience": "it got no better"}
    minutes, seconds = divmod(round(result.seconds), 60)
    return (
        f"Trained {result.step:,} updates in {minutes} min {seconds} s: {reasons[result.reason]}. "
        f"The weights of update {result.best_step:,} are kept."
    )
