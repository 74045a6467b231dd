"""Products with weights, and their gradients, of neurons that fire again and again.

What comes to a neuron through its weights is taken one by one where few neurons want it. dW of an
input is the sum of q over its events: its row is fetched once for a sample, where adding q step by
step would fetch it at every event; q of a strip of neurons stays in the cache meanwhile.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastsnn_np._jit import helper, inlined
from fastsnn_np.backends.event.lanes import (
    add,
    count_of,
    full_like,
    get,
    get_part,
    lowest,
    mask_of,
    put,
    rest,
    total_of,
    where,
    width_of,
    zeros16,
    zeros32,
    zeros64,
)
from fastsnn_np.backends.event.packing import over_tiles


@helper
def dot(rows, k, n, weight, vector, at, like):
    """Row k of a packed matrix times n numbers of a vector."""
    total, first = zeros64(like), 0
    while n - first >= 64:
        own = get(weight, rows * first + k * 64, total)
        total = total + own * get(vector, at + first, total)
        first += 64
    left, number = n - first, total_of(total)
    if left > 32:
        own = get(weight, rows * first + k * 64, total)
        number += total_of(own * get_part(vector, at + first, left, total))
    elif left > 16:
        half = get(weight, rows * first + k * 32, zeros32(like))
        number += total_of(half * get_part(vector, at + first, left, half))
    elif left > 0:
        quarter = get(weight, rows * first + k * 16, zeros16(like))
        number += total_of(quarter * get_part(vector, at + first, left, quarter))
    return number


@inlined
def collected(given, active, first, neurons, n, weight, rows, vector, at, scratch):
    """G plus W^T times n numbers of a vector, in the lanes of a tile whose bits are set.

    Where these are few, one by one; the tile is one of a layer of so many `neurons`.
    """
    if count_of(active) * (n // 32 + 12) > n:
        total, row = given - given, rest(rows, n * first)
        for c in range(n):
            own = get(row, c * width_of(given), given)
            total = total + full_like(given, vector[at + c]) * own
        return where(mask_of(active, given), given + total, given)
    put(scratch, first, given)
    while active != 0:
        i = lowest(active)
        active = active ^ (np.int64(1) << i)
        k = first + i
        scratch[k] = scratch[k] + dot(neurons, k, n, weight, vector, at, scratch[k])
    return get(scratch, first, given)


class ByInput(NamedTuple):
    """The events of a sample, those of input i at places starts[i] : starts[i + 1]; spans."""

    inputs: int
    starts: Any  #: (inputs + 2,)
    steps: Any  #: of each event
    sizes: Any
    has_sizes: bool


@helper
def most_events(rows, start, stop):
    """The largest number of events of samples start ... stop - 1."""
    most, steps = 0, rows.indptr.shape[1] - 1
    for b in range(start, stop):
        most = max(most, rows.indptr[b, steps] - rows.indptr[b, 0])
    return most


@helper
def sort_by_input(b, rows, events):
    """Fill `events` with those of sample b, by a counting sort."""
    starts, steps = events.starts, rows.indptr.shape[1] - 1
    for i in range(events.inputs + 2):
        starts[i] = 0
    for e in range(rows.indptr[b, 0], rows.indptr[b, steps]):
        i = rows.indices[e] + 2
        starts[i] = starts[i] + 1
    for i in range(2, events.inputs + 2):
        starts[i] = starts[i] + starts[i - 1]
    for t in range(steps):
        for e in range(rows.indptr[b, t], rows.indptr[b, t + 1]):
            i = rows.indices[e] + 1  # its place moves on as the input before fills up
            k = starts[i]
            events.steps[k] = t
            if events.has_sizes:
                events.sizes[k] = rows.values[e]
            starts[i] = k + 1


@inlined
def note(q, source, at, first, t, steps, history, number):
    """Keep q of a step, which stands at `at` of `source`, in strips of 32 neurons or of 16."""
    width = width_of(q)
    if width == 16:
        put(history, first * steps + t * 16, q)
    else:
        for j in range(0, width, 32):
            strip = get(source, at + j, zeros32(number))
            put(history, (first + j) * steps + t * 32, strip)


@inlined
def gather_strip(none, strip, events, row, width):
    """Add to a strip of dW the sum of q over the events of each input."""
    for i in range(events.inputs):
        k, end = events.starts[i], events.starts[i + 1]
        if k < end:
            total = none
            for e in range(k, end):
                q = get(strip, np.int64(events.steps[e]) * width_of(none), none)
                total = total + (full_like(none, events.sizes[e]) * q if events.has_sizes else q)
            add(row, i * width, total)


@helper
def gather_tile(first, zero, steps, events, history, dweight, number):
    """Add to dW of a tile what comes from one sample."""
    width, row = width_of(zero), rest(dweight, events.inputs * first)
    if width == 16:
        gather_strip(zero, rest(history, first * steps), events, row, width)
    else:
        for j in range(0, width, 32):
            strip = rest(history, (first + j) * steps)
            gather_strip(zeros32(number), strip, events, rest(row, j), width)


gather_tiles = over_tiles(gather_tile)
