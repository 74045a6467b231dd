"""Layers as the kernels read them: neurons cut into tiles, each tile's weights in one piece.

A tile is 64 neurons, or 32 or 16 at the end of a layer, the last one filled up with zeros. The
weights of a tile are (inputs, width), so that an event adds one row of lanes, and the tile whose
first neuron is f begins at entry ``inputs * f``. Weight and bias are multiplied by the input's
scale, 1 - beta or 1, when they are packed: the kernels know no scale in the forward pass.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from fastsnn_np._jit import Shared, helper
from fastsnn_np.backends.event.lanes import (
    full_like,
    get,
    get_part,
    put,
    put_part,
    ramp,
    span,
    where,
    width_of,
    zeros16,
    zeros32,
    zeros64,
)

_LINE = 64  # bytes: a row of lanes that begins elsewhere costs two lines of the cache
WIDEST = 64  # neurons of a tile
_LITTLE = 100_000  # numbers that are copied in less than 50 us
_EDGE = 16  # inputs transposed at a time: a line's worth of float32


class Network(NamedTuple):
    """Consecutive layers, packed; the arrays hold one layer after another."""

    shape: Any  #: int64 (layers, 6): the first fields of `Layer`
    weight: Any  #: tile by tile, times the scale
    bias: Any  #: padded to whole tiles, as beta, fade and scale are; times the scale
    beta: Any
    fade: Any  #: 1 - beta
    scale: Any  #: 1 - beta or 1
    threshold: Any  #: float64 (layers,)
    unit: Any  #: bool (layers,): whether the scale is 1
    factor: Any  #: float64 (layers,): what weights, but no biases, are multiplied by besides


class Layer(NamedTuple):
    """One layer of a `Network`."""

    inputs: int
    neurons: int
    entry: int  #: of `Network.weight` that it begins with
    place: int  #: ... and of `Network.bias`
    plain_entry: int  #: the same where nothing is filled up to whole tiles: in arrays (inputs,
    plain_place: int  #: neurons) and (neurons,), one layer after another
    weight: Any
    bias: Any
    beta: Any
    fade: Any
    scale: Any
    threshold: float
    unit: bool
    factor: float


@helper
def layer_of(network, i):
    """The i-th layer of a network."""
    inputs, neurons, entry, place, plain_entry, plain_place = network.shape[i]
    stop = place + padded(neurons)
    return Layer(
        inputs,
        neurons,
        entry,
        place,
        plain_entry,
        plain_place,
        network.weight[entry : entry + inputs * (stop - place)],
        network.bias[place:stop],
        network.beta[place:stop],
        network.fade[place:stop],
        network.scale[place:stop],
        network.threshold[i],
        network.unit[i],
        network.factor[i],
    )


@helper
def tile_width(left):
    """The width of the next tile, with so many neurons left."""
    if left > 32:
        return 64
    return 32 if left > 16 else 16


def whole_tiles(neurons: int) -> int:
    """Number of neurons filled up to whole tiles."""
    left = (neurons - 1) % 64 + 1
    return neurons - left + (64 if left > 32 else 32 if left > 16 else 16)


padded = helper(whole_tiles)  # in kernels, where a helper has no way in from Python


def aligned(shape: int | tuple[int, ...], dtype: Any) -> Any:
    """An array of anything whose first number begins a line of the cache."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.empty(size + _LINE, np.uint8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + size].view(dtype).reshape(shape)


def empty_network(sizes: list[tuple[int, int]], dtype: Any) -> Network:
    """A network of layers with `sizes`, (inputs, neurons), nothing in it yet."""
    shape = np.empty((len(sizes), 6), np.int64)
    entry = place = plain_entry = plain_place = 0
    for i, (inputs, neurons) in enumerate(sizes):
        shape[i] = inputs, neurons, entry, place, plain_entry, plain_place
        width = whole_tiles(neurons)
        entry, place = entry + inputs * width, place + width
        plain_entry, plain_place = plain_entry + inputs * neurons, plain_place + neurons
    bias, beta, fade, scale = np.zeros((4, place), dtype)
    threshold, factor = np.ones((2, len(sizes)))
    unit = np.ones(len(sizes), np.bool_)
    return Network(shape, aligned(entry, dtype), bias, beta, fade, scale, threshold, unit, factor)


def fill_layer(
    network: Network,
    i: int,
    weight: Any,
    bias: Any,
    beta: Any,
    *,
    unit: bool,
    threshold: float,
    factor: float = 1.0,
) -> None:
    """Lay out the parameters of layer i; `weight` is (neurons, inputs) in either order."""
    inputs, neurons, entry, place = network.shape[i, :4].tolist()
    own = slice(place, place + neurons)
    network.beta[own] = beta
    np.subtract(1, network.beta[own], out=network.fade[own])
    scale = network.scale[own]
    scale[:] = 1 if unit else network.fade[own]
    if bias is not None:
        np.multiply(bias, scale, out=network.bias[own])
    network.threshold[i], network.unit[i], network.factor[i] = threshold, unit, factor
    packed = network.weight[entry : entry + inputs * whole_tiles(neurons)]
    as_it_is = unit and factor == 1
    pack_matrix(
        weight.T, scale if as_it_is else scale * network.weight.dtype.type(factor), as_it_is, packed
    )


def pack_matrix(matrix: Any, scale: Any, unit: bool, out: Any) -> None:
    """Lay out (rows, neurons), stored in either order, times `scale` unless it is `unit`."""
    flipped = not matrix.flags.c_contiguous
    held = np.ascontiguousarray(matrix.T if flipped else matrix, out.dtype)
    pack(parts_of(held.size), held, flipped, scale, unit, out)


def parts_of(size: int) -> int:
    """Into how many parts so many numbers are split for copying: waking a thread takes a while."""
    return numba.get_num_threads() if size > _LITTLE else 1


@helper
def empty_lanes(size, like):
    """`aligned` in kernels, of the type of an array."""
    raw = np.empty(size + _LINE // like.itemsize, like.dtype)
    start = -raw.ctypes.data % _LINE // like.itemsize
    return raw[start : start + size]


def over_tiles(tile):
    """Make `tile(first, zeros, *args)`, for the tile of one width, a loop over a layer's tiles.

    Every `parts`-th tile is done, from tile number `part` on.
    """

    @helper
    def loop(neurons, part, parts, zero, *args):
        for first in range(64 * part, neurons, 64 * parts):
            width = tile_width(neurons - first)
            if width == 64:
                tile(first, zeros64(zero), *args)
            elif width == 32:
                tile(first, zeros32(zero), *args)
            else:
                tile(first, zeros16(zero), *args)

    return loop


@helper
def pack_tile(first, zero, start, stop, matrix, flipped, scale, unit, out):
    """Rows start ... stop - 1 of a tile of a matrix, times the scale of its neurons."""
    rows, neurons = (matrix.shape[1], matrix.shape[0]) if flipped else matrix.shape
    width = width_of(zero)
    n = min(width, neurons - first)
    tile = out[rows * first : rows * (first + width)]
    source, target = span(matrix), span(tile)
    factor = full_like(zero, 1) if unit else get_part(span(scale), first, n, zero)
    inside = ramp(zero) < full_like(ramp(zero), n)
    for low in range(start, stop, _EDGE):
        high = min(low + _EDGE, stop)
        if flipped:
            for j in range(n):
                row = matrix[first + j]
                for i in range(low, high):
                    tile[i * width + j] = row[i]
            for i in range(low, high):
                own = where(inside, get(target, i * width, zero), zero)
                put(target, i * width, factor * own)
        else:
            for i in range(low, high):
                at = i * neurons + first
                own = get(source, at, zero) if n == width else get_part(source, at, n, zero)
                put(target, i * width, factor * own)


pack_tiles = over_tiles(pack_tile)


@Shared
def pack(part, parts, matrix, flipped, scale, unit, out):
    """A part of the rows of a matrix (rows, neurons), or (neurons, rows) if `flipped`."""
    rows, neurons = (matrix.shape[1], matrix.shape[0]) if flipped else matrix.shape
    start, stop = part * rows // parts, (part + 1) * rows // parts
    zero = out.dtype.type(0)
    pack_tiles(neurons, 0, 1, zero, start, stop, matrix, flipped, scale, unit, out)


@helper
def unpack_tile(first, zero, start, stop, shares, layer, matrix, flipped):
    """Rows start ... stop - 1 of a tile, the shares added up and multiplied as in packing.

    They are added up in the same order always.
    """
    rows, neurons = (matrix.shape[1], matrix.shape[0]) if flipped else matrix.shape
    width = width_of(zero)
    n = min(width, neurons - first)
    source, target, size = span(shares), span(matrix), shares.shape[1]
    factor = full_like(zero, layer.factor) * get(span(layer.scale), first, zero)
    column = np.empty(_EDGE * width, shares.dtype)
    held = span(column)
    for low in range(start, stop, _EDGE):
        high = min(low + _EDGE, stop)
        for i in range(low, high):
            at = layer.entry + rows * first + i * width
            total = get(source, at, zero)
            for share in range(1, shares.shape[0]):
                total = total + get(source, share * size + at, zero)
            total = factor * total
            if flipped:
                put(held, (i - low) * width, total)
            elif n == width:
                put(target, i * neurons + first, total)
            else:
                put_part(target, i * neurons + first, n, total)
        if flipped:
            for j in range(n):
                row = matrix[first + j]
                for i in range(low, high):
                    row[i] = column[(i - low) * width + j]


unpack_tiles = over_tiles(unpack_tile)
