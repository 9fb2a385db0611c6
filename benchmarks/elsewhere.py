"""Peers in processes of their own: the thread pools of two frameworks in one process slow each other down.

A peer's process makes its runs, and times them when it is asked to; between two questions it sleeps.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.peers import PEERS, Run, make_case

__all__ = ["Elsewhere", "timer"]


def timer(call: Callable[[], Any]) -> Callable[[int], float]:
    """Seconds that so many calls take together."""

    def seconds(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            call()
        return time.perf_counter() - start

    return seconds


class Elsewhere:
    """One peer in its own process."""

    def __init__(self, peer: str, threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would take half of torch's threads along
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, peer, threads), daemon=True)
        self._process.start()

    def prepare(self, cell: str, shape: tuple[int, int, int, int]) -> list[str]:
        """Make the run of a case; what it can do, of `forward` and `train`."""
        abilities: list[str] = self._ask("prepare", cell, shape)
        return abilities

    def outputs(self) -> np.ndarray:
        """What it computes for the case."""
        found: np.ndarray = self._ask("outputs")
        return found

    def timer(self, what: str) -> Callable[[int], float]:
        """As `timer`, of `forward` or `train`."""
        return lambda count: float(self._ask("time", what, count))

    def close(self) -> None:
        """End the process."""
        self._here.close()
        self._process.join(5)

    def _ask(self, *question: Any) -> Any:
        self._here.send(question)
        answer = self._here.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(pipe: Any, peer: str, threads: int) -> None:
    torch.set_num_threads(threads)
    run: Run | None = None
    timers: dict[str, Callable[[int], float]] = {}
    while True:
        try:
            verb, *rest = pipe.recv()
        except EOFError:
            return
        try:
            if verb == "prepare":
                run = PEERS[peer][0](make_case(rest[0], *rest[1]))
                calls = {} if run is None else {"forward": run.forward, "train": run.train}
                timers = {name: timer(call) for name, call in calls.items() if call is not None}
                pipe.send(list(timers))
            elif verb == "outputs":
                assert run is not None
                pipe.send(run.outputs())
            else:
                pipe.send(timers[rest[0]](rest[1]))
        except Exception as error:  # whatever a peer raises is told where it was asked
            pipe.send(RuntimeError(f"{peer}: {error}"))
