"""The event engine's forward pass: the equations, on one block of neurons and one sample at a time.

Events are rows of `indptr` into `indices`, see `fastsnn_np.Events`; the row pointers of one sample
need not touch those of the next. Layers are packed as ``packing`` says. One kernel computes any
number of layers: a thread takes a share of the samples through all of them, so that nothing waits
for other threads in between.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastsnn_np._jit import Shared, helper, inlined
from fastsnn_np.backends.event.lanes import (
    absolute,
    any_of,
    as_type_of,
    full_like,
    get,
    get_part,
    put_part,
    ramp,
    span,
    where,
    width_of,
    zero_doubles,
)
from fastsnn_np.backends.event.packing import layer_of, over_tiles
from fastsnn_np.backends.event.sorting import Rows, sort_sample

FLUSH = 2.0**20  # smallest normal numbers below which a potential is 0: what follows is denormal


class Options(NamedTuple):
    """What a run is, besides its layers."""

    hidden: int  #: number of hidden layers, a readout may follow
    summed: bool  #: whether the logits are the sum of V over time, not its maximum
    to_the_end: bool  #: whether a sample goes on once all neurons have fired
    tiny: Any  #: the smallest normal number of the dtype


class Run(NamedTuple):
    """What a run gives: one row, (batch, neurons) of one layer after those of another.

    An array that is not wanted is empty.
    """

    times: Any  #: int32, of the hidden layers
    final: Any  #: the last potential, of all layers
    potential: Any  #: (batch, steps, neurons), of all layers
    logits: Any  #: of the readout
    where: Any  #: int32: the first step of the maximum
    indptr: Any  #: int64 (layers, batch, steps + 1): spikes of the hidden layers as events
    indices: Any  #: int32, (batch, neurons) places for each layer


class Tile(NamedTuple):
    """What the potential of a block of neurons comes from."""

    pointers: Any  #: span of `Rows.indptr`
    indices: Any
    values: Any
    has_values: bool
    weight: Any
    bias: Any  #: lanes, as the following ones
    fade: Any
    small: Any  #: what is smaller becomes 0


@inlined
def tile_of(first, zero, rows, layer, tiny):
    """The tile whose first neuron is `first`."""
    entry, width = layer.inputs * first, width_of(zero)
    return Tile(
        span(rows.indptr),
        span(rows.indices),
        span(rows.values),
        rows.values.shape[0] > 0,
        span(layer.weight[entry : entry + layer.inputs * width]),
        get(span(layer.bias), first, zero),
        get(span(layer.fade), first, zero),
        full_like(zero, tiny * FLUSH),
    )


@inlined
def drive(tile, e, end):
    """Bias plus the weight rows of events e ... end - 1 (eq. 4), times the scale."""
    current, width = tile.bias, width_of(tile.bias)
    if tile.has_values:
        for k in range(e, end):
            row = get(tile.weight, np.int64(tile.indices[k]) * width, current)
            current = current + full_like(current, tile.values[k]) * row
    else:
        for k in range(e, end):
            current = current + get(tile.weight, np.int64(tile.indices[k]) * width, current)
    return current


@inlined
def charged(v, lost, current, fade):
    """V + (current - (1 - beta) V), which is eq. 5, and what rounding adds to it.

    The sum takes back what rounding added a step before. Otherwise such errors add up where beta is
    close to 1, and spikes move.
    """
    change = (current - fade * v) - lost
    risen = v + change
    return risen, (risen - v) - change


@inlined
def flushed(v, small):
    """V, or 0 once it has decayed so far that what follows are denormal numbers, which are slow."""
    return where(absolute(v) >= small, v, v - v)


@helper
def hidden_tile(first, zero, start, stop, rows, layer, initial, options, run):
    """First spike times of samples start ... stop - 1."""
    steps, neurons = rows.indptr.shape[1] - 1, layer.neurons
    n = min(width_of(zero), neurons - first)
    tile = tile_of(first, zero, rows, layer, options.tiny)
    theta, never = full_like(zero, layer.threshold), full_like(ramp(zero), steps)
    silent = where(ramp(zero) < full_like(never, n), never, full_like(never, -1))
    before, has_initial, keeps = span(initial), initial.shape[0] > 0, run.potential.shape[0] > 0
    times, final, potential = span(run.times), span(run.final), span(run.potential)
    for b in range(start, stop):
        at, row = b * neurons + first, b * (steps + 1)
        v = get_part(before, at, n, zero) if has_initial else zero
        lost, fired, e = zero, silent, tile.pointers[row]
        for t in range(steps):
            end = tile.pointers[row + t + 1]
            v, lost = charged(v, lost, drive(tile, e, end), tile.fade)  # eq. 5
            e = end
            crossing = (v > theta) & (fired == never)  # eq. 3 and 6
            fired = where(crossing, full_like(never, t), fired)
            if keeps:
                place = (b * steps + t) * neurons + first
                put_part(potential, place, n, flushed(v, tile.small))
            if t % 8 == 7:
                v = flushed(v, tile.small)
                if not options.to_the_end and not any_of(fired == never):
                    break
        put_part(times, at, n, fired)
        put_part(final, at, n, flushed(v, tile.small))


@helper
def readout_tile(first, zero, start, stop, rows, layer, initial, options, run):
    """Sum or maximum of V over time, and the first step of the maximum."""
    steps, neurons = rows.indptr.shape[1] - 1, layer.neurons
    n = min(width_of(zero), neurons - first)
    tile = tile_of(first, zero, rows, layer, options.tiny)
    before, has_initial, keeps = span(initial), initial.shape[0] > 0, run.potential.shape[0] > 0
    logits, best = span(run.logits), span(run.where)
    final, potential = span(run.final), span(run.potential)
    for b in range(start, stop):
        at, row = b * neurons + first, b * (steps + 1)
        v = get_part(before, at, n, zero) if has_initial else zero
        lost, total, e = zero, zero_doubles(zero), tile.pointers[row]
        largest, step = zero, full_like(ramp(zero), 0)
        for t in range(steps):
            end = tile.pointers[row + t + 1]
            v, lost = charged(v, lost, drive(tile, e, end), tile.fade)
            e = end
            if options.summed:
                total = total + as_type_of(v, total)
            elif t == 0:
                largest = v
            else:
                stays = v <= largest  # not so for a NaN, which is kept and found
                largest = where(stays, largest, v)
                step = where(stays, step, full_like(step, t))
            if keeps:
                place = (b * steps + t) * neurons + first
                put_part(potential, place, n, flushed(v, tile.small))
            if t % 8 == 7:
                v = flushed(v, tile.small)
        put_part(logits, at, n, as_type_of(total, zero) if options.summed else largest)
        put_part(best, at, n, step)
        put_part(final, at, n, flushed(v, tile.small))


hidden_tiles, readout_tiles = over_tiles(hidden_tile), over_tiles(readout_tile)


@helper
def forward_share(start, stop, part, parts, spikes, rows, network, initial, passes, options, run):
    """Samples start ... stop - 1 through all layers."""
    batch, steps = rows.indptr.shape[0], rows.indptr.shape[1] - 1
    zero = network.bias.dtype.type(0)
    for b in range(start, stop):
        if spikes.shape[0]:
            inputs = spikes.shape[1]
            sort_sample(spikes[b], passes[:0], b * inputs, rows.indptr[b], rows.indices)
    events = rows
    for i in range(network.shape.shape[0]):
        layer = layer_of(network, i)
        n = layer.neurons
        low, high = batch * layer.plain_place, batch * (layer.plain_place + n)
        is_hidden = i < options.hidden
        own = Run(
            run.times[low:high] if is_hidden else run.times[:0],
            run.final[low:high],
            run.potential[steps * low : steps * high] if run.potential.shape[0] else run.potential,
            run.logits,
            run.where,
            run.indptr,
            run.indices,
        )
        held = initial[low:high] if initial.shape[0] else initial
        if not is_hidden:
            readout_tiles(n, part, parts, zero, start, stop, events, layer, held, options, own)
            continue
        hidden_tiles(n, part, parts, zero, start, stop, events, layer, held, options, own)
        if i < run.indptr.shape[0]:
            events = Rows(run.indptr[i], run.indices[low:high], rows.values[:0], n)
            let = passes[low:high] if passes.shape[0] else passes
            for b in range(start, stop):
                at = b * n
                own_let = let[at : at + n] if passes.shape[0] else passes
                sort_sample(own.times[at : at + n], own_let, at, events.indptr[b], events.indices)


@Shared
def forward(item, items, parts, spikes, rows, network, initial, passes, options, run):
    """Any number of layers: a share of the samples, and of one layer every `parts`-th tile.

    `spikes`, int32 (batch, inputs), are sorted into `rows` first, unless it is empty. `initial` and
    `passes` (which spikes go on to the next layer) are laid out as in `Run`, or empty.
    """
    batch, share, shares = rows.indptr.shape[0], item // parts, items // parts
    start, stop = share * batch // shares, (share + 1) * batch // shares
    part = item % parts
    forward_share(start, stop, part, parts, spikes, rows, network, initial, passes, options, run)
