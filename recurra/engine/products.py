"""Large float32 products on the library that is faster on this processor.

torch sends float32 products to MKL. On processors that are not Intel's, MKL leaves half of an AVX-512 vector unit
unused, while oneDNN, which torch carries too, uses all of it: 191 against 445 GFLOP/s for large products on a Zen 5
(2 cores, torch 2.13). A Zen 4 splits 512-bit instructions in two; there the gain is 0 to 15 %, so nothing is lost, but
for the sum over rows that a weight gradient is: oneDNN computes it at 112 to 173 GFLOP/s where MKL has 171 to 195
(3200 rows, 64 and 128 units, 2 cores), and MKL keeps it.

The choice depends on the processor and on the sizes alone, never on a timing, so that the same run gives the same
numbers. Below `ONEDNN_MIN_FLOPS` the call overhead of oneDNN eats the gain. To switch it off:
`torch.backends.mkldnn.flags(enabled=False)`.

torch's entry to oneDNN has no gradient of its own, and which layout of its arguments is fast is not obvious. Measured:
the second operand may be strided at no cost; a strided first operand is fast only when it is the smaller one. So the
weight gradient, whose operands are both strided, is computed as its own transpose when the input is narrower than the
output.
"""

import platform
import re
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.parameter import Parameter
from torch.utils._python_dispatch import _get_current_dispatch_mode

# 2 M K N of the smallest product worth the detour: measured break-even 1e7 to 2e7 on a Zen 4
ONEDNN_MIN_FLOPS = 20_000_000


@cache
def cpu_vendor() -> str:
    """Name of the processor's maker as the processor gives it, such as "AuthenticAMD"; empty when it cannot be read."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("vendor_id"):
                return line.partition(":")[2].strip()
        return ""
    # Windows: "AMD64 Family 25 Model 97 Stepping 2, AuthenticAMD"; elsewhere there is no MKL to avoid
    return platform.processor().rpartition(",")[2].strip()


@cache
def prefers_onednn() -> bool:
    """Whether large float32 products should leave MKL: AVX-512, not made by Intel, and torch carries both libraries."""
    return (
        torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and cpu_vendor() not in ("", "GenuineIntel")
    )


@cache
def splits_vectors() -> bool:
    """Whether the processor runs a 512-bit instruction as two halves, as a Zen 4 (AMD's family 25) does."""
    cpuinfo = Path("/proc/cpuinfo")
    words = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else platform.processor()
    family = re.search(r"family[\s:]+(\d+)", words, re.IGNORECASE)
    return cpu_vendor() == "AuthenticAMD" and family is not None and family[1] == "25"


def is_plain_eager(*tensors: Tensor) -> bool:
    """Whether the tensors are ordinary ones in eager mode, so that an autograd function of our own can take them.

    False while something looks over our shoulder (`torch.compile`, `torch.jit.trace`, `make_fx`, `torch.func`
    transforms, forward-mode derivatives, autocast), and for tensor subclasses: those need torch's own operations.
    """
    return (
        all(type(tensor) in (Tensor, Parameter) for tensor in tensors)
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and not torch.is_autocast_enabled(tensors[0].device.type)
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
        and _get_current_dispatch_mode() is None
    )


def takes_onednn(rows: int, inner: int, columns: int, tensor: Tensor) -> bool:
    """Whether a product [rows, inner] x [inner, columns] of tensors like `tensor` is one for oneDNN."""
    return (
        tensor.dtype is torch.float32
        and tensor.device.type == "cpu"
        and 2 * rows * inner * columns >= ONEDNN_MIN_FLOPS
        and prefers_onednn()
        and bool(torch._C._get_mkldnn_enabled())
    )


def onednn_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight.T + bias` through oneDNN, without a gradient.

    Shapes: x [M, K], weight [N, K], bias [N], result [M, N]. Any strides; see the header for which are fast.
    """
    x, weight = _laid_out(x), _laid_out(weight)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


def _laid_out(tensor: Tensor) -> Tensor:
    """The tensor with every number at its own place; where one stands for many oneDNN takes 500 times as long."""
    return tensor.contiguous() if 0 in tensor.stride() else tensor


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight.T + bias` without a gradient, on the faster library.

    Shapes: x [M, K], weight [N, K], bias [N], result [M, N].
    """
    if takes_onednn(x.shape[0], x.shape[1], weight.shape[0], x):
        return onednn_product(x, weight, bias)
    return x @ weight.t() if bias is None else torch.addmm(bias, x, weight.t())


def transposed_product(a: Tensor, b: Tensor) -> Tensor:
    """`a.T @ b` without a gradient, on the faster library: the sum over rows that a weight gradient is.

    Shapes: a [M, N], b [M, K], result [N, K], which may be the transpose of a contiguous tensor.
    """
    num_rows, num_a = a.shape
    num_b = b.shape[1]
    if splits_vectors() or not takes_onednn(num_a, num_rows, num_b, a):
        return a.t() @ b
    if num_b <= num_a:
        return onednn_product(b.t(), a.t()).t()
    return onednn_product(a.t(), b.t())


class _OneDNNLinear(torch.autograd.Function):
    """`linear` of two-dimensional x through oneDNN, with its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return onednn_product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (d_y,) = gradients
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        # with create_graph=True this code is itself differentiated: then only torch's operations will do
        again = torch.is_grad_enabled()
        d_x = d_weight = d_bias = None
        if needs_x:
            d_x = d_y @ weight if again else product(d_y, weight.t())
        if needs_weight:
            d_weight = d_y.t() @ x if again else transposed_product(d_y, x)
        if needs_bias:
            d_bias = d_y.sum(0)
        return d_x, d_weight, d_bias


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`, taking oneDNN for large float32 products where MKL is slow.

        y = x Wᵀ + b

    Equal to torch's in value, gradients and gradients of gradients, up to the rounding of another order of summation.
    Everything but a large float32 product in eager mode on such a processor is handed to torch unchanged.

    Shapes: x [..., I], weight [O, I], bias [O], result [..., O].

    Args:
        x: input; any number of leading dimensions.
        weight: W, as `torch.nn.Linear` keeps it.
        bias: b, or None.

    Returns:
        y, of the dtype of x.
    """
    inner = x.shape[-1] if x.dim() else 0
    num_rows = x.numel() // inner if inner else 0
    others = (weight,) if bias is None else (weight, bias)
    if (
        weight.dim() != 2
        or weight.shape[1] != inner  # torch has the better error message
        or any(other.dtype is not x.dtype or other.device != x.device for other in others)
        or not takes_onednn(num_rows, inner, weight.shape[0], x)
        or not is_plain_eager(x, *others)
    ):
        return F.linear(x, weight, bias)
    rows = x.reshape(num_rows, inner)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *others)):
        y: Tensor = _OneDNNLinear.apply(rows, weight, bias)
    else:
        y = onednn_product(rows, weight, bias)
    return y.reshape(*x.shape[:-1], weight.shape[0])
