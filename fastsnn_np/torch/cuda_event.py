"""The event engine under autograd on a GPU: the network of ``event``, by the CUDA kernels.

Tensors stay where they are: the kernels get their addresses, on Torch's current stream, and all
memory comes from Torch. The potential of every layer is kept for the backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import backends
from ..backends._cuda import Kernels
from ..spikes import Events, SpikeTimes, shape_of
from .event import HiddenLayer, NetworkOptions, Parameters, ReadoutLayer
from .functional import handed_down, no_double_backward
from .modules import Activity

_WIDEST_ABOVE = 32  # neurons above, beyond which a matrix product of its own brings dL/dS down


def run(
    x: SpikeTimes | Events, options: NetworkOptions, parameters: Sequence[Parameters]
) -> tuple[Tensor, list[Activity]]:
    """As `event.run`, for a network on a GPU."""
    flat = [array for layer in parameters for array in layer]
    logits, *rest = _Network.apply(x, options, *flat)
    return logits, [Activity(*rest[i : i + 3]) for i in range(0, len(rest), 3)]


def obstacle_of(x: Any, weight: Tensor) -> str | None:
    """Why the CUDA kernels cannot take `x` and a model with this weight, or None."""
    if torch._C._are_functorch_transforms_active():
        return "it does not run inside transforms of torch.func"
    if weight.dtype not in (torch.float32, torch.float64):
        return f"it computes in float32 or float64, and the model is {weight.dtype}"
    if isinstance(x, Tensor):
        return "on a GPU it takes SpikeTimes and Events, and x is dense"
    held = x.times if isinstance(x, SpikeTimes) else None
    if isinstance(held, Tensor) and held.device not in (weight.device, torch.device("cpu")):
        return f"x is on {held.device}, and the model on {weight.device}"
    shape = shape_of(x)
    if isinstance(x, Events) and shape.batch * shape.steps >= 2**31:
        return (
            f"it numbers the steps of a batch in 32 bits, and {shape.batch} samples of "
            f"{shape.steps} steps have more"
        )
    if _kernels(weight) is None:
        return f"the model is on {weight.device}, where it needs CuPy to compile its kernels"
    return None


class _Rows(NamedTuple):
    """Events by time as the kernels read them; `times` where each neuron has one at most."""

    indptr: Tensor
    indices: Tensor
    values: Tensor | None
    times: Tensor | None
    steps: int


class _Neurons(NamedTuple):
    """A layer's parameters as the kernels read them."""

    weight: Tensor  #: (inputs, neurons), times the size of the spikes that come in
    bias: Tensor
    beta: Tensor
    scale: Tensor
    unit: bool


class _Kept(NamedTuple):
    """What the backward pass of a layer needs; `marks` are spike times, or the steps of maxima."""

    rows: _Rows
    own: _Neurons
    potential: Tensor  #: (batch, steps, neurons)
    marks: Tensor


class _Network(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, options: NetworkOptions, *parameters: Any) -> tuple[Tensor, ...]:
        groups = [Parameters(*parameters[i : i + 3]) for i in range(0, len(parameters), 3)]
        kernels = _kernels(groups[0].weight)
        parts: list[HiddenLayer | ReadoutLayer] = [*options.hidden, options.readout]
        layers = [
            _laid_out(group, part, size)
            for group, part, size in zip(groups, parts, options.spike_sizes, strict=True)
        ]
        rows = _rows(x, layers[0], kernels)
        kept: list[_Kept] = []
        activities: list[Activity] = []
        for part, own in zip(options.hidden, layers, strict=False):
            potential, times, final = _outputs(rows, own)
            tiny = torch.finfo(own.weight.dtype).smallest_normal
            batch, steps, neurons = potential.shape
            kernels(
                "layer_events",
                *(batch, neurons, *rows[:3], *own[:4], None),
                *(part.threshold, tiny, steps, neurons, True, times, final, potential),
            )
            kept.append(_Kept(rows, own, potential, times))
            if options.activity:
                activities.append(_activity(times, steps, potential.dtype))
            if part.dropout is not None:
                times = torch.where(part.dropout.kept, times, times.new_tensor(steps))
            rows = _rows_of_times(times, steps, own, kernels)
        own = layers[-1]
        potential, where, final = _outputs(rows, own)
        logits = torch.empty_like(final)
        batch, steps, neurons = potential.shape
        tiny = torch.finfo(own.weight.dtype).smallest_normal
        kernels(
            "readout_events",
            *(batch, neurons, *rows[:3], *own[:4], None),
            *(tiny, steps, neurons, options.readout.summed, logits, where, final, potential),
        )
        kept.append(_Kept(rows, own, potential, where))
        ctx.kept, ctx.options, ctx.kernels = kept, options, kernels
        # no gradient can be right once an optimiser has moved the weights under the kept arrays
        ctx.save_for_backward(*[p for p in parameters if p is not None])
        ctx.absent = [p is None for p in parameters]
        ctx.mark_non_differentiable(*[activity.per_neuron for activity in activities])
        return logits, *[tensor for activity in activities for tensor in activity]

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, dlogits: Tensor, *dactivities: Tensor) -> tuple[Any, ...]:
        _ = ctx.saved_tensors  # raises if a parameter was changed in between
        options: NetworkOptions = ctx.options
        gradients: list[Parameters] = []
        above: tuple[Tensor, Tensor] | None = None
        last = len(ctx.kept) - 1
        for i in reversed(range(last + 1)):
            kept: _Kept = ctx.kept[i]
            if above is None:
                swept = _readout_backward(kept, dlogits, options.readout, ctx.kernels)
            else:
                asked = dactivities[3 * i : 3 * i + 2] if dactivities else (None, None)
                swept = _layer_backward(kept, above, options.hidden[i], asked, ctx.kernels)
            weight = _gathered(kept, swept[0], ctx.kernels) * options.spike_sizes[i]
            gradients.append(_parameters(weight, swept, kept.own))
            # what is handed to a hidden layer by another is scaled, by the readout it is not
            factor = 1.0 if i == last else handed_down(kept.rows.steps)
            to_above = kept.own.weight.t() * factor
            above = (swept[0], to_above.contiguous())
        flat = [g for group in reversed(gradients) for g in group]
        absent = zip(flat, ctx.absent, strict=True)
        return None, None, *[None if is_absent else g for g, is_absent in absent]


def _kernels(weight: Tensor) -> Any:
    kernels_of = backends.get("torch").cuda
    return None if kernels_of is None else kernels_of(weight)


def _laid_out(given: Parameters, part: HiddenLayer | ReadoutLayer, size: float) -> _Neurons:
    weight = given.weight.detach().t()
    weight = (weight if size == 1 else weight * size).contiguous()
    beta = given.beta.detach().contiguous()
    bias = torch.zeros_like(beta) if given.bias is None else given.bias.detach().contiguous()
    unit = part.input_scale == "unit"
    return _Neurons(weight, bias, beta, torch.ones_like(beta) if unit else 1 - beta, unit)


def _outputs(rows: _Rows, own: _Neurons) -> tuple[Tensor, Tensor, Tensor]:
    """Room for the potential, for spike times or steps of maxima, and for the last potential."""
    one = (len(rows.indptr), len(own.beta))
    new = own.beta.new_empty
    return new((one[0], rows.steps, one[1])), new(one, dtype=torch.int32), new(one)


def _rows(x: SpikeTimes | Events, own: _Neurons, kernels: Kernels) -> _Rows:
    asarray = backends.get("torch").asarray
    device, dtype = own.weight.device, own.weight.dtype
    if isinstance(x, SpikeTimes):
        times = asarray(x.times, device).contiguous()
        return _rows_of_times(times, x.n_steps, own, kernels)
    values = None if x.values is None else asarray(x.values, device).to(dtype)
    return _Rows(asarray(x.indptr, device), asarray(x.indices, device), values, None, x.n_steps)


def _rows_of_times(times: Tensor, steps: int, own: _Neurons, kernels: Kernels) -> _Rows:
    batch, neurons = times.shape
    indptr = times.new_empty((batch, steps + 1), dtype=torch.int64)
    indices = times.new_empty((batch * neurons,))
    kernels("sort_times", batch, steps + 1, times, neurons, steps, indptr, indices)
    return _Rows(indptr, indices, None, times, steps)


def _activity(times: Tensor, steps: int, dtype: torch.dtype) -> Activity:
    fired = times < steps
    return Activity(fired.sum(1, dtype=dtype), times.sum(1, dtype=dtype), fired.sum(0))


def _swept(kept: _Kept) -> tuple[Tensor, Tensor, Tensor]:
    """Room for dL/dI, and for each sample's part of the gradients of bias and beta."""
    batch, _, neurons = kept.potential.shape
    wide = kept.potential.new_empty((2, batch, neurons), dtype=torch.float64)
    return torch.empty_like(kept.potential), wide[0], wide[1]


def _readout_backward(
    kept: _Kept, dlogits: Tensor, readout: ReadoutLayer, kernels: Kernels
) -> tuple[Tensor, Tensor, Tensor]:
    batch, steps, neurons = kept.potential.shape
    own, out = kept.own, _swept(kept)
    kernels(
        "readout_backward",
        *(batch, neurons, own.beta, own.scale, None, kept.potential),
        *(dlogits.contiguous(), kept.marks, steps, neurons, readout.summed, own.unit, *out),
    )
    return out


def _layer_backward(
    kept: _Kept,
    above: tuple[Tensor, Tensor],
    layer: HiddenLayer,
    asked: Sequence[Tensor | None],
    kernels: Kernels,
) -> tuple[Tensor, Tensor, Tensor]:
    batch, steps, neurons = kept.potential.shape
    own, out = kept.own, _swept(kept)
    current, to_above = above  # dL/dI of the layer above, and its weight (neurons above, neurons)
    n_above = len(to_above)
    if n_above > _WIDEST_ABOVE:
        current, n_above = (current.reshape(-1, n_above) @ to_above), 0
    passes = None if layer.dropout is None else layer.dropout.kept.contiguous()
    count, latency = (None if a is None else a.contiguous() for a in asked)
    kernels(
        "layer_backward",
        *(batch, neurons, own.beta, own.scale, None, kept.potential, kept.marks),
        *(current, to_above, n_above, passes, count, latency, layer.threshold, layer.slope),
        *(layer.paper, steps, neurons, own.unit, *out),
    )
    return out


def _gathered(kept: _Kept, current: Tensor, kernels: Kernels) -> Tensor:
    """dW (inputs, neurons), a sum over each input's events in one fixed order."""
    rows, (inputs, neurons) = kept.rows, kept.own.weight.shape
    batch, steps, _ = current.shape
    weight = current.new_empty((inputs, neurons))
    if rows.times is not None:
        sizes = (batch, inputs, neurons, steps)
        kernels("gather_times", inputs, neurons, rows.times, current, *sizes, weight)
        return weight
    numbers = torch.arange(batch * steps, dtype=torch.int32, device=current.device)
    counts = rows.indptr.diff(dim=1).flatten()
    row = numbers.repeat_interleave(counts, output_size=len(rows.indices))
    by_input, order = torch.sort(rows.indices, stable=True)
    every = torch.arange(inputs + 1, dtype=torch.int32, device=current.device)
    edges = torch.searchsorted(by_input, every)
    values = None if rows.values is None else rows.values[order]
    kernels("gather_events", inputs, neurons, edges, row[order], values, current, neurons, weight)
    return weight


def _parameters(weight: Tensor, swept: Sequence[Tensor], own: _Neurons) -> Parameters:
    bias, beta = (sums.sum(0) for sums in swept[1:])
    beta = beta if own.unit else beta / own.scale
    dtype = own.beta.dtype
    return Parameters(weight.t().contiguous(), bias.to(dtype), beta.to(dtype))
