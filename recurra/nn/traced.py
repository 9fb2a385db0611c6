"""Layers of `torch.nn` under `torch.compile`: each direction of each one call of an operator."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from recurra.engine.block import Block
from recurra.engine.contract import Cell
from recurra.engine.traced import call_of, run_call
from recurra.nn.cells import new_cell, weight_names

__all__ = ["run"]


def run(module: nn.RNNBase, index: int, x: Block, state: Any) -> tuple[Tensor, Any] | None:
    """Outputs and last state of one direction of one layer; None where its inputs cannot be run so."""
    weights = dict(zip(weight_names(module), module.all_weights[index], strict=False))
    sizes = weights["weight_ih"].shape[1], module.hidden_size, module.proj_size
    word = _word(module.mode, *sizes, module.bias, x.values.dtype)
    call = call_of(word, x, state)
    if call.why_not:
        return None
    return run_call(call, [weights[name] for (name,) in call.constants], x, state)


@torch.compiler.assume_constant_result
def _word(mode: str, input_size: int, hidden_size: int, proj_size: int, bias: bool, dtype: torch.dtype) -> str:
    return _model(mode, input_size, hidden_size, proj_size, bias, dtype)._identity.word


@functools.cache
def _model(mode: str, input_size: int, hidden_size: int, proj_size: int, bias: bool, dtype: torch.dtype) -> Cell:
    """A cell like all layers of one kind and size; it lends them its code, and they bring their weights."""
    return new_cell(mode, input_size, hidden_size, proj_size, bias).to(dtype)
