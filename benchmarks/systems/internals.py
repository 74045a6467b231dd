"""What the benchmarks use of `fastsnn_np` that is not public, in one place.

Another checkout of the project is measured by these benchmarks too: where a module has moved, it is
looked for here in each place that a version has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import fastsnn_np as fs


def to_numpy(x: Any) -> Any:
    """An array of any library as a NumPy array."""
    return fs.backends.get("numpy").asarray(x)


def event_kernels() -> Any:
    """The event engine's `rows_of`, `weights_of`, `hidden` and `hidden_backward`."""
    from fastsnn_np.backends import events

    return events


def fused_layer(x: Any, weight: Any, *, beta: float) -> Any:
    """A dense layer by the Numba backend's fused kernel."""
    numba: Any = fs.backends.get("numba")
    return numba.layer(x, weight, beta=beta)


@contextmanager
def densest(density: float) -> Iterator[None]:
    """For a while, the density up to which dense input becomes events."""
    numba: Any = fs.backends.get("numba")
    usual, numba._DENSEST = numba._DENSEST, density
    try:
        yield
    finally:
        numba._DENSEST = usual


def batches(x: Any, labels: Any, batch_size: int) -> Any:
    """The shuffled batches that `fit` trains on, an epoch at a time."""
    from fastsnn_np.torch.data import Batches

    return Batches(x, labels, batch_size=batch_size, shuffle=True)


class Training(NamedTuple):
    """The first training samples of a data set as tensors, and models to train on them."""

    x: Any
    labels: Any
    models: dict[str, Any]


def training(
    dataset: str, recipe: str, root: Path | None, models: Any, *, count: int, seed: int
) -> Training:
    """The first `count` training samples by a recipe, and its models, each from the same seed."""
    import numpy as np
    import torch

    from fastsnn_np.torch import recipe as recipes
    from fastsnn_np.torch.data import pick, to_device
    from fastsnn_np.train import build, load_data

    loaded = recipes.load(recipe, dataset)
    data = load_data(loaded, root)
    first = np.arange(count)
    built = {}
    for name in models:
        torch.manual_seed(seed)
        built[name] = build(loaded.with_changes({"model": name}), data)
    return Training(to_device(pick(data.train[0], first), "cpu"), data.train[1][first], built)
