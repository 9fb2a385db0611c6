"""Code for other processors: what this machine can run is run, the rest is at least compiled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from llvmlite import binding as llvm

import recurra
from recurra.cells import GRU, LSTM
from recurra.engine.cpu import loop_kernel
from recurra.engine.cpu.emit import emit
from recurra.engine.cpu.jit import assembly, compile_text
from recurra.engine.cpu.target import Target, host
from recurra.engine.cpu.writer import Writer
from recurra.engine.lower import lower
from recurra.engine.schedule import schedule
from recurra.engine.simplify import simplify
from recurra.engine.split import split
from recurra.engine.trace import trace
from tests.engine.engines import assert_engines_agree

NEEDS = {2: ("sse4.2",), 3: ("avx2", "fma"), 4: ("avx512f", "avx512dq", "avx512vl", "avx512bw")}


def require(names: Sequence[str]) -> None:
    features = llvm.get_host_cpu_features()
    missing = [name for name in names if not features.get(name)]
    if missing:
        pytest.skip(f"this processor lacks {', '.join(missing)}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("level", NEEDS)
def test_every_level_of_x86_computes_the_same(level: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    require(NEEDS[level])
    monkeypatch.setattr(loop_kernel, "host", lambda: Target.x86_64(level, host().triple))
    for cell in (LSTM(5, 19, layer_norm=True), GRU(17, 33)):
        assert_engines_agree(cell.to(dtype), [5, 0, 3, 9, 1])


def kernel_source(cell: Any, target: Target, *, bf16: bool = False) -> str:
    traced = trace(cell, torch.float32)
    simplify(traced.graph)
    program = lower(split(traced).reverse)
    return emit(schedule(program), target, bits=32, reverse=True, name="reverse", bf16=bf16)


def test_pairs_of_bfloat16_are_one_instruction() -> None:
    target = Target(host().triple, "sapphirerapids", "-prefer-256-bit", 64, 32, bf16=True)
    if not target.triple.startswith("x86_64"):
        pytest.skip("not this processor's kind of code")
    assert "vdpbf16ps" in assembly(kernel_source(GRU(17, 33), target, bf16=True), target)


def test_arm_gets_an_object_file() -> None:
    target = Target.aarch64()
    text = kernel_source(LSTM(5, 19, layer_norm=True), target)
    try:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        machine = llvm.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu, features=target.features, opt=3
        )
    except (RuntimeError, AttributeError) as error:
        pytest.skip(f"this LLVM has no AArch64: {error}")
    module = llvm.parse_assembly(text)
    module.verify()
    assembly = machine.emit_assembly(module)
    assert "fmla" in assembly
    assert machine.emit_object(module)[:4] == b"\x7fELF"


@pytest.mark.parametrize("largest", [1, 3, 8])
def test_any_number_of_rows_is_cut_into_few_tiles_of_like_sizes(largest: int) -> None:
    writer = Writer(host(), 32, "pieces")
    table, _ = writer.function.args
    stop, sizes = writer.read_word(table, 0), writer.pointer(writer.read_word(table, 1))
    writer.in_pieces(stop, largest, lambda size, at: writer.b.store(writer.word(size), writer.at(sizes, at, 8)))
    writer.b.ret_void()
    code = compile_text(writer.text(), "pieces", host())
    for count in range(30):
        found = np.zeros(count + 1, np.int64)
        code.run(np.array([count, found.ctypes.data]).ctypes.data, 0)
        expected = [len(part) for part in np.array_split(range(count), max(1, -(-count // largest))) if len(part)]
        starts = np.flatnonzero(found)
        assert found[starts].tolist() == expected
        assert starts.tolist() == [sum(expected[:number]) for number in range(len(expected))]


@pytest.mark.parametrize("level", NEEDS)
def test_a_register_tile_fits_the_registers(level: int) -> None:
    target = Target.x86_64(level)
    for columns in range(1, 20):
        rows, vectors = target.tile(columns)
        assert rows >= 1
        assert rows * vectors + vectors + 1 <= target.registers


def test_the_host_is_a_target_with_whole_vectors() -> None:
    assert host().lanes(4) * 4 == host().vector_bytes
    assert recurra.scan(GRU(2, 3), torch.zeros(1, 1, 2), engine="compiled")[0].shape == (1, 1, 3)
