"""The run folder: everything a fit leaves behind, readable by people and by any later version.

    config.json              which task, which options, which data, which version of this format
    model.safetensors        the weights, with a checksum of them; there once the fit has ended
    tokenizer.json ...       what the task needs beside the weights, in its own files
    metrics.jsonl            one line a report of the training loop
    plots/*.png              the same to look at
    README.md                the model card
    checkpoint.safetensors   where training stands, to resume it; gone once the fit has ended
    .replaced/               the run that stood here before `overwrite`; gone once the new one has weights

Nothing here is a pickle, every file is replaced atomically, and files that are no part of a run are never touched,
those in `plots` included.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from recurra import __version__
from recurra.errors import RunError, reason_of
from recurra.training.files import write_atomically

__all__ = ["FORMAT", "RunFolder", "RunRecord"]

FORMAT = 1  # raised when an older version of this package could no longer read the folder

CONFIG, WEIGHTS, METRICS, CARD = "config.json", "model.safetensors", "metrics.jsonl", "README.md"
CHECKPOINT, REPLACED = "checkpoint.safetensors", ".replaced"
MARK = b'"recurra"'  # the key of `config.json` that other programs have no use for


class RunRecord(BaseModel):
    """What `config.json` holds."""

    model_config = ConfigDict(frozen=True)

    format: int = Field(description="Version of the layout of the folder.")
    recurra: str = Field(description="Version of the package that wrote it.")
    task: str = Field(description="Name of the task, e.g. `translate`.")
    options: dict[str, Any] = Field(description="All options of the fit, defaults included.")
    data: dict[str, Any] = Field(default_factory=dict, description="Facts about the examples: files, counts, digest.")


class RunFolder:
    """A folder that holds one run.

    Args:
        path: the folder; it need not exist yet.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.weights = self.path / WEIGHTS
        self.metrics = self.path / METRICS
        self.card = self.path / CARD
        self.checkpoint = self.path / CHECKPOINT
        self._config = self.path / CONFIG
        self._replaced = self.path / REPLACED

    def __str__(self) -> str:
        return str(self.path)

    # --- what stands there -------------------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether there is a run, finished or not: a `config.json` of this package, whole or damaged."""
        return _is_ours(self._config)

    @property
    def is_finished(self) -> bool:
        """Whether the run was fitted to its end."""
        return self.exists and self.weights.is_file() and not self.checkpoint.exists()

    def check_free(self, *, resume: bool | None, overwrite: bool) -> None:
        """Refuse to begin a run here when something is in the way; touches nothing.

        Args:
            resume: whether to go on with the run that is here; None where there is nothing to go on with.
            overwrite: whether to put a new run in its place.

        Raises:
            RunError: a run is here and neither flag says what to do with it, both flags are given, or the path holds
                something that is no run.
        """
        if resume and overwrite:
            raise RunError("Either resume the run or overwrite it: give one of `resume` and `overwrite`.")
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"`{self}` is a file: name a folder for the run.")
        is_run = self.exists or _is_ours(self._replaced / CONFIG)
        if is_run and not (resume or overwrite):
            go_on = "" if resume is None else "go on with it by `resume`, or "
            raise RunError(f"`{self}` already holds a run: {go_on}put a new one in its place by `overwrite`.")
        if not is_run and self.path.is_dir() and any(not entry.name.startswith(".") for entry in self.path.iterdir()):
            raise RunError(f"`{self}` holds files but no run: name a new or an empty folder.")

    # --- beginning and ending ----------------------------------------------------------------------------------

    @contextmanager
    def replacing(self, *files: str) -> Iterator[None]:
        """Begin a new run where another stands; the old one moves to `.replaced` until the new one has weights.

        Files that are no part of a run stay where they are. When the block raises before anything of the new run was
        saved, the new run goes and the old one moves back.

        Args:
            files: names of the files that the task adds to the folder, pictures among them: `plots/loss.png`.
        """
        ours = [CONFIG, WEIGHTS, METRICS, CARD, CHECKPOINT, *files]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if _is_ours(
                self._replaced / CONFIG
            ):  # a replacement that never came to weights: drop that, not the old run
                self._remove(self.path, ours)
            elif self.exists:
                self._replaced.mkdir(exist_ok=True)
                self._move(self.path, self._replaced, ours)
        except OSError as error:
            raise RunError(f"Cannot make room for a run in `{self}`: {reason_of(error)}.") from None
        try:
            yield
        except BaseException:
            if not self.checkpoint.exists() and not self.weights.exists():
                self._remove(self.path, ours)
                if _is_ours(self._replaced / CONFIG):
                    self._move(self._replaced, self.path, ours)
                    self._replaced.rmdir()
                elif not any(self.path.iterdir()):
                    self.path.rmdir()
            raise

    @staticmethod
    def _move(origin: Path, goal: Path, names: list[str]) -> None:
        for name in names[1:] + names[:1]:  # config.json last: what has one is whole
            if (origin / name).exists():
                (goal / name).parent.mkdir(exist_ok=True)
                (origin / name).replace(goal / name)
                _drop_if_empty((origin / name).parent, origin)

    @staticmethod
    def _remove(folder: Path, names: list[str]) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)
            _drop_if_empty((folder / name).parent, folder)

    def finish(self) -> None:
        """The weights are saved: let go of the checkpoint and of a run that this one replaces."""
        self.checkpoint.unlink(missing_ok=True)
        shutil.rmtree(self._replaced, ignore_errors=True)

    # --- its files ---------------------------------------------------------------------------------------------

    def write(self, name: str, content: str | bytes) -> Path:
        """Write one file of the folder, atomically; returns its path."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # names of files may be any bytes: what is no character of them becomes an escape, which JSON reads back
        write_atomically(path, content.encode(errors="backslashreplace") if isinstance(content, str) else content)
        return path

    def save_record(self, task: str, options: Mapping[str, Any], data: Mapping[str, Any]) -> RunRecord:
        """Write `config.json`: from here on the folder is a run."""
        record = RunRecord(format=FORMAT, recurra=__version__, task=task, options=dict(options), data=dict(data))
        self.write(CONFIG, json.dumps(record.model_dump(), indent=2, ensure_ascii=False) + "\n")
        return record

    def record(self) -> RunRecord:
        """Read `config.json`.

        Raises:
            RunError: there is no run, it was written by a newer version, or the file is damaged.
        """
        if not self.path.exists():
            raise RunError(f"There is no run folder `{self}`.")
        if not self._config.is_file():
            raise RunError(f"`{self}` is no run folder: it has no `{CONFIG}`.{self._hint_of_replaced()}")
        content = self.read_json(CONFIG)
        if isinstance(content, dict) and not self.exists:
            raise RunError(f"`{self}` is no run folder: its `{CONFIG}` is of another program.")
        found = content.get("format") if isinstance(content, dict) else None
        if isinstance(found, int) and found > FORMAT:
            raise RunError(
                f"`{self}` was written by recurra {content.get('recurra', 'of a later version')} in format {found}; "
                f"recurra {__version__} reads formats up to {FORMAT}: run `pip install --upgrade recurra`."
            )
        try:
            return RunRecord.model_validate(content)
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"])) or "the whole file"
            raise RunError(self._damaged(CONFIG, f"`{where}` is not as it was written")) from None

    def save_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Write `model.safetensors`."""
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
        checksum = _checksum(save_tensors(tensors))
        # one entry: safetensors writes several in any order, and the same run shall give the same bytes
        self.write(WEIGHTS, save_tensors(tensors, metadata={"checksum": checksum}))

    def load_weights(self) -> dict[str, Tensor]:
        """Read `model.safetensors`.

        Raises:
            RunError: the run was cut short before it had weights, or the file is damaged.
        """
        if not self.weights.is_file():
            self.expect_weights()
        try:
            content = self.weights.read_bytes()
            tensors = load_tensors(content)
        except (SafetensorError, KeyError, ValueError) as error:
            raise RunError(self._damaged(WEIGHTS, str(error).strip().rstrip("."))) from None
        except OSError as error:
            raise RunError(f"Cannot read `{self.weights}`: {reason_of(error)}.") from None
        # weights of an earlier version, or of another program, have none
        if _written_checksum(content) not in (None, _checksum(content)):
            raise RunError(self._damaged(WEIGHTS, "its checksum is wrong"))
        return tensors

    def expect_weights(self) -> None:
        """Refuse a run that has none yet, and say how to get them.

        Raises:
            RunError: there is no `model.safetensors`.
        """
        if self.weights.is_file():
            return
        task = self.record().task
        if self.checkpoint.is_file():
            how = f"go on with `recurra fit {task} --out {self} --resume`"
        else:
            how = f"fit it again with `recurra fit {task} ... --out {self} --overwrite`"
        raise RunError(f"The run in `{self}` was cut short, it has no `{WEIGHTS}`: {how}.{self._hint_of_replaced()}")

    def fill(self, network: nn.Module) -> None:
        """Put the saved weights into a network of the same sizes.

        Raises:
            RunError: there are none, the file is damaged, or they are of another network.
        """
        weights = self.load_weights()
        expected = network.state_dict()
        wrong = [name for name in {**expected, **weights} if not _fits(expected.get(name), weights.get(name))]
        if wrong:
            raise RunError(self._damaged(WEIGHTS, f"its `{wrong[0]}` does not fit the options in `{CONFIG}`"))
        network.load_state_dict(weights)

    def read_text(self, name: str) -> str:
        """One of the folder's text files.

        Raises:
            RunError: it is missing or is no text.
        """
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise RunError(self._damaged(name, "it is missing")) from None
        except UnicodeDecodeError:
            raise RunError(self._damaged(name, "it is not UTF-8 text")) from None
        except OSError as error:
            raise RunError(f"Cannot read `{self.path / name}`: {reason_of(error)}.") from None

    def read_json(self, name: str) -> Any:
        """One of the folder's JSON files.

        Raises:
            RunError: it is missing or is no JSON.
        """
        text = self.read_text(name)
        try:
            return json.loads(text)
        except ValueError as error:
            raise RunError(self._damaged(name, f"it is not JSON, {error}")) from None

    def _damaged(self, name: str, why: str) -> str:
        # what cannot be told from the files of another program is not overwritten
        how = "with `--overwrite`" if self.exists else "in another folder"
        return f"`{self.path / name}` is damaged ({why}): restore it from a copy, or fit the run again {how}."

    def _hint_of_replaced(self) -> str:
        if not (self._replaced / WEIGHTS).is_file():
            return ""
        return f" The run that it was to replace is in `{self._replaced}`."


def _is_ours(config: Path) -> bool:
    """Whether a `config.json` was written by this package: models of other programs have one, too."""
    try:
        return MARK in config.read_bytes()
    except OSError:
        return False


def _drop_if_empty(folder: Path, run: Path) -> None:
    """Remove a folder inside the run, `plots`, that has nothing left in it."""
    if folder != run and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _checksum(content: bytes) -> str:
    """Of the numbers of a safetensors file, without its header, where the checksum itself stands."""
    return f"{zlib.crc32(memoryview(content)[_end_of_header(content) :]):08x}"


def _written_checksum(content: bytes) -> str | None:
    header = json.loads(content[8 : _end_of_header(content)])
    found: str | None = header.get("__metadata__", {}).get("checksum")
    return found


def _end_of_header(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def _fits(expected: Tensor | None, found: Tensor | None) -> bool:
    return expected is not None and found is not None and expected.shape == found.shape
