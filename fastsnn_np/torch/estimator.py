"""What the scikit-learn estimator needs of Torch: a network trained on, its optimiser kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from ..network import Network
from ..spikes import Events, SpikeTimes
from .fast_snn import FastSNN
from .training import fit

#: what an optimiser knows of each parameter, by name, as NumPy arrays
OptimiserState = list[dict[str, Any]]


def train(
    network: Network,
    x: SpikeTimes | Events,
    labels: Any,
    *,
    state: OptimiserState | None = None,
    **options: Any,
) -> tuple[Network, OptimiserState, list[dict[str, float]]]:
    """`fit` a network of NumPy arrays, going on from the `state` of the optimiser if it is given.

    Parameters
    ----------
    options
        Of `fit`.

    Returns
    -------
    (Network, OptimiserState, list of dict)
        Of NumPy arrays, and the history that `fit` returns.
    """
    model = FastSNN.from_network(network)
    x = SpikeTimes(torch.tensor(x.times), x.n_steps) if isinstance(x, SpikeTimes) else x
    with _optimiser_state(model, state) as after:
        history = fit(model, x, torch.tensor(labels), **options)
    return model.to_network(), after, history


@contextmanager
def _optimiser_state(model: FastSNN, before: OptimiserState | None) -> Iterator[OptimiserState]:
    """Give the optimiser of `model`, made wherever, a state at its first step, and note its last.

    Torch's hooks are called for every optimiser of the process, so others are passed over.
    """
    own = list(model.parameters())
    found: list[Optimizer] = []
    after: OptimiserState = []

    def first_step(optimiser: Optimizer, *_: Any) -> None:
        if found or not any(p is own[0] for g in optimiser.param_groups for p in g["params"]):
            return
        found.append(optimiser)
        if before is not None:
            for parameter, known in zip(own, before, strict=True):
                optimiser.state[parameter] = {k: torch.tensor(v) for k, v in known.items()}

    handle = register_optimizer_step_pre_hook(first_step)
    try:
        yield after
    finally:
        handle.remove()
    for parameter in own:
        known = found[0].state[parameter]
        after.append({k: v.cpu().numpy().copy() for k, v in known.items()})
