"""The gradient of the weight of a convolution, a sum over all images.

    d_w[o, c, tap] = Σ d_y[n, o, place] x[n, c, place + tap]     over images n and places

Images stand in planes with zeros around them, a block of images after each other in the second-level cache, and so do
the gradients of the result, with zeros between two lines. Then both are one long row of numbers for each channel, and
a register tile of vectors, some channels of the result by some taps, is summed up along it. Threads share the tiles,
or the groups, never a sum: results do not depend on how many there are.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from torch import Tensor

from recurra.engine.convolution import Convolution
from recurra.engine.cpu import arena, team
from recurra.engine.cpu.jit import Code, compile_text
from recurra.engine.cpu.planes import copy_lines, even, packed
from recurra.engine.cpu.target import Target, host
from recurra.engine.cpu.writer import I32, Writer

__all__ = ["weight_gradient"]

_BLOCK_BYTES = 3 << 18  # of the planes of a block: three quarters of a common second-level cache
_MOST_IMAGES = 64  # of a block

# words of the table; those of each thread follow: groups, tiles of channels of the result in a group, these channels,
# and tiles of taps
_TABLE = ("images", "x", "d_y", "d_weight", "planes")
_OF_THREAD = ("group", "out", "channel", "tap")
_THREAD = tuple(f"{end}_{each}" for each in _OF_THREAD for end in ("first", "last"))


def weight_gradient(
    x: Tensor,
    d_y: Tensor,
    kernel: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int = 1,
) -> Tensor:
    """The gradient of the weight of a convolution with steps of one place.

    Shapes: x [N, C, *size], d_y [N, O, *out_size] -> [O, C / groups, *kernel].

    Args:
        x: what was convolved, float32 or float64.
        d_y: the gradient of the result.
        kernel: taps along each axis.
        padding: zeros before and behind an image along each axis.
        dilation: places from one tap to the next along each axis.
        groups: into how many parts the channels fall.
    """
    of = Convolution(x.shape[1], d_y.shape[1], tuple(x.shape[2:]), kernel, padding, dilation, groups)
    return gradient(of, x, d_y, host())


def gradient(of: Convolution, x: Tensor, d_y: Tensor, target: Target) -> Tensor:
    """As `weight_gradient`, on a processor that has what the target has."""
    shape = (of.out_channels, of.of_group.channels, *of.kernel)
    if not len(x):
        return x.new_zeros(shape)
    x, d_y, result = x.contiguous(), d_y.contiguous(), arena.empty(shape, x.dtype)
    threads = team.num_threads() if len(x) * of.flops >= team.WORTH_A_THREAD else 1
    parts = _parts(of, *_tiles(of.of_group, target), threads)
    planes = arena.empty((len(parts), _Planes(of, target, x.element_size()).all), x.dtype)
    words: list[int | Tensor] = [len(x), x, d_y, result, planes, *itertools.chain.from_iterable(parts)]
    team.do(team.Job(_code(of, 8 * x.element_size(), target), words, len(parts)))
    return result


def _tiles(of: Convolution, target: Target) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Channels of the result and taps of all channels that are read, in tiles."""
    rows, vectors = target.tile(target.registers)
    return even(of.out_channels, vectors), even(of.channels * of.taps, rows)


def _parts(
    of: Convolution, outs: list[tuple[int, int]], taps: list[tuple[int, int]], threads: int
) -> list[tuple[int, ...]]:
    """The words of each thread: it has some groups, or all taps of some channels, or else some taps of all channels."""
    starts, of_taps = _edges(outs), len(_edges(taps)) - 1
    tiles, channels = len(starts) - 1, of.of_group.out_channels
    if of.groups > 1:
        cuts = team.cut(of.groups, min(threads, of.groups))
        return [(*some, 0, tiles, *(group * channels for group in some), 0, of_taps) for some in cuts]
    along = threads if tiles >= threads else 1
    across = 1 if along > 1 else min(threads, of_taps)
    return [
        (0, 1, first, last, starts[first], starts[last], *some)
        for first, last in team.cut(tiles, along)
        for some in team.cut(of_taps, across)
    ]


def _edges(tiles: list[tuple[int, int]]) -> list[int]:
    """Where each tile begins, and where the last one ends."""
    return list(itertools.accumulate((size for size, many in tiles for _ in range(many)), initial=0))


class _Planes:
    """The planes of a block of images.

    Attributes:
        images: of a block.
        x, d_y: numbers of the planes of one channel.
        all: numbers of all channels.
    """

    def __init__(self, of: Convolution, target: Target, itemsize: int) -> None:
        lanes = target.lanes(itemsize)
        image = (of.channels + of.out_channels) * of.plane * itemsize
        self.images = max(1, min(_MOST_IMAGES, _BLOCK_BYTES // image))
        self.d_y = (-(-self.images * of.plane // lanes) + 1) * lanes
        self.x = self.d_y + -(-of.reach // lanes) * lanes
        self.all = of.channels * self.x + of.out_channels * self.d_y


@functools.lru_cache(maxsize=64)
def _code(of: Convolution, bits: int, target: Target) -> Code:
    team.prepare()
    return compile_text(_Emitter(of, target, bits).emit(), "weight_gradient", target)


class _Emitter(Writer):
    def __init__(self, of: Convolution, target: Target, bits: int) -> None:
        super().__init__(target, bits, "weight_gradient")
        self.of, self.planes = of, _Planes(of, target, self.itemsize)
        self.group = of.of_group
        self.out_tiles, self.tap_tiles = _tiles(self.group, target)

    def emit(self) -> str:
        b, of, planes = self.b, self.of, self.planes
        _, thread = self.function.args
        self.head = self.read_head(_TABLE, _THREAD, ("x", "d_y", "d_weight", "planes"))
        self.x = self.at(self.head["planes"], b.mul(thread, self.word(planes.all)))
        self.d_y = self.at(self.x, self.word(of.channels * planes.x))
        self.clear(self.x, self.word(planes.all))
        self.each(self.word(0), self.head["images"], planes.images, self._block)
        b.ret_void()
        return self.text()

    def _block(self, first: Any) -> None:
        """Add what some images give."""
        b, head, of, planes = self.b, self.head, self.of, self.planes
        count = self.least(b.sub(head["images"], first), self.word(planes.images))
        self.is_first = b.icmp_signed("==", first, self.word(0))
        self.length = b.mul(count, self.word(of.plane))
        self._copy_images(first, count)

        def of_group(group: Any) -> None:
            channel = b.mul(group, self.word(self.group.out_channels))
            self.x_of_group = self.at(self.x, b.mul(group, self.word(self.group.channels * planes.x)))

            def some_channels(outs: int, out: Any) -> None:
                out = b.add(channel, out)
                self._each_tile("tap", self.tap_tiles, lambda taps, tap: self._tile(out, outs, tap, taps))

            self._each_tile("out", self.out_tiles, some_channels)

        self.each(head["first_group"], head["last_group"], 1, of_group)

    def _copy_images(self, first: Any, count: Any) -> None:
        """Copy some images, and their gradients of the thread's channels of the result, to the planes."""
        b, head, of, planes = self.b, self.head, self.of, self.planes
        (image, *lines), (out_image, *out_lines) = packed(of.size), packed(of.out_size)
        start, stop = (b.mul(head[f"{each}_group"], self.word(self.group.channels)) for each in ("first", "last"))
        number = b.add(b.mul(first, self.word(of.channels)), start)
        copy_lines(
            self,
            self.at(head["x"], b.mul(number, self.word(image))),
            self.at(self.x, b.add(b.mul(start, self.word(planes.x)), self.word(of.first))),
            (b.sub(stop, start), count, *of.size),
            (image, of.channels * image, *lines),
            (planes.x, of.plane, *of.steps),
        )
        channel, last = head["first_channel"], head["last_channel"]
        number = b.add(b.mul(first, self.word(of.out_channels)), channel)
        copy_lines(
            self,
            self.at(head["d_y"], b.mul(number, self.word(out_image))),
            self._plane_of(channel),
            (b.sub(last, channel), count, *of.out_size),
            (out_image, of.out_channels * out_image, *out_lines),
            (planes.d_y, of.plane, *of.steps),
        )
        none = self.vectors.const(0.0)

        def end(out: Any) -> None:  # the last vector goes on there, where an image of the block before may stand
            self.write(none, self.at(self._plane_of(out), self.length))

        self.each(channel, last, 1, end)

    def _plane_of(self, out: Any) -> Any:
        """The planes of a channel of the result."""
        return self.at(self.d_y, self.b.mul(out, self.word(self.planes.d_y)))

    def _each_tile(self, which: str, tiles: list[tuple[int, int]], body: Callable[[int, Any], None]) -> None:
        """`body(size, start)` for the tiles of the thread."""
        b, begin, before = self.b, 0, 0
        first, last = self.head[f"first_{which}"], self.head[f"last_{which}"]
        for size, many in tiles:
            low, high = self.most(first, self.word(before)), self.least(last, self.word(before + many))
            start = self.word(begin - before * size)

            def tile(number: Any, *, size: int = size, start: Any = start) -> None:
                body(size, b.add(b.mul(number, self.word(size)), start))

            self.each(low, high, 1, tile)
            begin, before = begin + many * size, before + many

    def _tile(self, out: Any, outs: int, tap: Any, taps: int) -> None:
        """The sums of some channels of the result by some taps of channels that are read."""
        b, lanes, of_d_y = self.b, self.lanes, self.planes.d_y
        d_y = self._plane_of(out)
        places = [self._place_of(b.add(tap, self.word(i))) for i in range(taps)]

        def accumulate(at: Any, sums: list[Any]) -> list[Any]:
            sums = list(sums)
            line = self.at(d_y, at)
            factors = [self.read(self.at(line, self.word(n * of_d_y))) for n in range(outs)]
            for i, place in enumerate(places):
                x = self.read(self.at(place, at))
                for n in range(outs):
                    sums[n * taps + i] = self.vectors.fma(x, factors[n], sums[n * taps + i])
            return sums

        begin = [self.vectors.const(0.0)] * (outs * taps)
        sums = self._added_up(self.loop(self.word(0), self.length, lanes, begin, accumulate))
        for n in range(outs):
            line = b.mul(b.add(out, self.word(n)), self.word(self.group.channels * self.of.taps))
            goal = self.at(self.head["d_weight"], b.add(line, tap))
            for i in range(taps):
                pointer = self.at(goal, self.word(i))
                before = b.select(self.is_first, self.numbers.const(0.0), self.load(pointer, 1, 1))
                self.store(b.fadd(before, sums[n * taps + i]), pointer, 1, 1)

    def _place_of(self, tap: Any) -> Any:
        """Where the numbers begin that a tap of a channel is multiplied with; both are counted as in the weight."""
        b, of = self.b, self.of
        channel, left = b.sdiv(tap, self.word(of.taps)), b.srem(tap, self.word(of.taps))
        at = b.mul(channel, self.word(self.planes.x))
        for taps, step in zip(reversed(of.kernel), reversed(of.tap_steps), strict=True):
            at = b.add(at, b.mul(b.srem(left, self.word(taps)), self.word(step)))
            left = b.sdiv(left, self.word(taps))
        return self.at(self.x_of_group, at)

    def _added_up(self, vectors: list[Any]) -> list[Any]:
        """The sum of the lanes of each, by halves of two vectors at a time."""
        count = len(vectors)
        for _ in range(self.lanes.bit_length() - 1):
            pairs = itertools.zip_longest(vectors[::2], vectors[1::2], fillvalue=vectors[-1])
            vectors = [self.b.fadd(*(self._every_other(*pair, start) for start in range(2))) for pair in pairs]
        lanes = ((vectors[number // self.lanes], number % self.lanes) for number in range(count))
        return [self.b.extract_element(vector, ir.Constant(I32, lane)) for vector, lane in lanes]

    def _every_other(self, one: Any, other: Any, start: int) -> Any:
        pick = ir.Constant(ir.VectorType(I32, self.lanes), [start + 2 * lane for lane in range(self.lanes)])
        return self.b.shuffle_vector(one, other, pick)
