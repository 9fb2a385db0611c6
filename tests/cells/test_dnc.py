"""What is special to the Differentiable Neural Computer: allocation, links, freeing, and that nothing overflows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import recurra
from recurra.cells import DNC, LSTM, NTM, WeightDrop, make_cell
from recurra.cells.addressing import allocation, sharpen
from recurra.errors import ConfigError
from tests.cells.equations.memory import allocated
from tests.cells.test_ntm import run, set_interface
from tests.tolerance import assert_close

REMEDIES = {"masked_content": True, "deallocation": True, "sharpen_links": True}
options = pytest.mark.parametrize("options", [{}, REMEDIES], ids=["plain", "remedies"])


def earlier(slots: int) -> torch.Tensor:
    return torch.ones(slots, slots, dtype=torch.float64).tril(-1)


@options
def test_weightings_usage_and_links_keep_within_their_limits(options: dict[str, Any]) -> None:
    cell = DNC(3, 5, memory_size=6, word_size=4, num_reads=3, **options)
    with torch.no_grad():
        cell.interface.weight.mul_(10)
    with torch.no_grad():
        steps = run(cell, 3 * torch.randn(200, 4, 3))
    for _, state in steps:
        for weights in (state.read_weights, state.write_weights, state.precedence, state.links, state.links.mT):
            assert weights.min() >= -1e-6
            assert weights.sum(-1).max() <= 1 + 1e-5
        assert 0 <= state.usage.min() <= state.usage.max() <= 1
        assert (state.links.diagonal(dim1=1, dim2=2) == 0).all()


@pytest.mark.parametrize("slots", [1, 2, 5, 16])
def test_allocation_is_the_sorted_one_of_the_paper(slots: int) -> None:
    usage = torch.rand(64, slots, dtype=torch.float64)
    usage[:16] = usage[:16].round(decimals=1)  # ties, zeros and ones
    usage[16:20] = usage[16:20].round()
    expected = torch.stack([torch.from_numpy(allocated(row.numpy())) for row in usage])
    assert_close(allocation(usage, earlier(slots)), expected, relative=1e-12)


def test_allocation_prefers_the_free_slots_in_their_order() -> None:
    usage = torch.tensor([[1.0, 0.0, 0.5, 0.0], [0.9, 0.8, 0.2, 0.4]]).double()
    weights = allocation(usage, earlier(4))
    assert weights[0].argmax() == 1
    assert_close(weights[0], torch.tensor([0.0, 1.0, 0.0, 0.0]).double())
    assert weights[1].argsort(descending=True).tolist() == [2, 3, 1, 0]


def test_rounding_does_not_choose_among_slots_that_are_used_alike() -> None:
    usage = torch.full((1, 4), 0.3).double()
    noisy = usage + 1e-9 * torch.tensor([[1.0, -1.0, 0.0, -2.0]])
    assert_close(allocation(noisy, earlier(4)), allocation(usage, earlier(4)), relative=1e-7)


def test_nothing_is_allocated_where_all_is_used() -> None:
    assert_close(allocation(torch.ones(1, 5).double(), earlier(5)), torch.zeros(1, 5).double())


def test_gradients_of_allocation_are_right() -> None:
    usage = torch.rand(3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u: allocation(u, earlier(6)), usage)
    empty = torch.zeros(1, 4, requires_grad=True)
    allocation(empty, earlier(4).float()).square().sum().backward()
    assert empty.grad is not None
    assert empty.grad.isfinite().all()


def test_a_writer_by_allocation_fills_slot_after_slot_and_links_them() -> None:
    cell = DNC(3, 5, memory_size=4, word_size=2)
    set_interface(cell, allocation_gate=20.0, write_gate=20.0, free_gates=-20.0, write=[1.0, 2.0])
    states = [state for _, state in run(cell, torch.zeros(4, 1, 3))]
    assert [state.write_weights[0, 0].argmax().item() for state in states] == [0, 1, 2, 3]
    last = states[-1]
    assert_close(last.memory[0], torch.tensor([1.0, 2.0]).expand(4, 2), relative=1e-4)
    assert_close(last.links[0], torch.ones(4).diag(-1)[:4, :4], relative=1e-4)
    assert_close(last.precedence[0], torch.tensor([0.0, 0.0, 0.0, 1.0]), relative=1e-4)


@pytest.mark.parametrize(("mode", "expected"), [(0, 0), (2, 2)], ids=["backward", "forward"])
@pytest.mark.parametrize("sharpen_links", [False, True])
def test_read_heads_follow_the_links(mode: int, expected: int, sharpen_links: bool) -> None:
    cell = DNC(3, 5, memory_size=4, word_size=2, sharpen_links=sharpen_links)
    modes = torch.full((3,), -20.0)
    modes[mode] = 20.0
    set_interface(cell, write_gate=-20.0, modes=modes)
    chain = torch.ones(3).diag(-1)[None]  # slot 1 was written after 0, 2 after 1
    state = cell.initial_state(1)._replace(links=chain, read_weights=torch.tensor([[[0.0, 1.0, 0.0, 0.0]]]))
    _, state = cell(torch.zeros(1, 3), state)
    assert state.read_weights[0, 0, expected] > 0.99


@pytest.mark.parametrize("deallocation", [False, True])
def test_a_freed_slot_is_free_and_with_deallocation_empty(deallocation: bool) -> None:
    cell = DNC(3, 5, memory_size=3, word_size=2, deallocation=deallocation)
    set_interface(cell, write_gate=-20.0, free_gates=20.0)
    state = cell.initial_state(1)._replace(
        usage=torch.ones(1, 3), memory=torch.ones(1, 3, 2), read_weights=torch.tensor([[[0.0, 1.0, 0.0]]])
    )
    _, state = cell(torch.zeros(1, 3), state)
    assert_close(state.usage[0], torch.tensor([1.0, 0.0, 1.0]))
    assert_close(state.memory[0, 1], torch.zeros(2) if deallocation else torch.ones(2), relative=1e-5)


def test_a_mask_finds_words_by_the_part_that_it_leaves() -> None:
    cell = DNC(3, 5, memory_size=2, word_size=2, masked_content=True)
    memory = torch.tensor([[[1.0, 9.0], [-1.0, 1.0]]])  # the key is all [1, 1]; its first number fits slot 0 alone
    read = {"read_keys": [1.0, 1.0], "read_strengths": 20.0, "modes": [-20.0, 20.0, -20.0], "write_gate": -20.0}
    found = []
    for mask in ([20.0, -20.0], [-20.0, 20.0]):
        set_interface(cell, **read, read_masks=mask)  # type: ignore[arg-type]
        found.append(cell(torch.zeros(1, 3), cell.initial_state(1)._replace(memory=memory))[1].read_weights[0, 0])
    assert found[0][0] > 0.99
    assert_close(found[1], torch.tensor([0.5, 0.5]), relative=1e-4)


def test_sharpening_makes_equal_numbers_of_nothing() -> None:
    zeros = torch.zeros(1, 1, 4, requires_grad=True)
    weights = sharpen(zeros, torch.full((1, 1), 3.0), 1e-6)
    assert_close(weights, torch.full((1, 1, 4), 0.25))
    weights[..., 0].sum().backward()
    assert zeros.grad is not None
    assert zeros.grad.isfinite().all()


@pytest.mark.parametrize("kind", [DNC, NTM])
@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_bypass_dropout_hides_units_from_the_output_and_from_nothing_else(kind: Any, engine: Any) -> None:
    cell = kind(3, 8, memory_size=5, word_size=2, bypass_dropout=0.25).double()
    with torch.no_grad():  # the output is the controller's
        cell.output.weight.copy_(torch.eye(8, 8 + 2))
        cell.output.bias.zero_()
    x = torch.randn(40, 16, 3).double()

    first, state = recurra.scan(cell, x, engine=engine)
    second, _ = recurra.scan(cell, x, engine=engine)
    whole, expected = recurra.scan(cell.eval(), x, engine="reference")

    kept = first != 0
    assert 0.72 < kept.double().mean() < 0.78
    assert not torch.equal(kept[0], kept[1])
    assert not torch.equal(first, second)
    assert_close(first, torch.where(kept, whole / 0.75, 0.0))
    for got, want in zip(state, expected, strict=True):
        assert_close(got, want)
    assert_close(recurra.scan(cell, x, engine=engine)[0], whole)


def test_what_is_read_is_never_hidden_by_bypass_dropout() -> None:
    cell = DNC(3, 4, memory_size=5, word_size=2, bypass_dropout=0.5)
    with torch.no_grad():
        cell.output.weight[:, :4].zero_()
    x = torch.randn(6, 2, 3)
    outputs, _ = recurra.scan(cell, x, engine="reference")
    assert_close(outputs, recurra.scan(cell.eval(), x, engine="reference")[0])


@options
def test_gradients_reach_every_parameter(options: dict[str, Any]) -> None:
    cell = DNC(3, 5, memory_size=6, word_size=4, num_reads=2, **options)
    outputs, _ = recurra.scan(cell, torch.randn(8, 2, 3), engine="reference")
    outputs.square().sum().backward()
    for name, parameter in cell.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@options
@pytest.mark.parametrize("size", [1.0, 1e3, 1e6, 1e30])
def test_numbers_of_any_size_leave_it_finite_forward_and_backward(size: float, options: dict[str, Any]) -> None:
    cell = DNC(3, 6, memory_size=5, word_size=4, num_reads=2, **options)
    with torch.no_grad():
        cell.interface.weight.mul_(100)
    x = (size * torch.randn(60, 2, 3)).requires_grad_()
    outputs, state = recurra.scan(cell, x, engine="reference")
    outputs.sum().backward()
    for value in (outputs, *state, x.grad, *(parameter.grad for parameter in cell.parameters())):
        assert value.isfinite().all()


@pytest.mark.parametrize("controller", ["gru", "rnn", "dnc"])
def test_any_cell_by_name_controls(controller: str) -> None:
    cell = make_cell("dnc", 3, 5, controller=controller, memory_size=8, word_size=4)
    outputs, _ = recurra.scan(cell, torch.randn(4, 2, 3), engine="reference")
    assert outputs.shape == (4, 2, 5)


def test_a_projected_and_wrapped_controller_fits() -> None:
    cell = DNC(3, 6, controller=WeightDrop(LSTM(3 + 4, 6, proj_size=2), 0.3), memory_size=8, word_size=4)
    outputs, state = recurra.scan(cell, torch.randn(4, 2, 3), engine="reference")
    assert outputs.shape == (4, 2, 6)
    assert state.controller_h.shape == (2, 2)


@pytest.mark.parametrize("kind", [DNC, NTM])
def test_a_controller_by_name_has_options(kind: Any) -> None:
    cell = kind(3, 6, controller_options={"layer_norm": True}, memory_size=8, word_size=4)
    assert cell.controller.layer_norm
    assert cell.clone(hidden_size=5).controller.layer_norm


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"controller_options": {"layernorm": True}}, r"The cell `lstm` has no option `layernorm`\. Did you mean"),
        ({"controller_options": 3}, r"`controller_options` must be names with values, got .*3"),
        (
            {"controller": LSTM(3 + 16, 5), "controller_options": {"layer_norm": True}},
            "`controller_options` are of a `controller` by name",
        ),
        ({"word_size": 0}, r"`word_size` must be a whole number of at least 1, got 0\."),
        ({"memory_size": 3, "num_reads": 4}, r"`num_reads=4` is more heads than a memory of 3 slots can hold"),
        ({"bypass_dropout": 1.0}, r"`bypass_dropout` must be a probability from 0 to below 1, got 1\.0\."),
        ({"output_size": 0}, r"`output_size` must be a whole number of at least 1, got 0\."),
        ({"controller": "gur"}, r"Unknown cell `gur`\. Did you mean .*`gru`"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DNC(3, 5, **options)
