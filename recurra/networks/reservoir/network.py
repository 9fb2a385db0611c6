"""`EchoStateNetwork`: reservoirs and a linear read-out, fitted in one pass."""

from __future__ import annotations

import inspect
from typing import Any, Literal, Self

import torch
from torch import Tensor

from recurra.checks import check_bool, check_count
from recurra.errors import ConfigError, ShapeError, did_you_mean
from recurra.networks.reservoir.drawn import Drawn
from recurra.networks.reservoir.free_run import closed_loop, own_input
from recurra.networks.reservoir.plasticity import IntrinsicPlasticity
from recurra.networks.reservoir.readouts import make_readout
from recurra.networks.reservoir.reservoirs import ReservoirState
from recurra.networks.reservoir.series import Form, Series, as_series, lengths_text
from recurra.networks.reservoir.wiring import PerReservoir, draw_reservoirs
from recurra.ragged import Ragged

__all__ = ["EchoStateNetwork"]


class EchoStateNetwork:
    """Echo state network: fixed random reservoirs, and a linear read-out that is fitted in closed form.

        h_t = (1 - a) h_{t-1} + a f(W_in x_t + b + W h_{t-1} [+ W_fb y_{t-1}])        nothing here is trained
        y_t = W_out [1 ; x_t ; h_t]                                                     ridge regression

        model = EchoStateNetwork(units=100, spectral_radius=1.25, leak=0.3, washout=100, seed=0)
        model.fit(x[:1000], x[1:1001])              # [T, I], [T, O]: predict the next step
        y = model.predict(x[1000:], state=model.state_)
        future = model.generate(500)                # the output is the next input

    Series are arrays or tensors: one [T, I] or [T], several [T, B, I], a list of [T_b, I], or a `Ragged`; answers come
    in the same form. Fitting takes memory for a window of time, however long the series are. On a processor, a compiled
    loop runs all reservoirs of a layer.

    Args:
        units: of each reservoir.
        spectral_radius: of each reservoir; one number for all or one for each, layer after layer and group after group.
        leak: a, the share of the state that is renewed in each step; likewise.
        input_scaling: bound of the weights of the inputs; likewise.
        bias_scaling: bound of the biases.
        connectivity: share of a reservoir's units that each of its units listens to.
        input_connectivity: share of the inputs that each unit sees.
        feedback: whether the first layer sees the output of the step before: the true one while fitting, later its own.
        feedback_scaling: bound of the weights of that output.
        noise: standard deviation of noise at the units while fitting, which makes free runs more stable.
        activation: f, as in `recurra.cells.ESN`.
        layers: how many layers; each reads the one below, and the read-out sees all of them.
        layer_scaling: of the weights between layers, for a sum over the whole layer below.
        groups: reservoirs side by side in a layer.
        members: networks of an ensemble, alike but for their seeds, run as one; the answer is the mean of theirs.
        washout: steps at the beginning of each series that are not fitted to, because the state still remembers zero.
        readout: `"ridge"` by normal equations, `"qr"` where they are too ill-conditioned, or online: `"rls"`, `"lms"`.
        ridge: λ of the read-out.
        forgetting: of `"rls"`, 1 for none.
        rate: of `"lms"`.
        sees_input: whether the read-out sees x.
        plasticity: adaptation of the units before the read-out is fitted.
        seed: of everything drawn; from torch's own random numbers where not given.
        dtype: of the reservoirs, float64 or float32; read-outs are solved in float64.

    Raises:
        ConfigError: in `fit`: an option has a value that cannot be.

    Source: Jaeger 2001, GMD Report 148; deep reservoirs as in Gallicchio et al. 2017, "Deep reservoir computing: a
        critical experimental analysis".
    """

    def __init__(
        self,
        units: int = 100,
        *,
        spectral_radius: PerReservoir = 0.9,
        leak: PerReservoir = 1.0,
        input_scaling: PerReservoir = 1.0,
        bias_scaling: float = 1.0,
        connectivity: float = 0.1,
        input_connectivity: float = 1.0,
        feedback: bool = False,
        feedback_scaling: float = 1.0,
        noise: float = 0.0,
        activation: str = "tanh",
        layers: int = 1,
        layer_scaling: float = 1.0,
        groups: int = 1,
        members: int = 1,
        washout: int = 0,
        readout: Literal["ridge", "qr", "rls", "lms"] = "ridge",
        ridge: float = 1e-6,
        forgetting: float = 1.0,
        rate: float = 0.5,
        sees_input: bool = True,
        plasticity: IntrinsicPlasticity | None = None,
        seed: int | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.units = units
        self.spectral_radius = spectral_radius
        self.leak = leak
        self.input_scaling = input_scaling
        self.bias_scaling = bias_scaling
        self.connectivity = connectivity
        self.input_connectivity = input_connectivity
        self.feedback = feedback
        self.feedback_scaling = feedback_scaling
        self.noise = noise
        self.activation = activation
        self.layers = layers
        self.layer_scaling = layer_scaling
        self.groups = groups
        self.members = members
        self.washout = washout
        self.readout = readout
        self.ridge = ridge
        self.forgetting = forgetting
        self.rate = rate
        self.sees_input = sees_input
        self.plasticity = plasticity
        self.seed = seed
        self.dtype = dtype

    # --- options -----------------------------------------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options by name, as scikit-learn asks for them."""
        return {name: getattr(self, name) for name in list(inspect.signature(type(self)).parameters)}

    def set_params(self, **options: Any) -> Self:
        """Change options; they count from the next `fit` on.

        Raises:
            ConfigError: there is no option of that name.
        """
        known = self.get_params()
        for name, value in options.items():
            if name not in known:
                raise ConfigError(f"`EchoStateNetwork` has no option `{name}`.{did_you_mean(name, known)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self)).parameters
        given = {name: value for name, value in self.get_params().items() if value != defaults[name].default}
        return f"EchoStateNetwork({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    # --- fitting ---------------------------------------------------------------------------------------------------

    _drawn: Drawn | None = None
    _form: Form  # answers without inputs come in the form of the targets

    def fit(self, x: Any, y: Any) -> Self:
        """Draw the reservoirs and fit the read-out.

        Args:
            x: the inputs.
            y: the targets, as many series of the same lengths.

        Raises:
            ShapeError: inputs and targets do not fit each other, or a series is not longer than the washout.
            DataError: a number is NaN or infinite; the message names its row.
            ConfigError: an option cannot be, or the read-out has no unique solution.
        """
        self._drawn = None
        inputs, targets = self._pair(x, y)
        drawn = self._draw(inputs, targets)
        self._check_washout(inputs.ragged)
        if self.plasticity is not None:
            drawn.adapt(self.plasticity, inputs.ragged, targets.ragged)
        drawn.take(inputs.ragged, targets.ragged, new_series=True)
        drawn.weights()  # what cannot be solved is refused here
        self._drawn = drawn
        return self

    def partial_fit(self, x: Any, y: Any, *, new_series: bool = False) -> Self:
        """Fit to more data: the next piece of the series of the last call, or new ones.

            for x, y in pieces:                     # of a series that fits no memory
                model.partial_fit(x, y)

        All pieces together give the read-out that `fit` would. The washout counts over the pieces of a series.

        Args:
            x: the inputs.
            y: the targets.
            new_series: whether the reservoirs begin anew instead of going on from where the last call ended.

        Raises:
            ShapeError: inputs and targets do not fit each other or the pieces before.
            DataError: a number is NaN or infinite; the message names its row.
            ConfigError: an option cannot be.
        """
        inputs, targets = self._pair(x, y)
        if self._drawn is None:
            if self.plasticity is not None:
                raise ConfigError("`plasticity` goes through the data before the read-out does: call `fit`.")
            self._drawn = self._draw(inputs, targets)
            new_series = True
        self._drawn.take(inputs.ragged, targets.ragged, new_series=new_series)
        return self

    @property
    def weights_(self) -> Tensor:
        """W_out of each member, [S, F, O].

        Raises:
            ConfigError: nothing was fitted yet.
        """
        return self.drawn_.weights()

    @property
    def state_(self) -> ReservoirState:
        """Where fitting ended: `predict(x, state=model.state_)` goes on from there."""
        return self.drawn_.state

    @property
    def drawn_(self) -> Drawn:
        """What fitting drew and learnt: the reservoirs, cell by cell, and the read-out."""
        if self._drawn is None:
            raise ConfigError("This `EchoStateNetwork` is not fitted: call `fit` or `partial_fit` first.")
        return self._drawn

    def _draw(self, x: Series, y: Series) -> Drawn:
        sizes = x.ragged.values.shape[1], y.ragged.values.shape[1]
        check_bool("feedback", self.feedback)
        check_bool("sees_input", self.sees_input)
        if sizes[0] == 0 and not self.feedback:
            raise ShapeError("`x` must have I=1 column or more, or `feedback` must be True, got 0 columns.")
        check_count("washout", self.washout, least=0)
        if not isinstance(self.plasticity, IntrinsicPlasticity | None):
            raise ConfigError(f"`plasticity` must be an IntrinsicPlasticity or None, got {self.plasticity!r}.")
        readout = make_readout(self.readout, ridge=self.ridge, forgetting=self.forgetting, rate=self.rate)
        reservoirs = draw_reservoirs(self, *sizes, x.ragged.values.device)
        self._form = y.form
        return Drawn(reservoirs, readout, sizes, feedback=self.feedback, washout=self.washout)

    def _check_washout(self, x: Ragged) -> None:
        for index, length in enumerate(x.lengths.tolist()):
            if length <= self.washout and self.washout:
                which = f"series {index} has" if x.batch_size > 1 else "the series has"
                raise ShapeError(f"`washout` is {self.washout} steps and {which} {length}: nothing is left to fit to.")

    def _pair(self, x: Any, y: Any) -> tuple[Series, Series]:
        inputs = self._input(x)
        targets = as_series("y", y, dtype=torch.float64, device=inputs.ragged.values.device)
        columns = targets.ragged.values.shape[1]
        if inputs.ragged.lengths.tolist() != targets.ragged.lengths.tolist():
            raise ShapeError(
                f"`x` and `y` must have the same steps, got series of {lengths_text(inputs.ragged)} and "
                f"{lengths_text(targets.ragged)} steps."
            )
        if columns == 0 or (self._drawn is not None and columns != self._drawn.sizes[1]):
            expected = f"O={self._drawn.sizes[1]} columns as in `fit`" if self._drawn else "O=1 column or more"
            raise ShapeError(f"`y` must have {expected}, got {columns}.")
        return inputs, targets

    def _input(self, x: Any) -> Series:
        series = as_series("x", x, dtype=self.dtype if self._drawn is None else self._drawn.state.output.dtype)
        columns = series.ragged.values.shape[1]
        if self._drawn is not None and columns != self._drawn.sizes[0]:
            raise ShapeError(f"`x` must have I={self._drawn.sizes[0]} columns as in `fit`, got {columns}.")
        return series

    # --- answers ---------------------------------------------------------------------------------------------------

    def predict(self, x: Any, *, state: ReservoirState | None = None) -> Any:
        """The outputs for other inputs.

        Args:
            x: the inputs.
            state: where the series stand before the first step; at their begin where not given, and then the first
                answers, about as many as the washout, are of little worth.

        Returns: outputs in the form of `x`, [T, O] for one series.

        Raises:
            ConfigError: nothing was fitted yet.
            ShapeError: `x` or `state` has the wrong shape.
            DataError: a number is NaN or infinite; the message names its row.
        """
        return self.run(x, state=state)[0]

    def run(self, x: Any, *, state: ReservoirState | None = None) -> tuple[Any, ReservoirState]:
        """As `predict`, with the state after the last step, for the next piece of the series."""
        drawn, series = self.drawn_, self._input(x)
        outputs, after = drawn.outputs(series.ragged, state)
        return series.restore(outputs.mean(dim=0)), after

    def predict_members(self, x: Any, *, state: ReservoirState | None = None) -> list[Any]:
        """The outputs of each member of the ensemble, as `predict` gives their mean."""
        drawn, series = self.drawn_, self._input(x)
        return [series.restore(rows) for rows in drawn.outputs(series.ragged, state)[0]]

    def score(self, x: Any, y: Any, *, state: ReservoirState | None = None) -> float:
        """R², the share of the variance of the targets that is explained, mean over the outputs; 1 is best."""
        drawn = self.drawn_
        inputs, targets = self._pair(x, y)
        outputs = drawn.outputs(inputs.ragged, state)[0].mean(dim=0).double()
        wanted = targets.ragged.values
        error, spread = (wanted - outputs).square().sum(dim=0), (wanted - wanted.mean(dim=0)).square().sum(dim=0)
        return float((1 - error / spread).mean())

    def generate(self, steps: int, *, x: Any = None, prompt: Any = None, state: ReservoirState | None = None) -> Any:
        """A free run: every output is fed back, each member its own.

        Without `feedback`, an output is the next input: the network must have been fitted to predict its inputs one
        step ahead. With it, `x` drives the run.

        Args:
            steps: how many outputs.
            x: with `feedback`, the inputs of these steps; none where the network has none.
            prompt: without `feedback`, a series to begin from; the first output is the step after its last.
            state: where to begin, with the prompt if there is one; where fitting ended if neither is given. The first
                output is the step after the last target.

        Returns: outputs in the form of the prompt, or of the targets of `fit`; [steps, O] for one series, [steps, B, O]
            where that is of one series and the state of several.

        Raises:
            ConfigError: nothing was fitted yet, or outputs cannot be inputs.
            ShapeError: an argument has the wrong shape, or the state is not of this network.
        """
        drawn = self.drawn_
        check_count("steps", steps)
        if drawn.feedback:
            if prompt is not None:
                raise ConfigError("`prompt` is for networks without feedback: `run` the series and give its `state`.")
            begin = drawn.state if state is None else drawn.checked(state)
            made, _ = closed_loop(drawn.reservoirs, drawn.narrow_weights(), self._drive(x, steps, begin), begin)
            return _answer(made, self._form)
        if x is not None:
            raise ConfigError("`x` of `generate` is for networks with feedback: in others the output is the input.")
        return self._generate_inputs(drawn, steps, prompt, state)

    def _drive(self, x: Any, steps: int, state: ReservoirState) -> Tensor:
        """The inputs of a free run with feedback, [T, B, I]."""
        batch, size = state.output.shape[1], self.drawn_.sizes[0]
        if x is None and size == 0:
            return state.output.new_zeros(steps, batch, 0)
        if x is None:
            raise ShapeError(f"`x` must have the I={size} inputs of the {steps} steps, got none.")
        series = self._input(x).ragged
        if series.lengths.tolist() != [steps] * batch:
            raise ShapeError(f"`x` must have {batch} series of {steps} steps, got {lengths_text(series)}.")
        return series.values.unflatten(0, (batch, steps)).transpose(0, 1)

    def _generate_inputs(self, drawn: Drawn, steps: int, prompt: Any, state: ReservoirState | None) -> Any:
        inputs, outputs = drawn.sizes
        if inputs != outputs:
            raise ConfigError(
                f"An output of O={outputs} numbers cannot be the next input of I={inputs}: fit to the next input, or "
                "with `feedback`."
            )
        if prompt is None:
            begin = drawn.state if state is None else drawn.checked(state)
            return _answer(own_input(drawn.reservoirs, drawn.narrow_weights(), steps, begin), self._form)
        series = self._input(prompt)
        if not bool((series.ragged.lengths > 0).all()):
            raise ShapeError("`prompt` must have at least one step in each series.")
        _, begin = drawn.outputs(series.ragged, state)  # its output is the first that is made
        made = own_input(drawn.reservoirs, drawn.narrow_weights(), steps - 1, begin)
        return _answer(torch.cat([begin.output[None], made]), series.form)


def _answer(made: Tensor, form: Form) -> Any:
    """[steps, S, B, O] in the form of some series, the mean of the members."""
    rows = made.mean(dim=1)
    steps, batch, _ = rows.shape
    offsets = torch.arange(batch + 1, device=rows.device) * steps
    return form.restore(rows.transpose(0, 1).flatten(0, 1), offsets)
