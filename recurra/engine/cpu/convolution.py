"""A convolution of the image of one row, inside a loop.

Vectors go along the places of the result, and a register tile is some channels of the result by some vectors: each
tap of a channel gives a vector of factors for all these channels, and one number of the weight of each. The weight is
read where torch has it. What stands in the planes between two lines is computed like everything else, and left behind
when the lines go to the result.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from recurra.engine.convolution import Convolution
from recurra.engine.cpu.planes import copy_lines, even, packed
from recurra.engine.loop import Value

if TYPE_CHECKING:
    from recurra.engine.cpu.emit import Emitter

__all__ = ["Convolver"]

_UNROLLED = 8  # taps along the last axis that are written out one after the other
_SUMS = 8  # that are added up at a time: two additions begin in each of the four cycles that one takes


class Convolver:
    """One convolution of a schedule.

    Attributes:
        room: numbers of memory that a thread needs for it.
    """

    def __init__(self, emitter: Emitter, value: Value) -> None:
        self.e, self.value = emitter, value
        self.of: Convolution = value.args[-1]
        lanes = emitter.lanes
        self.vectors = -(-self.of.places // lanes)
        self.group = self.of.of_group
        rows, vectors = emitter.target.tile(self.vectors)
        # a few channels of a group alone are too few sums at a time: additions would wait for each other
        vectors = max(vectors, min(self.vectors, _SUMS // self.group.out_channels))
        self.channel_tiles = even(self.group.out_channels, rows)
        self.vector_tiles = even(self.vectors, vectors)
        # behind the last plane its taps are read, of whole vectors of places
        planes = (self.of.channels - 1) * self.of.plane + self.vectors * lanes + self.of.reach
        self.planes = -(-planes // lanes) * lanes
        self.room = self.planes + self.channel_tiles[0][0] * self.vectors * lanes

    def begin(self, memory: Any) -> None:
        """Take this memory of the thread, and put the zeros there that stay."""
        self.memory = memory
        self.sums = self.e.at(memory, self.e.word(self.planes))
        self.e.clear(memory, self.e.word(self.planes))

    def emit(self, r: Any, row: Any) -> None:
        """Emit the convolution for row `r` of the tile, which is `row` of the arrays."""
        e, of, place = self.e, self.of, self.e.plan.place
        source, self.weights, *bias = (e.address(place[each], r, row) for each in self.value.operands())
        self.biases = bias[0] if bias else None
        self.results = e.address(place[self.value], r, row)
        inside = e.at(self.memory, e.word(of.first))
        copy_lines(e, source, inside, (of.channels, *of.size), packed(of.size), (of.plane, *of.steps))
        e.each(e.word(0), e.word(of.groups), 1, self._group)

    def _group(self, number: Any) -> None:
        """One part of the channels."""
        e, of = self.e, self.group

        def of_group(memory: Any, size: int) -> Any:
            return e.at(memory, e.b.mul(number, e.word(size)))

        self.images = of_group(self.memory, of.channels * of.plane)
        self.weight = of_group(self.weights, of.channels * of.out_channels * of.taps)
        self.bias = None if self.biases is None else of_group(self.biases, of.out_channels)
        self.goal = of_group(self.results, of.out_channels * packed(of.out_size)[0])
        self._each_tile(self.channel_tiles, 1, self._channels)

    def _each_tile(self, tiles: list[tuple[int, int]], unit: int, body: Callable[[int, Any], None]) -> None:
        """`body(size, start)` for each of the tiles, whose sizes are so many units."""
        e, start = self.e, 0
        for size, count in tiles:
            end = start + size * count * unit
            e.each(e.word(start), e.word(end), size * unit, functools.partial(body, size))
            start = end

    def _channels(self, size: int, channel: Any) -> None:
        """So many channels of the result."""
        e, of = self.e, self.group
        self._each_tile(self.vector_tiles, e.lanes, lambda vectors, place: self._tile(channel, size, place, vectors))
        image, *lines = packed(of.out_size)
        goal = e.at(self.goal, e.b.mul(channel, e.word(image)))
        copy_lines(e, self.sums, goal, (size, *of.out_size), (self.vectors * e.lanes, *of.steps), (image, *lines))

    def _tile(self, channel: Any, size: int, place: Any, vectors: int) -> None:
        """The sums of some channels at some vectors of places, which stay in registers."""
        e, of = self.e, self.group
        of_result, of_read = of.of_channels
        axes = [(of.channels, of.plane, of_read), *zip(of.kernel, of.tap_steps, of.of_taps, strict=True)]

        def over(number: int, image: Any, weight: Any, sums: list[Any]) -> list[Any]:
            if number == len(axes):
                return self._multiplied(image, weight, sums, size, vectors)
            count, of_image, of_weight = axes[number]

            def entry(index: Any, sums: list[Any]) -> list[Any]:
                place, tap = (
                    e.at(each, e.b.mul(index, e.word(step))) for each, step in ((image, of_image), (weight, of_weight))
                )
                return over(number + 1, place, tap, sums)

            if count > (_UNROLLED if number == len(axes) - 1 else 1):
                return e.loop(e.word(0), e.word(count), 1, sums, entry)
            for index in range(count):
                sums = entry(e.word(index), sums)
            return sums

        begin = [e.vectors.const(0.0)] * size
        if self.bias is not None:
            numbers = (e.load(e.at(e.at(self.bias, channel), e.word(r)), 1, 1) for r in range(size))
            begin = [e.splat(number, e.vectors) for number in numbers]
        first = e.at(self.weight, e.b.add(e.b.mul(channel, e.word(of_result)), e.word(of.first_tap)))
        sums = over(0, e.at(self.images, place), first, [each for each in begin for _ in range(vectors)])
        for r in range(size):
            line = e.at(e.at(self.sums, place), e.word(r * self.vectors * e.lanes))
            for n in range(vectors):
                e.write(sums[r * vectors + n], e.at(line, e.word(n * e.lanes)))

    def _multiplied(self, image: Any, weight: Any, sums: list[Any], size: int, vectors: int) -> list[Any]:
        e, sums = self.e, list(sums)
        factors = [e.read(e.at(image, e.word(n * e.lanes))) for n in range(vectors)]
        for r in range(size):
            number = e.load(e.at(weight, e.word(r * self.group.of_channels[0])), 1, 1)
            spread = e.splat(number, e.vectors)
            for n in range(vectors):
                sums[r * vectors + n] = e.vectors.fma(spread, factors[n], sums[r * vectors + n])
        return sums
