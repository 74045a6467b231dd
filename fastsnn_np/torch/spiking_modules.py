"""Layers of neurons that fire again and again, and the readout above them.

The equations are those of the design, section 9; here they run in a plain loop over time, which
Torch differentiates, and ``spiking`` has the network by the event engine.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from .._checks import flag, positive
from .._decay import beta_from_tau
from .._kinds import Neuron
from ..spikes import Events, SpikeTimes
from ._options import READOUT, NeuronOptions, ReadoutOptions, complete
from .functional import check_threshold
from .modules import LeakyIntegrator, Readout

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
