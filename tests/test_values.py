"""Values taken for something else: each bad call is a row, and what NumPy gives is a number."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np import Events, SpikeTimes, agreement, augment, encoding, metrics
from fastsnn_np._forward import State
from fastsnn_np.datasets import events_from_structured
from fastsnn_np.encoding import random_spike_trains

V = np.ones((2, 3, 5))
X = SpikeTimes(np.array([[0, 2, 9, 4], [1, 1, 9, 9]]), 9)
EVENTS = X.to_events()
NETWORK = fs.Network.random([4, 3, 2], seed=0)
OTHER = fs.Network.random([4, 5, 2], seed=0)
RESULT = fs.forward(X, NETWORK, return_state=True)
STATE = RESULT.state
COUNTS = metrics.synaptic_operations(NETWORK, X, RESULT)
UPDATES = metrics.membrane_updates(NETWORK, RESULT)
RNG = np.random.default_rng(0)
W = np.ones((3, 4), np.float32)
RECORDING = np.array([(5, 1)], [("t", "i8"), ("x", "i2")])
BINNED = {"sensor_size": (2, 1), "dt": 1.0, "n_steps": 3, "time_unit": "ms"}
nan, inf = float("nan"), float("inf")
NO_NUMBERS = [np.ones(5), np.ones((3, 1)), nan, inf, -inf, None, "1", True, [1.0], 1j, 10**400]


def with_state(**changes):
    parts = {name: getattr(STATE, name) for name in ("step", "potentials", "spike_times", "logits")}
    return State(**{**parts, **changes})


def go_on(state):
    return fs.forward(X, NETWORK, state=state)


# A threshold array of the length of time would be compared step by step.
THRESHOLDS = [
    lambda value: fs.threshold(V, value),
    lambda value: fs.first_spike(V, value),
    lambda value: fs.first_spike_times(V, value),
    lambda value: fs.layer(V, beta=0.5, threshold=value),
    lambda value: fs.Layer(W, threshold=value),
    lambda value: fs.Network.random([4, 3, 2], threshold=value),
    lambda value: agreement.inside_bound(V, dtype=np.float32, threshold=value),
]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize("call", THRESHOLDS, ids=range(len(THRESHOLDS)))
def test_a_threshold_is_one_finite_number(call, value):
    with pytest.raises(ValueError, match="threshold must be a finite number, got "):
        call(value)


POSITIVE = [
    ("tau", lambda v: fs.beta_from_tau(v)),
    ("dt", lambda v: fs.beta_from_tau(1.0, v)),
    ("dt", lambda v: fs.Network((), fs.Readout(W), dt=v)),
    ("tau", lambda v: fs.Network.random([4, 2], tau=v)),
    ("tau_readout", lambda v: fs.Network.random([4, 2], tau_readout=v)),
    ("dt", lambda v: encoding.latency(V / 2, dt=v)),
    ("tau_eff", lambda v: encoding.latency(V / 2, tau_eff=v)),
    ("dt", lambda v: encoding.random_spike_trains(1, 2, 3, dt=v)),
    ("dt", lambda v: events_from_structured([RECORDING], **{**BINNED, "dt": v})),
    ("resistance", lambda v: fs.normalise(V, v_rest=0, v_threshold=1, resistance=v)),
]


@pytest.mark.parametrize("value", [0, -1.0, *NO_NUMBERS], ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize(("name", "call"), POSITIVE, ids=range(len(POSITIVE)))
def test_a_positive_number_is_one(name, call, value):
    with pytest.raises(ValueError, match=rf"{name} must be positive and finite.*got "):
        call(value)


BAD = [
    # numbers of things
    (lambda: fs.Network.random([3.7, 2.2]), ValueError, r"all whole numbers.*got \[3.7, 2.2\]"),
    (lambda: fs.Network.random(["4", 2]), ValueError, "whole numbers"),
    (lambda: fs.Network.random([True, 2]), ValueError, "whole numbers"),
    (lambda: fs.Network.random("42"), ValueError, "whole numbers"),
    (lambda: fs.Network.random(5), TypeError, "sizes must be a sequence"),
    (lambda: fs.Network.random(None), TypeError, "sizes must be a sequence"),
    (lambda: fs.Network.random([4, 2], dtype=int), TypeError, "numpy.float32 or numpy.float64"),
    (lambda: fs.Network.random([4, 2], dtype=np.float16), TypeError, "float32 or numpy.float64"),
    (lambda: fs.Network.random([4, 2], dtype=complex), TypeError, "float32 or numpy.float64"),
    (lambda: fs.Network.random([4, 2], dtype=None), TypeError, "float32 or numpy.float64"),
    (lambda: fs.Network.random([4, 2], dtype="soon"), TypeError, "float32 or numpy.float64"),
    (lambda: fs.Network(fs.Layer(W), fs.Readout(W)), TypeError, "sequence of Layer, got Layer"),
    (lambda: SpikeTimes(np.zeros((1, 2), int), 3.0), ValueError, "n_steps must be a whole"),
    (lambda: SpikeTimes(np.zeros((1, 2), int), True), ValueError, "n_steps must be a whole"),
    (lambda: SpikeTimes(np.full((1, 2), 2**32), 9), ValueError, "must lie in 0 ... n_steps = 9"),
    (lambda: Events(np.array([[0, 0]]), np.zeros(0, int), 3.5), ValueError, "n_neurons must be"),
    (lambda: Events(np.array([[0, 0]]), np.zeros(0, int), "3"), ValueError, "n_neurons must be"),
    (lambda: Events(np.array([[0, 0]]), np.zeros(0, int), True), ValueError, "n_neurons must be"),
    # indices beyond 32 bits, and pointers whose differences wrap around
    (
        lambda: Events(np.array([[0, 1]]), np.array([2**32 + 1]), 2**40),
        ValueError,
        r"at most 2\^31",
    ),
    (lambda: Events(np.array([[0, 1]]), np.array([2**32 + 1]), 5), ValueError, "must lie in 0 ..."),
    (
        lambda: Events(np.array([[0, 2**62, -(2**63), -(2**62), 0]]), np.zeros(0, int), 5),
        ValueError,
        "must rise from 0",
    ),
    (
        lambda: Events(np.array([[0, 2**63]], np.uint64), np.zeros(0, int), 5),
        ValueError,
        "must rise",
    ),
    (
        lambda: Events.from_arrays([0], [2**32], n_neurons=2**33, n_steps=2),
        ValueError,
        r"at most 2\^31",
    ),
    (
        lambda: Events.from_arrays([0], [0], [2**40], n_neurons=2**31, n_steps=2),
        ValueError,
        "more places than 64 bits",
    ),
    (
        lambda: Events.from_arrays([0], [0], n_neurons=2, n_steps=2, n_samples=1.5),
        ValueError,
        "n_samples must be a whole",
    ),
    (
        lambda: Events.from_arrays([0], [0], n_neurons=2, n_steps=2, binary="no"),
        TypeError,
        "binary must be True or False",
    ),
    # imaginary parts
    (lambda: fs.threshold(V * 1j), TypeError, "potential must hold real numbers, got .*complex"),
    (lambda: fs.first_spike(V * 1j), TypeError, "real numbers"),
    (lambda: fs.first_spike_times(V * 1j), TypeError, "real numbers"),
    (lambda: fs.phi(V * 1j), TypeError, "spikes must hold real numbers"),
    (lambda: fs.normalise(V * 1j, v_rest=0, v_threshold=1), TypeError, "current must hold real"),
    (lambda: fs.decay(V * 1j, beta=0.5), TypeError, "complex128"),
    (lambda: fs.decay(V, beta=np.full(3, 0.5 + 1j)), TypeError, "beta must hold real numbers"),
    (lambda: fs.decay(V, beta=0.5 + 1j), TypeError, "beta must be"),
    (
        lambda: fs.decay(V, beta=0.5, initial_potential=np.full(3, 1j)),
        TypeError,
        "initial_potential must hold real",
    ),
    (lambda: fs.currents(V, np.ones((2, 3)) * 1j), TypeError, "weight has dtype complex"),
    (lambda: fs.currents(V, np.ones((2, 3)), np.ones(2) * 1j), TypeError, "bias has dtype complex"),
    (lambda: fs.Layer(W * 1j), TypeError, "complex"),
    (lambda: fs.Layer(W, np.ones(3) * 1j), TypeError, "bias must hold real"),
    (lambda: fs.Layer(W, beta=np.full(3, 0.5 + 0j)), TypeError, "beta must hold real"),
    (lambda: fs.forward(np.ones((1, 4, 9)) * 1j, NETWORK), TypeError, "complex"),
    (lambda: fs.forward(np.ones((1, 4, 9)) * 1j), TypeError, "complex"),
    (lambda: Events.from_dense(V * 1j), TypeError, "x must hold real numbers"),
    (lambda: SpikeTimes.from_dense(V[..., :1] + 0j), TypeError, "x must hold real numbers"),
    (
        lambda: Events.from_arrays([0], [0], n_neurons=2, n_steps=2, values=[1j]),
        TypeError,
        "values must hold real",
    ),
    (lambda: EVENTS.to_dense(dtype=np.int8), TypeError, "floating dtype"),
    (lambda: encoding.latency(V[:, None] * 1j), TypeError, "complex"),
    (lambda: metrics.synaptic_operations(NETWORK, X.to_dense() * 1j, RESULT), TypeError, "real"),
    (lambda: metrics.spike_reduction([1j], [2]), TypeError, "real"),
    # numbers that are none
    (lambda: fs.decay(V, beta="0.5"), TypeError, "beta must be"),
    (lambda: fs.decay(V, beta=None), TypeError, "beta must be"),
    (lambda: fs.decay(V, beta=True), TypeError, "beta must be"),
    (lambda: fs.decay(V, beta=0.5, initial_potential=nan), ValueError, "initial_potential must be"),
    (
        lambda: fs.decay(V, beta=0.5, initial_potential=np.ones(4)),
        ValueError,
        r"must be a number or fit \(..., neurons\), \(2, 3\), got shape \(4,\)",
    ),
    (lambda: fs.decay(V, beta=0.5, method=["fft"]), ValueError, "one of 'block', 'fft'"),
    (lambda: fs.decay(V, beta=0.5, method=np.ones(2)), ValueError, "one of 'block', 'fft'"),
    (lambda: fs.normalise(V, v_rest=nan, v_threshold=1), ValueError, "v_rest must be a finite"),
    (lambda: fs.normalise(V, v_rest=0, v_threshold=inf), ValueError, "v_threshold must be a fin"),
    (
        lambda: fs.normalise(V, v_rest=0, v_threshold=1, v_initial=nan),
        ValueError,
        "v_initial must be a finite",
    ),
    (lambda: encoding.latency(V / 2, threshold=nan), ValueError, r"threshold must lie in \[0, 1\)"),
    (lambda: encoding.linear_latency(V / 2, window="1"), ValueError, "window must lie in"),
    (lambda: encoding.random_spike_trains(1.5, 2, 3), ValueError, "batch must be a whole"),
    (lambda: encoding.random_spike_trains(1, 2.5, 3), ValueError, "n_neurons must be a whole"),
    (lambda: encoding.random_spike_trains(1, 2, 3, rate=5), ValueError, "rate must satisfy"),
    (lambda: encoding.random_spike_trains(1, 2, 3, rate=(0, nan)), ValueError, "rate must satisfy"),
    (lambda: augment.shift(X, RNG, shape=(2.0, 2)), ValueError, "whole numbers of at least 1"),
    (lambda: augment.shift(X, RNG, shape=4), ValueError, "4 neurons are not images of shape 4"),
    (lambda: augment.shift(X, RNG, shape=(2, 2), pixels=2**40), ValueError, "pixels must be"),
    (lambda: augment.shift_channels(X, RNG, channels=True), ValueError, "channels must be"),
    (lambda: augment.drop(X, RNG, p="half"), ValueError, "p is a probability"),
    (lambda: augment.flip(X, RNG, shape=(2, 2), p=None), ValueError, "p is a probability"),
    # options
    (lambda: fs.forward(X, NETWORK, check_finite="no"), TypeError, "check_finite must be True or"),
    (lambda: fs.forward(X, NETWORK, return_potential=1), TypeError, "return_potential must be"),
    (lambda: fs.forward(X, NETWORK, progress="bar"), TypeError, "progress must be True or False"),
    (lambda: fs.prepare(NETWORK, backend="numpy", explain=0), TypeError, "explain must be True"),
    (lambda: fs.stream(NETWORK, [], backend="numpyy"), ValueError, "no backend 'numpyy'"),
    (lambda: fs.stream(NETWORK, [], backend="numpy", engine="fast"), ValueError, "engine must be"),
    (lambda: fs.stream(None, []), TypeError, "network must be"),
    # states
    (lambda: go_on(with_state(logits=STATE.logits[:1])), ValueError, r"of shape \(1, 2\); this"),
    (lambda: go_on(with_state(logits=None)), ValueError, "state has logits None; this run has"),
    (lambda: go_on(with_state(step=1.5)), ValueError, "state.step must be a whole"),
    (lambda: go_on(with_state(step=-1)), ValueError, "state.step must be a whole"),
    (
        lambda: go_on(with_state(potentials=tuple(v.astype(float) for v in STATE.potentials))),
        TypeError,
        "float64.*belongs to another network",
    ),
    (lambda: go_on(with_state(logits=STATE.logits * 1j)), TypeError, "belongs to another"),
    (lambda: go_on(with_state(potentials=STATE.potentials[:1])), ValueError, "this run has 2 lay"),
    (
        lambda: fs.forward(
            np.ones((2, 3, 4)),
            state=with_state(potentials=STATE.potentials[:1]),
        ),
        ValueError,
        "this run has no readout",
    ),
    # metrics of another network, of no class, of negative energies
    (lambda: metrics.synaptic_operations(OTHER, X, RESULT), ValueError, "the network expects"),
    (lambda: metrics.synaptic_operations(NETWORK, X[:1], RESULT), ValueError, "result must be for"),
    (
        lambda: metrics.synaptic_operations(NETWORK, SpikeTimes(X.times, 10), RESULT),
        ValueError,
        "x has .batch, neurons, time. .2, 4, 10., and result is of .2, 4, 9.",
    ),
    (lambda: metrics.membrane_updates(OTHER, RESULT), ValueError, "the network expects"),
    (lambda: metrics.membrane_updates(NETWORK, None), TypeError, "result must be what forward"),
    (lambda: metrics.membrane_updates(None, RESULT), TypeError, "network must be a fastsnn_np"),
    (
        lambda: metrics.membrane_updates(NETWORK, fs.forward(np.ones((2, 3, 4)))),
        ValueError,
        "result must be forward",
    ),
    (lambda: metrics.activation_sparsity(NETWORK), TypeError, "result must be what forward gives"),
    (lambda: metrics.footprint(RESULT), TypeError, "network must be a fastsnn_np.Network"),
    (lambda: metrics.connection_sparsity(RESULT), TypeError, "network must be a fastsnn_np.Net"),
    (lambda: metrics.energy(OTHER, COUNTS, UPDATES), ValueError, "operations are of another"),
    (lambda: metrics.energy(NETWORK, COUNTS, UPDATES[:1]), ValueError, r"\(batch, layers\)"),
    (lambda: metrics.energy(NETWORK, COUNTS, -UPDATES), ValueError, "must be 0 or more"),
    (lambda: metrics.energy(NETWORK, None, UPDATES), TypeError, "operations must be"),
    (lambda: metrics.energy(NETWORK, COUNTS, UPDATES, mac=-1), ValueError, r"mac must be 0 or mo"),
    (lambda: metrics.energy(NETWORK, COUNTS, UPDATES, ac=nan), ValueError, r"ac must be 0 or more"),
    (
        lambda: metrics.energy(NETWORK, COUNTS, UPDATES, weight_access=-5),
        ValueError,
        r"weight_access must be 0 or more and finite \(pJ\), got -5",
    ),
    (lambda: metrics.energy(NETWORK, COUNTS, UPDATES, state_access=inf), ValueError, "state_acc"),
    (lambda: metrics.access_energy(nan), ValueError, "n_bytes must be 0 or more"),
    (lambda: metrics.access_energy(-1), ValueError, "n_bytes must be 0 or more"),
    (lambda: metrics.confusion_matrix([0.5], [0], 2), TypeError, "labels must be integers"),
    (lambda: metrics.confusion_matrix([0], [1.0], 2), TypeError, "predictions must be integers"),
    (
        lambda: metrics.confusion_matrix([0], [2], 2),
        ValueError,
        r"predictions must lie in 0 \.\.\.",
    ),
    (lambda: metrics.confusion_matrix([0], [1], 2.0), ValueError, "n_classes must be a whole"),
    (
        lambda: metrics.latency_to_decision(NETWORK, X, [0, 2], backend="numpy"),
        ValueError,
        r"labels must lie in 0 \.\.\. 1, got 0 to 2",
    ),
    (
        lambda: metrics.latency_to_decision(NETWORK, X, [0.0, 1.0], backend="numpy"),
        TypeError,
        "labels must be integers",
    ),
    (
        lambda: metrics.latency_to_decision(NETWORK, X, [0, 1], backend="numpy", batch_size=0),
        ValueError,
        "batch_size must be a whole",
    ),
    (lambda: metrics.spike_reduction([-1], [2]), ValueError, "ours must be numbers of spikes"),
    (lambda: metrics.spike_reduction([1], [nan]), ValueError, "standard must be numbers"),
    (
        lambda: metrics.spike_reduction(RESULT, fs.forward(X[:1], NETWORK)),
        ValueError,
        "ours has 2 samples and standard 1",
    ),
    (
        lambda: agreement.spike_times(np.zeros(3, int), V, dtype=np.float32),
        ValueError,
        r"times have shape \(3,\) and the reference's \(2, 3\)",
    ),
    (lambda: agreement.potential_error(V[:1], V), ValueError, "potential has shape"),
    (lambda: agreement.potential_error(V * nan, V), ValueError, "holds NaN"),
    (lambda: agreement.inside_bound(V, dtype=np.float16), TypeError, "dtype must be numpy.float32"),
    (
        lambda: agreement.inside_bound(V, dtype=np.float32, scale=np.ones(3)),
        ValueError,
        "scale must have shape",
    ),
    # recordings
    (
        lambda: events_from_structured([RECORDING], **{**BINNED, "sensor_size": (2.5, 1)}),
        ValueError,
        "whole numbers of at least 1",
    ),
    (
        lambda: events_from_structured([RECORDING], **{**BINNED, "sensor_size": 2}),
        ValueError,
        r"\(width, height\)",
    ),
    (
        lambda: events_from_structured([RECORDING], **{**BINNED, "time_unit": ["ms"]}),
        ValueError,
        "time_unit must be one of",
    ),
    (
        lambda: events_from_structured([RECORDING], **BINNED, binary="yes"),
        TypeError,
        "binary must be True or False",
    ),
    (lambda: events_from_structured([RECORDING], **BINNED, start=nan), ValueError, "start, if"),
    (lambda: events_from_structured([RECORDING], **BINNED, start="now"), ValueError, "start, if"),
    (
        lambda: events_from_structured([RECORDING], **{**BINNED, "dt": 1e-13}),
        ValueError,
        "below a billionth of the times' unit",
    ),
    (
        lambda: events_from_structured([np.zeros(2, [("t", "i8", (2,)), ("x", "i2")])], **BINNED),
        ValueError,
        "one number per event",
    ),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD, ids=range(len(BAD)))
def test_bad_values(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_silent_layer_may_have_a_potential_that_is_nan():
    assert not fs.threshold(np.array([[np.nan, 0.5]])).any()


# --- NumPy's scalars are numbers ----------------------------------------------------------------


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, (fs.Result, SpikeTimes, Events, fs.Layer, fs.Readout, fs.Network)):
        for name, value in vars(a).items():
            same(value, getattr(b, name))
    elif isinstance(a, tuple):
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


F32 = V.astype(np.float32) / 2
HALF = 0.5  # exact in every dtype
SCALARS = [
    lambda i, f: fs.beta_from_tau(i(10), f(HALF)),
    lambda i, f: fs.decay(F32, beta=f(HALF), initial_potential=f(HALF)),
    lambda i, f: fs.first_spike(F32, f(HALF)),
    lambda i, f: fs.threshold(F32, i(1)),
    lambda i, f: fs.layer(F32, beta=f(HALF), threshold=i(1)).times,
    lambda i, f: fs.normalise(F32, v_rest=f(-HALF), v_threshold=i(2), resistance=i(3)).current,
    lambda i, f: fs.Network.random([i(4), i(2)], seed=0, tau=i(10), dt=f(HALF), threshold=i(2)),
    lambda i, f: fs.Layer(W, beta=f(HALF), threshold=f(HALF)),
    lambda i, f: fs.Network((), fs.Readout(W), dt=i(2)),
    lambda i, f: SpikeTimes(np.array([[1]]), i(3)),
    lambda i, f: Events(np.array([[0, 1]]), np.array([1]), i(3)),
    lambda i, f: Events.from_arrays([1], [1], n_neurons=i(3), n_steps=i(4), n_samples=i(2)),
    lambda i, f: encoding.latency(F32, n_steps=i(50), dt=f(HALF), tau_eff=i(20), threshold=f(0.25)),
    lambda i, f: encoding.linear_latency(F32, n_steps=i(50), window=f(HALF)),
    lambda i, f: random_spike_trains(i(1), i(2), i(3), rate=(f(HALF), i(9)), dt=i(2), seed=0),
    lambda i, f: augment.shift(X, np.random.default_rng(0), shape=(i(2), i(2)), pixels=i(1)),
    lambda i, f: augment.jitter(X, np.random.default_rng(0), steps=i(1)),
    lambda i, f: augment.drop(EVENTS, np.random.default_rng(0), p=f(HALF)),
    lambda i, f: events_from_structured(
        [RECORDING], sensor_size=(i(2), i(1)), dt=f(HALF), n_steps=i(30), start=i(4), time_unit="ms"
    ),
    lambda i, f: fs.forward(X, NETWORK, batch_size=i(1)),
    lambda i, f: metrics.energy(NETWORK, COUNTS, UPDATES, mac=f(HALF), ac=i(1)).total,
    lambda i, f: metrics.access_energy(i(100)),
    lambda i, f: metrics.confusion_matrix([0, 1], [1, 1], i(2)),
]  # fmt: skip


@pytest.mark.parametrize("call", SCALARS, ids=range(len(SCALARS)))
def test_scalars_of_numpy_are_numbers(call):
    expected = call(int, float)
    for whole, real in ((np.int64, np.float64), (np.uint32, np.float32), (np.int16, np.float16)):
        same(call(whole, real), expected)


def test_what_numpy_gave_is_kept_plain_and_saved(tmp_path):
    sizes = np.array([4, 3, 2])
    dt = np.float32(0.7)
    network = fs.Network.random(sizes, seed=0, tau=np.int64(10), dt=dt, threshold=np.float32(0.3))
    assert type(network.dt) is float and type(network.layers[0].threshold) is float
    network.save(tmp_path / "n.safetensors")
    loaded = fs.Network.load(tmp_path / "n.safetensors")
    assert loaded.dt == float(dt) and loaded.layers[0].threshold == float(np.float32(0.3))
    spikes = encoding.latency(F32, n_steps=np.int64(50))
    assert type(spikes.n_steps) is int and type(EVENTS[:1].n_neurons) is int
    json.dumps([spikes.n_steps, *spikes.shape, *EVENTS.shape, network.dt, *network.sizes])


def test_a_number_of_numpy_beside_arrays_of_any_library(lib):
    current = lib.asarray(F32)
    ours = fs.decay(current, beta=np.float64(0.5), initial_potential=np.float32(0.25))
    plain = fs.decay(current, beta=0.5, initial_potential=0.25)
    assert ours.dtype == plain.dtype
    np.testing.assert_array_equal(lib.to_numpy(ours), lib.to_numpy(plain))
    for scalar in (np.float64(0.3), np.float32(0.25)):
        times = fs.first_spike_times(ours, scalar)
        expected = fs.first_spike_times(plain, float(scalar))
        np.testing.assert_array_equal(lib.to_numpy(times), lib.to_numpy(expected))


# --- byte orders --------------------------------------------------------------------------------


def other(array):
    return array.astype(array.dtype.newbyteorder())


DENSE = (np.random.default_rng(1).random((2, 4, 9)) < 0.3).astype(np.float32) * 3
SWAPPED = {
    "currents": lambda s: fs.currents(s(DENSE), s(W), s(np.ones(3, np.float32))),
    "currents of integers": lambda s: fs.currents(s(DENSE.astype(np.int32)), s(W)),
    "decay": lambda s: fs.decay(s(F32), beta=s(np.full(3, 0.5, np.float32))),
    "initial": lambda s: fs.decay(F32, beta=0.5, initial_potential=s(np.ones((2, 3)))),
    "fft": lambda s: fs.decay(s(F32), beta=0.5, method="fft"),
    "first_spike": lambda s: tuple(fs.first_spike(s(V * 2))),
    "g": lambda s: (fs.g(s(np.arange(4))), fs.g(s(np.arange(4.0)))),
    "phi": lambda s: (fs.phi(s(np.ones(4))), fs.phi(s(np.ones(4, np.int16)))),
    "normalise": lambda s: fs.normalise(s(F32), v_rest=0.0, v_threshold=2.0).current,
    "Layer": lambda s: fs.Layer(s(W), s(np.ones(3, np.float32)), s(np.full(3, 0.5))),
    "SpikeTimes": lambda s: SpikeTimes(s(np.array(X.times)), 9),
    "Events": lambda s: Events(s(EVENTS.indptr), s(EVENTS.indices), 4, s(np.ones(5))),
    "from_arrays": lambda s: Events.from_arrays(
        s(np.array([1, 0])), s(np.array([0, 1])), values=s(np.ones(2)), n_neurons=2, n_steps=2
    ),
    "from_dense": lambda s: (Events.from_dense(s(DENSE)), SpikeTimes.from_dense(s(X.to_dense()))),
    "take": lambda s: (EVENTS.take(s(np.array([1, 0]))), X.take(s(np.array([1])))),
    "latency": lambda s: encoding.latency(s(F32)),
    "forward": lambda s: fs.forward(s(DENSE), NETWORK),
    "a layer": lambda s: fs.forward(s(DENSE)),
    "events": lambda s: fs.forward(s(DENSE), NETWORK, engine="event"),
    "integers": lambda s: fs.forward(s(DENSE.astype(np.int16)), NETWORK, engine="event"),
    "network": lambda s: fs.forward(DENSE, NETWORK.mapped(s)),
    "structured": lambda s: events_from_structured([s(RECORDING)], **{**BINNED, "n_steps": 9}),
    "metrics": lambda s: metrics.confusion_matrix(s(np.array([0, 1])), s(np.array([1, 1])), 2),
    "operations": lambda s: metrics.synaptic_operations(NETWORK, s(X.to_dense()), RESULT).dense,
}  # fmt: skip


@pytest.mark.parametrize("name", SWAPPED)
def test_either_byte_order(name):
    same(SWAPPED[name](other), SWAPPED[name](lambda array: array))


@pytest.mark.backend("numba")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint16])
def test_either_byte_order_in_the_kernels(dtype):
    dense = DENSE.astype(dtype)
    for x in (dense, np.ones_like(dense)):  # few events, and many
        same(
            fs.forward(other(x), NETWORK, backend="numba"), fs.forward(x, NETWORK, backend="numba")
        )


@pytest.mark.backend("torch")
def test_either_byte_order_in_torch():
    pytest.importorskip("torch", reason="torch is not installed")
    ours = fs.forward(other(DENSE), NETWORK, backend="torch").logits
    np.testing.assert_array_equal(
        ours.numpy(), fs.forward(DENSE, NETWORK, backend="torch").logits.numpy()
    )


def test_a_potential_near_the_threshold_is_inside_the_bound():
    potential = np.array([[[0.5, 1 + 1e-6, 1.5], [0.5, 0.9, 1.5], [0.5, 1.5, 1 + 1e-6]]])
    times, inside = agreement.inside_bound(potential, dtype=np.float32)
    assert times.tolist() == [[1, 2, 1]]
    assert inside.tolist() == [[True, False, False]]
    assert not agreement.inside_bound(potential, dtype=np.float64)[1].any()
