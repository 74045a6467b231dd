"""Neurons that fire again and again, forward: one sample at a time, all tiles step by step.

    w[t] = rho w[t-1] + a u[t-1] + b s[t-1]
    u[t] = beta (u[t-1] - r[t-1]) + drive - w[t]     reset before the decay
    u[t] = beta u[t-1] + (drive - r[t-1]) - w[t]     reset after the decay, eq. 2
    s[t] = [u[t] > theta], or [u[t] > theta + w[t]] where the threshold adapts; 0 while refractory

with r = theta s ("subtract"), u s ("zero") or 0 ("none"), and the spikes of the step before in the
drive where the layer is recurrent (the design, section 9). Spikes are kept as rows of events, and
as one word of bits for each step and tile.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastsnn_np._jit import Shared, helper, inlined
from fastsnn_np.backends.event.kernels import FLUSH, Tile, drive, flushed
from fastsnn_np.backends.event.lanes import (
    bits_of,
    full_like,
    get,
    lowest,
    mask_of,
    put,
    ramp,
    rest,
    span,
    where,
    width_of,
)
from fastsnn_np.backends.event.packing import layer_of, over_tiles, padded

WORD = 64  # neurons of a word of bits: those of the widest tile


def n_words(neurons: int) -> int:
    """Number of words that hold a bit for each neuron."""
    return (neurons + WORD - 1) // WORD


words_of = helper(n_words)  # in kernels


class Kind(NamedTuple):
    """What a layer's neurons do besides leaking."""

    resets: bool
    to_zero: bool
    early: bool  #: whether the reset comes before the decay
    refractory: int
    adapts: bool
    rises: bool  #: whether it is the threshold that adapts
    recurrent: bool


class Neurons(NamedTuple):
    """A kind of neurons and its parameters, padded to whole tiles."""

    theta: Any  #: infinite where it is padding, which so never fires
    rho: Any
    a: Any
    b: Any
    kind: Kind


class State(NamedTuple):
    """Where the neurons of each sample stand, (batch, ...); all 0 at rest, when a run begins.

    Arrays by neuron are padded to whole tiles, and those that a kind has no use for are empty.
    """

    u: Any
    w: Any
    fired: Any  #: int64, words of bits: the neurons that fired at the step before
    left: Any  #: int32, refractory steps that are left


class Spikes(NamedTuple):
    """What a run gives; the last three are empty unless they are kept."""

    indptr: Any  #: int64 (batch, steps + 1): the spikes as events; samples have places of their own
    indices: Any  #: int32
    potential: Any  #: (batch, steps, padded neurons) in one row: u
    fired: Any  #: int64 (batch, steps, tiles) in one row: bits of the neurons that fire
    closed: Any  #: ... and of those that are refractory


class Held(NamedTuple):
    """What a step reads and writes, as spans and numbers: nothing has references to count."""

    inputs: int
    neurons: int
    pointers: Any
    events: Any  #: of the input
    values: Any
    has_values: bool
    weight: Any
    bias: Any
    beta: Any
    theta: Any
    rho: Any
    a: Any
    b: Any
    again: Any  #: recurrent weights
    u: Any
    w: Any
    fired: Any
    left: Any
    indices: Any
    potential: Any
    fires: Any
    closed: Any
    count: Any  #: of one place: where the next spike goes
    kind: Kind
    keeps: bool
    small: Any  #: what is smaller becomes 0


@inlined
def reset_of(u, fired, theta, kind):
    """What the spikes of a step take from the potential."""
    none = u - u
    if not kind.resets:
        return none
    return where(fired, u if kind.to_zero else theta, none)


@inlined
def adapted(w, u, fired, rho, a, b):
    """w one step on."""
    kicked = rho * w + where(fired, b, u - u)
    return kicked + a * u


@inlined
def tile_at(first, zero, held):
    """The tile whose first neuron is `first`."""
    return Tile(
        held.pointers,
        held.events,
        held.values,
        held.has_values,
        rest(held.weight, held.inputs * first),
        get(held.bias, first, zero),
        zero,
        full_like(zero, held.small),
    )


@inlined
def recurrent_drive(current, first, start, stop, held):
    """The drive, and the recurrent weights of the neurons that fired at the step before."""
    width = width_of(current)
    row = rest(held.again, held.neurons * first)
    for k in range(start, stop):
        current = current + get(row, np.int64(held.indices[k]) * width, current)
    return current


@inlined
def list_bits(bits, first, indices, count):
    """Write the neurons of a tile whose bits are set, from place count[0] on."""
    k = count[0]
    while bits != 0:
        i = lowest(bits)
        indices[k] = first + i
        k += 1
        bits = bits ^ (np.int64(1) << i)
    count[0] = k


@helper
def step_tile(first, zero, b, at, e, end, start, stop, held):
    """One step of a tile of sample b, number `at` of all steps.

    e ... end are its events, start ... stop the spikes of the step before.
    """
    kind, word, words = held.kind, first // WORD, words_of(held.neurons)
    stride = padded(held.neurons)
    own, here = b * stride + first, at * stride + first
    tile = tile_at(first, zero, held)
    current = drive(tile, e, end)
    if kind.recurrent:
        current = recurrent_drive(current, first, start, stop, held)
    u, fired = get(held.u, own, zero), mask_of(held.fired[b * words + word], zero)
    beta, theta = get(held.beta, first, zero), get(held.theta, first, zero)
    reset = reset_of(u, fired, theta, kind)
    w = zero
    if kind.adapts:
        rho, a, b_ = get(held.rho, first, zero), get(held.a, first, zero), get(held.b, first, zero)
        w = flushed(adapted(get(held.w, own, zero), u, fired, rho, a, b_), tile.small)
        put(held.w, own, w)
        if not kind.rises:
            current = current - w
    u = beta * (u - reset) + current if kind.early else beta * u + (current - reset)
    u = flushed(u, tile.small)
    put(held.u, own, u)
    crossing = (u - theta) - w > zero if kind.rises else u - theta > zero
    if kind.refractory:
        left = get(held.left, own, ramp(zero))
        none = full_like(left, 0)
        free = left == none
        if held.keeps:
            held.closed[at * words + word] = bits_of(left > none)
        crossing = crossing & free
        left = where(free, none, left - full_like(left, 1))
        put(held.left, own, where(crossing, full_like(left, kind.refractory), left))
    bits = bits_of(crossing)
    held.fired[b * words + word] = bits
    if held.keeps:
        put(held.potential, here, u)
        held.fires[at * words + word] = bits
    list_bits(bits, first, held.indices, held.count)


step_tiles = over_tiles(step_tile)


@Shared
def spike(share, shares, rows, network, neurons, state, spikes, tiny):
    """A share of the samples; `network` is the layer, and its recurrent weights as a second one."""
    batch, steps = rows.indptr.shape[0], rows.indptr.shape[1] - 1
    layer, again = layer_of(network, 0), layer_of(network, network.shape.shape[0] - 1)
    n, zero, count = layer.neurons, network.bias.dtype.type(0), np.empty(1, np.int64)
    held = Held(
        layer.inputs,
        n,
        span(rows.indptr),
        span(rows.indices),
        span(rows.values),
        rows.values.shape[0] > 0,
        span(layer.weight),
        span(layer.bias),
        span(layer.beta),
        span(neurons.theta),
        span(neurons.rho),
        span(neurons.a),
        span(neurons.b),
        span(again.weight),
        span(state.u),
        span(state.w),
        span(state.fired),
        span(state.left),
        span(spikes.indices),
        span(spikes.potential),
        span(spikes.fired),
        span(spikes.closed),
        span(count),
        neurons.kind,
        spikes.fired.shape[0] > 0,
        network.bias.dtype.type(tiny * FLUSH),
    )
    room = spikes.indices.shape[0] // max(batch, 1)
    for b in range(share * batch // shares, (share + 1) * batch // shares):
        start = stop = count[0] = spikes.indptr[b, 0] = b * room
        for t in range(steps):
            e, end = rows.indptr[b, t], rows.indptr[b, t + 1]
            step_tiles(n, 0, 1, zero, b, b * steps + t, e, end, start, stop, held)
            start, stop = stop, count[0]
            spikes.indptr[b, t + 1] = stop


@Shared
def thin(share, shares, rows, passes, indptr, indices):
    """The events whose neuron passes, bool (batch, neurons), in places of their own."""
    batch, steps = rows.indptr.shape[0], rows.indptr.shape[1] - 1
    room = indices.shape[0] // max(batch, 1)
    for b in range(share * batch // shares, (share + 1) * batch // shares):
        k = b * room
        indptr[b, 0] = k
        for t in range(steps):
            for e in range(rows.indptr[b, t], rows.indptr[b, t + 1]):
                if passes[b, rows.indices[e]]:
                    indices[k] = rows.indices[e]
                    k += 1
            indptr[b, t + 1] = k


@Shared
def weigh(share, shares, rows, profile, counts):
    """counts[b, i] = the sum of profile[t] over the spikes of a neuron."""
    batch, steps = rows.indptr.shape[0], rows.indptr.shape[1] - 1
    for b in range(share * batch // shares, (share + 1) * batch // shares):
        counts[b] = 0
        for t in range(steps):
            for e in range(rows.indptr[b, t], rows.indptr[b, t + 1]):
                counts[b, rows.indices[e]] += profile[t]
