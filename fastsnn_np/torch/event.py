"""The event engine under autograd: a whole network in one function, forward and backward.

Tensors on the CPU share their memory with the kernels of ``fastsnn_np.backends.event``. No tape is
kept: the backward pass is the closed form, and the potential is replayed or, on request, kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from .. import backends
from .._decay import InputScale
from ..backends.event import layers as engine
from ..spikes import Events, SpikeTimes
from .functional import handed_down, no_double_backward
from .modules import Activity, DropoutMask


class Parameters(NamedTuple):
    """What is learnt in a layer; autograd sees the parameters of all layers as one flat tuple."""

    weight: Any
    bias: Any  #: None if there is none
    beta: Any


class HiddenLayer(NamedTuple):
    """What is not learnt in a hidden layer."""

    threshold: float
    slope: float
    paper: bool  #: whether the gradient is the paper's, or straight through
    input_scale: InputScale
    dropout: DropoutMask | None

    @property
    def output_scale(self) -> float:
        """What the spikes that the next layer gets are multiplied by."""
        return 1.0 if self.dropout is None else self.dropout.scale


class ReadoutLayer(NamedTuple):
    """What is not learnt in the readout."""

    input_scale: InputScale
    summed: bool  #: whether the logits are the sum of the potential, or its maximum


class NetworkOptions(NamedTuple):
    """What is not learnt: in the layers, and in the network as a whole."""

    hidden: Sequence[HiddenLayer]
    readout: ReadoutLayer
    keep_potential: bool
    pages: list[Any]  #: arrays of earlier steps, to be used again
    activity: bool  #: whether that of each hidden layer is returned

    @property
    def spike_sizes(self) -> list[float]:
        """The size of the spikes that each layer and the readout get."""
        return [1.0, *[layer.output_scale for layer in self.hidden]]


def run(
    x: Tensor | SpikeTimes | Events, options: NetworkOptions, parameters: Sequence[Parameters]
) -> tuple[Tensor, list[Activity]]:
    """Logits of a network, and, if they are wanted, the activities of its hidden layers."""
    dense = x if isinstance(x, Tensor) else None
    sparse = None if dense is not None else x
    logits, *activities = _Network.apply(sparse, dense, options, *_flat(parameters))
    return logits, _grouped(activities, Activity)


def obstacle_of(x: Any, weight: Tensor) -> str | None:
    """Why the event engine cannot take `x` and a model with this weight, or None."""
    if torch._C._are_functorch_transforms_active():
        return "it does not run inside transforms of torch.func"
    if weight.device.type != "cpu":
        return f"it runs on the CPU, and the model is on {weight.device}"
    if weight.dtype not in (torch.float32, torch.float64):
        return f"it computes in float32 or float64, and the model is {weight.dtype}"
    if isinstance(x, Tensor) and (x.dtype.is_complex or x.dtype in (torch.float16, torch.bfloat16)):
        return f"it takes float32, float64, integers or booleans, and x is {x.dtype}"
    if isinstance(x, Tensor) and x.ndim != 3:
        return f"it takes (batch, neurons, time), and x has shape {tuple(x.shape)}"
    held = x.times if isinstance(x, SpikeTimes) else x
    if isinstance(held, Tensor) and held.device.type != "cpu":
        return f"it runs on the CPU, and x is on {held.device}"
    return None


class _Network(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, sparse: Any, dense: Tensor | None, options: NetworkOptions, *parameters: Any
    ) -> tuple[Tensor, ...]:
        layers = _grouped(parameters, Parameters)
        dtype = backends.get("numpy").asarray(layers[0].weight).dtype
        *weights_of_hidden, last = _weights(layers, options)
        rows = _rows(sparse if dense is None else dense, dtype)
        steps = rows.indptr.shape[1] - 1
        kept: list[Any] = []
        activities: list[Activity] = []
        for layer, weights in zip(options.hidden, weights_of_hidden, strict=True):
            keep = None
            if options.keep_potential and any(ctx.needs_input_grad):
                keep = _take(options.pages, (len(rows.indptr), steps, len(weights.beta)), dtype)
            out = engine.layer(rows, weights, threshold=layer.threshold, keep=keep)
            kept.append((rows, weights, out))
            if options.activity:
                activities.append(_activity(out.times, steps, dtype))
            times = out.times
            if layer.dropout is not None:
                times = np.where(layer.dropout.kept.numpy(), times, np.int32(steps))
            rows = engine.rows_of_times(times, steps, dtype)
        read = engine.readout(rows, last, summed=options.readout.summed)
        kept.append((rows, last, read))
        ctx.kept, ctx.options = kept, options
        # no gradient can be right once an optimiser has moved the weights under the kept arrays
        ctx.save_for_backward(*[p for p in parameters if p is not None])
        ctx.absent = [p is None for p in parameters]
        ctx.mark_non_differentiable(*[activity.per_neuron for activity in activities])
        return torch.from_numpy(read.logits), *_flat(activities)

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        _ = ctx.saved_tensors  # raises if a parameter was changed in between
        options: NetworkOptions = ctx.options
        *hidden, (rows, weights, read) = ctx.kept
        dlogits, *dactivities = (grad.numpy() for grad in grads)
        activities = _grouped(dactivities, Activity)  # none if they were not returned
        summed = options.readout.summed
        found = engine.readout_backward(rows, weights, read, dlogits, summed=summed)
        gradients = [found]
        steps = rows.indptr.shape[1] - 1
        wants_input = ctx.needs_input_grad[1]
        for i in reversed(range(len(hidden))):
            layer = options.hidden[i]
            above = _above(weights, handed_down(steps) if i < len(hidden) - 1 else 1.0)
            rows, weights, out = hidden[i]
            found = engine.layer_backward(
                rows,
                weights,
                out,
                found.current,
                above,
                threshold=layer.threshold,
                slope=layer.slope,
                paper=layer.paper,
                keep_current=i > 0 or wants_input,
                dropout=None if layer.dropout is None else layer.dropout.kept.numpy(),
                activity=(activities[i].spikes, activities[i].latency) if activities else None,
            )
            gradients.append(found)
            if out.potential.size:
                # a second backward pass replays: the pages may be in use by then
                ctx.kept[i] = (rows, weights, out._replace(potential=out.potential[:0]))
                options.pages.append(out.potential)
        dx = None
        if wants_input:  # dL/dS_in = W^T dL/dI, as (batch, inputs, steps)
            dx = torch.from_numpy(np.matmul(weights.weight, found.current.transpose(0, 2, 1)))
        layers = [
            # laid out as the parameter is: autograd would copy it otherwise
            Parameters(np.ascontiguousarray(_scaled(found.weight, size).T), found.bias, found.beta)
            for found, size in zip(reversed(gradients), options.spike_sizes, strict=True)
        ]
        absent = zip(_flat(layers), ctx.absent, strict=True)
        tensors = [None if is_absent else torch.from_numpy(g) for g, is_absent in absent]
        return None, dx, None, *tensors


_Group = TypeVar("_Group", Parameters, Activity)


def _flat(groups: Iterable[tuple[Any, ...]]) -> list[Any]:
    return [value for group in groups for value in group]


def _grouped(flat: Sequence[Any], kind: type[_Group]) -> list[_Group]:
    """The groups of which `flat` is the concatenation."""
    size = len(kind._fields)
    return [kind(*flat[i : i + size]) for i in range(0, len(flat), size)]


def _rows(x: Any, dtype: Any) -> engine.Rows:
    if isinstance(x, Tensor):
        return engine.rows_of(x.detach().numpy(), dtype)
    if isinstance(x, SpikeTimes):
        times = backends.get("numpy").asarray(x.times)
        return engine.rows_of_times(np.ascontiguousarray(times), x.n_steps, dtype)
    return engine.rows_of(x, dtype)


def _weights(layers: Sequence[Parameters], options: NetworkOptions) -> list[engine.Weights]:
    """The layers' parameters as the kernels read them; spikes count as 1, so weights are scaled.

    Weights are laid out anew in every pass, one percent of a training step. A copy kept for the
    next one would miss what ``weight.data.mul_(3)`` or NumPy does to them: Torch counts neither.
    """
    scales = [*[layer.input_scale for layer in options.hidden], options.readout.input_scale]
    found = []
    for layer, scale, size in zip(layers, scales, options.spike_sizes, strict=True):
        weight, bias, beta = (None if p is None else p.detach().numpy() for p in layer)
        found.append(engine.weights_of(_scaled(weight, size), bias, beta, scale))
    return found


def _above(weights: engine.Weights, factor: float) -> Any:
    """A layer's weight as (neurons, inputs), scaled for what the layer hands down."""
    return _scaled(np.ascontiguousarray(weights.weight.T), factor)


def _scaled(array: Any, factor: float) -> Any:
    return array if factor == 1 else np.multiply(array, factor, dtype=array.dtype)


def _activity(times: Any, steps: int, dtype: Any) -> Activity:
    fired = times < steps
    count = fired.sum(axis=1, dtype=dtype)
    latency = times.sum(axis=1, dtype=dtype)
    return Activity(*map(torch.from_numpy, (count, latency, fired.sum(axis=0))))


def _take(pages: list[Any], shape: tuple[int, ...], dtype: Any) -> Any:
    """Pages of an earlier step, given back by its backward pass: fresh ones cost more than sums."""
    for i, held in enumerate(pages):
        if held.shape == shape and held.dtype == dtype:
            return pages.pop(i)
    pages.clear()  # of another shape: the batches have changed
    return np.empty(shape, dtype)
