"""What a step may read of its cell, as a key: two cells with equal keys share what was compiled for one of them.

A key is made at every call of an engine, so it is made in one walk over the modules and holds no tensor.
"""

from __future__ import annotations

import dataclasses
import weakref
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, NoneType
from typing import Any

from torch import Tensor, nn

__all__ = ["Reading", "hooks_of", "plain_attributes", "read", "tensor_at"]

_TORCHS_OWN = {*nn.Module().__dict__, "_arguments", "_identity"} - {"training"}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_PLAIN = frozenset((int, bool, str, type(None)))


@dataclass(frozen=True)
class Reading:
    """A look at a cell.

    Attributes:
        key: attributes of the modules, and names, types and shapes of their tensors; hashable.
        parameters, buffers: by name, as `named_parameters` and `named_buffers` give them.
    """

    key: tuple[Any, ...]
    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]

    def tensor(self, module: nn.Module, name: str) -> Tensor:
        """The tensor with that name; of a parametrized weight, its value."""
        found = self.parameters.get(name)
        if found is None:
            found = self.buffers.get(name)
        return tensor_at(module, name) if found is None else found


def read(module: nn.Module) -> Reading:
    """Look at a module and all its parts."""
    key: list[Any] = []
    reading = Reading((), {}, {})
    _walk(module, "", key, reading, set())
    return Reading(tuple(key), reading.parameters, reading.buffers)


def _walk(module: nn.Module, prefix: str, key: list[Any], reading: Reading, seen: set[int]) -> None:
    if id(module) in seen:
        return
    seen.add(id(module))
    contents = module.__dict__
    is_hooked = contents["_forward_hooks"] or contents["_forward_pre_hooks"] or contents["_backward_hooks"]
    if prefix and (is_hooked or contents["_backward_pre_hooks"]):  # of the cell itself none is called: `step` is
        key += prefix, _frozen(hooks_of(module))
    for name, value in contents.items():
        if name not in _TORCHS_OWN:
            kind = type(value)  # 1 and True are equal
            key += name, kind, value if kind in _PLAIN else _frozen(value)
    for tensors, found in ((contents["_parameters"], reading.parameters), (contents["_buffers"], reading.buffers)):
        for name, tensor in tensors.items():
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                found[prefix + name] = tensor
                key += prefix + name, tensor.shape, tensor.dtype
    for name, part in contents["_modules"].items():
        if type(part) is nn.Identity:  # in place of a norm that was not asked for, say
            key.append(name)
        elif part is not None:
            _walk(part, f"{prefix}{name}.", key, reading, seen)


def plain_attributes(module: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Where the attributes in a module's key stand that say all by their value: the names that lead to each."""
    return tuple(
        (*(path.split(".") if path else ()), name)
        for path, part in module.named_modules()
        for name, value in vars(part).items()
        if name not in _TORCHS_OWN and _is_plain(value)
    )


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return type(value) in (tuple, list) and all(map(_is_plain, value))
    if isinstance(value, dict):
        return type(value) is dict and all(type(key) is str and _is_plain(item) for key, item in value.items())
    return type(value) in _PLAIN or isinstance(value, float | FunctionType | BuiltinFunctionType)


def hooks_of(module: nn.Module) -> list[Any]:
    """What is called before or after a module, forward or back."""
    return [hook for kind in _HOOKS for hook in vars(module)[kind].values()]


def _frozen(value: Any) -> Any:
    if isinstance(value, (int, float, str, NoneType)):
        return repr(value)  # 1, 1.0 and True are equal, and so are 0.0 and -0.0: their words are not
    if isinstance(value, dict):
        return tuple((key, _frozen(item)) for key, item in value.items())
    if isinstance(value, tuple | list | set):
        return tuple(_frozen(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value), *(_frozen(getattr(value, field.name)) for field in dataclasses.fields(value))
    return _Same(value)


class _Same:
    """Equal to itself alone, and to nothing once the object is gone: its address may be another object's by then."""

    def __init__(self, value: Any) -> None:
        self.address = id(value)
        try:
            self.alive: Any = weakref.ref(value)
        except TypeError:  # no weak references to this type: keep it, so that its address stays its own
            self.alive = lambda: value

    def __hash__(self) -> int:
        return self.address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.alive() is not None and self.alive() is other.alive()


def tensor_at(module: nn.Module, name: str) -> Tensor:
    """The tensor with that name; of a parametrized weight, its value."""
    path, _, leaf = name.rpartition(".")
    tensor: Tensor = getattr(module.get_submodule(path), leaf)
    return tensor
