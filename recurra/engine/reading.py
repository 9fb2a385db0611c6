"""What a step may read of its cell, as a key: while it stays equal, what was compiled for the cell holds.

An engine asks at every call. The key is made in one walk over the modules; whether all that was seen on the walk still
stands there is sooner found out, as that takes no walk.
"""

from __future__ import annotations

import dataclasses
import operator
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, NoneType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from recurra.engine.made_weights import made_weights
from recurra.engine.memory import has_memory

__all__ = ["Look", "Reading", "hooks_of", "hooks_on_all", "plain_attributes", "read", "tensor_at", "what_changed"]

_TORCHS_OWN = {*nn.Module().__dict__, "_arguments", "_identity"} - {"training"}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_MOST = 256  # notes
_PLAIN = frozenset((int, bool, str, type(None)))
_FIXED = _PLAIN | {float, complex, bytes, FunctionType, BuiltinFunctionType, type}  # no value of these kinds changes

_GLOBAL_HOOKS = tuple(getattr(torch.nn.modules.module, f"_global{name}") for name in _HOOKS)  # torch changes them

_hooks = operator.itemgetter(*_HOOKS)
_held = operator.itemgetter("_parameters", "_buffers", "_modules")


@dataclass(frozen=True)
class Reading:
    """A look at a cell.

    Attributes:
        key: attributes of the modules, names, types, shapes and devices of their tensors, whether they have memory, and
            torch's default type, which a step may make constants of; hashable.
        parameters, buffers: by name, as `named_parameters` and `named_buffers` give them.
        look: what is kept of it.
    """

    key: tuple[Any, ...]
    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]
    look: Look

    def tensor(self, module: nn.Module, name: str) -> Tensor:
        """The tensor with that name; of a parametrized weight, its value."""
        found = self.parameters.get(name)
        if found is None:
            found = self.buffers.get(name)
        return tensor_at(module, name) if found is None else found


def read(module: nn.Module) -> Reading:
    """Look at a module and all its parts; where another look is sure to see the same, what was seen is the answer."""
    identity = vars(module).get("_identity")  # cells have one
    look: Look | None = identity and identity.look
    tensors = None if look is None else look.tensors(module)
    if look is not None and tensors is not None:
        return look.reading(tensors)
    walk = _Walk()
    walk.over(module, "")
    look = Look(tuple(walk.key), walk.parts if walk.is_plain else None, walk.names, walk.tensors)
    if identity is not None:
        identity.look = look
    return look.reading(walk.tensors)


class _Part(NamedTuple):
    """A module as it was found on a walk.

    Attributes:
        parent: of the module that it is a part of, the number on the walk.
        name: there; "" of the whole.
        kind: its class.
        size: entries of its dictionary.
        get, values: of that, those that never change by themselves.
        changeable: names of others, and what `_frozen` makes of them.
        held: names of its parameters, buffers and parts.
        others: names of parts that are none, or were met before: then with their number.
    """

    parent: int
    name: str
    kind: type
    size: int
    get: Callable[[Any], Any]
    values: tuple[Any, ...]
    changeable: list[tuple[str, Any]]
    held: tuple[tuple[str, ...], ...]
    others: list[tuple[str, int | None]]


class Look:
    """What is kept of a look at a module: no tensor, as these may be others the next time, if only they are alike.

    Args:
        key: see `Reading`.
        parts: the modules, in the order of the walk; None where nothing but another walk tells whether all is the same.
        names: of all tensors, in this order, and whether each is a buffer; "" where there is none or it was met before.
        tensors: the same, None where there is none.

    Attributes:
        notes: what an engine knows of the module, to look up at the next call.
        places: of the tensors, by name, among all.
    """

    def __init__(
        self,
        key: tuple[Any, ...],
        parts: list[_Part] | None,
        names: list[tuple[str, bool]],
        tensors: list[Tensor | None],
    ) -> None:
        self.key, self._parts, self._names = key, parts, names
        self.notes: OrderedDict[Any, Any] = OrderedDict()
        self.places = {name: place for place, (name, _) in enumerate(names) if name}
        self._buffers = [place for place, (name, is_buffer) in enumerate(names) if name and is_buffer]
        self._alike = [] if parts is None else _alike(tensors)
        self._default = key[0]

    @property
    def is_kept(self) -> bool:
        """Whether anybody will look notes up."""
        return self._parts is not None

    def note(self, key: Any, value: Any) -> None:
        """Add to what is known; of very much, what came first is forgotten."""
        if len(self.notes) >= _MOST:
            self.notes.popitem(last=False)  # one step, as others may add to it at the same time
        self.notes.pop(key, None)
        self.notes[key] = value

    def reading(self, tensors: list[Tensor | None]) -> Reading:
        """What a walk finds, from what `tensors` gives."""
        found: tuple[dict[str, Any], dict[str, Any]] = {}, {}
        for (name, is_buffer), tensor in zip(self._names, tensors, strict=True):
            if name:
                found[is_buffer][name] = tensor
        return Reading(self.key, *found, self)

    def tensors(self, module: nn.Module) -> list[Any] | None:
        """All tensors of the module, or None if another walk might give another key."""
        if self._parts is None or torch.get_default_dtype() is not self._default:
            return None
        try:
            found = self._found(module)
            if found is None or _alike(found) != self._alike:
                return None
        except (KeyError, RuntimeError):  # something is gone, or a tensor has no strides
            return None
        return None if self._buffers and any(found[place].requires_grad for place in self._buffers) else found

    def _found(self, module: nn.Module) -> list[Any] | None:
        parts: list[Any] = []  # with what holds their own parts
        found: list[Any] = []
        met: list[tuple[Any, int | None]] = []  # parts that stand in two places, or in none
        for parent, name, kind, size, get, values, changeable, held, others in self._parts or ():
            part = parts[parent][1][name] if name else module
            if type(part) is not kind:
                return None
            now = part.__dict__
            if len(now) != size or not all(map(operator.is_, get(now), values)) or (name and any(_hooks(now))):
                return None
            if changeable and any(_frozen(now[attribute]) != frozen for attribute, frozen in changeable):
                return None
            parameters, buffers, modules = _held(now)
            if (tuple(parameters), tuple(buffers), tuple(modules)) != held:
                return None
            parts.append((part, modules))
            met += [(modules[other], place) for other, place in others]
            found += parameters.values()
            found += buffers.values()
        is_same = all(part is (None if place is None else parts[place][0]) for part, place in met)
        return found if is_same else None


def _alike(tensors: Sequence[Tensor | None]) -> list[Any]:
    """Which of the tensors are one and the same, and of each what its key says and how it stands in memory."""
    firsts: dict[int, int] = {}
    found: list[Any] = []
    for place, tensor in enumerate(tensors):
        found.append(firsts.setdefault(id(tensor), place))
        if tensor is None:
            found.append(None)
        else:
            found += has_memory(tensor), tensor.shape, tensor.stride(), tensor.dtype, tensor.device
    return found


class _Walk:
    """A look at modules, one after the other.

    Attributes:
        key: see `Reading`.
        parts, names, tensors: see `Look`.
        is_plain: whether a `Look` can tell that all is the same.
    """

    def __init__(self) -> None:
        self.key: list[Any] = [torch.get_default_dtype()]
        self.parts: list[_Part] = []
        self.names: list[tuple[str, bool]] = []
        self.tensors: list[Tensor | None] = []
        self.is_plain = True
        self._numbers: dict[int, int] = {}
        self._met: dict[int, int] = {}

    def over(self, module: nn.Module, prefix: str, parent: int = 0, name: str = "") -> None:
        """Look at a module and its parts, whose names begin with `prefix`."""
        number = self._numbers[id(module)] = len(self._numbers)
        key, contents = self.key, module.__dict__
        key += prefix, type(module)
        made = made_weights(module)
        if made or (prefix and any(_hooks(contents))):  # of the cell itself no others are called: `step` is
            key.append(_frozen(hooks_of(module)))
            self.is_plain = False
        fixed, changeable = [], []
        for attribute, value in contents.items():
            if attribute in _TORCHS_OWN or attribute in made:  # which is a new tensor each time
                continue
            kind = type(value)  # 1 and True are equal
            frozen = value if kind in _PLAIN else _frozen(value)
            key += attribute, kind, frozen
            if _is_fixed(value):
                fixed.append(attribute)
            else:
                changeable.append((attribute, frozen))
        parameters, buffers, modules = held = _held(contents)
        self._over_tensors(parameters, prefix, is_buffer=False)
        self._over_tensors(buffers, prefix, is_buffer=True)
        self.is_plain = self.is_plain and all(isinstance(each, dict) for each in held)  # a scripted module has others
        others: list[tuple[str, int | None]] = []
        if self.is_plain:
            get = operator.itemgetter("training", "training", *fixed)  # of one name it would give no tuple
            names = tuple(parameters), tuple(buffers), tuple(modules)
            values = get(contents)
            self.parts.append(_Part(parent, name, type(module), len(contents), get, values, changeable, names, others))
        for part_name, part in modules.items():
            if part is None or id(part) in self._numbers:
                others.append((part_name, None if part is None else self._numbers[id(part)]))
                key += others[-1]
            else:
                self.over(part, f"{prefix}{part_name}.", number, part_name)

    def _over_tensors(self, tensors: Any, prefix: str, *, is_buffer: bool) -> None:
        for name, tensor in tensors.items():
            first = None if tensor is None else self._met.setdefault(id(tensor), len(self.tensors))
            is_new = first == len(self.tensors)
            self.tensors.append(tensor)
            self.names.append((prefix + name if is_new else "", is_buffer))
            self.key += prefix + name, first
            if is_new:
                shape = None if is_lazy(tensor) else tensor.shape
                self.key += shape, tensor.dtype, tensor.device, has_memory(tensor)
                is_odd = not has_memory(tensor) or shape is None or (is_buffer and tensor.requires_grad)
                self.is_plain = self.is_plain and not is_odd


def _is_fixed(value: Any) -> bool:
    kind = type(value)
    return kind in _FIXED or (kind is tuple and all(type(each) in _FIXED for each in value))


def what_changed(before: Sequence[Any], after: Sequence[Any]) -> str:
    """The first attribute that has another value in one key of a module than in another; "" where it is none."""
    path = ""
    for at, (old, new) in enumerate(zip(before, after, strict=False)):
        if isinstance(new, type) and issubclass(new, nn.Module):  # its place stands before it
            path = after[at - 1]
        if old != new:  # a value stands behind its name and its class
            return f"{path}{after[at - 2]}" if isinstance(after[at - 1], type) else ""
    return ""


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
    return [hook for hooks in _hooks(vars(module)) for hook in hooks.values()]


def hooks_on_all() -> bool:
    """Whether something is called before or after every module, forward or back."""
    return any(_GLOBAL_HOOKS)


def _frozen(value: Any) -> Any:
    if isinstance(value, (int, float, complex, str, bytes, NoneType)):
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
