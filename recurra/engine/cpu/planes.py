"""Images in planes with zeros around them, which convolutions read; `engine.convolution` says where what stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from recurra.engine.cpu.writer import Writer

__all__ = ["copy_lines", "even", "packed"]


def even(count: int, largest: int) -> list[tuple[int, int]]:
    """(size, how many) of as few tiles as there can be: none above the largest size, and their sizes differ by one."""
    tiles = -(-count // largest)
    size, more = divmod(count, tiles)
    return [(size, many) for size, many in ((size + 1, more), (size, tiles - more)) if many]


def packed(size: Sequence[int]) -> tuple[int, ...]:
    """Numbers from one entry to the next of images [channels, *size], along each axis but the last."""
    return tuple(math.prod(size[axis:]) for axis in range(len(size)))


def copy_lines(
    writer: Writer, source: Any, goal: Any, sizes: Sequence[Any], of_source: Sequence[int], of_goal: Sequence[int]
) -> None:
    """Copy an array, line by line.

    Args:
        writer: of the code.
        source, goal: the first number of each.
        sizes: along each axis; the last one, a line, is a number that the code is written for.
        of_source, of_goal: numbers from one entry to the next along each axis but the last.
    """
    b = writer.b
    if len(sizes) == 1:
        writer.copy_numbers(source, goal, sizes[0])
        return

    def entry(index: Any) -> None:
        old, new = (
            writer.at(each, b.mul(index, writer.word(step)))
            for each, step in ((source, of_source[0]), (goal, of_goal[0]))
        )
        copy_lines(writer, old, new, sizes[1:], of_source[1:], of_goal[1:])

    stop = writer.word(sizes[0]) if isinstance(sizes[0], int) else sizes[0]
    writer.each(writer.word(0), stop, 1, entry)
