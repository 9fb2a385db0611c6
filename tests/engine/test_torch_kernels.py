"""torch's kernels against the reference engine, and against torch.nn itself."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import recurra
from recurra.cells import GRU, LSTM, RNN
from recurra.engine import dense_lstm
from recurra.engine.torch_kernels import TorchKernel
from recurra.errors import CompileError, ShapeError
from tests.tolerance import assert_close

CELLS: dict[str, Any] = {
    "rnn_tanh": lambda i, h: RNN(i, h),
    "rnn_relu": lambda i, h: RNN(i, h, activation="relu"),
    "gru": lambda i, h: GRU(i, h),
    "lstm": lambda i, h: LSTM(i, h),
    "lstm_projected": lambda i, h: LSTM(i, h, proj_size=max(h // 2, 1)) if h > 1 else LSTM(i, h),
    "gru_without_bias": lambda i, h: GRU(i, h, bias=False),
    "lstm_without_bias": lambda i, h: LSTM(i, h, bias=False),
}
LENGTHS: dict[str, list[int]] = {
    "even": [6, 6, 6],
    "nearly even": [7, 6, 7, 7],
    "ragged": [1, 9, 4, 9, 2],
    "with empty": [0, 5, 0, 3, 5],
    "nearly even with empty": [9, 9, 9, 0, 9, 8, 9],
    "all empty": [0, 0],
    "no sequences": [],
    "one step": [1],
}
STRICT = {torch.float64: 1e-12, torch.float32: 1e-5}


def batch(lengths: list[int], size: int, dtype: torch.dtype, *, resets: bool = False) -> recurra.Ragged:
    offsets = torch.tensor([0, *itertools.accumulate(lengths)])
    values = torch.randn(int(offsets[-1]), size, dtype=dtype, requires_grad=True)
    at = (torch.rand(len(values)) < 0.3).nonzero().flatten() if resets else None
    return recurra.Ragged(values, offsets, at)


def run(cell: recurra.Cell, x: recurra.Ragged, state: Any, engine: str, reverse: bool) -> list[Tensor]:
    """Outputs, last state and every gradient of one scan."""
    outputs, after = recurra.scan(cell, x, state, reverse=reverse, engine=engine)
    results = [outputs.values, *after]
    wanted = [x.values, *(() if state is None else state), *cell.parameters()]
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(value.shape, generator=generator, dtype=value.dtype) for value in results]
    loss = sum((value * weight).sum() for value, weight in zip(results, weights, strict=True))
    grads = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True) if loss.requires_grad else []
    return [*results, *grads]


def assert_same(actual: list[Tensor], expected: list[Tensor], dtype: torch.dtype) -> None:
    for got, want in zip(actual, expected, strict=True):
        assert_close(got, want, relative=STRICT[dtype])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("name", CELLS)
def test_a_kernel_computes_what_the_reference_computes(name: str, lengths: list[int], dtype: torch.dtype) -> None:
    for hidden_size, given, reverse, resets in [
        (17, True, False, False),
        (5, False, True, True),
        (1, True, True, True),
    ]:
        cell = CELLS[name](3, hidden_size).to(dtype)
        x = batch(lengths, 3, dtype, resets=resets)
        state = None
        if given:
            state = tuple(torch.randn_like(field).requires_grad_() for field in cell.initial_state(len(lengths)))
        assert_same(run(cell, x, state, "torch", reverse), run(cell, x, state, "reference", reverse), dtype)


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("engine", ["reference", "torch"])
def test_float64_agrees_with_torch_nn_to_twelve_digits(name: str, engine: str) -> None:
    cell = {"RNN": RNN, "GRU": GRU, "LSTM": LSTM}[name](5, 19).double()
    layer = getattr(nn, name)(5, 19).double()
    for parameter in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(layer, f"{parameter}_l0").data.copy_(getattr(cell, parameter))
    lengths = torch.tensor([31, 1, 17, 30])
    x = torch.randn(31, 4, 5, dtype=torch.float64, requires_grad=True)
    state = tuple(torch.randn(4, 19, dtype=torch.float64, requires_grad=True) for _ in cell.State._fields)
    stacked = tuple(field[None] for field in state)

    ours, after = recurra.scan(cell, x, state, lengths=lengths, engine=engine)
    packed, last = layer(
        pack_padded_sequence(x, lengths, enforce_sorted=False), stacked if name == "LSTM" else stacked[0]
    )
    theirs = pad_packed_sequence(packed)[0]
    last = tuple(field[0] for field in (last if name == "LSTM" else (last,)))
    for got, want in zip((ours, *after), (theirs, *last), strict=True):
        assert_close(got, want, relative=1e-12)
    weight = torch.randn_like(ours)
    ours_grads = torch.autograd.grad((ours * weight).sum() + after[-1].sum(), [x, *state, *cell.parameters()])
    their_grads = torch.autograd.grad((theirs * weight).sum() + last[-1].sum(), [x, *state, *layer.parameters()])
    for got, want in zip(ours_grads, their_grads, strict=True):
        assert_close(got, want, relative=1e-12)


def test_a_ragged_float32_lstm_goes_through_the_dense_kernel_and_a_sparse_one_does_not() -> None:
    if not dense_lstm.has_dense_lstm(torch.float32, torch.device("cpu")):
        pytest.skip("this build of torch has no oneDNN")
    kernel = LSTM(3, 4).kernel()
    assert isinstance(kernel, TorchKernel)
    assert kernel.prefers_dense(batch(LENGTHS["nearly even"], 3, torch.float32))
    assert not kernel.prefers_dense(batch(LENGTHS["ragged"], 3, torch.float32))
    assert not kernel.prefers_dense(batch(LENGTHS["nearly even"], 3, torch.float64))


def test_the_dense_kernel_is_exact_on_any_share_of_padding_and_with_large_inputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dense_lstm, "FILL", 0.0)
    cell = LSTM(3, 33)
    x = batch([1, 9, 0, 4, 20], 3, torch.float32)
    large = recurra.Ragged((x.values * 1e4).detach().requires_grad_(), x.offsets)
    state = tuple(torch.randn(5, 33, requires_grad=True) for _ in range(2))
    for inputs, relative in ((x, 1e-5), (large, 1e-4)):  # float32 itself is no better on sums of such numbers
        for got, want in zip(
            run(cell, inputs, state, "torch", False), run(cell, inputs, state, "reference", False), strict=True
        ):
            assert_close(got, want, relative=relative)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("lengths", [[4, 4], [5, 4, 5], [1, 3, 0]], ids=str)
def test_a_gradient_of_a_gradient_is_right(name: str, dtype: torch.dtype, lengths: list[int]) -> None:
    cell = CELLS[name](3, 4).to(dtype)
    x = batch(lengths, 3, dtype)
    found = []
    for engine in ("torch", "reference"):
        outputs, _ = recurra.scan(cell, x, engine=engine)
        (slope,) = torch.autograd.grad(outputs.values.square().sum(), x.values, create_graph=True)
        found.append([slope, *torch.autograd.grad(slope.square().sum(), [x.values, *cell.parameters()])])
    assert_same(*found, dtype)


def test_a_second_backward_through_a_kept_graph_gives_the_same() -> None:
    cell = LSTM(3, 4)
    x = batch([5, 4, 5], 3, torch.float32)
    total = recurra.scan(cell, x)[0].values.sum()
    (first,) = torch.autograd.grad(total, x.values, retain_graph=True)
    (second,) = torch.autograd.grad(total, x.values)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("lengths", [[6, 6], [7, 6, 7, 7], [1, 9, 0]], ids=str)
def test_bfloat16_autocast_stays_near_float32_and_keeps_the_type_of_the_state(name: str, lengths: list[int]) -> None:
    cell = CELLS[name](3, 8)
    x = batch(lengths, 3, torch.float32)
    exact, last = recurra.scan(cell, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, state = recurra.scan(cell, x, engine="torch")
    assert rough.values.dtype == torch.float32
    assert all(field.dtype == torch.float32 for field in state)
    torch.testing.assert_close(rough.values, exact.values, rtol=0.05, atol=0.05)
    for got, want in zip(state, last, strict=True):
        torch.testing.assert_close(got, want, rtol=0.05, atol=0.05)
    grads = torch.autograd.grad(rough.values.sum(), [x.values, *cell.parameters()])
    for got, want in zip(grads, torch.autograd.grad(exact.values.sum(), [x.values, *cell.parameters()]), strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, want, rtol=0.1, atol=0.1 * max(1.0, float(want.abs().max())))


def test_a_bfloat16_cell_runs_in_bfloat16() -> None:
    for name in ("lstm", "gru", "rnn_tanh"):
        cell = CELLS[name](3, 8).bfloat16()
        outputs, _ = recurra.scan(cell, torch.randn(6, 2, 3, dtype=torch.bfloat16), engine="torch")
        assert outputs.dtype == torch.bfloat16
        assert outputs.isfinite().all()


def test_torch_engine_refuses_what_torch_cannot_compute() -> None:
    for cell in (GRU(3, 4, reset="before"), LSTM(3, 4, peephole=True), RNN(3, 4, activation="sigmoid")):
        with pytest.raises(CompileError, match="torch has no kernel"):
            recurra.scan(cell, torch.randn(2, 1, 3), engine="torch")
    with pytest.raises(CompileError, match=r"computes `LSTM\(input_size=3, hidden_size=4\)` on torch.float64 exactly:"):
        recurra.scan(LSTM(3, 4), torch.randn(2, 1, 3).double(), engine="torch")
    with pytest.raises(ShapeError, match=r"`state` must be torch\.float32 on cpu"):
        recurra.scan(GRU(3, 4), torch.randn(2, 1, 3), torch.zeros(1, 4).double(), engine="torch")


def test_a_subclass_with_its_own_step_is_not_run_by_the_kernel_of_its_parent() -> None:
    class Doubled(GRU):
        def step(self, x: Tensor, state: Any, read: Any = None) -> tuple[Tensor, Any]:
            output, state = super().step(x, state, read)
            return 2 * output, state

    cell = Doubled(3, 4)
    x = torch.randn(5, 2, 3)
    assert_close(recurra.scan(cell, x)[0], recurra.scan(cell, x, engine="reference")[0])
    with pytest.raises(CompileError):
        recurra.scan(cell, x, engine="torch")


def test_kernels_say_no_under_functional_transforms() -> None:
    kernel = LSTM(3, 4).kernel()
    assert kernel is not None
    answers = []

    def look(x: Tensor) -> Tensor:
        answers.append(kernel.supports(x))
        return x.sum()

    torch.func.grad(look)(torch.randn(2, 3))
    torch.func.vmap(look)(torch.randn(2, 3))
    assert answers == [False, False]
    assert kernel.supports(torch.randn(2, 3))


def test_turning_onednn_off_is_obeyed() -> None:
    kernel = LSTM(3, 4).kernel()
    assert isinstance(kernel, TorchKernel)
    x = batch([4, 4], 3, torch.float32)
    before = kernel.prefers_dense(x)
    on = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        assert not kernel.prefers_dense(x)
    finally:
        torch._C._set_mkldnn_enabled(on)
    assert kernel.prefers_dense(x) == before
