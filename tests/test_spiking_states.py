"""A recording of neurons that fire again and again, in chunks: to the bit what the whole gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from networks import NAMED
from neurons import KINDS, ONCE, network_of, train_of

import fastsnn_np as fs

CUTS = [0, 1, 2, 9, 10, 22, 30]
WHICH = range(0, len(KINDS), 5)  # every reset, place, period and adaptation is among them


def chunks_of(x):
    return [x[..., a:b] for a, b in zip(CUTS[:-1], CUTS[1:], strict=True)]


def as_train(spikes, to_numpy):
    dense = spikes.to_dense() if isinstance(spikes, (fs.SpikeTimes, fs.Events)) else spikes
    return to_numpy(dense) > 0


def compared(results, whole, to_numpy, exact=True):
    """Hold the results of chunks against that of the whole; in each layer, if all is `exact`."""
    same = np.testing.assert_array_equal if exact else np.testing.assert_allclose
    last = results[-1].state
    assert last.step == whole.state.step == CUTS[-1]
    assert last.neurons == whole.state.neurons
    for i, spikes in enumerate(whole.spikes):
        train = np.concatenate([as_train(r.spikes[i], to_numpy) for r in results], axis=-1)
        np.testing.assert_array_equal(train, as_train(spikes, to_numpy))
        assert train.any()
        counts = sum(to_numpy(r.spike_counts[i]) for r in results)
        np.testing.assert_array_equal(counts, to_numpy(whole.spike_counts[i]))
    for ours, theirs in zip(last.spike_times, whole.state.spike_times, strict=True):
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))
    for ours, theirs in zip(last.potentials[:-1], whole.state.potentials[:-1], strict=True):
        same(to_numpy(ours), to_numpy(theirs))
    for name in ("adaptation", "delayed"):
        for ours, theirs in zip(getattr(last, name), getattr(whole.state, name), strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))
    np.testing.assert_allclose(to_numpy(last.logits), to_numpy(whole.logits), rtol=1e-9)


@pytest.mark.parametrize("backend", NAMED, indirect=True)
@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("form", ["dense", "events"])
def test_chunks_are_the_whole(backend, which, form, rng):
    kinds = [KINDS[which], KINDS[which - 7]]
    readout = ("sum", "max", "weighted")[which % 3]
    more = {"recurrent": which % 10 == 0, "delay": 3 * (which % 2)}
    network = network_of(rng, kinds, readout=readout, **more)
    x = train_of(rng, 3, 12, CUTS[-1])
    cut = chunks_of(x)
    if form == "events":
        cut = [fs.Events.from_dense(chunk) for chunk in cut]
    whole = fs.forward(x, network, backend=backend, return_state=True)
    results = list(fs.stream(network, cut, backend=backend))
    compared(results, whole, fs.backends.get("numpy").asarray)


def test_in_any_library(lib, rng):
    if not lib.has_float64():
        pytest.skip("no float64")
    network = network_of(rng, [KINDS[4], KINDS[14]], recurrent=True, delay=30)
    x = train_of(rng, 3, 12, CUTS[-1])
    there = network.mapped(lib.asarray)
    whole = fs.forward(lib.asarray(x), there, return_state=True)
    results, state = [], None
    for chunk in chunks_of(x):
        results.append(fs.forward(lib.asarray(chunk), there, state=state, return_state=True))
        state = results[-1].state
    compared(results, whole, lib.to_numpy)


def test_among_neurons_that_fire_once(rng):
    """Their potential is computed by blocks, which cuts move: close, and all spikes the same."""
    network = network_of(rng, [ONCE, KINDS[8], ONCE], delay=5, readout="weighted")
    x = train_of(rng, 3, 12, CUTS[-1])
    whole = fs.forward(x, network, return_state=True)
    results = list(fs.stream(network, chunks_of(x), backend="numpy"))
    compared(results, whole, np.asarray, exact=False)
    free = fs.forward(x, network)
    for ours, theirs in zip(whole.spikes, free.spikes, strict=True):
        np.testing.assert_array_equal(as_train(ours, np.asarray), as_train(theirs, np.asarray))


def test_a_delay_line_longer_than_a_chunk(rng):
    """An input that arrives several chunks later."""
    layer = fs.Layer(np.full((1, 1), 3.0), neuron=fs.Neuron("always"), delay=np.array([7]))
    network = fs.Network([layer], fs.Readout(np.ones((1, 1))))
    x = np.zeros((1, 1, 12))
    x[0, 0, 1] = 1
    trains = [r.spikes[0] for r in fs.stream(network, np.split(x, 6, axis=-1), backend="numpy")]
    assert np.flatnonzero(np.concatenate(trains, axis=-1)[0, 0])[0] == 8


@pytest.fixture
def run(rng):
    """A network, its input, and its state after it."""
    network = network_of(rng, [KINDS[2], KINDS[4]], delay=3)
    x = train_of(rng, 2, 12, 20)
    return network, x, fs.forward(x, network, return_state=True).state


BAD = [
    ({"neurons": ()}, ValueError, "state is that of neurons of another kind"),
    ({"neurons": (KINDS[4], KINDS[2])}, ValueError, "state is that of neurons of another kind"),
    ({"neurons": 3}, ValueError, "state is that of neurons of another kind"),
    ({"adaptation": ()}, ValueError, r"state has adaptation of shapes \[None, None\], this run"),
    ({"adaptation": 3}, TypeError, "state.adaptation must be a tuple of arrays and None, got 3"),
    ({"adaptation": (1, 2)}, TypeError, "state.adaptation must be a tuple of arrays and None"),
    ({"delayed": (None, None)}, ValueError, r"state has delayed of shapes.*this run \[\(2, 12, 3"),
]


@pytest.mark.parametrize(("changes", "error", "words"), BAD, ids=range(len(BAD)))
def test_states_that_do_not_fit(run, changes, error, words):
    network, x, state = run
    with pytest.raises(error, match=words):
        fs.forward(x, network, state=replace(state, **changes))


def test_states_of_another_kind(run, rng):
    network, x, state = run
    single = fs.Network.random(network.sizes, seed=0, dtype=np.float64)
    with pytest.raises(ValueError, match="another kind"):
        fs.forward(x, single, state=state)
    with pytest.raises(ValueError, match="another kind"):
        fs.forward(x, network, state=fs.forward(x, single, return_state=True).state)
    narrow = tuple(None if w is None else w.astype(np.float32) for w in state.adaptation)
    with pytest.raises(TypeError, match="adaptation has dtype float32 and the network is float64"):
        fs.forward(x, network, state=replace(state, adaptation=narrow))
    bad = tuple(None if w is None else w * np.nan for w in state.adaptation)
    with pytest.raises(ValueError, match=r"state.adaptation\[0\] holds nan at index"):
        fs.forward(x, network, state=replace(state, adaptation=bad))
