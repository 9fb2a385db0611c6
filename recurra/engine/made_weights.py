"""Weights that hooks of torch make of others: pruned ones, and those of the norms that are no parametrizations.

Such a hook is called before its module runs, and leaves the weight among the attributes. A scan calls the `step` of a
cell and no hook of the cell, so it has to ask for these weights itself.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from recurra.engine.contract import Cell

__all__ = ["is_maker", "made_weights", "make_weights"]


def is_maker(hook: Any) -> bool:
    """Whether a hook is one that makes a weight."""
    return isinstance(hook, BasePruningMethod | SpectralNorm | WeightNorm)


def made_weights(module: nn.Module) -> dict[str, Any]:
    """Names of the weights of a module that are made, and the hook that makes each."""
    hooks: Any = vars(module)["_forward_pre_hooks"].values()
    return {vars(hook).get("_tensor_name") or hook.name: hook for hook in hooks if is_maker(hook)}


def make_weights(cell: nn.Module) -> None:
    """Make the weights of a cell, and of the cells in it, that are made, as torch does where it calls a module."""
    for module in cell.modules():
        if module._forward_pre_hooks and isinstance(module, Cell):
            for hook in made_weights(module).values():
                hook(module, ())
