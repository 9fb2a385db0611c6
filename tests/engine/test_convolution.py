"""Convolutions in a step: of lines, images and volumes, of the state and of the input, forward and back."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import recurra
from recurra import Ragged
from recurra.cells import ConvGRU, ConvLSTM
from recurra.engine.block import Block
from recurra.engine.compiled import compiled
from recurra.engine.cpu import team
from recurra.engine.cpu.tiling import Layout
from recurra.engine.scan import _say_slow
from recurra.errors import CompileError
from tests.engine.engines import assert_engines_agree
from tests.engine.images import Images
from tests.tolerance import assert_close

SIZES = [(1,), (17,), (3, 5), (7, 1), (17, 3), (5, 7), (1, 1), (3, 1, 5), (2, 7, 3)]
KERNELS = [1, 3, 5, (3, 5)]


@pytest.mark.parametrize(
    ("kernel", "dtype"), [*((each, torch.float64) for each in KERNELS), (3, torch.float32)], ids=str
)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_size_and_kernel(size: tuple[int, ...], kernel: Any, dtype: torch.dtype) -> None:
    if isinstance(kernel, tuple) and len(kernel) != len(size):
        pytest.skip("a kernel of two axes")
    assert_engines_agree(ConvLSTM(3, 2, size=size, kernel_size=kernel).to(dtype), [3, 0, 2])
    assert_engines_agree(ConvGRU(1, 3, size=size, kernel_size=kernel, reset="after").to(dtype), [2, 4])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("channels", [(1, 17), (17, 1), (3, 3), (17, 17)], ids=str)
def test_every_number_of_channels(channels: tuple[int, int], dtype: torch.dtype) -> None:
    assert_engines_agree(ConvGRU(*channels, size=(3, 7)).to(dtype), [2, 1])


@pytest.mark.parametrize("lengths", [[3], [2, 2], [1, 0, 4, 2, 2], [2] * 33, [0, 0], []], ids=len)
def test_every_number_of_sequences(lengths: list[int]) -> None:
    assert_engines_agree(ConvLSTM(2, 3, size=(4, 5)).double(), lengths)


@pytest.mark.parametrize(
    "options",
    [{"reverse": True}, {"checkpoint_every": 2}, {"resets": torch.tensor([1, 5])}],
    ids=lambda value: next(iter(value)),
)
def test_directions_checkpoints_and_resets(options: dict[str, Any]) -> None:
    cell = ConvGRU(2, 3, size=(4, 5)).double()
    resets = options.pop("resets", None)
    x = torch.randn(7, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    batch = Ragged(x, torch.tensor([0, 4, 7]), resets)
    found = {}
    for engine in ("compiled", "reference"):
        own = {key: value for key, value in options.items() if engine == "compiled" or key != "checkpoint_every"}
        outputs, last = recurra.scan(cell, batch, engine=engine, **own)
        loss = outputs.values.square().sum() + last.h.sum()
        found[engine] = (outputs.values, *torch.autograd.grad(loss, [x, *cell.parameters()]))
    for got, want in zip(found["compiled"], found["reference"], strict=True):
        assert_close(got, want)


def padded(cell: Any, x: Tensor, h: Tensor) -> Tensor:
    """Wider padding there and none back, with a bias in the loop."""
    return x + F.conv2d(F.conv2d(h, cell.up, cell.bias, padding=2), cell.down)


def of_parts(cell: Any, x: Tensor, h: Tensor) -> Tensor:
    """Of a slice, of a transpose, and of what is joined."""
    turned = F.conv2d(h.transpose(2, 3), cell.square, padding=1).transpose(2, 3)
    return turned + F.conv2d(torch.cat([x[:, :2], h[:, 1:]], 1), cell.wide, padding="same")


def transposed(cell: Any, x: Tensor, h: Tensor) -> Tensor:
    return x + F.conv_transpose2d(h, cell.back, cell.bias, padding=1)


def shared(cell: Any, x: Tensor, h: Tensor) -> Tensor:
    """One weight for both, and a convolution of a convolution."""
    once = F.conv2d(h, cell.square, padding=1)
    return F.conv2d(once.relu(), cell.square, padding=1) + F.conv2d(x, cell.square, padding=1) * once


STEPS: dict[str, tuple[Any, dict[str, tuple[int, ...]]]] = {
    "padded": (padded, {"up": (4, 3, 3, 3), "bias": (4,), "down": (3, 4, 3, 3)}),
    "of parts": (of_parts, {"square": (3, 3, 3, 3), "wide": (3, 4, 3, 1)}),
    "transposed": (transposed, {"back": (3, 3, 3, 3), "bias": (3,)}),
    "shared": (shared, {"square": (3, 3, 3, 3)}),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("size", [(4, 4), (5, 3)], ids=str)
def test_steps_of_a_users_own(name: str, size: tuple[int, ...]) -> None:
    f, weights = STEPS[name]
    cell = Images(3, size, weights, f)
    assert_engines_agree(cell, [3, 0, 5])
    assert_engines_agree(cell.float(), [3, 1])


def test_two_convolutions_of_the_input_stand_before_the_loop() -> None:
    def step(cell: Any, x: Tensor, h: Tensor) -> Tensor:
        return 0.5 * h + F.conv2d(F.conv2d(x, cell.square, padding=1).sigmoid(), cell.square, cell.bias, padding=1)

    cell = Images(3, (4, 5), {"square": (3, 3, 3, 3), "bias": (3,)}, step)
    assert_engines_agree(cell, [3, 0, 5])


@pytest.mark.skipif(not team.can_meet(), reason="threads cannot wait for each other here")
def test_beside_a_product_that_threads_share() -> None:
    def step(cell: Any, x: Tensor, h: Tensor) -> Tensor:
        mixed = (h.flatten(1) @ cell.matrix).view_as(h)
        return x + F.conv2d(mixed, cell.square, padding=1) + F.conv2d(h.sigmoid(), cell.square, cell.bias, padding=1)

    cell = Images(3, (13, 14), {"matrix": (546, 546), "square": (3, 3, 3, 3), "bias": (3,)}, step)
    torch.set_num_threads(2)
    try:
        kernel = compiled(cell, torch.float64).training
        assert kernel.tiling(Layout.of(Block(torch.zeros(4, 1)))).sharers == 2
        assert_engines_agree(cell, [4])
        assert_engines_agree(cell, [3, 4, 2])
    finally:
        torch.set_num_threads(1)


def test_nan_of_one_sequence_stays_its_own() -> None:
    cell = ConvLSTM(2, 3, size=(4, 5))
    x = torch.randn(3, 3, 2, 4, 5)
    spoiled = x.clone()
    spoiled[0, 1] = float("nan")
    clean, found = (recurra.scan(cell, each, engine="compiled")[0] for each in (x, spoiled))
    assert found[:, 1].isnan().all()
    assert torch.equal(found[:, [0, 2]], clean[:, [0, 2]])


def test_gradients_do_not_depend_on_the_number_of_threads() -> None:
    cell = ConvGRU(8, 16, size=(9, 10), bias=False)
    x = torch.randn(6, 5, 8, 9, 10)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        try:
            outputs, _ = recurra.scan(cell, x, engine="compiled")
            found.append(torch.autograd.grad(outputs.sum(), list(cell.parameters())))
        finally:
            torch.set_num_threads(1)
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))


def test_a_gradient_of_a_gradient_is_the_references() -> None:
    cell = ConvGRU(1, 2, size=3).double()
    x = torch.randn(3, 1, 1, 3, dtype=torch.float64, requires_grad=True)

    def twice(engine: str) -> Tensor:
        (first,) = torch.autograd.grad(recurra.scan(cell, x, engine=engine)[0].square().sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), x)[0]

    assert_close(twice("compiled"), twice("reference"))


def test_autocast_rounds_no_convolution() -> None:
    cell = ConvLSTM(2, 3, size=(4, 5))
    x = torch.randn(3, 2, 2, 4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, _ = recurra.scan(cell, x, engine="compiled")
    assert torch.equal(rounded, recurra.scan(cell, x, engine="compiled")[0])


def test_the_convolution_of_the_input_is_made_in_the_loop() -> None:
    plan = compiled(ConvLSTM(2, 3, size=(4, 5)), torch.float32).plan
    assert not plan.before.nodes
    assert sum(node.target is torch.ops.aten.convolution.default for node in plan.forward.nodes) == 2
    assert sum(node.target is torch.ops.aten.convolution.default for node in plan.reverse.nodes) == 1


def of_one_number(y: Tensor) -> Tensor:
    """A number of each sequence that all numbers of an image go into, to be added to images of another size."""
    return (y * y).flatten(1).mean(1).reshape(-1, *[1] * (y.dim() - 1))


def dilated(cell: Any, x: Tensor, h: Tensor) -> Tensor:
    return x + F.conv2d(h, cell.weight, cell.bias, padding=(2, 1), dilation=(2, 1))


def in_groups(cell: Any, x: Tensor, h: Tensor) -> Tensor:
    return x + F.conv2d(F.conv2d(h, cell.wide, padding=1, groups=2), cell.down, groups=2)


def depthwise(cell: Any, x: Tensor, h: Tensor) -> Tensor:
    return x + F.conv2d(F.conv2d(h, cell.taps, padding=2, dilation=2, groups=4), cell.points, cell.bias)


def down_and_up(cell: Any, x: Tensor, h: Tensor) -> Tensor:
    """Places behind the last window, an `output_padding`, and kernels that the stride does not divide."""
    low = torch.tanh(F.conv2d(h, cell.weight, cell.bias, stride=(2, 3), padding=1))
    up = F.conv_transpose2d(low, cell.weight, cell.bias, stride=(2, 3), padding=1, output_padding=(0, 1))
    return x + of_one_number(up) + up[:, :, : h.shape[2], : h.shape[3]].mean((2, 3), keepdim=True)


def down_and_up_in_groups(cell: Any, x: Tensor, h: Tensor) -> Tensor:
    low = F.conv2d(h, cell.wide, stride=2, dilation=2, padding=2, groups=2)
    return x + of_one_number(F.conv_transpose2d(low, cell.back, stride=2, dilation=(1, 2), groups=2))


def wide_stride(cell: Any, x: Tensor, h: Tensor) -> Tensor:
    return x + of_one_number(F.conv2d(h, cell.points, stride=3)) + of_one_number(F.conv2d(h, cell.points, stride=2))


def wider_padding(cell: Any, x: Tensor, h: Tensor) -> Tensor:
    wide = F.conv2d(h, cell.weight, padding=4)
    return x + of_one_number(wide) + F.conv_transpose2d(F.pad(h, (2, 2, 2, 2)), cell.weight, padding=3)


def bordered(mode: str) -> Any:
    def step(cell: Any, x: Tensor, h: Tensor) -> Tensor:
        return x + F.conv2d(F.pad(h, (1, 1, 2, 0), mode=mode), cell.weight, cell.bias)

    return step


SQUARE = {"weight": (4, 4, 3, 3), "bias": (4,)}
KINDS: dict[str, tuple[Any, dict[str, tuple[int, ...]]]] = {
    "dilated": (dilated, SQUARE),
    "in groups": (in_groups, {"wide": (6, 2, 3, 3), "down": (4, 3, 1, 1)}),
    "depthwise": (depthwise, {"taps": (8, 1, 3, 3), "points": (4, 8, 1, 1), "bias": (4,)}),
    "down and up": (down_and_up, SQUARE),
    "down and up in groups": (down_and_up_in_groups, {"wide": (6, 2, 3, 3), "back": (6, 2, 3, 2)}),
    "wide stride": (wide_stride, {"points": (4, 4, 1, 1)}),
    "wider padding": (wider_padding, SQUARE),
    **{mode: (bordered(mode), SQUARE) for mode in ("circular", "reflect", "replicate")},
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_convolution(name: str) -> None:
    f, weights = KINDS[name]
    cell = Images(4, (5, 6), weights, f)
    assert_engines_agree(cell, [3, 0, 7])
    assert_engines_agree(cell, [1] * 33)
    assert_engines_agree(cell.float(), [2])


@pytest.mark.parametrize(("size", "convolve"), [((11,), F.conv1d), ((3, 5, 4), F.conv3d)], ids=["lines", "volumes"])
def test_strides_and_groups_of_lines_and_volumes(size: tuple[int, ...], convolve: Any) -> None:
    back = F.conv_transpose1d if len(size) == 1 else F.conv_transpose3d

    def step(cell: Any, x: Tensor, h: Tensor) -> Tensor:
        low = convolve(h, cell.weight, cell.bias, stride=2, padding=1, groups=2)
        return x + of_one_number(back(low, cell.back, stride=2)) + convolve(h, cell.taps, padding="same", groups=4)

    kernel = (3,) * len(size)
    cell = Images(
        4, size, {"weight": (4, 2, *kernel), "bias": (4,), "back": (4, 3, *kernel), "taps": (4, 1, *kernel)}, step
    )
    assert_engines_agree(cell, [3, 0, 2])


def test_a_depthwise_convolution_of_many_channels_stays_in_the_loop() -> None:
    cell = Images(
        32, (16, 16), {"taps": (32, 1, 3, 3)}, lambda cell, x, h: x + F.conv2d(h, cell.taps, padding=1, groups=32)
    )
    assert_engines_agree(cell.float(), [2, 3])
    kernel = compiled(cell, torch.float32).training
    assert [str(value.args[-1]) for value in kernel.plan.program.values if value.op == "conv"] == [
        "32 x 16 x 16 -> 32 x 16 x 16, kernel 3 x 3, groups: 32"
    ]


def test_a_kernel_of_the_state_runs_by_the_reference_and_says_the_line() -> None:
    def step(cell: Any, x: Tensor, h: Tensor) -> Tensor:
        kernels = (h[:, :, :1, :1] * cell.weight[:, 0]).reshape(-1, 1, 3, 3)
        return x + F.conv2d(h.reshape(1, -1, 4, 4), kernels, padding=1, groups=len(kernels)).view_as(h)

    cell = Images(3, (4, 4), {"weight": (3, 1, 3, 3)}, step)
    x = torch.randn(3, 2, 3, 4, 4, dtype=torch.float64)
    message = r"`Images.step` .*`convolution` has no .*: only one image of a row with a weight of parameters"
    with pytest.raises(CompileError, match=message):
        recurra.scan(cell, x, engine="compiled")
    _say_slow.cache_clear()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found, _ = recurra.scan(cell, x)
        recurra.scan(cell, x)
    assert len(said) == 1
    assert "reference engine" in str(said[0].message)
    assert_close(found, recurra.scan(cell, x, engine="reference")[0])


def test_before_the_loop_each_sequence_may_have_a_kernel_of_its_own() -> None:
    def step(cell: Any, x: Tensor, h: Tensor) -> Tensor:
        kernels = (x[:, :, :1, :1] * cell.weight[:, 0]).reshape(-1, 1, 3, 3)
        return F.conv2d(x.reshape(1, -1, 4, 4), kernels, padding=1, groups=len(kernels)).view_as(x) - 0.5 * h

    assert_engines_agree(Images(3, (4, 4), {"weight": (3, 1, 3, 3)}, step), [3, 0, 2])


@pytest.mark.parametrize("options", [{"stride": 2, "padding": (4, 4)}, {"groups": 3, "padding": 1}], ids=str)
def test_outside_the_loop_it_may_be_any_convolution(options: dict[str, Any]) -> None:
    channels = 3 // options.get("groups", 1)

    def step(cell: Any, x: Tensor, h: Tensor) -> Tensor:
        return F.conv2d(x, cell.weight, cell.bias, **options)[:, :, :4, :4] - 0.5 * h

    cell = Images(3, (4, 4), {"weight": (3, channels, 3, 3), "bias": (3,)}, step)
    assert_engines_agree(cell, [3, 0, 2])
