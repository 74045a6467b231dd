"""Sparse spikes as the matrix of the product that gives currents (eq. 4)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import backends
from .._namespace import Array, device_of, namespace
from ._events import Events
from ._times import SpikeTimes


class Compressed(NamedTuple):
    """A sparse matrix in compressed rows or columns; repeated entries add."""

    indptr: Array  #: (rows + 1,), or (columns + 1,)
    indices: Array  #: (entries,) the column of each entry, or its row
    values: Array  #: (entries,)
    shape: tuple[int, int]
    by_row: bool

    @property
    def transposed(self) -> Compressed:
        """The transpose, which shares all arrays."""
        rows, columns = self.shape
        return self._replace(shape=(columns, rows), by_row=not self.by_row)


def compressed(x: SpikeTimes | Events, like: Array) -> Compressed:
    """Spikes as a matrix (batch * steps, neurons) in the dtype and on the device of `like`.

    `SpikeTimes` are compressed by column, since an entry per neuron and sample needs no sorting,
    and by operations of their own library; `Events`, from host memory, by row.

    Raises
    ------
    TypeError
        If the spike times belong to another library than `like`.
    ValueError
        If they are on another device.
    """
    return _of_times(x, like) if isinstance(x, SpikeTimes) else _of_events(x, like)


def _of_times(x: SpikeTimes, like: Array) -> Compressed:
    xp = namespace(x=x.times, weight=like)
    batch, neurons = x.times.shape
    index = index_dtype(xp, batch * x.n_steps, batch * neurons)
    device = device_of(like)
    times = xp.permute_dims(x.times, (1, 0))
    fired = times < x.n_steps
    first_row = xp.arange(batch, dtype=index, device=device) * x.n_steps
    rows = (xp.astype(times, index, copy=False) + first_row)[fired]
    ends = xp.cumulative_sum(xp.sum(fired, axis=-1, dtype=index), dtype=index)
    indptr = xp.concat([xp.zeros(1, dtype=index, device=device), ends])
    values = xp.ones(rows.shape, dtype=like.dtype, device=device)
    return Compressed(indptr, rows, values, (batch * x.n_steps, neurons), by_row=False)


def _of_events(x: Events, like: Array) -> Compressed:
    xp = namespace(weight=like)
    device = device_of(like)
    index = index_dtype(xp, len(x) * x.n_steps, x.n_neurons, x.n_events)  # also its transpose's
    indptr = np.concatenate([x.indptr[:, :-1].ravel(), [x.n_events]])
    if x.values is None:
        values = xp.ones(x.n_events, dtype=like.dtype, device=device)
    else:
        values = xp.astype(_placed(xp, x.values, device), like.dtype, copy=False)
    return Compressed(
        xp.astype(_placed(xp, indptr, device), index, copy=False),
        xp.astype(_placed(xp, x.indices, device), index, copy=False),
        values,
        (len(x) * x.n_steps, x.n_neurons),
        by_row=True,
    )


def _placed(xp: Any, host: Any, device: Any) -> Array:
    return backends.of(xp).asarray(host, device)


def index_dtype(xp: Any, *sizes: int) -> Any:
    """int32, which the libraries' products are fast with, or int64 if a size is beyond it."""
    return xp.int32 if max(sizes) < 1 << 31 else xp.int64
