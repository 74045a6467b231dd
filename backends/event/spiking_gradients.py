"""Neurons that fire again and again, backward: one sample at a time, from the last step down.

    G[t] = from above + sum_i R[i,.] scale_i q_i[t+1] + b p[t+1]
           - beta q[t+1] r[t] / s[t] if gradients go through the reset; without beta after the decay
    dv   = h(u[t] - theta - [rises] w[t]) G[t], 0 while refractory
    q[t] = dv + keep q[t+1] + a p[t+1]     keep: beta, less what the reset takes
    p[t] = rho p[t+1] - q[t]               - dv where the threshold adapts

(DESIGN, section 8; dL/dI = scale q.) The products with R and with the weights above are taken where
h is not 0: with a surrogate of bounded support for few neurons at a step.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastsnn_np._jit import Shared, helper
from fastsnn_np.backends.event.kernels import tile_of
from fastsnn_np.backends.event.lanes import (
    absolute,
    as_type_of,
    full_like,
    get,
    get_part,
    put,
    put_part,
    span,
    total_of,
    where,
    width_of,
    zero_doubles,
)
from fastsnn_np.backends.event.packing import empty_lanes, layer_of, over_tiles, padded
from fastsnn_np.backends.event.spiking import adapted, reset_of
from fastsnn_np.backends.event.sweeps import add, scatter

_FLUSH = 64  # steps whose gradients are added up in the working dtype
BIAS, BETA, THETA, RHO, A, B = range(6)  # rows of the sums by neuron


class Rule(NamedTuple):
    """How a layer's spikes are differentiated, and what comes to it from above."""

    slope: float
    support: float  #: |u - theta| from which on the surrogate is 0, may be infinite
    through: bool  #: whether gradients go through the reset
    current: Any  #: (batch, steps, neurons above), dL/dI of the layer above
    weight: Any  #: of the layer above, rows by its inputs, packed without its scale
    passes: Any  #: bool (batch, neurons): whose spikes went on; or empty
    count: Any  #: (batch,), gradients of the number of spikes, or empty
    latency: Any  #: ... and of the latency, which each spike lowers by what is left of the window


class Found(NamedTuple):
    """Where gradients go, by shares of the samples."""

    weight: Any  #: (shares, entries), packed, the recurrent weights' included
    vectors: Any  #: float64 (shares, 6, padded neurons): rows as named above
    current: Any  #: (batch, steps, neurons) in one row: dL/dI; or empty


class Sweep(NamedTuple):
    """What one thread needs for a sample; arrays by neuron are padded to whole tiles."""

    w: Any  #: (steps, padded neurons) in one row, or empty without adaptation
    now: Any  #: 1 where a neuron fires at this step, else 0
    before: Any  #: ... at the step before
    closed: Any  #: more than 0 where a neuron is refractory
    slope: Any  #: h, the surrogate's derivative
    given: Any  #: G, of the neurons where h is not 0
    q: Any  #: of the step after
    p: Any
    sums: Any  #: (6 * padded neurons,): rows as named above


@helper
def adapt_tile(first, zero, t, base, potential, neurons, sweep):
    """w at step t again, from u and s of the step before."""
    stride = sweep.q.shape[0]
    w = zero
    if t > 0:
        u = get(span(potential), base + (t - 1) * stride + first, zero)
        fired = get(span(sweep.before), first, zero) > zero
        w = adapted(get(span(sweep.w), (t - 1) * stride + first, zero), u, fired, first, neurons)
    put(span(sweep.w), t * stride + first, w)


@helper
def surrogate_tile(first, zero, t, base, potential, neurons, rule, sweep):
    """h of every neuron, 0 outside the support and in refractory steps."""
    stride = sweep.q.shape[0]
    level = get(span(potential), base + t * stride + first, zero)
    level = level - get(span(neurons.theta), first, zero)
    if neurons.rises:
        level = level - get(span(sweep.w), t * stride + first, zero)
    distance = absolute(level)
    soft = full_like(zero, rule.slope) * distance + full_like(zero, 1)
    slope = full_like(zero, 1) / (soft * soft)  # eq. 20
    slope = where(distance < full_like(zero, rule.support), slope, zero)
    if neurons.refractory:
        slope = where(get(span(sweep.closed), first, zero) > zero, zero, slope)
    put(span(sweep.slope), first, slope)
    put(span(sweep.given), first, zero)


@helper
def product_tile(first, zero, rows, k, weight, vector, at, n, total):
    """total[0] += row k of a packed matrix times n numbers of a vector, of one tile."""
    width = width_of(zero)
    own = get(span(weight), rows * first + k * width, zero)
    part = min(width, n - first)
    other = get_part(span(vector), at + first, part, zero)
    total[0] += total_of(own * other)


@helper
def step_tile(
    first, zero, b, t, base, e, end, rows, layer, again, neurons, potential, rule, sweep, found,
    dweight, drecurrent, spikes, start, stop, tiny,
):  # fmt: skip
    """q, p and the gradients of one step of a tile."""
    steps, n, width = rows.indptr.shape[1] - 1, layer.neurons, width_of(zero)
    stride, n_own = sweep.q.shape[0], min(width, n - first)
    tile, one = tile_of(first, zero, rows, layer, tiny), full_like(zero, 1)
    beta, theta = get(span(layer.beta), first, zero), get(span(neurons.theta), first, zero)
    u = get(span(potential), base + t * stride + first, zero)
    fired = get(span(sweep.now), first, zero) > zero
    q, given = get(span(sweep.q), first, zero), get(span(sweep.given), first, zero)
    if rule.count.shape[0]:
        given = given + full_like(zero, rule.count[b] + (t - steps) * rule.latency[b])
    p = zero
    if neurons.adapts:
        p = get(span(sweep.p), first, zero)
        given = given + get(span(neurons.b), first, zero) * p
    if rule.through and neurons.resets:
        lost = q * (u if neurons.to_zero else theta)
        given = given - (beta * lost if neurons.early else lost)
    if neurons.recurrent and start < stop:
        wide = again.inputs * first
        row = span(drecurrent[wide : wide + again.inputs * width])
        for k in range(start, stop):
            at = np.int64(spikes[k]) * width
            put(row, at, get(row, at, zero) + q)
    dv = where(get(span(sweep.slope), first, zero) > zero, given, zero)
    dv = get(span(sweep.slope), first, zero) * dv
    keep = beta
    if neurons.resets and neurons.to_zero:
        keep = where(fired, zero if neurons.early else beta - one, beta)
    q = dv + keep * q
    if neurons.adapts:
        q = q + get(span(neurons.a), first, zero) * p
        p = get(span(neurons.rho), first, zero) * p - (dv if neurons.rises else q)
        put(span(sweep.p), first, p)
    put(span(sweep.q), first, q)
    if e < end:
        scatter(q, e, end, tile, span(dweight[layer.inputs * first :]))
    if found.current.shape[0]:
        scale = get(span(layer.scale), first, zero)
        put_part(span(found.current), (b * steps + t) * n + first, n_own, scale * q)
    u_before, fired_before = zero, fired & (zero > zero)
    if t > 0:
        u_before = get(span(potential), base + (t - 1) * stride + first, zero)
        fired_before = get(span(sweep.before), first, zero) > zero
    reset = reset_of(u_before, fired_before, theta, neurons)
    source = u_before - reset if neurons.early or not layer.unit else u_before
    dtheta = zero - dv
    if neurons.adapts:
        w = get(span(sweep.w), t * stride + first, zero)
        if not (neurons.rises or layer.unit):
            source = source - w
        if t > 0:
            w_before = get(span(sweep.w), (t - 1) * stride + first, zero)
            add(sweep.sums, RHO * stride + first, p * w_before)
            add(sweep.sums, A * stride + first, p * u_before)
            add(sweep.sums, B * stride + first, where(fired_before, p, zero))
    if not layer.unit:
        source = source - u
    if rule.through and neurons.resets and not neurons.to_zero:
        dtheta = dtheta - where(fired_before, beta * q if neurons.early else q, zero)
    add(sweep.sums, BIAS * stride + first, q)
    add(sweep.sums, BETA * stride + first, q * source)
    add(sweep.sums, THETA * stride + first, dtheta)


@helper
def flush_tile(first, zero, sums, vectors):
    """Add the sums of some steps to those in float64, and begin anew."""
    for i in range(6):
        at = i * (sums.shape[0] // 6) + first
        add(vectors[i], first, as_type_of(get(span(sums), at, zero), zero_doubles(zero)))
        put(span(sums), at, zero)


adapt_tiles, surrogate_tiles = over_tiles(adapt_tile), over_tiles(surrogate_tile)
product_tiles, step_tiles = over_tiles(product_tile), over_tiles(step_tile)
flush_tiles = over_tiles(flush_tile)


@helper
def mark(array, indices, start, stop, value):
    """Set or add a value at the neurons of some events."""
    for k in range(start, stop):
        array[indices[k]] += value


@helper
def gather(b, t, zero, layer, again, neurons, rule, sweep, total):
    """G of the neurons whose surrogate is not 0: from recurrence, and from above."""
    n, above = layer.neurons, rule.current.shape[2]
    row, at = rule.current.reshape(-1), (b * rule.current.shape[1] + t) * above
    for k in range(n):
        if sweep.slope[k] == 0:
            continue
        total[0] = 0
        if neurons.recurrent:
            product_tiles(n, 0, 1, zero, n, k, again.weight, sweep.q, 0, n, total)
        if above and (rule.passes.shape[0] == 0 or rule.passes[b, k]):
            product_tiles(above, 0, 1, zero, n, k, rule.weight, row, at, above, total)
        sweep.given[k] = total[0]


@Shared
def spike_backward(share, shares, rows, network, neurons, spikes, rule, found, tiny):
    """Gradients of a share of the samples, from what `spiking.spike` kept."""
    batch, steps = rows.indptr.shape[0], rows.indptr.shape[1] - 1
    layer, again = layer_of(network, 0), layer_of(network, network.shape.shape[0] - 1)
    n, zero, like = layer.neurons, network.bias.dtype.type(0), network.bias
    stride, flat = padded(n), spikes.potential
    sweep = Sweep(
        empty_lanes(steps * stride if neurons.adapts else 0, like),
        empty_lanes(stride, like),
        empty_lanes(stride, like),
        empty_lanes(stride, like),
        empty_lanes(stride, like),
        empty_lanes(stride, like),
        empty_lanes(stride, like),
        empty_lanes(stride, like),
        empty_lanes(6 * stride, like),
    )
    total = np.zeros(1, network.bias.dtype)
    weight, vectors = found.weight[share], found.vectors[share]
    weight[:], vectors[:], sweep.sums[:] = 0, 0, 0
    split = layer.weight.shape[0]
    dweight, drecurrent = weight[:split], weight[split:]
    far = neurons.refractory + 1
    for b in range(share * batch // shares, (share + 1) * batch // shares):
        ptr, base = spikes.indptr[b], b * steps * stride
        if neurons.adapts:
            sweep.before[:] = 0
            for t in range(steps):
                if t > 0:
                    mark(sweep.before, spikes.indices, ptr[t - 1], ptr[t], 1)
                adapt_tiles(n, 0, 1, zero, t, base, flat, neurons, sweep)
                if t > 0:
                    mark(sweep.before, spikes.indices, ptr[t - 1], ptr[t], -1)
        sweep.q[:], sweep.p[:], sweep.now[:], sweep.before[:], sweep.closed[:] = 0, 0, 0, 0, 0
        mark(sweep.before, spikes.indices, ptr[steps - 1], ptr[steps], 1)
        if neurons.refractory:  # spikes in steps - 1 - refractory ... steps - 1, see below
            mark(sweep.closed, spikes.indices, ptr[max(steps - far, 0)], ptr[steps], 1)
        for t in range(steps - 1, -1, -1):
            start, stop = ptr[t], ptr[t + 1]
            sweep.now[:] = sweep.before
            mark(sweep.before, spikes.indices, start, stop, -1)
            if t > 0:
                mark(sweep.before, spikes.indices, ptr[t - 1], start, 1)
            if neurons.refractory:  # a spike in t - refractory ... t - 1 forbids one at t
                mark(sweep.closed, spikes.indices, start, stop, -1)
            surrogate_tiles(n, 0, 1, zero, t, base, flat, neurons, rule, sweep)
            gather(b, t, zero, layer, again, neurons, rule, sweep, total)
            step_tiles(
                n, 0, 1, zero, b, t, base, rows.indptr[b, t], rows.indptr[b, t + 1], rows, layer,
                again, neurons, flat, rule, sweep, found, dweight, drecurrent, spikes.indices,
                start, stop, tiny,
            )  # fmt: skip
            if neurons.refractory and t - far >= 0:
                mark(sweep.closed, spikes.indices, ptr[t - far], ptr[t - far + 1], 1)
            if t % _FLUSH == 0:
                flush_tiles(n, 0, 1, zero, sweep.sums, vectors)
