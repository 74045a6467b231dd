"""What the benchmarks use of `fastsnn_np` that is not public, in one place.

Another checkout of the project is measured by these benchmarks too: where a module has moved, it is
looked for here in each place that a version has it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import fastsnn_np as fs


def to_numpy(x: Any) -> Any:
    """An array of any library as a NumPy array."""
    return fs.backends.get("numpy").asarray(x)


def _earlier(name: str) -> Any:
    """A module that commit 5475f46 has and this checkout has not."""
    return importlib.import_module(f"fastsnn_np.{name}")


def event_layers() -> Any:
    """The event engine's functions: `rows_of`, `weights_of`, `layer` and `layer_backward`."""
    try:
        from fastsnn_np.backends.event import layers
    except ImportError:
        events = _earlier("backends.events")
        return SimpleNamespace(
            rows_of=events.rows_of,
            weights_of=events.weights_of,
            layer=events.hidden,
            layer_backward=events.hidden_backward,
        )
    return layers


def fused_layer(x: Any, weight: Any, *, beta: float) -> Any:
    """A dense layer by the fused kernel of ``backend="numba"``."""
    try:
        from fastsnn_np.backends.event.fused import layer
    except ImportError:
        layer = _earlier("backends.numba").layer
    return layer(x, weight, beta=beta)


def prepared_by(network: fs.Network, backend: str, engine: str) -> Callable[[Any], Any]:
    """A network prepared for an engine; the backend alone says which it is in 5475f46."""
    try:
        return fs.prepare(network, backend=backend, engine=engine)
    except TypeError:
        return fs.prepare(network, backend=backend)


def dense_input_by(network: fs.Network, engine: str) -> Callable[[Any], Any]:
    """A network prepared for dense NumPy input: by the "dense" kernel, or made "event"s of."""
    numba: Any = fs.backends.get("numba")
    if not hasattr(numba, "_DENSEST"):
        return fs.prepare(network, backend="numba", engine=engine)
    prepared, limit = fs.prepare(network, backend="numba"), float(engine == "event")  # 5475f46

    def run(x: Any) -> Any:
        usual, numba._DENSEST = numba._DENSEST, limit
        try:
            return prepared(x)
        finally:
            numba._DENSEST = usual

    return run


def batches(x: Any, labels: Any, batch_size: int) -> Any:
    """The shuffled batches that `fit` trains on, an epoch at a time."""
    try:
        from fastsnn_np.torch.training import Batches
    except ImportError:
        Batches = _earlier("torch.data").Batches  # noqa: N806
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

    try:
        from fastsnn_np.experiments import build_model, load_data, load_recipe
        from fastsnn_np.torch.training.data import pick, to_device
    except ImportError:
        return _earlier_training(dataset, recipe, root, models, count=count, seed=seed)
    loaded = load_recipe(recipe, dataset)
    data = load_data(loaded, root)
    first = np.arange(count)
    built = {}
    for name in models:
        torch.manual_seed(seed)
        changed = loaded.with_changes({"model": name})
        built[name] = build_model(changed, data.n_inputs, len(data.classes))
    return Training(to_device(pick(data.train[0], first), "cpu"), data.train[1][first], built)


def _earlier_training(
    dataset: str, recipe: str, root: Path | None, models: Any, *, count: int, seed: int
) -> Training:
    import numpy as np
    import torch

    train, held = _earlier("train"), _earlier("torch.data")
    loaded = _earlier("torch.recipe").load(recipe, dataset)
    data = train.load_data(loaded, root)
    first = np.arange(count)
    built = {}
    for name in models:
        torch.manual_seed(seed)
        built[name] = train.build(loaded.with_changes({"model": name}), data)
    x = held.to_device(held.pick(data.train[0], first), "cpu")
    return Training(x, data.train[1][first], built)
