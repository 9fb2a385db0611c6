"""Threads that share the products of a tile, as they do where few sequences run through large weights."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra import Cell, Recurrent
from recurra.cells import GRU, LSTM, NTM
from recurra.engine import compiled, products
from recurra.engine.cpu import loop_kernel, team
from recurra.engine.cpu.loop_kernel import LoopKernel
from recurra.engine.cpu.tiling import Layout, Tiling
from tests.engine.engines import assert_engines_agree
from tests.tolerance import assert_close


class State(NamedTuple):
    h: Tensor


class Deep(Cell):
    """The same product three times in a step."""

    State = State

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input, self.again = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = state.h
        for _ in range(3):
            h = torch.tanh(self.input(x) + self.again(h))
        return h, State(h)


CELLS: dict[str, Callable[[], Any]] = {
    "gru": lambda: GRU(3, 70),
    "gru before": lambda: GRU(3, 37, reset="before"),
    "lstm layer norm": lambda: LSTM(3, 33, layer_norm=True),
    "lstm projected": lambda: LSTM(3, 40, proj_size=20),
    "ntm": lambda: NTM(3, 9, memory_size=6, word_size=5),
    "deep": lambda: Deep(3, 37),
}
LENGTHS = [9, 3, 0, 5, 1, 9, 2]
HOUSE = Path(__file__).parent.parent.parent
needs_team = pytest.mark.skipif(not team.can_meet(), reason="threads cannot meet here")


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def sharers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Loops share whatever they can; how many threads shared the tiles of each."""
    seen: list[int] = []
    tiling = LoopKernel.tiling

    def noted(self: LoopKernel, layout: Layout, **options: Any) -> Tiling:
        found = tiling(self, layout, **options)
        seen.append(found.sharers)
        return found

    monkeypatch.setattr(loop_kernel, "_WORTH_MEETING", 1)
    monkeypatch.setattr(loop_kernel, "_WORTH_SHARING", 0)
    monkeypatch.setattr(LoopKernel, "tiling", noted)
    return seen


def numbers(network: Any, x: Tensor, **options: Any) -> list[Tensor]:
    """Outputs, states, and the gradients of the inputs and of every parameter."""
    leaf = x.detach().clone().requires_grad_()
    y, after = network(leaf, **options)
    fields = [field for one in after for field in one]
    loss = y.square().sum() + sum(field.square().sum() for field in fields)
    return [y, *fields, *torch.autograd.grad(loss, [leaf, *network.parameters()])]


def assert_same(network: Any, got: list[Tensor], want: list[Tensor]) -> None:
    """What loops compute is the same bit for bit; what they add up over all rows is added up in another order."""
    count = len(list(network.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(got[:-count], want[:-count], strict=True))
    for one, other in zip(got[-count:], want[-count:], strict=True):
        assert_close(one, other)


@needs_team
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["even", "ragged"])
@pytest.mark.parametrize(("threads", "dtype"), [(2, torch.float32), (2, torch.float64), (3, torch.float32)], ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_every_bit_is_that_of_one_thread(
    name: str,
    threads: int,
    dtype: torch.dtype,
    lengths: list[int] | None,
    sharers: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.set_num_threads(threads)  # for both: torch adds in another order with another number of threads
    network = Recurrent(CELLS[name](), num_layers=2, bidirectional=True, engine="compiled").to(dtype)
    x = torch.randn(9, 7, 3, dtype=dtype)
    got = numbers(network, x, lengths=lengths)
    assert set(sharers) == {threads}
    monkeypatch.setattr(LoopKernel, "tiling", lambda self, layout, **_: layout.tiling(1, self.row_limit))
    want = numbers(network, x, lengths=lengths)
    assert_same(network, got, want)


@needs_team
@pytest.mark.skipif(not products.has_bf16(), reason="this processor has no products of bfloat16")
@pytest.mark.parametrize("name", CELLS)
def test_every_bit_of_rounded_products_too(name: str, sharers: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    network, x = Recurrent(CELLS[name](), num_layers=2, engine="compiled"), torch.randn(40, 7, 3)
    with torch.autocast("cpu", torch.bfloat16):
        got = numbers(network, x)
        monkeypatch.setattr(LoopKernel, "tiling", lambda self, layout, **_: layout.tiling(1, self.row_limit))
        want = numbers(network, x)
    assert set(sharers) == {2}
    assert_same(network, got, want)


@needs_team
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("threads", [2, 5])
@pytest.mark.parametrize("name", CELLS)
def test_results_are_those_of_the_reference(name: str, threads: int, reverse: bool, sharers: list[int]) -> None:
    torch.set_num_threads(threads)
    assert_engines_agree(CELLS[name]().double(), LENGTHS, reverse=reverse, resets=torch.tensor([0, 2, 5, 6, 20]))
    assert set(sharers) == {threads}


@needs_team
def test_several_tiles_one_after_the_other(sharers: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LoopKernel, "row_limit", 3)
    torch.set_num_threads(2)
    for lengths in (LENGTHS, [1] * 8, [4] * 7, [], [0, 0]):
        assert_engines_agree(GRU(3, 37).double(), lengths)
    assert set(sharers) == {2}


_PARTED = """
import torch
from recurra.engine.cpu import loop_kernel, team
from recurra.engine.cpu.loop_kernel import LoopKernel
from tests.engine.engines import assert_engines_agree
from tests.engine.test_shared_products import CELLS, LENGTHS, meeting

team._TOLERATED = -1
loop_kernel._WORTH_MEETING, loop_kernel._WORTH_SHARING = 1, 0
assert meeting()(1) == 1
resets = torch.tensor([0, 2, 5, 6, 20])
for threads, limit in ((2, 64), (3, 3)):
    torch.set_num_threads(threads)
    LoopKernel.row_limit = limit
    for make in CELLS.values():
        assert_engines_agree(make().double(), LENGTHS, resets=resets)
        assert_engines_agree(make().double(), LENGTHS, reverse=True)
"""


def meeting() -> Callable[[int], int]:
    """A place where so many threads meet; gives 1 where they are to part."""
    place = (ctypes.c_int32 * 4)()
    meet = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)(team._meet().address)
    return lambda threads: meet(ctypes.addressof(place), threads)


@needs_team
def test_threads_that_part_leave_all_rows_to_the_first() -> None:
    """They do so at their first meeting here."""
    done = subprocess.run([sys.executable, "-c", _PARTED], cwd=HOUSE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@needs_team
def test_threads_part_once_they_often_sleep_until_the_other_one_comes() -> None:
    meet, count = meeting(), 4 * team._TOLERATED

    def answers(delay: float) -> list[int]:
        found = []
        for _ in range(count):
            time.sleep(delay)
            found.append(meet(2))
        return found

    with ThreadPoolExecutor(2) as pool:
        prompt, late = (pool.submit(answers, delay) for delay in (0.0, 0.003))
    assert prompt.result() == late.result()
    assert prompt.result() == sorted(prompt.result())  # for good
    assert prompt.result()[0] == 0
    assert prompt.result()[-1] == 1


@needs_team
def test_two_directions_that_share_run_at_once_or_by_turns(sharers: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(4)
    network = Recurrent(GRU(3, 37), bidirectional=True, engine="compiled").double()
    judge = Recurrent(GRU(3, 37), bidirectional=True, engine="reference").double()
    judge.load_state_dict(network.state_dict())
    x = torch.randn(6, 1, 3).double()
    for got, want in zip(numbers(network, x), numbers(judge, x), strict=True):
        assert_close(got, want)
    assert set(sharers) == {4}
    sharers.clear()
    monkeypatch.setattr(loop_kernel, "_WORTH_MEETING", 16_000)  # of 33 KB: two threads for each direction, at once
    for got, want in zip(numbers(network, x), numbers(judge, x), strict=True):
        assert_close(got, want)
    assert set(sharers) == {2}


@needs_team
def test_several_threads_of_a_user_have_a_team_each(sharers: list[int]) -> None:
    torch.set_num_threads(2)
    cell = GRU(3, 37)
    inputs = [torch.randn(5, 2, 3) for _ in range(8)]

    def outputs(x: Tensor) -> Tensor:
        return recurra.scan(cell, x, engine="compiled")[0].detach()

    expected = [outputs(x) for x in inputs]
    with ThreadPoolExecutor(2) as pool:
        for got, want in zip(pool.map(outputs, inputs), expected, strict=True):
            assert_close(got, want)  # not every bit: torch's product before the loop may be cut another way there
    assert set(sharers) == {2}


# (threads, sequences, loops that could run at the same time): sharers
RULE = {
    **{(2, batch, 1): 2 for batch in (1, 2, 4)},
    **{(2, batch, 1): 1 for batch in (8, 16, 32, 64)},  # each thread's own rows are worth reading all weights
    (1, 1, 1): 1,
    (2, 1, 2): 1,  # one thread for each direction
    (8, 1, 2): 8,
    (8, 8, 1): 8,
    (64, 1, 1): 12,  # no more than have a quarter of a MiB each
    (64, 64, 1): 1,
}


def test_the_rule_looks_at_sizes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    large, small = (compiled.compiled(GRU(3, size), torch.float32).inference for size in (512, 128))
    monkeypatch.setattr(team, "can_meet", lambda: True)
    for kernel in (large, small):
        monkeypatch.setattr(kernel, "target", replace(kernel.target, cpu="znver5"))
    for (threads, batch, jobs), expected in RULE.items():
        monkeypatch.setattr(team, "num_threads", lambda count=threads: count)
        assert large._sharers(batch, jobs) == expected, (threads, batch, jobs)
        assert small._sharers(batch, jobs) == 1
    monkeypatch.setattr(team, "num_threads", lambda: 2)
    monkeypatch.setattr(small, "target", replace(small.target, cpu="znver4"))
    assert small._sharers(1, 1) == 2
    monkeypatch.setattr(team, "can_meet", lambda: False)
    assert large._sharers(1, 1) == 1
