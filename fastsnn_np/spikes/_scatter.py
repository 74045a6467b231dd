"""Scattered addition for libraries that have none, since the Array API has none."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._namespace import Array


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
