"""Options made from a config model."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, Field
from rich.text import Text

from recurra.cli.options import as_typed, option_name, option_parameters, options_given
from recurra.errors import ConfigError
from recurra.tasks.registry import TASKS


class Base(BaseModel):
    steps: int | None = Field(None, description="Steps.")


class Model(Base):
    panels: ClassVar[dict[str, str]] = {"rate": "Rates", "steps": "Time"}
    unused: ClassVar[tuple[str, ...]] = ("never",)

    rate: float = Field(1e-3, description="Rate [1/s].")
    kind: Literal["a", "b"] = Field("a", description="Kind.")
    deep: bool = Field(True, description="Deep.")
    table: dict[str, Any] = Field(default_factory=dict, description="Table.")
    never: int = 3


def info(name: str) -> Any:
    return next(p for p in option_parameters(Model) if p.name == name).annotation.__metadata__[0]


def test_own_fields_come_first_and_unused_ones_not_at_all() -> None:
    assert [parameter.name for parameter in option_parameters(Model)] == ["rate", "kind", "deep", "table", "steps"]


def test_help_type_default_and_panel_are_those_of_the_field() -> None:
    assert (info("rate").metavar, info("rate").rich_help_panel) == ("NUMBER", "Rates")
    assert Text.from_markup(info("rate").help).plain == "Rate [1/s]. [0.001]"
    assert info("kind").metavar == "a|b"
    assert info("steps").rich_help_panel == "Time"
    assert Text.from_markup(info("steps").help).plain == "Steps. [none]"
    assert Text.from_markup(info("deep").help).plain == "Deep. [on]"


def test_what_was_not_typed_is_not_given() -> None:
    assert options_given(Model, {"rate": None, "kind": None, "deep": None, "other": 3}) == {}


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [("steps", "none", None), ("steps", "3", "3"), ("kind", "none", "none"), ("deep", False, False),
     ("table", '{"a": 1}', {"a": 1})],
)  # fmt: skip
def test_typed_words_become_values(name: str, typed: Any, value: Any) -> None:
    assert options_given(Model, {name: typed}) == {name: value}


def test_json_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="`table` must be JSON"):
        options_given(Model, {"table": "{a"})


def test_a_refusal_names_options_as_they_are_typed() -> None:
    with pytest.raises(ConfigError, match=r"^`--out-dir` and `other`$"), as_typed(["out_dir"]):
        raise ConfigError("`out_dir` and `other`")


def test_every_option_of_every_task_has_help_and_a_panel() -> None:
    for task in TASKS.values():
        for parameter in option_parameters(task.load().Config):
            option = parameter.annotation.__metadata__[0]
            assert len(option.help) > 20
            assert option.rich_help_panel != "Options"
            assert option_name(parameter.name) == f"--{parameter.name.replace('_', '-')}"
