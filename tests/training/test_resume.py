"""A process that is killed with SIGKILL, at moments chosen and at random ones, and resumed until it is done."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from recurra.training import read_metrics
from tests.training.tiny import TinyNetwork, fingerprint, train

OPTIONS: dict[str, Any] = {
    "max_steps": 60,
    "schedule": "cosine",
    "warmup_steps": 7,
    "averaging": "ema",
    "accumulate": 4,  # six batches an epoch: an update of four, one of two
    "save_every": 3,
}


def start(folder: Path, event: str = "") -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "tests.training.tiny", str(folder), json.dumps(OPTIONS), event]
    return subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def kill_at_random(process: subprocess.Popen[str], lines: int) -> None:
    """After so many lines of metrics, whatever the process is doing then."""
    assert process.stdout is not None
    for _ in range(lines):
        process.stdout.readline()
    process.kill()


def curve(folder: Path) -> list[dict[str, Any]]:
    rows = read_metrics(folder / "metrics.jsonl")
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.slow
def test_a_run_killed_at_any_moment_resumes_to_the_unbroken_one(tmp_path: Path) -> None:
    chance = random.Random(11)
    broken = tmp_path / "broken"
    broken.mkdir()
    # while it writes a checkpoint, before it takes its name, in the middle of an update, and anywhere
    for event in ("fsync:9", "replace:4", "dropout:50", ""):
        with start(broken, event) as process:
            if not event:
                kill_at_random(process, chance.randrange(1, 6))
            process.communicate()
        # a run that was faster than the hand that kills it is a legal outcome of chance, and of chance alone
        assert process.returncode == -signal.SIGKILL or (not event and process.returncode == 0)
    with start(broken) as process:
        process.communicate()
    assert process.returncode == 0

    (tmp_path / "unbroken").mkdir()
    torch.manual_seed(3)
    model = TinyNetwork(dropout=0.3)
    train(tmp_path / "unbroken", OPTIONS, model)
    assert (broken / "weights.txt").read_text() == fingerprint(model)
    assert curve(broken) == curve(tmp_path / "unbroken")
    assert sorted(path.name for path in broken.iterdir()) == ["checkpoint.safetensors", "metrics.jsonl", "weights.txt"]
