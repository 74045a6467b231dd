"""A recipe's network: with fresh weights, or as a run has left it in its folder."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import torch

from .._kinds import Neuron
from .._storage import as_path, read_json, replacing
from ..network import Network
from ..torch._model import Model
from ..torch._options import (
    FastOptions,
    GradientOptions,
    SpikingOptions,
    StandardOptions,
    with_settings,
)
from ..torch.fast_snn import FastSNN
from ..torch.spiking import SpikingSNN
from ..torch.standard_snn import StandardSNN
from .recipe import Recipe, recipe_of

RECIPE = "recipe.json"
BESIDE = ("seed", "threads")  #: keys there beside those of a recipe
_NETWORK, _STATE = "network.safetensors", "model.safetensors"


def build_model(recipe: Recipe, n_inputs: int, n_classes: int) -> Model:
    """The recipe's network, with fresh weights from Torch's global generator.

    Examples
    --------
    >>> from fastsnn_np.experiments import load_recipe
    >>> build_model(load_recipe("paper", "shd"), 700, 20).sizes
    (700, 200, 20)
    """
    sizes = [n_inputs, *recipe.hidden, n_classes]
    shared: dict[str, Any] = {
        "tau_readout": recipe.tau_readout,
        "dtype": torch.float64 if recipe.precision == "64-true" else torch.float32,
    }
    if recipe.model == "spiking":
        options = named(recipe, SpikingOptions)
        options["support"] = recipe.support or math.inf
        options["neuron"] = Neuron(
            "always", recipe.reset, recipe.reset_at, recipe.refractory, recipe.adaptation
        )
        shared |= {"tau_weight": recipe.tau_weight or None, "dropout": recipe.dropout}
        return SpikingSNN(sizes, **shared, **options)
    shared["readout"] = recipe.readout
    if recipe.model == "standard":
        return StandardSNN(sizes, **shared, **named(recipe, StandardOptions))
    return FastSNN(sizes, dropout=recipe.dropout, **shared, **named(recipe, FastOptions))


def save_model(model: Model, folder: Path) -> None:
    """Write a trained model: a `FastSNN` as a network, any other as its parameters by name."""
    if isinstance(model, FastSNN):
        model.to_network().save(folder / _NETWORK)
        return
    from safetensors.torch import save_file

    with replacing(folder / _STATE) as temporary:
        save_file(model.state_dict(), temporary)


def load_model(folder: str | os.PathLike[str]) -> Model:
    """The trained model that `run_experiment` has left in `folder`.

    Raises
    ------
    OSError, ValueError
        If the folder holds no finished run, or one of its files is damaged.
    """
    folder = as_path(folder, "folder")
    content = read_json(folder / RECIPE)
    recipe = recipe_of(
        {name: value for name, value in content.items() if name not in BESIDE},
        where=str(folder / RECIPE),
    )
    if recipe.model == "fast":
        network = Network.load(folder / _NETWORK)
        as_trained = named(recipe, GradientOptions)
        state = FastSNN.from_network(
            network, learn_beta=recipe.learn_beta, **as_trained
        ).state_dict()
    else:
        from safetensors.torch import load_file

        state = load_file(folder / _STATE)
    n_inputs, n_classes = state["layers.0.weight"].shape[1], len(state["readout.weight"])
    model = build_model(recipe, n_inputs, n_classes)
    model.load_state_dict(with_settings(model, state))  # the recipe says those of older files
    return model.eval()


def named(recipe: Recipe, options: Any) -> dict[str, Any]:
    """The values in the recipe of the options that a `TypedDict` names."""
    names = options.__optional_keys__
    return {name: value for name, value in recipe.as_dict().items() if name in names}
