"""`recurra cells`."""

from __future__ import annotations

import pytest

from recurra.cells import CELLS, cell_options
from recurra.cli.main import main


def test_every_cell_is_listed_with_its_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cells"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(CELLS)
    assert all(line.split()[-1].isdigit() for line in lines[1:])


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_described_with_equations_and_options(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["cells", name]) == 0

    out = capsys.readouterr().out
    assert "h' =" in out
    assert all(option.name in out for option in cell_options(name))


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_cited_as_bibtex(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["cells", "--cite", name]) == 0

    out = capsys.readouterr().out
    assert out.startswith("@")
    assert out.count("{") == out.count("}")
