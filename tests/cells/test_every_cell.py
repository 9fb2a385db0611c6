"""Every registered cell, with every option that changes its equations, through the same checks."""

from __future__ import annotations

import copy
import importlib
import inspect
import io
import pickle
import pkgutil
import warnings
from typing import Any

import pytest
import torch
from torch import nn

import recurra
import recurra.cells
from recurra.cells import CELLS, LearnedInitialState, Wrapper, Zoneout, cell_sources, make_cell
from recurra.cells.conv import ConvCell
from recurra.cells.memory_cell import MemoryCell
from recurra.cells.min_rnn import MinCell
from recurra.cells.torch_layout import TorchLayoutCell
from recurra.errors import ConfigError
from tests.cells.equations import TABLE
from tests.tolerance import assert_close

IDS = [
    f"{name}-{'-'.join(f'{key}={value}' for key, value in options.items()) or 'plain'}" for name, options, _ in TABLE
]
every_cell = pytest.mark.parametrize(("name", "options", "equations"), TABLE, ids=IDS)
ABSTRACT = {ConvCell, MemoryCell, MinCell, TorchLayoutCell, Wrapper}  # never made themselves


def make(name: str, options: dict[str, Any], input_size: int = 4, hidden_size: int = 6) -> Any:
    cell = make_cell(name, input_size, hidden_size, **options).double()
    for parameter in cell.parameters():  # no gain of 1, no shift of 0: nothing may hide
        nn.init.normal_(parameter, std=0.9 / hidden_size**0.5)  # and below chaos, which would amplify rounding
    return cell


def random_state(cell: Any, batch_size: int) -> Any:
    """Where some steps on random inputs lead: any numbers would do for most cells, but a weighting has its limits."""
    state = None
    with torch.no_grad():
        for _ in range(3):
            _, state = cell(torch.randn(batch_size, *cell.input_shape).double(), state)
    return state


def defined_cells() -> set[type]:
    modules = [
        importlib.import_module(f"recurra.cells.{module.name}")
        for module in pkgutil.iter_modules(recurra.cells.__path__)
    ]
    classes = {kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)}
    return {kind for kind in classes if issubclass(kind, recurra.Cell) and kind.__module__.startswith("recurra.cells")}


def test_every_cell_is_registered_has_equations_and_a_source() -> None:
    plain = {kind for kind in defined_cells() - ABSTRACT if not issubclass(kind, Wrapper)}
    assert plain == set(CELLS.values())
    assert {name for name, _, _ in TABLE} == set(CELLS)
    for name in CELLS:
        for source in cell_sources(name):
            assert source.key in source.bibtex()
            assert source.title
        assert cell_sources(name)


def test_every_wrapper_of_a_paper_has_its_source_and_is_public() -> None:
    wrappers = {kind for kind in defined_cells() - ABSTRACT if issubclass(kind, Wrapper)}
    assert len(wrappers) == 5
    for kind in wrappers:
        assert kind.__name__ in recurra.cells.__all__
        assert kind.source is not None or kind is recurra.cells.LearnedInitialState


@every_cell
def test_a_step_is_the_equations_of_the_paper(name: str, options: dict[str, Any], equations: Any) -> None:
    cell = make(name, options)
    x, state = torch.randn(3, *cell.input_shape).double(), random_state(cell, 3)
    output, after = cell(x, state)
    weights = {key: value.detach().numpy() for key, value in cell.state_dict().items()}
    if "bias_ih" in weights:  # the equations of the cells in torch's layout have two biases
        weights.setdefault("bias_hh", 0 * weights["bias_ih"])
    for row in range(3):
        expected = equations(weights, x[row].numpy(), *(field[row].numpy() for field in state))
        for got, want in zip((output, *after), expected, strict=True):
            assert_close(got[row], torch.from_numpy(want), relative=1e-12)


@every_cell
def test_gradients_of_a_scan_are_right(name: str, options: dict[str, Any], equations: Any) -> None:
    cell = make(name, options, 3, 6)  # the sizes of the tests of the engine, which then compile nothing anew
    x = torch.randn(3, 2, *cell.input_shape).double().requires_grad_()
    state = tuple(field.requires_grad_() for field in random_state(cell, 2))
    lengths = torch.tensor([3, 2])

    def run(x: Any, *fields: Any) -> Any:
        outputs, after = recurra.scan(cell, x, fields, lengths=lengths)
        return outputs, *after

    with warnings.catch_warnings():
        if options.get("storage") == "sparse":  # no compiled form with a gradient, and it says so
            warnings.simplefilter("ignore")
        assert torch.autograd.gradcheck(run, (x, *state))


@every_cell
@pytest.mark.parametrize("sizes", [(1, 1, 1), (23, 3, 18)], ids=str)  # 18 leaves a vector tail
def test_a_scan_is_the_step_again_and_again(
    name: str, options: dict[str, Any], equations: Any, sizes: tuple[int, int, int]
) -> None:
    num_steps, batch_size, hidden_size = sizes
    try:
        cell = make(name, options, 3, hidden_size)
    except ConfigError:  # a projection or heads that do not go with so few units
        cell = make(name, {}, 3, hidden_size)
    x, state = torch.randn(num_steps, batch_size, *cell.input_shape).double(), random_state(cell, batch_size)
    outputs, last = recurra.scan(cell, x, state)
    for t in range(num_steps):
        output, state = cell(x[t], state)
        assert_close(outputs[t], output)
    assert isinstance(last, cell.State)
    for got, want in zip(last, state, strict=True):
        assert_close(got, want)


@every_cell
def test_wrappers_change_the_free_fields_alone(name: str, options: dict[str, Any], equations: Any) -> None:
    cell = make(name, options)
    assert set(cell.free_fields) <= set(cell.State._fields)
    if not cell.free_fields:
        for wrap in (lambda: Zoneout(cell, 0.5), lambda: LearnedInitialState(cell)):
            with pytest.raises(ConfigError, match=f"No field of the state of `{type(cell).__name__}` is free"):
                wrap()
        return
    x, state = torch.randn(2, *cell.input_shape).double(), random_state(cell, 2)
    new, kept = cell(x, state)[1], Zoneout(cell, 1.0)(x, state)[1]
    for field in cell.State._fields:
        assert torch.equal(getattr(kept, field), getattr(state if field in cell.free_fields else new, field)), field
    assert set(LearnedInitialState(cell).initial) == set(cell.free_fields)


def test_what_is_no_number_of_its_own_is_not_free() -> None:
    bound = {"clockwork": ("t",), "slstm": ("c", "n", "m"), "mlstm": ("C", "n", "m"), "qrnn": ("ahead_1",)}
    for name in CELLS:
        options: dict[str, Any] = {"size": (2, 2)} if name.startswith("conv") else {}
        cell = make_cell(name, 3, 4, **options)
        expected = bound.get(name, getattr(cell, "own_fields", ()))
        assert tuple(field for field in cell.State._fields if field not in cell.free_fields) == expected


@every_cell
def test_cells_and_states_are_pickled(name: str, options: dict[str, Any], equations: Any) -> None:
    cell = make(name, options)
    state = random_state(cell, 2)
    twin, again = pickle.loads(pickle.dumps((cell, state)))
    saved = io.BytesIO()
    torch.save({"state": state}, saved)
    saved.seek(0)
    loaded = torch.load(saved, weights_only=True)["state"]
    assert type(again) is type(state) is type(loaded)
    assert all(map(torch.equal, loaded, state))
    x = torch.randn(2, *cell.input_shape).double()
    assert_close(twin(x, again)[0], cell(x, state)[0])


@every_cell
def test_weights_are_saved_copied_and_loaded(name: str, options: dict[str, Any], equations: Any) -> None:
    cell = make(name, options)
    x = torch.randn(5, 2, *cell.input_shape).double()
    expected = recurra.scan(cell, x, engine="reference")[0]
    other = make(name, options)
    other.load_state_dict(cell.state_dict())
    for twin in (other, copy.deepcopy(cell)):
        assert torch.equal(recurra.scan(twin, x, engine="reference")[0], expected)


@every_cell
def test_a_clone_is_of_the_same_kind_with_new_weights(name: str, options: dict[str, Any], equations: Any) -> None:
    cell = make(name, options)
    clone = cell.clone(input_size=9)
    assert type(clone) is type(cell)
    assert (clone.input_size, clone.hidden_size, clone.output_size) == (9, cell.hidden_size, cell.output_size)
    assert {key for key, _ in clone.named_parameters()} == {key for key, _ in cell.named_parameters()}
    assert not set(map(id, clone.parameters())) & set(map(id, cell.parameters()))
    assert all(f"{option}={value!r}" in repr(clone) for option, value in options.items())


@pytest.mark.parametrize(("name", "kind"), [("rnn", nn.RNNCell), ("lstm", nn.LSTMCell), ("gru", nn.GRUCell)])
@pytest.mark.parametrize("bias", [True, False])
def test_weights_begin_as_those_of_torchs_cell_with_the_same_seed(name: str, kind: Any, bias: bool) -> None:
    torch.manual_seed(5)
    theirs = kind(4, 6, bias=bias)
    torch.manual_seed(5)
    ours = make_cell(name, 4, 6, bias=bias)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value)


def test_a_projected_lstm_begins_as_torchs_with_the_same_seed() -> None:
    torch.manual_seed(5)
    theirs = nn.LSTM(4, 6, proj_size=2)
    torch.manual_seed(5)
    ours = make_cell("lstm", 4, 6, proj_size=2)
    for got, want in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(got, want)
