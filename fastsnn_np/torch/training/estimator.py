"""What the scikit-learn estimator needs of Torch: a network trained on, its optimiser kept."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch

from ...network import Network
from ...spikes import Events, SpikeTimes
from ..fast_snn import FastSNN
from ._fit import History, fit
from .checkpoint import fitted_optimiser

#: what an optimiser knows of each parameter, by name, as NumPy arrays
OptimiserState = list[dict[str, Any]]


def fit_network(
    network: Network,
    x: SpikeTimes | Events,
    labels: Any,
    *,
    state: OptimiserState | None = None,
    **options: Any,
) -> tuple[Network, OptimiserState, History]:
    """`fit` a network of NumPy arrays, going on from the `state` of the optimiser if it is given.

    Parameters
    ----------
    network : Network
        Left as it is.
    x, labels, **options
        As in `fit`.

    Returns
    -------
    (Network, OptimiserState, list of dict)
        The trained network and the optimiser's state, both of NumPy arrays, and the history that
        `fit` returns.
    """
    model = FastSNN.from_network(network)
    keeper = _OptimiserKeeper(model, state)
    history = fit(model, x, labels, callbacks=[keeper], **options)
    return model.to_network(), keeper.state, history


class _OptimiserKeeper(pl.Callback):
    """Gives the optimiser a state as training starts, and keeps the one that it ends with."""

    def __init__(self, model: FastSNN, state: OptimiserState | None) -> None:
        self.parameters, self.state = list(model.parameters()), state or []

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if self.state:
            known = [{k: torch.from_numpy(v) for k, v in part.items()} for part in self.state]
            fitted = fitted_optimiser({"state": dict(enumerate(known))}, self.parameters)
            for i, parameter in enumerate(self.parameters):
                trainer.optimizers[0].state[parameter] = fitted["state"][i]

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        known = [trainer.optimizers[0].state[parameter] for parameter in self.parameters]
        self.state = [{k: v.cpu().numpy().copy() for k, v in part.items()} for part in known]
