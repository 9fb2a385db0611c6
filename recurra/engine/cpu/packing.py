"""Weights as products read them: panels of columns, each in one stretch of memory.

A matrix [inner, outer] becomes [outer / panel, inner, panel], the last panel filled up with zeros. Weights are packed
anew at every call, since anybody may have changed them; so this is machine code too.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from recurra.engine.cpu import team
from recurra.engine.cpu.jit import Code, compile_text
from recurra.engine.cpu.target import host

__all__ = ["pack"]

_WORTH_A_THREAD = 1 << 15  # numbers; copying fewer takes less than waking a thread


def pack(
    matrices: Sequence[Tensor], panels: Sequence[tuple[int, int, int]], dtype: torch.dtype, *, bf16: bool = False
) -> list[Tensor]:
    """Matrices of any strides as panels.

    Args:
        matrices: of `inner * outer` numbers each.
        panels: (inner, outer, columns of a panel) of each.
        dtype: float32 or float64, of the result.
        bf16: as bfloat16 instead, [outer / panel, inner / 2, panel, 2]: numbers that follow each other in the inner
            size stand side by side, the last one beside a 0 where their number is odd.
    """
    if bf16:
        return [_pairs(matrix, *sizes) for matrix, sizes in zip(matrices, panels, strict=True)]
    packed, words, numbers = [], [], 0
    sources = [matrix.to(dtype) for matrix in matrices]  # alive until the code has run
    for source, (inner, outer, panel) in zip(sources, panels, strict=True):
        count = -(-outer // panel)
        make = torch.empty if count * panel == outer else torch.zeros
        packed.append(make(count, inner, panel, dtype=dtype))
        words += [source.data_ptr(), packed[-1].data_ptr(), inner, outer, panel, *source.stride()]
        numbers += inner * outer
    if packed:
        threads = team.num_threads() if numbers >= _WORTH_A_THREAD else 1
        table = (ctypes.c_int64 * (2 + len(words)))(threads, len(packed), *words)
        team.run(_code(sources[0].element_size()), ctypes.addressof(table), threads)
    return packed


def _pairs(matrix: Tensor, inner: int, outer: int, panel: int) -> Tensor:
    count = -(-outer // panel)
    padded = functional.pad(matrix.reshape(inner, outer).bfloat16(), (0, count * panel - outer, 0, inner % 2))
    return padded.view(-1, 2, count, panel).permute(2, 0, 3, 1).contiguous()


@functools.cache
def _code(itemsize: int) -> Code:
    team.prepare()
    return compile_text(_IR.replace("NUMBER", {4: "float", 8: "double"}[itemsize]) + team.entry("pack"), "pack", host())


# for each matrix, each panel of this thread: the loop over what is contiguous in the source is the inner one
_IR = """
define void @pack(ptr %table, i64 %thread) {
entry:
  %threads = load i64, ptr %table
  %at_count = getelementptr i64, ptr %table, i64 1
  %count = load i64, ptr %at_count
  br label %matrix
matrix:
  %m = phi i64 [ 0, %entry ], [ %m_next, %matrix_done ]
  %more_matrices = icmp slt i64 %m, %count
  br i1 %more_matrices, label %words, label %end
words:
  %m_words = mul i64 %m, 7
  %base = getelementptr i64, ptr %at_count, i64 %m_words
  %at_source = getelementptr i64, ptr %base, i64 1
  %source = load ptr, ptr %at_source
  %at_goal = getelementptr i64, ptr %base, i64 2
  %goal = load ptr, ptr %at_goal
  %at_inner = getelementptr i64, ptr %base, i64 3
  %inner = load i64, ptr %at_inner
  %at_outer = getelementptr i64, ptr %base, i64 4
  %outer = load i64, ptr %at_outer
  %at_panel = getelementptr i64, ptr %base, i64 5
  %panel = load i64, ptr %at_panel
  %at_row = getelementptr i64, ptr %base, i64 6
  %row = load i64, ptr %at_row
  %at_column = getelementptr i64, ptr %base, i64 7
  %column = load i64, ptr %at_column
  %by_rows = icmp eq i64 %column, 1
  %slow_step = select i1 %by_rows, i64 %row, i64 %column
  %fast_step = select i1 %by_rows, i64 %column, i64 %row
  %slow_goal = select i1 %by_rows, i64 %panel, i64 1
  %fast_goal = select i1 %by_rows, i64 1, i64 %panel
  %panel_size = mul i64 %inner, %panel
  br label %panels
panels:
  %p = phi i64 [ %thread, %words ], [ %p_next, %panel_done ]
  %first = mul i64 %p, %panel
  %left = sub i64 %outer, %first
  %more_panels = icmp sgt i64 %left, 0
  br i1 %more_panels, label %one_panel, label %matrix_done
one_panel:
  %whole = icmp slt i64 %panel, %left
  %width = select i1 %whole, i64 %panel, i64 %left
  %slow = select i1 %by_rows, i64 %inner, i64 %width
  %fast = select i1 %by_rows, i64 %width, i64 %inner
  %skipped = mul i64 %first, %column
  %from = getelementptr NUMBER, ptr %source, i64 %skipped
  %filled = mul i64 %p, %panel_size
  %to = getelementptr NUMBER, ptr %goal, i64 %filled
  br label %slow_loop
slow_loop:
  %s = phi i64 [ 0, %one_panel ], [ %s_next, %slow_done ]
  %more_slow = icmp slt i64 %s, %slow
  br i1 %more_slow, label %line, label %panel_done
line:
  %from_slow = mul i64 %s, %slow_step
  %from_line = getelementptr NUMBER, ptr %from, i64 %from_slow
  %to_slow = mul i64 %s, %slow_goal
  %to_line = getelementptr NUMBER, ptr %to, i64 %to_slow
  br label %fast_loop
fast_loop:
  %f = phi i64 [ 0, %line ], [ %f_next, %copy ]
  %more_fast = icmp slt i64 %f, %fast
  br i1 %more_fast, label %copy, label %slow_done
copy:
  %from_fast = mul i64 %f, %fast_step
  %one = getelementptr NUMBER, ptr %from_line, i64 %from_fast
  %number = load NUMBER, ptr %one
  %to_fast = mul i64 %f, %fast_goal
  %place = getelementptr NUMBER, ptr %to_line, i64 %to_fast
  store NUMBER %number, ptr %place
  %f_next = add i64 %f, 1
  br label %fast_loop
slow_done:
  %s_next = add i64 %s, 1
  br label %slow_loop
panel_done:
  %p_next = add i64 %p, %threads
  br label %panels
matrix_done:
  %m_next = add i64 %m, 1
  br label %matrix
end:
  ret void
}
"""
