"""The event engine's backward pass on one tile and one sample: a sweep over time, from its end.

    r[m] = sum_{t>=m} (t-m+1) M[t] G[t]             G: dL/dS, from above and from the activity
    dL/dV[m] = r[m] / (slope |V[m] - theta| + 1)^2  (eq. 20)
    q[t] = dL/dV[t] + beta q[t+1],  dL/dI = scale q

V is replayed, never kept. Inside a network, dL/dI is taken without its scale: that is in the packed
weights on the way down, and comes to the gradients when they are unpacked. Where all M = 1
("straight_through") the double sum r is taken before the product by W: there are fewer neurons
above than below.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastsnn_np._jit import helper, inlined
from fastsnn_np.backends.event.kernels import charged, drive, flushed, tile_of
from fastsnn_np.backends.event.lanes import (
    absolute,
    add,
    as_type_of,
    full_like,
    get,
    get_part,
    put,
    put_part,
    ramp,
    span,
    where,
    width_of,
    zero_doubles,
)
from fastsnn_np.backends.event.packing import over_tiles, padded

BLOCK = 32  # steps swept at a time
CHUNK = 512  # steps replayed at a time: V of a tile stays in cache


class Rule(NamedTuple):
    """How one hidden layer is differentiated, and what comes to it from above."""

    slope: float
    paper: bool
    above: Any  #: q of the layer above, summed twice unless `paper`: (samples, steps, padded
    stride: int  #: neurons) in one row
    weight: Any  #: of the layer above, rows by its neurons, packed
    count: Any  #: (batch,), gradients of the number of spikes, or empty
    latency: Any  #: ... and of the sum of the spike times
    times: Any
    passes: Any


class Target(NamedTuple):
    """Where a layer's gradients go."""

    weight: Any  #: packed as in `Network`, as all three
    bias: Any  #: float64
    beta: Any  #: times the scale
    twice_below: bool  #: whether the layer below takes q summed twice
    below: Any  #: q for it, as in `Rule`; or empty
    current: Any  #: dL/dI (batch, steps, neurons) in one row, or empty


class Scratch(NamedTuple):
    """What one thread needs for a tile."""

    v: Any  #: potential of a chunk, and before it
    block: Any
    marks: Any  #: V and what rounding added, at the start of each chunk
    inner: Any  #: float64: sums so far of a double sum
    outer: Any


@inlined
def scatter(q, e, end, tile, dweight):
    """Add a step's q to the rows of dW of events e ... end - 1."""
    width = width_of(q)
    for k in range(e, end):
        at = np.int64(tile.indices[k]) * width
        if tile.has_values:
            add(dweight, at, full_like(q, tile.values[k]) * q)
        else:
            add(dweight, at, q)


@helper
def scatter_block(n, row, tile, dweight, block):
    """The same for the n steps of a block."""
    end = tile.pointers[row + n]
    for k in range(n - 1, -1, -1):
        e = tile.pointers[row + k]
        if e < end:
            scatter(get(block, k * width_of(tile.bias), tile.bias), e, end, tile, dweight)
        end = e


@helper
def replay(v, lost, row, n, t0, tile, held):
    """V for n steps from step t0 on in `held`, after that of the step before."""
    width = width_of(v)
    put(held, 0, v)
    e = tile.pointers[row]
    for k in range(n):
        end = tile.pointers[row + k + 1]
        v, lost = charged(v, lost, drive(tile, e, end), tile.fade)
        e = end
        if (t0 + k) % 8 == 7:
            v = flushed(v, tile.small)
        put(held, (k + 1) * width, v)
    return v, lost


@inlined
def mark(v, row, steps, tile, marks, held):
    """Note V at the start of each chunk of a sample."""
    lost, width = full_like(v, 0), width_of(v)
    for t0 in range(0, steps, CHUNK):
        place = t0 // CHUNK * 2 * width
        put(marks, place, v)
        put(marks, place + width, lost)
        if t0 + CHUNK < steps:
            v, lost = replay(v, lost, row + t0, CHUNK, t0, tile, held)


@helper
def product(above, at, stride, weight, neurons_above, n, zero, block):
    """block[k] = sum over the neurons c above of q[k, c] scale[c] W[c, tile], for n steps."""
    width = width_of(zero)
    k = 0
    while k + 4 <= n:
        sum0, sum1, sum2, sum3 = zero, zero, zero, zero
        for c in range(neurons_above):
            row, place = get(weight, c * width, zero), at + k * stride + c
            sum0 = sum0 + full_like(zero, above[place]) * row
            sum1 = sum1 + full_like(zero, above[place + stride]) * row
            sum2 = sum2 + full_like(zero, above[place + 2 * stride]) * row
            sum3 = sum3 + full_like(zero, above[place + 3 * stride]) * row
        put(block, k * width, sum0)
        put(block, (k + 1) * width, sum1)
        put(block, (k + 2) * width, sum2)
        put(block, (k + 3) * width, sum3)
        k += 4
    while k < n:
        sum0 = zero
        for c in range(neurons_above):
            row = get(weight, c * width, zero)
            sum0 = sum0 + full_like(zero, above[at + k * stride + c]) * row
        put(block, k * width, sum0)
        k += 1


@helper
def sum_twice(n, zero, block, sums):
    """Replace n steps of a block by their double sum from the end on, and go on from `sums`.

    Long sums are kept in float64, from block to block.
    """
    width = width_of(zero)
    later_once = get(sums, 0, zero_doubles(zero))
    later_twice = get(sums, width, later_once)
    narrow_once, narrow_twice = as_type_of(later_once, zero), as_type_of(later_twice, zero)
    once, twice = zero, zero
    for k in range(n - 1, -1, -1):
        once = once + get(block, k * width, zero)
        twice = twice + once
        later = narrow_twice + full_like(zero, n - k) * narrow_once
        put(block, k * width, twice + later)
    put(sums, 0, later_once + as_type_of(once, later_once))
    longer = later_twice + full_like(later_once, n) * later_once
    put(sums, width, longer + as_type_of(twice, later_once))


@helper
def readout_tile_backward(
    first, zero, start, stop, rows, layer, initial, options, largest_at, dlogits, to, scratch
):
    """From dL/dlogits to q at every step, and the readout's own gradients, in float64."""
    width, steps, neurons = width_of(zero), rows.indptr.shape[1] - 1, layer.neurons
    n_own = min(width, neurons - first)
    tile = tile_of(first, zero, rows, layer, options.tiny)
    dweight = span(to.weight[layer.inputs * first : layer.inputs * (first + width)])
    current, below, stride = span(to.current), span(to.below), padded(neurons)
    keeps, hands_down = to.current.shape[0] > 0, to.below.shape[0] > 0
    before_all, has_initial = span(initial), initial.shape[0] > 0
    held, marks = span(scratch.v), span(scratch.marks)
    logits, steps_of_largest = span(dlogits), span(largest_at)
    none = zero_doubles(zero)
    beta = as_type_of(get(span(layer.beta), first, zero), none)
    scale = as_type_of(get(span(layer.scale), first, zero), none)
    now_counts = full_like(none, 0 if layer.unit else 1)
    dbias, dbeta = none, none
    for b in range(start, stop):
        own, row = b * neurons + first, b * (steps + 1)
        dlogit = as_type_of(get_part(logits, own, n_own, zero), none)
        best = get_part(steps_of_largest, own, n_own, ramp(zero))
        v = get_part(before_all, own, n_own, zero) if has_initial else zero
        mark(v, row, steps, tile, marks, held)
        q, once, twice, end = none, none, none, tile.pointers[row + steps]
        for t0 in range((steps - 1) // CHUNK * CHUNK, -1, -CHUNK):
            n, place = min(CHUNK, steps - t0), t0 // CHUNK * 2 * width
            v, lost = get(marks, place, zero), get(marks, place + width, zero)
            v, lost = replay(v, lost, row + t0, n, t0, tile, held)
            now = as_type_of(v, none)
            for t in range(t0 + n - 1, t0 - 1, -1):
                arrives = best == full_like(best, t)
                q = beta * q + (dlogit if options.summed else where(arrives, dlogit, none))
                before = as_type_of(get(held, (t - t0) * width, zero), none)
                dbias = dbias + q
                dbeta = dbeta + q * (before - now_counts * now)
                now = before
                e = tile.pointers[row + t]
                if e < end:
                    scatter(as_type_of(q, zero), e, end, tile, dweight)
                end = e
                if hands_down:
                    once = once + q
                    twice = twice + once
                    place = ((b - start) * steps + t) * stride + first
                    put(below, place, as_type_of(twice if to.twice_below else q, zero))
                if keeps:
                    place = (b * steps + t) * neurons + first
                    put_part(current, place, n_own, as_type_of(scale * q, zero))
    add(span(to.bias), first, dbias)
    add(span(to.beta), first, dbeta)


@helper
def hidden_tile_backward(
    first, zero, start, stop, rows, layer, initial, options, rule, to, scratch
):
    """From what the layer above hands down to this layer's gradients."""
    width, steps, neurons = width_of(zero), rows.indptr.shape[1] - 1, layer.neurons
    n_own = min(width, neurons - first)
    tile = tile_of(first, zero, rows, layer, options.tiny)
    dweight = span(to.weight[layer.inputs * first : layer.inputs * (first + width)])
    current, below, stride = span(to.current), span(to.below), padded(neurons)
    keeps, hands_down = to.current.shape[0] > 0, to.below.shape[0] > 0
    before_all, has_initial = span(initial), initial.shape[0] > 0
    held, block, marks = span(scratch.v), span(scratch.block), span(scratch.marks)
    over = rule.weight.shape[0] // stride  # neurons above
    above, weight_above = span(rule.above), span(rule.weight[over * first : over * (first + width)])
    times, passes = span(rule.times), span(rule.passes)
    drops, has_activity = rule.passes.shape[0] > 0, rule.count.shape[0] > 0
    beta, scale = get(span(layer.beta), first, zero), get(span(layer.scale), first, zero)
    theta, slope = full_like(zero, layer.threshold), full_like(zero, rule.slope)
    one, now_counts = full_like(zero, 1), full_like(zero, 0 if layer.unit else 1)
    no_bytes = get_part(passes, 0, 0, zero)
    dbias, dbeta = zero_doubles(zero), zero_doubles(zero)
    for b in range(start, stop):
        own, row = b * neurons + first, b * (steps + 1)
        fired = get_part(times, own, n_own, ramp(zero))
        let = get_part(passes, own, n_own, zero) if drops else no_bytes
        v = get_part(before_all, own, n_own, zero) if has_initial else zero
        mark(v, row, steps, tile, marks, held)
        scratch.inner[:] = 0
        scratch.outer[:] = 0
        q, once, twice = zero, 0.0, 0.0
        for t0 in range((steps - 1) // CHUNK * CHUNK, -1, -CHUNK):
            n, place = min(CHUNK, steps - t0), t0 // CHUNK * 2 * width
            v, lost = get(marks, place, zero), get(marks, place + width, zero)
            now, lost = replay(v, lost, row + t0, n, t0, tile, held)
            for low in range(t0 + (n - 1) // BLOCK * BLOCK, t0 - 1, -BLOCK):
                n = min(BLOCK, steps - low)
                place = ((b - start) * steps + low) * rule.stride
                product(above, place, rule.stride, weight_above, over, n, zero, block)
                if drops:
                    for k in range(n):
                        through = where(let > no_bytes, get(block, k * width, zero), zero)
                        put(block, k * width, through)
                if has_activity:
                    for k in range(n - 1, -1, -1):
                        here = rule.count[b] + (low + k - steps) * rule.latency[b]
                        if not rule.paper:
                            once += here
                            twice += once
                            here = twice
                        put(block, k * width, get(block, k * width, zero) + full_like(zero, here))
                if rule.paper:
                    for k in range(n):
                        silent = fired > full_like(fired, low + k)
                        put(block, k * width, where(silent, get(block, k * width, zero), zero))
                    sum_twice(n, zero, block, span(scratch.inner))
                some_bias, some_beta = zero, zero
                for k in range(n - 1, -1, -1):
                    soft = slope * absolute(now - theta) + one
                    q = beta * q + get(block, k * width, zero) / (soft * soft)
                    before = get(held, (low - t0 + k) * width, zero)
                    some_bias = some_bias + q
                    some_beta = some_beta + q * (before - now_counts * now)
                    now = before
                    put(block, k * width, q)
                dbias = dbias + as_type_of(some_bias, dbias)
                dbeta = dbeta + as_type_of(some_beta, dbeta)
                scatter_block(n, row + low, tile, dweight, block)
                if keeps:
                    for k in range(n):
                        place = (b * steps + low + k) * neurons + first
                        put_part(current, place, n_own, scale * get(block, k * width, zero))
                if hands_down:
                    if to.twice_below:
                        sum_twice(n, zero, block, span(scratch.outer))
                    for k in range(n):
                        place = ((b - start) * steps + low + k) * stride + first
                        put(below, place, get(block, k * width, zero))
    add(span(to.bias), first, dbias)
    add(span(to.beta), first, dbeta)


hidden_tiles_backward = over_tiles(hidden_tile_backward)
readout_tiles_backward = over_tiles(readout_tile_backward)
