"""Networks whose neurons fire again and again, by the event engine: one function for autograd.

Hidden layers are those of ``backends.event.spiking_layers``; the readout either weighs each spike
by its step alone, or has a potential whose sum or maximum is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import backends
from .._decay import InputScale
from .._kinds import Neuron
from ..backends.event import layers
from ..backends.event import spiking_layers as events
from ..spikes import Events, SpikeTimes
from .event import on_host
from .functional import no_double_backward
from .modules import Activity, DropoutMask, Readout


class EventLayer(NamedTuple):
    """A hidden layer: what is not learnt, and what may be."""

    neuron: Neuron
    threshold: float
    input_scale: InputScale
    surrogate: events.Surrogate
    parameters: tuple[Tensor | None, ...]  #: weight, bias, beta, recurrent, rho, a, b


class Weighing:
    """A readout whose logits weigh each spike by its step alone."""

    def __init__(self, profile: Any) -> None:
        self.profile = profile  #: of a number of steps: what a spike counts, float64 (steps,)

    def forward(self, rows: layers.Rows, weight: Any, bias: Any, beta: Any, size: float) -> Any:
        """Logits (batch, classes) of spikes that count as `size`."""
        profile = self.profile(rows.indptr.shape[1] - 1)
        self._constant = weight.dtype.type(profile.sum())  # a bias counts as a spike at every step
        self._profile = (size * profile).astype(weight.dtype)
        self._counts = events.weighed(rows, self._profile)
        logits = self._counts @ weight.T
        return logits if bias is None else logits + self._constant * bias

    def backward(self, dlogits: Any, weight: Any, passes: Any) -> tuple[list[Any], Any]:
        """Gradients of weight, bias and beta, and what comes down to the last hidden layer."""
        spike = dlogits @ weight
        if passes is not None:
            spike = np.where(passes, spike, 0)
        found = [dlogits.T @ self._counts, self._constant * dlogits.sum(0), None]
        return found, events.FromReadout(spike, self._profile)


class Potential:
    """A readout whose logits are the sum or the maximum of its potential."""

    def __init__(self, input_scale: InputScale, *, summed: bool) -> None:
        self._input_scale, self._summed = input_scale, summed

    def forward(self, rows: layers.Rows, weight: Any, bias: Any, beta: Any, size: float) -> Any:
        """Logits (batch, classes) of spikes that count as `size`."""
        self._rows, self._size = rows, weight.dtype.type(size)
        self._weights = layers.weights_of(self._size * weight, bias, beta, self._input_scale)
        self._out = layers.readout(rows, self._weights, summed=self._summed)
        return self._out.logits

    def backward(self, dlogits: Any, weight: Any, passes: Any) -> tuple[list[Any], Any]:
        """Gradients of weight, bias and beta, and what comes down to the last hidden layer."""
        found = layers.readout_backward(
            self._rows, self._weights, self._out, dlogits, summed=self._summed
        )
        above = events.FromLayer(found.current, self._size * weight, passes)
        return [self._size * found.weight.T, found.bias, found.beta], above


def run(
    x: Tensor | SpikeTimes | Events,
    hidden: Sequence[EventLayer],
    readout: Readout,
    end: Weighing | Potential,
    masks: Sequence[DropoutMask | None],
    activity: bool,
) -> tuple[Tensor, list[Activity]]:
    """Logits of a network, and, if they are wanted, the activities of its hidden layers."""
    dtype = backends.get("numpy").asarray(readout.weight.detach()).dtype
    parameters = [p for layer in hidden for p in layer.parameters]
    parameters += [readout.weight, readout.bias, readout.clamped_beta()]
    options = _Options(hidden, masks, end, layers.rows_of(on_host(x), dtype), activity)
    logits, *found = _Network.apply(x if isinstance(x, Tensor) else None, options, *parameters)
    return logits, [Activity(*group) for group in _groups(found, 3)]


class _Options(NamedTuple):
    """What is not differentiated."""

    hidden: Sequence[EventLayer]
    masks: Sequence[DropoutMask | None]
    end: Weighing | Potential
    rows: layers.Rows  #: the input as the kernels read it
    activity: bool  #: whether that of each hidden layer is returned


class _Network(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, dense: Tensor | None, options: _Options, *parameters: Any
    ) -> tuple[Tensor, ...]:
        arrays = [None if p is None else p.detach().numpy() for p in parameters]
        hidden, (out_weight, out_bias, out_beta) = _groups(arrays[:-3], 7), arrays[-3:]
        rows, kept, activities, size = options.rows, [], [], 1.0
        for layer, mask, own in zip(options.hidden, options.masks, hidden, strict=True):
            weight, bias, beta, *others = own
            given = events.Parameters(
                weight, bias, beta, layer.input_scale, layer.neuron, layer.threshold, *others
            )
            prepared = events.prepared(given, factor=size)
            run = events.forward(rows, prepared, keep=any(ctx.needs_input_grad))
            kept.append((rows, prepared, run))
            if options.activity:
                activities += _activity(run.rows, weight.dtype)
            rows = run.rows if mask is None else events.passed(run.rows, mask.kept.numpy())
            size = 1.0 if mask is None else mask.scale
        logits = options.end.forward(rows, out_weight, out_bias, out_beta, size)
        ctx.kept, ctx.options = kept, options
        # no gradient can be right once an optimiser has moved the weights under the kept arrays
        ctx.save_for_backward(*[p for p in parameters if p is not None])
        ctx.absent, ctx.weights = [p is None for p in parameters], [own[0] for own in hidden]
        ctx.last = out_weight
        ctx.mark_non_differentiable(*activities[2::3])
        return torch.from_numpy(logits), *activities

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        _ = ctx.saved_tensors  # raises if a parameter was changed in between
        options: _Options = ctx.options
        dlogits, *activities = (grad.numpy() for grad in grads)
        passes = [None if mask is None else mask.kept.numpy() for mask in options.masks]
        found, above = options.end.backward(dlogits, ctx.last, passes[-1] if passes else None)
        wants_input = ctx.needs_input_grad[0]
        for i in reversed(range(len(options.hidden))):
            rows, layer, run = ctx.kept[i]
            own = events.backward(
                rows,
                layer,
                run,
                above,
                options.hidden[i].surrogate,
                keep_current=i > 0 or wants_input,
                activity=(activities[3 * i], activities[3 * i + 1]) if activities else None,
            )
            below = None if i == 0 else options.masks[i - 1]
            weight = (
                ctx.weights[i]
                if below is None
                else ctx.weights[i] * dlogits.dtype.type(below.scale)
            )
            above = events.FromLayer(own.current, weight, None if i == 0 else passes[i - 1])
            names = ("weight", "bias", "beta", "recurrent", "rho", "a", "b")
            found = [*(getattr(own, name) for name in names), *found]
        dx = None
        if wants_input:  # dL/dS_in = W^T dL/dI, as (batch, inputs, steps)
            dx = torch.from_numpy(np.matmul(above.weight.T, above.current.transpose(0, 2, 1)))
        absent = zip(found, ctx.absent, strict=True)
        tensors = [None if skip or g is None else torch.from_numpy(g) for g, skip in absent]
        return dx, None, *tensors


def _groups(flat: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [flat[i : i + size] for i in range(0, len(flat), size)]


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
