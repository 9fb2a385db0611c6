"""`recurra cells`."""

from __future__ import annotations

import pytest

from recurra.cells import CELLS, cell_options, cell_sources, cell_summary
from recurra.cli.main import main


def test_every_cell_is_listed_with_its_size_and_its_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cells"]) == 0

    out, err = capsys.readouterr()
    assert err.startswith("Counted with I=128, H=128; convgru size=(16, 16); convlstm size=(16, 16)")
    head, *lines = out.splitlines()
    assert head.split() == ["cell", "parameters", "state", "paper", "year"]
    assert [line.split()[0] for line in lines] == list(CELLS)
    for line, name in zip(lines, CELLS, strict=True):
        summary, source = cell_summary(name), cell_sources(name)[0]
        assert line.split()[1:3] == [f"{summary.parameters:,}", f"{summary.state_size:,}"]
        assert source.title in line
        assert line.endswith(str(source.year))


def test_cells_are_counted_at_the_sizes_that_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cells", "--input-size", "3", "--hidden-size", "4"]) == 0

    words = next(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("gru "))
    assert words[1:3] == [str(3 * 4 * (3 + 4 + 2)), "4"]


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_described_with_equations_sizes_and_options(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["cells", name]) == 0

    out = capsys.readouterr().out
    assert " = " in out
    assert f"{cell_summary(name).parameters:,} parameters" in out
    assert all(option.name in out for option in cell_options(name))
    assert "<class" not in out


def test_what_must_be_given_is_named_with_what_the_counts_are_made_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cells", "convlstm"]) == 0

    out = capsys.readouterr().out
    assert "With I=128, H=128, size=(16, 16):" in out
    assert any(line.split()[:2] == ["size", "(needed)"] for line in out.splitlines())


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_cited_as_bibtex(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["cells", "--cite", name]) == 0

    out = capsys.readouterr().out
    assert out.startswith("@")
    assert out.count("{") == out.count("}")
    assert all(source.title in out for source in cell_sources(name))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cells", "convlsmt"], "Unknown cell `convlsmt`. Did you mean `convlstm`"),
        (["cells", "--cite", "convgruu"], "Unknown cell `convgruu`. Did you mean `convgru`"),
        (["cells", "--input-size", "0"], "`--input-size` must be greater than or equal to 1"),
        (["cells", "gru", "--hidden-size", "many"], "`--hidden-size`"),
        (["summary", "convlstm"], "The cell `convlstm` needs the option `size`"),
        (["explain", "convgru"], "The cell `convgru` needs the option `size`"),
        (["explain", "esn", "--cell-options", '{"storage": "sparse"}'], "`_sparse_addmm` has no compiled form"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_network_of_images_is_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--input-size", "3", "--hidden-size", "8", "--cell-options", '{"size": [4, 6]}']
    assert main(["summary", "convgru", "--bidirectional", *options]) == 0

    out = capsys.readouterr().out
    assert "[T, B, 8, 4, 6]" in out
    assert "[ConvGRU 8 x 4 x 6]" in out
