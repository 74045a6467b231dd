"""The event engine's backward pass: DESIGN's closed form, one reverse sweep a tile and sample.

    r[m] = sum_{t>=m} (t-m+1) M[t] G[t]             G: dL/dS, from above and from the activity
    dL/dV[m] = r[m] / (slope |V[m] - theta| + 1)^2  (eq. 20)
    q[t] = dL/dV[t] + beta q[t+1],  dL/dI = scale q

V is replayed, never kept. Of what a layer hands to the one below, G = W^T dL/dI, the double sum r
is taken before the product by W where all M = 1 ("straight_through"): there are fewer neurons above
than below.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastsnn_np._jit import Shared, helper, inlined
from fastsnn_np.backends.event.kernels import FLUSH, charged, drive, flushed
from fastsnn_np.backends.event.lanes import (
    absolute,
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
from fastsnn_np.backends.event.packing import (
    WIDEST,
    layer_of,
    over_tiles,
    padded,
    unpack_tiles,
)
from fastsnn_np.backends.event.sorting import Rows

BLOCK = 32  # steps swept at a time
CHUNK = 512  # steps replayed at a time: V of a tile stays in cache
_GROUP = 1 << 18  # numbers handed from layer to layer at a time: a megabyte of float32


class Rules(NamedTuple):
    """How each hidden layer's spikes are differentiated: arrays (layers,)."""

    slope: Any  #: float64, of the surrogate gradient
    paper: Any  #: bool: whether M = 0 from a neuron's first spike on


class Above(NamedTuple):
    """Where the gradient comes from."""

    logits: Any  #: dL/dlogits in one row, or empty
    current: Any  #: (batch, steps, neurons above), dL/dI above the last layer, or empty
    weight: Any  #: of the layer above each hidden layer, rows by its neurons, packed, in one row
    at: Any  #: int64 (hidden layers,): where these begin
    count: Any  #: (hidden layers, batch) gradients of the number of spikes, or empty
    latency: Any  #: ... and of the sum of the spike times


class Kept(NamedTuple):
    """What the forward pass keeps for the backward pass: as in `Run`."""

    times: Any
    where: Any
    indptr: Any
    indices: Any


class Sums(NamedTuple):
    """Gradients by shares of the samples, packed as in `Network`."""

    weight: Any  #: (shares, entries)
    bias: Any  #: float64 (shares, padded neurons), as beta
    beta: Any  #: times the scale
    current: Any  #: (batch, steps, neurons) in one row: dL/dI of the first layer, or empty


class Found(NamedTuple):
    """The gradients, one layer after another in one row."""

    weight: Any  #: (inputs, neurons) or, if `flipped`, (neurons, inputs)
    bias: Any
    beta: Any
    flipped: Any  #: bool (layers,)


class Rule(NamedTuple):
    """How one hidden layer is differentiated, and what comes to it from above."""

    slope: float
    paper: bool
    above: Any  #: dL/dI of the layer above: (samples, steps, padded neurons) in one row
    stride: int
    weight: Any  #: of the layer above, rows by its neurons, packed
    count: Any  #: (batch,) or empty
    latency: Any
    times: Any
    passes: Any


class Target(NamedTuple):
    """Where a layer's gradients go."""

    sums: Sums
    share: int
    twice_below: bool  #: whether the layer below takes dL/dI summed twice
    below: Any  #: dL/dI for it, as in `Rule`; or empty
    current: Any  #: as in `Sums`


class Scratch(NamedTuple):
    """What one thread needs for a tile."""

    v: Any  #: potential of a chunk, and before it
    block: Any
    marks: Any  #: V and what rounding added, at the start of each chunk
    inner: Any  #: float64: sums so far of a double sum
    outer: Any


@inlined
def scatter(current, e, end, indices, values, has_values, dweight):
    """Add dL/dI to the rows of dW of events e ... end - 1."""
    width = width_of(current)
    for k in range(e, end):
        at = np.int64(indices[k]) * width
        if has_values:
            put(dweight, at, get(dweight, at, current) + full_like(current, values[k]) * current)
        else:
            put(dweight, at, get(dweight, at, current) + current)


@helper
def replay(t0, t1, b, v, lost, rows, layer, first, small, held):
    """V from step t0 to t1 - 1 in `held`, after that of the step before."""
    width = width_of(v)
    indices, values, has_values = span(rows.indices), span(rows.values), rows.values.shape[0] > 0
    weight = span(layer.weight[layer.inputs * first : layer.inputs * (first + width)])
    bias, fade = get(span(layer.bias), first, v), get(span(layer.fade), first, v)
    potential = span(held)
    put(potential, 0, v)
    e = rows.indptr[b, t0]
    for t in range(t0, t1):
        end = rows.indptr[b, t + 1]
        current = drive(bias, e, end, indices, values, has_values, weight)
        v, lost = charged(v, lost, current, fade)
        e = end
        if t % 8 == 7:
            v = flushed(v, small)
        put(potential, (t - t0 + 1) * width, v)
    return v, lost


@helper
def product(from_above, at, stride, above_weight, neurons_above, n, zero, held):
    """block[k] = sum over the neurons c above of dL/dI[k, c] W[c, tile], for n steps."""
    width = width_of(zero)
    above, weight, block = span(from_above), span(above_weight), span(held)
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
def sum_twice(n, zero, held, so_far):
    """Replace n steps of a block by their double sum from the end on, and go on from `so_far`.

    Long sums are kept in float64, from block to block.
    """
    width = width_of(zero)
    block, sums = span(held), span(so_far)
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
def pass_on(t0, n, b, sample, first, rows, layer, zero, to, scratch):
    """What is done with a block of dL/dI: dW, and what the layer below and the caller get."""
    sums = to.sums
    width, steps, neurons = width_of(zero), rows.indptr.shape[1] - 1, layer.neurons
    indices, values, has_values = span(rows.indices), span(rows.values), rows.values.shape[0] > 0
    begin = layer.entry + layer.inputs * first
    dweight = span(sums.weight[to.share, begin : begin + layer.inputs * width])
    block = span(scratch.block)
    end = rows.indptr[b, t0 + n]
    for k in range(n - 1, -1, -1):
        e = rows.indptr[b, t0 + k]
        if e < end:
            current = get(block, k * width, zero)
            scatter(current, e, end, indices, values, has_values, dweight)
        end = e
    if to.current.shape[0]:
        wanted, own = span(to.current), min(width, neurons - first)
        for k in range(n):
            place = (b * steps + t0 + k) * neurons + first
            put_part(wanted, place, own, get(block, k * width, zero))
    if to.below.shape[0]:
        if to.twice_below:
            sum_twice(n, zero, scratch.block, scratch.outer)
        below, stride = span(to.below), padded(neurons)
        for k in range(n):
            place = (sample * steps + t0 + k) * stride + first
            put(below, place, get(block, k * width, zero))


@helper
def readout_tile_backward(
    first, zero, start, stop, rows, layer, initial, options, largest, dlogits, to, scratch
):
    """From dL/dlogits to dL/dI at every step, and the readout's own gradients."""
    width, steps, neurons = width_of(zero), rows.indptr.shape[1] - 1, layer.neurons
    n_own = min(width, neurons - first)
    beta = as_type_of(get(span(layer.beta), first, zero), zero_doubles(zero))
    scale = as_type_of(get(span(layer.scale), first, zero), beta)
    now_counts = full_like(beta, 0 if layer.unit else 1)
    small = full_like(zero, options.tiny * FLUSH)
    v_held, block, marks = span(scratch.v), span(scratch.block), span(scratch.marks)
    none = zero_doubles(zero)
    dbias, dbeta = none, none
    for b in range(start, stop):
        own = b * neurons + first
        dlogit = as_type_of(get_part(span(dlogits), own, n_own, zero), none)
        best = get_part(span(largest), own, n_own, ramp(zero))
        scratch.outer[:] = 0
        mark(steps, b, own, n_own, rows, layer, first, initial, small, scratch)
        q = none
        for t0 in range((steps - 1) // CHUNK * CHUNK, -1, -CHUNK):
            t1, place = min(t0 + CHUNK, steps), t0 // CHUNK * 2 * width
            v, lost = get(marks, place, zero), get(marks, place + width, zero)
            replay(t0, t1, b, v, lost, rows, layer, first, small, scratch.v)
            now = as_type_of(get(v_held, (t1 - t0) * width, zero), none)
            high = t1
            while high > t0:
                low = max(high - BLOCK, t0)
                for t in range(high - 1, low - 1, -1):
                    arrives = best == full_like(best, t)
                    dv = dlogit if options.summed else where(arrives, dlogit, none)
                    q = beta * q + dv
                    current = scale * q
                    before = as_type_of(get(v_held, (t - t0) * width, zero), none)
                    dbias = dbias + current
                    dbeta = dbeta + q * (before - now_counts * now)
                    now = before
                    put(block, (t - low) * width, as_type_of(current, zero))
                pass_on(low, high - low, b, b - start, first, rows, layer, zero, to, scratch)
                high = low
    add(to.sums.bias[to.share], layer.place + first, dbias)
    add(to.sums.beta[to.share], layer.place + first, dbeta)


@helper
def add(row, at, lanes):
    """row[at : at + width] += lanes."""
    held = span(row)
    put(held, at, get(held, at, lanes) + lanes)


@helper
def mark(steps, b, own, n_own, rows, layer, first, initial, small, scratch):
    """V at the start of each chunk of a sample."""
    width = width_of(small)
    zero = full_like(small, 0)
    marks = span(scratch.marks)
    v = get_part(span(initial), own, n_own, zero) if initial.shape[0] else zero
    lost = zero
    for t0 in range(0, steps, CHUNK):
        place = t0 // CHUNK * 2 * width
        put(marks, place, v)
        put(marks, place + width, lost)
        if t0 + CHUNK < steps:
            v, lost = replay(t0, t0 + CHUNK, b, v, lost, rows, layer, first, small, scratch.v)


@helper
def hidden_tile_backward(
    first, zero, start, stop, rows, layer, initial, options, rule, to, scratch
):
    """From what the layer above hands down to this layer's gradients.

    What comes from above is dL/dI there, and where this layer is "straight_through" its double sum.
    """
    width, steps, neurons = width_of(zero), rows.indptr.shape[1] - 1, layer.neurons
    n_own = min(width, neurons - first)
    over = rule.weight.shape[0] // padded(neurons)  # neurons above
    weight_above = rule.weight[over * first : over * (first + width)]
    beta, scale = get(span(layer.beta), first, zero), get(span(layer.scale), first, zero)
    theta, slope = full_like(zero, layer.threshold), full_like(zero, rule.slope)
    one = full_like(zero, 1)
    now_counts = zero if layer.unit else one
    small = full_like(zero, options.tiny * FLUSH)
    v_held, block, marks = span(scratch.v), span(scratch.block), span(scratch.marks)
    dbias, dbeta = zero_doubles(zero), zero_doubles(zero)
    no_bytes = get_part(span(rule.passes), 0, 0, zero)
    for b in range(start, stop):
        own = b * neurons + first
        fired = get_part(span(rule.times), own, n_own, ramp(zero))
        let = get_part(span(rule.passes), own, n_own, zero) if rule.passes.shape[0] else no_bytes
        scratch.inner[:] = 0
        scratch.outer[:] = 0
        mark(steps, b, own, n_own, rows, layer, first, initial, small, scratch)
        q = zero
        once, twice = 0.0, 0.0
        for t0 in range((steps - 1) // CHUNK * CHUNK, -1, -CHUNK):
            t1, place = min(t0 + CHUNK, steps), t0 // CHUNK * 2 * width
            v, lost = get(marks, place, zero), get(marks, place + width, zero)
            replay(t0, t1, b, v, lost, rows, layer, first, small, scratch.v)
            now = get(v_held, (t1 - t0) * width, zero)
            high = t1
            while high > t0:
                low = max(high - BLOCK, t0)
                n = high - low
                place = ((b - start) * steps + low) * rule.stride
                product(rule.above, place, rule.stride, weight_above, over, n, zero, scratch.block)
                if rule.passes.shape[0]:
                    for k in range(n):
                        through = where(let > no_bytes, get(block, k * width, zero), zero)
                        put(block, k * width, through)
                if rule.count.shape[0]:
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
                    sum_twice(n, zero, scratch.block, scratch.inner)
                some_bias, some_beta = zero, zero
                for k in range(n - 1, -1, -1):
                    soft = slope * absolute(now - theta) + one
                    q = beta * q + get(block, k * width, zero) / (soft * soft)
                    current = scale * q
                    before = get(v_held, (low - t0 + k) * width, zero)
                    some_bias = some_bias + current
                    some_beta = some_beta + q * (before - now_counts * now)
                    now = before
                    put(block, k * width, current)
                dbias = dbias + as_type_of(some_bias, dbias)
                dbeta = dbeta + as_type_of(some_beta, dbeta)
                pass_on(low, n, b, b - start, first, rows, layer, zero, to, scratch)
                high = low
    add(to.sums.bias[to.share], layer.place + first, dbias)
    add(to.sums.beta[to.share], layer.place + first, dbeta)


@helper
def clear_tile(first, zero, layer, share, sums):
    """Set a share of a tile's sums to zero."""
    width = width_of(zero)
    entry, place = layer.entry + layer.inputs * first, layer.place + first
    sums.weight[share, entry : entry + layer.inputs * width] = 0
    sums.bias[share, place : place + width] = 0
    sums.beta[share, place : place + width] = 0


clear_tiles = over_tiles(clear_tile)
hidden_tiles_backward = over_tiles(hidden_tile_backward)
readout_tiles_backward = over_tiles(readout_tile_backward)


@helper
def hand_down(start, stop, current, twice, to):
    """The caller's dL/dI of the layer above, in place of a layer's own; summed twice if wanted."""
    steps, neurons = current.shape[1], current.shape[2]
    stride = padded(neurons)
    for b in range(start, stop):
        for c in range(neurons):
            once, total = 0.0, 0.0
            for t in range(steps - 1, -1, -1):
                once += current[b, t, c]
                total += once
                place = ((b - start) * steps + t) * stride + c
                to[place] = total if twice else current[b, t, c]


@helper
def backward_share(
    share, shares, part, parts, rows, network, initial, passes, options, kept, rules, above, sums
):
    """A share of the samples through all layers, from the last to the first."""
    batch, steps = rows.indptr.shape[0], rows.indptr.shape[1] - 1
    start, stop = share * batch // shares, (share + 1) * batch // shares
    dtype, zero = network.bias.dtype, network.bias.dtype.type(0)
    layers, ends = network.shape.shape[0], above.current.shape[2]
    widest = padded(max(ends, 1))
    for i in range(layers):
        widest = max(widest, padded(network.shape[i, 1]))
        clear_tiles(network.shape[i, 1], part, parts, zero, layer_of(network, i), share, sums)
    group = max(min(_GROUP // (steps * widest), stop - start), 1)
    handed = np.empty((2, group * steps * widest), dtype)
    scratch = Scratch(
        np.empty((min(steps, CHUNK) + 1) * WIDEST, dtype),
        np.empty(BLOCK * WIDEST, dtype),
        np.empty(((steps - 1) // CHUNK + 1) * 2 * WIDEST, dtype),
        np.empty(2 * WIDEST, np.float64),
        np.empty(2 * WIDEST, np.float64),
    )
    for low in range(start, stop, group):
        high = min(low + group, stop)
        if options.hidden == layers:
            hand_down(low, high, above.current, not rules.paper[-1], handed[(layers - 1) % 2])
        for i in range(layers - 1, -1, -1):
            layer = layer_of(network, i)
            n, places = layer.neurons, batch * layer.plain_place
            events = rows
            if i > 0:
                indices = kept.indices[places - batch * layer.inputs : places]
                events = Rows(kept.indptr[i - 1], indices, rows.values[:0], layer.inputs)
            held = initial[places : places + batch * n] if initial.shape[0] else initial
            twice_below = i > 0 and not rules.paper[i - 1]
            below = handed[(i + 1) % 2] if i else handed[0, :0]
            to = Target(
                sums, share, twice_below, below, sums.current[: 0 if i else sums.current.shape[0]]
            )
            if i == options.hidden:
                readout_tiles_backward(
                    n, part, parts, zero, low, high, events, layer, held, options,
                    kept.where, above.logits, to, scratch,
                )  # fmt: skip
                continue
            over = network.shape[i + 1, 1] if i + 1 < layers else ends
            rule = Rule(
                rules.slope[i],
                rules.paper[i],
                handed[i % 2],
                padded(over),
                above.weight[above.at[i] : above.at[i] + over * padded(n)],
                above.count[i] if above.count.shape[0] else above.logits[:0],
                above.latency[i] if above.count.shape[0] else above.logits[:0],
                kept.times[places : places + batch * n],
                passes[places : places + batch * n] if passes.shape[0] else passes,
            )
            hidden_tiles_backward(
                n, part, parts, zero, low, high, events, layer, held, options, rule, to, scratch
            )


@Shared
def backward(item, items, parts, rows, network, initial, passes, options, kept, rules, above, sums):
    """Gradients by shares of the samples, of any number of layers; of one, every `parts`-th tile.

    `initial` and `passes` are those of the forward pass.
    """
    backward_share(
        item // parts, items // parts, item % parts, parts,
        rows, network, initial, passes, options, kept, rules, above, sums,
    )  # fmt: skip


@Shared
def settle(part, parts, network, sums, found):
    """Add up the shares of a part of each layer's gradients, always in the same order."""
    zero = network.bias.dtype.type(0)
    for i in range(network.shape.shape[0]):
        layer = layer_of(network, i)
        rows, n = layer.inputs, layer.neurons
        start, stop = part * rows // parts, (part + 1) * rows // parts
        flat = found.weight[layer.plain_entry : layer.plain_entry + rows * n]
        flipped = found.flipped[i]
        matrix = flat.reshape((n, rows)) if flipped else flat.reshape((rows, n))
        unpack_tiles(
            n, 0, 1, zero, start, stop, sums.weight, layer.entry, layer.factor, matrix, flipped
        )
        for j in range(part * n // parts, (part + 1) * n // parts):
            bias, beta = 0.0, 0.0
            for share in range(sums.bias.shape[0]):
                bias += sums.bias[share, layer.place + j]
                beta += sums.beta[share, layer.place + j]
            found.bias[layer.plain_place + j] = bias
            found.beta[layer.plain_place + j] = beta / (1 if layer.unit else layer.scale[j])
