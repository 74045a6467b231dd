"""Costs under NeuroBench's names, counted here one spike after another."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from neurons import network_of

import fastsnn_np as fs
from fastsnn_np import metrics
from fastsnn_np._namespace import to_numpy

SIZES = [12, 9, 7, 3]


def lively(**options):
    """A network that fires, and changes its mind."""
    return fs.Network.random(SIZES, seed=3, **options).mapped(
        lambda array: array * (4 if array.ndim == 2 else 1)
    )


@pytest.fixture
def network():
    network = lively()
    network.layers[0].weight[network.layers[0].weight > 0.6] = 0
    return network


@pytest.fixture
def x(rng):
    return rng.random((5, 12, 40)) < 0.3


def run(x, network):
    return fs.forward(x, network, backend="numpy")


def test_static(network):
    parameters = 12 * 9 + 9 * 7 + 7 * 3 + 2 * (9 + 7 + 3)  # weights, biases, betas
    assert metrics.footprint(network) == 4 * (parameters + 9 + 7 + 3)
    zeros = sum((part.weight == 0).sum() for part in (*network.layers, network.readout))
    assert zeros > 0
    assert metrics.connection_sparsity(network) == zeros / (12 * 9 + 9 * 7 + 7 * 3)


def test_activation_sparsity(network, x):
    result = run(x, network)
    trains = [fs.SpikeTimes(times, 40).to_dense() for times in result.spike_times]
    zeros = sum((train == 0).sum() for train in trains)
    assert metrics.activation_sparsity(result) == pytest.approx(zeros / sum(t.size for t in trains))
    bare = fs.Network.random([12, 3], seed=0)
    assert metrics.activation_sparsity(run(x, bare)) == 0


def counted(x, network, result):
    """Products other than zero, one (sample, layer, step, input, neuron) after another."""
    trains = [np.asarray(x), *(fs.SpikeTimes(t, 40).to_dense() for t in result.spike_times)]
    parts = (*network.layers, network.readout)
    return np.array(
        [
            [
                sum(
                    int(np.count_nonzero(part.weight * train[b, :, t]))
                    for t in range(train.shape[2])
                )
                for train, part in zip(trains, parts, strict=True)
            ]
            for b in range(len(x))
        ]
    )


@pytest.mark.parametrize(
    "form", ["bool", "signs", "events", "signed events", "times", "real", "values"]
)
def test_synaptic_operations(network, x, rng, form):
    dense = x.astype(np.float32)
    if form.startswith("sign"):
        dense *= rng.choice([-1, 1], x.shape)
    if form == "times":
        dense = fs.SpikeTimes(np.minimum(rng.integers(0, 80, (5, 12)), 40), 40).to_dense()
    if form in ("real", "values"):
        dense *= 0.5
    held = {
        "bool": lambda: x,
        "events": lambda: fs.Events.from_dense(dense),
        "signed events": lambda: fs.Events.from_dense(dense),
        "times": lambda: fs.SpikeTimes.from_dense(dense),
        "values": lambda: fs.Events.from_dense(dense),
    }.get(form, lambda: dense)()
    result = run(held, network)
    operations = metrics.synaptic_operations(network, held, result)
    np.testing.assert_array_equal(operations.dense, 40 * np.array([12 * 9, 9 * 7, 7 * 3]))
    expected = counted(dense, network, result)
    assert expected[:, 1:].any()
    real = form in ("real", "values")
    np.testing.assert_array_equal(operations.effective_macs[:, 0], expected[:, 0] * real)
    np.testing.assert_array_equal(operations.effective_acs[:, 0], expected[:, 0] * (not real))
    np.testing.assert_array_equal(operations.effective_acs[:, 1:], expected[:, 1:])
    assert not operations.effective_macs[:, 1:].any()


def test_repeated_events_are_operations(network):
    twice = fs.Events.from_arrays([3, 3], [1, 1], n_neurons=12, n_steps=40)
    operations = metrics.synaptic_operations(network, twice, run(twice, network))
    assert operations.effective_acs[0, 0] == 2 * np.count_nonzero(network.layers[0].weight[:, 1])


def test_membrane_updates(network, x):
    result = run(x, network)
    updates = metrics.membrane_updates(network, result)
    for layer, times in enumerate(result.spike_times):
        expected = [sum(min(t + 1, 40) for t in sample.tolist()) for sample in times]
        np.testing.assert_array_equal(updates[:, layer], expected)
        assert (times < 40).any()
    np.testing.assert_array_equal(updates[:, -1], 40 * 3)


def test_energy_by_hand():
    network = fs.Network.random([100, 20], seed=0)  # 2,040 parameters: 8,160 bytes, in 8 KB
    operations = metrics.SynapticOperations(
        np.array([2000]), np.array([[10], [20]]), np.array([[4], [8]])
    )
    updates = np.array([[100], [200]])
    estimate = metrics.energy(network, operations, updates)
    assert estimate.synapses == pytest.approx(15 * 4.6 + 6 * 0.9)
    assert estimate.membranes == pytest.approx(150 * 4.6)
    assert estimate.memory == pytest.approx((15 + 6 + 150) * (5 + 2 * 5))
    total = estimate.synapses + estimate.membranes + estimate.memory
    assert estimate.total == pytest.approx(total)
    own = metrics.energy(
        network, operations, updates, mac=1, ac=2, weight_access=640, state_access=0
    )
    assert (own.synapses, own.membranes, own.memory) == (15 + 12, 150, 171 * 640)


def test_a_larger_network_reads_from_a_larger_memory():
    costs = [metrics.access_energy(size) for size in (8192, 8193, 32769, 2**20, 2**20 + 1)]
    assert costs == [5, 10, 50, 50, 640]
    zeros = np.zeros((1, 1), int)
    narrow = fs.Network.random([100, 20], seed=0)
    wide = fs.Network.random([100, 20], seed=0, dtype=np.float64)  # counts as 32 bits too
    larger = fs.Network.random([100, 21], seed=0)
    figures = [
        metrics.energy(
            n, metrics.SynapticOperations(np.array([100 * n.sizes[1]]), zeros, zeros), zeros + 1
        ).memory
        for n in (narrow, wide, larger)
    ]
    assert figures == [15, 15, 20]


@pytest.mark.parametrize("kind", ["sum", "max"])
@pytest.mark.parametrize("batch_size", [8, 256])
def test_latency_to_decision(rng, kind, batch_size):
    """Against a run on the first t steps alone."""
    x = rng.random((50, 12, 40)) < rng.random((50, 1, 40)) ** 4  # now lively, now quiet
    network = lively(readout=kind)
    labels = run(x, network).prediction.copy()
    labels[0] = (labels[0] + 1) % 3
    latency = metrics.latency_to_decision(
        network, x, labels, backend="numpy", batch_size=batch_size
    )
    said = np.stack([run(x[..., : t + 1], network).prediction for t in range(40)], axis=1)
    np.testing.assert_allclose(latency.accuracy, (said == labels[:, None]).mean(axis=0))
    assert latency.accuracy[-1] == 0.98
    for row, decided in zip(said, latency.decided, strict=True):
        assert (row[decided:] == row[-1]).all()
        assert decided == 0 or row[decided - 1] != row[-1]
    assert latency.decided.max() > 0


def test_confusion_matrix(rng):
    labels, predictions = rng.integers(0, 4, (2, 50))
    matrix = metrics.confusion_matrix(labels, predictions, 5)
    for row in range(5):
        for column in range(5):
            assert matrix[row, column] == ((labels == row) & (predictions == column)).sum()
    assert matrix.sum() == 50 and not matrix[4].any()


def test_spike_reduction(network, x):
    result = run(x, network)
    fired = sum(int(count.sum()) for count in result.spike_counts)
    assert metrics.spike_reduction(result, [4 * fired]) == pytest.approx(0.75)
    assert metrics.spike_reduction(result, result) == 0


def test_bad_input(network, x):
    result = run(x, network)
    with pytest.raises(ValueError, match=r"result must be forward\(x, network\)"):
        metrics.synaptic_operations(network, x[:3], result)
    with pytest.raises(ValueError, match=r"5 samples and labels have shape \(4,\)"):
        metrics.latency_to_decision(network, x, np.zeros(4, int))
    with pytest.raises(ValueError, match="labels must lie in 0 ... 2, got 0 to 3"):
        metrics.confusion_matrix([0, 3], [0, 1], 3)
    with pytest.raises(ValueError, match="one prediction for each label"):
        metrics.confusion_matrix([0, 1, 2], [0, 1], 3)
    silent = dataclasses.replace(result, spike_counts=(np.zeros(5, int),))
    with pytest.raises(ValueError, match="the standard network has no spike"):
        metrics.spike_reduction(result, silent)


def test_plots():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    from fastsnn_np import plot

    figure = plot.confusion(np.array([[3, 1], [0, 4]]), ["cat", "dog"])
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.texts] == ["3", "1", "4"]
    assert axis.get_title(loc="left") == "87.5 % of 8 right"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["cat", "dog"]
    with pytest.raises(ValueError, match=r"\(classes, classes\), got \(2, 3\)"):
        plot.confusion(np.zeros((2, 3), int))
    latency = metrics.LatencyToDecision(np.array([0.25, 0.5, 1.0]), np.array([0, 2, 2, 1]))
    (axis,) = plot.latency_curve(latency, dt=2.0).axes
    settled, right = (line.get_xydata().tolist() for line in axis.lines)
    assert settled == [[2, 25], [4, 50], [6, 100]]
    assert right == [[2, 25], [4, 50], [6, 100]]


@pytest.mark.parametrize("engine", ["dense", "event"])
def test_neurons_that_fire_again_and_again(x, rng, engine):
    """All of their spikes are operations, and they are updated at every step."""
    kinds = [fs.Neuron("always", adaptation="current"), fs.Neuron(), fs.Neuron("always")]
    network = network_of(rng, kinds, readout="weighted")
    result = fs.forward(x, network, engine=engine)
    trains = [np.asarray(x)]
    for spikes in result.spikes:
        sparse = isinstance(spikes, (fs.SpikeTimes, fs.Events))
        trains.append(spikes.to_dense() if sparse else spikes)
    parts = (*network.layers, network.readout)
    operations = metrics.synaptic_operations(network, x, result)
    for i, (train, part) in enumerate(zip(trains, parts, strict=True)):
        fan_out = np.count_nonzero(part.weight, axis=0)
        expected = (train.sum(-1) * fan_out).sum(-1)
        np.testing.assert_array_equal(operations.effective_acs[:, i], expected)
    updates = metrics.membrane_updates(network, result)
    assert (updates[:, 0] == 40 * 20).all()
    assert (updates[:, 1] <= 40 * 9).all()
    assert (updates[:, 2:] == [40 * 17, 40 * 3]).all()
    weights = sum(part.weight.size + part.bias.size + part.beta.size for part in parts)
    more = 3 * 20 + 20 + 17  # rho, a and b, and the thresholds
    assert metrics.footprint(network) == 8 * (weights + more + 20 + 9 + 17 + 3 + 20)
    found = metrics.latency_to_decision(network, x, to_numpy(result.prediction), backend="numpy")
    assert found.accuracy[-1] == 1
