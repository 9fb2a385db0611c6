from __future__ import annotations

import pytest
import torch

from recurra.training.precision import uses_bf16


def test_what_is_asked_for_is_done() -> None:
    assert uses_bf16("bf16", torch.device("cpu"))
    assert not uses_bf16("float32", torch.device("cpu"))


@pytest.mark.parametrize("has", [True, False])
def test_auto_takes_bf16_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert uses_bf16("auto", torch.device("cpu")) is has


def test_auto_is_float32_on_a_device_it_knows_nothing_of() -> None:
    assert not uses_bf16("auto", torch.device("meta"))
