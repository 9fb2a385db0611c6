"""Ctrl-C once saves and says how to go on; twice stops at once."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from recurra.training import Interrupted, Loss, read_checkpoint
from recurra.training.interrupt import listening
from tests.training.tiny import TinyNetwork, fingerprint, objective, train


@pytest.fixture(autouse=True)
def handler_comes_back() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def network() -> TinyNetwork:
    torch.manual_seed(3)
    return TinyNetwork(dropout=0.2)


def pressing(*calls: int) -> Any:
    """An objective during whose n-th calls somebody presses Ctrl-C."""
    count = 0

    def pressed(model: nn.Module, batch: Any) -> Loss:
        nonlocal count
        count += 1
        if count in calls:
            os.kill(os.getpid(), signal.SIGINT)
        return objective(model, batch)

    return pressed


def test_the_update_is_finished_and_saved_and_the_way_on_is_told(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as stopped:
        train(tmp_path, {"accumulate": 2}, network(), objective=pressing(7))
    assert stopped.value.step == 4  # the seventh batch is in the fourth update of two, as one epoch has six
    assert str(stopped.value) == (
        f"Stopped after update 4; saved in `{tmp_path / 'checkpoint.safetensors'}`: "
        "resume with --resume (`resume=True` in Python)."
    )
    assert read_checkpoint(tmp_path / "checkpoint.safetensors").values["step"] == 4


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    (tmp_path / "unbroken").mkdir()
    train(tmp_path / "unbroken", {"max_steps": 12}, unbroken := network())
    with pytest.raises(Interrupted):
        train(tmp_path, {"max_steps": 12}, network(), objective=pressing(5))
    train(tmp_path, {"max_steps": 12}, resumed := network())
    assert fingerprint(resumed) == fingerprint(unbroken)


def test_the_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(tmp_path, {"accumulate": 6}, network(), objective=pressing(2, 3))
    assert not isinstance(stopped.value, Interrupted)
    assert read_checkpoint(tmp_path / "checkpoint.safetensors").values["step"] == 0


def test_without_a_checkpoint_it_says_that_nothing_is_saved(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="Stopped after update 1; nothing is saved") as stopped:
        train(tmp_path, {}, network(), objective=pressing(1), checkpoint=None, resume=False)
    assert stopped.value.checkpoint is None


def test_outside_the_main_thread_nothing_is_listened_to() -> None:
    heard: list[bool] = []

    def work() -> None:
        with listening() as request:
            heard.append(bool(request))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [False]


def test_what_a_process_was_stopped_by_can_be_sent_to_another() -> None:
    stop = pickle.loads(pickle.dumps(Interrupted(3, Path("run"))))
    assert (stop.step, stop.checkpoint, str(stop)) == (3, Path("run"), str(Interrupted(3, Path("run"))))
