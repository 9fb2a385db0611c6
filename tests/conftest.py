"""Every test begins with the same random state and examples, a clean environment, and fresh memory full of NaN."""

from __future__ import annotations

import faulthandler
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from recurra.engine.cpu import replay

_CRASHES = "TESTS_CRASHES"
settings.register_profile("same", derandomize=True, deadline=None)  # others: pytest --hypothesis-profile=default
settings.load_profile("same")
torch.set_num_threads(1)  # tests run side by side; results must not depend on it


def _filled(create: Any) -> Any:
    def poisoned(*args: Any, **kwargs: Any) -> Any:
        tensor = create(*args, **kwargs)
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and tensor.layout == torch.strided:
            with torch.no_grad():
                tensor.fill_(float("nan"))
        return tensor

    return poisoned


@pytest.hookimpl(trylast=True)  # pytest itself lets them say it on a stderr that nobody reads
def pytest_configure(config: pytest.Config) -> None:
    """Where each of several processes says, if it crashes, what it was doing."""
    if hasattr(config, "workerinput"):
        path = Path(os.environ[_CRASHES]) / config.workerinput["workerid"]
        faulthandler.enable(os.open(path, os.O_WRONLY | os.O_CREAT))  # open as long as the process lives
    else:
        folder = tempfile.TemporaryDirectory()
        config.add_cleanup(folder.cleanup)
        os.environ[_CRASHES] = folder.name


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for path in sorted(Path(os.environ[_CRASHES]).iterdir()):
        if said := path.read_text():
            terminalreporter.section(f"crash of {path.name}")
            terminalreporter.write(said)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Cells that stand in a module have the same weights in every run: some would amplify rounding too far."""
    if isinstance(collector, pytest.Module):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def code_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled cells are kept while the tests run: never the user's own; one for all processes of a session."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled-code"


@pytest.fixture(autouse=True)
def _same_start(monkeypatch: pytest.MonkeyPatch, code_cache: Path) -> Iterator[None]:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    for name in list(os.environ):
        if name.startswith("RECURRA_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RECURRA_CACHE_DIR", str(code_cache))
    # memory that is read before it is written shows as NaN, not as whatever was there
    monkeypatch.setattr(torch, "empty", _filled(torch.empty))
    monkeypatch.setattr(torch, "empty_strided", _filled(torch.empty_strided))
    monkeypatch.setattr(replay, "_workspace", _filled(replay._workspace))
    monkeypatch.setattr(torch, "empty_like", _filled(torch.empty_like))
    monkeypatch.setattr(torch.Tensor, "new_empty", _filled(torch.Tensor.new_empty))
    yield
    torch.set_default_dtype(torch.float32)
