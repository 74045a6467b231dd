"""Kernels that bring spikes into the event engine's form: sorted by time.

Events are rows of `indptr` into `indices`, see `fastsnn_np.Events`. All sorts are counting sorts.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numba

from fastsnn_np._jit import Kernel, helper


class Rows(NamedTuple):
    """Events as the kernels read them.

    Those of sample b at step t are indptr[b, t] : indptr[b, t + 1].
    """

    indptr: Any  #: int64 (batch, steps + 1)
    indices: Any  #: int32
    values: Any  #: of the working dtype; empty if every event is of size 1
    n_inputs: int


@helper
def sort_sample(times, passes, base, row, indices):
    """The spikes of one sample by a counting sort, from place `base` of `indices` on.

    A neuron that does not pass is left out; all do if `passes` is empty.
    """
    steps, neurons = row.shape[0] - 1, times.shape[0]
    row[:] = 0
    for j in range(neurons):
        if times[j] < steps and (passes.shape[0] == 0 or passes[j]):
            row[times[j] + 1] += 1
    row[0] = base
    for t in range(steps):
        row[t + 1] += row[t]
    # row[t] moves on as step t fills up, and is put back by one place afterwards
    for j in range(neurons):
        t = times[j]
        if t < steps and (passes.shape[0] == 0 or passes[j]):
            indices[row[t]] = j
            row[t] += 1
    for t in range(steps, 0, -1):
        row[t] = row[t - 1]
    row[0] = base


@Kernel
def sort_times(times, passes, indptr, indices):
    """Spike times (batch, neurons) as events, each sample by itself."""
    batch, neurons = times.shape
    for b in numba.prange(batch):
        sort_sample(times[b], passes[:0], b * neurons, indptr[b], indices)


@Kernel
def count_events(x, indptr):
    """indptr[b, t + 1] = number of non-zero entries of dense x[b, :, t]."""
    batch, neurons, steps = x.shape
    for b in numba.prange(batch):
        row = indptr[b]
        row[:] = 0
        for j in range(neurons):
            for t in range(steps):
                row[t + 1] += x[b, j, t] != 0


@Kernel
def fill_events(x, indptr, indices, values):
    """The entries themselves, from each sample's cumulated row pointers."""
    batch, neurons, steps = x.shape
    for b in numba.prange(batch):
        place = indptr[b].copy()
        for j in range(neurons):
            for t in range(steps):
                if x[b, j, t] != 0:
                    indices[place[t]] = j
                    if values.shape[0]:
                        values[place[t]] = x[b, j, t]
                    place[t] += 1
