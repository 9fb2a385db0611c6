"""Weight drop: recurrent weights are dropped, once for a whole sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from recurra.cells.wrapper import Wrapper, check_names, name_of, step_reading, unwrap
from recurra.checks import check_known, check_probability
from recurra.engine.contract import Cell, Source, kernel_of
from recurra.engine.kernel import Kernel
from recurra.errors import ConfigError

__all__ = ["WeightDrop"]


class WeightDrop(Wrapper):
    """DropConnect on the recurrent weights of any cell: single weights are 0 with probability p, in training.

        U' = U ⊙ m        m ~ Bernoulli(1 - p) / (1 - p), drawn once a scan, for all steps and all sequences of a batch

    Because the draw is the same at every step, the cell keeps its fast kernel. A step that is called outside `scan`
    draws at every read of the weight, unless it stands under `torch.nn.utils.parametrize.cached()`. The cell inside is
    changed: its weight becomes a parametrization (`torch.nn.utils.parametrize`). Where it is one already, as under
    weight norm, U is what that makes.

    Args:
        cell: any cell.
        p: probability of dropping a weight.
        names: parameters of the cell inside all wrappers that are dropped, e.g. `"weight_hh"` or `"hidden.weight"`.

    Raises:
        ConfigError: p is no probability below 1, no parameter is named or one twice, or one is not there or dropped
            already.

    Source: Merity et al. 2017, arXiv:1708.02182.
    """

    source = Source(
        key="merity2017regularizing",
        authors="Merity, Stephen and Keskar, Nitish Shirish and Socher, Richard",
        title="Regularizing and Optimizing LSTM Language Models",
        year=2017,
        venue="arXiv",
        url="https://arxiv.org/abs/1708.02182",
    )

    def __init__(self, cell: Cell, p: float, names: Sequence[str] = ("weight_hh",)) -> None:
        super().__init__(cell)
        self.p = check_probability("p", p)
        self.names = check_names("names", "parameter", names)
        innermost = unwrap(cell)
        kind = name_of(innermost)
        known = _parameter_names(innermost)
        for name in self.names:
            if _is_dropped(innermost, name):
                raise ConfigError(f"`{name}` of `{kind}` is dropped already: name each parameter in one `WeightDrop`.")
            check_known(name, known, f"`{kind}` has no parameter `{name}`")
        for name in self.names:
            owner, _, leaf = name.rpartition(".")
            # unsafe: no trial run, which would draw random numbers
            parametrize.register_parametrization(
                innermost.get_submodule(owner), leaf, _DropWeights(self.p), unsafe=True
            )

    def step(self, x: Tensor, state: Any, read: Any = None) -> tuple[Tensor, Any]:
        """One step of the cell inside, with some weights 0."""
        return step_reading(self.cell, x, state, read)

    def kernel(self) -> Kernel | None:
        """That of the cell inside, which reads the dropped weights."""
        return kernel_of(self.cell)


def _parameter_names(cell: Cell) -> list[str]:
    """Names of the parameters as a step reads them: of a parametrized one its own, not those of what it is made of."""
    names = []
    for name, _ in cell.named_parameters():
        parts = name.split(".")
        if "parametrizations" in parts:  # torch's word, between the module and the parameter
            place = parts.index("parametrizations")
            parts = [*parts[:place], parts[place + 1]]
        names.append(".".join(parts))
    return list(dict.fromkeys(names))


def _is_dropped(cell: Cell, name: str) -> bool:
    owner, _, leaf = name.rpartition(".")
    modules = dict(cell.named_modules())
    if owner not in modules or not parametrize.is_parametrized(modules[owner], leaf):
        return False
    parametrizations: Any = modules[owner].parametrizations
    return any(isinstance(one, _DropWeights) for one in parametrizations[leaf])


class _DropWeights(nn.Module):
    """The parametrization: dropout of single weights."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, weight: Tensor) -> Tensor:
        return functional.dropout(weight, self.p, self.training)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What a weight that is assigned is stored as: itself."""
        return weight
