"""What the machine can do at most: multiply-adds that stay in registers, on a number of threads."""

from __future__ import annotations

import ctypes
import threading
import time

from recurra.engine.cpu.jit import compile_text
from recurra.engine.cpu.target import host

__all__ = ["fma_limit"]

_CHAINS = 16  # independent sums: more than two units of four cycles' latency can hold


def fma_limit(threads: int, *, seconds: float = 0.3) -> float:
    """GFLOPS of float32 multiply-adds; the best of some short runs, since noise only takes away."""
    lanes = host().lanes(4)
    code = compile_text(_ir(lanes), "limit", host())
    room = [(ctypes.c_float * (lanes * _CHAINS))() for _ in range(threads)]
    steps = 200_000

    def run() -> float:
        workers = [
            threading.Thread(target=_call, args=(code.address, ctypes.addressof(numbers), steps)) for numbers in room
        ]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return time.perf_counter() - start

    steps = max(steps, int(steps * 0.03 / min(run() for _ in range(3))))
    end, best = time.perf_counter() + seconds, float("inf")
    while time.perf_counter() < end:
        best = min(best, run())
    return 2 * _CHAINS * lanes * steps * threads / best / 1e9


def _call(address: int, numbers: int, steps: int) -> None:
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address)(numbers, steps)


def _ir(lanes: int) -> str:
    kind = f"<{lanes} x float>"
    chains = range(_CHAINS)
    # each begins with numbers of its own: chains that are alike would be made one
    places = "\n".join(f"  %p{k} = getelementptr {kind}, ptr %to, i64 {k}" for k in chains)
    loads = "\n".join(f"  %x{k} = load {kind}, ptr %p{k}, align 4" for k in chains)
    phis = "\n".join(f"  %s{k} = phi {kind} [ %x{k}, %entry ], [ %n{k}, %loop ]" for k in chains)
    calls = "\n".join(f"  %n{k} = call {kind} @fma({kind} %s{k}, {kind} %x0, {kind} %x0)" for k in chains)
    total = "\n".join(f"  %t{k + 1} = fadd {kind} %t{k}, %n{k}" for k in chains)
    return f"""
declare {kind} @llvm.fma.v{lanes}f32({kind}, {kind}, {kind})
define void @limit(ptr %to, i64 %steps) {{
entry:
{places}
{loads}
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
{phis}
{calls}
  %j = add i64 %i, 1
  %more = icmp slt i64 %j, %steps
  br i1 %more, label %loop, label %end
end:
  %t0 = fadd {kind} %x0, %x0
{total}
  store {kind} %t{_CHAINS}, ptr %to, align 4
  ret void
}}
define void @limit_team(ptr %to) {{ ret void }}
""".replace("@fma(", f"@llvm.fma.v{lanes}f32(")
