"""recurra.nn against torch.nn: every keyword, shape, packing and error, on equal weights."""

from __future__ import annotations

import copy
import inspect
import io
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

import recurra
import recurra.nn
from recurra.engine import dense_lstm, torch_kernels
from recurra.errors import ShapeError
from recurra.nn import stack
from tests.tolerance import assert_close

KINDS = ["RNN", "LSTM", "GRU"]
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two layers": {"num_layers": 2},
    "bidirectional": {"num_layers": 2, "bidirectional": True},
    "no bias, batch first": {"bias": False, "batch_first": True},
    "dropout": {"num_layers": 3, "dropout": 0.4, "bidirectional": True},
    "float64": {"dtype": torch.float64},
    "projected": {"proj_size": 3, "num_layers": 2, "bidirectional": True},
    "relu": {"nonlinearity": "relu", "num_layers": 2},
}
CASES = [
    pytest.param(kind, options, id=f"{kind}-{name}")
    for kind in KINDS
    for name, options in OPTIONS.items()
    if not (name == "projected" and kind != "LSTM") and not (name == "relu" and kind != "RNN")
]


def pair(kind: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """torch's module and ours, with equal weights."""
    theirs = getattr(nn, kind)(5, 9, **options)
    ours = getattr(recurra.nn, kind)(5, 9, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def random_state(module: Any, batch_size: int) -> Any:
    shapes = stack._shapes(module, batch_size)
    fields = tuple(torch.randn(shape, dtype=module.weight_ih_l0.dtype, requires_grad=True) for shape in shapes)
    return fields if len(fields) == 2 else fields[0]


def flat(value: Any) -> list[Tensor]:
    if isinstance(value, PackedSequence):
        return [value.data]
    return [value] if isinstance(value, Tensor) else [tensor for item in value for tensor in flat(item)]


def assert_equal_modules(theirs: Any, ours: Any, data: Any, state: Any = None) -> None:
    """Equal outputs, states and gradients from equal seeds."""
    found = []
    for module in (theirs, ours):
        torch.manual_seed(3)
        results = flat(module(data) if state is None else module(data, state))
        loss = sum((value * (1 + torch.arange(value.numel()).view_as(value) % 7)).sum() for value in results)
        wanted = [*flat(() if state is None else state), *module.parameters()]
        found.append([*results, *torch.autograd.grad(loss, wanted)])
    for got, want in zip(found[1], found[0], strict=True):
        assert_close(got, want, relative=1e-12 if got.dtype == torch.float64 else 1e-5)


# what torch itself says of projections in float32
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(("kind", "options"), CASES)
def test_padded_and_unbatched_inputs_give_torchs_numbers(kind: str, options: dict[str, Any]) -> None:
    theirs, ours = pair(kind, options)
    x = torch.randn(4, 4, 5, dtype=ours.weight_ih_l0.dtype)
    assert_equal_modules(theirs, ours, x)
    assert_equal_modules(theirs, ours, x, random_state(ours, 4))
    assert_equal_modules(theirs, ours, x[0])
    state = random_state(ours, 1)
    assert_equal_modules(theirs, ours, x[0], tuple(field[:, 0] for field in state) if kind == "LSTM" else state[:, 0])


@pytest.mark.parametrize("lengths", [[6, 5, 6, 6], [2, 7, 1, 4], [5, 5]], ids=str)
@pytest.mark.parametrize(("kind", "options"), CASES)
def test_packed_inputs_give_torchs_numbers_with_the_same_seed(
    kind: str, options: dict[str, Any], lengths: list[int]
) -> None:
    theirs, ours = pair(kind, options)
    dtype = ours.weight_ih_l0.dtype
    sequences = [torch.randn(length, 5, dtype=dtype) for length in lengths]
    packed = pack_sequence(sequences, enforce_sorted=False)
    for state in (None, random_state(ours, len(lengths))):
        assert_equal_modules(theirs, ours, packed, state)
    in_order = pack_sequence(sorted(sequences, key=len, reverse=True))
    assert in_order.sorted_indices is None
    assert_equal_modules(theirs.eval(), ours.eval(), in_order)
    out, _ = ours(in_order)
    assert out.sorted_indices is None
    assert torch.equal(out.batch_sizes, in_order.batch_sizes)


def test_packed_sequences_of_like_lengths_take_the_dense_path_and_others_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not dense_lstm.has_dense_lstm(torch.float32, torch.device("cpu")):
        pytest.skip("this build of torch has no oneDNN")
    monkeypatch.setattr(torch_kernels, "outruns_mkl", lambda: False)  # else oneDNN is not the fastest
    like = pack_padded_sequence(torch.randn(3, 3, 5), torch.tensor([3, 3, 2]))
    unlike = pack_padded_sequence(torch.randn(3, 3, 5), torch.tensor([3, 1, 1]))
    lstm = recurra.nn.LSTM(5, 9)
    assert stack.run_faster(lstm, like) is not None
    assert stack.run_faster(lstm, unlike) is None
    assert stack.run_faster(recurra.nn.LSTM(5, 9, proj_size=2), like) is None
    assert stack.run_faster(lstm.double(), like) is None


def test_a_gradient_of_a_gradient_through_packed_inputs_is_torchs() -> None:
    theirs, ours = pair("LSTM", {"num_layers": 2})
    x = torch.randn(6, 3, 5)
    found = []
    for module in (theirs, ours):
        data = x.clone().requires_grad_()
        packed = pack_padded_sequence(data, torch.tensor([6, 6, 5]))
        (slope,) = torch.autograd.grad(module(packed)[0].data.square().sum(), data, create_graph=True)
        found.append([slope, *torch.autograd.grad(slope.square().sum(), module.parameters())])
    for got, want in zip(found[1], found[0], strict=True):
        assert_close(got, want)


@pytest.mark.parametrize("kind", KINDS)
def test_our_modules_are_torchs_modules(kind: str) -> None:
    theirs, ours = pair(kind, {"num_layers": 2, "bidirectional": True})
    assert isinstance(ours, getattr(nn, kind))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    assert inspect.signature(type(ours)) == inspect.signature(type(theirs))
    assert ours.flatten_parameters() is None
    assert [len(group) for group in ours.all_weights] == [len(group) for group in theirs.all_weights]


class Around(nn.Module):
    """A model with a recurrent layer in it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="torch no longer supports torch.jit.script there")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_scripted_as_with_torchs_module(kind: str) -> None:
    theirs, ours = pair(kind, {"num_layers": 2})
    x = torch.randn(4, 2, 5)
    scripted = torch.jit.script(Around(ours))
    assert torch.equal(scripted(x), theirs(x)[0])
    assert scripted.layer.weight_hh_l0.data_ptr() == ours.weight_hh_l0.data_ptr()
    assert type(ours) is getattr(recurra.nn, kind)


class Doubled(recurra.nn.GRU):
    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        outputs, hx = super().forward(input, hx)
        return 2 * outputs, hx


def test_scripting_never_drops_the_forward_of_a_subclass() -> None:
    gru = Doubled(5, 9)
    assert gru.__prepare_scriptable__() is gru


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_saved_weights_give_the_same_numbers(kind: str) -> None:
    _, ours = pair(kind, {"num_layers": 2})
    x = recurra.Ragged.from_list([torch.randn(3, 5), torch.randn(0, 5), torch.randn(4, 5)])
    expected = ours(x)[0].values
    file = io.BytesIO()
    torch.save(ours.state_dict(), file)
    file.seek(0)
    loaded = getattr(recurra.nn, kind)(5, 9, num_layers=2)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for other in (copy.deepcopy(ours), loaded):
        assert torch.equal(other(x)[0].values, expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m(torch.randn(4)),
        lambda m: m(torch.randn(4, 2, 6)),
        lambda m: m(torch.randn(4, 2, 5).double()),
        lambda m: m(torch.randn(4, 2, 5), torch.zeros(1, 3, 9)),
        lambda m: m(torch.randn(4, 2, 5), (torch.zeros(1, 3, 9), torch.zeros(1, 3, 9))),
        lambda m: m(torch.randn(4, 2, 5), (torch.zeros(1, 9), torch.zeros(1, 9))),
        lambda m: m(pack_sequence([torch.randn(4, 6), torch.randn(3, 6)])),
        lambda m: m(pack_sequence([torch.randn(4, 5).double()])),
        lambda m: m(pack_sequence([torch.randn(4, 5), torch.randn(3, 5)]), torch.zeros(1, 3, 9)),
        lambda m: m(
            pack_sequence([torch.randn(4, 5), torch.randn(3, 5)]), (torch.zeros(1, 3, 9), torch.zeros(1, 3, 9))
        ),
        lambda m: m(pack_sequence([torch.randn(4, 5)]), (torch.zeros(1, 1, 9), torch.zeros(1, 1, 8))),
        lambda m: m(pack_sequence([torch.randn(4, 5), torch.randn(4, 5), torch.randn(3, 5)]), torch.zeros(2, 1, 3, 9)),
        lambda m: m(pack_sequence([torch.randn(4, 5), torch.randn(4, 5), torch.randn(3, 5)]), 7),
        lambda m: m("words"),
        lambda m: type(m)(5, 9, dropout=2.0),
        lambda m: type(m)(5, 0),
        lambda m: type(m)(5, 9, proj_size=-1),
        lambda m: type(m)(5, 9, hidden=1),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_torchs_type_and_words(kind: str, call: Any) -> None:
    theirs, ours = pair(kind, {})
    with pytest.raises(Exception) as expected:  # noqa: PT011
        call(theirs)
    with pytest.raises(type(expected.value)) as got:
        call(ours)
    assert type(got.value) is type(expected.value)
    assert str(got.value) == str(expected.value)


def test_packed_inputs_of_a_wrong_size_are_refused_where_torch_reads_foreign_memory() -> None:
    with pytest.raises(RuntimeError, match="Expected 5, got 6"):
        recurra.nn.LSTM(5, 9)(pack_sequence([torch.randn(4, 6)]))


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(("kind", "options"), CASES)
def test_a_ragged_batch_gives_what_each_sequence_gives_alone(kind: str, options: dict[str, Any]) -> None:
    theirs, ours = pair(kind, options)
    dtype = ours.weight_ih_l0.dtype
    sequences = [torch.randn(length, 5, dtype=dtype) for length in (4, 0, 6, 1)]
    state = random_state(ours, 4)
    for _ in range(3):  # the last time all is known
        outputs, last = ours.eval()(recurra.Ragged.from_list(sequences), state)
    fields = state if kind == "LSTM" else (state,)
    for index, sequence in enumerate(sequences):
        mine = tuple(field[:, index : index + 1] for field in fields)
        if len(sequence) == 0:
            expected, expected_last = sequence.new_zeros(0, outputs.values.shape[1]), mine
        else:
            line = sequence[None] if ours.batch_first else sequence[:, None]
            expected, expected_last = theirs.eval()(line, mine if kind == "LSTM" else mine[0])
            expected = expected[0] if ours.batch_first else expected[:, 0]
            expected_last = expected_last if kind == "LSTM" else (expected_last,)
        assert_close(outputs[index], expected)
        for got, want in zip(last if kind == "LSTM" else (last,), expected_last, strict=True):
            assert_close(got[:, index : index + 1], want)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reset_in_a_ragged_batch_begins_anew(kind: str) -> None:
    _, ours = pair(kind, {"bidirectional": True})
    values = torch.randn(7, 5)
    whole = recurra.Ragged(values, torch.tensor([0, 7]), torch.tensor([3]))
    outputs, _ = ours(whole)
    apart, _ = ours(recurra.Ragged(values, torch.tensor([0, 3, 7])))
    assert_close(outputs.values, apart.values)


def test_dropout_between_layers_of_a_ragged_batch_acts_in_training_only() -> None:
    lstm = recurra.nn.LSTM(5, 9, num_layers=2, dropout=0.5)
    x = recurra.Ragged.from_list([torch.randn(4, 5), torch.randn(6, 5)])
    assert not torch.equal(lstm(x)[0].values, lstm(x)[0].values)
    lstm.eval()
    assert torch.equal(lstm(x)[0].values, lstm(x)[0].values)


def test_a_ragged_batch_that_does_not_fit_is_refused() -> None:
    x = recurra.Ragged.from_list([torch.randn(4, 5)])
    with pytest.raises(ShapeError, match=r"`input.values` must have shape \[N, I=7\]"):
        recurra.nn.GRU(7, 9)(x)
    with pytest.raises(ShapeError, match=r"`hx` must have shape \[1, 1, 9\] and \[1, 1, 9\], got \[1, 2, 9\]"):
        recurra.nn.LSTM(5, 9)(x, (torch.zeros(1, 2, 9), torch.zeros(1, 1, 9)))


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_are_found_without_memory(kind: str) -> None:
    ours, x = getattr(recurra.nn, kind)(5, 9, device="meta"), torch.randn(20, 3, 5, device="meta")
    outputs, _ = ours(x)
    assert outputs.is_meta
    cell = getattr(recurra, kind)(5, 9).to("meta")
    assert recurra.scan(cell, x)[0].shape == outputs.shape == (20, 3, 9)
