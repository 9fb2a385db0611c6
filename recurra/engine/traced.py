"""The compiled engine under `torch.compile`: what Dynamo follows, down to one call of an operator.

A cell that is traced here is an attribute of some module that Dynamo inlines, so nothing may be taken for granted of it
that no guard is on: its identity and its plain attributes are read in the traced code, which guards them by value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra.engine.block import Block, is_batch_first
from recurra.engine.complex_numbers import from_planes, planes
from recurra.engine.contract import Cell, kernel_of
from recurra.engine.identity import owner_of
from recurra.engine.operators import form_of
from recurra.engine.reading import plain_attributes
from recurra.errors import RecurraError, warn

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
        fields_are_complex, output_is_complex: of what comes out.
    """

    why_not: str
    operator: str = ""
    form: str = ""
    constants: tuple[tuple[str, ...], ...] = ()
    attributes: tuple[tuple[str, ...], ...] = ()
    floats: tuple[float, ...] = ()
    fields_are_complex: tuple[bool, ...] = ()
    output_is_complex: bool = False


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
    if any(_is_of_other_type(each, x.values) for each in constants):
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
    values = planes(x.values, 2)
    tensors = [*(planes(each, 0) for each in constants), values, *(planes(each, 1) for each in state)]
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    operator = getattr(torch.ops.recurra, call.operator).default
    output, *others = operator(tensors, call.form, is_batch_first(values), x.backward, keep)
    pairs = zip(others, call.fields_are_complex, strict=False)
    fields = [from_planes(field, 1) if is_complex else field for field, is_complex in pairs]
    return from_planes(output, 2) if call.output_is_complex else output, type(state)(*fields)


def _obstacle(values: Tensor, state: Any) -> str:
    if values.device.type != "cpu":
        return f"it runs on the CPU, `x` is on {values.device}"
    if values.dtype not in _PRECISIONS:
        return f"it runs in float32 or float64, `x` is {values.dtype}"
    if any(_is_of_other_type(field, values) or field.device.type != "cpu" for field in state):
        return "`state` is of another type than `x`"
    return ""


# the types of the same precision; torch.compile follows no `dtype.to_real`
_PRECISIONS = {
    kind: kinds for kinds in ((torch.float32, torch.complex64), (torch.float64, torch.complex128)) for kind in kinds
}


def _is_of_other_type(tensor: Tensor, values: Tensor) -> bool:
    is_number = tensor.is_floating_point() or tensor.is_complex()
    return is_number and tensor.dtype not in _PRECISIONS[values.dtype]


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
            warn(f"{error} `torch.compile` unrolls it over time.")
        return (str(error),)
    operator = "scan_drawing" if form.code.draws else "scan"
    constants = tuple(tuple(name.split(".")) for name in form.code.constants)
    attributes, floats = plain_attributes(cell), list[float]()
    for path in attributes:
        _see(_at(cell, path), floats)
    complexes = form.code.complexes
    return "", operator, form.name, constants, attributes, tuple(floats), complexes.fields, complexes.output


def _exports() -> bool:
    # before torch 2.7, tracing sets the other flag for torch.export alone
    asked: Callable[[], bool] = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
    return asked()


@torch.compiler.disable
def eagerly(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a function in eager mode, between two graphs."""
    return function(*args, **options)
