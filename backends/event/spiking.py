"""Neurons that fire again and again, forward: one sample at a time, all tiles step by step.

    w[t] = rho w[t-1] + a u[t-1] + b s[t-1]
    u[t] = beta (u[t-1] - r[t-1]) + drive - w[t]     reset before the decay
    u[t] = beta u[t-1] + (drive - r[t-1]) - w[t]     reset after the decay, eq. 2
    s[t] = [u[t] > theta], or [u[t] > theta + w[t]] where the threshold adapts; 0 while refractory

with r = theta s ("subtract"), u s ("zero") or 0 ("none"), and the spikes of the step before in the
drive where the layer is recurrent (DESIGN, section 8). The spikes are kept as rows of events.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastsnn_np._jit import Shared, helper, inlined
from fastsnn_np.backends.event.kernels import drive, tile_of
from fastsnn_np.backends.event.lanes import any_of, full_like, get, put, ramp, span, where, width_of
from fastsnn_np.backends.event.packing import empty_lanes, layer_of, over_tiles, padded


class Neurons(NamedTuple):
    """What a layer's neurons do besides leaking; arrays are padded to whole tiles."""

    theta: Any  #: infinite where it is padding, which so never fires
    rho: Any
    a: Any
    b: Any
    resets: bool
    to_zero: bool
    early: bool  #: whether the reset comes before the decay
    refractory: int
    adapts: bool
    rises: bool  #: whether it is the threshold that adapts
    recurrent: bool


class Spikes(NamedTuple):
    """What a run gives."""

    indptr: Any  #: int64 (batch, steps + 1): the spikes as events; samples have places of their own
    indices: Any  #: int32
    potential: Any  #: (batch, steps, padded neurons) in one row: u, or empty if it is not kept


class State(NamedTuple):
    """Where the neurons of one sample stand; arrays are padded to whole tiles."""

    u: Any
    w: Any
    fired: Any  #: 1 where a neuron fired at the step before, else 0
    left: Any  #: int32, refractory steps that are left
    count: Any  #: int64 (1,): number of spikes so far


@inlined
def reset_of(u, fired, theta, neurons):
    """What the spikes of a step take from the potential."""
    none = u - u
    if not neurons.resets:
        return none
    return where(fired, u if neurons.to_zero else theta, none)


@inlined
def recurrent_drive(current, first, indices, start, stop, again):
    """The drive, and the recurrent weights of the neurons that fired at the step before."""
    width = width_of(current)
    row = span(again.weight[again.inputs * first : again.inputs * (first + width)])
    for k in range(start, stop):
        current = current + get(row, np.int64(indices[k]) * width, current)
    return current


@inlined
def adapted(w, u, fired, first, neurons):
    """w one step on."""
    rho, a = get(span(neurons.rho), first, u), get(span(neurons.a), first, u)
    kicked = rho * w + where(fired, get(span(neurons.b), first, u), u - u)
    return kicked + a * u


@helper
def step_tile(
    first, zero, e, end, start, stop, place, rows, layer, again, neurons, state, spikes, tiny
):
    """One step of a tile; e ... end are its events, start ... stop the last step's spikes."""
    n = min(width_of(zero), layer.neurons - first)
    tile = tile_of(first, zero, rows, layer, tiny)
    current = drive(tile, e, end)
    if neurons.recurrent:
        current = recurrent_drive(current, first, spikes.indices, start, stop, again)
    u, fired = get(span(state.u), first, zero), get(span(state.fired), first, zero) > zero
    beta, theta = get(span(layer.beta), first, zero), get(span(neurons.theta), first, zero)
    reset = reset_of(u, fired, theta, neurons)
    if neurons.adapts:
        w = adapted(get(span(state.w), first, zero), u, fired, first, neurons)
        put(span(state.w), first, w)
        if not neurons.rises:
            current = current - w
    else:
        w = zero
    u = beta * (u - reset) + current if neurons.early else beta * u + (current - reset)
    put(span(state.u), first, u)
    if spikes.potential.shape[0]:
        put(span(spikes.potential), place + first, u)
    crossing = (u - theta) - w > zero if neurons.rises else u - theta > zero
    if neurons.refractory:
        left = get(span(state.left), first, ramp(zero))
        none = full_like(left, 0)
        crossing = crossing & (left == none)
        counted = where(left > none, left - full_like(left, 1), none)
        put(span(state.left), first, where(crossing, full_like(left, neurons.refractory), counted))
    put(span(state.fired), first, where(crossing, full_like(zero, 1), zero))
    if any_of(crossing):
        for i in range(first, first + n):
            if state.fired[i] > 0:
                spikes.indices[state.count[0]] = i
                state.count[0] += 1


step_tiles = over_tiles(step_tile)


@Shared
def spike(share, shares, rows, network, neurons, spikes, tiny):
    """A share of the samples; `network` is the layer, and its recurrent weights as a second one."""
    batch, steps = rows.indptr.shape[0], rows.indptr.shape[1] - 1
    layer, again = layer_of(network, 0), layer_of(network, network.shape.shape[0] - 1)
    stride, zero = padded(layer.neurons), network.bias.dtype.type(0)
    state = State(
        empty_lanes(stride, network.bias),
        empty_lanes(stride, network.bias),
        empty_lanes(stride, network.bias),
        np.empty(stride, np.int32),
        np.empty(1, np.int64),
    )
    room = spikes.indices.shape[0] // max(batch, 1)
    for b in range(share * batch // shares, (share + 1) * batch // shares):
        state.u[:], state.w[:], state.fired[:], state.left[:] = 0, 0, 0, 0
        state.count[0] = spikes.indptr[b, 0] = start = stop = b * room
        for t in range(steps):
            step_tiles(
                layer.neurons, 0, 1, zero, rows.indptr[b, t], rows.indptr[b, t + 1], start, stop,
                (b * steps + t) * stride, rows, layer, again, neurons, state, spikes, tiny,
            )  # fmt: skip
            start, stop = stop, state.count[0]
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
