"""One layer on the events, forward and backward, on NumPy arrays.

`rows_of` brings any input into the kernels' form, `layer` and `readout` run one layer forward,
`layer_backward` and `readout_backward` give its gradients in closed form. Everything is validated
here; the kernels in ``kernels`` and ``sorting`` check nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from fastsnn_np._checks import check_beta, check_neurons, check_option, check_weights
from fastsnn_np._decay import InputScale
from fastsnn_np._namespace import float_dtype
from fastsnn_np.backends.event import kernels, sorting
from fastsnn_np.spikes import Events, SpikeTimes

_NARROWEST = 32  # neurons per tile, below which walking the events costs more than adding rows
_SMALL = 300_000  # operations, some 50 us, below which waking threads costs more than it saves


class Rows(NamedTuple):
    """Events as the kernels read them.

    Those of sample b at step t are indptr[b, t] : indptr[b, t + 1].
    """

    indptr: Any  #: int64 (batch, steps + 1)
    indices: Any  #: int32
    values: Any  #: of the working dtype; empty if every event is of size 1
    n_inputs: int


class Weights(NamedTuple):
    """A layer's parameters as the kernels read them."""

    weight: Any  #: (inputs, neurons), C-contiguous: an event adds one row
    bias: Any
    beta: Any
    scale: Any  #: 1 - beta or 1
    unit: bool
    tiny: Any  #: the smallest normal number of the dtype


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

    weight: Any  #: (inputs, neurons)
    bias: Any
    beta: Any
    current: Any


def rows_of(x: Any, dtype: Any) -> Rows:
    """`Events`, `SpikeTimes` or a dense (batch, neurons, time) array as rows of events."""
    if isinstance(x, Events):
        values = np.empty(0, dtype) if x.values is None else x.values.astype(dtype, copy=False)
        return Rows(x.indptr, x.indices, values, x.n_neurons)
    if isinstance(x, SpikeTimes):
        return rows_of_times(np.ascontiguousarray(x.times), x.n_steps, dtype)
    x = np.ascontiguousarray(x)
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
    batch, neurons = times.shape
    indptr = np.empty((batch, steps + 1), np.int64)
    indices = np.empty(batch * neurons, np.int32)
    sorting.sort_times(times, steps, indptr, indices, small=8 * batch * neurons < _SMALL)
    return Rows(indptr, indices, np.empty(0, dtype), neurons)


def by_input(rows: Rows) -> tuple[Any, Any, Any]:
    """The events in the order of their inputs, for sums over each input's events."""
    pointers = np.empty((rows.indptr.shape[0], rows.n_inputs + 1), np.int64)
    steps, sizes = np.empty_like(rows.indices), np.empty_like(rows.values)
    sorting.sort_by_input(rows[:3], pointers, steps, sizes)
    return pointers, steps, sizes


def weights_of(weight: Any, bias: Any, beta: Any, input_scale: InputScale) -> Weights:
    """Check a layer's parameters and lay them out; a weight stored transposed is not copied."""
    check_weights(weight, bias)
    check_option("input_scale", input_scale, InputScale)
    dtype = float_dtype(np, weight=weight)
    neurons = len(weight)
    beta = np.asarray(beta, dtype)
    check_beta(np, beta, neurons=neurons)
    beta = np.ascontiguousarray(np.broadcast_to(beta, (neurons,)))
    bias = np.zeros(neurons, dtype) if bias is None else np.ascontiguousarray(bias, dtype)
    unit = input_scale == "unit"
    scale = np.ones_like(beta) if unit else 1 - beta
    tiny = np.finfo(dtype).smallest_normal
    return Weights(np.ascontiguousarray(weight.T, dtype), bias, beta, scale, unit, tiny)


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
    batch, neurons, initial, tiny = _shapes(rows, weights, initial)
    dtype = weights.weight.dtype
    times = np.empty((batch, neurons), np.int32)
    final = np.empty((batch, neurons), dtype)
    potential = np.empty((0, 0, 0), dtype) if keep is None else keep
    width = _tile(weights, items=batch)
    kernels.layer(
        rows[:3],
        weights[:4],
        initial,
        tiny,
        width,
        dtype.type(threshold),
        to_the_end or keep is not None,
        times,
        final,
        potential,
        small=_is_small(rows, weights),
    )
    return LayerRun(times, final, potential)


def readout(
    rows: Rows, weights: Weights, *, summed: bool, initial: Any = None, keep: Any = None
) -> ReadoutRun:
    """The readout forward; `keep` as in `layer`."""
    batch, classes, initial, tiny = _shapes(rows, weights, initial)
    dtype = weights.weight.dtype
    logits, final = np.empty((2, batch, classes), dtype)
    where = np.empty((batch, classes), np.int32)
    potential = np.empty((0, 0, 0), dtype) if keep is None else keep
    small = _is_small(rows, weights)
    outputs = (logits, where, final, potential)
    width = _tile(weights, items=batch)
    kernels.readout(rows[:3], weights[:4], initial, tiny, width, summed, *outputs, small=small)
    return ReadoutRun(*outputs)


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
    batch, classes, initial, tiny = _shapes(rows, weights, initial)
    shares = min(numba.get_num_threads(), max(batch, 1))
    gradients = _empty_gradients(weights, shares)
    current = np.empty((batch, rows.indptr.shape[1] - 1, classes), weights.weight.dtype)
    gradients = gradients._replace(current=current)
    kernels.readout_backward(
        rows[:3],
        by_input(rows),
        weights[:4],
        initial,
        tiny,
        _tile(weights, items=shares),
        weights.unit,
        (summed, out.where, np.ascontiguousarray(dlogits)),
        tuple(gradients),
    )
    return _summed(gradients, weights)


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

    `above_weight` is that layer's weight as (neurons above, neurons), C-contiguous; `dropout`
    says, bool (batch, neurons), whose spikes were let through to it; `activity` holds the gradients
    of each sample's number of spikes and sum of spike times, two arrays (batch,).
    """
    batch, neurons, initial, tiny = _shapes(rows, weights, initial)
    dtype, steps = weights.weight.dtype, rows.indptr.shape[1] - 1
    shares = min(numba.get_num_threads(), max(batch, 1))
    width = _tile(weights, items=shares)
    gradients = _empty_gradients(weights, shares)
    if keep_current:
        gradients = gradients._replace(current=np.empty((batch, steps, neurons), dtype))
    kernels.layer_backward(
        rows[:3],
        by_input(rows),
        weights[:4],
        initial,
        tiny,
        width,
        weights.unit,
        (dtype.type(threshold), dtype.type(slope), paper),
        (out.times, out.potential),
        (above, above_weight, np.empty((0, 0), np.bool_) if dropout is None else dropout),
        (np.empty(0, dtype), np.empty(0, dtype)) if activity is None else activity,
        tuple(gradients),
    )
    return _summed(gradients, weights)


def _shapes(rows: Rows, weights: Weights, initial: Any) -> tuple[int, int, Any, Any]:
    batch = rows.indptr.shape[0]
    inputs, neurons = weights.weight.shape
    dtype = weights.weight.dtype
    check_neurons(rows.n_inputs, inputs, "the layer")
    if initial is None:
        initial = np.zeros((batch, neurons), dtype)
    else:
        initial = np.ascontiguousarray(np.broadcast_to(initial, (batch, neurons)), dtype)
    return batch, neurons, initial, weights.tiny


def _tile(weights: Weights, *, items: int) -> int:
    """Neurons per tile: as many as the kernels take, but work for every thread."""
    neurons = weights.weight.shape[1]
    tiles = -(-numba.get_num_threads() // max(items, 1))
    tiles = max(min(tiles, neurons // _NARROWEST), -(-neurons // kernels.WIDEST), 1)
    return int(-(-neurons // tiles))


def _is_small(rows: Rows, weights: Weights) -> bool:
    work = len(rows.indices) + 4 * rows.indptr.size  # a step costs about what four events do
    return bool(work * weights.weight.shape[1] < _SMALL)


def _empty_gradients(weights: Weights, shares: int) -> Gradients:
    inputs, neurons = weights.weight.shape
    dtype = weights.weight.dtype
    return Gradients(
        np.zeros((shares, inputs, neurons), dtype),
        np.zeros((shares, neurons), dtype),
        np.zeros((shares, neurons), dtype),
        np.empty((0, 0, 0), dtype),
    )


def _summed(gradients: Gradients, weights: Weights) -> Gradients:
    """The shares of the samples added up, always in the same order."""
    weight, bias, beta = (g[0] if len(g) == 1 else g.sum(axis=0) for g in gradients[:3])
    beta = beta if weights.unit else beta / weights.scale
    return Gradients(weight, bias, beta, *gradients[3:])
