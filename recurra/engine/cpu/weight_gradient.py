"""The gradient of the weight of a convolution, a sum over all images.

    d_w[o, c, tap] = Σ d_y[n, o, place] x[n, c, place + tap]     over images n and places

Images stand in planes with zeros around them, a block of images after each other in the second-level cache, and so do
the gradients of the result, with zeros between two lines. Then both are one long row of numbers for each channel, and
a register tile of vectors, some channels of the result by some taps, is summed up along it. Threads share the channels,
never a sum: results do not depend on how many there are.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

from llvmlite import ir
from torch import Tensor

from recurra.engine.convolution import Convolution
from recurra.engine.cpu import arena, team
from recurra.engine.cpu.jit import Code, compile_text
from recurra.engine.cpu.planes import copy_lines, packed, zeros
from recurra.engine.cpu.target import Target, host
from recurra.engine.cpu.writer import I32, Writer

__all__ = ["weight_gradient"]

_BLOCK_BYTES = 3 << 18  # of the planes of a block: three quarters of a common second-level cache
_MOST_IMAGES = 128  # of a block
_WORTH_A_THREAD = 4_000_000  # flops; fewer take less time than waking a thread

# words of the table; those of each thread follow
_TABLE = ("threads", "images", "x", "d_y", "d_weight", "planes", "planes_of_thread")
_THREAD = ("first_channel", "last_channel", "first_out", "last_out")


def weight_gradient(x: Tensor, d_y: Tensor, kernel: tuple[int, ...], padding: tuple[int, ...]) -> Tensor:
    """The gradient of the weight of a convolution with steps of one place.

    Shapes: x [N, C, *size], d_y [N, O, *out_size] -> [O, C, *kernel].

    Args:
        x: what was convolved, float32 or float64.
        d_y: the gradient of the result.
        kernel: taps along each axis.
        padding: zeros before and behind an image along each axis.
    """
    of = Convolution(x.shape[1], d_y.shape[1], tuple(x.shape[2:]), kernel, padding)
    return run(of, x, d_y, host())


def run(of: Convolution, x: Tensor, d_y: Tensor, target: Target) -> Tensor:
    """As `weight_gradient`, by code for a processor."""
    x, d_y = x.contiguous(), d_y.contiguous()
    result = arena.empty((of.out_channels, of.channels, *of.kernel), x.dtype)
    flops = 2 * result.numel() * len(x) * math.prod(of.out_size)
    parts = _parts(of, team.num_threads() if flops >= _WORTH_A_THREAD else 1)
    sizes = _Sizes(of, target.lanes(x.element_size()), x.element_size())
    room = max((last - first) * sizes.x + (end - begin) * sizes.d_y for first, last, begin, end in parts)
    planes = arena.empty((len(parts), room), x.dtype)
    words = [len(parts), len(x), x, d_y, result, planes, room, *itertools.chain.from_iterable(parts)]
    team.do(team.Job(_code(of, 8 * x.element_size(), target), words, len(parts)))
    return result


def _parts(of: Convolution, threads: int) -> list[tuple[int, int, int, int]]:
    """Channels that are read and channels of the result of each thread: all of the former, where that can be."""
    along = threads if of.out_channels >= of.channels or of.out_channels >= 4 * threads else 1
    across = 1 if along > 1 else min(threads, of.channels)
    return [(*each, *other) for each in _cut(of.channels, across) for other in _cut(of.out_channels, along)]


def _cut(count: int, parts: int) -> list[tuple[int, int]]:
    edges = [count * part // parts for part in range(parts + 1)]
    return [(first, last) for first, last in itertools.pairwise(edges) if first < last]


class _Sizes:
    """Numbers of the planes of one channel and a whole block.

    Attributes:
        images: of a block.
        x, d_y: numbers.
    """

    def __init__(self, of: Convolution, lanes: int, itemsize: int) -> None:
        image = (of.channels + of.out_channels) * of.plane * itemsize
        self.images = max(1, min(_MOST_IMAGES, _BLOCK_BYTES // image))
        self.d_y = (-(-self.images * of.plane // lanes) + 1) * lanes
        self.x = self.d_y + -(-of.reach // lanes) * lanes


@functools.cache
def _code(of: Convolution, bits: int, target: Target) -> Code:
    team.prepare()
    return compile_text(_Emitter(of, target, bits).emit(), "weight_gradient", target)


class _Emitter(Writer):
    def __init__(self, of: Convolution, target: Target, bits: int) -> None:
        super().__init__(target, bits, "weight_gradient")
        self.of, self.sizes = of, _Sizes(of, self.lanes, self.itemsize)

    def emit(self) -> str:
        b, of, sizes = self.b, self.of, self.sizes
        table, thread = self.function.args
        own = self.at(table, b.add(self.word(len(_TABLE)), b.mul(thread, self.word(len(_THREAD)))), 8)
        self.head = {**self.read_words(table, _TABLE), **self.read_words(own, _THREAD)}
        for name in ("x", "d_y", "d_weight", "planes"):
            self.head[name] = self.pointer(self.head[name])
        head = self.head
        channels = b.sub(head["last_channel"], head["first_channel"])
        self.x = self.at(head["planes"], b.mul(thread, head["planes_of_thread"]))
        of_x = b.mul(channels, self.word(sizes.x))
        self.d_y = self.at(self.x, of_x)
        of_d_y = b.mul(b.sub(head["last_out"], head["first_out"]), self.word(sizes.d_y))
        zeros(self, self.x, b.add(of_x, of_d_y))
        self._begin_sums(channels)
        self.each(self.word(0), head["images"], sizes.images, self._block)
        b.ret_void()
        return self.text()

    def _begin_sums(self, channels: Any) -> None:
        head, of = self.head, self.of

        def line(out: Any) -> None:
            first = self._goal(out, self.b.mul(head["first_channel"], self.word(of.taps)))
            self.each(
                self.word(0),
                self.b.mul(channels, self.word(of.taps)),
                1,
                lambda k: self.store(self.numbers.const(0.0), self.at(first, k), 1, 1),
            )

        self.each(head["first_out"], head["last_out"], 1, line)

    def _goal(self, out: Any, k: Any) -> Any:
        line = self.b.mul(out, self.word(self.of.channels * self.of.taps))
        return self.at(self.head["d_weight"], self.b.add(line, k))

    def _block(self, first: Any) -> None:
        """Add what some images give."""
        b, head, of, sizes = self.b, self.head, self.of, self.sizes
        left = b.sub(head["images"], first)
        count = b.select(b.icmp_signed("<", left, self.word(sizes.images)), left, self.word(sizes.images))
        self._copy(head["x"], (of.channels, of.size), "channel", first, count, self.at(self.x, self.word(of.first)))
        self._copy(head["d_y"], (of.out_channels, of.out_size), "out", first, count, self.d_y)
        length = b.mul(count, self.word(of.plane))
        # the last vector may go on behind the last image, where those of another block may stand
        none = self.vectors.const(0.0)
        self.each(
            self.word(0),
            b.sub(head["last_out"], head["first_out"]),
            1,
            lambda out: self.store(none, self.at(self._plane_of(out), length), self.lanes, self.lanes),
        )
        rows, vectors = self.target.tile(self.target.registers)

        def some_channels(outs: int, out: Any) -> None:
            def some_taps(taps: int, k: Any) -> None:
                self._tile(out, outs, k, taps, length)

            edges = (b.mul(head[name], self.word(of.taps)) for name in ("first_channel", "last_channel"))
            self.in_pieces(*edges, rows, 1, some_taps)

        self.in_pieces(head["first_out"], head["last_out"], vectors, 1, some_channels)

    def _plane_of(self, out: Any) -> Any:
        """The plane of a channel of the result, counted within the thread."""
        return self.at(self.d_y, self.b.mul(out, self.word(self.sizes.d_y)))

    def _copy(
        self, source: Any, sizes: tuple[int, tuple[int, ...]], which: str, first: Any, count: Any, goal: Any
    ) -> None:
        """Copy the thread's channels of some images to their planes."""
        b, of = self.b, self.of
        channels, size = sizes
        steps = packed(size)
        own = self.head[f"first_{which}"]
        number = b.add(b.mul(first, self.word(channels)), own)
        begin = self.at(source, b.mul(number, self.word(steps[0])))
        many = b.sub(self.head[f"last_{which}"], own)
        of_goal = self.sizes.x if which == "channel" else self.sizes.d_y
        copy_lines(
            self,
            begin,
            goal,
            (many, count, *size),
            (steps[0], channels * steps[0], *steps[1:]),
            (of_goal, of.plane, *of.steps),
        )

    def _tile(self, out: Any, outs: int, k: Any, taps: int, length: Any) -> None:
        """The sums of some channels of the result by some taps of channels that are read."""
        b, head, lanes = self.b, self.head, self.lanes
        d_y = self._plane_of(b.sub(out, head["first_out"]))
        places = [self._place_of(b.add(k, self.word(i))) for i in range(taps)]

        def accumulate(at: Any, sums: list[Any]) -> list[Any]:
            sums = list(sums)
            line = self.at(d_y, at)
            factors = [self.load(self.at(line, self.word(n * self.sizes.d_y)), lanes, lanes) for n in range(outs)]
            for i, place in enumerate(places):
                x = self.load(self.at(place, at), lanes, lanes)
                for n in range(outs):
                    sums[n * taps + i] = self.vectors.fma(x, factors[n], sums[n * taps + i])
            return sums

        begin = [self.vectors.const(0.0)] * (outs * taps)
        sums = self._added_up(self.loop(self.word(0), length, lanes, begin, accumulate))
        for n in range(outs):
            goal = self._goal(b.add(out, self.word(n)), k)
            for i in range(taps):
                pointer = self.at(goal, self.word(i))
                self.store(b.fadd(self.load(pointer, 1, 1), sums[n * taps + i]), pointer, 1, 1)

    def _place_of(self, k: Any) -> Any:
        """Where the numbers begin that a tap of a channel is multiplied with; both are counted as in the weight."""
        b, of = self.b, self.of
        channel, tap = b.sdiv(k, self.word(of.taps)), b.srem(k, self.word(of.taps))
        at = b.mul(b.sub(channel, self.head["first_channel"]), self.word(self.sizes.x))
        for taps, step in zip(reversed(of.kernel), reversed(of.steps), strict=True):
            at = b.add(at, b.mul(b.srem(tap, self.word(taps)), self.word(step)))
            tap = b.sdiv(tap, self.word(taps))
        return self.at(self.x, at)

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
