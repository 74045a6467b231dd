"""Our event engine in the peers' tasks: `FastSNN` on spike times, and a prepared network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastsnn_np as fs

from . import layers
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
