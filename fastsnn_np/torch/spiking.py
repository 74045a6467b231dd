"""Networks whose neurons fire again and again, trained by the event engine or in a plain loop.

The equations, forward and backward, are those of the design, section 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Unpack

import numpy as np
import torch
from torch import Tensor

from .. import backends
from .._checks import check_neurons, check_option
from ..backends.event import spiking_layers as events
from ..backends.event.layers import rows_of
from ..network import TAU_READOUT
from ..spikes import Events, SpikeTimes
from ._model import Model, checked_sizes
from ._options import SPIKING, SpikingOptions, complete
from .event import on_host
from .functional import no_double_backward
from .modules import Activity, DropoutMask, as_dense
from .spiking_modules import SpikingLIF, WeightedReadout


class SpikingSNN(Model):
    """Hidden layers of `SpikingLIF` and a `WeightedReadout`.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, neurons of each hidden layer, classes.
    tau_readout : float
        Time constant of the readout in ms.
    tau_weight : float or None
        In ms, as in `WeightedReadout`.
    dropout : float
        Probability that all spikes of a hidden neuron of a sample are dropped in training, on the
        way to the next layer.
    engine : {"event", "dense"}
        "event" computes spikes and gradients at a cost that follows the spikes, on the CPU, without
        any dense train; "dense" in the plain loop over time that Torch differentiates.
    neuron, recurrent, tau, dt, bias, learn_beta, share_beta, threshold, input_scale, slope,
    support, detach_reset, tau_adaptation, device, dtype
        As in `SpikingLIF`, for every hidden layer.

    Examples
    --------
    >>> import torch
    >>> from fastsnn_np import Neuron
    >>> model = SpikingSNN([700, 64, 20], neuron=Neuron("always", adaptation="current"), dt=4.0)
    >>> model(torch.zeros(5, 700, 50)).shape
    torch.Size([5, 20])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        tau_readout: float = TAU_READOUT,
        tau_weight: float | None = None,
        dropout: float = 0.0,
        engine: Literal["event", "dense"] = "event",
        **options: Unpack[SpikingOptions],
    ) -> None:
        options = complete(options, SPIKING, type(self).__name__)
        check_option("engine", engine, Literal["event", "dense"])
        sizes = checked_sizes(sizes)
        hidden = [
            SpikingLIF(n_in, n_out, **options)
            for n_in, n_out in zip(sizes[:-2], sizes[1:-1], strict=True)
        ]
        last = WeightedReadout(
            *sizes[-2:],
            tau=tau_readout,
            tau_weight=tau_weight,
            dt=options["dt"],
            device=options["device"],
            dtype=options["dtype"],
        )
        super().__init__(hidden, last, options["dt"])
        self.dropout, self.engine = dropout, engine

    def forward(self, x: Tensor | SpikeTimes | Events, *, return_activity: bool = False) -> Any:
        """Logits (batch, classes) of inputs (batch, inputs, time), dense or sparse.

        With ``return_activity=True`` also an `Activity` of each hidden layer.
        """
        inputs = x.shape[-2] if isinstance(x, Tensor) else x.n_neurons
        check_neurons(inputs, self.sizes[0], "the model")
        masks = self.dropout_masks(x)
        run = self._by_events if self.engine == "event" else self._densely
        if self.engine == "event" and torch.compiler.is_compiling():
            run = torch.compiler.disable(run)  # Dynamo knows neither kernels nor sparse forms
        logits, activities = run(x, masks, return_activity)
        return (logits, activities) if return_activity else logits

    def _densely(
        self, x: Any, masks: list[DropoutMask | None], activity: bool
    ) -> tuple[Tensor, list[Activity]]:
        spikes, activities = as_dense(x, self.readout.weight), []
        for layer, mask in zip(self.hidden(), masks, strict=True):
            spikes = layer(spikes)
            if activity:
                activities.append(Activity.of(spikes))
            spikes = spikes if mask is None else mask(spikes)
        return self.readout(spikes), activities

    def _by_events(
        self, x: Any, masks: list[DropoutMask | None], activity: bool
    ) -> tuple[Tensor, list[Activity]]:
        last: Any = self.readout
        weight = last.weight
        if weight.device.type != "cpu" or weight.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                "the event engine computes in float32 or float64 on the CPU, and the model is "
                f'{weight.dtype} on {weight.device}: engine="dense" takes it'
            )
        dtype = backends.get("numpy").asarray(weight.detach()).dtype
        parameters: list[Tensor | None] = []
        for layer in self.hidden():
            rho, a, b = layer.adaptation()
            own = (layer.weight, layer.bias, layer.clamped_beta(), layer.recurrent, rho, a, b)
            parameters += own
        parameters += [last.weight, last.bias]
        options = _Options(self.hidden(), masks, last, rows_of(on_host(x), dtype), activity)
        logits, *found = _Network.apply(x if isinstance(x, Tensor) else None, options, *parameters)
        groups = [found[i : i + 3] for i in range(0, len(found), 3)]
        return logits, [Activity(*group) for group in groups]


class _Options(NamedTuple):
    """What is not learnt."""

    hidden: Sequence[SpikingLIF]
    masks: Sequence[DropoutMask | None]
    readout: WeightedReadout
    rows: Any  #: the input as the kernels read it
    activity: bool  #: whether that of each hidden layer is returned


_PER_LAYER = 7  # parameters of a hidden layer, in the order of `SpikingSNN._by_events`


class _Network(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, dense: Tensor | None, options: _Options, *parameters: Any
    ) -> tuple[Tensor, ...]:
        arrays = [None if p is None else p.detach().numpy() for p in parameters]
        *hidden, (weight, bias) = _grouped(arrays)
        rows, kept, activities, size = options.rows, [], [], 1.0
        steps = rows.indptr.shape[1] - 1
        for module, mask, own in zip(options.hidden, options.masks, hidden, strict=True):
            w, layer_bias, beta, recurrent, rho, a, b = own
            given = events.Parameters(
                *(w, layer_bias, beta, module.input_scale, module.neuron, module.threshold),
                *(recurrent, rho, a, b),
            )
            layer = events.prepared(given, factor=size)
            run = events.forward(rows, layer, keep=any(ctx.needs_input_grad))
            kept.append((rows, layer, run))
            if options.activity:
                activities += _activity(run.rows, weight.dtype)
            rows = run.rows
            if mask is not None:
                rows = events.passed(rows, mask.kept.numpy())
            size = 1.0 if mask is None else mask.scale
        profile = options.readout.profile(steps)
        ctx.constant = weight.dtype.type(profile.sum())  # a bias counts as a spike at every step
        profile = (size * profile).astype(weight.dtype)
        counts = events.weighed(rows, profile)
        logits = counts @ weight.T
        if bias is not None:
            logits = logits + ctx.constant * bias
        ctx.kept, ctx.options, ctx.counts, ctx.profile = kept, options, counts, profile
        ctx.save_for_backward(*[p for p in parameters if p is not None])
        ctx.absent = [p is None for p in parameters]
        ctx.mark_non_differentiable(*activities[2::3])
        return torch.from_numpy(logits), *activities

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        _ = ctx.saved_tensors  # raises if a parameter was changed in between
        options: _Options = ctx.options
        dlogits, *activities = (grad.numpy() for grad in grads)
        weight = options.readout.weight.detach().numpy()
        found: list[Any] = [dlogits.T @ ctx.counts, ctx.constant * dlogits.sum(0)]
        spike, mask = dlogits @ weight, options.masks[-1]
        if mask is not None:
            spike = np.where(mask.kept.numpy(), spike, 0)
        above: Any = events.FromReadout(spike, ctx.profile)
        wants_input = ctx.needs_input_grad[0]
        for i in reversed(range(len(options.hidden))):
            module = options.hidden[i]
            rows, layer, run = ctx.kept[i]
            own = events.backward(
                rows,
                layer,
                run,
                above,
                events.Surrogate(module.slope, module.support, not module.detach_reset),
                keep_current=i > 0 or wants_input,
                activity=(activities[3 * i], activities[3 * i + 1]) if activities else None,
            )
            below = None if i == 0 else options.masks[i - 1]
            weight = module.weight.detach().numpy() * (1.0 if below is None else below.scale)
            weight = weight.astype(dlogits.dtype, copy=False)
            passes = None if below is None else below.kept.numpy()
            above = events.FromLayer(own.current, weight, passes)
            names = ("weight", "bias", "beta", "recurrent", "rho", "a", "b")
            found = [*(getattr(own, name) for name in names), *found]
        dx = None
        if wants_input:
            dx = torch.from_numpy(np.matmul(weight.T, above.current.transpose(0, 2, 1)))
        absent = zip(found, ctx.absent, strict=True)
        tensors = [None if skip or g is None else torch.from_numpy(g) for g, skip in absent]
        return dx, None, *tensors


def _grouped(flat: Sequence[Any]) -> list[Sequence[Any]]:
    return [flat[i : i + _PER_LAYER] for i in range(0, len(flat), _PER_LAYER)]


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
