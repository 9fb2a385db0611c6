"""Translate: a file of sentence pairs becomes a translator.

model = recurra.tasks.translate.fit("pairs.tsv", out="runs/enfr")
model("good morning")
recurra.tasks.translate.load("runs/enfr")
"""

from recurra.tasks.translate.baseline import WordForWord
from recurra.tasks.translate.config import TranslateConfig
from recurra.tasks.translate.config import TranslateConfig as Config
from recurra.tasks.translate.evaluate import evaluate
from recurra.tasks.translate.fit import fit
from recurra.tasks.translate.predict import Candidate, Translated, Translator, load
from recurra.tasks.translate.scores import TranslationScores, score_translations

__all__ = [
    "Candidate",
    "Config",
    "TranslateConfig",
    "Translated",
    "TranslationScores",
    "Translator",
    "WordForWord",
    "evaluate",
    "fit",
    "load",
    "score_translations",
]
