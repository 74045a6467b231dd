"""Ours in the peers' tasks on sparse spikes: `FastSNN`, and a prepared network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastsnn_np as fs

from . import layers
from .internals import prepared_by, to_numpy
from .tasks import SLOPE, System
from .torch_training import adam_step


def event() -> System:
    """The public way: `prepare` for inference, `FastSNN(engine="event")` for training."""

    def layer(given: layers.Layer) -> tuple[Callable[[], Any], Callable[[], Any]]:
        run, outcome = layers.event(given)
        return run.forward, lambda: outcome.gradient(run.run())

    def network(parts: fs.Network, x: fs.SpikeTimes, labels: Any) -> tuple[Any, Any]:
        import torch

        from fastsnn_np.torch import FastSNN

        model = FastSNN.from_network(parts, engine="event", slope=SLOPE, learn_beta=False)
        spikes = fs.SpikeTimes(torch.tensor(x.times), x.n_steps)
        prepared = fs.prepare(parts, backend="numba")
        step = adam_step(model, list(model.parameters()), spikes, labels)
        return lambda: prepared(x).logits, step

    return System(layer, network, lambda out: out[1].times)


def dense_on_spikes() -> System:
    """The dense engine on `SpikeTimes` and `Events`, by the sparse product, in Torch."""

    def layer(given: layers.Layer) -> tuple[Callable[[], Any], Callable[[], Any]]:
        import torch

        from fastsnn_np.torch import FastLIF

        events = fs.Events.from_dense(given.trains)
        count, inputs = given.weight.shape
        part = FastLIF(inputs, count, bias=False, slope=SLOPE, learn_beta=False, share_beta=True)
        with torch.no_grad():
            part.beta.fill_(given.beta)
            part.weight.copy_(torch.from_numpy(given.weight * (1 - given.beta)))
        grad = given.tensors()[2]

        def forward() -> Any:
            with torch.no_grad():
                return part(events)

        def both() -> Any:
            part.weight.grad = None
            part(events).backward(grad)
            return part.weight.grad

        return forward, both

    def network(parts: fs.Network, x: fs.SpikeTimes, labels: Any) -> tuple[Any, Any]:
        import torch

        from fastsnn_np.torch import FastSNN

        model = FastSNN.from_network(parts, engine="dense", slope=SLOPE, learn_beta=False)
        spikes = fs.SpikeTimes(torch.tensor(x.times), x.n_steps)
        prepared = prepared_by(parts, "torch", "dense")
        step = adam_step(model, list(model.parameters()), spikes, labels)
        return lambda: to_numpy(prepared(spikes).logits), step

    return System(layer, network, lambda spikes: layers.first_times(spikes.numpy()))
