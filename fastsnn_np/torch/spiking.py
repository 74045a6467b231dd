"""Networks whose neurons fire again and again, trained by the event engine or in a plain loop.

The equations, forward and backward, are those of the design, section 8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal, NamedTuple, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from .. import backends
from .._checks import check_neurons, check_option, flag, positive
from .._decay import beta_from_tau
from .._kinds import Neuron
from ..backends.event import layers as single
from ..backends.event import spiking_layers as events
from ..network import TAU_READOUT
from ..spikes import Events, SpikeTimes
from ._model import Model, checked_sizes
from ._options import READOUT, NeuronOptions, ReadoutOptions, complete
from .functional import check_threshold, no_double_backward
from .modules import Activity, DropoutMask, LeakyIntegrator, Readout, as_dense

_TAU_ADAPTATION = 100.0  # ms
_LARGEST_A = 0.1  # a learnt coupling is clamped to what is far from unstable


class SpikingOptions(NeuronOptions, total=False):
    """Options of `SpikingLIF`."""

    threshold: float
    neuron: Neuron
    recurrent: bool
    tau_adaptation: float  #: ms
    slope: float
    support: float
    detach_reset: bool


SPIKING: SpikingOptions = {
    "tau": 20.0,
    "dt": 1.0,
    "bias": True,
    "learn_beta": True,
    "share_beta": False,
    "input_scale": "unit",
    "device": None,
    "dtype": None,
    "threshold": 1.0,
    "neuron": Neuron("always"),
    "recurrent": False,
    "tau_adaptation": _TAU_ADAPTATION,
    "slope": 10.0,
    "support": math.inf,
    "detach_reset": True,
}


class SpikingLIF(LeakyIntegrator):
    """Leaky integrate-and-fire neurons that fire whenever they cross the threshold.

    Parameters
    ----------
    n_inputs, n_neurons, tau, dt, bias, learn_beta, share_beta, input_scale, threshold, device,
    dtype
        As in `FastLIF`, but that tau is 20 ms unless given.
    neuron : Neuron
        Reset, refractory steps and adaptation; ``Neuron("always")`` unless given.
    recurrent : bool
        Whether each spike reaches all neurons of the layer one step later, through weights.
    tau_adaptation : float
        Time constant in ms about which the decays rho of the adaptation start, one per neuron.
    slope : float
        Of the surrogate derivative (slope |d| + 1)^-2 (eq. 20).
    support : float
        |u - theta| from which on that derivative is 0; infinite unless given. With 0.5 few neurons
        have a gradient at a step, and a training step is about twice as fast: another gradient.
    detach_reset : bool
        Whether gradients stop at the reset; True unless given.

    Raises
    ------
    ValueError, TypeError
        If an option is unknown or does not fit.
    """

    def __init__(self, n_inputs: int, n_neurons: int, **options: Unpack[SpikingOptions]) -> None:
        options = complete(options, SPIKING, type(self).__name__)
        neuron = options["neuron"]
        if not isinstance(neuron, Neuron) or neuron.fires != "always":
            raise ValueError(
                f'neuron must be a Neuron("always", ...), got {neuron!r}: FastLIF has neurons that '
                "fire once"
            )
        super().__init__(n_inputs, n_neurons, options)
        self.neuron, self.slope = neuron, options["slope"]
        self.threshold = check_threshold(options["threshold"])
        self.support = float(options["support"])
        if not self.support > 0:
            raise ValueError(f"support must be above 0, got {self.support}")
        self.detach_reset = flag("detach_reset", options["detach_reset"])
        dt = positive("dt", options["dt"], "ms")
        tau = positive("tau_adaptation", options["tau_adaptation"], "ms")
        self.recurrent = self._new(n_neurons, n_neurons) if options["recurrent"] else None
        self.rho = self._new(n_neurons) if neuron.adapts else None
        self.a = self._new(n_neurons) if neuron.adaptation == "current" else None
        self.b = self._new(n_neurons) if neuron.adapts else None
        self._start(dt, tau)

    def _new(self, *shape: int) -> nn.Parameter:
        return nn.Parameter(torch.empty(*shape, device=self.weight.device, dtype=self.weight.dtype))

    def _start(self, dt: float, tau: float) -> None:
        """Half the feed-forward weights' range for recurrence; adaptation in proportion to dt."""
        with torch.no_grad():
            if self.recurrent is not None:
                bound = 0.5 * len(self.recurrent) ** -0.5
                self.recurrent.uniform_(-bound, bound)
            if self.rho is not None and self.b is not None:
                spread = torch.empty_like(self.rho).uniform_(0.3 * tau, 1.2 * tau)
                self.rho.copy_(torch.exp(-dt / spread))
                is_current = self.neuron.adaptation == "current"
                self.b.uniform_(0, 0.1 * (dt / 10 if is_current else 1.0))
            if self.a is not None:
                self.a.uniform_(0, 0.1 * min(dt / 10, 1.0) ** 2)

    def adaptation(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """rho, a and b, clamped to where they are stable, or None."""
        rho = None if self.rho is None else _Clamped.apply(self.rho, 0.0, 0.999)
        a = None if self.a is None else _Clamped.apply(self.a, 0.0, _LARGEST_A)
        b = None if self.b is None else _Clamped.apply(self.b, 0.0, math.inf)
        return rho, a, b

    def forward(self, x: Tensor) -> Tensor:
        """Spikes (batch, neurons, time) of dense inputs, in a plain loop over time."""
        beta, (rho, a, b) = self.clamped_beta(), self.adaptation()
        current = self.current(x)
        if self.input_scale == "normalised":
            current = current * (1 - beta)[:, None]
        steps = current.movedim(-1, 0).contiguous().unbind(0)
        kind, scale = self.neuron, 1 if self.input_scale == "unit" else 1 - beta
        u = torch.zeros_like(steps[0])
        s, w = u, u
        closed = torch.zeros_like(u)
        spikes = []
        for drive in steps:
            if self.recurrent is not None:
                drive = drive + scale * (s @ self.recurrent.T)
            let = s.detach() if self.detach_reset else s
            reset = self._reset(u, let)
            if rho is not None and b is not None:
                w = rho * w + b * s if a is None else rho * w + a * u + b * s
            is_early = kind.reset_at == "before decay"
            u = (beta * (u - reset) if is_early else beta * u - reset) + drive
            if a is not None:
                u = u - w
            level = u - self.threshold - (w if kind.adaptation == "threshold" else 0)
            s = _Spike.apply(level, self.slope, self.support) * (closed == 0)
            closed = torch.where(s.detach() > 0, kind.refractory, (closed - 1).clamp(min=0))
            spikes.append(s)
        return torch.stack(spikes, dim=-1)

    def _reset(self, u: Tensor, spikes: Tensor) -> Tensor:
        """What spikes take from the potential."""
        if self.neuron.reset == "none":
            return torch.zeros_like(u)
        return u * spikes if self.neuron.reset == "zero" else self.threshold * spikes

    def settings(self) -> dict[str, Any]:
        return {
            **super().settings(),
            "threshold": self.threshold,
            "neuron": asdict(self.neuron),
            "slope": self.slope,
            "support": self.support,
            "detach_reset": self.detach_reset,
        }


class WeightedReadout(Readout):
    """Neurons that never fire; logits = sum over t of gamma^t V[t], gamma = exp(-dt / tau_weight).

    A spike at step s counts gamma^s (1 - (beta gamma)^(T-s)) / (1 - beta gamma), times the scale:
    about gamma^s with input_scale="normalised", which the default is here. beta is not learnt, and
    there is no bias unless given.

    Parameters
    ----------
    tau_weight : float or None
        In ms; None for gamma = 1, the sum.
    n_inputs, n_neurons, tau, dt, bias, share_beta, input_scale, device, dtype
        As in `Readout`.
    """

    def __init__(
        self,
        n_inputs: int,
        n_neurons: int,
        *,
        tau_weight: float | None = None,
        **options: Unpack[ReadoutOptions],
    ) -> None:
        own: ReadoutOptions = {**READOUT, "bias": False, "input_scale": "normalised"}
        options = {**complete(options, own, type(self).__name__), "kind": "sum"}
        options["learn_beta"] = False
        super().__init__(n_inputs, n_neurons, **options)
        dt = positive("dt", options["dt"], "ms")
        tau = None if tau_weight is None else positive("tau_weight", tau_weight, "ms")
        self.gamma = 1.0 if tau is None else float(beta_from_tau(tau, dt))

    def forward(
        self, x: Tensor | SpikeTimes | Events, initial_potential: Tensor | None = None
    ) -> Tensor:
        """Logits (..., classes) of inputs (..., inputs, time)."""
        v = self.potential(x, initial_potential)
        return (v * self.gamma ** torch.arange(v.shape[-1], dtype=v.dtype)).sum(-1)

    def profile(self, steps: int) -> Any:
        """What a spike counts at each step, float64 (steps,), the same for all classes."""
        beta, t = float(self.clamped_beta()[0]), np.arange(steps)
        scale = 1.0 if self.input_scale == "unit" else 1 - beta
        both = beta * self.gamma
        return scale * self.gamma**t * (1 - both ** (steps - t)) / (1 - both)

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "gamma": self.gamma}


class SpikingSNN(Model):
    """Hidden layers of `SpikingLIF` and a `WeightedReadout`.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, neurons of each hidden layer, classes.
    tau_readout : float
        Time constant of the readout in ms.
    tau_weight : float or None
        In ms, as in `WeightedReadout`.
    dropout : float
        Probability that all spikes of a hidden neuron of a sample are dropped in training, on the
        way to the next layer.
    engine : {"event", "dense"}
        "event" computes spikes and gradients at a cost that follows the spikes, on the CPU, without
        any dense train; "dense" in the plain loop over time that Torch differentiates.
    neuron, recurrent, tau, dt, bias, learn_beta, share_beta, threshold, input_scale, slope,
    support, detach_reset, tau_adaptation, device, dtype
        As in `SpikingLIF`, for every hidden layer.

    Examples
    --------
    >>> model = SpikingSNN([700, 64, 20], neuron=Neuron("always", adaptation="current"), dt=4.0)
    >>> model(torch.zeros(5, 700, 50)).shape
    torch.Size([5, 20])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        tau_readout: float = TAU_READOUT,
        tau_weight: float | None = None,
        dropout: float = 0.0,
        engine: Literal["event", "dense"] = "event",
        **options: Unpack[SpikingOptions],
    ) -> None:
        options = complete(options, SPIKING, type(self).__name__)
        check_option("engine", engine, Literal["event", "dense"])
        sizes = checked_sizes(sizes)
        hidden = [
            SpikingLIF(n_in, n_out, **options)
            for n_in, n_out in zip(sizes[:-2], sizes[1:-1], strict=True)
        ]
        last = WeightedReadout(
            *sizes[-2:],
            tau=tau_readout,
            tau_weight=tau_weight,
            dt=options["dt"],
            device=options["device"],
            dtype=options["dtype"],
        )
        super().__init__(hidden, last, options["dt"])
        self.dropout, self.engine = dropout, engine

    def forward(self, x: Tensor | SpikeTimes | Events, *, return_activity: bool = False) -> Any:
        """Logits (batch, classes) of inputs (batch, inputs, time), dense or sparse.

        With ``return_activity=True`` also an `Activity` of each hidden layer.
        """
        inputs = x.shape[-2] if isinstance(x, Tensor) else x.n_neurons
        check_neurons(inputs, self.sizes[0], "the model")
        batch = len(x)
        masks: list[DropoutMask | None] = [None] * len(self.layers)
        if self.training and self.dropout:
            masks = [
                DropoutMask.draw(batch, len(layer.weight), self.dropout, layer.weight.device)
                for layer in self.hidden()
            ]
        run = self._by_events if self.engine == "event" else self._densely
        if self.engine == "event" and torch.compiler.is_compiling():
            run = torch.compiler.disable(run)  # Dynamo knows neither kernels nor sparse forms
        logits, activities = run(x, masks)
        return (logits, activities) if return_activity else logits

    def _densely(self, x: Any, masks: list[DropoutMask | None]) -> tuple[Tensor, list[Activity]]:
        spikes, activities = as_dense(x, self.readout.weight), []
        for layer, mask in zip(self.hidden(), masks, strict=True):
            spikes = layer(spikes)
            activities.append(Activity.of(spikes))
            spikes = spikes if mask is None else mask(spikes)
        return self.readout(spikes), activities

    def _by_events(self, x: Any, masks: list[DropoutMask | None]) -> tuple[Tensor, list[Activity]]:
        last: Any = self.readout
        weight = last.weight
        if weight.device.type != "cpu" or weight.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                "the event engine computes in float32 or float64 on the CPU, and the model is "
                f'{weight.dtype} on {weight.device}: engine="dense" takes it'
            )
        dtype = backends.get("numpy").asarray(weight.detach()).dtype
        parameters: list[Tensor | None] = []
        for layer in self.hidden():
            rho, a, b = layer.adaptation()
            own = (layer.weight, layer.bias, layer.clamped_beta(), layer.recurrent, rho, a, b)
            parameters += own
        parameters += [last.weight, last.bias]
        options = _Options(self.hidden(), masks, last, _rows(x, dtype))
        logits, *found = _Network.apply(x if isinstance(x, Tensor) else None, options, *parameters)
        groups = [found[i : i + 3] for i in range(0, len(found), 3)]
        return logits, [Activity(*group) for group in groups]


class _Options(NamedTuple):
    """What is not learnt."""

    hidden: Sequence[SpikingLIF]
    masks: Sequence[DropoutMask | None]
    readout: WeightedReadout
    rows: Any


_PER_LAYER = 7  # parameters of a hidden layer, in the order of `SpikingSNN._by_events`


class _Network(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, dense: Tensor | None, options: _Options, *parameters: Any
    ) -> tuple[Tensor, ...]:
        arrays = [None if p is None else p.detach().numpy() for p in parameters]
        *hidden, (weight, bias) = _grouped(arrays)
        rows, kept, activities, size = options.rows, [], [], 1.0
        steps = rows.indptr.shape[1] - 1
        for module, mask, own in zip(options.hidden, options.masks, hidden, strict=True):
            w, layer_bias, beta, recurrent, rho, a, b = own
            given = events.Parameters(
                *(w, layer_bias, beta, module.input_scale, module.neuron, module.threshold),
                *(recurrent, rho, a, b),
            )
            layer = events.prepared(given, factor=size)
            run = events.forward(rows, layer, keep=any(ctx.needs_input_grad))
            kept.append((rows, layer, run))
            activities += _activity(run.rows, weight.dtype)
            rows = run.rows
            if mask is not None:
                rows = events.passed(rows, mask.kept.numpy())
            size = 1.0 if mask is None else mask.scale
        profile = (size * options.readout.profile(steps)).astype(weight.dtype)
        counts = events.weighed(rows, profile)
        logits = counts @ weight.T
        if bias is not None:  # a constant current of every step
            logits = logits + np.asarray(_bias_counts(options.readout, steps), bias.dtype) * bias
        ctx.kept, ctx.options, ctx.counts, ctx.profile = kept, options, counts, profile
        ctx.save_for_backward(*[p for p in parameters if p is not None])
        ctx.absent = [p is None for p in parameters]
        ctx.mark_non_differentiable(*activities[2::3])
        return torch.from_numpy(logits), *activities

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        _ = ctx.saved_tensors  # raises if a parameter was changed in between
        options: _Options = ctx.options
        dlogits, *activities = (grad.numpy() for grad in grads)
        weight = options.readout.weight.detach().numpy()
        steps = len(ctx.profile)
        found: list[Any] = [
            dlogits.T @ ctx.counts,
            dlogits.sum(0) * dlogits.dtype.type(_bias_counts(options.readout, steps)),
        ]
        current = ctx.profile[:, None] * dlogits[:, None, :]
        wants_input = ctx.needs_input_grad[0]
        for i in reversed(range(len(options.hidden))):
            module, mask = options.hidden[i], options.masks[i]
            rows, layer, run = ctx.kept[i]
            own = events.backward(
                rows,
                layer,
                run,
                current,
                weight,
                events.Surrogate(module.slope, module.support, not module.detach_reset),
                keep_current=i > 0 or wants_input,
                passes=None if mask is None else mask.kept.numpy(),
                activity=(activities[3 * i], activities[3 * i + 1]),
            )
            below = None if i == 0 else options.masks[i - 1]
            weight = module.weight.detach().numpy() * (1.0 if below is None else below.scale)
            weight, current = weight.astype(dlogits.dtype, copy=False), own.current
            names = ("weight", "bias", "beta", "recurrent", "rho", "a", "b")
            found = [*(getattr(own, name) for name in names), *found]
        dx = None
        if wants_input:
            dx = torch.from_numpy(np.matmul(weight.T, current.transpose(0, 2, 1)))
        absent = zip(found, ctx.absent, strict=True)
        tensors = [None if skip or g is None else torch.from_numpy(g) for g, skip in absent]
        return dx, None, *tensors


class _Spike(torch.autograd.Function):
    """1 above 0; eq. 20 where |v| is below the support stands for its derivative."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, slope: float, support: float) -> Tensor:
        ctx.save_for_backward(v)
        ctx.options = slope, support
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (v,) = ctx.saved_tensors
        slope, support = ctx.options
        h = torch.where(v.abs() < support, (slope * v.abs() + 1) ** -2, 0)
        return grads[0] * h, None, None


class _Clamped(torch.autograd.Function):
    """A parameter clamped to a range, the gradient passed straight through."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0], None, None


def _grouped(flat: Sequence[Any]) -> list[Sequence[Any]]:
    return [flat[i : i + _PER_LAYER] for i in range(0, len(flat), _PER_LAYER)]


def _rows(x: Any, dtype: Any) -> Any:
    if isinstance(x, Tensor):
        return single.rows_of(x.detach().numpy(), dtype)
    if isinstance(x, SpikeTimes):
        times = backends.get("numpy").asarray(x.times)
        return single.rows_of_times(times, x.n_steps, dtype)
    return single.rows_of(x, dtype)


def _bias_counts(readout: WeightedReadout, steps: int) -> float:
    """What a constant current comes to: that of a spike at every step."""
    return float(readout.profile(steps).sum())


def _activity(rows: Any, dtype: Any) -> list[Tensor]:
    """`Activity` of a layer's spikes."""
    steps = rows.indptr.shape[1] - 1
    in_step = np.diff(rows.indptr, axis=1)
    spikes = in_step.sum(axis=1)
    latency = rows.n_inputs * steps - in_step @ np.arange(steps, 0, -1)
    per_neuron = events.weighed(rows, np.ones(steps)).sum(axis=0).astype(np.int64)
    return [
        torch.from_numpy(spikes.astype(dtype)),
        torch.from_numpy(latency.astype(dtype)),
        torch.from_numpy(per_neuron),
    ]
