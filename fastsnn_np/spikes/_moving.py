"""Kernels that move recordings, and put one into another, along channels and time."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._jit import Kernel
from ._events import Events


class Moves(NamedTuple):
    """What becomes of each sample; arrays (samples,) of int64."""

    source: Any  #: the sample whose events it takes, or -1 for none
    channels: Any  #: by how many they move
    steps: Any


@Kernel
def _move(events, sources, thins, bits, indptr, indices, values):
    """Write the events of both `sources` of each sample, step by step.

    Where it `thins`, which takes two sources, an event is kept if its bit is 1.
    """
    old_indptr, old_indices, old_values, n_neurons = events
    batch, steps = indptr.shape[0], indptr.shape[1] - 1
    k, drawn, one, has_values = np.int64(0), np.int64(0), np.uint64(1), values.shape[0] > 0
    (first, first_channels, first_steps), (second, _, _) = sources
    for b in range(batch):
        indptr[b, 0] = k
        s = first[b]
        if second[b] < 0 and s >= 0 and first_channels[b] == 0 and first_steps[b] == 0:
            start, n = old_indptr[s, 0], old_indptr[s, steps] - old_indptr[s, 0]
            indptr[b] = old_indptr[s] + (k - start)  # as it is
            indices[k : k + n] = old_indices[start : start + n]
            if has_values:
                values[k : k + n] = old_values[start : start + n]
            k += n
            continue
        always = np.int64(not thins[b])
        for t in range(steps):
            for source, channels, moved in sources:
                s, at = source[b], t - moved[b]
                if s < 0 or at < 0 or at >= steps:
                    continue
                for e in range(old_indptr[s, at], old_indptr[s, at + 1]):
                    channel = old_indices[e] + channels[b]
                    # written always, and kept by going on: half of all branches would be wrong
                    indices[k] = channel
                    if has_values:
                        values[k] = old_values[e]
                    kept = always | np.int64(bits[drawn >> 6] >> np.uint64(drawn & 63) & one)
                    k += kept & np.int64(0 <= channel < n_neurons)
                    drawn += 1 - always
            indptr[b, t + 1] = k


@Kernel
def _centres(indptr, indices, out):
    """out[b] = mean channel and mean step of each sample's events, 0 where there are none."""
    batch, steps = indptr.shape[0], indptr.shape[1] - 1
    for b in range(batch):
        channel, step = 0, 0
        for t in range(steps):
            for e in range(indptr[b, t], indptr[b, t + 1]):
                channel += indices[e]
            step += t * (indptr[b, t + 1] - indptr[b, t])
        count = max(indptr[b, steps] - indptr[b, 0], 1)
        out[b, 0], out[b, 1] = channel / count, step / count


def moved(x: Events, first: Moves, second: Moves, thins: Any, rng: Any) -> Events:
    """New samples from one or two of `x` each; what leaves the channels or the window is lost.

    Where it `thins`, bool (samples,), each event is kept with probability 1/2, drawn by `rng`.
    """
    length = np.append(x.indptr[:, -1] - x.indptr[:, 0], 0)  # of sample -1 too
    taken = length[first.source] + length[second.source]
    room, drawn = int(taken.sum()) + 1, int(taken[thins].sum())
    bits = rng.integers(1 << 64, size=drawn // 64 + 1, dtype=np.uint64)
    indptr = np.empty((len(first.source), x.n_steps + 1), np.int64)
    indices = np.empty(room, np.int32)
    old = np.empty(0, np.float32) if x.values is None else x.values
    values = np.empty(0 if x.values is None else room, old.dtype)
    held = (np.ascontiguousarray(x.indptr), x.indices, old, x.n_neurons)
    sources = (tuple(first), tuple(second))
    _move(held, sources, thins, bits, indptr, indices, values, small=True)
    count = int(indptr[-1, -1]) if len(indptr) else 0
    kept = None if x.values is None else values[:count]
    return Events.unchecked(indptr, indices[:count], x.n_neurons, kept)


def centres(x: Events) -> Any:
    """Mean channel and mean step of each sample's events, float64 (samples, 2)."""
    out = np.zeros((len(x), 2))
    _centres(np.ascontiguousarray(x.indptr), x.indices, out, small=True)
    return out


def mates(labels: Any, rng: np.random.Generator) -> Any:
    """For each sample another one of its label, drawn evenly; itself if there is none."""
    order = np.argsort(labels, kind="stable")
    _, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    start, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    further = 1 + rng.integers(0, np.maximum(size - 1, 1))
    mate = np.empty(len(labels), np.int64)
    mate[order] = order[start + (np.arange(len(labels)) - start + further) % size]
    return mate
