"""Training steps of both models on a real data set, and what a trained model fires."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..harness.contest import Call, Contest
from .activity import Activity
from .internals import training
from .names import BATCH
from .torch_training import adam_step


def contest(
    names: Sequence[str], *, dataset: str, recipe: str, root: str | None = None, seed: int = 0
) -> Contest:
    """A training step of either model by the recipe, Adam included, on one batch."""
    given = training(dataset, recipe, Path(root) if root else None, names, count=BATCH, seed=seed)
    steps = {}
    for name, model in given.models.items():
        step = adam_step(model, list(model.parameters()), given.x, given.labels)
        steps[name] = Call(step)
    return Contest(steps, judge)


def judge(outputs: dict[str, float]) -> str:
    """Two models: their losses are not equal, but numbers they are.

    Raises
    ------
    AssertionError
        If a loss is not finite.
    """
    for name, loss in outputs.items():
        assert np.isfinite(loss), f"{name}: the loss is {loss}"
    return "different models by intention; losses finite"


def activity(folder: Path, root: Path | None) -> Activity:
    """The first test sample of N-MNIST through the model of a training run."""
    from fastsnn_np.datasets import nmnist

    x, labels = nmnist("test", root=root)
    model = trained(folder)
    with torch.no_grad():
        first = spikes = x[:1].to_dense(model.readout.weight)
        for layer in model.layers:
            spikes = layer(spikes)
        potential = model.readout.potential(spikes)[0].numpy()
    return Activity(int(labels[0]), first[0].numpy(), spikes[0].numpy(), potential)


def trained(folder: Path) -> Any:
    """The Torch model that a training run has left in its folder."""
    from safetensors.torch import load_file

    from fastsnn_np import Network
    from fastsnn_np.torch import FastSNN, StandardSNN

    if (folder / "network.safetensors").exists():
        return FastSNN.from_network(Network.load(folder / "network.safetensors"), engine="dense")
    recipe = json.loads((folder / "summary.json").read_text())["recipe"]
    state = load_file(folder / "model.safetensors")
    weights = [tensor for name, tensor in state.items() if name.endswith("weight")]
    hidden = [state[f"layers.{i}.weight"] for i in range(len(weights) - 1)]
    sizes = [hidden[0].shape[1], *map(len, hidden), len(state["readout.weight"])]
    wanted = ("tau", "tau_readout", "dt", "learn_beta", "readout", "input_scale", "slope")
    model = StandardSNN(sizes, **{name: recipe[name] for name in wanted})
    model.load_state_dict(state)
    return model
