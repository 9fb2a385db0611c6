"""One translator that knows its pairs by heart, for all tests that only read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tasks.translate.toy import learn_by_heart


@pytest.fixture(scope="session")
def learned_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run folder; tests that change it work on a copy."""
    return learn_by_heart(tmp_path_factory.mktemp("learned"))
