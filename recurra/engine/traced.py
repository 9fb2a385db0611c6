"""The compiled engine under `torch.compile`: what Dynamo follows, down to one call of an operator.

A cell that is traced here is an attribute of some module that Dynamo inlines, so nothing may be taken for granted of it
that no guard is on: its identity and its plain attributes are read in the traced code, which guards them by value.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.engine.block import Block
from recurra.engine.contract import Cell, kernel_of
from recurra.engine.cpu.tiling import is_batch_first
from recurra.engine.identity import owner_of
from recurra.engine.operators import form_of
from recurra.engine.reading import plain_attributes
from recurra.errors import RecurraError

__all__ = ["Call", "call_of", "eagerly", "run", "run_call"]


class Call(NamedTuple):
    """What the call of a scan needs beside tensors: words and tuples of words alone, which Dynamo takes as they are.

    Attributes:
        why_not: why there is no call, or "".
        operator: which one.
        form: name of the form of the cell.
        constants, attributes: paths of the tensors and of the plain attributes that the form depends on.
        floats: those of the attributes, in order. Dynamo makes a variable of a number that changed once: there is a
            guard on its value only where the traced code compares it.
    """

    why_not: str
    operator: str = ""
    form: str = ""
    constants: tuple[tuple[str, ...], ...] = ()
    attributes: tuple[tuple[str, ...], ...] = ()
    floats: tuple[float, ...] = ()


def run(cell: Cell, x: Block, state: Any) -> tuple[Tensor, Any] | str:
    """As `compiled.run`, as a call of an operator; where the cell or the inputs cannot be run so, a word why."""
    call = call_of(cell._identity.word, x, state)
    if call.why_not:
        return call.why_not
    floats: list[float] = []
    for path in call.attributes:
        _see(_at(cell, path), floats)
    for number, known in zip(floats, call.floats, strict=True):
        if number != known and known == known:  # NaN is not equal to itself
            return "a number of the cell has changed meanwhile"
    constants = [_at(cell, path) for path in call.constants]
    if any(each.is_floating_point() and each.dtype is not x.values.dtype for each in constants):
        return "a weight is made in another type than `x`"
    return run_call(call, constants, x, state)


def call_of(word: str, x: Block, state: Any) -> Call:
    """The call of a scan, without its tensors.

    Args:
        word: who the cell is.
        x, state: as of `run`.
    """
    why = _obstacle(x.values, state)
    if why:
        return Call(why)
    bf16 = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16
    return Call(*_call_of(word, x.values.dtype, bf16))


def run_call(call: Call, constants: list[Tensor], x: Block, state: Any) -> tuple[Tensor, Any]:
    """Outputs and the state after the last steps."""
    tensors = [*constants, x.values, *state]
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    operator = getattr(torch.ops.recurra, call.operator).default
    results = operator(tensors, call.form, is_batch_first(x.values), x.backward, keep)
    return results[0], type(state)(*results[1 : 1 + len(state)])


def _obstacle(values: Tensor, state: Any) -> str:
    if values.device.type != "cpu":
        return f"it runs on the CPU, `x` is on {values.device}"
    if values.dtype is not torch.float32 and values.dtype is not torch.float64:
        return f"it runs in float32 or float64, `x` is {values.dtype}"
    if any(field.dtype is not values.dtype or field.device.type != "cpu" for field in state):
        return "`state` is of another type than `x`"
    return ""


def _at(module: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        module = getattr(module, name)
    return module


def _see(value: Any, floats: list[float]) -> None:
    """Look at a value: what traced code has looked at, it has a guard on; but floats are to be compared, too."""
    if isinstance(value, tuple | list):
        for each in value:
            _see(each, floats)
    elif isinstance(value, dict):
        for each in value.values():
            _see(each, floats)
    elif isinstance(value, float):
        floats.append(value)
    else:
        _ = value is None


@torch.compiler.assume_constant_result
def _call_of(word: str, dtype: torch.dtype, bf16: bool) -> tuple[Any, ...]:
    """The fields of a `Call`, found out while Dynamo traces."""
    cell = owner_of(word)
    if cell is None:
        return ("it is a copy that nobody knows of",)
    if _exports():
        return ("what torch.export writes must run elsewhere",)
    if torch._C._are_functorch_transforms_active():
        return ("torch.func transforms the call",)
    try:
        form = form_of(cell, dtype, bf16=bf16)
    except RecurraError as error:
        if kernel_of(cell) is None:
            warnings.warn(f"{error} `torch.compile` unrolls it over time.", stacklevel=2)
        return (str(error),)
    if form.code.complexes.any:
        return ("its numbers are complex",)
    operator = "scan_drawing" if form.code.draws else "scan"
    constants = tuple(tuple(name.split(".")) for name in form.code.constants)
    attributes, floats = plain_attributes(cell), list[float]()
    for path in attributes:
        _see(_at(cell, path), floats)
    return "", operator, form.name, constants, attributes, tuple(floats)


def _exports() -> bool:
    # before torch 2.7, tracing sets the other flag for torch.export alone
    asked: Callable[[], bool] = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
    return asked()


@torch.compiler.disable
def eagerly(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a function in eager mode, between two graphs."""
    return function(*args, **options)
