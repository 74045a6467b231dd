"""A recording in chunks of time, with carried state, is the whole recording."""

from __future__ import annotations

import numpy as np
import pytest
from networks import NAMED

import fastsnn_np as fs

CUTS = [0, 1, 40, 41, 105, 160]


def network_of(kind):
    network = fs.Network.random([12, 9, 7, 3], seed=3, readout=kind, dtype=np.float64)
    for layer in network.layers:
        layer.weight[:] *= 2
    return network


@pytest.mark.parametrize("backend", NAMED, indirect=True)
@pytest.mark.parametrize("kind", ["sum", "max"])
@pytest.mark.parametrize("form", ["dense", "events"])
def test_chunks_are_the_whole(backend, kind, form, rng):
    to_numpy = fs.backends.get("numpy").asarray
    network = network_of(kind)
    x = rng.random((5, 12, 160)) < 0.1
    whole = fs.forward(x, network, backend=backend, return_state=True, return_potential=True)
    cut = [x[:, :, a:b] for a, b in zip(CUTS[:-1], CUTS[1:], strict=True)]
    chunks = [fs.Events.from_dense(c) for c in cut] if form == "events" else cut
    results = list(fs.stream(network, chunks, backend=backend))
    last = results[-1]
    assert last.state.step == 160
    for ours, times in zip(last.state.spike_times, whole.spike_times, strict=True):
        times = to_numpy(times).astype(np.int64)
        expected = np.where(times < 160, times, -1)
        np.testing.assert_array_equal(to_numpy(ours), expected)
        assert (expected >= 0).any()
    np.testing.assert_allclose(to_numpy(last.logits), to_numpy(whole.logits), rtol=1e-10)
    np.testing.assert_array_equal(to_numpy(last.prediction), to_numpy(whole.prediction))
    for ours, expected in zip(last.state.potentials, whole.state.potentials, strict=True):
        np.testing.assert_allclose(to_numpy(ours), to_numpy(expected), atol=1e-12)
    counts = sum(to_numpy(r.spike_counts[0]) for r in results)
    np.testing.assert_array_equal(counts, to_numpy(whole.spike_counts[0]))


def test_in_any_library(lib, rng, tmp_path):
    if not lib.has_float64():
        pytest.skip("no float64")
    network_of("sum").save(tmp_path / "n.safetensors")
    x = rng.random((2, 12, 160)) < 0.1
    whole = fs.forward(lib.asarray(x), tmp_path / "n.safetensors")
    state = None
    for a, b in zip(CUTS[:-1], CUTS[1:], strict=True):
        result = fs.forward(
            lib.asarray(x[:, :, a:b]), tmp_path / "n.safetensors", state=state, return_state=True
        )
        state = result.state
    np.testing.assert_allclose(lib.to_numpy(state.logits), lib.to_numpy(whole.logits), rtol=1e-10)


@pytest.mark.parametrize("backend", NAMED, indirect=True)
def test_without_a_network(backend, rng):
    to_numpy = fs.backends.get("numpy").asarray
    x = 6 * rng.random((2, 3, 50))
    whole = to_numpy(fs.forward(x, backend=backend).spike_times[0])
    half = fs.forward(x[..., :20], backend=backend, return_state=True)
    rest = fs.forward(x[..., 20:], backend=backend, state=half.state)
    expected = np.where(whole < 50, whole, -1)
    np.testing.assert_array_equal(to_numpy(rest.state.spike_times[0]), expected)


def test_bad_states(rng):
    x = rng.random((2, 12, 20))
    state = fs.forward(x, network_of("sum"), return_state=True).state
    with pytest.raises(ValueError, match="layers and batch 1"):
        fs.forward(x[:1], network_of("sum"), state=state)
    with pytest.raises(ValueError, match="this run has 1 layers"):
        fs.forward(x, state=state)
    narrow = fs.forward(x, fs.Network.random([12, 1, 7, 3]), return_state=True).state
    with pytest.raises(ValueError, match=r"\[\(2, 1\), \(2, 7\), \(2, 3\)\]"):
        fs.forward(x, network_of("sum"), state=narrow)
    with pytest.raises(TypeError, match="that of a Result, got tuple"):
        fs.forward(x, network_of("sum"), state=(1, 2))
    with pytest.raises(ValueError, match="give no batch_size"):
        fs.forward(x, network_of("sum"), return_state=True, batch_size=1)


@pytest.mark.parametrize("backend", NAMED, indirect=True)
def test_a_state_has_the_potentials_of_the_last_step(backend):
    """Also where all neurons have fired long before, and spikes alone would need no more steps."""
    to_numpy = fs.backends.get("numpy").asarray
    network = fs.Network([fs.Layer(np.full((3, 2), 5.0))], fs.Readout(np.ones((2, 3))))
    x = np.zeros((4, 2, 30))
    x[:, 0, [1, 20]] = 1
    wanted = fs.forward(x, network, engine="dense", return_state=True).state.potentials[0]
    assert wanted.min() > 1
    for form in (x, fs.Events.from_dense(x)):
        state = fs.forward(form, network, backend=backend, return_state=True).state
        np.testing.assert_allclose(to_numpy(state.potentials[0]), wanted)
