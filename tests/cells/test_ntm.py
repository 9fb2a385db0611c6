"""What is special to the Neural Turing Machine: where heads look, what it begins with, that nothing overflows."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import recurra
from recurra.cells import GRU, LSTM, NTM, LearnedInitialState, Zoneout, make_cell
from recurra.errors import ConfigError, ShapeError
from tests.tolerance import assert_close


def run(cell: Any, x: Any, state: Any = None) -> list[tuple[Any, Any]]:
    """Outputs and states, step by step."""
    steps = []
    for row in x:
        output, state = cell(row, state)
        steps.append((output, state))
    return steps


def set_interface(cell: NTM, **values: float | list[float]) -> None:
    """Heads that do the same whatever comes: the controller has no say, parts of the interface are set by name."""
    rows = dict(
        zip(cell._parts, cell.interface.bias.split([_size(shape) for shape in cell._parts.values()]), strict=True)
    )
    with torch.no_grad():
        cell.interface.weight.zero_()
        cell.interface.bias.zero_()
        for name, value in values.items():
            rows[name].copy_(torch.as_tensor(value))


def _size(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


def test_weightings_are_distributions_at_every_step() -> None:
    cell = NTM(3, 5, memory_size=7, word_size=4, num_reads=2, num_writes=3, shift_range=2)
    for _, state in run(cell, 3 * torch.randn(40, 2, 3)):
        for weights in (state.read_weights, state.write_weights):
            assert weights.min() >= 0
            assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


def test_a_head_that_only_shifts_moves_one_slot_a_step_around_the_ring() -> None:
    cell = NTM(3, 5, memory_size=4, word_size=2, learned_start=False)
    set_interface(cell, gates=-20.0, shifts=[-20.0, -20.0, 20.0] * 2)
    places = [state.write_weights[0, 0].argmax().item() for _, state in run(cell, torch.zeros(5, 1, 3))]
    assert places == [1, 2, 3, 0, 1]


def test_a_head_that_looks_for_content_finds_the_word() -> None:
    cell = NTM(3, 5, memory_size=4, word_size=3)
    set_interface(cell, keys=[0.5, -2.0, 1.0] * 2, strengths=20.0, gates=20.0, shifts=[-20.0, 20.0, -20.0] * 2)
    memory = torch.eye(4, 3)[None]
    memory[0, 2] = 2 * torch.tanh(torch.tensor([0.5, -2.0, 1.0]))
    _, state = cell(torch.zeros(1, 3), cell.initial_state(1)._replace(memory=memory))
    assert state.read_weights[0, 0, 2] > 0.99
    assert (state.reads[0, 0] - memory[0, 2]).abs().max() < 0.05


def test_what_is_written_can_be_read_and_erased() -> None:
    cell = NTM(3, 5, memory_size=4, word_size=2, learned_start=False)
    stay = [-20.0, 20.0, -20.0] * 2
    set_interface(cell, gates=-20.0, shifts=stay, erase=20.0, add=[0.5, -0.5])
    (_, first), (_, second) = run(cell, torch.zeros(2, 1, 3))
    word = torch.tensor([0.5, -0.5]).tanh()
    assert_close(first.memory[0, 0], word, relative=1e-5)
    assert_close(second.reads[0, 0], word, relative=1e-5)
    assert_close(second.memory[0, 0], word, relative=1e-5)  # erased before it is added again


def test_a_higher_power_makes_a_weighting_sharper() -> None:
    blurred, sharp = (NTM(3, 5, memory_size=5, word_size=2, learned_start=False) for _ in range(2))
    for cell, power in ((blurred, -20.0), (sharp, 5.0)):
        set_interface(cell, gates=-20.0, shifts=[-1.0, 1.0, -1.0] * 2, powers=power)
    of_blurred, of_sharp = (run(cell, torch.zeros(6, 1, 3))[-1][1].read_weights.max() for cell in (blurred, sharp))
    assert of_sharp > 0.99 > 0.6 > of_blurred


@pytest.mark.parametrize("kind", ["constant", "learned", "random"])
def test_the_memory_begins_the_same_for_every_sequence(kind: Any) -> None:
    cell = NTM(3, 5, memory_size=4, word_size=2, initial_memory=kind)
    state, again = cell.initial_state(3), copy.deepcopy(cell).initial_state(3)
    assert torch.equal(state.memory[0], state.memory[2])
    assert torch.equal(state.memory, again.memory)
    assert state.memory.requires_grad == (kind == "learned")
    assert torch.equal(state.memory, torch.full((3, 4, 2), 1e-6)) == (kind == "constant")
    other = NTM(3, 5, memory_size=4, word_size=2, initial_memory=kind)
    other.load_state_dict(cell.state_dict())
    assert torch.equal(other.initial_state(3).memory, state.memory)


def test_gradients_reach_every_parameter() -> None:
    cell = NTM(3, 5, memory_size=6, word_size=4, num_writes=2, initial_memory="learned")
    outputs, _ = recurra.scan(cell, torch.randn(8, 2, 3), engine="reference")
    outputs.square().sum().backward()
    for name, parameter in cell.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("size", [1.0, 1e3, 1e6, 1e30])
def test_numbers_of_any_size_leave_it_finite_forward_and_backward(size: float) -> None:
    cell = NTM(3, 6, memory_size=5, word_size=4, num_reads=2)
    with torch.no_grad():
        cell.interface.weight.mul_(100)
    x = (size * torch.randn(60, 2, 3)).requires_grad_()
    outputs, state = recurra.scan(cell, x, engine="reference")
    outputs.sum().backward()
    for value in (outputs, *state, x.grad, *(parameter.grad for parameter in cell.parameters())):
        assert value.isfinite().all()


@pytest.mark.parametrize("controller", ["gru", "rnn", "ntm"])
def test_any_cell_by_name_controls(controller: str) -> None:
    cell = make_cell("ntm", 3, 5, controller=controller, memory_size=8, word_size=4)
    outputs, state = recurra.scan(cell, torch.randn(4, 2, 3), engine="reference")
    assert outputs.shape == (4, 2, 5)
    inner = cell.controller.State._fields
    assert state._fields == ("memory", "reads", "read_weights", "write_weights", *(f"controller_{f}" for f in inner))


def test_a_cell_in_wrappers_controls_and_is_cloned() -> None:
    inner = LearnedInitialState(Zoneout(GRU(3 + 2 * 4, 5), 0.3))
    cell = NTM(3, 5, controller=inner, memory_size=8, word_size=4, num_reads=2)
    assert cell.controller is inner
    clone = cell.clone(input_size=6, hidden_size=7)
    assert clone.controller.input_size == 6 + 2 * 4
    assert clone.controller.hidden_size == clone.output_size == 7
    assert not set(map(id, clone.parameters())) & set(map(id, cell.parameters()))
    outputs, _ = recurra.scan(clone, torch.randn(4, 2, 6), engine="reference")
    assert outputs.shape == (4, 2, 7)


def test_an_ntm_can_be_wrapped_and_stacked() -> None:
    network = recurra.Recurrent(
        Zoneout(NTM(3, 5, memory_size=6, word_size=4), p={"controller_h": 0.2}), num_layers=2, engine="reference"
    )
    outputs, state = network(torch.randn(4, 2, 3))
    again, _ = network.eval()(torch.randn(4, 2, 3), state)
    assert outputs.shape == again.shape == (4, 2, 5)


def test_states_are_copied_and_taken_back() -> None:
    cell = NTM(3, 5, memory_size=6, word_size=4)
    x = torch.randn(6, 2, 3)
    whole, _ = recurra.scan(cell, x, engine="reference")
    _, state = recurra.scan(cell, x[:4], engine="reference")
    with torch.no_grad():
        twin = copy.deepcopy(type(state)(*(field.detach() for field in state)))
    assert_close(recurra.scan(cell, x[4:], twin, engine="reference")[0], whole[4:])
    with pytest.raises(ShapeError, match=r"`state` of `NTM` must be NTMState\(memory, reads, .*controller_c\)"):
        recurra.scan(cell, x, LSTM(3, 5).initial_state(2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"word_size": 0}, r"`word_size` must be a whole number of at least 1, got 0\."),
        ({"memory_size": 2.5}, r"`memory_size` must be a whole number of at least 1, got 2\.5\."),
        ({"num_reads": 9}, r"`num_reads=9` is more heads than a memory of 8 slots can hold: give it at most 8"),
        ({"num_writes": 9}, r"`num_writes=9` is more heads than a memory of 8 slots can hold"),
        ({"shift_range": 4}, r"`shift_range` must be at most 3, or shifts overlap on the ring of 8 slots, got 4\."),
        ({"initial_memory": "constnat"}, r"`initial_memory` must be .*Did you mean `constant`"),
        ({"clip": 0}, r"`clip` must be a number above 0, got 0\."),
        ({"controller": "lstmm"}, r"Unknown cell `lstmm`\. Did you mean .*`lstm`"),
        ({"controller": None}, r"`controller` must be the name of a cell or a recurra\.Cell, got a NoneType"),
        (
            {"controller": LSTM(3, 5)},
            r"`controller` must take I \+ R W = 7 numbers and have 5 units, .*; got `LSTM` with 3 and 5",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        NTM(3, 5, **{"memory_size": 8, "word_size": 4, **options})


@pytest.mark.parametrize("kind", ["ntm", "dnc"])
@pytest.mark.parametrize("initial_memory", ["constant", "learned", "random"])
def test_a_cell_is_drawn_anew_as_it_was_made(kind: str, initial_memory: str) -> None:
    options = {"initial_memory": initial_memory} if kind == "ntm" else {}
    torch.manual_seed(5)
    made = make_cell(kind, 3, 4, memory_size=5, word_size=2, **options)
    again: Any = copy.deepcopy(made)
    with torch.no_grad():
        for weight in again.state_dict().values():
            weight.zero_()

    torch.manual_seed(5)
    again.reset_parameters()

    for name, weight in made.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
