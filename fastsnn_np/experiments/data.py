"""A recipe's data: read, encoded, held out, augmented."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import augment
from ..datasets._catalogue import Binning, Root
from ..encoding import latency, linear_latency
from ..torch.training.data import Augment, pick
from .recipe import Recipe


class Data(NamedTuple):
    """A data set as a network takes it: (spikes, labels) of each part."""

    train: tuple[Any, Any]
    validation: tuple[Any, Any]  #: held out of the training data, or else the test data
    test: tuple[Any, Any]
    classes: tuple[str, ...]
    note: str  #: what to know of this copy of the data

    @property
    def n_inputs(self) -> int:
        return int(self.train[0].n_neurons)


def load_data(recipe: Recipe, root: Root = None) -> Data:
    """The recipe's data set, encoded.

    Parameters
    ----------
    recipe : Recipe
    root : path, optional
        Folder with the data set's original files; see `fastsnn_np.datasets`.
    """
    data_set = recipe.data_set
    binning = Binning(recipe.dt, recipe.n_steps, recipe.merge_polarities, recipe.binary)
    train, test = (data_set.read(split, root, binning) for split in ("train", "test"))
    if data_set.kind == "images":
        train, test = ((_encoded(images, recipe), labels) for images, labels in (train, test))
    parts = {"training": train, "test": test}
    if recipe.validation_fraction:
        groups = None if data_set.groups is None else data_set.groups(root)
        train, validation = hold_out(
            *train, recipe.validation_fraction, groups, fold=recipe.validation_fold
        )
        parts = {"training": train, "validation": validation, "test": test}
    note = ", ".join(f"{len(labels)} {part}" for part, (_, labels) in parts.items()) + " samples"
    return Data(train, parts.get("validation", test), test, data_set.classes, note)


def _encoded(images: Any, recipe: Recipe) -> Any:
    if recipe.encoding == "latency":
        return latency(images, n_steps=recipe.n_steps, dt=recipe.dt)
    return linear_latency(images, n_steps=recipe.n_steps)


def hold_out(
    x: Any, labels: Any, fraction: float, groups: Any = None, *, fold: int = 0
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The samples to train on, and about `fraction` of them held out: always the same ones.

    Parameters
    ----------
    x : SpikeTimes or Events
    labels : integer NumPy array (samples,)
    fraction : float
    groups : integer NumPy array (samples,), optional
        Groups, such as speakers, of which none is in both parts.
    fold : int
        Which of the shares of that size is held out, counted from 0; after the last one it goes on
        with the first.

    Raises
    ------
    ValueError
        If one part would be empty.
    """
    groups = np.arange(len(labels)) if groups is None else groups
    kinds = np.random.default_rng(0).permutation(np.unique(groups))
    size = round(fraction * len(kinds))
    held = np.isin(groups, np.roll(kinds, -fold * size)[:size])
    if held.all() or not held.any():
        raise ValueError(
            f"validation_fraction={fraction} of {len(kinds)} "
            f"{'samples' if len(kinds) == len(labels) else 'groups'} leaves one part empty"
        )
    kept, validation = np.flatnonzero(~held), np.flatnonzero(held)
    return (pick(x, kept), labels[kept]), (pick(x, validation), labels[validation])


def augmentation(recipe: Recipe) -> Augment | None:
    """What the recipe changes in each batch, or None."""
    steps: list[Augment] = []
    shape = recipe.data_set.shape
    if recipe.shift and len(shape) == 2:
        steps.append(partial(augment.shift, shape=shape, pixels=recipe.shift))
    elif recipe.shift:
        steps.append(partial(augment.shift_channels, channels=recipe.shift))
    if recipe.shift_time:
        steps.append(partial(augment.shift_time, steps=recipe.shift_time))
    if recipe.flip and len(shape) == 2:
        steps.append(partial(augment.flip, shape=shape, p=recipe.flip))
    if recipe.jitter:
        steps.append(partial(augment.jitter, steps=recipe.jitter))
    if recipe.drop:
        steps.append(partial(augment.drop, p=recipe.drop))

    def augmented(x: Any, rng: np.random.Generator) -> Any:
        for step in steps:
            x = step(x, rng)
        return x

    def blended(x: Any, rng: np.random.Generator, labels: Any) -> Any:
        return augmented(augment.blend(x, rng, labels=labels, p=recipe.blend), rng)

    if recipe.blend:
        return augment.with_labels(blended)
    return augmented if steps else None
