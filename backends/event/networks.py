"""A whole network on the events: one compiled call forward, one backward, whatever its depth.

The results are those of ``layers``, one layer after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastsnn_np._checks import check_beta, check_neurons, check_option, check_weights
from fastsnn_np._decay import InputScale
from fastsnn_np._engine import NetworkOutput
from fastsnn_np._namespace import float_dtype
from fastsnn_np.backends.event import gradients, kernels, packing
from fastsnn_np.backends.event.layers import (
    Gradients,
    bytes_of,
    contiguous,
    division,
    empty_rows,
    empty_sums,
    no_gradient,
)
from fastsnn_np.backends.event.sorting import Rows
from fastsnn_np.spikes import SpikeTimes

_NO_SPIKES = np.empty((0, 0), np.int32)


class LayerParameters(NamedTuple):
    """One layer's parameters, as a caller has them."""

    weight: Any  #: (neurons, inputs), in either order
    bias: Any  #: or None
    beta: Any  #: one, or (neurons,)
    input_scale: InputScale
    threshold: float = np.inf
    #: what the weight is multiplied by: 1 / (1 - p) where spikes of the layer below are dropped
    factor: float = 1.0


class Prepared(NamedTuple):
    """A network checked and laid out: hidden layers and a readout."""

    packed: packing.Network
    parameters: tuple[LayerParameters, ...]
    tiny: Any  #: the smallest normal number of the dtype

    @property
    def dtype(self) -> Any:
        return self.packed.weight.dtype

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Inputs and neurons of each layer."""
        return [layer.weight.shape[::-1] for layer in self.parameters]


class NetworkRun(NamedTuple):
    """What a network gives, and what its backward pass needs."""

    logits: Any  #: (batch, classes)
    times: list[Any]  #: int32 (batch, neurons), of each hidden layer
    final: list[Any]  #: the last potential, of each layer; only where `to_the_end`
    rows: Rows
    kept: gradients.Kept
    initial: Any
    passes: Any
    summed: bool


class NetworkGradients(NamedTuple):
    """Gradients of every layer; `current` is dL/dI of the first, (batch, steps, neurons)."""

    layers: list[Gradients]
    current: Any


def prepared(layers: Sequence[LayerParameters]) -> Prepared:
    """Check a network's parameters and lay them out as the kernels read them."""
    dtype = float_dtype(np, weight=layers[0].weight)
    network = packing.empty_network([layer.weight.shape[::-1] for layer in layers], dtype)
    below = None
    for i, layer in enumerate(layers):
        neurons, inputs = layer.weight.shape
        check_weights(layer.weight, layer.bias)
        check_option("input_scale", layer.input_scale, InputScale)
        if below is not None:
            check_neurons(below, inputs, f"layer {i}")
        beta = np.asarray(layer.beta, dtype)
        check_beta(np, beta, neurons=neurons)
        packing.fill_layer(
            network,
            i,
            layer.weight,
            layer.bias,
            beta,
            unit=layer.input_scale == "unit",
            threshold=layer.threshold,
            factor=layer.factor,
        )
        below = neurons
    return Prepared(network, tuple(layers), np.finfo(dtype).smallest_normal)


def network_forward(
    x: SpikeTimes | Rows,
    network: Prepared,
    *,
    summed: bool,
    initial: Sequence[Any] | None = None,
    passes: Sequence[Any] | None = None,
    to_the_end: bool = False,
) -> NetworkRun:
    """All layers in one compiled call.

    Parameters
    ----------
    x : SpikeTimes or Rows
        NumPy arrays.
    summed : bool
        Whether the logits are the sum of the readout's potential over time, not its maximum.
    initial : sequence of arrays, optional
        Potential of each layer before the first step, (batch, neurons).
    passes : sequence, optional
        For each hidden layer None or bool (batch, neurons): which spikes go on to the next layer.
    to_the_end : bool
        Whether a sample goes on once all neurons of a tile have fired.
    """
    packed, dtype = network.packed, network.dtype
    inputs, hidden = int(packed.shape[0, 0]), len(packed.shape) - 1
    if isinstance(x, SpikeTimes):
        spikes = contiguous(x.times, np.int32)
        rows = empty_rows(len(spikes), x.n_steps, spikes.shape[1], dtype)
    else:
        spikes, rows = _NO_SPIKES, x
    check_neurons(rows.n_inputs, inputs, "the network")
    batch, steps = rows.indptr.shape[0], rows.indptr.shape[1] - 1
    classes, below = int(packed.shape[-1, 1]), batch * int(packed.shape[-1, 5])
    run = kernels.Run(
        np.empty(below, np.int32),
        np.empty(below + batch * classes, dtype),
        np.empty(0, dtype),
        np.empty(batch * classes, dtype),
        np.empty(batch * classes, np.int32),
        np.empty((hidden, batch, steps + 1), np.int64),
        np.empty(below, np.int32),
    )
    let = bytes_of(None) if passes is None else _joined_passes(network, passes, batch)
    start = np.empty(0, dtype) if initial is None else _joined(initial, dtype)
    options = kernels.Options(hidden, summed, to_the_end, network.tiny)
    shares, _ = division(rows, packed.bias.size)
    kernels.forward(shares, 1, spikes, rows, packed, start, let, options, run)
    kept = gradients.Kept(run.times, run.where, run.indptr, run.indices)
    times = _by_layer(network, run.times, batch, hidden)
    final = _by_layer(network, run.final, batch, hidden + 1)
    logits = run.logits.reshape(batch, classes)
    return NetworkRun(logits, times, final, rows, kept, start, let, summed)


class Inference:
    """A network for many calls without gradients, each one compiled call with little around it.

    Parameters
    ----------
    network : Prepared
    summed : bool
        As in `network_forward`.
    """

    def __init__(self, network: Prepared, *, summed: bool) -> None:
        self._packed, dtype = network.packed, network.dtype
        *hidden, (_, self._classes) = network.sizes
        self._inputs, self._neurons = network.sizes[0][0], [n for _, n in hidden]
        self._all, self._below = network.packed.bias.size, sum(self._neurons)
        self._nothing, self._no_values = np.empty(0, np.uint8), np.empty(0, dtype)
        self._options = kernels.Options(len(hidden), summed, False, network.tiny)

    def __call__(self, x: SpikeTimes | Rows, *, to_the_end: bool = False) -> NetworkOutput:
        """Spikes and logits of NumPy arrays; `to_the_end` as in `network_forward`."""
        spikes, own = _NO_SPIKES, 0  # own: number of events that are yet to be sorted
        if isinstance(x, SpikeTimes):
            spikes, steps = contiguous(x.times, np.int32), x.n_steps
            (batch, inputs), own = spikes.shape, spikes.size
        else:
            batch, steps, inputs = x.indptr.shape[0], x.indptr.shape[1] - 1, x.n_inputs
        check_neurons(inputs, self._inputs, "the network")
        places, hidden, logits = batch * self._below, len(self._neurons), batch * self._classes
        # three arrays, and views of them: each one of its own takes as long as a small layer
        ints = np.empty(2 * places + logits + own, np.int32)
        numbers = np.empty(places + 2 * logits, self._no_values.dtype)
        pointers = np.empty((hidden + 1, batch, steps + 1), np.int64)
        if isinstance(x, SpikeTimes):
            rows = Rows(pointers[hidden], ints[2 * places + logits :], self._no_values, inputs)
        else:
            rows = x
        run = kernels.Run(
            ints[:places],
            numbers[: places + logits],
            self._no_values,
            numbers[places + logits :],
            ints[2 * places : 2 * places + logits],
            pointers[:hidden],
            ints[places : 2 * places],
        )
        shares = division(rows, self._all)[0] if batch > 1 else 1
        options = self._options._replace(to_the_end=True) if to_the_end else self._options
        kernels.forward(
            shares, 1, spikes, rows, self._packed, self._no_values, self._nothing, options, run
        )
        times, final, start = [], [], 0
        for n in self._neurons:
            stop = start + batch * n
            times.append(run.times[start:stop].reshape(batch, n))
            final.append(run.final[start:stop].reshape(batch, n))
            start = stop
        final.append(run.final[start:].reshape(batch, self._classes))
        counts = run.indptr[:, :, -1] - run.indptr[:, :, 0]
        found = run.logits.reshape(batch, self._classes)
        return NetworkOutput(
            times,
            list(counts.astype(np.int32)),
            found,
            found.argmax(-1),
            final,
            bool(np.isfinite(run.final).all()),
        )


def network_backward(
    network: Prepared,
    run: NetworkRun,
    dlogits: Any,
    *,
    slopes: Sequence[float],
    papers: Sequence[bool],
    activity: Sequence[tuple[Any, Any]] | None = None,
    handed: Sequence[float] | None = None,
    keep_current: bool = False,
) -> NetworkGradients:
    """Gradients of all layers in one compiled call, from those of the logits.

    Parameters
    ----------
    slopes, papers : sequences, one of each hidden layer
        Slope of the surrogate gradient, and whether the gradient is the "paper" one.
    activity : sequence, optional
        For each hidden layer the gradients of each sample's number of spikes and sum of spike
        times, two arrays (batch,).
    handed : sequence of floats, optional
        What the gradient is multiplied by that comes to each hidden layer from the one above it.
    keep_current : bool
        Whether dL/dI of the first layer is wanted.
    """
    packed, dtype = network.packed, network.dtype
    hidden, batch = len(packed.shape) - 1, len(run.logits)
    steps = run.rows.indptr.shape[1] - 1
    above = _above(network, handed)._replace(logits=contiguous(dlogits, dtype).reshape(-1))
    if activity is not None and hidden:
        count, latency = (np.array(part, dtype) for part in zip(*activity, strict=True))
        above = above._replace(count=count, latency=latency)
    shares, _ = division(run.rows, packed.bias.size)
    first = int(packed.shape[0, 1])
    current = np.empty((batch, steps, first) if keep_current else (0, 0, 0), dtype)
    sums = empty_sums(packed, shares, current)
    gradients.backward(
        shares,
        1,
        run.rows,
        packed,
        run.initial,
        run.passes,
        kernels.Options(hidden, run.summed, True, network.tiny),
        run.kept,
        gradients.Rules(np.array(slopes, np.float64), np.array(papers, np.bool_)),
        above,
        sums,
    )
    flipped = np.array([layer.weight.flags.c_contiguous for layer in network.parameters])
    entries = sum(inputs * neurons for inputs, neurons in network.sizes)
    neurons = sum(neurons for _, neurons in network.sizes)
    found = gradients.Found(
        np.empty(entries, dtype), np.empty(neurons, dtype), np.empty(neurons, dtype), flipped
    )
    gradients.settle(packing.parts_of(sums.weight.size), packed, sums, found)
    return NetworkGradients(_found_by_layer(network, found), current)


def _found_by_layer(network: Prepared, found: gradients.Found) -> list[Gradients]:
    layers = []
    nothing = np.empty((0, 0, 0), found.weight.dtype)
    for shape, flipped in zip(network.packed.shape.tolist(), found.flipped, strict=True):
        inputs, neurons, _, _, entry, place = shape
        flat = found.weight[entry : entry + inputs * neurons]
        weight = flat.reshape(neurons, inputs).T if flipped else flat.reshape(inputs, neurons)
        own = slice(place, place + neurons)
        layers.append(Gradients(weight, found.bias[own], found.beta[own], nothing))
    return layers


def _above(network: Prepared, handed: Sequence[float] | None) -> gradients.Above:
    """The weights above each hidden layer, laid out for the product with dL/dI."""
    dtype, at, entry = network.dtype, [], 0
    for inputs, neurons in network.sizes[1:]:
        at.append(entry)
        entry += neurons * packing.whole_tiles(inputs)
    weight = packing.aligned(entry, dtype)
    for i, layer in enumerate(network.parameters[1:]):
        neurons, inputs = layer.weight.shape
        matrix, factor = layer.weight, layer.factor * (1.0 if handed is None else handed[i])
        if layer.input_scale != "unit":
            place = int(network.packed.shape[i + 1, 3])
            matrix = matrix * network.packed.scale[place : place + neurons, None]
        stop = at[i] + neurons * packing.whole_tiles(inputs)
        packing.pack_matrix(
            matrix, np.full(inputs, factor, dtype), factor == 1, weight[at[i] : stop]
        )
    starts = np.array(at, np.int64)
    return no_gradient(dtype)._replace(weight=weight, at=starts)


def _by_layer(network: Prepared, flat: Any, batch: int, layers: int) -> list[Any]:
    """One row of (batch, neurons) after (batch, neurons), as arrays."""
    shapes = network.packed.shape[:layers].tolist()
    return [
        flat[batch * place : batch * (place + neurons)].reshape(batch, neurons)
        for _, neurons, _, _, _, place in shapes
    ]


def _joined(arrays: Sequence[Any], dtype: Any) -> Any:
    return np.concatenate([np.asarray(array, dtype).reshape(-1) for array in arrays])


def _joined_passes(network: Prepared, passes: Sequence[Any], batch: int) -> Any:
    every = zip(passes, network.sizes, strict=False)
    masks = [np.ones((batch, n), np.bool_) if p is None else p for p, (_, n) in every]
    return bytes_of(_joined(masks, np.bool_)) if masks else bytes_of(None)
