"""Large products on the code that is faster on this processor.

torch sends products to MKL. On processors that are not Intel's, MKL leaves half of an AVX-512 vector unit unused: on a
Zen 5 (2 cores, float32) it computes the products of a recurrent layer at 170 to 230 GFLOP/s, and this library's own
code (`engine.cpu.matmul`) at 420 to 500, where 530 is what the processor can multiply and add. It also writes into
memory that is used again, which the C library would have to ask the system for.

The choice depends on the processor and on the sizes alone, never on a timing, so that the same run gives the same
numbers. Below `MIN_FLOPS` the call overhead eats the gain, and all that users multiply is torch's. The small products
of the engine are our own on every processor: they take as long as torch's, and a recorded pass (`engine.cpu.replay`)
makes them without a call.
"""

import importlib
import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.parameter import Parameter
from torch.utils._python_dispatch import _get_current_dispatch_mode

__all__ = [
    "has_bf16",
    "is_autocast",
    "is_ours",
    "is_plain_eager",
    "linear",
    "outruns_mkl",
    "product",
    "transposed_product",
]

# 2 M K N of the smallest product worth the detour: measured break-even 5e5 to 1e6 on a Zen 5
MIN_FLOPS = 1_000_000


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
def outruns_mkl() -> bool:
    """Whether large products should leave MKL: torch carries it, and the processor has AVX-512 and is not Intel's."""
    return (
        torch.backends.mkl.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and cpu_vendor() not in ("", "GenuineIntel")
    )


def is_plain_eager(*tensors: Tensor) -> bool:
    """Whether the tensors are ordinary ones in eager mode, so that an autograd function of our own can take them.

    False while something looks over our shoulder (`torch.compile`, `torch.jit.trace`, `make_fx`, `torch.func`
    transforms, forward-mode derivatives, autocast), for tensor subclasses and for sparse tensors: those need torch's
    own operations.
    """
    for tensor in tensors:
        if (type(tensor) is not Tensor and type(tensor) is not Parameter) or tensor.layout is not torch.strided:
            return False
    return (
        not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and not is_autocast(tensors[0].device.type)
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
        and _get_current_dispatch_mode() is None
    )


def is_autocast(device: str) -> bool:
    """Whether autocast is on for a type of device; torch has none for some, such as that of tensors without memory."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def is_ours(rows: int, inner: int, columns: int, tensor: Tensor) -> bool:
    """Whether a product [rows, inner] x [inner, columns] of tensors like `tensor` is one for our own code."""
    return (
        tensor.dtype in (torch.float32, torch.float64)
        and tensor.device.type == "cpu"
        and 2 * rows * inner * columns >= MIN_FLOPS
        and outruns_mkl()
    )


def _is_engines(rows: int, inner: int, columns: int, tensor: Tensor) -> bool:
    """As `is_ours`, or small."""
    is_small = 2 * rows * inner * columns < MIN_FLOPS and tensor.dtype in (torch.float32, torch.float64)
    return is_small or is_ours(rows, inner, columns, tensor)


def has_bf16() -> bool:
    """Whether the compiled engine has products of bfloat16 on this processor."""
    target: Any = importlib.import_module("recurra.engine.cpu.target")
    return bool(target.host().bf16)


def _matmul(a: Tensor, b: Tensor, bias: Tensor | None = None, *, bf16: bool = False) -> Tensor:
    # imported when first used: LLVM takes longer to load than the rest of this library
    result: Tensor = importlib.import_module("recurra.engine.cpu.matmul").matmul(a, b, bias, bf16=bf16)
    return result


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, bf16: bool = False) -> Tensor:
    """`x @ weight.T + bias` without a gradient, on the faster code.

    Shapes: x [M, K], weight [N, K], bias [N], result [M, N]; any strides.

    Args:
        x, weight, bias: see above.
        bf16: round the factors, where `has_bf16`.
    """
    if bf16 or _is_engines(x.shape[0], x.shape[1], weight.shape[0], x):
        return _matmul(x, weight.t(), bias, bf16=bf16)
    return x @ weight.t() if bias is None else torch.addmm(bias, x, weight.t())


def transposed_product(a: Tensor, b: Tensor, *, bf16: bool = False) -> Tensor:
    """`a.T @ b` without a gradient, on the faster code: the sum over rows that a weight gradient is.

    Shapes: a [M, N], b [M, K], result [N, K]; any strides.

    Args:
        a, b: see above.
        bf16: round the factors, where `has_bf16`.
    """
    if bf16 or _is_engines(a.shape[1], a.shape[0], b.shape[1], a):
        return _matmul(a.t(), b, bf16=bf16)
    return a.t() @ b


class _Linear(torch.autograd.Function):
    """`linear` of two-dimensional x, with its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

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
    """`torch.nn.functional.linear`, on our own code for large products where MKL is slow.

        y = x Wᵀ + b

    Equal to torch's in value, gradients and gradients of gradients, up to the rounding of another order of summation.
    Everything but a large product in eager mode on such a processor is handed to torch unchanged.

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
        or not is_ours(num_rows, inner, weight.shape[0], x)
        or not is_plain_eager(x, *others)
    ):
        return F.linear(x, weight, bias)
    rows = x.reshape(num_rows, inner)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *others)):
        y: Tensor = _Linear.apply(rows, weight, bias)
    else:
        y = product(rows, weight, bias)
    return y.reshape(*x.shape[:-1], weight.shape[0])
