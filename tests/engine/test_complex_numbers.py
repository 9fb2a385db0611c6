"""Steps of complex numbers, which the compiled engine makes of reals."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra import Cell, CompileError, ShapeError
from recurra.cells import ClipStateGradient, LearnedInitialState, RecurrentDropout, Zoneout
from recurra.engine.complex_functions import FUNCTIONS
from tests.engine.engines import assert_engines_agree
from tests.tolerance import assert_close


class State(NamedTuple):
    h: Tensor  # [B, H]


class Turning(Cell):
    """The ground of those below: a complex state, weights as `weights` says."""

    State = State
    complex_fields: Any = ("h",)

    def __init__(self, input_size: int = 3, hidden_size: int = 6) -> None:
        super().__init__(input_size, hidden_size)
        torch.manual_seed(0)
        self.weights(input_size, hidden_size, torch.complex64)

    def weights(self, i: int, h: int, kind: Any) -> None:
        self.input = nn.Linear(i, h)
        self.turn = nn.Parameter(torch.randn(h, dtype=kind))

    def whole(self) -> Any:
        """In double precision, complex weights too."""
        for parameter in self.parameters():
            double = torch.complex128 if parameter.is_complex() else torch.float64
            parameter.data = parameter.data.to(double)
        return self


class LinearUnit(Turning):
    """The linear recurrent unit (Orvieto et al. 2023), as the paper has it."""

    def weights(self, i: int, h: int, kind: Any) -> None:
        self.nu, self.theta = nn.Parameter(torch.rand(h)), nn.Parameter(torch.rand(h))
        self.B, self.C = (nn.Parameter(torch.randn(n, h, dtype=kind) / n) for n in (i, h))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = torch.exp(-torch.exp(self.nu) + 1j * self.theta) * state.h + x.to(self.B.dtype) @ self.B
        return (h @ self.C).real, State(h)


class Unitary(Turning):
    """The unitary evolution RNN (Arjovsky et al. 2016): turns, reflections, Fourier transforms, a permutation."""

    def weights(self, i: int, h: int, kind: Any) -> None:
        self.turns = nn.Parameter(torch.rand(3, h) * 6 - 3)
        self.mirrors = nn.Parameter(torch.randn(2, h, dtype=kind))
        self.V = nn.Parameter(torch.randn(i, h, dtype=kind))
        self.bias = nn.Parameter(torch.rand(h) * 0.1)
        self.register_buffer("order", torch.randperm(h))

    def reflected(self, h: Tensor, v: Tensor) -> Tensor:
        return h - 2 * v * (h @ v.conj())[:, None] / (v.abs() ** 2).sum()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        one, two, three = torch.exp(1j * self.turns)
        h = torch.fft.fft(state.h * one, norm="ortho")
        h = self.reflected(h, self.mirrors[0])[:, self.order]
        h = torch.fft.ifft(h * two, norm="ortho")
        z = self.reflected(h, self.mirrors[1]) * three + torch.complex(x, torch.zeros_like(x)) @ self.V
        size = z.abs()
        z = z * torch.relu(size + self.bias) / (size + 1e-5)
        return z.real + z.imag, State(z)


class Everything(Turning):
    """Most functions of a complex number."""

    def weights(self, i: int, h: int, kind: Any) -> None:
        super().weights(i, h, kind)
        self.pairs = nn.Parameter(torch.randn(h, 2))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        z = 0.5 * state.h + self.input(x) * torch.view_as_complex(self.pairs)
        made = [z.sin(), z.cos().conj(), z.sinh(), z.cosh(), (0.1 * z).tan(), z.tanh(), z**2, z**-1, z**1.5, z.sqrt()]
        made += [
            z.expm1(),
            (0.1 * z).log1p(),
            (z + 3).log2(),
            (z + 3).log10(),
            (0.3 * z).cumprod(-1),
            z.std(-1)[:, None] * z,
        ]
        made += [torch.cat([part * self.turn[:3] for part in z.chunk(2, -1)], -1), torch.lerp(z, self.turn, 0.3)]
        made += [(z + 2).log(), z.exp(), z.reciprocal(), z / (z + 1 + 2j), (2 - 1j) / z, z.sgn(), z.sigmoid(), 2**z]
        h = torch.stack(made).mean(0)
        h = torch.where((h.real > 0) & (h != 0), h, h.conj() * 1j)
        return torch.view_as_real(h).sum(-1) + z.angle(), State(torch.complex(h.real.tanh(), h.imag.tanh()))


class Moved(Turning):
    """Parts written into, products of every kind, sums and norms."""

    def weights(self, i: int, h: int, kind: Any) -> None:
        super().weights(i, h, kind)
        self.W = nn.Parameter(torch.randn(3, h, h, dtype=kind) / h)
        self.inner = nn.Linear(h, h, dtype=kind)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = state.h.clone()
        h[:, 1:3] = h[:, 1:3] * 1j
        h.imag[:, 0] = 0.5
        h = torch.einsum("bh,khj->bj", h, self.W) + self.inner(h) + torch.ones_like(h) + self.input(x)
        h = torch.roll(h, 1, -1) / (1 + h.abs())
        matrix = h[:, :, None] @ h[:, None, :].conj()
        h = h - h.mean(-1, keepdim=True) + matrix.sum(-1) + torch.tensor([1.0, 2.0j]).sum()
        return h.norm(dim=-1, keepdim=True) * h.real, State(h / 4)


class Throughout(Turning):
    """Inputs and outputs are complex, too, and no weight is real."""

    def weights(self, i: int, h: int, kind: Any) -> None:
        self.all = nn.Linear(i + h, h, dtype=kind)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        z = self.all(torch.cat([x, state.h], -1))
        h = z.tanh() * torch.sigmoid(z.real)
        return h, State(h)


class Bound(Turning):
    """A real state, bound to the input by a circular convolution: complex numbers are inside the step alone."""

    complex_fields = ()

    def weights(self, i: int, h: int, kind: Any) -> None:
        self.input = nn.Linear(i, h)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        key = self.input(x).tanh()
        h = torch.fft.irfft(torch.fft.rfft(key) * torch.fft.rfft(state.h), n=self.hidden_size) + key
        return h, State(h)


CELLS = (LinearUnit, Unitary, Everything, Moved, Throughout, Bound)


@pytest.mark.parametrize("kind", CELLS)
def test_as_the_reference_engine(kind: Callable[[], Any]) -> None:
    assert_engines_agree(kind().whole(), [7, 0, 2, 5, 1])
    assert_engines_agree(kind().whole(), [4] * 3, block=True, reverse=True)


@pytest.mark.parametrize("kind", [LinearUnit, Throughout])
def test_in_single_precision(kind: Callable[[], Any]) -> None:
    assert_engines_agree(kind(), [3, 6])


def test_odd_and_even_lengths_of_transforms() -> None:
    assert_engines_agree(Bound(3, 5).whole(), [3, 2])

    class OfPictures(Turning):
        def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
            picture = torch.fft.fft2(state.h.view(-1, 2, 3), norm="forward") + self.input(x).view(-1, 2, 3)
            real = torch.fft.irfft2(picture, s=(2, 5))
            return real.flatten(1)[:, :6], State(torch.fft.rfft2(real)[:, :2, :3].flatten(1) * self.turn * 0.1)

    assert_engines_agree(OfPictures().whole(), [3, 2])


def test_long_transforms_have_no_compiled_form_in_the_loop() -> None:
    with pytest.raises(CompileError, match=r"`_fft_r2c` has no compiled form inside the loop"):
        recurra.scan(Bound(3, 1000), torch.randn(2, 1, 3), engine="compiled")


def test_what_feeds_no_state_is_left_to_torch() -> None:
    class Decomposed(Turning):
        def weights(self, i: int, h: int, kind: Any) -> None:
            super().weights(i, h, kind)
            self.S = nn.Parameter(torch.randn(h, h, dtype=kind) / h)

        def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
            h = state.h @ torch.linalg.matrix_exp(self.S - self.S.mH) + self.input(x)
            return h.real, State(h)

    assert_engines_agree(Decomposed().whole(), [3, 5])


@pytest.mark.parametrize("name", sorted({*FUNCTIONS} - {"resolve_conj", "tanh_backward", "sigmoid_backward", "polar"}))
def test_functions(name: str) -> None:
    numbers = torch.tensor([0.3, -2.0, 0.0, 1e-3, 5.0, -0.7], dtype=torch.float64)
    z = torch.complex(*torch.meshgrid(numbers, numbers, indexing="ij")).flatten()
    z = z[z.abs() > 0] if name in ("log", "log2", "log10", "reciprocal", "div", "pow", "rsqrt", "angle") else z
    call, pair = getattr(torch.ops.aten, name), (z.real, z.imag)
    operands = (z, z.flip(0)) if name in ("mul", "div", "pow", "eq", "ne") else (z,)
    made: Any = FUNCTIONS[name](pair, *((each.real, each.imag) for each in operands[1:]))
    expected = call(*operands).resolve_conj()
    if expected.dtype is torch.bool:
        assert torch.equal(made, expected)
    else:
        assert_close(torch.complex(*made) if isinstance(made, tuple) else made, expected)


def test_large_numbers_do_not_overflow_on_the_way() -> None:
    large, small = torch.tensor([[1e300], [1e-300]], dtype=torch.float64)
    assert [part.item() for part in FUNCTIONS["div"]((large, large), (large, large))] == [1.0, 0.0]
    assert FUNCTIONS["abs"]((large, small)).item() == pytest.approx(1e300)


def test_networks_states_and_gradients_of_gradients() -> None:
    network = recurra.Recurrent(LinearUnit(4, 6).whole(), num_layers=2, bidirectional=True)
    x = torch.randn(5, 2, 4, dtype=torch.float64, requires_grad=True)
    found = []
    for network.engine in ("compiled", "reference"):
        outputs, state = network(x)
        outputs, _ = network(x, state)
        (gradient,) = torch.autograd.grad(outputs.sum(), x, create_graph=True)
        found.append([outputs, *torch.autograd.grad(gradient.square().sum(), [*network.parameters()])])
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs)


def test_pieces_copies_and_resets() -> None:
    cell, x = Unitary().whole(), torch.randn(9, 3, 3, dtype=torch.float64)
    resets = torch.rand(9, 3) < 0.3
    expected = recurra.scan(cell, x, resets=resets, engine="reference")
    for options in ({}, {"checkpoint_every": 2}):
        outputs, after = recurra.scan(copy.deepcopy(cell), x, resets=resets, engine="compiled", **options)
        assert_close(outputs, expected[0])
        assert_close(after.h, expected[1].h)


def test_layers_are_as_complex_as_the_first() -> None:
    network = recurra.Recurrent(LinearUnit(3, 4).whole(), num_layers=2)
    first, second = (dict(cell.named_parameters()) for cell in network.cells)
    assert {name: tensor.dtype for name, tensor in first.items()} == {n: tensor.dtype for n, tensor in second.items()}


@pytest.mark.parametrize("kind", [LinearUnit, Moved])
def test_streams(kind: Callable[..., Any], tmp_path: Path) -> None:
    network = recurra.Recurrent(kind(4, 4).whole(), num_layers=2)
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    expected, state = network(x)
    stream = network.stream(batch_size=3)
    assert stream.is_compiled
    assert_close(torch.cat([stream.push(x[0])[None], stream.push(x[1:])]), expected)
    for ours, theirs in zip(stream.state, state, strict=True):
        assert_close(ours.h, theirs.h)
    stream.save(tmp_path / "state")
    other = network.stream(batch_size=3)
    other.load(tmp_path / "state")
    assert torch.equal(other.push(x[0]), stream.push(x[0]))
    stream.state = state
    stream.reset(rows=[1])
    fresh, _ = network(x[:1])
    assert_close(stream.push(x[0])[1], fresh[0, 1])
    with pytest.raises(ShapeError, match=r"`x` must be real, as weights of the network are, got complex128"):
        stream.push(x[0].numpy() + 1j)


def test_streams_of_complex_outputs_run_on_torch() -> None:
    network = recurra.Recurrent(Throughout().whole())
    x = torch.randn(4, 1, 3, dtype=torch.complex128)
    with pytest.warns(UserWarning, match=r"where inputs or outputs are complex. The stream runs on torch"):
        stream = network.stream()
    assert_close(stream.push(x), network(x)[0])
    assert stream.push(np.ones(3, np.complex128)).dtype == np.complex128


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda cell: Zoneout(cell, 0.5),
        lambda cell: RecurrentDropout(cell, 0.5),
        LearnedInitialState,
        lambda cell: ClipStateGradient(cell, 0.01),
    ],
)
def test_wrappers(wrapped: Callable[[Cell], Any]) -> None:
    cell, found = wrapped(LinearUnit().whole()), []
    assert cell.initial_state(2, dtype=torch.float64).h.dtype == torch.complex128
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    for engine in ("compiled", "reference"):
        torch.manual_seed(0)
        outputs, _ = recurra.scan(cell, x, engine=engine)
        found.append([outputs, *torch.autograd.grad(outputs.sum(), [*cell.parameters()])])
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs)


def test_a_state_of_another_kind_is_refused() -> None:
    cell, x = LinearUnit(), torch.randn(2, 1, 3)
    with pytest.raises(
        ShapeError, match=r"`state.h` of `LinearUnit` must be of type torch.complex64, got torch.float32"
    ):
        recurra.scan(cell, x, State(torch.zeros(1, 6)))

    class Undeclared(LinearUnit):
        complex_fields = ()

    sentence = r"`Undeclared.step` must keep the type of `state.h` torch.float32, returned torch.complex64"
    for engine in ("auto", "reference"):
        with pytest.raises(ShapeError, match=sentence):
            recurra.scan(Undeclared(), x, engine=engine)


@pytest.mark.parametrize("kind", [LinearUnit, Throughout])
def test_torch_compile_sees_one_call(kind: Callable[..., Any]) -> None:
    cell = kind()
    x = torch.randn(3, 2, 3, dtype=torch.complex64 if kind is Throughout else None, requires_grad=True)
    run = torch.compile(lambda x: recurra.scan(cell, x), backend="aot_eager", fullgraph=True)
    (outputs, state), (expected, after) = run(x), recurra.scan(cell, x, engine="reference")
    assert_close(outputs, expected)
    assert_close(state.h, after.h)
    assert_close(*(torch.autograd.grad(part.abs().sum(), x)[0] for part in (outputs, expected)))
    from recurra.engine.operators import _of_cells

    assert cell in _of_cells
