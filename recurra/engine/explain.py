"""`explain`: every stage of a compiled cell, as text."""

from __future__ import annotations

from itertools import chain

import torch
from torch import fx

from recurra.engine.cell_code import Compiled
from recurra.engine.compiled import compiled
from recurra.engine.contract import Cell, expect_cell
from recurra.engine.cpu.weight_gradient import weight_gradient
from recurra.engine.linearity import recurrence
from recurra.engine.loop import LEAVES, Program
from recurra.engine.lower import lower
from recurra.engine.region import RegionCode
from recurra.engine.rows import row_width
from recurra.engine.trace import copied
from recurra.errors import ConfigError, did_you_mean

__all__ = ["STAGES", "explain"]

STAGES = ("summary", "trace", "split", "loop", "schedule", "llvm", "asm")

aten = torch.ops.aten
_PRODUCTS = (aten.mm.default, aten.bmm.default, aten.convolution.default, weight_gradient)


def explain(cell: Cell, stage: str = "summary", *, dtype: torch.dtype = torch.float32) -> str:
    """What the compiled engine makes of a cell.

        print(recurra.explain(cell))              # its recurrence, what is hoisted and kept, how much work a step is
        print(recurra.explain(cell, "loop"))      # the loop body, forward and reverse

    Args:
        cell: any cell.
        stage: `summary`; `trace`, the step and its backward in core ATen; `split`, what runs before, inside and after
            the loop; `loop`, its vector program; `schedule`, its passes and memory; `llvm` and `asm`.
        dtype: torch.float32 or torch.float64.

    Raises:
        ConfigError: no such stage or type, or `cell` is none.
        CompileError: the cell has no compiled form.
        TraceError: its step branches on the value of a tensor.
    """
    expect_cell("cell", cell)
    if stage not in STAGES:
        raise ConfigError(f"Unknown stage `{stage}`.{did_you_mean(stage, STAGES)} All: {', '.join(STAGES)}.")
    if dtype not in (torch.float32, torch.float64):
        raise ConfigError(f"`dtype` must be torch.float32 or torch.float64, got {dtype!r}.")
    numbers = (tensor for tensor in chain(cell.parameters(), cell.buffers()) if tensor.is_floating_point())
    if any(tensor.dtype != dtype for tensor in numbers):
        cell = copied(cell).to(dtype)
    code = compiled(cell, dtype)
    programs = [lower(code.plan.forward), lower(code.plan.reverse)]
    if stage == "summary":
        return _summary(cell, code, programs)
    if stage == "trace":
        return str(code.plan.trace.graph)
    if stage == "split":
        return _split(code)
    if stage == "loop":
        return "\n\n".join(str(program) for program in programs)
    kernels = (code.training, code.reverse)
    if stage == "schedule":
        return "\n\n".join(str(kernel.plan) for kernel in kernels)
    return "\n\n".join(kernel.ir if stage == "llvm" else kernel.assembly for kernel in kernels)


def _summary(cell: Cell, code: Compiled, programs: list[Program]) -> str:
    plan = code.plan
    itemsize = torch.empty(0, dtype=code.dtype).element_size()
    kept = sum(row_width(node) for node in plan.kept)
    lines = [f"{type(cell).__name__}({cell.extra_repr()}), {str(code.dtype).removeprefix('torch.')}"]
    lines.append(f"  recurrence: {recurrence(programs[0])}")
    for title, region in (
        ("before the loop", plan.before),
        ("after the loop", plan.after),
        ("before the reverse loop", plan.before_reverse),
        ("after the reverse loop", plan.after_reverse),
    ):
        products = sum(node.target in _PRODUCTS for node in region.nodes)
        lines.append(f"  {title}: {_count(len(region.nodes), 'operation')} on all steps at once, products: {products}")
    for program in programs:
        dots = [value for value in program.values if value.op == "dot"]
        convolutions = [value.args[-1] for value in program.values if value.op == "conv"]
        flops = program.flops + _products_of_matrices(program)
        others = sum(value.op not in ("dot", "conv", *LEAVES) for value in program.values)
        shapes = ", ".join(
            [f"{dot.args[0].width} x {dot.width}" for dot in dots] + [f"({each})" for each in convolutions]
        )
        lines.append(
            f"  inside the {program.name} loop: products: {shapes or 'none'}; {_count(others, 'other operation')}; "
            f"{flops:,} flops a step and sequence"
        )
    lines.append(f"  kept for the backward pass: {kept * itemsize:,} bytes a step and sequence")
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _products_of_matrices(program: Program) -> int:
    """Flops of the products of two matrices of the same sequence, which are sums of products of two views."""
    sums = [value.args[0] for value in program.values if value.op == "sum" and len(value.args) > 1]
    return sum(2 * both.width for both in sums if both.op == "mul")


def _split(code: Compiled) -> str:
    plan = code.plan
    lines: list[str] = []

    def part(title: str, nodes: tuple[fx.Node, ...]) -> None:
        lines.append(f"{title}:" if nodes else f"{title}: nothing")
        lines.extend(f"  {node.format_node()}" for node in nodes)

    def region(title: str, name: str) -> None:
        code_of: RegionCode = getattr(code.regions, name)
        part(f"{title} ({len(code_of.parts)} parts)" if code_of.parts else title, getattr(plan, name).nodes)

    region("parameters alone", "prelude")
    region("before the loop", "before")
    part("inside the loop", plan.forward.nodes)
    region("after the loop", "after")
    region("before the reverse loop", "before_reverse")
    part("inside the reverse loop", plan.reverse.nodes)
    region("after the reverse loop", "after_reverse")
    region("gradients alone", "postlude")
    lines.append(f"kept for the backward pass: {', '.join(node.name for node in plan.kept)}")
    return "\n".join(lines)
