"""A layer of neurons that fire again and again, forward and backward, on NumPy arrays.

Its input and its spikes are rows of events, so layers of any kind go one above the other; see
``layers`` for those that fire at most once and for the readout.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastsnn_np._checks import check_beta, check_neurons, check_option, check_weights
from fastsnn_np._decay import InputScale
from fastsnn_np._kinds import Neuron
from fastsnn_np._namespace import float_dtype
from fastsnn_np.backends.event import gradients, packing, spiking, spiking_gradients
from fastsnn_np.backends.event.layers import bytes_of, contiguous, division
from fastsnn_np.backends.event.sorting import Rows


class Parameters(NamedTuple):
    """A layer's parameters, as a caller has them; those that its kind has not are None."""

    weight: Any  #: (neurons, inputs)
    bias: Any
    beta: Any  #: one, or (neurons,)
    input_scale: InputScale
    neuron: Neuron
    threshold: Any = 1.0  #: one, or (neurons,)
    recurrent: Any = None  #: (neurons, neurons): to each from each
    rho: Any = None  #: one, or (neurons,), as a and b
    a: Any = None
    b: Any = None


class Prepared(NamedTuple):
    """A layer checked and laid out."""

    parameters: Parameters
    network: packing.Network  #: the layer, and its recurrent weights as a second one
    neurons: spiking.Neurons
    tiny: Any  #: the smallest normal number of the dtype

    @property
    def size(self) -> int:
        return int(self.network.shape[0, 1])


class Run(NamedTuple):
    """What a layer gives, and what its backward pass needs."""

    rows: Rows  #: its spikes
    spikes: spiking.Spikes


class Surrogate(NamedTuple):
    """What stands for the derivative of a spike: (slope |d| + 1)^-2 (eq. 20) where |d| < support.

    With `through` gradients go through the reset as well.
    """

    slope: float = 10.0
    support: float = np.inf
    through: bool = False


class Gradients(NamedTuple):
    """Gradients of a layer; None where it has no such parameter."""

    weight: Any  #: (neurons, inputs)
    bias: Any  #: (neurons,), as those below
    beta: Any
    threshold: Any
    recurrent: Any  #: (neurons, neurons)
    rho: Any
    a: Any
    b: Any
    current: Any  #: dL/dI (batch, steps, neurons), or empty


def packed_plainly(matrix: Any, dtype: Any) -> Any:
    """A matrix (rows, neurons) tile by tile, as it is."""
    rows, neurons = matrix.shape
    packed = packing.aligned(rows * packing.whole_tiles(neurons), dtype)
    packing.pack_matrix(matrix, np.ones(neurons, dtype), True, packed)
    return packed


class FromReadout(NamedTuple):
    """What comes down from a readout, whose logits weigh each spike by its step alone."""

    spike: Any  #: (batch, neurons): dL/ds of a spike that weighs 1
    profile: Any  #: (steps,): what a spike weighs

    def laid_out(self, neurons: int, dtype: Any) -> spiking_gradients.Above:
        """As the kernel reads it."""
        nothing = np.empty(0, dtype)
        direct = np.zeros((len(self.spike), packing.whole_tiles(neurons)), dtype)
        direct[:, :neurons] = self.spike
        profile = contiguous(self.profile, dtype)
        return spiking_gradients.Above(
            direct.reshape(-1), profile, nothing, 0, nothing, nothing, bytes_of(None)
        )


class FromLayer(NamedTuple):
    """What comes down from a hidden layer."""

    current: Any  #: (batch, steps, neurons above): dL/dI of the layer above
    weight: Any  #: its weight (neurons above, neurons), times what its spikes count
    passes: Any = None  #: bool (batch, neurons): whose spikes went on to it; all unless given

    def laid_out(self, neurons: int, dtype: Any) -> spiking_gradients.Above:
        """As the kernel reads it."""
        above = len(self.weight)
        weight, rows = (packed_plainly(w, dtype) for w in (self.weight.T, self.weight))
        nothing, current = np.empty(0, dtype), contiguous(self.current, dtype).reshape(-1)
        return spiking_gradients.Above(
            nothing, nothing, current, above, weight, rows, bytes_of(self.passes)
        )


def prepared(given: Parameters, *, factor: float = 1.0) -> Prepared:
    """Check a layer's parameters and lay them out; `factor` multiplies the weight besides."""
    check_weights(given.weight, given.bias)
    check_option("input_scale", given.input_scale, InputScale)
    dtype = float_dtype(np, weight=given.weight)
    neurons, inputs = given.weight.shape
    beta = np.asarray(given.beta, dtype)
    check_beta(np, beta, neurons=neurons)
    is_recurrent = given.recurrent is not None
    sizes = [(inputs, neurons), (neurons, neurons)] if is_recurrent else [(inputs, neurons)]
    network = packing.empty_network(sizes, dtype)
    unit = given.input_scale == "unit"
    packing.fill_layer(
        network, 0, given.weight, given.bias, beta, unit=unit, threshold=np.inf, factor=factor
    )
    if is_recurrent:
        if given.recurrent.shape != (neurons, neurons):
            raise ValueError(
                f"recurrent must have shape {(neurons, neurons)}, got {given.recurrent.shape}"
            )
        packing.fill_layer(network, 1, given.recurrent, None, beta, unit=unit, threshold=np.inf)
    kind = given.neuron
    if kind.fires != "always":
        raise ValueError('neurons of fires="once" are those of backends.event.layers')
    adapts = kind.adaptation != "none"

    def padded(name: str, value: Any, padding: float = 0.0) -> Any:
        """A number or one per neuron, up to whole tiles."""
        array = np.full(packing.whole_tiles(neurons), padding, dtype)
        if np.ndim(value) and np.shape(value) != (neurons,):
            raise ValueError(f"{name} must be a number or have shape ({neurons},)")
        array[:neurons] = value
        return array

    rho, a, b = (given.rho, given.a, given.b) if adapts else (0.0, 0.0, 0.0)
    rises = kind.adaptation == "threshold"
    laid_out = spiking.Neurons(
        padded("threshold", given.threshold, np.inf),
        padded("rho", rho),
        padded("a", 0.0 if rises else a),
        padded("b", b),
        spiking.Kind(
            kind.reset != "none",
            kind.reset == "zero",
            kind.reset_at == "before decay",
            kind.refractory,
            adapts,
            rises,
            is_recurrent,
        ),
    )
    return Prepared(given, network, laid_out, np.finfo(dtype).smallest_normal)


def forward(rows: Rows, layer: Prepared, *, keep: bool = False) -> Run:
    """Spikes of a layer; what the backward pass needs is kept if that is wanted."""
    check_neurons(rows.n_inputs, int(layer.network.shape[0, 0]), "the layer")
    batch, steps = rows.indptr.shape[0], rows.indptr.shape[1] - 1
    neurons, dtype = layer.size, layer.network.weight.dtype
    stride, words = packing.whole_tiles(neurons), spiking.n_words(neurons)
    kind = layer.neurons.kind
    kept = batch * steps if keep else 0
    spikes = spiking.Spikes(
        np.empty((batch, steps + 1), np.int64),
        # room for all to fire at every step: pages that are not written to take no memory
        np.empty(batch * steps * neurons, np.int32),
        packing.aligned(kept * stride, dtype),
        np.empty(kept * words, np.int64),
        np.empty(kept * words if kind.refractory else 0, np.int64),
    )
    state = spiking.State(
        np.zeros(batch * stride, dtype),
        np.zeros(batch * stride if kind.adapts else 0, dtype),
        np.zeros(batch * words, np.int64),
        np.zeros(batch * stride if kind.refractory else 0, np.int32),
    )
    shares, _ = division(rows, neurons)
    spiking.spike(shares, rows, layer.network, layer.neurons, state, spikes, layer.tiny)
    out = Rows(spikes.indptr, spikes.indices, np.empty(0, dtype), neurons)
    return Run(out, spikes)


def passed(rows: Rows, passes: Any) -> Rows:
    """The events of the neurons that pass, bool (batch, neurons)."""
    indptr, indices = np.empty_like(rows.indptr), np.empty_like(rows.indices)
    shares, _ = division(rows, 1)
    spiking.thin(shares, rows, contiguous(passes, np.bool_), indptr, indices)
    return rows._replace(indptr=indptr, indices=indices)


def weighed(rows: Rows, profile: Any) -> Any:
    """For each neuron of each sample the sum of profile[t] over its spikes, (batch, neurons)."""
    counts = np.empty((len(rows.indptr), rows.n_inputs), profile.dtype)
    shares, _ = division(rows, 1)
    spiking.weigh(shares, rows, profile, counts)
    return counts


def backward(
    rows: Rows,
    layer: Prepared,
    run: Run,
    above: FromReadout | FromLayer,
    surrogate: Surrogate,
    *,
    keep_current: bool = False,
    activity: Any = None,
) -> Gradients:
    """Gradients of a layer, from what comes to its spikes from above.

    `activity` holds the gradients of each sample's number of spikes and sum of spike times, two
    arrays (batch,).
    """
    network, neurons, dtype = layer.network, layer.size, layer.network.weight.dtype
    batch, steps = rows.indptr.shape[0], rows.indptr.shape[1] - 1
    nothing, given = np.empty(0, dtype), layer.parameters
    scale = network.scale[:neurons, None]
    count, latency = (nothing, nothing) if activity is None else activity
    rule = spiking_gradients.Rule(
        float(surrogate.slope),
        float(surrogate.support),
        bool(surrogate.through),
        above.laid_out(neurons, dtype),
        nothing if given.recurrent is None else packed_plainly(given.recurrent * scale, dtype),
        contiguous(count, dtype),
        contiguous(latency, dtype),
    )
    shares, _ = division(rows, neurons)
    current = np.empty((batch, steps, neurons) if keep_current else (0, 0, 0), dtype)
    found = spiking_gradients.Found(
        packing.aligned((shares, network.weight.size), dtype),
        np.empty((shares, 6, packing.whole_tiles(neurons))),
        current.reshape(-1),
    )
    spiking_gradients.spike_backward(
        shares, rows, network, layer.neurons, run.spikes, rule, found, layer.tiny
    )
    return _settled(layer, found, current)


def _settled(layer: Prepared, found: spiking_gradients.Found, current: Any) -> Gradients:
    """The shares' gradients added up, laid out as the parameters are."""
    network, n, dtype = layer.network, layer.size, layer.network.weight.dtype
    given, shares = layer.parameters, len(found.weight)
    vectors = np.zeros((2, shares, network.bias.size))  # of the recurrent weights there are none
    vectors[:, :, : found.vectors.shape[2]] = found.vectors[:, :2].transpose(1, 0, 2)
    sums = gradients.Sums(found.weight, vectors[0], vectors[1], current.reshape(-1))
    parts = [given.weight] if given.recurrent is None else [given.weight, given.recurrent]
    total = sum(part.size for part in parts)
    places = n * len(parts)
    # (neurons, inputs) throughout
    to = gradients.Found(
        np.empty(total, dtype), np.empty(places, dtype), np.empty(places, dtype),
        np.ones(len(parts), np.bool_),
    )  # fmt: skip
    gradients.settle(packing.parts_of(found.weight.size), network, sums, to)
    weight = to.weight[: given.weight.size].reshape(given.weight.shape)
    recurrent = None
    if given.recurrent is not None:
        recurrent = to.weight[given.weight.size :].reshape(n, n)
    theta, rho, a, b = found.vectors[:, 2:, :n].sum(axis=0).astype(dtype)
    adapts = given.neuron.adaptation != "none"
    return Gradients(
        weight,
        None if given.bias is None else to.bias[:n],
        to.beta[:n],
        theta,
        recurrent,
        rho if adapts else None,
        a if given.neuron.adaptation == "current" else None,
        b if adapts else None,
        current,
    )
