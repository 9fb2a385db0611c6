"""What `import recurra` offers, and what it leaves for later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import recurra
from recurra import errors

HOUSE = Path(__file__).parent.parent


def test_every_public_name_is_there_and_listed() -> None:
    for name in recurra.__all__:
        assert getattr(recurra, name) is not None
        assert name in dir(recurra)


def test_every_error_is_public() -> None:
    named = [name for name in errors.__all__ if isinstance(getattr(errors, name), type)]

    assert set(named) <= set(recurra.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lstm'"):
        _ = recurra.lstm


def test_floors_load_when_they_are_used() -> None:
    program = (
        "import sys, recurra\n"
        "assert 'recurra.tasks' not in sys.modules and 'recurra.training' not in sys.modules\n"
        "recurra.tasks.translate.fit, recurra.training.fit, recurra.nn.LSTM\n"
        "recurra.tasks.prove.prove, recurra.inspect.figures.draw_gradients\n"
        "assert 'pydantic' in sys.modules and 'matplotlib' not in sys.modules and 'sacrebleu' not in sys.modules\n"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=HOUSE, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
