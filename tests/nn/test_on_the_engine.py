"""recurra.nn where it leaves torch's kernels for the compiled engine."""

from __future__ import annotations

import copy
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from recurra.engine import torch_kernels
from recurra.nn import stack
from recurra.ragged import Ragged
from tests.nn.test_recurrent import CASES, KINDS, assert_equal_modules, flat, pair, random_state
from tests.tolerance import assert_close

STEPS = 70  # from 64 on packed sequences, too, run on the engine, trained or not


@pytest.fixture(autouse=True)
def _products_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """An LSTM runs on the engine too, whatever the processor."""
    monkeypatch.setattr(torch_kernels, "outruns_mkl", lambda: True)


def is_compiled(output: Any) -> bool:
    """Whether the compiled engine made an output, or what it was made of."""
    seen, stack_ = set(), [tensor.grad_fn for tensor in flat(output)]
    while stack_:
        node = stack_.pop()
        if node is not None and node not in seen:
            seen.add(node)
            stack_ += [parent for parent, _ in node.next_functions]
    return any(type(node).__name__ == "_ScanBackward" for node in seen)


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(("kind", "options"), CASES)
def test_padded_and_unbatched_inputs_give_torchs_numbers(kind: str, options: dict[str, Any]) -> None:
    theirs, ours = pair(kind, options)
    dtype, batch_first = ours.weight_ih_l0.dtype, ours.batch_first
    x = torch.randn(*((4, STEPS) if batch_first else (STEPS, 4)), 5, dtype=dtype)
    assert is_compiled(ours(x))
    assert_equal_modules(theirs, ours, x)
    assert_equal_modules(theirs, ours, x, random_state(ours, 4))
    line, state = torch.randn(STEPS, 5, dtype=dtype), random_state(ours, 1)
    assert is_compiled(ours(line))
    assert_equal_modules(theirs, ours, line)
    assert_equal_modules(theirs, ours, line, tuple(field[:, 0] for field in state) if kind == "LSTM" else state[:, 0])


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_packed_inputs_give_torchs_numbers_with_the_same_seed(kind: str, options: dict[str, Any]) -> None:
    theirs, ours = pair(kind, options)
    dtype = ours.weight_ih_l0.dtype
    packed = pack_sequence([torch.randn(n, 5, dtype=dtype) for n in (3, STEPS, 1, 19)], enforce_sorted=False)
    assert is_compiled(ours(packed))
    for state in (None, random_state(ours, 4)):
        assert_equal_modules(theirs, ours, packed, state)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_of_the_input_and_of_a_gradient_is_torchs(kind: str) -> None:
    theirs, ours = pair(kind, {"bidirectional": True, "dtype": torch.float64})
    x = torch.randn(STEPS, 1, 5, dtype=torch.float64)
    found = []
    for module in (theirs, ours):
        leaf = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(module(leaf)[0].square().sum(), leaf, create_graph=True)
        found.append([slope, *torch.autograd.grad(slope.square().sum(), module.parameters())])
    for got, want in zip(found[1], found[0], strict=True):
        assert_close(got, want)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences_are_run_where_they_stand(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = pair(kind, {"num_layers": 2, "bidirectional": True})
    monkeypatch.setattr(Ragged, "from_packed", None)  # nothing is sorted
    order = torch.tensor([2, 0, 1])
    for sizes in ([3, 3, 3, 3], [3, 3, 2, 2, 2, 1, 1, 1, 1]):
        packed = PackedSequence(torch.randn(sum(sizes), 5), torch.tensor(sizes), order, order.argsort())
        assert is_compiled(ours(packed))
        for state in (None, random_state(ours, 3)):
            assert_equal_modules(theirs, ours, packed, state)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_one_by_one_give_the_numbers_of_all_at_once(kind: str) -> None:
    theirs, ours = pair(kind, {})
    x, state = torch.randn(9, 2, 5), random_state(ours, 2)
    want, last = theirs(x, state)
    with torch.no_grad():
        for values, expected in zip(x.split([1, 1, 1, 2, 2, 2]), want.split([1, 1, 1, 2, 2, 2]), strict=True):
            outputs, state = ours(values, state)
            assert_close(outputs, expected)
    for got, expected in zip(flat(state), flat(last), strict=True):
        assert_close(got, expected)


@pytest.mark.filterwarnings("ignore:`torch.jit.trace", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_very_few_steps_and_what_looks_on_stay_with_torch(kind: str) -> None:
    theirs, ours = pair(kind, {})
    many = torch.randn(STEPS, 2, 5)
    fewest = {"LSTM": 1, "GRU": 2, "RNN": 4}[kind]
    for steps in range(1, 5):
        few = many[:steps]
        assert is_compiled(ours(few)) == (steps >= fewest)
        assert_close(ours(few)[0], theirs(few)[0])
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_compiled(ours(many))
    traced = torch.jit.trace(ours, many)
    assert_close(traced(many)[0], theirs(many)[0])
    mine, other = (torch.func.grad(lambda x, m=module: m(x)[0].sum())(many) for module in (ours, theirs))
    assert_close(mine, other)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_those_of_the_moment(kind: str) -> None:
    theirs, ours = pair(kind, {"num_layers": 2})
    x = torch.randn(STEPS, 3, 5)
    before = ours(x)[0]
    twin = copy.deepcopy(ours)
    for module in (theirs, ours):
        with torch.no_grad():
            module.weight_hh_l0.mul_(0.5)
        module.weight_ih_l1 = nn.Parameter(module.weight_ih_l1.detach() + 0.25)
    assert_close(ours(x)[0], theirs(x)[0])
    assert torch.equal(twin(x)[0], before)
    other = {name: weight * 0.5 for name, weight in theirs.named_parameters()}
    assert_close(torch.func.functional_call(ours, other, (x,))[0], torch.func.functional_call(theirs, other, (x,))[0])
    assert_close(ours(x)[0], theirs(x)[0])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_calls_like_one_before_give_torchs_numbers_with_the_same_seed(kind: str, bidirectional: bool) -> None:
    theirs, ours = pair(kind, {"num_layers": 3, "dropout": 0.5, "bidirectional": bidirectional})
    for batch_size in (1, 4, 1, 4, 1, 4):
        x = torch.randn(STEPS, batch_size, 5)
        for state in (None, random_state(ours, batch_size)):
            assert_equal_modules(theirs, ours, x, state)
    x = torch.randn(STEPS, 1, 5)
    for module in (theirs, ours):  # what is known of the first layer alone no longer holds for the others
        module.weight_ih_l1 = nn.Parameter(module.weight_ih_l1.detach().t().contiguous().t() + 0.25)
    assert is_compiled(ours(x))
    assert_equal_modules(theirs, ours, x)
    for module in (theirs, ours):
        module.weight_hh_l1 = nn.Parameter(module.weight_hh_l1.detach().double())
        with pytest.raises((RuntimeError, ValueError), match="dtype"):
            module(x)


@pytest.mark.parametrize("kind", KINDS)
def test_parametrized_and_frozen_weights_get_torchs_gradients(kind: str) -> None:
    theirs, ours = pair(kind, {})
    found = []
    for module in (theirs, ours):
        parametrizations.weight_norm(module, "weight_hh_l0")
        module.bias_ih_l0.requires_grad_(False)
        outputs = module(torch.ones(STEPS, 2, 5))[0]
        assert is_compiled(outputs) == (module is ours)
        outputs.square().sum().backward()
        found.append([parameter.grad for parameter in module.parameters()])
    for got, want in zip(found[1], found[0], strict=True):
        assert (got is None) == (want is None)
        if got is not None:
            assert_close(got, want)


def test_several_threads_run_one_module_at_once() -> None:
    theirs, ours = pair("GRU", {"num_layers": 2})
    batches = [torch.randn(50, n, 5) for n in (1, 2, 3, 4)]
    want = [theirs(x)[0] for x in batches]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for got, expected in zip(pool.map(lambda x: ours(x)[0], batches), want, strict=True):
                assert_close(got, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_engine_is_in_the_module(kind: str) -> None:
    _, ours = pair(kind, {})
    before = set(ours.__dict__), list(ours.state_dict()), torch.get_rng_state()
    ours(torch.ones(STEPS, 2, 5))
    assert (set(ours.__dict__), list(ours.state_dict())) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert len(list(ours.modules())) == 1


def test_a_state_that_does_not_fit_is_refused_in_torchs_words() -> None:
    theirs, ours = pair("LSTM", {})
    x = torch.randn(STEPS, 2, 5)
    for state in (torch.zeros(1, 2, 9), (torch.zeros(1, 3, 9), torch.zeros(1, 2, 9)), (torch.zeros(1, 2, 9),) * 3):
        with pytest.raises((RuntimeError, IndexError)) as expected:
            theirs(x, state)
        with pytest.raises(type(expected.value)) as got:
            ours(x, state)
        assert str(got.value) == str(expected.value)
    assert stack.run_faster(ours, x.double()) is None
    assert stack.run_faster(ours, torch.randn(STEPS, 0, 5)) is None


def test_a_module_that_is_gone_takes_its_cells_along() -> None:
    module = pair("GRU", {})[1]
    module(torch.ones(STEPS, 2, 5))[0].sum().backward()
    gone = [weakref.ref(each) for each in (module, module.weight_ih_l0, *stack._cells.of[module].values())]
    del module
    gc.collect()
    assert [each() for each in gone] == [None] * len(gone)
