"""A compiled cell among other threads, forks, processes and hooks, and what many compilations leave behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import recurra
from recurra.cells import GRU, RNN
from recurra.engine import compiled
from recurra.engine.cpu import loop_kernel
from tests.engine.engines import assert_engines_agree
from tests.tolerance import assert_close


def _gradients(cell: Any, x: Tensor, engine: str) -> list[Tensor]:
    y, _ = recurra.scan(cell, x, engine=engine)
    return [y.detach(), *torch.autograd.grad(y.square().sum(), list(cell.parameters()))]


def test_several_python_threads_at_once() -> None:
    cell = GRU(3, 17).double()
    inputs = [torch.randn(9, size, 3).double() for size in (1, 2, 5, 9) * 4]
    expected = [_gradients(cell, x, "reference") for x in inputs]
    with ThreadPoolExecutor(4) as pool:  # the first of them compile it, all at once
        found = list(pool.map(lambda x: _gradients(cell, x, "compiled"), inputs))
    for got, want in zip(found, expected, strict=True):
        for one, other in zip(got, want, strict=True):
            assert_close(one, other)


class _Scanned(Dataset[Tensor]):
    """Items that a compiled cell makes."""

    def __init__(self, cell: Any) -> None:
        self.cell = cell

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Tensor:
        with torch.no_grad():
            return recurra.scan(self.cell, torch.full((4, 5, 3), 0.1 * index), engine="compiled")[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_worker_runs_what_its_parent_has_run_on_threads() -> None:
    dataset = _Scanned(GRU(3, 5))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        expected = [dataset[index] for index in range(3)]
        loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context="fork", timeout=60)
        for got, want in zip(loader, expected, strict=True):
            assert_close(got, want)
    finally:
        torch.set_num_threads(threads)


# built for CUDA, torch refuses autograd in the fork of a process that has used it, and a trace goes through it
can_trace_in_a_fork = pytest.mark.skipif(
    not hasattr(os, "fork") or torch.version.cuda is not None, reason="there is no autograd in a fork here"
)


class _Compiled(Dataset[Tensor]):
    """Items for each of which a cell of its own is compiled."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Tensor:
        cell = GRU(3, 6 + index)
        with torch.no_grad():
            got, _ = recurra.scan(cell, torch.ones(4, 5, 3), engine="compiled")
            want, _ = recurra.scan(cell, torch.ones(4, 5, 3), engine="reference")
        return (got - want).abs().max()


@can_trace_in_a_fork
def test_a_forked_worker_compiles_cells_of_its_own() -> None:
    recurra.scan(GRU(3, 5), torch.ones(4, 5, 3), engine="compiled")  # the parent has traced
    loader = DataLoader(_Compiled(), batch_size=None, num_workers=1, multiprocessing_context="fork", timeout=60)
    assert max(float(error) for error in loader) < 1e-5


_FORKED_IN_A_COMPILATION = """
import os, signal, torch, recurra
from recurra.engine.cpu import jit
recurra.scan(recurra.GRU(3, 5), torch.ones(4, 5, 3), engine="compiled")
with jit._lock:  # as a thread that compiles holds it
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        recurra.scan(recurra.LSTM(3, 5), torch.ones(4, 5, 3), engine="compiled")
        os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@can_trace_in_a_fork
def test_a_process_forked_while_a_thread_compiles_can_compile() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _FORKED_IN_A_COMPILATION],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "0\n", ran.stderr


def test_no_thread_stays_that_has_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    # it would have used OpenMP, and the threads of that would then wait for each other the slow way
    seen: list[threading.Thread] = []
    make = compiled._try

    def noted(*args: Any) -> Any:
        seen.append(threading.current_thread())
        return make(*args)

    monkeypatch.setattr(compiled, "_try", noted)
    recurra.scan(GRU(3, 5), torch.ones(4, 5, 3), engine="compiled")
    assert len(seen) == 1
    assert seen[0] is not threading.current_thread()
    assert not seen[0].is_alive()


class _Outer(GRU):
    """A step that runs a scan of its own over the numbers of an input."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.inner = RNN(1, input_size)

    def step(self, x: Tensor, state: Any) -> Any:
        _, last = recurra.scan(self.inner, x.t()[:, :, None])
        return super().step(last.h, state)


class _Impatient:
    """A lock that is not waited for."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __enter__(self) -> None:
        assert self.lock.acquire(timeout=1), "a compilation waits for itself"

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def test_a_step_may_run_a_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_compiling", _Impatient())
    assert_engines_agree(_Outer(3, 5).double(), [4, 2])


_FROM_A_THREAD = """
import threading, torch, recurra
def work(size):
    y, _ = recurra.scan(recurra.GRU(3, size), torch.ones(4, 5, 3), engine="compiled")
    assert y.shape == (4, 5, size)
for size in (4, 5):  # the first to trace is gone when the second does
    one = threading.Thread(target=work, args=(size,))
    one.start()
    one.join()
work(6)
print("done")
"""


def test_threads_that_come_and_go_may_be_the_first_to_compile() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FROM_A_THREAD],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-3000:]


def test_the_first_call_may_be_under_hooks_on_saved_tensors() -> None:
    cell = RNN(3, 5).double()
    x = torch.randn(4, 2, 3).double()
    kept: list[Tensor] = []

    def pack(tensor: Tensor) -> int:
        kept.append(tensor.clone())
        return len(kept) - 1

    with torch.autograd.graph.saved_tensors_hooks(pack, kept.__getitem__):
        got = _gradients(cell, x, "compiled")
    assert kept
    for one, other in zip(got, _gradients(cell, x, "reference"), strict=True):
        assert_close(one, other)


def test_the_first_call_may_be_in_inference_mode() -> None:
    cell = RNN(3, 6).double()
    with torch.inference_mode():
        recurra.scan(cell, torch.randn(4, 2, 3).double(), engine="compiled")
    assert_engines_agree(cell, [4, 2])


def test_a_cell_may_be_made_in_inference_mode() -> None:
    with torch.inference_mode():
        cell, x = GRU(3, 6).double(), torch.randn(4, 2, 3).double()
        assert_close(recurra.scan(cell, x, engine="compiled")[0], recurra.scan(cell, x, engine="reference")[0])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="files of a process are listed under Linux only")
def test_many_compilations_leave_no_code_and_no_open_file_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_kernel, "_recent", deque[Any](maxlen=4))
    gc.collect()
    before, files = len(loop_kernel._codes), len(os.listdir("/proc/self/fd"))
    for size in range(20, 32):
        cell = RNN(2, size)
        recurra.scan(cell, torch.randn(2, 2, 2), engine="compiled")[0].sum().backward()
    del cell
    gc.collect()
    assert len(loop_kernel._codes) <= before + 4
    assert len(os.listdir("/proc/self/fd")) <= files + 2


_TWO = """
import sys, torch, torch.distributed as dist
import recurra
rank, meeting = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://" + meeting, rank=rank, world_size=2)
torch.manual_seed(0)
whole = recurra.Recurrent(recurra.GRU(3, 5), engine="compiled").double()
x = torch.randn(6, 4, 3).double()
whole(x)[0].square().mean().backward()
want = [p.grad.clone() for p in whole.parameters()]
whole.zero_grad()
both = torch.nn.parallel.DistributedDataParallel(whole)
both(x[:, 2 * rank : 2 * rank + 2])[0].square().mean().backward()
for parameter, gradient in zip(whole.parameters(), want):
    torch.testing.assert_close(parameter.grad, gradient)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_share_the_gradients_of_a_compiled_cell(tmp_path: Path) -> None:
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else dict(os.environ)
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", _TWO, str(rank), str(tmp_path / "meeting")],
            env=environment,
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for rank in ranks:
        _, said = rank.communicate(timeout=240)
        assert rank.returncode == 0, said[-3000:]


_ON_TWO_THREADS = """
import torch, recurra
from recurra.engine.cpu import team

torch.set_num_threads(2)
cell, x = recurra.GRU(8, 64), torch.randn(20, 6, 8)
with torch.no_grad():
    got, _ = recurra.scan(cell, x, engine="compiled")
    want, _ = recurra.scan(cell, x, engine="reference")
print(team.num_threads(), float((got - want).abs().max()) < 1e-5)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it asks for GNU's OpenMP")
@pytest.mark.parametrize("setting", ["OMP_THREAD_LIMIT=1", "OMP_DYNAMIC=true"])
def test_no_more_threads_are_counted_on_than_openmp_gives(setting: str) -> None:
    name, _, value = setting.partition("=")
    environment = {**os.environ, name: value}
    done = subprocess.run(
        [sys.executable, "-c", _ON_TWO_THREADS], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout.split() == ["1", "True"], done.stderr


@pytest.mark.parametrize("build", ["", "torch.version.cuda, threading.Thread.start = '13.0', refused"])
def test_a_thread_that_outlives_the_main_one_may_compile(build: str) -> None:
    program = f"""
import threading, torch, recurra

def refused(thread):
    raise RuntimeError("can't create new thread at interpreter shutdown")  # as Python 3.12 says

def scan():
    threading.main_thread().join()
    {build}
    torch.set_num_threads(1)
    print(list(recurra.scan(recurra.GRU(2, 3), torch.randn(4, 1, 2), engine="compiled")[0].shape))

threading.Thread(target=scan).start()
"""
    # -O: what stands in an assertion is not called
    done = subprocess.run([sys.executable, "-O", "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[4, 1, 3]\n", "")
