"""One layer in five ways: the standard SNN, FastSNN as published, and ours three times.

All read the same spikes and weights and get the same gradient of their spikes, which comes from a
layer of 10 neurons above. The dense ones get it multiplied out; the event engine gets what it works
with, the gradient of that layer's currents, and its weights. Each gives its spikes' first times and
the gradient of its weights, so that they can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

import fastsnn_np as fs
from fastsnn_np import agreement, reference
from fastsnn_np.encoding import random_spike_trains
from fastsnn_np.torch import StandardLIF, first_spike

from ..harness.contest import Contest, Pass
from . import published as paper
from .internals import event_layers
from .names import BLOCK, EVENT, FFT, PUBLISHED, STANDARD

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

    times: Callable[[Any], Any]  #: first spikes (batch, neurons) from what `forward` returned
    gradient: Callable[[Any], Any]  #: (neurons, N_IN), from what `backward` returned


Way = tuple[Pass, Outcome]


def published(layer: Layer, beta: float | None = None) -> Way:
    """FastSNN as the paper has it; see `published`."""
    steps = layer.trains.shape[-1]
    kernel = paper.powers(layer.beta if beta is None else beta, steps, layer.device)
    rising = paper.ramp(steps, layer.device)
    scale = 1 - layer.beta

    def forward(x: Any, weight: Any) -> Any:
        return paper.single_spikes(paper.causal(scale * (weight @ x), kernel), rising, SLOPE)

    return _trained(layer, forward)


def dense(layer: Layer, method: Any) -> Way:
    """The dense core under autograd, with the spike's closed form."""

    def forward(x: Any, weight: Any) -> Any:
        potential = fs.decay(fs.currents(x, weight), beta=layer.beta, method=method)
        return first_spike(potential, gradient="paper", slope=SLOPE)

    return _trained(layer, forward)


def standard(layer: Layer) -> Way:
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


def event(layer: Layer) -> Way:
    """The event engine: forward on the events, backward in closed form."""
    events = event_layers()
    rows = events.rows_of(fs.Events.from_dense(layer.trains), np.float32)
    weight = np.asfortranarray(layer.weight)  # as the modules of fastsnn_np.torch keep it

    def forward() -> Any:
        weights = events.weights_of(weight, None, np.float32(layer.beta), "normalised")
        return weights, events.layer(rows, weights, threshold=1.0)

    def backward(out: Any) -> Any:
        options = {"threshold": 1.0, "slope": SLOPE, "paper": True}
        upstream = (layer.above, layer.above_weight)
        return events.layer_backward(rows, *out, *upstream, **options).weight

    return Pass(forward, backward), Outcome(lambda out: out[1].times, lambda w: w.T)


CONTESTANTS: dict[str, Callable[[Layer], Way]] = {
    STANDARD: standard,
    PUBLISHED: published,
    FFT: partial(dense, method="fft"),
    BLOCK: partial(dense, method="block"),
    EVENT: event,
}
CPU_ONLY = (EVENT,)


def contest(
    names: Sequence[str],
    *,
    n: int,
    T: int,  # noqa: N803 (the paper's letter, as in the rows)
    b: int,
    seed: int = 0,
    device: str = "cpu",
) -> Contest:
    """Passes at one size, compared on the first samples."""
    layer = Layer.random(b, n, T, seed=seed, device=device)
    return of_layer(layer, {name: CONTESTANTS[name] for name in names})


def of_layer(layer: Layer, makers: dict[str, Callable[[Layer], Way]]) -> Contest:
    """Contestants on a layer. What is compared is computed on its first samples only."""
    part = layer.judged()
    passes = {}
    for name, make in makers.items():
        run, _ = make(layer)
        passes[name] = Pass(run.forward, run.backward, partial(outputs, make, part))
    return Contest(passes, partial(judge, part))


def outputs(make: Callable[[Layer], Way], part: Layer) -> tuple[Any, Any]:
    """First spike times and the gradient of the weights, as NumPy arrays."""
    run, outcome = make(part)
    out = run.forward()
    times = np.array(outcome.times(out))  # before the backward pass, which may reuse memory
    gradient = None if run.backward is None else outcome.gradient(run.backward(out))
    return times, gradient


def judge(part: Layer, found: dict[str, Any]) -> str:
    """Compare spike times with the float64 reference, and gradients with one another.

    Raises
    ------
    AssertionError
        If a spike that rounding cannot explain differs, or a gradient by over 0.1 %. The standard
        SNN's gradient is that of another model and is not compared.
    """
    expected = reference.layer(
        part.trains.astype(np.float64),
        part.weight.astype(np.float64),
        beta=part.beta,
        return_potential=True,
    ).potential
    _, inside = agreement.inside_bound(expected, dtype=np.float32)
    sure = ~inside.any(axis=0)  # a spike left to rounding changes its neuron's gradient
    gradients, remark = {}, ""
    for name, (times, gradient) in found.items():
        same = agreement.spike_times(times, expected, dtype=np.float32)
        assert same.ok, f"{name}: {same.different} of {same.neurons} spike times are wrong"
        remark = f"spike times {same}"
        if name != STANDARD and gradient is not None:
            gradients[name] = gradient[sure]
    for name, gradient in gradients.items():
        first = next(iter(gradients.values()))
        error = np.abs(gradient - first).max() / max(np.abs(first).max(), 1e-30)
        assert error <= 1e-3, f"{name}: its gradient is off by {error:.1e} of the largest"
    return remark


def first_times(spikes: Any) -> Any:
    """Times (batch, neurons) of the first spikes of a dense train, the number of steps if none."""
    spikes = np.asarray(spikes) > 0
    return np.where(spikes.any(-1), spikes.argmax(-1), spikes.shape[-1])


def _trained(layer: Layer, forward: Callable[[Any, Any], Any], own: Any = None) -> Way:
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
