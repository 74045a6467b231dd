"""Dense arrays, SpikeTimes and Events: exact conversions both ways, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastsnn_np import Events, SpikeTimes

SHAPES = st.tuples(st.integers(0, 4), st.integers(1, 6), st.integers(1, 20))


@given(shape=SHAPES, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_spike_times_round_trip(shape, seed):
    batch, neurons, steps = shape
    times = np.random.default_rng(seed).integers(0, steps + 1, (batch, neurons))
    spikes = SpikeTimes(times, steps)
    assert spikes.times.dtype == np.int32
    dense = spikes.to_dense()
    assert dense.sum() == (times < steps).sum()
    np.testing.assert_array_equal(SpikeTimes.from_dense(dense).times, times)
    np.testing.assert_array_equal(spikes.to_events().to_dense(), dense)


@given(
    dense=hnp.arrays(
        np.float32,
        SHAPES,
        elements=st.sampled_from([0.0, 0.0, 0.0, 1.0, -2.5, 0.1]),
    )
)
@settings(max_examples=50)
def test_events_round_trip(dense):
    events = Events.from_dense(dense)
    assert events.n_events == np.count_nonzero(dense)
    np.testing.assert_array_equal(events.to_dense(), dense)


def test_events_are_dense_on_any_library(lib, rng):
    step, neuron, sample = (rng.integers(0, n, 60) for n in (9, 4, 3))
    values = rng.standard_normal(60)
    events = Events.from_arrays(
        step, neuron, sample, n_neurons=4, n_steps=9, n_samples=3, values=values
    )
    expected = np.zeros((3, 4, 9))
    np.add.at(expected, (sample, neuron, step), values)
    like = lib.asarray(np.zeros(1))
    dense = events.to_dense(like, dtype=like.dtype)
    np.testing.assert_allclose(lib.to_numpy(dense), expected, rtol=1e-6)
    counts = Events.from_arrays(step, neuron, sample, n_neurons=4, n_steps=9, n_samples=3)
    np.add.at(expected := np.zeros((3, 4, 9)), (sample, neuron, step), 1)
    np.testing.assert_array_equal(lib.to_numpy(counts.to_dense(like)), expected)
    empty = Events.from_arrays([], [], n_neurons=4, n_steps=9, n_samples=2)
    assert not lib.to_numpy(empty.to_dense(like)).any()


def test_spike_times_are_dense_on_any_library(lib):
    times = np.array([[0, 2, 3]])
    dense = SpikeTimes(lib.asarray(times), 3).to_dense()
    np.testing.assert_array_equal(lib.to_numpy(dense), [[[1, 0, 0], [0, 0, 1], [0, 0, 0]]])
    np.testing.assert_array_equal(lib.to_numpy(SpikeTimes.from_dense(dense).times), times)


def test_repeated_events_add_or_are_clipped():
    given_twice = {"step": [3, 3, 0], "neuron": [1, 1, 0], "n_neurons": 2, "n_steps": 4}
    assert Events.from_arrays(**given_twice).to_dense()[0, 1, 3] == 2
    clipped = Events.from_arrays(**given_twice, binary=True)
    assert clipped.n_events == 2
    assert clipped.to_dense()[0, 1, 3] == 1


def test_slices_of_samples(rng):
    dense = (rng.random((6, 4, 9)) < 0.2) * rng.standard_normal((6, 4, 9))
    events = Events.from_dense(dense)
    for part in (slice(0, 2), slice(2, 5), slice(5, 99), slice(3, 3)):
        assert len(events[part]) == len(dense[part])
        np.testing.assert_array_equal(events[part].to_dense(dtype=np.float64), dense[part])


@pytest.mark.parametrize("samples", [[4, 0, 4, 2], [], np.array([5], np.uint8), range(6)])
def test_samples_by_number(rng, samples):
    dense = (rng.random((6, 4, 9)) < 0.2) * rng.standard_normal((6, 4, 9))
    dense[4] = 0  # a sample without events
    for x in (dense, (dense != 0).astype(float)):
        taken = Events.from_dense(x).take(samples)
        np.testing.assert_array_equal(taken.to_dense(dtype=np.float64), x[np.asarray(samples, int)])
        Events(taken.indptr, taken.indices, taken.n_neurons, taken.values)  # checked anew
        assert (taken.indptr.dtype, taken.indices.dtype) == (np.int64, np.int32)


def test_spike_times_by_number_on_any_library(lib):
    spikes = SpikeTimes(lib.asarray(np.arange(12).reshape(4, 3)), 12)
    for samples in ([3, 0, 3], [], np.array([1], np.uint8)):
        taken = spikes.take(samples)
        expected = np.arange(12).reshape(4, 3)[np.asarray(samples, int)]
        np.testing.assert_array_equal(lib.to_numpy(taken.times), expected)
        assert taken.times.dtype == spikes.times.dtype
        assert taken.n_steps == 12


@pytest.mark.parametrize(
    ("samples", "error", "words"),
    [
        ([6], IndexError, r"0 \.\.\. 5, got 6 to 6"),
        ([-1], IndexError, "got -1 to -1"),
        ([0.5], TypeError, "integers along one axis, got dtype float64"),
        ([True, False], TypeError, "got dtype bool"),
        (3, TypeError, r"shape \(\)"),
    ],
)
def test_bad_sample_numbers(samples, error, words):
    spikes = SpikeTimes(np.zeros((6, 2), int), 3)
    for x in (spikes, spikes.to_events()):
        with pytest.raises(error, match=words):
            x.take(samples)


OK = {"indptr": np.array([[0, 1, 2]]), "indices": np.array([0, 1]), "n_neurons": 2}

BAD_EVENTS = [
    ({"indptr": np.array([[0, 2, 1]])}, ValueError, "must rise"),
    ({"indptr": np.array([[0, 5, 2]], np.uint64)}, ValueError, "must rise"),
    ({"indptr": np.array([[1, 1, 2]])}, ValueError, "must rise"),
    ({"indptr": np.array([[0, 1, 3]])}, ValueError, "number of events, 2"),
    ({"indptr": np.array([[0, 1, 1], [2, 2, 2]])}, ValueError, "from the end of each row"),
    ({"indptr": np.array([0, 1, 2])}, ValueError, r"shape \(batch, n_steps \+ 1\)"),
    ({"indptr": np.array([[0]])}, ValueError, "n_steps >= 1"),
    ({"indptr": np.zeros((0, 3), int)}, ValueError, "no sample and 2 events"),
    ({"indptr": np.array([[0.0, 1.0, 2.0]])}, TypeError, "must be integers"),
    ({"indices": np.array([0, 2])}, ValueError, r"0 \.\.\. 1, got 0 to 2"),
    ({"indices": np.array([-1, 1])}, ValueError, "got -1 to 1"),
    ({"indices": np.array([0.5, 1])}, TypeError, "must be integers"),
    ({"indices": [0, 1]}, TypeError, "NumPy array, got list"),
    ({"indices": np.array([[0, 1]])}, ValueError, "one axis"),
    ({"n_neurons": 0}, ValueError, "at least 1"),
    ({"values": np.array([1.0])}, ValueError, "one value per event"),
    ({"values": np.array([1.0, np.nan])}, ValueError, r"values\[1\] is nan"),
    ({"values": np.array([1, 2])}, TypeError, "float32 or float64"),
]


@pytest.mark.parametrize(("change", "error", "words"), BAD_EVENTS, ids=range(len(BAD_EVENTS)))
def test_bad_events(change, error, words):
    Events(**OK)
    with pytest.raises(error, match=words):
        Events(**{**OK, **change})


BAD_ARRAYS = [
    ({"step": [0, 9]}, "step must lie in 0 ... 3, got 0 to 9"),
    ({"step": [-1, 0]}, "step must lie in"),
    ({"neuron": [0, 5]}, "neuron must lie in 0 ... 1"),
    ({"sample": [0, 3], "n_samples": 2}, "sample must lie in 0 ... 1"),
    ({"neuron": [0]}, "one value per event"),
    ({"n_steps": 0}, "n_steps must be a whole number of at least 1"),
    ({"binary": True, "values": [1.0, 2.0]}, "give no values"),
    ({"values": [1.0]}, r"one value per event, 2, got shape \(1,\)"),
    ({"values": [1.0, 2.0, 3.0]}, r"one value per event, 2, got shape \(3,\)"),
]


@pytest.mark.parametrize(("change", "words"), BAD_ARRAYS, ids=range(len(BAD_ARRAYS)))
def test_bad_event_arrays(change, words):
    with pytest.raises(ValueError, match=words):
        Events.from_arrays(
            **{"step": [0, 1], "neuron": [0, 1], "n_neurons": 2, "n_steps": 4, **change}
        )


BAD_TIMES = [
    (np.array([[-1]]), 5, ValueError, r"0 \.\.\. n_steps = 5 .* got -1"),
    (np.array([[6]]), 5, ValueError, "got 6 to 6"),
    (np.array([0]), 5, ValueError, r"axes \(batch, neurons\)"),
    (np.array([[0.0]]), 5, TypeError, "integer steps"),
    (np.array([[0]]), 0, ValueError, "n_steps"),
    ([[0]], 5, TypeError, "must be an array"),
]


@pytest.mark.parametrize(("times", "steps", "error", "words"), BAD_TIMES, ids=range(len(BAD_TIMES)))
def test_bad_spike_times(times, steps, error, words):
    with pytest.raises(error, match=words):
        SpikeTimes(times, steps)


def test_spike_times_refuse_trains_that_fire_twice():
    with pytest.raises(ValueError, match="more than once: use Events"):
        SpikeTimes.from_dense(np.ones((1, 1, 2)))
    with pytest.raises(ValueError, match="size 1: use Events"):
        SpikeTimes.from_dense(np.full((1, 1, 1), 2.0))
    with pytest.raises(ValueError, match="one time step"):
        Events.from_dense(np.ones((1, 2, 0)))
