"""The event engine under autograd: a whole network in one function, forward and backward.

Tensors on the CPU share their memory with the kernels of ``fastsnn_np.backends.event``. No tape is
kept: the backward pass is the closed form, which replays the potential.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from .. import backends
from .._decay import InputScale
from ..backends.event import networks
from ..backends.event.layers import rows_of
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
        network = _prepared(_grouped(parameters, Parameters), options)
        x = on_host(sparse if dense is None else dense)
        out = networks.network_forward(
            x if isinstance(x, SpikeTimes) else rows_of(x, network.dtype),
            network,
            summed=options.readout.summed,
            passes=_passes(options),
        )
        activities = []
        if options.activity:
            steps = out.rows.indptr.shape[1] - 1
            activities = [_activity(times, steps, network.dtype) for times in out.times]
        ctx.network, ctx.run, ctx.options = network, out, options
        # no gradient can be right once an optimiser has moved the weights under the kept arrays
        ctx.save_for_backward(*[p for p in parameters if p is not None])
        ctx.absent = [p is None for p in parameters]
        ctx.mark_non_differentiable(*[activity.per_neuron for activity in activities])
        return torch.from_numpy(out.logits), *_flat(activities)

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        _ = ctx.saved_tensors  # raises if a parameter was changed in between
        network, out, hidden = ctx.network, ctx.run, ctx.options.hidden
        dlogits, *dactivities = (grad.numpy() for grad in grads)
        activities = _grouped(dactivities, Activity)  # none if they were not returned
        steps = out.rows.indptr.shape[1] - 1
        wants_input = ctx.needs_input_grad[1]
        found = networks.network_backward(
            network,
            out,
            dlogits,
            slopes=[layer.slope for layer in hidden],
            papers=[layer.paper for layer in hidden],
            activity=[(a.spikes, a.latency) for a in activities] if activities else None,
            handed=[*[handed_down(steps)] * (len(hidden) - 1), 1.0],
            keep_current=wants_input,
        )
        dx = None
        if wants_input:  # dL/dS_in = W^T dL/dI, as (batch, inputs, steps)
            weight = network.parameters[0].weight
            dx = torch.from_numpy(np.matmul(weight.T, found.current.transpose(0, 2, 1)))
        layers = [Parameters(layer.weight.T, layer.bias, layer.beta) for layer in found.layers]
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


def on_host(x: Any) -> Any:
    """An input of any form in NumPy's arrays, which share the memory of Torch's."""
    if isinstance(x, Tensor):
        return x.detach().numpy()
    if isinstance(x, SpikeTimes):
        return SpikeTimes.unchecked(backends.get("numpy").asarray(x.times), x.n_steps)
    return x


def _prepared(layers: Sequence[Parameters], options: NetworkOptions) -> networks.Prepared:
    """The layers' parameters as the kernels read them; spikes count as 1, so weights are scaled.

    Weights are laid out anew in every pass, one percent of a training step. A copy kept for the
    next one would miss what ``weight.data.mul_(3)`` or NumPy does to them: Torch counts neither.
    """
    sizes = options.spike_sizes
    given = []
    for i, parameters in enumerate(layers):
        weight, bias, beta = (None if p is None else p.detach().numpy() for p in parameters)
        layer = options.hidden[i] if i < len(options.hidden) else options.readout
        threshold = layer.threshold if isinstance(layer, HiddenLayer) else np.inf
        given.append(
            networks.LayerParameters(weight, bias, beta, layer.input_scale, threshold, sizes[i])
        )
    return networks.prepared(given)


def _passes(options: NetworkOptions) -> list[Any] | None:
    """Whose spikes go on, for each hidden layer; None if all of them do."""
    masks = [None if layer.dropout is None else layer.dropout.kept for layer in options.hidden]
    if all(mask is None for mask in masks):
        return None
    return [None if mask is None else mask.numpy() for mask in masks]


def _activity(times: Any, steps: int, dtype: Any) -> Activity:
    fired = times < steps
    count = fired.sum(axis=1).astype(dtype)
    latency = times.sum(axis=1, dtype=np.int64).astype(dtype)
    return Activity(*map(torch.from_numpy, (count, latency, fired.sum(axis=0))))
