"""Hidden layers of the dense engine that hand on spike times: no spike train is ever made.

Currents come from the sparse product, a row per sample and step. Potentials are computed for as
many neurons at a time as stay in cache, forward and, by the closed form, backward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import array_api_compat.torch as xp
import torch
from torch import Tensor

from .. import backends
from .._currents import densely, takes_product
from .._decay import InputScale, by_plan, plan_of
from .._first_spike import first_crossing
from ..backends import _torch_precision
from ..spikes import Compressed, Events, SpikeTimes, compressed, shape_of
from .functional import Surrogate, no_double_backward, rising, surrogate_derivative
from .modules import Activity, DropoutMask, FastLIF, Readout, placed

_BACKEND = backends.get("torch")


class Neurons(NamedTuple):
    """What is not learnt in a hidden layer, and how it hands on its spikes."""

    steps: int
    threshold: float
    paper: bool  #: whether the gradient is the paper's, or straight through
    slope: float
    surrogate: Surrogate
    input_scale: InputScale
    kept: Tensor | None  #: bool (batch, neurons), the neurons that dropout keeps
    size: float  #: of the spikes that are handed on
    factor: float  #: what the gradient from above is multiplied by

    @classmethod
    def of(cls, layer: FastLIF, mask: DropoutMask | None, steps: int, factor: float) -> Neurons:
        return cls(
            steps,
            layer.threshold,
            layer.gradient == "paper",
            layer.slope,
            layer.surrogate,
            layer.input_scale,
            None if mask is None else mask.kept,
            1.0 if mask is None else mask.scale,
            factor,
        )


def run(
    x: SpikeTimes | Events,
    layers: Sequence[FastLIF],
    readout: Readout,
    masks: Sequence[DropoutMask | None],
    factors: Sequence[float],
) -> tuple[Tensor, list[Activity]]:
    """Logits of sparse spikes and the activity of each hidden layer.

    Parameters
    ----------
    masks, factors : sequences, one for each hidden layer
        Dropout of its spikes, and what the gradient it gets for them is multiplied by.
    """
    batch, _, steps = shape_of(x)
    parts = [*layers, readout]
    current = _current(placed(x, parts[0].weight), parts[0].weight)
    activities = []
    for layer, above, mask, factor in zip(layers, parts[1:], masks, factors, strict=True):
        neurons = Neurons.of(layer, mask, steps, factor)
        function: Any = _Hidden.apply
        current, spikes, latency, per_neuron, *_ = function(
            current, layer.bias, layer.clamped_beta(), above.weight, neurons
        )
        activities.append(Activity(spikes, latency, per_neuron))
    current = current.unflatten(0, (batch, steps)).transpose(1, 2)
    if readout.bias is not None:
        current = current + readout.bias[:, None]
    return readout.logits(current), activities


def _current(x: SpikeTimes | Events, weight: Tensor) -> Tensor:
    """Currents (batch * steps, neurons), without a bias."""
    if shape_of(x).batch and takes_product(_BACKEND, x):
        return _product(compressed(x, weight.detach()), weight.t())
    dense = densely(x, weight.detach()).transpose(1, 2).flatten(0, 1)
    return dense @ weight.t()


def _product(matrix: Compressed, dense: Tensor) -> Tensor:
    assert _BACKEND.sparse_product is not None
    product: Tensor = _BACKEND.sparse_product(matrix, dense)
    return product


class _Hidden(torch.autograd.Function):
    """Steps 2 to 4 of a hidden layer, and step 1 of the layer above it."""

    @staticmethod
    def forward(
        current: Tensor, bias: Tensor | None, beta: Tensor, above: Tensor, neurons: Neurons
    ) -> tuple[Tensor, ...]:
        batch, steps = len(current) // neurons.steps, neurons.steps
        count = current.shape[1]
        potential = current.new_empty(count, batch, steps)
        times = torch.empty(count, batch, dtype=torch.int32, device=current.device)
        with torch.autocast(current.device.type, enabled=False):
            for part in _parts(potential):
                driven = current[:, part].t().contiguous().unflatten(1, (batch, steps))
                if bias is not None:
                    driven += bias[part, None, None]
                plan = plan_of(xp, beta[part], steps, neurons.input_scale)
                v = by_plan(xp, driven.transpose(0, 1), plan, None).transpose(0, 1)
                potential[part] = v
                times[part] = first_crossing(xp, v, neurons.threshold)
            handed = _product(_matrix(times, above, neurons), above.t() * neurons.size)
        fired = times < steps
        spikes, latency = fired.sum(0, dtype=above.dtype), times.sum(0, dtype=above.dtype)
        return handed, spikes, latency, fired.sum(1), potential, times

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, bias, beta, above, ctx.neurons = inputs
        *_, per_neuron, potential, times = output
        ctx.has_bias = bias is not None
        ctx.mark_non_differentiable(per_neuron, potential, times)
        ctx.save_for_backward(beta, above, potential, times)

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        beta, above, potential, times = ctx.saved_tensors
        neurons: Neurons = ctx.neurons
        handed, spikes, latency, *_ = grads
        count, batch, steps = potential.shape
        d_above = _product(_matrix(times, above, neurons).transposed, handed).t()
        left = torch.arange(steps, 0, -1, device=handed.device, dtype=handed.dtype)
        activity = spikes[:, None] - latency[:, None] * left  # dL/dS of every neuron, (batch, time)
        from_above = handed.t().unflatten(1, (batch, steps))
        if not neurons.paper:  # sums over time commute with the product, and classes are fewer
            activity, from_above = rising(activity), rising(from_above)
        from_above = from_above.flatten(1)
        weight = above.t() * (neurons.size * neurons.factor)
        current = handed.new_empty(batch * steps, count)
        d_beta, d_bias = torch.empty_like(beta), torch.empty_like(beta)
        for part in _parts(potential):
            r = _torch_precision.matmul(weight[part], from_above).unflatten(1, (batch, steps))
            if neurons.kept is not None:
                r *= neurons.kept.t()[part, :, None]
            r += activity
            v = potential[part]
            if neurons.paper:
                step = torch.arange(steps, device=v.device)
                r = rising(torch.where(step < times[part, :, None], r, 0))
            r *= surrogate_derivative(v - neurons.threshold, neurons.slope, neurons.surrogate)
            plan = plan_of(xp, beta[part], steps, "unit")
            q = by_plan(xp, r.flip(-1).transpose(0, 1), plan, None).transpose(0, 1).flip(-1)
            d_beta[part] = (q[..., 1:] * v[..., :-1]).sum((1, 2))
            if neurons.input_scale == "normalised":
                rest = 1 - beta[part]
                d_beta[part] = (d_beta[part] - (q * v).sum((1, 2))) / rest
                q = q * rest[:, None, None]
            d_bias[part] = q.sum((1, 2))
            current[:, part] = q.flatten(1).t()
        return current, d_bias if ctx.has_bias else None, d_beta, d_above * neurons.size, None


def _matrix(times: Tensor, like: Tensor, neurons: Neurons) -> Compressed:
    """The spikes that dropout keeps, as a matrix (batch * steps, neurons)."""
    by_sample = times.t()
    if neurons.kept is not None:
        by_sample = torch.where(neurons.kept, by_sample, neurons.steps)
    return compressed(SpikeTimes.unchecked(by_sample, neurons.steps), like)


def _parts(potential: Tensor) -> Iterator[slice]:
    """Neurons by as many at a time as stay in cache."""
    neurons = len(potential)
    size = max(_BACKEND.room(potential.device) * neurons // max(potential.nbytes, 1), 1)
    for start in range(0, neurons, size):
        yield slice(start, start + size)
