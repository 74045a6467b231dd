"""What a network costs, under NeuroBench's names, and how early it decides.

The definitions are those of Yik et al., "The NeuroBench framework for benchmarking neuromorphic
computing algorithms and systems", Nature Communications 16, 1545 (2025), and of its harness; where
neurons that fire once allow a sharper count, the docstring says so. All of it is NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._checks import check_real, not_negative, room_for, whole
from ._forward import Result, prepare
from ._metric_checks import (
    batch_of,
    check_fit,
    check_network,
    check_operations,
    check_result,
    class_numbers,
    entries_per_neuron,
)
from ._namespace import to_numpy
from ._parts import arrays_of
from .network import Layer, Network, Readout
from .spikes import Events, SpikeTimes, shape_of

__all__ = [
    "ACCESS_PJ",
    "Energy",
    "LatencyToDecision",
    "SynapticOperations",
    "access_energy",
    "activation_sparsity",
    "confusion_matrix",
    "connection_sparsity",
    "energy",
    "footprint",
    "latency_to_decision",
    "membrane_updates",
    "spike_reduction",
    "synaptic_operations",
]

#: pJ per access of 32 bits in 45 nm at 0.9 V, by the size of the memory in bytes: half of what
#: Horowitz (ISSCC 2014, fig. 1.1.9) gives for 64 bits from 8 KB, 32 KB and 1 MB of SRAM. The last
#: is DRAM, 640 pJ as in table I of Han et al., "EIE" (ISCA 2016), after the same source.
ACCESS_PJ = {8 << 10: 5.0, 32 << 10: 10.0, 1 << 20: 50.0, float("inf"): 640.0}


@dataclass(frozen=True)
class SynapticOperations:
    """Operations of each sample in each layer; the readout is the last layer.

    NeuroBench's three figures are ``dense.sum()``, ``effective_macs.sum(1).mean()`` and
    ``effective_acs.sum(1).mean()``.
    """

    dense: Any  #: int64 (layers,): a product with every weight at every step
    effective_macs: Any  #: int64 (batch, layers): real input other than 0, weight other than 0
    effective_acs: Any  #: int64 (batch, layers): the same where the input is -1 or 1


@dataclass(frozen=True)
class Energy:
    """Mean energy per sample in pJ; `synapses` is what the literature usually reports."""

    synapses: float  #: arithmetic of the synaptic operations
    membranes: float  #: arithmetic of the membrane updates
    memory: float  #: weights, parameters and potentials read and written

    @property
    def total(self) -> float:
        return self.synapses + self.membranes + self.memory


@dataclass(frozen=True)
class LatencyToDecision:
    """What a network would say if it were stopped early."""

    accuracy: Any  #: float64 (steps,): fraction right after steps 0 ... t
    decided: Any  #: int64 (batch,): the first step from which the prediction stays


def footprint(network: Network) -> int:
    """Bytes of parameters and state: a potential per neuron, and what adapts it.

    NeuroBench's footprint is that of parameters and buffers, among them the inner state of
    spiking layers, and leaves activations out.
    """
    check_network(network)
    return _parameter_bytes(network) + _state_bytes(network)


def connection_sparsity(network: Network) -> float:
    """Weights that are zero, as a fraction of all; biases are no connections."""
    check_network(network)
    zeros = sum(int(np.count_nonzero(to_numpy(part.weight) == 0)) for part in _parts(network))
    return zeros / sum(part.n_inputs * part.n_neurons for part in _parts(network))


def activation_sparsity(result: Result) -> float:
    """Fraction of zeros over all hidden layers, steps and samples; 0 without a hidden layer."""
    check_result(result)
    places = sum(times.shape[0] * times.shape[1] for times in result.spike_times) * result.n_steps
    spikes = sum(int(to_numpy(count).sum()) for count in result.spike_counts)
    return 1 - spikes / places if places else 0.0


def synaptic_operations(
    network: Network, x: Any | SpikeTimes | Events, result: Result
) -> SynapticOperations:
    """Multiply-accumulates and accumulates that the inputs of each layer call for.

    An input other than zero meets every weight other than zero that leaves it. The first layer's
    are accumulates (AC) if all of `x` is -1, 0 or 1, and multiply-accumulates (MAC) otherwise; the
    others' inputs are spikes. Biases do not count. Each event of `Events` is an operation of its
    own, repeated ones too.

    Parameters
    ----------
    network : Network
    x : array (batch, neurons, time), SpikeTimes or Events
        The input.
    result : Result
        What `forward` gave for it.

    Raises
    ------
    ValueError
        If the three do not fit each other.

    Examples
    --------
    >>> import fastsnn_np
    >>> network = Network.random([3, 4, 2], seed=0)
    >>> x = SpikeTimes(np.array([[0, 2, 9]]), n_steps=9)
    >>> operations = synaptic_operations(network, x, fastsnn_np.forward(x, network))
    >>> operations.dense, operations.effective_acs[0, 0]
    (array([108,  72]), np.int64(8))
    """
    check_fit(network, result)
    shape = shape_of(x)
    if shape != (batch_of(result), network.sizes[0], result.n_steps):
        raise ValueError(
            f"x has (batch, neurons, time) {tuple(shape)}, and result is of "
            f"{(batch_of(result), network.sizes[0], result.n_steps)}: "
            "result must be forward(x, network)"
        )
    inputs, binary = entries_per_neuron(x)
    counts = [inputs, *[entries_per_neuron(spikes)[0] for spikes in result.spikes]]
    fan_out = [np.count_nonzero(to_numpy(part.weight), axis=0) for part in _parts(network)]
    done = np.stack([count @ n for count, n in zip(counts, fan_out, strict=True)], axis=1)
    done = done.astype(np.int64)
    multiplied = np.zeros_like(done)
    if not binary:
        multiplied[:, 0] = done[:, 0]
    dense = [result.n_steps * part.n_inputs * part.n_neurons for part in _parts(network)]
    return SynapticOperations(np.array(dense), multiplied, done - multiplied)


def membrane_updates(network: Network, result: Result) -> Any:
    """How often potentials are computed, int64 (batch, layers), the readout last.

    A neuron that fires once needs no further update when it has; NeuroBench, whose neurons go on,
    counts changes at every step. All other neurons and the readout are updated at every step.
    """
    check_fit(network, result)
    hidden = []
    for layer, times in zip(network.layers, result.spike_times, strict=True):
        updates = np.minimum(to_numpy(times) + 1, result.n_steps)
        if layer.neuron.fires == "always":
            updates[...] = result.n_steps
        hidden.append(updates.sum(axis=1, dtype=np.int64))
    batch, classes = batch_of(result), network.readout.n_neurons
    return np.stack([*hidden, np.full(batch, result.n_steps * classes, np.int64)], axis=1)


def access_energy(n_bytes: float) -> float:
    """pJ to read or write 32 bits in the smallest memory of `ACCESS_PJ` that holds `n_bytes`."""
    n_bytes = not_negative("n_bytes", n_bytes)
    return next(cost for size, cost in ACCESS_PJ.items() if n_bytes <= size)


def energy(
    network: Network,
    operations: SynapticOperations,
    updates: Any,
    *,
    mac: float = 4.6,
    ac: float = 0.9,
    weight_access: float | None = None,
    state_access: float | None = None,
) -> Energy:
    """An estimate of the energy per sample in a 45 nm chip with 32-bit floats.

    Counts of operations alone flatter a sparse network: fetching a weight costs more than adding
    it. So memory is a term of its own. Assumed are: a synaptic operation reads a weight, and reads
    and writes the current it adds to; an update of a membrane is one MAC, reads beta, and reads
    and writes the potential. There is no cache, no reuse of a weight between samples, and no cost
    of control or of moving spikes.

    Parameters
    ----------
    network : Network
        For its size; parameters count as 32 bits each.
    operations : SynapticOperations
        The operations from `synaptic_operations`.
    updates : integer array (batch, layers)
        The updates from `membrane_updates`.
    mac, ac : float
        pJ of a multiply-accumulate (3.7 + 0.9) and of an addition: Horowitz, "Computing's energy
        problem (and what we can do about it)", ISSCC 2014.
    weight_access, state_access : float, optional
        pJ to access 32 bits of the parameters, and of currents and potentials. Unless given, that
        of the smallest memory that holds them all, see `ACCESS_PJ`.

    Returns
    -------
    Energy

    Raises
    ------
    ValueError
        If operations and updates are not of this network, or an energy is negative.

    Examples
    --------
    >>> operations = SynapticOperations(np.array([8]), np.array([[0]]), np.array([[2]]))
    >>> energy(Network.random([4, 2], seed=0), operations, np.array([[1]]))
    Energy(synapses=1.8, membranes=4.6, memory=45.0)
    """
    mac, ac = not_negative("mac", mac, "pJ"), not_negative("ac", ac, "pJ")
    if not isinstance(operations, SynapticOperations):
        raise TypeError(
            f"operations must be what synaptic_operations gives, got {type(operations).__name__}"
        )
    updates = check_operations(network, operations, updates)
    scale = 4 / np.dtype(to_numpy(network.readout.weight).dtype).itemsize
    if weight_access is None:
        weight_access = access_energy(round(_parameter_bytes(network) * scale))
    weight_access = not_negative("weight_access", weight_access, "pJ")
    if state_access is None:
        state_access = access_energy(round(2 * _state_bytes(network) * scale))
    state_access = not_negative("state_access", state_access, "pJ")
    macs = float(operations.effective_macs.sum(axis=1).mean())
    acs = float(operations.effective_acs.sum(axis=1).mean())
    updated = float(updates.sum(axis=1).mean())
    accesses = (macs + acs + updated) * (weight_access + 2 * state_access)
    return Energy(macs * mac + acs * ac, updated * mac, accesses)


def latency_to_decision(
    network: Network,
    x: Any | SpikeTimes | Events,
    labels: Any,
    *,
    backend: str = "numba",
    batch_size: int = 256,
) -> LatencyToDecision:
    """Accuracy against the steps seen, and when each prediction settles.

    The prediction after step t is the largest sum, or maximum, of the potential up to t.

    Parameters
    ----------
    network : Network
    x : array (batch, neurons, time), SpikeTimes or Events
    labels : integer array (batch,)
    backend : str
        As in `forward`.
    batch_size : int
        Samples at a time: potentials of every layer and step are held for these.

    Raises
    ------
    ValueError
        If there is not one label per sample, no sample, or a label that is none of the classes.
    """
    run = prepare(network, backend=backend, return_potential=True)
    batch_size = whole("batch_size", batch_size)
    count = shape_of(x).batch
    labels = class_numbers("labels", labels, network.readout.n_neurons)
    if labels.shape != (count,) or count == 0:
        raise ValueError(
            f"one label for each sample: x has {count} samples and labels have shape {labels.shape}"
        )
    pool = np.maximum.accumulate if network.readout.kind == "max" else np.cumsum
    weights = (network.readout.gamma or 1.0) ** np.arange(shape_of(x).steps)
    right: Any = 0
    decided = []
    for start in range(0, count, batch_size):
        part = slice(start, start + batch_size)
        potentials = run(x[part]).potentials
        assert potentials is not None
        # one step after another, as the engine adds: pairwise sums would break ties another way
        potential = to_numpy(potentials[-1])
        said = pool(potential * weights.astype(potential.dtype), axis=2).argmax(axis=1)
        right = right + (said == labels[part, None]).sum(axis=0)
        other = said != said[:, -1:]
        last = said.shape[1] - np.argmax(other[:, ::-1], axis=1)
        decided.append(np.where(other.any(axis=1), last, 0))
    return LatencyToDecision(right / count, np.concatenate(decided))


def confusion_matrix(labels: Any, predictions: Any, n_classes: int) -> Any:
    """How often a class, the row, was taken for another, the column: int64 (classes, classes).

    Raises
    ------
    ValueError
        If the two differ in length or leave 0 ... n_classes - 1.
    TypeError
        If they are no integers.

    Examples
    --------
    >>> confusion_matrix([0, 1, 1], [0, 1, 0], 2)
    array([[1, 0],
           [1, 1]])
    """
    n_classes = whole("n_classes", n_classes)
    pair = [
        class_numbers("labels", labels, n_classes),
        class_numbers("predictions", predictions, n_classes),
    ]
    if pair[0].shape != pair[1].shape or pair[0].ndim != 1:
        raise ValueError(f"one prediction for each label, got {pair[0].shape} and {pair[1].shape}")
    with room_for("counts", n_classes, n_classes):
        flat = pair[0] * n_classes + pair[1]
        return np.bincount(flat, minlength=n_classes**2).reshape(n_classes, n_classes)


def spike_reduction(ours: Result | Any, standard: Result | Any) -> float:
    """Spikes that neurons firing once save, as a fraction of the standard network's.

    Parameters
    ----------
    ours, standard : Result or array
        The same samples through both networks: a result, or numbers of spikes in any shape.

    Raises
    ------
    ValueError
        If the standard network is silent, a number of spikes is negative or not finite, or the
        two are results of different numbers of samples.

    Examples
    --------
    >>> spike_reduction([10, 20], [50, 70])
    0.75
    """
    if isinstance(ours, Result) and isinstance(standard, Result):
        pair = batch_of(ours), batch_of(standard)
        if pair[0] != pair[1]:
            raise ValueError(f"ours has {pair[0]} samples and standard {pair[1]}: the same ones")
    before = _spikes("standard", standard)
    if before == 0:
        raise ValueError("the standard network has no spike, so there is none to save")
    return 1 - _spikes("ours", ours) / before


def _spikes(name: str, of: Any) -> float:
    counts = of.spike_counts if isinstance(of, Result) else (of,)
    total = 0.0
    for count in map(to_numpy, counts):
        check_real(name, count.dtype, np)
        if not (np.isfinite(count).all() and (count >= 0).all()):
            raise ValueError(f"{name} must be numbers of spikes, 0 or more and finite")
        total += float(count.sum(dtype=np.float64))
    return total


def _parts(network: Network) -> tuple[Layer | Readout, ...]:
    return (*network.layers, network.readout)


def _parameter_bytes(network: Network) -> int:
    arrays = [array for part in _parts(network) for array in arrays_of(part).values()]
    return sum(to_numpy(array).nbytes for array in arrays)


def _state_bytes(network: Network) -> int:
    itemsize = np.dtype(to_numpy(network.readout.weight).dtype).itemsize
    adapting = [layer.n_neurons for layer in network.layers if layer.neuron.adapts]
    return sum([*network.sizes[1:], *adapting]) * int(itemsize)
