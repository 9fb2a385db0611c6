"""Where the files of real data are."""

from __future__ import annotations

from pathlib import Path

from recurra.errors import DataError

__all__ = ["find_file"]


def find_file(problem: str, what: str, data: str | None, names: list[str]) -> Path:
    """One of several files, given itself or by a folder that holds it somewhere.

    Args:
        problem: who asks.
        what: the data, in words.
        data: the file or the folder; None where nobody gave any.
        names: file names, the best first.

    Raises:
        DataError: nothing was given, or it is not there.
    """
    if data is None:
        raise DataError(f"`{problem}` reads {what}: give the folder that holds `{names[0]}` as `--data`.")
    path = Path(data)
    if path.is_file():
        return path
    found = (sorted(path.rglob(name)) for name in names)
    first = next((paths[0] for paths in found if paths), None)
    if first is None:
        raise DataError(
            f"`{problem}` reads {what}, and there is no `{names[0]}` in `{data}`: give the folder that holds it "
            "as `--data`."
        )
    return first
