"""The house itself: floors, public names, versions, and how light `import recurra` is."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import recurra

HOUSE = Path(__file__).parent.parent
NOT_AT_IMPORT = ["h5py", "keras", "llvmlite", "matplotlib", "pandas", "pydantic", "rich", "sacrebleu", "tokenizers"]
NOT_AT_IMPORT += ["typer"]


def _project() -> dict[str, Any]:
    return tomllib.loads((HOUSE / "pyproject.toml").read_text(encoding="utf-8"))


def _package_name(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower()


def test_imports_only_go_down(monkeypatch: pytest.MonkeyPatch) -> None:
    lint_imports = importlib.import_module("importlinter.cli").lint_imports

    monkeypatch.chdir(HOUSE)

    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == 0


def test_importing_recurra_loads_no_optional_and_no_command_line_package() -> None:
    program = "import sys, recurra; print(*sorted({name.split('.')[0] for name in sys.modules}))"

    loaded = subprocess.run([sys.executable, "-c", program], cwd=HOUSE, capture_output=True, text=True, check=True)

    assert "torch" in loaded.stdout.split()
    assert not set(NOT_AT_IMPORT) & set(loaded.stdout.split())


def test_public_names_are_there_and_named_once() -> None:
    assert len(set(recurra.__all__)) == len(recurra.__all__)
    missing = [name for name in recurra.__all__ if not hasattr(recurra, name)]
    assert missing == []


def test_every_public_name_has_its_place_in_the_reference() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (HOUSE / "docs" / "reference").glob("*.md"))
    documented = re.findall(r"^::: recurra\.([\w.]+)$", pages, flags=re.MULTILINE)
    modules = {name for name in recurra.__all__ if isinstance(getattr(recurra, name), type(sys))}

    def stands_in_reference(name: str) -> bool:
        return any(place == name or place.endswith(f".{name}") for place in documented)

    assert [name for name in recurra.__all__ if name not in modules and not stands_in_reference(name)] == []
    assert [name for name in modules if not any(place.startswith(f"{name}.") for place in documented)] == []


def test_every_cell_has_its_place_in_the_reference_and_among_those_to_choose_from() -> None:
    reference = (HOUSE / "docs" / "reference" / "cells.md").read_text(encoding="utf-8")
    choosing = (HOUSE / "docs" / "guide" / "choosing.md").read_text(encoding="utf-8")
    for name, kind in recurra.cells.CELLS.items():
        assert f"::: recurra.cells.{kind.__name__}\n" in reference, f"{name}: see CONTRIBUTING.md"
        assert f"| `{name}` |" in choosing, f"{name}: see CONTRIBUTING.md"
        assert callable(getattr(kind, "reset_parameters", None)), name


def test_every_module_says_what_it_is() -> None:
    modules = [
        module.name for module in pkgutil.walk_packages(recurra.__path__, "recurra.") if "__main__" not in module.name
    ]

    silent = [name for name in modules if not (importlib.import_module(name).__doc__ or "").strip()]

    assert modules
    assert silent == []


def test_what_other_modules_import_is_named_in_all() -> None:
    # the sample's grammar is written in words that it is read by: its modules list none
    modules = {
        ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__"): ast.parse(path.read_text())
        for path in (HOUSE / "recurra").rglob("*.py")
        if "english_french" not in path.parts
    }
    imported = {
        (node.module, alias.name)
        for tree in modules.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in modules
        for alias in node.names
        if f"{node.module}.{alias.name}" not in modules and not alias.name.startswith("__")
    }

    missing = [
        f"{module}: {name}"
        for module, name in sorted(imported)
        if name not in getattr(importlib.import_module(module), "__all__", ())
    ]

    assert ("recurra.engine.scan", "scan") in imported
    # what the files of one kernel hand to each other
    assert set(missing) <= {"recurra.engine.cpu.emit: Emitter", "recurra.engine.cpu.emit: HEADER"}


def test_the_newest_version_of_the_changelog_is_the_packages() -> None:
    changelog = (HOUSE / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", changelog, flags=re.MULTILINE)

    assert versions[0] == recurra.__version__ == _project()["project"]["version"]


def test_constraints_pin_exactly_what_the_project_names() -> None:
    project = _project()["project"]
    named = set(project["dependencies"]).union(*project["optional-dependencies"].values())
    lines = (HOUSE / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]

    assert all(re.fullmatch(r"[\w-]+==[\w.]+", pin) for pin in pins)
    assert {_package_name(pin) for pin in pins} == {_package_name(name) for name in named} - {"recurra"}


def test_every_supported_python_is_declared_once() -> None:
    project = _project()["project"]
    declared = [line.rsplit(" ", 1)[1] for line in project["classifiers"] if "Python :: 3." in line]

    assert declared == ["3.11", "3.12", "3.13", "3.14"]
    assert project["requires-python"] == ">=3.11,<3.15"
