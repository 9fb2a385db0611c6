"""Devices by name."""

from __future__ import annotations

import pytest
import torch

from recurra.errors import ConfigError
from recurra.training.device import find_device


def test_the_cpu_is_found_by_name_and_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("cpu") == find_device("auto") == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gpu", "`device` must be auto, cpu, cuda or cuda:<number>, got 'gpu'."),
        ("cuda", "`device` cuda is not there: torch .* sees no GPU; use cpu or auto."),
        ("cuda:3", "`device` cuda:3 is not there: torch .* sees no GPU; use cpu or auto."),
    ],
)
def test_a_device_that_is_not_there_is_refused(name: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=sentence):
        find_device(name)
