from __future__ import annotations

import torch

from recurra.networks.dropout import dropout


def test_the_share_of_zeros_is_p_and_the_mean_stays() -> None:
    x = torch.ones(200_000, dtype=torch.float64)
    y = dropout(x, 0.3, training=True)
    assert abs(float((y == 0).double().mean()) - 0.3) < 5e-3
    assert abs(float(y.mean()) - 1) < 1e-2
    assert torch.equal(y.unique(), torch.tensor([0, 65536 / (65536 - round(0.3 * 65536))], dtype=torch.float64))


def test_the_gradient_passes_where_the_number_passed() -> None:
    x = torch.randn(7, 13, requires_grad=True)
    y = dropout(x, 0.5, training=True)
    y.sum().backward()
    assert torch.equal(x.grad == 0, y == 0)
    torch.testing.assert_close(x.grad[y != 0], torch.full((int((y != 0).sum()),), 2.0))


def test_evaluation_and_a_probability_of_zero_change_nothing() -> None:
    x = torch.randn(3, 5)
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0, training=True) is x
    assert torch.equal(dropout(x, 1.0, training=True), torch.zeros(3, 5))


def test_equal_seeds_give_equal_masks_and_draws_differ() -> None:
    x = torch.ones(1001)
    torch.manual_seed(5)
    first, second = dropout(x, 0.4, training=True), dropout(x, 0.4, training=True)
    torch.manual_seed(5)
    assert torch.equal(first, dropout(x, 0.4, training=True))
    assert not torch.equal(first, second)


def test_neighbours_are_dropped_independently() -> None:
    y = (dropout(torch.ones(400_000), 0.5, training=True) == 0).double()
    for lag in (1, 2, 3, 4, 8):
        assert abs(float((y[:-lag] * y[lag:]).mean()) - 0.25) < 5e-3
