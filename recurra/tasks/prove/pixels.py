"""Images pixel by pixel: a small drawn digit is read row by row, or in an order without sense, and named at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from recurra.ragged import Ragged
from recurra.tasks.prove.problem import CLASSES, Batch, Problem, Published, Settings, pieces

__all__ = ["PermutedPixels", "Pixels", "draw_digits"]

TCN = "Bai et al. 2018, arXiv:1803.01271, table 1 (MNIST, 28 x 28: other images)"

# each digit as a line through points on a sheet, 0 to 1 across, 0 to 1 down
STROKES: tuple[tuple[tuple[float, float], ...], ...] = (
    ((0.5, 0), (0.15, 0.25), (0.15, 0.75), (0.5, 1), (0.85, 0.75), (0.85, 0.25), (0.5, 0)),
    ((0.25, 0.25), (0.55, 0), (0.55, 1)),
    ((0.15, 0.25), (0.5, 0), (0.85, 0.25), (0.15, 1), (0.9, 1)),
    ((0.15, 0.05), (0.8, 0.05), (0.45, 0.42), (0.85, 0.7), (0.5, 1), (0.12, 0.85)),
    ((0.7, 1), (0.7, 0), (0.1, 0.65), (0.95, 0.65)),
    ((0.85, 0), (0.2, 0), (0.2, 0.45), (0.7, 0.42), (0.85, 0.75), (0.5, 1), (0.12, 0.9)),
    ((0.75, 0), (0.25, 0.45), (0.15, 0.8), (0.5, 1), (0.85, 0.75), (0.5, 0.52), (0.2, 0.7)),
    ((0.1, 0), (0.9, 0), (0.4, 1)),
    ((0.5, 0.48), (0.2, 0.22), (0.5, 0), (0.8, 0.22), (0.5, 0.48), (0.12, 0.76), (0.5, 1), (0.88, 0.76), (0.5, 0.48)),
    ((0.8, 0.3), (0.5, 0.48), (0.15, 0.25), (0.5, 0), (0.8, 0.3), (0.7, 1)),
)


@dataclass(frozen=True)
class Pixels(Problem):
    """Digits 0 to 9 as drawn by a pen of varying place, size, slant and width, on a sheet with noise.

    Args:
        size: pixels across and down.
        noise: standard deviation of what is added to each pixel; ink is 1.
        test_size: images of the test.
    """

    name: ClassVar[str] = "pixels"
    summary: ClassVar[str] = "name a digit that is read pixel by pixel, row by row"
    origin: ClassVar[str] = "Le et al. 2015, arXiv:1504.00941, with MNIST"
    answer = CLASSES
    published: ClassVar[tuple[Published, ...]] = (
        Published("TCN", "99.0", TCN),
        Published("lstm", "87.2", TCN),
        Published("gru", "96.2", TCN),
        Published("rnn", "21.5", TCN),
    )
    settings = Settings(hidden_size=64, steps=4000, batch_size=64, learning_rate=2e-3, schedule="cosine", goal=0.01)
    cell_settings: ClassVar = {"lstm": {"options": {"forget_bias": 3.0}}}

    size: int = 14
    noise: float = 0.1
    test_size: int = 2000

    input_size: ClassVar[int] = 1  # one pixel
    output_size: ClassVar[int] = 10  # ten digits

    def draw(self, batch_size: int, random: Generator) -> Batch:
        """Shapes: x.values [B size size, 1], the last step of each sequence counts."""
        digits = torch.randint(10, (batch_size,), generator=random)
        images = draw_digits(digits, self.size, self.noise, random).flatten(1)
        x = Ragged.from_padded(self._arranged(images)[:, :, None], batch_first=True)
        return Batch(x, x.offsets[1:] - 1, digits)

    def tests(self, random: Generator) -> dict[str, list[Batch]]:
        """Fresh images."""
        return {f"{self.size} x {self.size}": [self.draw(size, random) for size in pieces(self.test_size, 250)]}

    def _arranged(self, images: Tensor) -> Tensor:
        """Pixels in the order in which they are read. Shapes: images [B, size size] -> the same."""
        return images


@dataclass(frozen=True)
class PermutedPixels(Pixels):
    """The same in another order of the pixels, always the same one: neighbours are far apart then."""

    name: ClassVar[str] = "permuted-pixels"
    summary: ClassVar[str] = "name a digit whose pixels come in an order without sense"
    published: ClassVar[tuple[Published, ...]] = (
        Published("TCN", "97.2", TCN),
        Published("lstm", "85.7", TCN),
        Published("gru", "87.3", TCN),
        Published("rnn", "25.3", TCN),
    )

    def _arranged(self, images: Tensor) -> Tensor:
        order = torch.randperm(images.shape[1], generator=Generator().manual_seed(0))
        return images[:, order]


def draw_digits(digits: Tensor, size: int, noise: float, random: Generator) -> Tensor:
    """Digits with a pen: ink falls off from 1 on the line to 0 at the width of the pen from it.

    Shapes: digits [B] int64 -> [B, size, size], rows down.
    """
    images = torch.empty(len(digits), size, size)
    place, slant, scale, width = (torch.rand(len(digits), count, generator=random) for count in (2, 1, 2, 1))
    for digit, strokes in enumerate(STROKES):
        rows = (digits == digit).nonzero().flatten()
        points = torch.tensor(strokes).expand(len(rows), -1, -1) - 0.5  # [B, P, 2] around the middle
        across = points[..., :1] + (0.5 * slant[rows, None] - 0.25) * points[..., 1:]
        points = torch.cat([across, points[..., 1:]], -1) * (0.5 + 0.2 * scale[rows, None])
        points = points + 0.5 + 0.12 * place[rows, None] - 0.06
        images[rows] = _ink(points, size, 0.09 + 0.05 * width[rows])
    return images + noise * torch.randn(images.shape, generator=random)


def _ink(points: Tensor, size: int, width: Tensor) -> Tensor:
    """Shapes: points [B, P, 2], width [B, 1] -> [B, size, size]."""
    middle = (torch.arange(size) + 0.5) / size
    pixel = torch.stack([middle.repeat(size), middle.repeat_interleave(size)], -1)[None, None]  # [1, 1, S, 2]
    begin, along = points[:, :-1, None], points.diff(dim=1)[:, :, None]  # [B, P - 1, 1, 2]
    part = ((pixel - begin) * along).sum(-1, keepdim=True) / along.square().sum(-1, keepdim=True)
    distance = (pixel - begin - part.clamp(0, 1) * along).norm(dim=-1).amin(1)  # [B, S]
    return (1 - distance / width).clamp(min=0).unflatten(1, (size, size))
