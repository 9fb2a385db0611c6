"""The processor, as far as the back end must know it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from llvmlite import binding as llvm

__all__ = ["Target", "host"]


@dataclass(frozen=True)
class Target:
    """A processor to compile for.

    Attributes:
        triple, cpu, features: as LLVM names them.
        vector_bytes: width of a vector register.
        registers: how many there are.
        fused: whether it multiplies and adds in one instruction; without one, LLVM would call a function for each.
        scales: whether it multiplies by a power of two, given as a number, in one instruction.
        bf16: whether it multiplies pairs of bfloat16 and adds both products to a float32 in one instruction.
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    fused: bool = True
    scales: bool = False
    bf16: bool = False

    @classmethod
    def x86_64(cls, level: int, triple: str = "x86_64-unknown-linux-gnu") -> Target:
        """A microarchitecture level of the x86-64 psABI: 2 (SSE4.2), 3 (AVX2 and FMA) or 4 (AVX-512)."""
        cpu = f"x86-64-v{level}"
        if level == 2:
            return cls(triple, cpu, "", 16, 16, fused=False)
        return cls(triple, cpu, "", 32, 16) if level == 3 else cls(triple, cpu, "-prefer-256-bit", 64, 32, scales=True)

    @classmethod
    def aarch64(cls, triple: str = "aarch64-unknown-linux-gnu") -> Target:
        """64-bit ARM with NEON, which every one has."""
        return cls(triple, "generic", "+neon", 16, 32)

    def lanes(self, itemsize: int) -> int:
        """Numbers of `itemsize` bytes in one vector."""
        return self.vector_bytes // itemsize

    def tile(self, columns: int) -> tuple[int, int]:
        """Rows and vectors of columns of the register tile of a product with that many vectors of columns.

        The accumulators, one vector of weights for each column and one number of the row must fit the registers.
        """
        vectors = min(columns, 4 if self.registers >= 32 else 3)
        for candidate in range(vectors, 0, -1):  # a panel that divides the columns wastes nothing
            if columns % candidate == 0:
                vectors = candidate if candidate > vectors // 2 else vectors
                break
        return self.tile_rows(vectors), vectors

    def tile_rows(self, vectors: int) -> int:
        """Rows of the register tile of a product with a panel of so many vectors."""
        return min((self.registers - vectors - 1) // vectors, 8)


@functools.cache
def host() -> Target:
    """The processor of this machine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    triple, cpu = llvm.get_process_triple(), llvm.get_host_cpu_name()
    text = features.flatten()
    if features.get("avx512f") and features.get("avx512dq") and features.get("avx512vl"):
        bf16 = bool(features.get("avx512bf16"))
        return Target(triple, cpu, text + ",-prefer-256-bit", 64, 32, scales=True, bf16=bf16)
    if features.get("avx2") and features.get("fma"):
        return Target(triple, cpu, text, 32, 16)
    if triple.startswith(("aarch64", "arm64")):
        return Target(triple, cpu, text, 16, 32)
    return Target(triple, cpu, text, 16, 16, fused=bool(features.get("fma")))
