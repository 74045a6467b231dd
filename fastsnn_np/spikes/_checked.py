"""What `Events` holds, looked at once: kernels trust it and read without a check."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._checks import check_n_neurons
from .._namespace import is_torch, native, to_numpy


class Rows(NamedTuple):
    """The fields of `Events`, right and as the kernels read them."""

    indptr: Any
    indices: Any
    n_neurons: int
    values: Any


def checked(indptr: Any, indices: Any, n_neurons: Any, values: Any) -> Rows:
    """The fields of `Events` of the right dtypes; see there for what is refused."""
    indptr, indices = (_host("indptr", indptr), _host("indices", indices))
    for name, array in (("indptr", indptr), ("indices", indices)):
        if not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"Events.{name} must be integers, got dtype {array.dtype}")
    if indptr.ndim != 2 or indptr.shape[1] < 2:
        raise ValueError(
            "Events.indptr must have shape (batch, n_steps + 1) with n_steps >= 1, "
            f"got {indptr.shape}"
        )
    if indices.ndim != 1:
        raise ValueError(f"Events.indices must have one axis, got shape {indices.shape}")
    count = len(indices)
    rows = np.ascontiguousarray(indptr, np.int64)  # unsigned ones never seem to decrease
    if rows.size and (
        rows[0, 0] != 0
        or rows[-1, -1] != count
        or np.any(rows[1:, 0] != rows[:-1, -1])
        or np.any(rows[:, 1:] < rows[:, :-1])  # no difference, which can overflow
    ):
        raise ValueError(
            f"Events.indptr must rise from 0 to the number of events, {count}, along every row "
            "and from the end of each row to the start of the next"
        )
    if not rows.size and count:
        raise ValueError(f"Events has no sample and {count} events")
    n_neurons = check_n_neurons(n_neurons)
    if count and not (indices.min() >= 0 and indices.max() < n_neurons):
        raise ValueError(
            f"event neurons must lie in 0 ... {n_neurons - 1}, "
            f"got {indices.min()} to {indices.max()}"
        )
    if values is not None:
        values = _checked_values(_host("values", values), indices.shape)
    return Rows(rows, np.ascontiguousarray(indices, np.int32), n_neurons, values)


def _host(name: str, array: Any) -> Any:
    """An array of NumPy, or what shares its memory with one."""
    if is_torch(array) and array.device.type == "cpu":
        array = to_numpy(array)
    if not isinstance(array, np.ndarray):
        raise TypeError(f"Events.{name} must be a NumPy array, got {type(array).__name__}")
    return native(array)


def _checked_values(values: Any, shape: tuple[int, ...]) -> Any:
    if values.shape != shape:
        raise ValueError(
            f"Events.values must have one value per event, shape {shape}, got {values.shape}"
        )
    if values.dtype not in (np.float32, np.float64):
        raise TypeError(f"Events.values must be float32 or float64, not {values.dtype}")
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"Events.values must be finite, but Events.values[{bad}] is {values[bad]}")
    return values
