"""Whether networks, results and counts belong together, which `metrics` asks first; entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._checks import check_real
from ._forward import Result
from ._namespace import namespace, to_numpy
from .network import Network
from .spikes import Events, SpikeTimes


def check_result(result: Any) -> None:
    """Refuse what is no result."""
    if not isinstance(result, Result):
        raise TypeError(f"result must be what forward gives, got {type(result).__name__}")


def batch_of(result: Result) -> int:
    """Number of samples of a result."""
    of = result.spike_counts[0] if result.spike_counts else result.prediction
    if of is None:
        raise ValueError("result holds neither layers nor a prediction: it is of no network")
    return int(of.shape[0])


def check_fit(network: Any, result: Any) -> None:
    """Refuse a result that another network gave, as far as its shapes tell."""
    check_network(network)
    check_result(result)
    batch = batch_of(result)
    arrays = [*result.spike_times, *([] if result.logits is None else [result.logits])]
    shapes = [tuple(map(int, array.shape)) for array in arrays]
    expected = [(batch, n) for n in network.sizes[1:]]
    if shapes != expected:
        raise ValueError(
            f"result has (batch, neurons) {shapes} in its layers, the network expects {expected}: "
            "result must be forward(x, network)"
        )


def check_network(network: Any) -> None:
    """Refuse what is no network."""
    if not isinstance(network, Network):
        raise TypeError(f"network must be a fastsnn_np.Network, got {type(network).__name__}")


def check_operations(network: Any, operations: Any, updates: Any) -> Any:
    """Refuse operations and updates of another network; the updates as a NumPy array."""
    check_network(network)
    updates = to_numpy(updates)
    if updates.ndim != 2:
        raise ValueError(f"updates must have axes (batch, layers), got shape {updates.shape}")
    products = np.array(
        [part.n_inputs * part.n_neurons for part in (*network.layers, network.readout)]
    )
    dense = to_numpy(operations.dense)
    steps = dense[0] // products[0] if dense.shape == products.shape else 0
    if steps < 1 or not np.array_equal(dense, steps * products):
        raise ValueError(
            f"operations are of another network: {dense.tolist()} in its layers if dense, and this "
            f"one has a multiple of {products.tolist()}"
        )
    shapes = [
        to_numpy(array).shape
        for array in (operations.effective_macs, operations.effective_acs, updates)
    ]
    if len(updates) == 0 or any(shape != (len(updates), len(products)) for shape in shapes):
        raise ValueError(
            f"operations and updates must have shape (batch, layers), ({len(updates)}, "
            f"{len(products)}) with at least one sample, got {shapes}"
        )
    for count in map(to_numpy, (operations.effective_macs, operations.effective_acs, updates)):
        check_real("operations and updates", count.dtype, np)
        if not (count >= 0).all():
            raise ValueError(f"operations and updates must be 0 or more, got {count.min()}")
    return updates


def class_numbers(name: str, labels: Any, n_classes: int) -> Any:
    """Numbers of classes as int64."""
    labels = to_numpy(labels)
    if labels.size and labels.dtype.kind not in "iub":
        raise TypeError(f"{name} must be integers, numbers of classes, got dtype {labels.dtype}")
    if labels.size and not (labels.min() >= 0 and labels.max() < n_classes):
        raise ValueError(
            f"{name} must lie in 0 ... {n_classes - 1}, got {labels.min()} to {labels.max()}"
        )
    return labels.astype(np.int64)


def entries_per_neuron(x: Any) -> tuple[Any, bool]:
    """Non-zero entries of each input over time, (batch, neurons), and whether all are -1 or 1."""
    if isinstance(x, SpikeTimes):
        return (to_numpy(x.times) < x.n_steps).astype(np.int64), True
    if isinstance(x, Events):
        sample = np.repeat(np.arange(len(x)), x.indptr[:, -1] - x.indptr[:, 0])
        flat = np.bincount(sample * x.n_neurons + x.indices, minlength=len(x) * x.n_neurons)
        binary = x.values is None or bool((np.abs(x.values) == 1).all())
        return flat.reshape(len(x), x.n_neurons), binary
    check_real("x", x.dtype, namespace(x=x))
    x = to_numpy(x)
    counts = np.count_nonzero(x, axis=-1)
    return counts, x.dtype == np.bool_ or bool(((x == 0) | (np.abs(x) == 1)).all())
