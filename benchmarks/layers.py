"""One layer in five ways: the standard SNN, FastSNN as published, and ours three times.

All read the same spikes and weights and get the same gradient of their spikes, which comes from a
layer of 10 neurons above. The dense ones get it multiplied out; the event engine gets what it works
with, the gradient of that layer's currents, and its weights. Each gives its spikes' first times and
the gradient of its weights, so that they can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

import fastsnn_np as fs
from fastsnn_np import agreement, reference
from fastsnn_np.encoding import random_spike_trains
from fastsnn_np.torch import StandardLIF, first_spike, spike

from .runner import Pass

N_IN = 1000
SLOPE = 100.0  # the paper's
_ABOVE = 10
_JUDGED = 8  # samples that go through the float64 reference


@dataclass(frozen=True)
class Layer:
    """What every contestant is given."""

    trains: Any  #: bool (batch, N_IN, steps)
    weight: Any  #: (neurons, N_IN)
    above: Any  #: dL/dI of the layer above (batch, steps, 10)
    above_weight: Any  #: (10, neurons)
    beta: float
    device: str = "cpu"

    @classmethod
    def random(cls, batch: int, neurons: int, steps: int, *, seed: int = 0, device: str) -> Layer:
        """The paper's input (Appendix C) and weights that make most neurons fire."""
        rng = np.random.default_rng(seed)
        normal = partial(rng.standard_normal, dtype=np.float32)
        return cls(
            random_spike_trains(batch, N_IN, steps, seed=rng),
            np.float32(0.2) * normal((neurons, N_IN)),
            normal((batch, steps, _ABOVE)),
            normal((_ABOVE, neurons)) / np.float32(neurons**0.5),
            float(np.float32(fs.beta_from_tau(10.0))),
            device,
        )

    def judged(self) -> Layer:
        """The first samples, for the comparison with the reference."""
        first = slice(_JUDGED)
        return Layer(
            self.trains[first],
            self.weight,
            self.above[first],
            self.above_weight,
            self.beta,
            self.device,
        )

    def tensors(self) -> tuple[Any, Any, Any]:
        """Dense input, weight to be learnt, and gradient of the spikes."""
        x = torch.from_numpy(self.trains).to(self.device, torch.float32)
        weight = torch.tensor(self.weight, device=self.device, requires_grad=True)
        grad = np.matmul(self.above, self.above_weight).transpose(0, 2, 1)
        return x, weight, torch.tensor(np.ascontiguousarray(grad), device=self.device)


@dataclass(frozen=True)
class Outcome:
    """What a pass computed, brought to NumPy after the clock was stopped."""

    times: Callable[[Any], Any]  #: of what `forward` returned: (batch, neurons)
    gradient: Callable[[Any], Any]  #: of what `backward` returned: (neurons, N_IN)


Contestant = tuple[Pass, Outcome]


def published(layer: Layer, beta: float | None = None) -> Contestant:
    """FastSNN as the paper's section 2.2 has it: two convolutions as long as the time axis.

    Step 2 convolves the current with beta^t, and step 3 the crossings with the ramp 1, 2, 3, ...,
    which is phi (eq. 7); then g. Both kernels are constants, and the gradient is autograd's.
    """
    steps = layer.trains.shape[-1]
    kernel = powers(layer.beta if beta is None else beta, steps, layer.device)
    rising = ramp(steps, layer.device)
    scale = 1 - layer.beta

    def forward(x: Any, weight: Any) -> Any:
        return single_spikes(causal(scale * (weight @ x), kernel), rising, SLOPE)

    return _trained(layer, forward)


def powers(beta: float, steps: int, device: str = "cpu") -> Any:
    """The kernel beta^t of eq. 5, as `causal` takes it."""
    lag = torch.arange(steps, dtype=torch.float32, device=device)
    return (beta**lag).flip(0)[None, None, None]


def ramp(steps: int, device: str = "cpu") -> Any:
    """The kernel 1, 2, 3, ... of eq. 7."""
    return torch.arange(steps, 0, -1, dtype=torch.float32, device=device)[None, None, None]


def causal(x: Any, kernel: Any) -> Any:
    """Convolve (batch, neurons, time) with a kernel as long as the time axis."""
    padded = nn.functional.pad(x, (kernel.shape[-1] - 1, 0))
    return nn.functional.conv2d(padded[:, None], kernel)[:, 0]


def single_spikes(potential: Any, rising: Any, slope: float) -> Any:
    """g(phi(f(V))) by autograd, phi as a convolution."""
    z = causal(spike(potential, 1.0, slope=slope), rising)
    return torch.relu(z * (1 - z) + 1) * z


def dense(layer: Layer, method: Any) -> Contestant:
    """The dense core under autograd, with the spike's closed form."""

    def forward(x: Any, weight: Any) -> Any:
        potential = fs.decay(fs.currents(x, weight), beta=layer.beta, method=method)
        return first_spike(potential, gradient="paper", slope=SLOPE)

    return _trained(layer, forward)


def standard(layer: Layer) -> Contestant:
    """The standard SNN, one step after another (eq. 2). Its first spikes are the single spikes."""
    neurons = len(layer.weight)
    lif = StandardLIF(N_IN, neurons, tau=10.0, bias=False, slope=SLOPE, device=layer.device)

    def forward(x: Any, weight: Any) -> Any:
        del weight  # the module has its own, with the same values
        return lif(x)

    with torch.no_grad():
        lif.weight.copy_(torch.from_numpy(layer.weight))
        lif.beta.fill_(layer.beta)
    return _trained(layer, forward, lif.weight)


def event(layer: Layer) -> Contestant:
    """The event engine: forward on the events, backward in closed form."""
    from fastsnn_np.backends import events

    rows = events.rows_of(fs.Events.from_dense(layer.trains), np.float32)
    weight = np.asfortranarray(layer.weight)  # as the modules of fastsnn_np.torch keep it

    def forward() -> Any:
        weights = events.weights_of(weight, None, np.float32(layer.beta), "normalised")
        return weights, events.hidden(rows, weights, threshold=1.0)

    def backward(out: Any) -> Any:
        options = {"threshold": 1.0, "slope": SLOPE, "paper": True}
        upstream = (layer.above, layer.above_weight)
        return events.hidden_backward(rows, *out, *upstream, **options).weight

    return Pass(forward, backward), Outcome(lambda out: out[1].times, lambda w: w.T)


#: the first is what speed-ups are relative to
CONTESTANTS: dict[str, Callable[[Layer], Contestant]] = {
    "standard SNN": standard,
    "FastSNN as published": published,
    "dense, fft": partial(dense, method="fft"),
    "dense, block": partial(dense, method="block"),
    "event": event,
}
CPU_ONLY = ("event",)


def check(layer: Layer, contestants: dict[str, Callable[[Layer], Contestant]]) -> str:
    """Compare first samples with the float64 reference, and gradients with one another.

    Raises
    ------
    AssertionError
        If a spike that rounding cannot explain differs, or a gradient by over 0.1 %. The standard
        SNN's gradient is that of another model and is not compared.
    """
    part = layer.judged()
    expected = reference.layer(
        part.trains.astype(np.float64),
        part.weight.astype(np.float64),
        beta=part.beta,
        return_potential=True,
    ).potential
    _, inside = agreement.inside_bound(expected, dtype=np.float32)
    sure = ~inside.any(axis=0)  # a spike left to rounding changes its neuron's gradient
    gradients, remark = {}, ""
    for name, make in contestants.items():
        run, outcome = make(part)
        out = run.forward()
        same = agreement.spike_times(outcome.times(out), expected, dtype=np.float32)
        assert same.ok, f"{name}: {same.different} of {same.neurons} spike times are wrong"
        remark = f"spike times {same}"
        if name != "standard SNN" and run.backward is not None:
            gradients[name] = outcome.gradient(run.backward(out))[sure]
    for name, gradient in gradients.items():
        first = next(iter(gradients.values()))
        error = np.abs(gradient - first).max() / max(np.abs(first).max(), 1e-30)
        assert error <= 1e-3, f"{name}: its gradient is off by {error:.1e} of the largest"
    return remark


def first_times(spikes: Any) -> Any:
    """Times (batch, neurons) of the first spikes of a dense train, the number of steps if none."""
    spikes = np.asarray(spikes) > 0
    return np.where(spikes.any(-1), spikes.argmax(-1), spikes.shape[-1])


def _trained(layer: Layer, forward: Callable[[Any, Any], Any], own: Any = None) -> Contestant:
    x, weight, grad = layer.tensors()
    weight = weight if own is None else own

    def backward(spikes: Any) -> Any:
        weight.grad = None
        spikes.backward(grad)
        return weight.grad

    outcome = Outcome(
        lambda spikes: first_times(spikes.detach().cpu().numpy()), lambda g: g.cpu().numpy()
    )
    return Pass(lambda: forward(x, weight), backward), outcome
