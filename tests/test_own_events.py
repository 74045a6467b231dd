"""Events of one's own: from times in any unit, in longer steps, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastsnn_np import Events, SpikeTimes
from fastsnn_np.datasets import ToEvents, collate, events_from_structured

PER_MS = {"s": 1e-3, "ms": 1.0, "us": 1e3, "ns": 1e6}


def random_events(rng, count=200, *, values=True):
    numbers = [rng.integers(0, n, count) for n in (30, 7, 4)]
    sizes = rng.standard_normal(count) if values else None
    return Events.from_arrays(*numbers, n_neurons=7, n_steps=30, n_samples=5, values=sizes)


@pytest.mark.parametrize("unit", PER_MS)
@pytest.mark.parametrize("dt", [0.1, 0.3, 1.0, 2.5])
def test_a_time_on_an_edge_is_in_the_step_that_begins_there(unit, dt):
    k = np.arange(300)
    times = np.array([float(f"{n * dt:.6f}") for n in k]) * PER_MS[unit]
    for dtype in (np.float32, np.float64):
        events = Events.from_times(times.astype(dtype), k % 5, dt=dt, time_unit=unit)
        assert events.shape == (1, 5, 300)
        assert (np.diff(events.indptr[0]) == 1).all()
    assert Events.from_times(times, k % 5, dt=dt, time_unit=unit, n_steps=300).n_events == 300


@given(
    seed=st.integers(0, 2**32 - 1),
    start=st.sampled_from(["zero", "first", 2, 2.5]),
    sorted_=st.booleans(),
    dtype=st.sampled_from([np.int64, np.uint16, np.float64, np.float32]),
)
@settings(max_examples=60)
def test_the_same_as_recordings_one_by_one(seed, start, sorted_, dtype):
    """`events_from_structured` is the other way in, with an array per sample."""
    rng = np.random.default_rng(seed)
    sample = rng.integers(0, 6, 300)
    if sorted_:
        sample.sort()
    t = rng.uniform(3, 20, 300).astype(dtype)
    neuron = rng.integers(0, 9, 300)
    options = {"dt": 0.7, "n_steps": 40, "time_unit": "ms", "start": start}
    fields = [("t", dtype), ("x", np.int64)]
    parts = []
    for i in range(6):
        part = np.zeros((sample == i).sum(), fields)
        part["t"], part["x"] = t[sample == i], neuron[sample == i]
        parts.append(part)
    expected = events_from_structured(parts, sensor_size=(9, 1), binary=False, **options)
    events = Events.from_times(t, neuron, sample, n_neurons=9, n_samples=6, **options)
    np.testing.assert_array_equal(events.indptr, expected.indptr)
    np.testing.assert_array_equal(events.indices, expected.indices)
    shortest = Events.from_times(t, neuron, sample, dt=0.7, start=start, n_neurons=9, n_samples=6)
    last = max(np.flatnonzero(np.diff(expected.indptr, axis=1).any(axis=0)))
    assert shortest.n_steps == last + 1
    np.testing.assert_array_equal(shortest.indptr, expected.indptr[:, : last + 2])


def test_values_stay_with_their_events(rng):
    step, neuron, sample = (rng.integers(0, n, 400) for n in (20, 6, 3))
    values = rng.standard_normal(400)
    options = {"n_neurons": 6, "n_steps": 20, "values": values}
    events = Events.from_times(step + 0.5, neuron, sample, dt=1.0, **options)
    expected = Events.from_arrays(step, neuron, sample, **options)
    np.testing.assert_allclose(
        events.to_dense(dtype=np.float64), expected.to_dense(dtype=np.float64), rtol=1e-14
    )
    kept = Events.from_times(step + 0.5, neuron, sample, dt=1.0, n_steps=15, n_neurons=6,
                             values=values)  # fmt: skip
    np.testing.assert_allclose(
        kept.to_dense(dtype=np.float64), expected.to_dense(dtype=np.float64)[..., :15], rtol=1e-14
    )


def test_sizes_that_are_not_given():
    events = Events.from_times([0.0, 9.99, 10.0], [0, 3, 1], [0, 2, 2], dt=1.0)
    assert events.shape == (3, 4, 11)
    assert Events.from_times([5.0], [0], dt=1.0, start="first").shape == (1, 1, 1)
    assert Events.from_times([], [], dt=1.0, n_neurons=3, n_samples=2).shape == (2, 3, 1)
    assert Events.from_times([1, 1], [0, 0], dt=1.0, binary=True).n_events == 1


def test_a_window_that_misses_the_events_is_told_where_it_was_asked_for():
    with pytest.warns(UserWarning, match="0 of 2 events fall into the 10 steps of 1 ms") as w:
        Events.from_times([5000.0, 6000.0], [0, 1], dt=1.0, n_steps=10)
    assert w[0].filename == __file__


def test_rebin(rng):
    for events in (random_events(rng), random_events(rng, values=False)):
        dense = events.to_dense(dtype=np.float64)
        for factor in (1, 4, 30, 31):
            steps = -(-30 // factor)
            padded = np.zeros((5, 7, steps * factor))
            padded[..., :30] = dense
            expected = padded.reshape(5, 7, steps, factor).sum(-1)
            found = events.rebin(factor).to_dense(dtype=np.float64)
            np.testing.assert_allclose(found, expected, atol=1e-13)
    clipped = events.rebin(4, binary=True)
    np.testing.assert_array_equal(clipped.to_dense(), events.rebin(4).to_dense() > 0)


def test_rebinned_times_are_times_of_longer_steps(rng):
    t = rng.integers(0, 1000, 500)
    neuron = rng.integers(0, 9, 500)
    fine, coarse = (Events.from_times(t, neuron, dt=dt, time_unit="us") for dt in (0.001, 0.005))
    np.testing.assert_array_equal(fine.rebin(5).to_dense(), coarse.to_dense())


def test_spike_times_rebinned_on_any_library(lib):
    spikes = SpikeTimes(lib.asarray(np.arange(12).reshape(2, 6)), 11)
    rebinned = spikes.rebin(4)
    assert rebinned.n_steps == 3
    assert rebinned.times.dtype == spikes.times.dtype
    expected = np.array([[0, 0, 0, 0, 1, 1], [1, 1, 2, 2, 2, 3]])
    np.testing.assert_array_equal(lib.to_numpy(rebinned.times), expected)


def test_samples_one_by_one(rng):
    events = random_events(rng)
    dense = events.to_dense()
    samples = list(events)
    assert [len(sample) for sample in samples] == [1] * 5
    for sample, expected in zip(samples, dense, strict=True):
        np.testing.assert_array_equal(sample.to_dense()[0], expected)
    spikes = SpikeTimes(np.array([[0, 2], [3, 3]]), 3)
    assert [sample.times.tolist() for sample in spikes] == [[[0, 2]], [[3, 3]]]
    assert list(events[:0]) == []


def test_what_is_said_of_spikes(lib, rng):
    spikes = SpikeTimes(lib.asarray(np.array([[0, 5, 9], [9, 9, 9]])), 9)
    name = "numpy" if lib.name == "numpy" else lib.name.split("-")[0]
    said = repr(spikes)
    assert said.startswith("SpikeTimes(2 samples of 3 neurons and 9 steps: 2 spikes, ")
    assert name.replace("strict", "array_api_strict") in said
    assert said.endswith("1.0 per sample, density 3.70%; 24 bytes)")
    events = Events.from_arrays([0], [1], n_neurons=2, n_steps=10, values=[2.0])
    assert repr(events) == (
        "Events(1 sample of 2 neurons and 10 steps: 1 event with float64 values, 1.0 per sample, "
        "density 5.00%; 100 bytes)"
    )
    assert repr(events[:0]).startswith("Events(0 samples of 2 neurons and 10 steps: 0 events")
    many = Events.from_arrays(*rng.integers(0, 100, (2, 10**5)), n_neurons=100, n_steps=100)
    assert "100,000 events, 100,000.0 per sample" in repr(many)
    assert "400.8 kB" in repr(many)


RECORDING = np.array(
    [(1, 2, 1500, 1), (0, 0, 200, 0), (1, 2, 1700, 0)],
    [("x", np.int64), ("y", np.int64), ("t", np.int64), ("p", np.int64)],
)


def test_a_recording_as_a_transform():
    for polarities in ("merged", "both"):
        options = {"dt": 1.0, "n_steps": 3, "polarities": polarities}
        expected = events_from_structured([RECORDING], sensor_size=(2, 3, 2), **options)
        events = ToEvents((2, 3, 2), **options)(RECORDING)
        np.testing.assert_array_equal(events.to_dense(), expected.to_dense())
    with pytest.raises(ValueError, match=r"sensor_size must be \(width, height\)"):
        ToEvents((2,), dt=1.0, n_steps=3)
    with pytest.raises(ValueError, match="dt must be positive"):
        ToEvents((2, 3), dt=0, n_steps=3)


def test_samples_as_a_batch():
    to_events = ToEvents((2, 3), dt=1.0, n_steps=3)
    x, labels = collate([(to_events(RECORDING), 4), (to_events(RECORDING[:1]), np.int32(2))])
    assert (len(x), labels.tolist(), labels.dtype) == (2, [4, 2], np.int64)
    np.testing.assert_array_equal(x[1:].to_dense(), to_events(RECORDING[:1]).to_dense())
    spikes = SpikeTimes(np.array([[0, 3]]), 3)
    assert collate([(spikes, 1)] * 3)[0].times.shape == (3, 2)


@pytest.mark.parametrize(
    ("samples", "error", "words"),
    [
        ([], ValueError, "at least one"),
        (5, TypeError, "samples must be a sequence"),
        ([RECORDING], TypeError, r"samples\[0\] must be \(spikes, label\)"),
        ([(RECORDING, 1)], TypeError, r"samples\[0\] must hold Events or SpikeTimes"),
        ([(SpikeTimes(np.zeros((1, 2), int), 3), 0.5)], TypeError, r"label of samples\[0\]"),
        ([(SpikeTimes(np.zeros((1, 2), int), 3), [1])], TypeError, r"label of samples\[0\]"),
        (
            [(SpikeTimes(np.zeros((1, 2), int), n), 1) for n in (3, 4)],
            ValueError,
            "same neurons and steps",
        ),
    ],
)
def test_samples_that_are_no_batch(samples, error, words):
    with pytest.raises(error, match=words):
        collate(samples)
