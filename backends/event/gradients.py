"""The event engine's backward pass: the design's closed form, from the last layer to the first.

The sweep over time of one layer is in ``sweeps``. A thread takes a share of the samples through all
layers and has sums of its own, which are added up at the end.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

from fastsnn_np._jit import Shared, helper
from fastsnn_np.backends.event.lanes import width_of
from fastsnn_np.backends.event.packing import (
    WIDEST,
    empty_lanes,
    layer_of,
    over_tiles,
    padded,
    unpack_tiles,
)
from fastsnn_np.backends.event.sorting import Rows
from fastsnn_np.backends.event.sweeps import (
    BLOCK,
    CHUNK,
    Rule,
    Scratch,
    Target,
    hidden_tiles_backward,
    readout_tiles_backward,
)

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


@helper
def clear_tile(first, zero, layer, share, sums):
    """Set a share of a tile's sums to zero."""
    width = width_of(zero)
    entry, place = layer.entry + layer.inputs * first, layer.place + first
    sums.weight[share, entry : entry + layer.inputs * width] = 0
    sums.bias[share, place : place + width] = 0
    sums.beta[share, place : place + width] = 0


clear_tiles = over_tiles(clear_tile)


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
    zero = network.bias.dtype.type(0)
    layers, ends = network.shape.shape[0], above.current.shape[2]
    widest = padded(max(ends, 1))
    for i in range(layers):
        widest = max(widest, padded(network.shape[i, 1]))
        clear_tiles(network.shape[i, 1], part, parts, zero, layer_of(network, i), share, sums)
    group = max(min(_GROUP // (steps * widest), stop - start), 1)
    like = network.bias
    handed = empty_lanes(2 * group * steps * widest, like).reshape((2, group * steps * widest))
    scratch = Scratch(
        empty_lanes((min(steps, CHUNK) + 1) * WIDEST, like),
        empty_lanes(BLOCK * WIDEST, like),
        empty_lanes(((steps - 1) // CHUNK + 1) * 2 * WIDEST, like),
        empty_lanes(2 * WIDEST, network.threshold),
        empty_lanes(2 * WIDEST, network.threshold),
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
            entries, width = layer.weight.shape[0], layer.bias.shape[0]
            to = Target(
                sums.weight[share, layer.entry : layer.entry + entries],
                sums.bias[share, layer.place : layer.place + width],
                sums.beta[share, layer.place : layer.place + width],
                twice_below,
                handed[(i + 1) % 2] if i else handed[0, :0],
                sums.current[: 0 if i else sums.current.shape[0]],
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
        unpack_tiles(n, 0, 1, zero, start, stop, sums.weight, layer, matrix, flipped)
        for j in range(part * n // parts, (part + 1) * n // parts):
            bias, beta = 0.0, 0.0
            for share in range(sums.bias.shape[0]):
                bias += sums.bias[share, layer.place + j]
                beta += sums.beta[share, layer.place + j]
            found.bias[layer.plain_place + j] = bias * layer.scale[j]
            found.beta[layer.plain_place + j] = beta if layer.unit else beta / layer.scale[j]
