"""One layer on the events, forward and backward, on NumPy arrays.

`rows_of` brings any input into the kernels' form, `layer` and `readout` run one layer forward,
`layer_backward` and `readout_backward` give its gradients in closed form; ``networks`` has the same
for a whole network in one call. Everything is validated here; the kernels check nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from fastsnn_np._checks import check_beta, check_neurons, check_option, check_weights
from fastsnn_np._decay import InputScale
from fastsnn_np._namespace import float_dtype
from fastsnn_np.backends.event import gradients, kernels, packing, sorting
from fastsnn_np.backends.event.sorting import Rows as Rows
from fastsnn_np.spikes import Events, SpikeTimes

_SMALL = 300_000  # operations, some 50 us, below which waking threads costs more than it saves


class Weights(NamedTuple):
    """A layer's parameters: as given, and as the kernels read them."""

    weight: Any  #: (inputs, neurons), in either order
    bias: Any
    beta: Any
    scale: Any  #: 1 - beta or 1
    unit: bool
    tiny: Any  #: the smallest normal number of the dtype
    packed: packing.Network


class LayerRun(NamedTuple):
    """What a hidden layer gives, and what its backward pass needs."""

    times: Any
    final: Any
    potential: Any  #: (batch, steps, neurons), time before neurons; empty unless kept


class ReadoutRun(NamedTuple):
    """What a readout gives, and what its backward pass needs."""

    logits: Any
    where: Any  #: the first step of the maximum
    final: Any
    potential: Any


class Gradients(NamedTuple):
    """Gradients of one layer; `current` is dL/dI (batch, steps, neurons), or empty."""

    weight: Any  #: (inputs, neurons), in the order in memory of the layer's own
    bias: Any
    beta: Any
    current: Any


def rows_of(x: Any, dtype: Any) -> Rows:
    """`Events`, `SpikeTimes` or a dense (batch, neurons, time) array as rows of events."""
    if isinstance(x, Events):
        values = np.empty(0, dtype) if x.values is None else x.values
        indptr, indices = contiguous(x.indptr, np.int64), contiguous(x.indices, np.int32)
        return Rows(indptr, indices, contiguous(values, dtype), x.n_neurons)
    if isinstance(x, SpikeTimes):
        return rows_of_times(x.times, x.n_steps, dtype)
    x = contiguous(x)
    batch, neurons, steps = x.shape
    indptr = np.empty((batch, steps + 1), np.int64)
    sorting.count_events(x, indptr)
    indptr[:, 0] = 0
    indptr[1:, 0] = indptr[:-1, 1:].sum(axis=1).cumsum()
    np.cumsum(indptr, axis=1, out=indptr)
    count = int(indptr[-1, -1]) if batch else 0
    indices = np.empty(count, np.int32)
    values = np.empty(0 if x.dtype == np.bool_ else count, dtype)
    sorting.fill_events(x, indptr, indices, values)
    return Rows(indptr, indices, values, neurons)


def rows_of_times(times: Any, steps: int, dtype: Any) -> Rows:
    """Spike times (batch, neurons), known to be right, as rows of events."""
    times = contiguous(times)
    batch, neurons = times.shape
    rows = empty_rows(batch, steps, neurons, dtype)
    every = np.empty(0, np.uint8)
    small = 8 * batch * neurons < _SMALL
    sorting.sort_times(times, every, rows.indptr, rows.indices, small=small)
    return rows


def empty_rows(batch: int, steps: int, neurons: int, dtype: Any) -> Rows:
    """Place for at most one event of each neuron."""
    indptr = np.empty((batch, steps + 1), np.int64)
    return Rows(indptr, np.empty(batch * neurons, np.int32), np.empty(0, dtype), neurons)


def weights_of(weight: Any, bias: Any, beta: Any, input_scale: InputScale) -> Weights:
    """Check a layer's parameters and lay them out as the kernels read them."""
    check_weights(weight, bias)
    check_option("input_scale", input_scale, InputScale)
    dtype = float_dtype(np, weight=weight)
    neurons, inputs = weight.shape
    beta = np.asarray(beta, dtype)
    check_beta(np, beta, neurons=neurons)
    beta = np.ascontiguousarray(np.broadcast_to(beta, (neurons,)))
    bias = np.zeros(neurons, dtype) if bias is None else np.ascontiguousarray(bias, dtype)
    unit = input_scale == "unit"
    packed = packing.empty_network([(inputs, neurons)], dtype)
    packing.fill_layer(packed, 0, weight, bias, beta, unit=unit, threshold=np.inf)
    scale = packed.scale[:neurons]
    tiny = np.finfo(dtype).smallest_normal
    return Weights(weight.T.astype(dtype, copy=False), bias, beta, scale, unit, tiny, packed)


def layer(
    rows: Rows,
    weights: Weights,
    *,
    threshold: float,
    initial: Any = None,
    to_the_end: bool = False,
    keep: Any = None,
) -> LayerRun:
    """One hidden layer forward; V is written to `keep`, (batch, steps, neurons), if it is given."""
    run, shape = _forward(
        rows, weights, initial, keep, hidden=1, threshold=threshold, to_the_end=to_the_end
    )
    return LayerRun(run.times.reshape(shape), run.final.reshape(shape), _kept(keep, run))


def readout(
    rows: Rows, weights: Weights, *, summed: bool, initial: Any = None, keep: Any = None
) -> ReadoutRun:
    """The readout forward; `keep` as in `layer`."""
    run, shape = _forward(rows, weights, initial, keep, summed=summed)
    logits, where, final = (a.reshape(shape) for a in (run.logits, run.where, run.final))
    return ReadoutRun(logits, where, final, _kept(keep, run))


def _kept(keep: Any, run: kernels.Run) -> Any:
    return run.potential.reshape(0, 0, 0) if keep is None else keep


def _forward(
    rows: Rows,
    weights: Weights,
    initial: Any,
    keep: Any,
    *,
    hidden: int = 0,
    summed: bool = False,
    threshold: float = np.inf,
    to_the_end: bool = False,
) -> tuple[kernels.Run, tuple[int, int]]:
    """One layer, hidden or readout."""
    batch, steps = rows.indptr.shape[0], rows.indptr.shape[1] - 1
    neurons, dtype = len(weights.beta), weights.beta.dtype
    check_neurons(rows.n_inputs, weights.packed.shape[0, 0], "the layer")
    count, nothing = batch * neurons, np.empty(0, dtype)
    run = kernels.Run(
        np.empty(count if hidden else 0, np.int32),
        np.empty(count, dtype),
        nothing if keep is None else keep.reshape(-1),
        np.empty(0 if hidden else count, dtype),
        np.empty(0 if hidden else count, np.int32),
        np.empty((0, batch, steps + 1), np.int64),
        np.empty(0, np.int32),
    )
    options = kernels.Options(hidden, summed, to_the_end or keep is not None, weights.tiny)
    shares, parts = division(rows, neurons)
    kernels.forward(
        shares * parts,
        parts,
        np.empty((0, 0), np.int32),
        rows,
        weights.packed._replace(threshold=np.full(1, float(threshold))),
        _initial(initial, weights, batch),
        np.empty(0, np.uint8),
        options,
        run,
    )
    return run, (batch, neurons)


def readout_backward(
    rows: Rows,
    weights: Weights,
    out: ReadoutRun,
    dlogits: Any,
    *,
    summed: bool,
    initial: Any = None,
) -> Gradients:
    """Gradients of the readout from those of its logits."""
    dtype = weights.beta.dtype
    return _backward(
        rows,
        weights,
        initial,
        kept=_kept_for_backward(rows, where=out.where),
        options=kernels.Options(0, summed, True, weights.tiny),
        rules=gradients.Rules(np.empty(0), np.empty(0, np.bool_)),
        above=no_gradient(dtype)._replace(logits=contiguous(dlogits, dtype).reshape(-1)),
        keep_current=True,
    )


def layer_backward(
    rows: Rows,
    weights: Weights,
    out: LayerRun,
    above: Any,
    above_weight: Any,
    *,
    threshold: float,
    slope: float,
    paper: bool,
    initial: Any = None,
    keep_current: bool = False,
    dropout: Any = None,
    activity: Any = None,
) -> Gradients:
    """Gradients of a hidden layer from dL/dI of the layer above, (batch, steps, neurons above).

    `above_weight` is that layer's weight as (neurons above, neurons); `dropout` says, bool (batch,
    neurons), whose spikes were let through to it; `activity` holds the gradients of each sample's
    number of spikes and sum of spike times, two arrays (batch,).
    """
    dtype, neurons = weights.beta.dtype, len(weights.beta)
    packed = packing.aligned(len(above_weight) * packing.whole_tiles(neurons), dtype)
    packing.pack_matrix(above_weight, weights.scale, True, packed)
    source = no_gradient(dtype)._replace(current=contiguous(above, dtype), weight=packed)
    if activity is not None:
        count, latency = (contiguous(a, dtype).reshape(1, -1) for a in activity)
        source = source._replace(count=count, latency=latency)
    return _backward(
        rows,
        weights._replace(packed=weights.packed._replace(threshold=np.full(1, float(threshold)))),
        initial,
        kept=_kept_for_backward(rows, times=out.times),
        options=kernels.Options(1, False, True, weights.tiny),
        rules=gradients.Rules(np.full(1, float(slope)), np.full(1, bool(paper))),
        above=source,
        keep_current=keep_current,
        passes=dropout,
    )


def _backward(
    rows: Rows,
    weights: Weights,
    initial: Any,
    *,
    kept: gradients.Kept,
    options: kernels.Options,
    rules: gradients.Rules,
    above: gradients.Above,
    keep_current: bool,
    passes: Any = None,
) -> Gradients:
    batch, steps = rows.indptr.shape[0], rows.indptr.shape[1] - 1
    neurons, dtype = len(weights.beta), weights.beta.dtype
    check_neurons(rows.n_inputs, weights.packed.shape[0, 0], "the layer")
    shares, parts = division(rows, neurons)
    current = np.empty((batch, steps, neurons) if keep_current else (0, 0, 0), dtype)
    flipped = not weights.weight.flags.c_contiguous
    found = gradients.Found(
        np.empty(weights.weight.size, dtype),
        np.empty(neurons, dtype),
        np.empty(neurons, dtype),
        np.full(1, flipped),
    )
    sums = empty_sums(weights.packed, shares, current)
    gradients.backward(
        shares * parts,
        parts,
        rows,
        weights.packed,
        _initial(initial, weights, batch),
        bytes_of(passes),
        options,
        kept,
        rules,
        above,
        sums,
    )
    gradients.settle(packing.parts_of(sums.weight.size), weights.packed, sums, found)
    shape = weights.weight.shape
    weight = found.weight.reshape(shape[::-1]).T if flipped else found.weight.reshape(shape)
    return Gradients(weight, found.bias, found.beta, current)


def _kept_for_backward(rows: Rows, *, times: Any = None, where: Any = None) -> gradients.Kept:
    ints = np.empty(0, np.int32)
    batch, places = rows.indptr.shape
    return gradients.Kept(
        ints if times is None else contiguous(times, np.int32).reshape(-1),
        ints if where is None else contiguous(where, np.int32).reshape(-1),
        np.empty((0, batch, places), np.int64),
        ints,
    )


def no_gradient(dtype: Any) -> gradients.Above:
    """Nothing from above."""
    nothing = np.empty(0, dtype)
    return gradients.Above(
        nothing,
        np.empty((0, 0, 0), dtype),
        nothing,
        np.zeros(1, np.int64),
        np.empty((0, 0), dtype),
        np.empty((0, 0), dtype),
    )


def empty_sums(network: packing.Network, shares: int, current: Any) -> gradients.Sums:
    """Place for the shares' gradients."""
    dtype = network.weight.dtype
    return gradients.Sums(
        packing.aligned((shares, network.weight.size), dtype),
        np.empty((shares, network.bias.size)),
        np.empty((shares, network.bias.size)),
        current.reshape(-1),
    )


def contiguous(array: Any, dtype: Any = None) -> Any:
    """The array as the kernels take it: C-contiguous, and not read-only, a type of its own."""
    return np.require(array, dtype, ["C", "W"])


def bytes_of(passes: Any) -> Any:
    """A boolean mask in one row of bytes, or nothing."""
    if passes is None:
        return np.empty(0, np.uint8)
    return contiguous(passes, np.bool_).reshape(-1).view(np.uint8)


def _initial(initial: Any, weights: Weights, batch: int) -> Any:
    dtype, neurons = weights.beta.dtype, len(weights.beta)
    if initial is None:
        return np.empty(0, dtype)
    return contiguous(np.broadcast_to(initial, (batch, neurons)), dtype).reshape(-1)


def division(rows: Rows, neurons: int) -> tuple[int, int]:
    """Shares of the samples, and parts of the tiles where there are fewer samples than threads.

    One of each where waking threads costs more than it saves.
    """
    work = len(rows.indices) + 4 * rows.indptr.size  # a step costs about what four events do
    threads, batch = numba.get_num_threads(), len(rows.indptr)
    if work * neurons < _SMALL:
        threads = 1
    shares = max(min(threads, batch), 1)
    return shares, min(-(-threads // shares), -(-neurons // packing.WIDEST))
