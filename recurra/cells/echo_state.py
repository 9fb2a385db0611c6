"""The echo state network's reservoir: leaky units with weights that are drawn once and never trained."""

from __future__ import annotations

import functools
from typing import ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from recurra.cells.echo_state_kernel import PackedReservoir, ReservoirKernel
from recurra.cells.rnn import ACTIVATIONS
from recurra.cells.spectrum import spectral_radius
from recurra.checks import check_bool, check_choice, check_count, check_number, check_seed
from recurra.engine.contract import Cell, Source
from recurra.engine.kernel import Kernel
from recurra.errors import ConfigError, ShapeError
from recurra.shapes import describe

__all__ = ["ESN", "ESNState", "new_generator"]

_SPARSE_UNITS = 1000  # from here on, a matrix with few connections is kept as a list of them
_SPARSE_SHARE = 0.2


class ESNState(NamedTuple):
    """h: states of the units, also the output, [B, H]."""

    h: Tensor


class ESN(Cell):
    """Reservoir of an echo state network, one time step.

        h' = (1 - a) h + a f(W_in x + b + W h + ν)       states of the units, and output

    W has the same number of connections for every unit, from units drawn at random, with weights uniform in ±1, and is
    then scaled to its spectral radius. W_in is uniform in ±input_scaling, b in ±bias_scaling. ν is Gaussian noise, in
    training only. None of it is trained, unless `trainable`: a read-out is, see `recurra.networks.EchoStateNetwork`.
    Gradients flow through the cell all the same, to layers below it.

    Shapes: x [B, I], state.h [B, H] -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector, those fed back from the output included.
        hidden_size: H, units; also the size of the output.
        spectral_radius: the largest modulus of an eigenvalue of W; None leaves W as it was drawn or given.
        leak: a, in (0, 1]: the share of the state that is renewed in each step; 1 / a is a unit's time in steps.
        input_scaling: bound of the weights of the inputs.
        bias_scaling: bound of the biases.
        connectivity: share of the units that each unit listens to, in (0, 1]; one of them at least.
        input_connectivity: share of the inputs that each unit sees, in (0, 1].
        feedback_size: how many of the inputs, the last ones, are the network's output of the step before.
        feedback_scaling: bound of the weights of those.
        noise: standard deviation of ν.
        activation: f, `"tanh"` or another name that `RNN` knows.
        trainable: make W, W_in and b parameters: the reservoir is then where training begins. W is trained whole, with
            the connections that it does not have yet.
        storage: `"dense"` keeps W as a matrix, `"sparse"` as a list of its connections, which pays from a thousand
            units on; `"auto"` chooses.
        seed: of all that is drawn; from torch's own random numbers where not given.
        recurrent: W itself, [H, H], instead of one drawn; it is scaled all the same.

    Raises:
        ConfigError: an option has a value that cannot be, or W has no eigenvalue other than 0 and cannot be scaled.
        ShapeError: `recurrent` has another shape.
        MissingExtra: W is so large that its eigenvalues need scipy, which is not installed.

    Source: Jaeger 2001, GMD Report 148; the leak as in Jaeger et al. 2007.
    """

    State = ESNState
    source = Source(
        key="jaeger2001echo",
        authors="Jaeger, Herbert",
        title='The "echo state" approach to analysing and training recurrent neural networks',
        year=2001,
        venue="GMD Report 148, German National Research Center for Information Technology",
    )
    option_sources: ClassVar[dict[str, Source]] = {
        "leak": Source(
            key="jaeger2007optimization",
            authors="Jaeger, Herbert and Lukoševičius, Mantas and Popovici, Dan and Siewert, Udo",
            title="Optimization and applications of echo state networks with leaky-integrator neurons",
            year=2007,
            venue="Neural Networks 20(3), 335-352",
            url="https://doi.org/10.1016/j.neunet.2007.04.016",
        )
    }

    weight_ih: Tensor
    bias: Tensor
    weight_hh: Tensor | None  # [H, H], or None with the three below
    rows: Tensor | None  # int64 [n], of each connection: the unit that listens,
    columns: Tensor | None  # int64 [n], the one that it hears,
    values: Tensor | None  # and the weight, [n]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        spectral_radius: float | None = 0.9,
        leak: float = 1.0,
        input_scaling: float = 1.0,
        bias_scaling: float = 1.0,
        connectivity: float = 0.1,
        input_connectivity: float = 1.0,
        feedback_size: int = 0,
        feedback_scaling: float = 1.0,
        noise: float = 0.0,
        activation: str = "tanh",
        trainable: bool = False,
        storage: Literal["auto", "dense", "sparse"] = "auto",
        seed: int | None = None,
        recurrent: Tensor | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size)
        if spectral_radius is not None:
            check_number("spectral_radius", spectral_radius, above=0)
        for name, share in (("leak", leak), ("connectivity", connectivity), ("input_connectivity", input_connectivity)):
            if check_number(name, share, above=0) > 1:
                raise ConfigError(f"`{name}` must be a number above 0 and at most 1, got {share!r}.")
        for name, size in (("input_scaling", input_scaling), ("bias_scaling", bias_scaling), ("noise", noise)):
            check_number(name, size, least=0)
        check_number("feedback_scaling", feedback_scaling, least=0)
        if check_count("feedback_size", feedback_size, least=0) > input_size:
            raise ConfigError(f"`feedback_size` must be at most I={input_size}, got {feedback_size}.")
        check_choice("activation", activation, ACTIVATIONS)
        check_choice("storage", storage, ("auto", "dense", "sparse"))
        if check_bool("trainable", trainable) and storage == "sparse":
            raise ConfigError("`storage` must be 'dense' or 'auto' where `trainable`: all connections are trained.")
        self.leak, self.noise, self.activation, self.trainable = leak, noise, activation, trainable
        self.connectivity, self.storage = connectivity, storage
        draw = new_generator(seed)
        self._draw_recurrent(draw, spectral_radius, recurrent)
        scales = torch.full((input_size,), float(input_scaling), dtype=torch.float64)
        scales[input_size - feedback_size :] = feedback_scaling
        weights = _uniform(draw, hidden_size, input_size) * scales
        if input_connectivity < 1:
            seen = max(1, round(input_connectivity * input_size))
            weights.scatter_(1, _distinct(draw, hidden_size, input_size, input_size - seen), 0.0)
        self._keep("weight_ih", weights)
        self._keep("bias", _uniform(draw, hidden_size) * bias_scaling)
        self.packed = PackedReservoir()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all weights anew, as when the cell was made: with a `seed` they are what they were then."""
        for name, drawn in self.clone().state_dict().items():
            getattr(self, name).copy_(drawn)

    def _draw_recurrent(self, draw: torch.Generator, radius: float | None, given: Tensor | None) -> None:
        units = self.hidden_size
        if given is None:
            rows, columns, values = _draw(draw, units, self.connectivity)
            largest = None if radius is None else _drawn_radius(units, self.connectivity, draw.initial_seed())
        else:
            if not isinstance(given, Tensor) or given.shape != (units, units):
                raise ShapeError(f"`recurrent` must have shape [H={units}, H={units}], got {describe(given)}.")
            if not bool(given.isfinite().all()):
                raise ConfigError("`recurrent` must be finite numbers, got a NaN or an infinity.")
            rows, columns = given.detach().nonzero().unbind(1)
            values = given.detach()[rows, columns].double()
            largest = None if radius is None else spectral_radius(rows, columns, values, units)
        if largest is not None and radius is not None:
            if largest <= units * torch.finfo(torch.float64).eps * float(values.abs().max() if len(values) else 0):
                raise ConfigError(
                    f"`recurrent` cannot be scaled to a spectral radius of {radius}: all its eigenvalues are 0; give a "
                    "matrix in which some connections form a loop, or spectral_radius=None."
                )
            values = values * (radius / largest)
        few = len(values) <= _SPARSE_SHARE * units**2
        sparse = self.storage == "sparse" or (
            self.storage == "auto" and units >= _SPARSE_UNITS and few and not self.trainable
        )
        for name, tensor in (("rows", rows), ("columns", columns), ("values", values)):
            self.register_buffer(name, (tensor if name != "values" else _default(tensor)) if sparse else None)
        if sparse:
            self.weight_hh = None
        else:
            dense = torch.zeros(units, units, dtype=torch.float64)
            dense[rows, columns] = values
            self._keep("weight_hh", dense)

    def _keep(self, name: str, weights: Tensor) -> None:
        if self.trainable:
            self.register_parameter(name, nn.Parameter(_default(weights)))
        else:
            self.register_buffer(name, _default(weights))

    def initial_state(
        self, batch_size: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> ESNState:
        """The state before the first step of a sequence: zeros [B, H]."""
        weights = self.weight_ih
        return ESNState(
            torch.zeros(batch_size, self.hidden_size, dtype=dtype or weights.dtype, device=device or weights.device)
        )

    def step(self, x: Tensor, state: ESNState, read: ESNState | None = None) -> tuple[Tensor, ESNState]:
        """One time step; the equation stands on the class.

        Args:
            x: [B, I].
            state: the state that is carried on.
            read: the state that the product with W sees; `state` where not given.
        """
        seen = state.h if read is None else read.h
        net = linear(x, self.weight_ih, self.bias) + self.recurrent(seen)
        if self.training and self.noise:
            net = net + self.noise * torch.randn_like(net)
        h = (1 - self.leak) * state.h + self.leak * ACTIVATIONS[self.activation](net)
        return h, ESNState(h)

    def recurrent(self, h: Tensor) -> Tensor:
        """The product W h; h [B, H] -> [B, H]."""
        if self.weight_hh is not None:
            return linear(h, self.weight_hh)
        product: Tensor = torch.sparse.mm(self._matrix(), h.T).T
        return product

    def _matrix(self) -> Tensor:
        rows, columns, values = self.connections()
        size = (self.hidden_size, self.hidden_size)
        # the connections are in order, each there once
        return torch.sparse_coo_tensor(
            torch.stack([rows, columns]), values, size, is_coalesced=True, check_invariants=False
        )

    def connections(self) -> tuple[Tensor, Tensor, Tensor]:
        """W as a list: the unit that listens, the one that it hears, the weight; each [n], sorted by the first."""
        if self.weight_hh is None:
            return cast(Tensor, self.rows), cast(Tensor, self.columns), cast(Tensor, self.values)
        rows, columns = self.weight_hh.nonzero().unbind(1)
        return rows, columns, self.weight_hh[rows, columns]

    def spectral_radius(self) -> float:
        """The largest modulus of an eigenvalue of W as it is now."""
        rows, columns, values = (part.detach().cpu() for part in self.connections())
        return spectral_radius(rows, columns, values, self.hidden_size)

    @torch.no_grad()
    def rescale(self, gain: Tensor, shift: Tensor) -> None:
        """Make every unit's net input `gain` times what it was, plus `shift`: f(g (W_in x + b + W h) + s).

        Shapes: gain [H], shift [H].
        """
        self.weight_ih.mul_(gain[:, None])
        self.bias.mul_(gain).add_(shift)
        if self.weight_hh is not None:
            self.weight_hh.mul_(gain[:, None])
        else:
            cast(Tensor, self.values).mul_(gain[cast(Tensor, self.rows)])

    def kernel(self) -> Kernel | None:
        """A compiled loop for processors, for sequences that need no gradient."""
        return ReservoirKernel(self)

    def extra_repr(self) -> str:
        """The arguments that the cell was made with, a matrix by its shape."""
        return ", ".join(
            f"{name}={describe(value) if isinstance(value, Tensor) else repr(value)}"
            for name, value in self._arguments.items()
        )


def new_generator(seed: int | None) -> torch.Generator:
    """Random numbers that begin at a seed; from torch's own where there is none.

    Raises:
        ConfigError: the seed cannot be.
    """
    return torch.Generator().manual_seed(int(torch.randint(2**62, ())) if seed is None else check_seed("seed", seed))


def _default(weights: Tensor) -> Tensor:
    return weights.to(torch.get_default_dtype())


def _uniform(draw: torch.Generator, *sizes: int) -> Tensor:
    return 2 * torch.rand(*sizes, generator=draw, dtype=torch.float64) - 1


def _distinct(draw: torch.Generator, count: int, among: int, size: int) -> Tensor:
    """For each of `count` rows, `size` different numbers below `among`, in order."""
    if size == among:
        return torch.arange(among).expand(count, among)
    rows = max(1, 2**22 // among)  # at a time, so that many units need little memory
    return torch.cat(
        [
            torch.rand(min(rows, count - start), among, generator=draw).topk(size, dim=1).indices.sort(dim=1).values
            for start in range(0, count, rows)
        ]
    )


def _draw(draw: torch.Generator, units: int, connectivity: float) -> tuple[Tensor, Tensor, Tensor]:
    """Connections as `ESN.connections` gives them, with weights in ±1.

    Every unit hears someone, so that there is a loop among them and W an eigenvalue other than 0.
    """
    heard = max(1, round(connectivity * units))
    columns = _distinct(draw, units, units, heard).flatten()
    rows = torch.arange(units).repeat_interleave(heard)
    return rows, columns, _uniform(draw, units * heard)


@functools.lru_cache(maxsize=4096)
def _drawn_radius(units: int, connectivity: float, seed: int) -> float:
    """The spectral radius of what `_draw` gives, remembered: a search draws the same reservoir again and again."""
    return spectral_radius(*_draw(torch.Generator().manual_seed(seed), units, connectivity), units)
