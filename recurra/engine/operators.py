"""Scans of compiled cells as operators of torch: one call in a graph forward, and one in the graph back.

    recurra::scan(tensors, form, batch_first, backward, keep) -> outputs, state after the last steps, what is kept
    recurra::scan_backward(tensors, kept, gradients, form, batch_first, backward) -> gradients of the tensors

What a graph may hold are tensors, numbers and words, so a cell goes by the name of a form of it. What the backward pass
reads is handed out by the forward one, as a graph has no other place for it.
"""

from __future__ import annotations

import contextlib
import uuid
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.engine.autograd import Part
from recurra.engine.by_reference import by_reference
from recurra.engine.cell_code import Compiled
from recurra.engine.compiled import compiled, obstacle_of_cell
from recurra.engine.contract import Cell
from recurra.engine.cpu.tiling import Layout
from recurra.engine.products import has_bf16
from recurra.engine.reading import read
from recurra.errors import CompileError

__all__ = ["Form", "form_of"]


class Form:
    """A cell as it was when a graph was made of it.

    Args:
        cell: the cell, which this does not keep alive.
        code: what was compiled for it.
        key: of all that the code depends on.

    Attributes:
        name: what graphs call it.
    """

    def __init__(self, cell: Cell, code: Compiled, key: Any) -> None:
        self.name = uuid.uuid4().hex  # new in every process: torch keeps graphs on disk
        self.cell, self.code, self._key = weakref.ref(cell), code, key
        _forms[self.name] = self

    @property
    def takes(self) -> int:
        """How many tensors a scan takes: constants, x, and the fields of the state."""
        return self.code.takes

    def part(self, layout: Layout) -> Part:
        """One scan; its cell, which is asked for gradients of gradients alone, may be gone."""
        return Part(self.cell(), self.code, layout)  # type: ignore[arg-type]

    def expect_the_same(self) -> None:
        """Check that the cell is still as it was.

        Raises:
            CompileError: it is not, in something that torch.compile has no guard on.
        """
        cell = self.cell()
        if cell is not None and read(cell).key != self._key:
            raise CompileError(
                f"`{type(cell).__name__}` has changed in a way that `torch.compile` does not see: call "
                "`torch.compiler.reset()` after such a change."
            )


_forms: weakref.WeakValueDictionary[str, Form] = weakref.WeakValueDictionary()
_of_cells: weakref.WeakKeyDictionary[Cell, dict[Any, Form]] = weakref.WeakKeyDictionary()
_of_the_gone: deque[Form] = deque(maxlen=32)  # a backward pass may come when its cell is gone


def form_of(cell: Cell, dtype: torch.dtype, *, bf16: bool = False) -> Form:
    """The form of a cell as it is now.

    Args:
        cell: the cell.
        dtype: of the inputs.
        bf16: round the factors of products, where the processor has products of bfloat16.

    Raises:
        CompileError, TraceError: it has no compiled form, or none for this type.
    """
    reading = read(cell)
    why = obstacle_of_cell(reading, dtype)
    if why:
        raise CompileError(f"The compiled engine cannot run `{type(cell).__name__}` here: {why}.")
    bf16 = bf16 and dtype is torch.float32 and has_bf16()
    code = compiled(cell, dtype, reading)
    code = code.in_bf16 if bf16 else code
    code.left(1)  # what it is made of is compiled now: later, torch asks among its fake tensors
    known, key = _of_cells.setdefault(cell, {}), (dtype, reading.key, bf16)
    form = known.get(key)
    # equal calls may be made one; where they draw random numbers each has a name of its own
    if form is None or code.draws:
        form = known[key] = Form(cell, code, reading.key)
        weakref.finalize(cell, _of_the_gone.append, form).atexit = False
    return form


def _form(name: str) -> Form:
    form = _forms.get(name)
    if form is None:
        raise CompileError("This graph was made in another process or long ago: its cell is not known here.")
    return form


# --- forward ---------------------------------------------------------------------------------------------------------


def _scan(tensors: list[Tensor], form: str, batch_first: bool, backward: bool, keep: bool) -> list[Tensor]:
    found = _form(form)
    found.expect_the_same()
    code, layout = found.code, _layout(found, tensors, batch_first, backward)
    with _without_autocast():
        given = code.given(layout, tensors)
        part = found.part(layout)
        output, after, kept = part.results(given, code.forward(layout, given, keep=keep))
    made = given[code.takes :] if keep else ()
    left = [*made, *(each for node, each in zip(code.keeps, kept, strict=False) if node is not code.output)]
    output, *others = _apart([output, *left, *after], tensors)
    return [output, *others[len(left) :], *others[: len(left)]]


def _scan_fake(tensors: list[Tensor], form: str, batch_first: bool, backward: bool, keep: bool) -> list[Tensor]:
    code = _form(form).code
    x, *state = tensors[len(code.constants) :]
    num_rows = x.shape[0] * x.shape[1]
    output = x.new_empty((*x.shape[:2], *code.output.meta["val"].shape[1:]))
    left = code.left(num_rows) if keep else []
    return [
        output,
        *(field.new_empty(field.shape) for field in state),
        *(x.new_empty(sizes, dtype=dtype) for sizes, dtype in left),
    ]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    tensors, name, batch_first, backward, keep = inputs
    assert keep, "a scan whose backward pass may come keeps what that reads"
    code = _form(name).code
    results = 1 + len(code.fields)
    ctx.how = name, batch_first, backward
    ctx.sizes = output[0].shape
    ctx.set_materialize_grads(False)  # else what is kept would get gradients of zeros
    ctx.mark_non_differentiable(*output[results:])
    kept = output[results:] if code.output not in code.keeps else [output[0], *output[results:]]
    ctx.save_for_backward(*tensors, *kept)


# --- backward --------------------------------------------------------------------------------------------------------


def _backward(ctx: Any, d_results: list[Tensor | None]) -> tuple[Any, ...]:
    form = _form(ctx.how[0])
    saved = ctx.saved_tensors  # once: checkpoints hand them out no second time
    tensors, kept = saved[: form.takes], saved[form.takes :]
    x, *state = tensors[len(form.code.constants) :]
    d_output, *d_state = d_results[: 1 + len(state)]
    given = [x.new_zeros(ctx.sizes) if d_output is None else d_output]
    given += [torch.zeros_like(old) if d_new is None else d_new for old, d_new in zip(state, d_state, strict=True)]
    if torch.is_grad_enabled():  # a gradient of this gradient is wanted: the reference engine has one
        _, batch_first, backward = ctx.how
        part = form.part(_layout(form, tensors, batch_first, backward))
        return by_reference(*part[:3], tensors, tuple(given), ctx.needs_input_grad[0]), None, None, None, None
    found = iter(torch.ops.recurra.scan_backward(list(tensors), list(kept), given, *ctx.how))
    gradients = [next(found) if has_one else None for has_one in form.code.has_gradient]
    return gradients, None, None, None, None


def _scan_backward(
    tensors: list[Tensor], kept: list[Tensor], gradients: list[Tensor], form: str, batch_first: bool, backward: bool
) -> list[Tensor]:
    found = _form(form)
    code, layout = found.code, _layout(found, tensors, batch_first, backward)
    output = [kept[0]] if code.output in code.keeps else []
    left = kept[len(output) :]
    made, others = left[: code.num_made], iter(left[code.num_made :])
    read = [output[0] if node is code.output else next(others) for node in code.keeps]
    part = found.part(layout)
    with _without_autocast():
        given = part.to_backward(tuple(tensors), tuple(made), tuple(read), tuple(gradients))
        results = code.of_all(layout, *code.sorted_out(code.backward(layout, given)))
    return _apart([each for each in results if each is not None], [*tensors, *kept, *gradients])


def _scan_backward_fake(
    tensors: list[Tensor], kept: list[Tensor], gradients: list[Tensor], form: str, batch_first: bool, backward: bool
) -> list[Tensor]:
    code = _form(form).code
    return [each.new_empty(each.shape) for each, has_one in zip(tensors, code.has_gradient, strict=True) if has_one]


# --- both ------------------------------------------------------------------------------------------------------------


def _layout(form: Form, tensors: Sequence[Tensor], batch_first: bool, backward: bool) -> Layout:
    num_steps, batch_size = tensors[len(form.code.constants)].shape[:2]
    return Layout.of_block(num_steps, batch_size, batch_first, backward, apart=True)


def _apart(results: Iterable[Tensor], given: Iterable[Tensor]) -> list[Tensor]:
    """Results that share memory with nothing that was given nor with each other, as torch asks of an operator."""
    taken = {tensor.untyped_storage().data_ptr() for tensor in given}
    apart = []
    for result in results:
        result = result.contiguous()
        if result.untyped_storage().data_ptr() in taken:
            result = result.clone()
        taken.add(result.untyped_storage().data_ptr())
        apart.append(result)
    return apart


def _without_autocast() -> Any:
    """What the engine asks torch for is computed as it says: a form knows whether factors are rounded."""
    is_on = torch.is_autocast_enabled("cpu")
    return torch.autocast("cpu", enabled=False) if is_on else contextlib.nullcontext()


def _register() -> None:
    takes = "Tensor[] tensors, str form, bool batch_first, bool backward, bool keep"
    gives_back = "Tensor[] tensors, Tensor[] kept, Tensor[] gradients, str form, bool batch_first, bool backward"
    tags = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_fixed_stride_order)
    # calls of the second are neither merged nor left out
    for name, more in (("scan", ()), ("scan_drawing", (torch.Tag.nondeterministic_seeded,))):
        torch.library.define(f"recurra::{name}", f"({takes}) -> Tensor[]", tags=(*tags, *more))
        torch.library.impl(f"recurra::{name}", "CPU", _scan)
        torch.library.register_fake(f"recurra::{name}", _scan_fake)
        torch.library.register_autograd(f"recurra::{name}", _backward, setup_context=_setup)
    torch.library.define("recurra::scan_backward", f"({gives_back}) -> Tensor[]", tags=tags)
    torch.library.impl("recurra::scan_backward", "CPU", _scan_backward)
    torch.library.register_fake("recurra::scan_backward", _scan_backward_fake)


_register()
