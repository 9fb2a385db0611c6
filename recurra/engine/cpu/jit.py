"""LLVM IR to machine code in this process."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

import llvmlite
from llvmlite import binding as llvm

from recurra.engine.cpu import cache
from recurra.engine.cpu.target import Target

__all__ = ["Code", "compile_ir"]

_lock = threading.Lock()  # LLVM's global state is not made for two compilers at once


class Code:
    """Machine code that lives as long as this object."""

    def __init__(self, engine: llvm.ExecutionEngine, name: str, assembly: Callable[[], str]) -> None:
        self._engine = engine
        self.address: int = engine.get_function_address(name)
        self.team: int = engine.get_function_address(f"{name}_team")
        self.run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(self.address)
        self.assembly = assembly


def compile_ir(text: str, name: str, target: Target) -> Code:
    """Verify, optimise and compile a module, or take its machine code from the cache on disk."""
    cached = cache.key(text, target.triple, target.cpu, target.features, llvmlite.__version__)
    with _lock:
        module = llvm.parse_assembly(text)
        module.verify()
        machine = llvm.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu, features=target.features, opt=3
        )
        stored = cache.read(cached)
        if stored is None:
            _optimise(module, machine)
        engine = llvm.create_mcjit_compiler(module, machine)
        engine.set_object_cache(lambda _, code: cache.write(cached, code), lambda _: stored)
        engine.finalize_object()

    def assembly() -> str:
        again = llvm.parse_assembly(text)
        _optimise(again, machine)
        return str(machine.emit_assembly(again))

    return Code(engine, name, assembly)


def _optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    # the vectors are written out already; LLVM's own vectorisers would only take time
    tuning.loop_vectorization = tuning.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
