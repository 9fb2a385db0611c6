"""Every option of a translator: the examples, the vocabulary, the network, how it trains and how it translates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from recurra.cells.registry import find_cell
from recurra.checks import check_known
from recurra.data.readers import MAX_CHARACTERS, MAX_WORDS
from recurra.tasks.options import with_default
from recurra.training.config import TrainingConfig

__all__ = ["SCORES_OF_TRANSLATIONS", "TranslateConfig"]

# values of `metric` that need the validation part translated, which is slower than its loss
SCORES_OF_TRANSLATIONS = ("bleu", "chrf", "exact_match")


class TranslateConfig(TrainingConfig):
    """How a translator is made; see `TrainingConfig` for how its network is trained."""

    panels: ClassVar[Mapping[str, str]] = {
        "source_column": "Sentence pairs",
        "tokenizer": "Vocabulary",
        "cell": "Network",
        "dropout": "Network: regularisation",
        "beam_size": "Translating",
        "batch_tokens": "Training: batches",
        **TrainingConfig.panels,
    }
    unused: ClassVar[tuple[str, ...]] = ("k1", "k2")  # options of training that mean nothing here

    # sentence pairs
    source_column: str | None = Field(
        default=None,
        description="Name or number from 1 of the column (or key) of the source; none: by the header, or the first.",
    )
    target_column: str | None = Field(default=None, description="The same for the target.")
    max_words: int | None = Field(
        default=MAX_WORDS, ge=1, description="Words of the longest sentence allowed; none: no limit."
    )
    max_characters: int | None = Field(
        default=MAX_CHARACTERS, ge=1, description="Characters of the longest sentence allowed; none: no limit."
    )
    on_bad: Literal["error", "skip"] = Field(
        default="error", description="What to do about lines that cannot be used: refuse the file, or leave them out."
    )
    validation_fraction: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="Part of the sources set aside for validation, chosen by their hash, where no validation files "
        "are given.",
    )

    # vocabulary
    tokenizer: Literal["bpe", "word", "char"] = Field(
        default="bpe", description="Pieces that sentences are cut into: frequent subwords, words, or characters."
    )
    vocab_size: int = Field(
        default=6000, ge=5, description="Different pieces at most; the four special ones are among them."
    )
    min_frequency: int = Field(default=2, ge=1, description="How often a piece must occur to be in the vocabulary.")
    lowercase: bool = Field(default=False, description="Read and write lower case only.")
    shared_vocabulary: bool = Field(
        default=True,
        description="One vocabulary and one embedding for both languages; good where they share an alphabet.",
    )
    bpe_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Probability that a join of subwords is left out, drawn anew each epoch: words are learned in many "
        "cuts. Needs the tokenizer bpe.",
    )

    # network
    cell: str = Field(default="lstm", description="Recurrent cell of encoder and decoder; `recurra cells` lists them.")
    cell_options: dict[str, Any] = Field(
        default_factory=dict, description='Options of the cell by name, as JSON: {"peephole": true}.'
    )
    embedding_size: int = Field(default=256, ge=1, description="Numbers that stand for one piece.")
    hidden_size: int = Field(
        default=256, ge=2, description="Units of a decoder layer; each direction of the encoder has half as many."
    )
    encoder_layers: int = Field(
        default=2, ge=1, description="Recurrent layers of the encoder, each in both directions."
    )
    decoder_layers: int = Field(default=2, ge=1, description="Recurrent layers of the decoder.")
    residual: bool = Field(
        default=False, description="Add the input of a layer to its output, from the second layer on."
    )
    attention: Literal["general", "dot", "additive", "multi_head", "none"] = Field(
        default="general", description="How the decoder compares itself with the states of the encoder."
    )
    bridge: Literal["tanh", "linear", "copy", "sum", "none"] = Field(
        default="tanh",
        description="How the decoder begins where the encoder ended; none: it begins at zero and learns of the source "
        "through attention alone.",
    )
    num_heads: int = Field(default=4, ge=1, description="Heads of the attention multi_head.")
    scale_embeddings: bool = Field(
        default=True,
        description="Multiply embeddings by the root of their size as they enter; they begin small for the output.",
    )
    input_feeding: bool = Field(
        default=False,
        description="Give the decoder what it attended to at the step before; training then goes step by step and is "
        "several times slower.",
    )
    lexical: bool | None = Field(
        default=None,
        description="A way past the recurrent networks from the words attended to straight to the output, for what a "
        "word means in any company; none: where the attention is dot, general or additive.",
    )
    tie_embeddings: bool = Field(
        default=True, description="Use the embedding of the target as the weights of the output layer."
    )

    # network: regularisation
    dropout: float = Field(
        default=0.3, ge=0, lt=1, description="Part of the numbers between layers set to 0 while training."
    )
    embedding_dropout: float | None = Field(
        default=None, ge=0, lt=1, description="The same for embeddings; none: as `dropout`."
    )
    feature_dropout: float | None = Field(
        default=None, ge=0, lt=1, description="The same for what the output layer reads; none: as `dropout`."
    )
    memory_dropout: float = Field(default=0.0, ge=0, lt=1, description="The same for what the attention looks at.")
    variational: bool = Field(
        default=False,
        description="Drop the same numbers at every step of a sentence, between layers and in embeddings.",
    )
    word_dropout: float = Field(default=0.0, ge=0, lt=1, description="Part of the pieces hidden wholly while training.")
    weight_drop: float = Field(
        default=0.0, ge=0, lt=1, description="Part of the weights from state to state set to 0, one draw a batch."
    )
    recurrent_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Part of the units of the state dropped, the same at every step of a sentence; slow.",
    )
    zoneout: float = Field(
        default=0.0, ge=0, lt=1, description="Probability that a unit keeps the value it had at the step before; slow."
    )

    # translating
    beam_size: int = Field(
        default=5, ge=1, description="Translations kept in the running at each step; 1 takes the best piece."
    )
    length_penalty: float = Field(
        default=0.6,
        ge=0,
        description="Power of the length that scores are divided by; above 0 helps longer translations.",
    )
    unknown_words: Literal["copy", "keep", "drop"] = Field(
        default="copy",
        description="What stands for a piece that is not in the vocabulary: the source word attended to most, <unk>, "
        "or another piece that the network finds next best.",
    )

    # batches
    batch_tokens: int = Field(
        default=1100,
        ge=1,
        description="Pieces of a batch at most, on either side, padding included; sentences of like length meet.",
    )
    report_sentences: int = Field(
        default=2000,
        ge=1,
        description="Sentences of the validation part translated for the scores of the report, at most.",
    )
    plots: bool = Field(default=True, description="Draw the loss and the attention of some sentences into `plots/`.")

    # defaults of training that fit this task
    max_steps: int | None = with_default(TrainingConfig, "max_steps", None)
    epochs: int | None = Field(
        default=None,
        ge=1,
        description="Passes over the data at most; none, without `max_steps`: 16, and more for a small file, so that "
        "there are 1,500 updates.",
    )
    learning_rate: float = with_default(TrainingConfig, "learning_rate", 2e-3)
    weight_decay: float = with_default(TrainingConfig, "weight_decay", 0.0)
    beta2: float | None = with_default(TrainingConfig, "beta2", 0.98)
    warmup_steps: int = with_default(TrainingConfig, "warmup_steps", 300)
    label_smoothing: float = with_default(TrainingConfig, "label_smoothing", 0.1)
    averaging: Literal["none", "ema", "last"] = with_default(TrainingConfig, "averaging", "ema")
    precision: Literal["auto", "float32", "bf16"] = with_default(TrainingConfig, "precision", "auto")

    @model_validator(mode="before")
    @classmethod
    def _goal_of_the_metric(cls, options: Any) -> Any:
        """A good score is a large one, unless it is the loss or the perplexity: nobody should have to say so."""
        if not isinstance(options, dict):
            return options
        if any(options.get(name) is not None for name in cls.unused):
            raise ValueError("`k1` and `k2` cut long sequences; sentences are trained whole: leave them out.")
        metric = options.get("metric", "loss")
        goal = "min" if metric in ("loss", "perplexity") else "max"
        given = options.get("metric_goal", goal)
        if given != goal and given in ("min", "max"):
            raise ValueError(f"`metric_goal` {given} would keep the weights of the worst {metric}: leave it out.")
        return {**options, "metric_goal": given}

    @field_validator("cell")
    @classmethod
    def _cell_exists(cls, name: str) -> str:
        find_cell(name)
        return name

    @field_validator("metric")
    @classmethod
    def _metric_exists(cls, name: str) -> str:
        known = ("loss", "perplexity", "accuracy", *SCORES_OF_TRANSLATIONS)
        check_known(name, known, f"Unknown metric `{name}`")
        return name

    @model_validator(mode="after")
    def _fits_the_task(self) -> Self:
        if self.bpe_dropout and self.tokenizer != "bpe":
            raise ValueError(f"`bpe_dropout` needs the tokenizer `bpe`, got `{self.tokenizer}`.")
        if self.hidden_size % 2:
            raise ValueError(f"`hidden_size` must be even, half of it for each direction, got {self.hidden_size}.")
        if (self.source_column is None) != (self.target_column is None):
            raise ValueError("Give both `source_column` and `target_column`, or neither.")
        return self
