"""Sparse arrays of other libraries as coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._namespace import is_torch, to_numpy


def coordinates(x: Any) -> tuple[tuple[Any, Any, Any], Any, tuple[int, int, int]]:
    """Sample, neuron and step of each stored entry, its value, and the shape of all three axes."""
    if is_torch(x):
        x = x.detach()
        if str(x.layout) == "torch.strided":
            raise TypeError("x is a dense tensor: use Events.from_dense")
        if str(x.layout) != "torch.sparse_coo":
            x = x.to_dense().to_sparse()  # the other layouts batch their rows
        x = x.coalesce()
        _check_axes(tuple(x.shape))
        place, values, shape = to_numpy(x.indices()), to_numpy(x.values()), x.shape
        if len(place) != 3:
            raise ValueError(f"x must be sparse along all three axes, got {len(place)} sparse axes")
    elif _scipy(x):
        _check_axes(tuple(x.shape))
        x = x.tocoo()
        place, values, shape = x.coords, x.data, x.shape
    elif isinstance(x, (list, tuple)) and x and all(_scipy(sample) for sample in x):
        first = tuple(x[0].shape)
        for i, sample in enumerate(x):
            if len(sample.shape) != 2 or tuple(sample.shape) != first:
                raise ValueError(
                    f"every sample must have axes (neurons, time), all of one shape: x[0] has "
                    f"{first} and x[{i}] has {tuple(sample.shape)}"
                )
        parts = [sample.tocoo() for sample in x]
        place = [
            np.repeat(np.arange(len(x)), [part.nnz for part in parts]),
            np.concatenate([part.row for part in parts]),
            np.concatenate([part.col for part in parts]),
        ]
        values, shape = np.concatenate([part.data for part in parts]), (len(x), *first)
    else:
        raise TypeError(
            "x must be a sparse tensor of Torch, a sparse array of SciPy, or a sequence of these "
            f"(neurons, time), got {type(x).__name__}"
        )
    sample, neuron, step = (np.asarray(axis).astype(np.int64) for axis in place)
    batch, neurons, steps = map(int, shape)
    return (sample, neuron, step), np.asarray(values), (batch, neurons, steps)


def _scipy(x: Any) -> bool:
    return type(x).__module__.startswith("scipy.sparse")


def _check_axes(shape: tuple[int, ...]) -> None:
    if len(shape) != 3:
        raise ValueError(
            f"x must have axes (batch, neurons, time), got shape {shape}"
            + (": give a sequence of (neurons, time), one per sample" if len(shape) == 2 else "")
        )
