"""Gates: what the sigmoids, tanhs and softmaxes of a step give, under the names that the step itself gives them.

No cell has to say what its gates are. While a step runs, every call of such a function is caught, and the line of
source that made the call names it: `r = sigmoid(x_r + h_r)` is the gate r; a call inside a longer line goes by its own
text.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from recurra.errors import ConfigError

__all__ = ["GateFinder", "GateReader", "Saturation", "saturation"]

SIGMOIDS = {torch.sigmoid, torch.sigmoid_, Tensor.sigmoid, F.sigmoid, torch.special.expit}
TANHS = {torch.tanh, torch.tanh_, Tensor.tanh, F.tanh}
SOFTMAXES = {torch.softmax, Tensor.softmax, F.softmax}
PRODUCTS = {"mul", "mul_", "__mul__", "__rmul__", "__imul__", "multiply", "lerp", "lerp_", "addcmul", "addcmul_"}


class GateReader(TorchFunctionMode):
    """Inside, what the gates of a cell give is put under their names.

    Args:
        found: by name, the values of each step so far.
    """

    def __init__(self, found: dict[str, list[Tensor]]) -> None:
        super().__init__()
        self.found = found
        self.used: set[str] = set()

    def __enter__(self) -> GateReader:
        self.used = set()
        super().__enter__()
        return self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for kind, functions in (("σ", SIGMOIDS), ("tanh", TANHS), ("softmax", SOFTMAXES)):
            if func in functions:
                self._keep(kind, _call_text(sys._getframe(1)), result)
        return result

    def _keep(self, kind: str, text: str, values: Tensor) -> None:
        name = f"{text} ({kind})"
        number = 2
        while name in self.used:  # the same line again in one step, as in a loop over layers
            name, number = f"{text} {number} ({kind})", number + 1
        self.used.add(name)
        self.found.setdefault(name, []).append(values.detach())


class GateFinder(TorchFunctionMode):
    """Inside, `found` becomes true when a sigmoid of what came in multiplies something: what a gate is.

    A sigmoid that is itself the new state gates nothing, nor does one of a weight alone or one times a number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found = False
        self.open: list[Tensor] = []  # sigmoids, and what was made of each alone, as 1 - z or a part of it

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self.found:
            return result
        given = [one for one in (*args, *(kwargs or {}).values()) if isinstance(one, Tensor)]
        gates = [one for one in given if any(one is gate for gate in self.open)]
        if func in SIGMOIDS:
            made_here = not isinstance(given[0], nn.Parameter)
        else:
            self.found = bool(gates) and len(given) > 1 and getattr(func, "__name__", "") in PRODUCTS
            made_here = len(gates) == len(given) == 1
        if made_here:
            self.open += [one for one in _as_tuple(result) if isinstance(one, Tensor)]
        return result


def _as_tuple(result: Any) -> tuple[Any, ...]:
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def _call_text(frame: FrameType | None) -> str:
    """The name that a call is assigned to, or its own text."""
    while frame is not None and frame.f_code.co_filename.startswith(TORCH):
        frame = frame.f_back
    if frame is None:
        return "?"
    return _text_at(frame.f_code, frame.f_lasti)


TORCH = torch.__path__[0]
_texts: dict[tuple[CodeType, int], str] = {}


def _text_at(code: CodeType, instruction: int) -> str:
    key = (code, instruction)
    if key not in _texts:
        _texts[key] = _read_text(code, instruction)
    return _texts[key]


def _read_text(code: CodeType, instruction: int) -> str:
    first, last, start, end = list(code.co_positions())[instruction // 2]
    if None in (first, last, start, end):
        return f"line {code.co_firstlineno}"
    lines = [linecache.getline(code.co_filename, number) for number in range(first, last + 1)]  # type: ignore[arg-type, operator]
    if not any(lines):
        return f"line {first}"
    encoded = [line.encode() for line in lines]
    encoded[-1] = encoded[-1][:end]
    encoded[0] = encoded[0][start:]
    call = b"".join(encoded).decode()
    return _target(lines[0], call) or " ".join(call.split())


def _target(line: str, call: str) -> str:
    """The one name that a line assigns the whole call to, or ""."""
    try:
        (statement,) = ast.parse(line.strip()).body
    except (SyntaxError, ValueError):
        return ""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return ""
    (target,) = statement.targets
    if not isinstance(target, ast.Name):
        return ""
    value = statement.value
    branches = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
    wanted = ast.unparse(ast.parse(call, mode="eval"))
    return target.id if wanted in map(ast.unparse, branches) else ""


@dataclass(frozen=True)
class Saturation:
    """How much of a gate stands at its ends, where it passes no gradient.

    Attributes:
        gate: its name.
        low: share of its units near the lower end, step by step, [T].
        high: likewise near the upper end, [T].
    """

    gate: str
    low: list[float]
    high: list[float]


def saturation(gates: Mapping[str, Tensor], *, margin: float = 0.1) -> list[Saturation]:
    """The saturation of gates over time.

    Shapes: gates [T, B, ...] by name, NaN where a sequence has ended.

    Args:
        gates: as `record(..., gates=True)` names them; a tanh goes from -1 to 1, all others from 0 to 1.
        margin: near an end is within this part of the whole range.

    Raises:
        ConfigError: there are no names.

    Source: Karpathy et al. 2015, arXiv:1506.02078, section 4.2, whose margin is 0.1.
    """
    if not isinstance(gates, Mapping):
        raise ConfigError(f"`gates` must be gates by name, as of a `Passage`, got a {type(gates).__name__}.")
    found = []
    for name, values in gates.items():
        unit = (values + 1) / 2 if name.endswith("(tanh)") else values
        there = (~unit.isnan()).flatten(1).sum(1).clamp(min=1)
        low = (unit < margin).flatten(1).sum(1) / there
        high = (unit > 1 - margin).flatten(1).sum(1) / there
        found.append(Saturation(name, low.tolist(), high.tolist()))
    return found
