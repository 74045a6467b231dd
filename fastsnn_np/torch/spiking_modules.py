"""Layers of neurons that fire again and again, and the readout above them.

The equations are those of the design, section 9; here they run in a plain loop over time, which
Torch differentiates, and ``spiking`` has the network by the event engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Self, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from .. import network as _network
from .._checks import check_options, flag, is_number, positive
from .._decay import beta_from_tau
from .._kinds import Neuron
from .._namespace import is_array
from .._parts import arrays_of
from ..backends.event.spiking_layers import Surrogate
from ..backends.torch import asarray
from ._arguments import check_part
from ._options import (
    READOUT,
    SPIKING,
    ReadoutOptions,
    SpikingGradientOptions,
    SpikingOptions,
    complete,
)
from .functional import spike, surrogate_derivative
from .modules import Clamped, LeakyIntegrator, Readout
from .spiking_events import EventLayer

_LARGEST_A = 0.1  # a learnt coupling is clamped to what is far from unstable


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

    checks: ClassVar[dict[str, Callable[[str, Any], Any]]] = {
        **LeakyIntegrator.checks,
        "neuron": lambda name, value: _fires_always(value),
        "support": lambda name, value: _above_0(name, value),
        "detach_reset": flag,
    }
    defaults: ClassVar[Mapping[str, Any]] = {**SPIKING, "neuron": asdict(SPIKING["neuron"])}

    def __init__(self, n_inputs: int, n_neurons: int, **options: Unpack[SpikingOptions]) -> None:
        options = complete(options, SPIKING, type(self).__name__)
        super().__init__(n_inputs, n_neurons, options)
        self.neuron, self.threshold = options["neuron"], options["threshold"]
        self.slope, self.support = options["slope"], options["support"]
        self.detach_reset = options["detach_reset"]
        neuron = self.neuron
        dt = positive("dt", options["dt"], "ms")
        tau = positive("tau_adaptation", options["tau_adaptation"], "ms")
        is_recurrent = flag("recurrent", options["recurrent"])
        self.recurrent = self._new(n_neurons, n_neurons) if is_recurrent else None
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
        rho = None if self.rho is None else Clamped.apply(self.rho, 0.0, 0.999)
        a = None if self.a is None else Clamped.apply(self.a, 0.0, _LARGEST_A)
        b = None if self.b is None else Clamped.apply(self.b, 0.0, math.inf)
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
            s = spike(level, 0.0, slope=self.slope, surrogate=self._bounded) * (closed == 0)
            closed = torch.where(s.detach() > 0, kind.refractory, (closed - 1).clamp(min=0))
            spikes.append(s)
        return torch.stack(spikes, dim=-1)

    def _bounded(self, distance: Tensor, slope: float) -> Tensor:
        """The surrogate derivative, 0 outside its support."""
        return torch.where(distance.abs() < self.support, surrogate_derivative(distance, slope), 0)

    def _reset(self, u: Tensor, spikes: Tensor) -> Tensor:
        """What spikes take from the potential."""
        if self.neuron.reset == "none":
            return torch.zeros_like(u)
        return u * spikes if self.neuron.reset == "zero" else self.threshold * spikes

    def for_events(self) -> EventLayer:
        """The layer as the event engine takes it."""
        surrogate = Surrogate(self.slope, self.support, not self.detach_reset)
        parameters = (self.weight, self.bias, self.clamped_beta(), self.recurrent)
        return EventLayer(
            self.neuron,
            self.threshold,
            self.input_scale,
            surrogate,
            (*parameters, *self.adaptation()),
        )

    def to_layer(self) -> _network.Layer:
        """The same parameters, bit for bit, as a `fastsnn_np.Layer` of NumPy arrays."""
        names = ("recurrent", "rho", "a", "b")
        held = dict(zip(names, (self.recurrent, *self.adaptation()), strict=True))
        arrays: dict[str, Any] = {n: None if p is None else _host(p) for n, p in held.items()}
        return _network.Layer(
            **self._arrays(), threshold=self.threshold, neuron=self.neuron, **arrays
        )

    @classmethod
    def from_layer(
        cls,
        layer: _network.Layer,
        *,
        learn_beta: bool = True,
        device: Any = None,
        **options: Unpack[SpikingGradientOptions],
    ) -> Self:
        """A module with the parameters of a `fastsnn_np.Layer`, bit for bit.

        Parameters
        ----------
        slope, support, detach_reset
            As in `SpikingLIF`; they are no part of a `Layer`.
        layer, learn_beta, device
            As in `FastLIF.from_layer`.

        Raises
        ------
        ValueError
            If its neurons fire once, it has delays or a threshold per neuron, or an `a` or `rho`
            that would be clamped here.
        """
        check_part("layer", layer, _network.Layer)
        check_options("from_layer", options, SpikingGradientOptions.__optional_keys__)
        threshold: Any = layer.threshold
        if layer.delay is not None or is_array(threshold):
            raise ValueError("a SpikingLIF has one threshold and no delays")
        more = {"threshold": threshold, "neuron": layer.neuron, **options}
        more["recurrent"] = layer.recurrent is not None
        module = cls._from_part(layer, learn_beta, device, more)
        held = arrays_of(layer)
        with torch.no_grad():
            for name in ("recurrent", "rho", "a", "b"):
                if name in held:
                    module.get_parameter(name).copy_(asarray(held[name], device))
            for name, used in zip(("rho", "a"), module.adaptation(), strict=False):
                if used is not None and not torch.equal(used, module.get_parameter(name)):
                    raise ValueError(
                        f"{name} of the layer, up to {float(module.get_parameter(name).max())}, "
                        f"would be clamped to {float(used.max())} here"
                    )
        return module

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
    about gamma^s with input_scale="normalised", which is the default here. All classes share one
    beta, which is not learnt, and there is no bias unless given.

    Parameters
    ----------
    tau_weight : float or None
        In ms; None for gamma = 1, the sum.
    n_inputs, n_neurons, tau, dt, bias, input_scale, device, dtype
        As in `Readout`.
    """

    defaults: ClassVar[Mapping[str, Any]] = {
        **READOUT,
        "input_scale": "normalised",
        "share_beta": True,
        "gamma": 1.0,
    }

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
        options["learn_beta"], options["share_beta"] = False, True
        super().__init__(n_inputs, n_neurons, **options)
        dt = positive("dt", options["dt"], "ms")
        tau = None if tau_weight is None else positive("tau_weight", tau_weight, "ms")
        self.gamma = 1.0 if tau is None else float(beta_from_tau(tau, dt))

    def logits(self, current: Tensor, initial_potential: Tensor | None = None) -> Tensor:
        """Logits (..., classes) of currents (..., classes, time)."""
        v = self.potential_of(current, initial_potential)
        steps = torch.arange(v.shape[-1], dtype=v.dtype, device=v.device)
        return (v * self.gamma**steps).sum(-1)

    def to_readout(self) -> _network.Readout:
        """The same as a `fastsnn_np.Readout` of NumPy arrays, bit for bit."""
        if self.gamma == 1:
            return super().to_readout()
        return _network.Readout(**self._arrays(), kind="weighted", gamma=self.gamma)

    @classmethod
    def from_readout(
        cls, readout: _network.Readout, *, learn_beta: bool = False, device: Any = None
    ) -> Self:
        """A module with the parameters of a `fastsnn_np.Readout`, bit for bit.

        Raises
        ------
        ValueError
            If the readout is of kind "max", its classes differ in beta, or beta is to be learnt.
        """
        check_part("readout", readout, _network.Readout)
        beta = asarray(readout.beta, device)
        if readout.kind == "max" or bool((beta != beta[0]).any()) or learn_beta:
            raise ValueError(
                "a WeightedReadout sums, and all classes share one beta, which is not learnt: "
                "Readout.from_readout takes others"
            )
        module = cls._from_part(readout, False, device, {})
        module.gamma = 1.0 if readout.gamma is None else readout.gamma
        return module

    def profile(self, steps: int) -> Any:
        """What a spike counts at each step, float64 (steps,), the same for all classes."""
        beta, t = float(self.clamped_beta()[0]), np.arange(steps)  # all share it
        scale = 1.0 if self.input_scale == "unit" else 1 - beta
        both = beta * self.gamma
        return scale * self.gamma**t * (1 - both ** (steps - t)) / (1 - both)

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "gamma": self.gamma}


def _fires_always(neuron: Any) -> Neuron:
    if not isinstance(neuron, Neuron) or neuron.fires != "always":
        raise ValueError(
            f'neuron must be a Neuron("always", ...), got {neuron!r}: FastLIF has neurons that '
            "fire once"
        )
    return neuron


def _above_0(name: str, value: Any) -> float:
    """A number above 0, also an infinite one."""
    if not is_number(value) or not value > 0:
        raise ValueError(f"{name} must be above 0, got {value!r}")
    return float(value)


def _host(parameter: Tensor) -> Any:
    """A parameter as a NumPy array of its own."""
    return parameter.detach().cpu().numpy().copy()
