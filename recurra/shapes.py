"""Shape checks and masks. Letters, the same in every docstring of this library:

T time steps   B batch        N all steps of all sequences of a batch, one after another
I input size   H hidden size  O output size   G gates   L layers   D directions
V vocabulary   S source length   K attention heads
"""

from __future__ import annotations

from torch import Tensor, arange

from recurra.errors import ShapeError

__all__ = ["describe", "expect_shape", "length_mask", "shape_text", "size_text"]


def describe(value: object) -> str:
    """What came, in words for an error message: a shape for a tensor, a type name for anything else."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return "a nested tensor" if value.is_nested else str(list(value.shape))  # a strided one has no shape


def shape_text(*letters: str, **trailing: tuple[int, ...]) -> str:
    """A shape in words: letters for sizes that may be any, then the sizes of one step, the first of them named.

        shape_text("T", "B", I=(3, 8, 8))       # "[T, B, I=3, 8, 8]"

    Args:
        letters: sizes that may be any.
        trailing: a letter and the sizes of one step.
    """
    sizes = [*letters]
    for letter, shape in trailing.items():
        sizes += [f"{letter}={size}" if axis == 0 else str(size) for axis, size in enumerate(shape)]
    return f"[{', '.join(sizes)}]"


def size_text(shape: tuple[int, ...]) -> str:
    """The numbers of one step in words: `(3, 8, 8)` is "3 x 8 x 8", `(3,)` is "3"."""
    return " x ".join(map(str, shape)) or "1"


def expect_shape(name: str, value: Tensor, **sizes: int | None) -> None:
    """Check the shape of a tensor against named sizes, in order.

        expect_shape("x", x, B=None, I=32)      # any B, exactly 32 columns

    Args:
        name: what the user calls the tensor.
        value: the tensor.
        sizes: letter to size; None accepts any size.

    Raises:
        ShapeError: `value` is no tensor, or has another number of dimensions or another size.
    """
    fits = isinstance(value, Tensor) and value.dim() == len(sizes)
    if fits and all(want is None or got == want for got, want in zip(value.shape, sizes.values(), strict=True)):
        return
    expected = ", ".join(letter if want is None else f"{letter}={want}" for letter, want in sizes.items())
    raise ShapeError(f"`{name}` must have shape [{expected}], got {describe(value)}.")


def length_mask(lengths: Tensor, max_length: int) -> Tensor:
    """True on the steps that exist.

    Shapes: lengths [B] -> mask [B, max_length], bool.
    """
    return arange(max_length, device=lengths.device) < lengths[:, None]
