"""Where a memory is read and written: the equations that the Neural Turing Machine and its successor share.

Letters: N slots of the memory, W numbers of a word, K heads that look for something, R heads that read, S slots that a
head may shift. A weighting says how much of each slot a head sees: numbers of [0, 1] whose sum is at most 1.

Nothing here sorts, rolls or gathers: sums, products and slices are all, so that a step made of them can be compiled.
"""

from __future__ import annotations

import functools
import operator

import torch
from torch import Tensor

__all__ = ["allocation", "content_weights", "erase_and_add", "interpolate", "links", "retention", "sharpen", "shift"]

# a word of zeros has no direction: far below the length of a word that was written, and 1/√ε, the steepest slope of the
# cosine, far from overflow
_EPSILON = 1e-6
# slots that nobody touched are used alike, but for rounding: their order must not hang on it, or two engines, or two
# batch sizes, would choose different ones
_USED_ALIKE = 2.0**-16
_TINY = 1e-30  # log of a weight of zero is finite, and no sum of ours notices that it is not zero


def content_weights(memory: Tensor, keys: Tensor, strengths: Tensor, masks: Tensor | None = None) -> Tensor:
    """Content addressing: each key is compared with all words.

        K(u, v) = u · v / (√(u · u + ε) √(v · v + ε))        ε = 1e-6
        w(n) = softmax_n(β K(k ⊙ m, M(n) ⊙ m))

    Shapes: memory [B, N, W], keys [B, K, W], strengths [B, K], masks [B, K, W] -> weightings [B, K, N].

    Args:
        memory: M.
        keys: k, what is looked for.
        strengths: β, at least 0; the larger, the sharper.
        masks: m, which numbers of the words are compared; all where not given.

    Source: Graves et al. 2014, arXiv:1410.5401, section 3.3.1. Masks: Csordás and Schmidhuber 2019, arXiv:1904.10278.
    """
    # memory stands on the left of its products: what backward reads of it is the memory itself and not its transpose
    if masks is None:
        products = (memory @ keys.mT).mT
        lengths = (memory * memory).sum(-1)[:, None, :]
        key_lengths = (keys * keys).sum(-1, keepdim=True)
    else:
        seen = masks * masks
        products = (memory @ (keys * seen).mT).mT
        lengths = ((memory * memory) @ seen.mT).mT  # of a word under each mask
        key_lengths = (keys * keys * seen).sum(-1, keepdim=True)
    cosine = products / ((lengths + _EPSILON).sqrt() * (key_lengths + _EPSILON).sqrt())
    return torch.softmax(strengths[..., None] * cosine, -1)


def interpolate(found: Tensor, before: Tensor, gates: Tensor) -> Tensor:
    """Between what content addressing found and where the head was: g w_c + (1 - g) w_{t-1}.

    Shapes: found and before [B, K, N], gates [B, K] in [0, 1] -> weightings [B, K, N].

    Source: Graves et al. 2014, arXiv:1410.5401, section 3.3.2.
    """
    return before + gates[..., None] * (found - before)


def shift(weights: Tensor, shifts: Tensor) -> Tensor:
    """Turn weightings on the ring of slots: w(n) = Σ_d s(d) w(n - d), d = -S..S, slots counted modulo N.

    Shapes: weights [B, K, N], shifts [B, K, 2 S + 1] with sums of 1, S < N -> weightings [B, K, N].

    Source: Graves et al. 2014, arXiv:1410.5401, section 3.3.2.
    """
    reach = shifts.shape[-1] // 2
    turned = [_turn(weights, d) * shifts[..., reach + d, None] for d in range(-reach, reach + 1)]
    return functools.reduce(operator.add, turned)


def _turn(weights: Tensor, by: int) -> Tensor:
    """What stood in slot n stands in slot n + by."""
    return torch.cat([weights[..., -by:], weights[..., :-by]], -1) if by else weights


def sharpen(weights: Tensor, powers: Tensor, floor: float = _TINY) -> Tensor:
    """Make a weighting sharper: w(n)^γ / Σ_n w(n)^γ, which sums to 1 for whatever γ.

    It is computed as softmax(γ log(w + floor)): no power of a small number ever vanishes from all slots at once. A
    weighting of zeros becomes one of equal numbers.

    Shapes: weights [B, K, N], powers [B, K], at least 1 -> weightings [B, K, N].

    Source: Graves et al. 2014, arXiv:1410.5401, section 3.3.2.
    """
    # rounding may have made a weight negative that is zero
    logs = (weights.clamp(min=0) + _representable(floor, weights)).log()
    return torch.softmax(powers[..., None] * logs, -1)


def _representable(number: float, like: Tensor) -> float:
    return max(number, torch.finfo(like.dtype).tiny)


def erase_and_add(memory: Tensor, weights: Tensor, erase: Tensor, add: Tensor) -> Tensor:
    """Write: all heads erase, then all add. M ⊙ Π_h (1 - w_h e_hᵀ) + Σ_h w_h a_hᵀ.

    Shapes: memory [B, N, W], weights [B, K, N], erase [B, K, W] in [0, 1], add [B, K, W] -> memory [B, N, W].

    Source: Graves et al. 2014, arXiv:1410.5401, section 3.2.
    """
    if weights.shape[1] == 1:  # the same in fewer steps
        return memory + weights[:, 0, :, None] * (add - erase * memory)
    for head in range(weights.shape[1]):
        memory = memory * (1 - weights[:, head, :, None] * erase[:, head, None, :])
    return memory + weights.mT @ add


# --- dynamic memory: the Differentiable Neural Computer --------------------------------------------------------------


def retention(read_weights: Tensor, free_gates: Tensor) -> Tensor:
    """How much of each slot the free gates keep: ψ = Π_r (1 - f_r w_r), of the weightings that read it last.

    Shapes: read_weights [B, R, N], free_gates [B, R] -> [B, N].

    Source: Graves et al. 2016, Nature 538, Methods, "Dynamic memory allocation".
    """
    kept = 1 - free_gates[..., None] * read_weights
    return functools.reduce(operator.mul, [kept[:, head] for head in range(kept.shape[1])])


def allocation(usage: Tensor, earlier: Tensor) -> Tensor:
    """The weighting of the free slots: the freest first, the next one as far as that is used.

        a(n) = (1 - u(n)) Π u(m) over all m with u(m) < u(n), and with u(m) = u(n) where m < n

    This is the sorted product of the paper without the sort: exp of a masked sum of logarithms. For the order alone u
    is rounded to multiples of 2^-16.

    Shapes: usage [B, N] in [0, 1], earlier [N, N] -> weighting [B, N].

    Args:
        usage: u.
        earlier: 1 at [n, m] where m < n, else 0: the order of slots that are used alike.

    Source: Graves et al. 2016, Nature 538, Methods, "Dynamic memory allocation".
    """
    order = (usage / _USED_ALIKE + 0.5).floor()
    mine, other = order[:, :, None], order[:, None, :]
    freer = torch.where(other == mine, earlier, (other < mine).to(usage.dtype))  # [B, N, N]
    logs = (usage + _representable(_TINY, usage)).log()
    return (1 - usage) * (freer * logs[:, None, :]).sum(-1).exp()


def links(before: Tensor, precedence: Tensor, write_weights: Tensor, apart: Tensor) -> Tensor:
    """Which slot was written after which: L(n, m) = (1 - w(n) - w(m)) L(n, m) + w(n) p(m), and L(n, n) = 0.

    Shapes: before [B, N, N], precedence [B, N], write_weights [B, N], apart [N, N] -> links [B, N, N].

    Args:
        before: L of the step before.
        precedence: p of the step before, how much each slot was the last one written.
        write_weights: w of this step.
        apart: 0 on the diagonal, else 1.

    Source: Graves et al. 2016, Nature 538, Methods, "Temporal memory linkage".
    """
    after, other = write_weights[:, :, None], write_weights[:, None, :]
    return ((1 - after - other) * before + after * precedence[:, None, :]) * apart
