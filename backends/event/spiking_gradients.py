"""Neurons that fire again and again, backward: one sample at a time, from the last step down.

    G[t] = from above + sum_i R[i,.] scale_i q_i[t+1] + b p[t+1]
           - beta q[t+1] r[t] / s[t] if gradients go through the reset; without beta after the decay
    dv   = h(u[t] - theta - [rises] w[t]) G[t], 0 while refractory
    q[t] = dv + keep q[t+1] + a p[t+1]     keep: beta, less what the reset takes
    p[t] = rho p[t+1] - q[t]               - dv where the threshold adapts

(the design, section 9; dL/dI = scale q.) The products with R and with the weights above are taken
where h is not 0: with a surrogate of bounded support for few neurons at a step.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastsnn_np._jit import Shared, helper, inlined
from fastsnn_np.backends.event.kernels import FLUSH, flushed
from fastsnn_np.backends.event.lanes import (
    absolute,
    add,
    as_type_of,
    bits_of,
    full_like,
    get,
    get_part,
    hold,
    mask_of,
    put,
    put_part,
    rest,
    span,
    where,
    width_of,
    zero_doubles,
)
from fastsnn_np.backends.event.packing import empty_lanes, layer_of, over_tiles, padded
from fastsnn_np.backends.event.spiking import WORD, Kind, adapted, reset_of, words_of
from fastsnn_np.backends.event.spiking_weights import (
    ByInput,
    collected,
    gather_tiles,
    most_events,
    note,
    sort_by_input,
)

_FLUSH = 64  # steps whose gradients are added up in the working dtype
BIAS, BETA, THETA, RHO, A, B = range(6)  # rows of the sums by neuron


class Above(NamedTuple):
    """What comes to a layer's spikes from above; what is not used is empty.

    Either gradients of each spike, which `profile` weighs by its step, or those of the currents of
    a hidden layer.
    """

    spike: Any  #: (batch, padded neurons) in one row
    profile: Any  #: (steps,)
    current: Any  #: (batch, steps, neurons above) in one row: dL/dI of the layer above
    neurons: int  #: number of neurons above
    weight: Any  #: of the layer above, packed without its scale, rows by its inputs
    rows: Any  #: ... and rows by its neurons
    passes: Any  #: uint8 (batch, neurons) in one row: whose spikes went on there


class Rule(NamedTuple):
    """How a layer's spikes are differentiated, and what comes to them from above."""

    slope: float
    support: float  #: |u - theta| from which on the surrogate is 0, may be infinite
    through: bool  #: whether gradients go through the reset
    above: Above
    recurrent: Any  #: recurrent weights, times the scale, rows by the neurons that they reach
    count: Any  #: (batch,), gradients of the number of spikes, or empty
    latency: Any  #: ... and of the latency, which each spike lowers by what is left of the window


class Found(NamedTuple):
    """Where gradients go, by shares of the samples."""

    weight: Any  #: (shares, entries), packed, the recurrent weights' included
    vectors: Any  #: float64 (shares, 6, padded neurons): rows as named above
    current: Any  #: (batch, steps, neurons) in one row: dL/dI; or empty


class Constants(NamedTuple):
    """A layer's parameters, as spans."""

    beta: Any
    scale: Any
    theta: Any
    rho: Any
    a: Any
    b: Any
    again: Any  #: recurrent weights, rows by the neurons that spikes come from
    rows: Any  #: ... and by those that they reach


class Held(NamedTuple):
    """What a step reads and writes, as spans and numbers: nothing has references to count."""

    neurons: int
    steps: int
    spikes: Any  #: of the layer itself
    own: Constants
    above: Above  #: of spans
    u: Any  #: (batch, steps, padded neurons), as the two below by words of bits
    fires: Any
    closed: Any
    w: Any  #: (steps, padded neurons) of a sample
    q: Any  #: of this step and the next one, by turns
    p: Any
    given: Any  #: G
    sums: Any  #: 6 rows as named above
    history: Any  #: q of all steps of a sample, see `spiking_weights`
    drecurrent: Any
    current: Any
    kind: Kind
    unit: bool
    through: bool
    weighs: bool  #: whether gradients come from a readout
    drops: bool  #: whether some neurons do not pass
    keeps: bool  #: whether dL/dI is kept
    slope: Any
    support: Any
    small: Any


@helper
def replay_tile(first, zero, at, t, held):
    """w at step t of a sample, number `at` of all steps, from u and s of the step before."""
    if t == 0:
        put(held.w, first, zero)
        return
    stride, words = padded(held.neurons), words_of(held.neurons)
    u = get(held.u, (at - 1) * stride + first, zero)
    fired = mask_of(held.fires[(at - 1) * words + first // WORD], zero)
    rho, a, b = (
        get(held.own.rho, first, zero),
        get(held.own.a, first, zero),
        get(held.own.b, first, zero),
    )
    w = adapted(get(held.w, (t - 1) * stride + first, zero), u, fired, rho, a, b)
    put(held.w, t * stride + first, flushed(w, full_like(zero, held.small)))


@inlined
def scatter(q, start, stop, spikes, row):
    """Add q to the rows of dR of the neurons that have just fired."""
    for k in range(start, stop):
        add(row, np.int64(spikes[k]) * width_of(q), q)


@helper
def step_tile(first, zero, b, t, at, now, later, start, stop, each, weight, held):
    """q, p and the gradients of one step of a tile, step t of sample b, number `at` of all steps.

    start ... stop are its spikes; `each` is the gradient that all spikes of the step get, and
    `weight` what a readout weighs them by; q is at `now`, that of the step after at `later`.
    """
    n, kind, word = held.neurons, held.kind, first // WORD
    stride, words, n_own = padded(n), words_of(n), min(width_of(zero), n - first)
    one, small = full_like(zero, 1), full_like(zero, held.small)
    beta, theta = get(held.own.beta, first, zero), get(held.own.theta, first, zero)
    u = get(held.u, at * stride + first, zero)
    fired = mask_of(held.fires[at * words + word], zero)
    w = get(held.w, t * stride + first, zero) if kind.adapts else zero

    level = u - theta
    if kind.rises:
        level = level - w
    distance = absolute(level)
    soft = full_like(zero, held.slope) * distance + one
    slope = where(distance >= full_like(zero, held.support), zero, one / (soft * soft))  # eq. 20
    if kind.refractory:
        slope = where(mask_of(held.closed[at * words + word], zero), zero, slope)

    given = full_like(zero, each)
    if held.weighs:
        own = get(held.above.spike, b * stride + first, zero)
        given = given + full_like(zero, weight) * own
    q = get(held.q, later + first, zero)
    p = zero
    if kind.adapts:
        p = get(held.p, first, zero)
        given = given + get(held.own.b, first, zero) * p
    if held.through and kind.resets:
        lost = q * (u if kind.to_zero else theta)
        given = given - (beta * lost if kind.early else lost)
    active, above = bits_of(slope > zero), held.above
    if kind.recurrent:
        given = collected(
            given, active, first, n, n, held.own.again, held.own.rows, held.q, later, held.given
        )
    if above.neurons:
        if held.drops:
            let = get_part(above.passes, b * n + first, n_own, zero)
            active = active & bits_of(let > full_like(let, 0))
        given = collected(
            given, active, first, n, above.neurons, above.weight, above.rows, above.current,
            at * above.neurons, held.given,
        )  # fmt: skip
    if kind.recurrent and start < stop:
        row = rest(held.drecurrent, n * first)
        scatter(q, start, stop, held.spikes, row)

    dv = slope * where(slope == zero, zero, given)
    keep = beta
    if kind.resets and kind.to_zero:
        keep = where(fired, zero if kind.early else beta - one, beta)
    q = dv + keep * q
    if kind.adapts:
        q = q + get(held.own.a, first, zero) * p
        p = get(held.own.rho, first, zero) * p - (dv if kind.rises else q)
        p = flushed(p, small)
        put(held.p, first, p)
    q = flushed(q, small)
    put(held.q, now + first, q)
    note(q, held.q, now + first, first, t, held.steps, held.history, held.small)
    if held.keeps:
        put_part(held.current, at * n + first, n_own, get(held.own.scale, first, zero) * q)

    u_before, fired_before = zero, zero > zero
    if t > 0:
        u_before = get(held.u, (at - 1) * stride + first, zero)
        fired_before = mask_of(held.fires[(at - 1) * words + word], zero)
    reset = reset_of(u_before, fired_before, theta, kind)
    source = u_before - reset if kind.early or not held.unit else u_before
    dtheta = zero - dv
    if kind.adapts:
        if not (kind.rises or held.unit):
            source = source - w
        if t > 0:
            w_before = get(held.w, (t - 1) * stride + first, zero)
            add(held.sums, RHO * stride + first, p * w_before)
            if not kind.rises:
                add(held.sums, A * stride + first, p * u_before)
            add(held.sums, B * stride + first, where(fired_before, p, zero))
    if not held.unit:
        source = source - u
    if held.through and kind.resets and not kind.to_zero:
        dtheta = dtheta - where(fired_before, beta * q if kind.early else q, zero)
    add(held.sums, BIAS * stride + first, q)
    add(held.sums, BETA * stride + first, q * source)
    add(held.sums, THETA * stride + first, dtheta)


@helper
def flush_tile(first, zero, sums, vectors):
    """Add the sums of some steps to those in float64, and begin anew."""
    for i in range(6):
        row, at = span(vectors[i]), i * vectors.shape[1] + first
        add(row, first, as_type_of(get(span(sums), at, zero), zero_doubles(zero)))
        put(span(sums), at, zero)


replay_tiles, step_tiles = over_tiles(replay_tile), over_tiles(step_tile)
flush_tiles = over_tiles(flush_tile)


@Shared
def spike_backward(share, shares, rows, network, neurons, spikes, rule, found, tiny):
    """Gradients of a share of the samples, from what `spiking.spike` kept."""
    batch, steps = rows.indptr.shape[0], rows.indptr.shape[1] - 1
    layer, again = layer_of(network, 0), layer_of(network, network.shape.shape[0] - 1)
    n, like = layer.neurons, network.bias
    zero, stride, kind = like.dtype.type(0), padded(n), neurons.kind
    w = empty_lanes(steps * stride if kind.adapts else 0, like)
    q, p = empty_lanes(2 * stride, like), empty_lanes(stride, like)
    given, sums = empty_lanes(stride, like), empty_lanes(6 * stride, like)
    history = empty_lanes(steps * stride, like)
    low, high = share * batch // shares, (share + 1) * batch // shares
    most = most_events(rows, low, high)
    starts, when = np.empty(layer.inputs + 2, np.int64), np.empty(most, np.int32)
    has_values = rows.values.shape[0] > 0
    sizes = empty_lanes(most if has_values else 0, like)
    events = ByInput(layer.inputs, span(starts), span(when), span(sizes), has_values)
    weight, vectors, split = found.weight[share], found.vectors[share], layer.weight.shape[0]
    weight[:], vectors[:], sums[:] = 0, 0, 0
    own = Constants(
        span(layer.beta),
        span(layer.scale),
        span(neurons.theta),
        span(neurons.rho),
        span(neurons.a),
        span(neurons.b),
        span(again.weight),
        span(rule.recurrent),
    )
    given_above = rule.above
    above = Above(
        span(given_above.spike),
        span(given_above.profile),
        span(given_above.current),
        given_above.neurons,
        span(given_above.weight),
        span(given_above.rows),
        span(given_above.passes),
    )
    held = Held(
        n,
        steps,
        span(spikes.indices),
        own,
        above,
        span(spikes.potential),
        span(spikes.fired),
        span(spikes.closed),
        span(w),
        span(q),
        span(p),
        span(given),
        span(sums),
        span(history),
        rest(span(weight), split if kind.recurrent else 0),
        span(found.current),
        kind,
        layer.unit,
        rule.through,
        given_above.spike.shape[0] > 0,
        given_above.passes.shape[0] > 0,
        found.current.shape[0] > 0,
        like.dtype.type(rule.slope),
        like.dtype.type(rule.support),
        like.dtype.type(tiny * FLUSH),
    )
    for b in range(low, high):
        if kind.adapts:
            for t in range(steps):
                replay_tiles(n, 0, 1, zero, b * steps + t, t, held)
        q[:], p[:] = 0, 0
        for t in range(steps - 1, -1, -1):
            at = b * steps + t
            start, stop = spikes.indptr[b, t], spikes.indptr[b, t + 1]
            each = zero
            if rule.count.shape[0]:
                each = rule.count[b] + like.dtype.type(t - steps) * rule.latency[b]
            factor = above.profile[t] if held.weighs else zero
            now, later = t % 2 * stride, (t + 1) % 2 * stride
            step_tiles(n, 0, 1, zero, b, t, at, now, later, start, stop, each, factor, held)
            if t % _FLUSH == 0:
                flush_tiles(n, 0, 1, zero, sums, vectors)
        sort_by_input(b, rows, events)
        gather_tiles(n, 0, 1, zero, steps, events, held.history, span(weight), held.small)
    hold(w, q, p, given, sums, history, starts, when, sizes)
