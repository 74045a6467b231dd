"""Kernels that bring spikes into the event engine's form: by time, and by input.

Events are rows of `indptr` into `indices`, see ``kernels``. All sorts are counting sorts.
"""

from __future__ import annotations

import numba

from fastsnn_np._jit import Kernel


@Kernel
def sort_times(times, steps, indptr, indices):
    """Spike times (batch, neurons) as events, each sample by a counting sort."""
    batch, neurons = times.shape
    for b in numba.prange(batch):
        base = b * neurons
        row = indptr[b]
        row[:] = 0
        for j in range(neurons):
            if times[b, j] < steps:
                row[times[b, j] + 1] += 1
        row[0] = base
        for t in range(steps):
            row[t + 1] += row[t]
        # row[t] moves on as step t fills up, and is put back by one place afterwards
        for j in range(neurons):
            t = times[b, j]
            if t < steps:
                indices[row[t]] = j
                row[t] += 1
        for t in range(steps, 0, -1):
            row[t] = row[t - 1]
        row[0] = base


@Kernel
def sort_by_input(rows, by_input, steps, sizes):
    """The events in the order of their inputs; input j's are steps[by_input[b, j] : ...[j + 1]]."""
    indptr, indices, values = rows
    inputs = by_input.shape[1] - 1
    for b in numba.prange(indptr.shape[0]):
        row = by_input[b]
        row[:] = 0
        for e in range(indptr[b, 0], indptr[b, -1]):
            row[indices[e] + 1] += 1
        row[0] = indptr[b, 0]
        for j in range(inputs):
            row[j + 1] += row[j]
        for t in range(indptr.shape[1] - 1):
            for e in range(indptr[b, t], indptr[b, t + 1]):
                place = row[indices[e]]
                steps[place] = t
                if sizes.shape[0]:
                    sizes[place] = values[e]
                row[indices[e]] += 1
        for j in range(inputs, 0, -1):
            row[j] = row[j - 1]
        row[0] = indptr[b, 0]


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
