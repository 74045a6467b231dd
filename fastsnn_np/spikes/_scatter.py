"""Events added into a dense array; also for libraries without scatter, as the Array API is."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backends
from .._namespace import Array


def scattered(events: Any, xp: Any, dtype: Any, device: Any) -> Array:
    """`Events` as a dense array (batch, neurons, time) of the library `xp`."""
    shape = events.shape
    row = np.repeat(np.arange(shape[0] * shape[2]), np.diff(events.indptr, axis=1).ravel())
    sample, step = np.divmod(row, shape[2])
    flat = (sample * shape[1] + events.indices) * shape[2] + step
    values = np.ones(len(flat), np.float32) if events.values is None else events.values
    scatter_add = backends.of(xp).scatter_add
    if scatter_add is None:
        flat, values = add_repeated(flat, values)
        scatter_add = gather
    index_there = xp.asarray(flat, dtype=xp.int64, device=device)
    values_there = xp.astype(xp.asarray(values, device=device), dtype, copy=False)
    size = shape[0] * shape[1] * shape[2]
    return xp.reshape(scatter_add(xp, size, index_there, values_there, device), shape)


def add_repeated(index: Any, values: Any) -> tuple[Any, Any]:
    """The sorted unique numbers of a NumPy `index`, and the sum of the values at each."""
    unique, where = np.unique(index, return_inverse=True)
    return unique, np.bincount(where, values, minlength=len(unique)).astype(values.dtype)


def gather(xp: Any, size: int, index: Array, values: Array, device: Any) -> Array:
    """out[index] = values, else 0, for sorted unique indices, by binary search of every place."""
    if index.shape[0] == 0:
        return xp.zeros((size,), dtype=values.dtype, device=device)
    place = xp.arange(size, dtype=xp.int64, device=device)
    found = xp.searchsorted(index, place)
    found = xp.where(found == index.shape[0], xp.zeros_like(found), found)
    hit = xp.take(index, found) == place
    return xp.where(hit, xp.take(values, found), xp.zeros_like(place, dtype=values.dtype))
