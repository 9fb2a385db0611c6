"""Complex numbers as pairs of real ones: the engine computes with reals alone.

At the door of the engine a complex tensor becomes a real one of its two planes. Inside the step it is complex, as the
step was written; of the traced graph this file makes another in which every complex number is two real ones. torch has
differentiated the step by then: that the gradient of a complex number holds those of its parts is its convention, too.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import _disable_current_modes

from recurra.engine.complex_functions import FUNCTIONS, TAKES_REALS

__all__ = ["from_planes", "has_rule", "holds_complex", "in_reals", "is_number", "planes"]

aten = torch.ops.aten

_VIEWS = (aten.view.default, aten._unsafe_view.default)
_LONGEST = 512  # of a Fourier transform, which is a product with a matrix here


def is_number(tensor: Tensor) -> bool:
    """Whether it holds floats or complex numbers: what a loop carries and what has a gradient."""
    return tensor.is_floating_point() or tensor.is_complex()


def planes(tensor: Tensor, axis: int) -> Tensor:
    """The real and the imaginary parts, side by side along a new axis; a real tensor is itself."""
    if not tensor.is_complex():
        return tensor
    return torch.stack([tensor.real, tensor.imag], axis)


def from_planes(tensor: Tensor, axis: int) -> Tensor:
    """The inverse of `planes`, of complex numbers."""
    return torch.complex(*tensor.unbind(axis))


def holds_complex(graph: fx.Graph) -> bool:
    """Whether some value of a graph is complex."""
    return any(isinstance(node.meta.get("val"), Tensor) and node.meta["val"].is_complex() for node in graph.nodes)


def has_rule(name: str) -> bool:
    """Whether this file knows what an ATen call is of complex numbers."""
    return any(name in known for known in (_SLOTS, _NUMBERS, FUNCTIONS, _RULES))


def in_reals(module: fx.GraphModule) -> Callable[..., list[Tensor]]:
    """The function of a traced graph whose inputs and outputs are real, without a complex number on the way.

    What has no rule here is called with complex numbers, and left to torch where it feeds no state.
    """
    return _InReals(module).run


class _Pair(NamedTuple):
    """A complex tensor; without an imaginary part where it was made of a real one."""

    real: Tensor
    imag: Tensor | None

    @property
    def both(self) -> tuple[Tensor, Tensor]:
        return self.real, torch.zeros_like(self.real) if self.imag is None else self.imag


class _Parts(_Pair):
    """What `view_as_real` gives, [..., 2]: most readers want one of both."""


def _literal_of(value: Any) -> _Pair:
    """A tensor that is written out in the step, which is known when it is traced."""
    with _disable_current_modes():  # those in which it is traced would make symbols of the parts
        return _taken_apart(getattr(value, "constant", value))


def _taken_apart(tensor: Tensor) -> _Pair:
    return _Pair(tensor.real, tensor.imag)


class _InReals(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        for node in module.graph.nodes:
            if node.target in _VIEWS:  # parts may lie in another order in memory
                node.target = aten.reshape.default
        super().__init__(module)
        self._literals = {
            node.target: _literal_of(value)
            for node in module.graph.nodes
            if node.op == "get_attr" and (value := getattr(module, str(node.target))).is_complex()
        }

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "get_attr" and n.target in self._literals:
            return self._literals[n.target]
        if n.op != "call_function":
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        known = [*args, *kwargs.values()]
        value = n.meta.get("val")
        reads_or_gives = _gives_complex(value) or any(map(_is_complex, known))
        if not reads_or_gives and n.target is not aten.select_backward.default:
            return super().run_node(n)
        target: Any = n.target
        name = getattr(target, "overloadpacket", target).__name__
        made = _made(name, target, value, args, kwargs)
        return _whole_call(target, args, kwargs) if made is NotImplemented else made

    def output(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _each(args[0], _no_parts)


def _is_complex(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_is_complex, value))
    return isinstance(value, _Pair | complex)


def _gives_complex(value: Any) -> bool:
    values = value if isinstance(value, tuple | list) else [value]
    return any(isinstance(each, Tensor) and each.is_complex() for each in values)


def _whole_call(target: Any, args: Any, kwargs: Any) -> Any:
    """A call with complex tensors, its results taken apart."""
    result = target(*_each(args, _whole), **{name: _each(value, _whole) for name, value in kwargs.items()})
    return _each(result, lambda part: _taken_apart(part) if isinstance(part, Tensor) and part.is_complex() else part)


def _whole(value: Any) -> Any:
    value = _no_parts(value)
    return torch.complex(*value.both) if isinstance(value, _Pair) else value


def _each(value: Any, function: Callable[[Any], Any]) -> Any:
    if isinstance(value, tuple | list) and not isinstance(value, _Pair):
        return type(value)(_each(item, function) for item in value)
    return function(value)


def _made(name: str, target: Any, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a call, complex numbers in pairs; `NotImplemented` where there is no rule."""
    made = _of_parts(name, args, value)
    if made is not NotImplemented:
        return made
    args, kwargs = _each(args, _no_parts), {key: _no_parts(item) for key, item in kwargs.items()}
    if not _gives_complex(value) and not any(map(_is_complex, (*args, *kwargs.values()))):
        return target(*args, **kwargs)
    if name in _SLOTS:
        return _part_by_part(name, target, args, kwargs)
    if name in _NUMBERS:
        number = complex(_NUMBERS[name](*args))
        kind = {"dtype": value.dtype.to_real(), "device": value.device}
        return _Pair(*(torch.full(value.shape, part, **kind) for part in (number.real, number.imag)))
    if name in FUNCTIONS:
        operands = [_pair(arg) if name in TAKES_REALS else _filled(arg) for arg in args]
        made = NotImplemented if kwargs else FUNCTIONS[name](*operands)
        return _Pair(*made) if isinstance(made, tuple) else made
    rule = _RULES.get(name)
    return NotImplemented if rule is None else rule(*args, **kwargs)


def _of_parts(name: str, args: tuple[Any, ...], value: Any) -> Any:
    """What is read of parts, or made of one of them, where they need not stand side by side."""
    if name == "select_backward":
        gradient, sizes, dim, index = args
        if _is_complex(gradient) or dim not in (-1, len(sizes) - 1) or sizes[-1] != 2:
            return NotImplemented
        return _Parts(torch.zeros_like(gradient), gradient) if index else _Parts(gradient, None)
    if not isinstance(args[0], _Parts):
        return NotImplemented
    if name == "select" and args[1] in (-1, value.dim()):
        return args[0].both[args[2]]
    if name == "view_as_complex":
        return _Pair(*args[0])
    if name == "add" and isinstance(args[1], _Parts):
        return _Parts(*map(torch.add, args[0].both, args[1].both))
    return NotImplemented


def _no_parts(value: Any) -> Any:
    return torch.stack(value.both, -1) if isinstance(value, _Parts) else value


def _filled(value: Any) -> tuple[Any, Any]:
    if isinstance(value, _Pair):
        return value.both
    return (value, torch.zeros_like(value)) if isinstance(value, Tensor) else (value.real, value.imag)


def _pair(value: Any) -> tuple[Any, Any]:
    """The parts of a number or a tensor; the imaginary part of a real one is None, and no work."""
    if isinstance(value, _Pair):
        return value.real, value.imag
    return (value.real, value.imag) if isinstance(value, complex) else (value, None)


# --- what happens to both parts alike ---------------------------------------------------------------------------------

_FIRST = (0,)
# which arguments are numbers that may be complex
_SLOTS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "expand", "permute", "transpose", "t", "unsqueeze"), _FIRST),
    **dict.fromkeys(("squeeze", "slice", "select", "clone", "alias", "detach", "flip", "roll", "repeat"), _FIRST),
    **dict.fromkeys(("index", "gather", "index_select", "split", "split_with_sizes", "unbind", "unfold"), _FIRST),
    **dict.fromkeys(("constant_pad_nd", "sum", "mean", "neg", "diagonal", "cumsum", "tril", "triu", "cat"), _FIRST),
    **dict.fromkeys(("slice_backward", "select_backward", "diagonal_backward", "lift_fresh_copy", "stack"), _FIRST),
    **dict.fromkeys(("as_strided", "embedding", "movedim", "contiguous"), _FIRST),
    **dict.fromkeys(("add", "sub", "copy", "slice_scatter", "select_scatter", "diagonal_scatter"), (0, 1)),
    **dict.fromkeys(("where",), (1, 2)),
    **dict.fromkeys(("index_put", "masked_fill"), (0, 2)),
    **dict.fromkeys(("scatter", "scatter_add", "index_add"), (0, 3)),
}


def _part_by_part(name: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if name == "constant_pad_nd" and len(args) > 2 and args[2] != 0:
        return NotImplemented
    slots = _SLOTS[name]
    others = [arg for at, arg in enumerate(args) if at not in slots]
    if any(map(_is_complex, (*others, *kwargs.values()))):
        return NotImplemented
    real, imag = (
        target(*(_each(arg, take) if at in slots else arg for at, arg in enumerate(args)), **kwargs)
        for take in (_real, _imag)
    )
    return [*map(_Pair, real, imag)] if isinstance(real, tuple | list) else _Pair(real, imag)


def _real(value: Any) -> Any:
    return value.real if isinstance(value, _Pair | complex) else value


def _imag(value: Any) -> Any:
    if isinstance(value, _Pair):
        return value.both[1]
    return torch.zeros_like(value) if isinstance(value, Tensor) else complex(value).imag


# --- constants --------------------------------------------------------------------------------------------------------

_NUMBERS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("zeros", "zeros_like", "empty", "empty_like", "new_zeros", "new_empty"), lambda *_: 0),
    **dict.fromkeys(("new_empty_strided", "empty_strided"), lambda *_: 0),
    **dict.fromkeys(("ones", "ones_like", "new_ones"), lambda *_: 1),
    **dict.fromkeys(("full", "full_like"), lambda _, number: number),
    "new_full": lambda _, sizes, number: number,
    "scalar_tensor": lambda number: number,
}


# --- from reals to complex numbers and back ---------------------------------------------------------------------------


def _cast(x: Any, *, dtype: torch.dtype | None = None, **_: Any) -> Any:
    if dtype is None:
        return x
    real, imag = _pair(x)
    real = real.to(dtype.to_real())
    if not dtype.is_complex:
        return real
    return _Pair(real, None if imag is None else imag.to(dtype.to_real()))


def _product(times: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., _Pair]:
    """The product of two matrices, from those of their parts."""

    def product(left: Any, right: Any) -> _Pair:
        (a, b), (c, d) = _pair(left), _pair(right)
        real, imag = times(a, c), None
        if b is not None and d is not None:
            real = real - times(b, d)
            imag = times(a, d) + times(b, c)
        elif b is not None:
            imag = times(b, c)
        elif d is not None:
            imag = times(a, d)
        return _Pair(real, imag)

    return product


def _added(product: Callable[..., _Pair]) -> Callable[..., Any]:
    """A product and a sum, as `addmm` is."""

    def added(bias: Any, left: Any, right: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
        if (beta, alpha) != (1, 1):
            return NotImplemented
        made, (real, imag) = product(left, right), _filled(bias)
        return _Pair(made.real + real, made.both[1] + imag)

    return added


# --- Fourier transforms -----------------------------------------------------------------------------------------------


def _transform(x: Any, size: int, *, forward: bool, normalization: int, ends: int | None = None) -> Any:
    """A discrete Fourier transform along the last axis: its result, or the first ones."""
    real, imag = _pair(x)
    count = real.shape[-1] if ends is None else ends
    kind = {"dtype": real.dtype, "device": real.device}
    steps = torch.arange(real.shape[-1], device=real.device)[:, None] * torch.arange(count, device=real.device)
    angle = (steps % size).to(real.dtype) * (2 * math.pi / size)
    scale = torch.full((), {0: 1.0, 1: size**-0.5, 2: 1.0 / size}[normalization], **kind)
    cos, sin = angle.cos() * scale, angle.sin() * (-scale if forward else scale)
    if imag is None:
        return _Pair(real @ cos, real @ sin)
    return _Pair(real @ cos - imag @ sin, real @ sin + imag @ cos)


def _along(x: Any, dim: int, function: Callable[[Any], Any]) -> Any:
    """A function of the last axis, along another one."""
    made = function(_moved(x, dim, -1))
    return _moved(made, -1, dim)


def _moved(x: Any, start: int, end: int) -> Any:
    if isinstance(x, _Pair):
        return _Pair(*(part.movedim(start, end) for part in x.both))
    return x.movedim(start, end)


def _fft_c2c(x: Any, dims: list[int], normalization: int, forward: bool) -> Any:
    if any(x.real.shape[dim] > _LONGEST for dim in dims):
        return NotImplemented
    for dim in dims:
        how: dict[str, Any] = {"size": x.real.shape[dim], "forward": forward, "normalization": normalization}
        x = _along(x, dim, functools.partial(_transform, **how))
    return x


def _fft_r2c(x: Any, dims: list[int], normalization: int, onesided: bool) -> Any:
    *others, last = dims
    size = x.real.shape[last]
    if any(x.real.shape[dim] > _LONGEST for dim in dims):
        return NotImplemented
    ends = size // 2 + 1 if onesided else size
    found = _along(x, last, lambda x: _transform(x, size, forward=True, normalization=normalization, ends=ends))
    return _fft_c2c(found, others, normalization, True)


def _fft_c2r(x: Any, dims: list[int], normalization: int, size: int) -> Any:
    *others, last = dims
    if size > _LONGEST:
        return NotImplemented
    x = _fft_c2c(x, others, normalization, False)
    if x is NotImplemented:
        return NotImplemented

    def back(half: Any) -> Tensor:
        # the other half is that of the conjugates: all but the first, and the middle one, count twice
        count = half.real.shape[-1]
        places = torch.arange(count, device=half.real.device)
        twice = torch.where((places == 0) | (2 * places == size), 1.0, 2.0).to(half.real.dtype)
        real, imag = half.both
        weighed = _Pair(real * twice, imag * twice)
        made: Tensor = _transform(weighed, size, forward=False, normalization=normalization, ends=size).real
        return made

    return _along(x, last, back)


_RULES: dict[str, Callable[..., Any]] = {
    "view_as_real": lambda z: _Parts(*z),
    "view_as_complex": lambda x: _Pair(x.select(-1, 0), x.select(-1, 1)),
    "complex": lambda real, imag: _Pair(*torch.broadcast_tensors(real, imag)),
    "_to_copy": _cast,
    "getitem": lambda items, index: items[index],
    "var": lambda z, *args, **how: sum(torch.ops.aten.var.correction(part, *args, **how) for part in z.both),
    "linalg_vector_norm": lambda z, *args, **_: torch.linalg.vector_norm(torch.hypot(*z.both), *args),
    "mm": _product(torch.mm),
    "bmm": _product(torch.bmm),
    "mv": _product(torch.mv),
    "addmm": _added(_product(torch.mm)),
    "baddbmm": _added(_product(torch.bmm)),
    "_fft_c2c": _fft_c2c,
    "_fft_r2c": _fft_r2c,
    "_fft_c2r": _fft_c2r,
}
