"""LLVM IR to machine code in this process."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import llvmlite
from llvmlite import binding as llvm

from recurra.engine.cpu import cache
from recurra.engine.cpu.target import Target
from recurra.engine.locks import Lock

__all__ = ["Code", "assembly", "compile_ir", "compile_text"]

_lock = Lock()  # LLVM's global state is not made for two compilers at once


class Code:
    """Machine code that lives as long as this object."""

    def __init__(self, engine: llvm.ExecutionEngine, name: str) -> None:
        self._engine = engine
        self.address: int = engine.get_function_address(name)
        self.team: int = engine.get_function_address(f"{name}_team")
        self.run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(self.address)


def compile_text(text: str, name: str, target: Target) -> Code:
    """The machine code of a module; see `compile_ir`."""
    return compile_ir(lambda: text, name, target, text)


def compile_ir(text: Callable[[], str], name: str, target: Target, *parts: str) -> Code:
    """The machine code of a module: from the cache on disk, or else verified, optimised and compiled.

    Args:
        text: writes the module. It is not asked where the code is in the cache: to write takes longer than to load.
        name: of its function.
        target: the processor.
        parts: all that the text depends on, but for the engine's own source.
    """
    cached = cache.key(cache.compiler(), *parts, target.triple, target.cpu, target.features, llvmlite.__version__)
    code = cache.read(cached)
    written = text() if code is None else ""
    with _lock:
        if code is None:
            with _parsed(written) as module:
                module.verify()
                code = _optimised(module, target).emit_object(module)
            cache.write(cached, code)
        # The engine would keep a module as long as its code: a megabyte, where the code has some kilobytes. It takes
        # away the one that it has, in which there is nothing, and then the context must still be there: the garbage
        # collector may take that of a cycle's code first, so that the engine has the one that never goes.
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(target))
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
    return Code(engine, name)


def _parsed(text: str) -> llvm.ModuleRef:
    """In a context of its own, which goes with it: LLVM keeps all numbers and types that a context ever saw."""
    return llvm.parse_assembly(text, llvm.create_context())


def assembly(text: str, target: Target) -> str:
    """A module as the processor's instructions, to read."""
    with _lock, _parsed(text) as module:
        return str(_optimised(module, target).emit_assembly(module))


def _machine(target: Target) -> llvm.TargetMachine:
    kind = llvm.Target.from_triple(target.triple)
    return kind.create_target_machine(cpu=target.cpu, features=target.features, opt=3)


def _optimised(module: llvm.ModuleRef, target: Target) -> llvm.TargetMachine:
    """Share equal addresses, and put the test of a loop at its end; the rest is done by the machine that is returned.

    LLVM's own pipelines make no faster code of what is written with vectors and registers in mind. They take six times
    as long, and leave half a megabyte behind each time.
    """
    machine, builder, passes = _tools(target)
    passes.run(module, builder)
    return machine


@functools.lru_cache(maxsize=8)
def _tools(target: Target) -> tuple[llvm.TargetMachine, Any, Any]:
    """Made once: with each builder and each manager of passes, two kilobytes are gone that nobody gives back."""
    machine = _machine(target)
    passes = llvm.create_new_module_pass_manager()
    passes.add_simplify_cfg_pass()
    passes.add_new_gvn_pass()
    passes.add_loop_rotate_pass()
    return machine, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()), passes
