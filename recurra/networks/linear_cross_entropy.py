"""Output layer and cross entropy in one, without ever holding all logits.

The logits [N, V] are the largest tensor of a translator or language model by far, and torch touches them about ten
times a training step: product, log softmax, loss, and the gradients of the three. Here the rows come in chunks whose
logits stay in the cache, and a chunk's gradients are computed at once, in the forward pass, where its logits still are:
the gradient with respect to the logits needs nothing that comes later but the factor that arrives from above, and that
one multiplies the finished gradients. Memory falls from several N V to chunk_rows V.

The idea is that of the fused linear cross entropy of Liger Kernel (Hsu et al. 2024, arXiv:2410.10989) for GPUs.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from recurra.checks import check_count, check_probability
from recurra.engine.products import is_autocast, is_plain_eager, linear, product, transposed_product
from recurra.errors import ShapeError
from recurra.ragged import WHOLE_NUMBERS
from recurra.shapes import describe

__all__ = ["TokenLoss", "linear_cross_entropy"]

# logits of one chunk: 16 MB of float32 on a CPU, so that they stay in the cache and the allocator hands out the same
# memory again (glibc gives blocks above 32 MB back to the system each time); larger where launches set the pace
CHUNK_LOGITS_CPU = 2**22
CHUNK_LOGITS_OTHER = 2**26


class TokenLoss(NamedTuple):
    """What `linear_cross_entropy` returns; divide by `num_rows` for means."""

    loss: Tensor  # [], sum over rows, with label smoothing; the one to differentiate
    negative_log_likelihood: Tensor  # [], sum over rows in nats, without label smoothing, without gradient
    correct: Tensor  # [], integer, rows whose target has the highest logit (a tie counts as correct)
    num_rows: int  # N


class _Chunk(NamedTuple):
    loss: Tensor
    negative_log_likelihood: Tensor
    correct: Tensor
    d_logits: Tensor | None


def _wide(dtype: torch.dtype) -> torch.dtype:
    """What sums over rows are taken in."""
    return torch.float64 if dtype is torch.float64 else torch.float32


def _chunk_loss(logits: Tensor, targets: Tensor, label_smoothing: float, needs_gradient: bool) -> _Chunk:
    """Loss of some rows and, on demand, its gradient with respect to the logits.

    Shapes: logits [R, V] (lost: may be overwritten), targets [R], d_logits [R, V].
    """
    vocab_size = logits.shape[1]
    wide = _wide(logits.dtype)
    index = targets.unsqueeze(1)
    highest = logits.amax(1, keepdim=True).to(wide)
    at_target = logits.gather(1, index).to(wide)
    total = logits.sum(1, dtype=wide) if label_smoothing else None
    probability = torch.softmax(logits, 1)
    # the highest probability is exp(0) / sum: its logarithm never meets a zero, and no exponential is taken twice
    log_sum = highest - probability.amax(1, keepdim=True).to(wide).log()
    nll = (log_sum - at_target).sum()
    loss = nll
    if total is not None:
        loss = (1 - label_smoothing) * nll + label_smoothing * (log_sum.sum() - total.sum() / vocab_size)
    correct = (at_target == highest).sum()
    if not needs_gradient:
        return _Chunk(loss, nll, correct, None)
    if label_smoothing:
        probability.sub_(label_smoothing / vocab_size)
    hit = torch.full((1, 1), label_smoothing - 1, dtype=probability.dtype, device=probability.device)
    probability.scatter_add_(1, index, hit.expand_as(index))
    return _Chunk(loss, nll, correct, probability)


class _LinearCrossEntropy(torch.autograd.Function):
    """Sum of the losses; the gradients are ready when `forward` returns, but for gradients of gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        label_smoothing: float,
        chunk_rows: int,
        compute_dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor, Tensor]:
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        needs_gradient = needs_hidden or needs_weight or needs_bias
        wide = _wide(compute_dtype)
        rows, matrix = hidden.to(compute_dtype), weight.to(compute_dtype)
        offset = None if bias is None else bias.to(compute_dtype)
        loss = hidden.new_zeros((), dtype=wide)
        nll = hidden.new_zeros((), dtype=wide)
        correct = torch.zeros((), dtype=torch.long, device=hidden.device)
        d_hidden = torch.empty_like(hidden) if needs_hidden else None
        # kept as [H, V]: xᵀ g is the fast layout of this product on the CPU, see recurra.engine.products
        d_weight_t = hidden.new_zeros((weight.shape[1], weight.shape[0]), dtype=wide) if needs_weight else None
        d_bias = None if bias is None or not needs_bias else torch.zeros_like(bias, dtype=wide)
        for start in range(0, rows.shape[0], chunk_rows):
            piece = slice(start, start + chunk_rows)
            logits = product(rows[piece], matrix)
            if offset is not None:
                logits += offset
            chunk = _chunk_loss(logits, targets[piece], label_smoothing, needs_gradient)
            loss += chunk.loss
            nll += chunk.negative_log_likelihood
            correct += chunk.correct
            d_logits = chunk.d_logits
            if d_logits is None:
                continue
            if d_hidden is not None:
                d_hidden[piece] = product(d_logits, matrix.t())
            if d_weight_t is not None:
                d_weight_t += transposed_product(rows[piece], d_logits)
            if d_bias is not None:
                d_bias += d_logits.sum(0, dtype=wide)
        d_weight = None if d_weight_t is None else d_weight_t.t().contiguous().to(weight.dtype)
        d_bias = None if d_bias is None or bias is None else d_bias.to(bias.dtype)
        ctx.save_for_backward(d_hidden, d_weight, d_bias, hidden, weight, bias, targets)
        ctx.options = label_smoothing, compute_dtype
        ctx.mark_non_differentiable(nll, correct)
        return loss, nll, correct

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        d_loss, (*ready, hidden, weight, bias, targets) = gradients[0], ctx.saved_tensors
        if not torch.is_grad_enabled():
            scaled = [None if saved is None else saved * d_loss.to(saved.dtype) for saved in ready]
            return *scaled, None, None, None, None
        # these gradients are to be differentiated: they are made again, by calls that torch knows the gradients of
        with torch.autocast(hidden.device.type, enabled=False):
            loss = _whole(hidden, weight, bias, targets, *ctx.options).loss
        places = [place for place in range(3) if ctx.needs_input_grad[place]]
        inputs = [(hidden, weight, bias)[place] for place in places]
        found = dict(zip(places, torch.autograd.grad(loss, inputs, d_loss, create_graph=True), strict=True))
        return *(found.get(place) for place in range(3)), None, None, None, None


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    *,
    label_smoothing: float = 0.0,
    chunk_rows: int | None = None,
) -> TokenLoss:
    """Cross entropy of `linear(hidden, weight, bias)` against `targets`, summed over rows.

        z = h Wᵀ + b
        loss = Σ_n (1 - ε) (-log softmax(z_n)[t_n]) + (ε / V) Σ_v (-log softmax(z_n)[v])

    Give only rows that count: gather the real steps first, there is no index for padding. Under autocast the products
    run in its dtype and the sums in float32; `loss` keeps the rounding of the logits.

    Shapes: hidden [N, H], weight [V, H], bias [V], targets [N] (integer, 0 <= t < V). N may be 0.

    Args:
        hidden: one row for each token to be predicted.
        weight: output matrix; may be the embedding itself (tied weights), its two gradients then add up.
        bias: output bias, or None.
        targets: the right tokens.
        label_smoothing: ε, the share of the target probability spread over the vocabulary, in [0, 1].
        chunk_rows: rows taken at a time; by default as many as keep the logits in the cache.

    Returns:
        Loss (differentiable), unsmoothed negative log likelihood in nats, rows whose best guess is right, and N.

    Raises:
        ConfigError: label_smoothing is no number from 0 to 1, or chunk_rows no number of rows.
        ShapeError: shapes do not fit, or targets are no tokens of the vocabulary; on the CPU alone it is looked at
            whether they are too large or below 0.

    Source: label smoothing as in Szegedy et al. 2016, arXiv:1512.00567, Section 7, with u uniform, and as
    `torch.nn.functional.cross_entropy` has it.
    """
    check_probability("label_smoothing", label_smoothing, one=True)
    if chunk_rows is not None:
        check_count("chunk_rows", chunk_rows)
    _check_shapes(hidden, weight, bias, targets)
    num_rows = hidden.shape[0]
    device = hidden.device.type
    autocast = is_autocast(device) and hidden.dtype is not torch.float64
    compute_dtype = torch.get_autocast_dtype(device) if autocast else hidden.dtype
    with torch.autocast(device, enabled=False):
        if num_rows == 0 or not is_plain_eager(hidden, weight, targets):
            return _whole(hidden, weight, bias, targets, label_smoothing, compute_dtype)
        if device == "cpu" and (targets.min() < 0 or targets.max() >= weight.shape[0]):
            found = f"{int(targets.min())}..{int(targets.max())}"
            raise ShapeError(f"`targets` must lie within 0..{weight.shape[0] - 1}, got {found}.")
        if chunk_rows is None:
            budget = CHUNK_LOGITS_CPU if device == "cpu" else CHUNK_LOGITS_OTHER
            chunk_rows = max(budget // weight.shape[0], 16)
        loss, nll, correct = _LinearCrossEntropy.apply(
            hidden, weight, bias, targets, label_smoothing, chunk_rows, compute_dtype
        )
    return TokenLoss(loss, nll, correct, num_rows)


def _check_shapes(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> None:
    if hidden.dim() != 2:
        raise ShapeError(f"`hidden` must have shape [N, H], got {describe(hidden)}.")
    num_rows, size = hidden.shape
    if weight.dim() != 2 or weight.shape[1] != size:
        raise ShapeError(f"`weight` must have shape [V, H={size}], got {describe(weight)}.")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"`bias` must have shape [V={weight.shape[0]}], got {describe(bias)}.")
    if targets.shape != hidden.shape[:1] or targets.dtype not in WHOLE_NUMBERS:
        raise ShapeError(
            f"`targets` must be whole numbers of shape [N={num_rows}], got {targets.dtype} of shape "
            f"{describe(targets)}."
        )


def _whole(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    label_smoothing: float,
    compute_dtype: torch.dtype,
) -> TokenLoss:
    """The same from torch's own operations, for tracing, transforms and no rows at all."""
    offset = None if bias is None else bias.to(compute_dtype)
    logits = linear(hidden.to(compute_dtype), weight.to(compute_dtype), offset)
    logits, targets = logits.to(_wide(compute_dtype)), targets.long()
    loss = F.cross_entropy(logits, targets, label_smoothing=label_smoothing, reduction="sum")
    nll = F.cross_entropy(logits.detach(), targets, reduction="sum")
    correct = (logits.detach().gather(1, targets.unsqueeze(1)).squeeze(1) == logits.detach().amax(1)).sum()
    return TokenLoss(loss, nll, correct, hidden.shape[0])
