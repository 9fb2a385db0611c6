"""Two processes are one, only faster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from recurra.errors import ConfigError
from recurra.training import read_metrics
from recurra.training.averaging import weights_of
from recurra.training.distributed import Group, join, shares_of
from tests.tolerance import assert_close
from tests.training.parallel import TRAININGS, network
from tests.training.tiny import train


@pytest.fixture(scope="module")
def trained_by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of TRAININGS, done by two processes under torchrun."""
    folder = tmp_path_factory.mktemp("two")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if sys.platform == "linux":
        environment["GLOO_SOCKET_IFNAME"] = "lo"  # the name of this machine need not resolve
    done = subprocess.run(
        [*torchrun, "-m", "tests.training.parallel", str(folder)],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def ended(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["ended"])  # noqa: SIM118


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TRAININGS, "interrupted"])
@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_end_with_the_weights_of_one(trained_by_two: Path, tmp_path: Path, name: str, rank: int) -> None:
    expected = train(tmp_path, TRAININGS.get(name, TRAININGS["truncated"]), model := network())
    weights, end = ended(trained_by_two / f"{name}.{rank}.safetensors")
    for key, weight in weights_of(model).items():
        assert_close(weights[key], weight)
    assert (end["step"], end["items"]) == (expected.step, expected.items)
    assert end["scores"] == pytest.approx(expected.scores, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TRAININGS, "interrupted"])
def test_two_processes_write_the_lines_of_one(trained_by_two: Path, tmp_path: Path, name: str) -> None:
    train(tmp_path, TRAININGS.get(name, TRAININGS["truncated"]), network())
    ours, theirs = (read_metrics(folder / "metrics.jsonl") for folder in (tmp_path, trained_by_two / name))
    for one, two in zip(ours, theirs, strict=True):
        one["seconds"] = two["seconds"] = 0
        assert two.pop("split") == one.pop("split")
        assert two == pytest.approx(one, rel=1e-7)


# --- what needs no second process ----------------------------------------------------------------------------------


def test_shares_are_every_nth_and_may_be_missing() -> None:
    assert shares_of(None, [1, 2, 3, 4, 5], 2) == [[1, 3, 5], [2, 4]]
    assert shares_of(None, [1], 3) == [[1], None, None]
    assert shares_of(None, "anything", 1) == ["anything"]


def test_a_source_can_share_out_its_own_items() -> None:
    class Own:
        def split(self, item: tuple[int, list[int]], parts: int) -> Iterator[Any]:
            for rank in range(parts):
                yield (item[0], item[1][rank::parts]) if len(item[1]) > rank else None

    assert shares_of(Own(), (7, [1, 2, 3]), 2) == [(7, [1, 3]), (7, [2])]


def test_items_that_nobody_can_share_out_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"give the batch source a method `split\(item, parts\)`.*type tuple"):
        shares_of(None, (1, 2), 2)


def test_alone_everything_stays_as_it_is() -> None:
    group = join("cpu")
    assert group == Group(0, 1, torch.device("cpu"))
    assert group.sum({"a": 1.5}) == {"a": 1.5}
    assert group.maximum(3) == 3
    assert group.from_first(b"x") == b"x"
    assert group.gather({})[0] == {}
    assert group.replicate(torch.nn.Linear(1, 1))(lambda model: model.in_features) == 1
    group.expect_gradients(torch.nn.Linear(1, 1))


def test_a_weight_without_a_gradient_is_refused_where_gradients_are_shared() -> None:
    model = torch.nn.ModuleDict({"used": torch.nn.Linear(1, 1), "unused": torch.nn.Linear(1, 1)})
    model["used"](torch.ones(1)).backward()
    group = Group(0, 2, torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"`unused\.weight` had none: freeze it"):
        group.expect_gradients(model)
    model["unused"].requires_grad_(False)
    group.expect_gradients(model)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="`device` cuda is not there"):
        join("cuda")
    assert join("auto").device == torch.device("cpu")
