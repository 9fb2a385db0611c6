"""Layers of `torch.nn` under `torch.compile`: each direction of each one call of an operator."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from recurra.engine.block import Block
from recurra.engine.contract import Cell
from recurra.engine.traced import Call, call_of, run_call
from recurra.nn.cells import new_cell, weight_names

__all__ = ["can_run", "run"]


def can_run(module: nn.RNNBase, x: Block, fields: tuple[Tensor, ...]) -> bool:
    """Whether all layers can be run so, from these fields of the state [L*D, B, H]."""
    kind = x.values.dtype
    if torch.is_autocast_enabled("cpu") or x.max_length < 2:  # torch's own code is right, or all that is needed
        return False
    if any(weight.dtype is not kind or weight.device.type != "cpu" for layer in module.all_weights for weight in layer):
        return False
    return not _call(module, 0, x, fields).why_not


def run(module: nn.RNNBase, index: int, x: Block, state: Any) -> tuple[Tensor, Any]:
    """Outputs and last state of one direction of one layer."""
    call = _call(module, index, x, state)
    weights = dict(zip(weight_names(module), module.all_weights[index], strict=False))
    return run_call(call, [weights[name] for (name,) in call.constants], x, state)


def _call(module: nn.RNNBase, index: int, x: Block, state: Any) -> Call:
    sizes = module.all_weights[index][0].shape[1], module.hidden_size, module.proj_size
    return call_of(_word(module.mode, *sizes, module.bias, x.values.dtype), x, state)


@torch.compiler.assume_constant_result
def _word(mode: str, input_size: int, hidden_size: int, proj_size: int, bias: bool, dtype: torch.dtype) -> str:
    return _model(mode, input_size, hidden_size, proj_size, bias, dtype)._identity.word


@functools.cache
def _model(mode: str, input_size: int, hidden_size: int, proj_size: int, bias: bool, dtype: torch.dtype) -> Cell:
    """A cell like all layers of one kind and size; it lends them its code, and they bring their weights."""
    return new_cell(mode, input_size, hidden_size, proj_size, bias).to(dtype)
