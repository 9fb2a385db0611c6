"""Memory of large tensors is used again, and given back where nobody asks for it."""

from __future__ import annotations

import gc

import pytest
import torch

from recurra.engine.cpu import arena


def test_memory_comes_back_when_nobody_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "LIMIT", 1 << 28)
    rows = 11 << 10  # a size that no other test leaves behind
    first = arena.empty((rows, 32), torch.float32)
    address, part = first.data_ptr(), first[5:]
    del first
    assert arena.empty((rows, 32), torch.float32).data_ptr() != address  # a part of it is still held
    gc.collect()
    waiting = arena.held()
    del part
    gc.collect()
    assert arena.held() == waiting + rows * 32 * 4
    again = [arena.empty((rows, 32), torch.float32) for _ in range(2)]
    assert address in {tensor.data_ptr() for tensor in again}


def test_memory_is_found_by_who_asks_for_a_little_less() -> None:
    first = arena.empty((15, 1 << 16), torch.float32)
    address = first.data_ptr()
    del first
    gc.collect()
    other = arena.empty((449, 2111), torch.float32)
    assert other.data_ptr() == address
    assert other.untyped_storage().nbytes() == 449 * 2111 * 4


def test_a_block_begins_with_a_line_of_memory() -> None:
    tensors = [arena.empty((17, (1 << 14) + count), torch.float32) for count in range(4)]
    assert [tensor.data_ptr() % 64 for tensor in tensors] == [0] * 4


def test_no_more_memory_waits_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "LIMIT", 1 << 20)
    for rows in range(4, 12):
        arena.empty((rows << 10, 64), torch.float32)
    gc.collect()
    assert arena.held() <= 1 << 20


def test_what_nobody_asks_for_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "_PATIENCE", 10)
    rows = 13 << 10
    arena.empty((rows, 32), torch.float32)
    gc.collect()
    before = arena.held()
    for _ in range(12):
        arena.empty((rows, 22), torch.float32)  # comes back each time
    assert before >= rows * 32 * 4
    assert rows * 22 * 4 <= arena.held() < rows * 32 * 4
