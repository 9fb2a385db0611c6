"""The help of commands, drawn by typer: names of options are whole at any width, types of Python are left out."""

from __future__ import annotations

from rich.text import Text
from typer import rich_utils

__all__ = ["draw_whole_names"]


def draw_whole_names() -> None:
    """Draw all help from now on so: where a column is narrow, typer ends names in `…`, and nobody can type them."""
    rich_utils.highlighter = _Options()
    rich_utils.negative_highlighter = _NegativeOptions()
    rich_utils.types_highlighter = _Types()


class _Options(rich_utils.OptionHighlighter):
    def __call__(self, text: str | Text) -> Text:
        return _folded(super().__call__(text))


class _NegativeOptions(rich_utils.NegativeOptionHighlighter):
    def __call__(self, text: str | Text) -> Text:
        return _folded(super().__call__(text))


class _Types(rich_utils.TypesHighlighter):
    """What an option takes, in our words; `<list[Path]>` is what typer writes where there are none."""

    def __call__(self, text: str | Text) -> Text:
        return Text() if str(text).startswith("<") else super().__call__(text)


def _folded(text: Text) -> Text:
    text.overflow = "fold"
    return text
