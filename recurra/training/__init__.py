"""Fitting any network on any batches: backpropagation through time, saving, resuming, many processes."""

from recurra.training.bptt import Window, cut_time, truncated_bptt
from recurra.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from recurra.training.config import TrainingConfig
from recurra.training.files import write_atomically
from recurra.training.interrupt import Interrupted
from recurra.training.loop import FitResult, fit
from recurra.training.loss import BatchSource, Loss, Objective, StatefulObjective
from recurra.training.metrics import read_metrics
from recurra.training.seed import seed_everything

__all__ = [
    "BatchSource",
    "Checkpoint",
    "FitResult",
    "Interrupted",
    "Loss",
    "Objective",
    "StatefulObjective",
    "TrainingConfig",
    "Window",
    "cut_time",
    "fit",
    "read_checkpoint",
    "read_metrics",
    "seed_everything",
    "truncated_bptt",
    "write_atomically",
    "write_checkpoint",
]
