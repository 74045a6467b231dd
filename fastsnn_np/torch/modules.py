"""Layers as `torch.nn.Module`s, over the same core as everything else."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import array_api_compat.torch as xp
import torch
from torch import Tensor, nn

from .. import network as _network
from .._checks import check_beta, check_option, check_time_axis
from .._currents import currents
from .._decay import InputScale, beta_from_tau, decay_unchecked
from .._layer import ReadoutKind
from ..backends.torch import asarray
from ..spikes import Events, SpikeTimes
from .functional import Gradient, Surrogate, check_gradient, first_spike


class Activity(NamedTuple):
    """What a hidden layer's spikes in a batch come to; the first two are differentiable."""

    spikes: Tensor  #: (batch,) spikes of each sample
    #: (batch,) sum over neurons of the step of the spike, of a silent one the number of steps:
    #: neurons x steps less what is left of the window after each spike
    latency: Tensor
    per_neuron: Tensor  #: int64 (neurons,) spikes of each neuron in the whole batch

    @classmethod
    def of(cls, spikes: Tensor) -> Activity:
        """Of a dense train (batch, neurons, time)."""
        in_step = spikes.sum(1)
        neurons, steps = spikes.shape[1:]
        left = torch.arange(steps, 0, -1, device=spikes.device, dtype=spikes.dtype)
        per_neuron = spikes.detach().sum((0, 2)).to(torch.int64)
        # no matrix product, which autocast would compute in half precision
        return cls(in_step.sum(-1), neurons * steps - (in_step * left).sum(-1), per_neuron)


class Dropped(NamedTuple):
    """Dropout of whole neurons, each for one sample: of spikes that come once, or not at all."""

    passes: Tensor  #: bool (batch, neurons)
    factor: float  #: what those that pass are multiplied by

    @classmethod
    def draw(cls, batch: int, neurons: int, p: float, device: Any) -> Dropped:
        """Each passes with probability 1 - p, by Torch's global generator."""
        return cls(torch.rand(batch, neurons, device=device) >= p, 1 / (1 - p))

    def __call__(self, spikes: Tensor) -> Tensor:
        return spikes * (self.passes.to(spikes.dtype) * self.factor)[..., None]


class _Neurons(nn.Module):
    """Synapses and leaky neurons: weight, bias and one beta a neuron."""

    def __init__(
        self,
        n_inputs: int,
        n_neurons: int,
        *,
        tau: float,
        dt: float,
        bias: bool,
        learn_beta: bool,
        share_beta: bool,
        input_scale: InputScale,
        device: Any,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        if n_inputs < 1 or n_neurons < 1:
            raise ValueError(f"a layer needs inputs and neurons, got {n_inputs} and {n_neurons}")
        check_option("input_scale", input_scale, InputScale)
        self.input_scale = input_scale
        empty = torch.empty(n_neurons, device=device, dtype=dtype)
        # transposed in memory, as the event kernels read it; to everyone else (neurons, inputs)
        weight = torch.empty(n_inputs, n_neurons, device=device, dtype=dtype).t()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.empty_like(empty)) if bias else None
        beta = torch.full_like(empty[0] if share_beta else empty, beta_from_tau(tau, dt))
        check_beta(xp, beta)
        if learn_beta:
            self.beta = nn.Parameter(beta)
        else:
            self.register_buffer("beta", beta)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights from U(-sqrt(1/N), sqrt(1/N)), N inputs, and biases 0, as in the paper."""
        bound = self.weight.shape[1] ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def potential(self, x: Tensor, initial_potential: Tensor | None = None) -> Tensor:
        """Membrane potential without reset, (..., neurons, time)."""
        beta = self.inside_beta()
        current = self.current(x)
        with torch.autocast(x.device.type, enabled=False):
            v: Tensor = decay_unchecked(xp, current, beta, initial_potential, self.input_scale)
        return v

    def current(self, x: Tensor) -> Tensor:
        """Input currents (..., neurons, time) in the dtype of beta; autocast is for them alone."""
        check_time_axis("x", x)
        current: Tensor = currents(x, self.weight, self.bias)
        return current.to(self.beta.dtype)

    def inside_beta(self) -> Tensor:
        """beta of every neuron, held inside (0, 1) whatever an optimiser did to it."""
        beta: Tensor = _Inside.apply(self.beta)
        return beta.expand(len(self.weight))

    def extra_repr(self) -> str:
        n, k = self.weight.shape
        learnt = isinstance(self.beta, nn.Parameter)
        return f"{k}, {n}, learn_beta={learnt}, input_scale={self.input_scale!r}"


class FastLIF(_Neurons):
    """Leaky integrate-and-fire neurons that fire at most once.

    Parameters
    ----------
    n_inputs, n_neurons : int
    tau, dt : float
        Membrane time constant and step in ms, from which beta = exp(-dt / tau) starts.
    learn_beta : bool
        Whether beta is learnt.
    share_beta : bool
        Whether the layer has one beta, and not one a neuron.
    threshold : float
    input_scale : {"unit", "normalised"}
        Whether the current is multiplied by 1 or by 1 - beta.
    gradient, slope, surrogate
        As in `first_spike`.
    """

    def __init__(
        self,
        n_inputs: int,
        n_neurons: int,
        *,
        tau: float = _network.TAU_HIDDEN,
        dt: float = 1.0,
        bias: bool = True,
        learn_beta: bool = True,
        share_beta: bool = False,
        threshold: float = 1.0,
        input_scale: InputScale = "unit",
        gradient: Gradient = "straight_through",
        slope: float = 10.0,
        surrogate: Surrogate = "fast_sigmoid",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            n_inputs,
            n_neurons,
            tau=tau,
            dt=dt,
            bias=bias,
            learn_beta=learn_beta,
            share_beta=share_beta,
            input_scale=input_scale,
            device=device,
            dtype=dtype,
        )
        check_gradient(gradient, slope, surrogate)
        self.threshold, self.gradient = threshold, gradient
        self.slope, self.surrogate = slope, surrogate

    def forward(self, x: Tensor, initial_potential: Tensor | None = None) -> Tensor:
        """Spikes (..., neurons, time), at most one along time, of inputs (..., inputs, time)."""
        v = self.potential(x, initial_potential)
        return first_spike(
            v,
            self.threshold,
            gradient=self.gradient,
            slope=self.slope,
            surrogate=self.surrogate,
        )

    def to_layer(self) -> _network.Layer:
        """The same parameters, bit for bit, as a `fastsnn_np.Layer` of NumPy arrays."""
        return _network.Layer(**_arrays(self), threshold=self.threshold)


class Readout(_Neurons):
    """Neurons that never fire; their logits are the sum or maximum of the potential over time.

    Parameters
    ----------
    kind : {"sum", "max"}
    n_inputs, n_neurons, tau, dt, learn_beta, share_beta, input_scale
        As in `FastLIF`.
    """

    def __init__(
        self,
        n_inputs: int,
        n_neurons: int,
        *,
        tau: float = _network.TAU_READOUT,
        dt: float = 1.0,
        bias: bool = True,
        learn_beta: bool = True,
        share_beta: bool = False,
        kind: ReadoutKind = "sum",
        input_scale: InputScale = "unit",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            n_inputs,
            n_neurons,
            tau=tau,
            dt=dt,
            bias=bias,
            learn_beta=learn_beta,
            share_beta=share_beta,
            input_scale=input_scale,
            device=device,
            dtype=dtype,
        )
        check_option("kind", kind, ReadoutKind)
        self.kind = kind

    def forward(self, x: Tensor, initial_potential: Tensor | None = None) -> Tensor:
        """Logits (..., classes) of inputs (..., inputs, time)."""
        v = self.potential(x, initial_potential)
        # Torch's amax shares a tied maximum's gradient out; its first step should have it all.
        return v.sum(-1) if self.kind == "sum" else v.max(-1).values

    def to_readout(self) -> _network.Readout:
        """The same parameters, bit for bit, as a `fastsnn_np.Readout` of NumPy arrays."""
        return _network.Readout(**_arrays(self), kind=self.kind)


def checked_sizes(sizes: Any) -> list[int]:
    """Numbers of inputs, of neurons in each hidden layer, and of classes."""
    sizes = [int(n) for n in sizes]
    if len(sizes) < 2:
        raise ValueError(f"sizes must name at least inputs and classes, got {sizes}")
    return sizes


def as_dense(x: Tensor | SpikeTimes | Events, weight: Tensor) -> Tensor:
    """A batch as a dense train in the dtype of `weight`; NumPy's goes to its device."""
    dense = x
    if isinstance(x, SpikeTimes):
        times = x.times if isinstance(x.times, Tensor) else asarray(x.times, weight.device)
        dense = SpikeTimes.unchecked(times, x.n_steps).to_dense(weight.dtype)
    elif isinstance(x, Events):
        dense = x.to_dense(weight.detach(), weight.dtype)
    return cast(Tensor, dense)


class _Inside(torch.autograd.Function):
    """beta held inside (0, 1), with the gradient passed on so that it can come back."""

    @staticmethod
    def forward(ctx: Any, beta: Tensor) -> Tensor:
        limits = torch.finfo(beta.dtype)
        return beta.clamp(limits.tiny, 1 - limits.eps / 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


def _arrays(module: _Neurons) -> dict[str, Any]:
    def host(parameter: Tensor) -> Any:
        return parameter.detach().cpu().numpy().copy()

    return {
        "weight": host(module.weight),
        "bias": None if module.bias is None else host(module.bias),
        "beta": host(module.inside_beta()),
        "input_scale": module.input_scale,
    }
