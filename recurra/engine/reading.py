"""What a step may read of its cell, as a key: while it stays equal, what was compiled for the cell holds.

An engine asks at every call. The key is made in one walk over the modules; whether all that was seen on the walk still
stands there is sooner found out, as that takes no walk.
"""

from __future__ import annotations

import dataclasses
import operator
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType, NoneType
from typing import Any

from torch import Tensor, nn

__all__ = ["Reading", "hooks_of", "plain_attributes", "read", "tensor_at"]

_TORCHS_OWN = {*nn.Module().__dict__, "_arguments", "_identity"} - {"training"}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_MOST = 64  # notes
_PLAIN = frozenset((int, bool, str, type(None)))
_HELD = ("_parameters", "_buffers", "_modules")
_FIXED = _PLAIN | {float, complex, bytes, FunctionType, BuiltinFunctionType, type}  # no value of these kinds changes


@dataclass(frozen=True)
class Reading:
    """A look at a cell.

    Attributes:
        key: attributes of the modules, and names, types and shapes of their tensors; hashable.
        parameters, buffers: by name, as `named_parameters` and `named_buffers` give them.
        notes: what an engine knows of the cell as it was seen, to look up at the next call.
    """

    key: tuple[Any, ...]
    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]
    notes: dict[Any, Any] = field(default_factory=dict, compare=False)
    _seen: _Seen | None = field(default=None, compare=False)

    def has(self, name: str) -> bool:
        """Whether a tensor of that name was seen."""
        return name in self.parameters or name in self.buffers

    def note(self, key: Any, value: Any) -> None:
        """Add to what is known; of very much, what came first is forgotten."""
        if len(self.notes) >= _MOST:
            self.notes.pop(next(iter(self.notes)), None)
        self.notes[key] = value

    def holds(self, module: nn.Module) -> bool:
        """Whether another look at the module is sure to see the same, the same tensors included."""
        return self._seen is not None and self._seen.is_there(module)

    def tensor(self, module: nn.Module, name: str) -> Tensor:
        """The tensor with that name; of a parametrized weight, its value."""
        found = self.parameters.get(name)
        if found is None:
            found = self.buffers.get(name)
        return tensor_at(module, name) if found is None else found


def read(module: nn.Module) -> Reading:
    """Look at a module and all its parts; of a cell in which all stands as it did, the last look is the answer."""
    identity = vars(module).get("_identity")  # cells have one
    known: Reading | None = identity and identity.reading
    if known is not None and known.holds(module):
        return known
    walk = _Walk()
    walk.over(module, "")
    reading = Reading(tuple(walk.key), walk.parameters, walk.buffers, _seen=walk.seen)
    if identity is not None:
        identity.reading = reading
    return reading


class _Walk:
    """A look at modules, one after the other."""

    def __init__(self) -> None:
        self.key: list[Any] = []
        self.parameters: dict[str, Tensor] = {}
        self.buffers: dict[str, Tensor] = {}
        self.seen: _Seen | None = _Seen()
        self._met: set[int] = set()

    def over(self, module: nn.Module, prefix: str) -> None:
        """Look at a module and its parts, whose names begin with `prefix`."""
        if id(module) in self._met:
            return
        self._met.add(id(module))
        key, contents = self.key, module.__dict__
        key += prefix, type(module)
        if prefix and any(contents[kind] for kind in _HOOKS):  # of the cell itself none is called: `step` is
            key.append(_frozen(hooks_of(module)))
            self.seen = None
        for name, value in contents.items():
            if name not in _TORCHS_OWN:
                kind = type(value)  # 1 and True are equal
                key += name, kind, value if kind in _PLAIN else _frozen(value)
        for tensors, found in ((contents["_parameters"], self.parameters), (contents["_buffers"], self.buffers)):
            for name, tensor in tensors.items():
                if tensor is not None and id(tensor) not in self._met:
                    self._met.add(id(tensor))
                    found[prefix + name] = tensor
                    key += prefix + name, tensor.shape, tensor.dtype
        if self.seen is not None:
            self.seen.add(contents, is_whole=not prefix)
        for name, part in contents["_modules"].items():
            if part is not None:
                self.over(part, f"{prefix}{name}.")


class _Seen:
    """What stood where on a walk, by its identity.

    The dictionary of the cell itself is not held, as it holds this.
    """

    def __init__(self) -> None:
        self._attributes: list[tuple[dict[str, Any] | None, int, Callable[[Any], Any], tuple[Any, ...]]] = []
        self._held: list[tuple[dict[str, Any], tuple[str, ...], tuple[Any, ...]]] = []
        self._hooks: list[dict[int, Any]] = []
        self._tensors: list[Tensor] = []
        self._kinds: list[Any] = []
        self._changeable: list[tuple[Any, Any]] = []

    def add(self, contents: dict[str, Any], *, is_whole: bool) -> None:
        """Note what stands in the dictionary of a module; of the whole, hooks are not called."""
        own = [name for name in contents if name not in _TORCHS_OWN]
        hooks = () if is_whole else _HOOKS
        get = operator.itemgetter(*_HELD, *hooks, *own)
        self._attributes.append((None if is_whole else contents, len(contents), get, get(contents)))
        self._hooks += (contents[kind] for kind in hooks)
        for value in map(contents.get, own):
            if type(value) not in _FIXED and type(frozen := _frozen(value)) is not _Same:
                self._changeable.append((value, frozen))
        for name in _HELD:
            held = contents[name]
            if held:
                self._held.append((held, tuple(held), tuple(held.values())))
        for tensor in (*contents["_parameters"].values(), *contents["_buffers"].values()):
            if tensor is not None:
                self._tensors.append(tensor)
                self._kinds += _kinds([tensor])

    def is_there(self, module: nn.Module) -> bool:
        """Whether it all still stands there."""
        whole = module.__dict__
        for contents, count, get, values in self._attributes:
            now = whole if contents is None else contents
            try:
                if len(now) != count or not all(map(operator.is_, get(now), values)):
                    return False
            except KeyError:
                return False
        for held, names, values in self._held:
            if tuple(held) != names or not all(map(operator.is_, held.values(), values)):
                return False
        if any(self._hooks) or _kinds(self._tensors) != self._kinds:
            return False
        return not self._changeable or all(_frozen(value) == frozen for value, frozen in self._changeable)


def _kinds(tensors: Sequence[Tensor]) -> list[Any]:
    """What of tensors may change without others taking their places."""
    return [kind for tensor in tensors for kind in (tensor.shape, tensor.stride(), tensor.dtype, tensor.device)]


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
