"""The event engine under autograd: a whole network in one function, forward and backward.

Tensors on the CPU share their memory with the kernels of ``fastsnn_np.backends.events``. No tape is
kept: the backward pass is the closed form, and the potential is replayed or, on request, kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import backends
from ..backends.event import layers as engine
from ..spikes import Events, SpikeTimes
from .functional import once
from .modules import Activity, Dropped


class Options(NamedTuple):
    """What is not learnt: of each hidden layer, of every layer, and of the network."""

    thresholds: Sequence[float]
    papers: Sequence[bool]
    slopes: Sequence[float]
    dropped: Sequence[Dropped | None]
    scales: Sequence[Any]
    summed: bool
    keep: str
    buffers: list[Any]
    activity: bool  #: whether that of each hidden layer is returned


def run(
    x: Tensor | SpikeTimes | Events, options: Options, parameters: Sequence[Any]
) -> tuple[Tensor, list[Activity]]:
    """Logits of a network whose parameters are weight, bias or None and beta, layer after layer."""
    dense = x if isinstance(x, Tensor) else None
    logits, *rest = _Network.apply(x if dense is None else None, dense, options, *parameters)
    return logits, [Activity(*rest[i : i + 3]) for i in range(0, len(rest), 3)]


def supports(x: Any, weight: Tensor) -> str | None:
    """Why the event engine cannot take this, or None."""
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
        ctx: Any, sparse: Any, dense: Tensor | None, options: Options, *parameters: Any
    ) -> tuple[Tensor, ...]:
        dtype = backends.get("numpy").asarray(parameters[0]).dtype
        *hidden, last = _weights(parameters, options)
        rows = _rows(sparse if dense is None else dense, dtype)
        steps = rows.indptr.shape[1] - 1
        kept: list[Any] = []
        activities: list[Tensor] = []
        for i, weights in enumerate(hidden):
            keep = None
            if options.keep == "potential" and any(ctx.needs_input_grad):
                keep = _take(options.buffers, (len(rows.indptr), steps, len(weights.beta)), dtype)
            out = engine.layer(rows, weights, threshold=options.thresholds[i], keep=keep)
            kept.append((rows, weights, out))
            if options.activity:
                activities += _activity(out.times, steps, dtype)
            times, dropped = out.times, options.dropped[i]
            if dropped is not None:
                times = np.where(dropped.passes.numpy(), times, np.int32(steps))
            rows = engine.rows_of_times(times, steps, dtype)
        read = engine.readout(rows, last, summed=options.summed)
        kept.append((rows, last, read))
        ctx.kept, ctx.options = kept, options
        # no gradient can be right once an optimiser has moved the weights under the kept arrays
        ctx.save_for_backward(*[p for p in parameters if p is not None])
        ctx.absent = [p is None for p in parameters]
        ctx.mark_non_differentiable(*activities[2::3])
        return torch.from_numpy(read.logits), *activities

    @staticmethod
    @once
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        _ = ctx.saved_tensors  # raises if a parameter was changed in between
        options: Options = ctx.options
        *hidden, (rows, weights, read) = ctx.kept
        dlogits, *dactivities = (grad.numpy() for grad in grads)
        found = engine.readout_backward(rows, weights, read, dlogits, summed=options.summed)
        gradients = [found]
        wants_input = ctx.needs_input_grad[1]
        for i in range(len(hidden) - 1, -1, -1):
            above = np.ascontiguousarray(weights.weight.T)
            rows, weights, out = hidden[i]
            dropped = options.dropped[i]
            found = engine.layer_backward(
                rows,
                weights,
                out,
                found.current,
                above,
                threshold=options.thresholds[i],
                slope=options.slopes[i],
                paper=options.papers[i],
                keep_current=i > 0 or wants_input,
                dropout=None if dropped is None else dropped.passes.numpy(),
                activity=tuple(dactivities[3 * i : 3 * i + 2]) if dactivities else None,
            )
            gradients.append(found)
            if out.potential.size:
                # a second backward pass replays: the pages may be in use by then
                ctx.kept[i] = (rows, weights, out._replace(potential=out.potential[:0]))
                options.buffers.append(out.potential)
        dx = None
        if wants_input:  # dL/dS_in = W^T dL/dI, as (batch, inputs, steps)
            dx = torch.from_numpy(np.matmul(weights.weight, found.current.transpose(0, 2, 1)))
        flat: list[Any] = []
        for found, dropped in zip(reversed(gradients), (None, *options.dropped), strict=True):
            weight = found.weight if dropped is None else dropped.factor * found.weight
            flat += [weight.T, found.bias, found.beta]
        absent = zip(flat, ctx.absent, strict=True)
        tensors = [None if is_absent else torch.from_numpy(g) for g, is_absent in absent]
        return None, dx, None, *tensors


def _rows(x: Any, dtype: Any) -> engine.Rows:
    if isinstance(x, Tensor):
        return engine.rows_of(x.detach().numpy(), dtype)
    if isinstance(x, SpikeTimes):
        times = backends.get("numpy").asarray(x.times)
        return engine.rows_of_times(np.ascontiguousarray(times), x.n_steps, dtype)
    return engine.rows_of(x, dtype)


def _weights(parameters: Sequence[Any], options: Options) -> list[engine.Weights]:
    """The layers' parameters; what passed dropout below is larger by the factor of its weights."""
    arrays: list[Any] = [None if p is None else p.detach().numpy() for p in parameters]
    dropped = (None, *options.dropped)
    weights = [
        w if below is None else np.multiply(w, below.factor, dtype=w.dtype)
        for w, below in zip(arrays[0::3], dropped, strict=True)
    ]
    layers = zip(weights, arrays[1::3], arrays[2::3], options.scales, strict=True)
    return [engine.weights_of(*layer) for layer in layers]


def _activity(times: Any, steps: int, dtype: Any) -> list[Tensor]:
    """The fields of `Activity`, from spike times."""
    fired = times < steps
    count = fired.sum(axis=1, dtype=dtype)
    latency = times.sum(axis=1, dtype=dtype)
    return [torch.from_numpy(a) for a in (count, latency, fired.sum(axis=0))]


def _take(buffers: list[Any], shape: tuple[int, ...], dtype: Any) -> Any:
    """Pages of an earlier step, given back by its backward pass: fresh ones cost more than sums."""
    for i, held in enumerate(buffers):
        if held.shape == shape and held.dtype == dtype:
            return buffers.pop(i)
    buffers.clear()  # of another shape: the batches have changed
    return np.empty(shape, dtype)
