"""The four steps of the algorithm, on every array library."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np._namespace import float_dtype, namespace
from fastsnn_np.agreement import POTENTIAL_TOLERANCE, potential_error

METHODS = ["block", "fft"]
LENGTHS = [1, 2, 31, 32, 33, 63, 64, 65, 300, 307]  # around the block size, and primes


def sequential(current, beta, initial=0.0, scale=None):
    """Eq. 5 step by step in float64."""
    current, beta = np.asarray(current, np.float64), np.asarray(beta, np.float64)
    scale = 1 - beta if scale is None else scale
    v = np.empty_like(current)
    before = np.broadcast_to(np.asarray(initial, np.float64), current.shape[:-1])
    for t in range(current.shape[-1]):
        before = v[..., t] = beta * before + scale * current[..., t]
    return v


def same_place(lib, out, like):
    """Library, device and shape of the leading axes are kept."""
    namespace(out=out, like=like)
    return True


def test_currents(lib, rng):
    x, w, b = rng.random((3, 5, 7)), rng.standard_normal((4, 5)), rng.standard_normal(4)
    out = fs.currents(lib.asarray(x), lib.asarray(w), lib.asarray(b))
    assert same_place(lib, out, lib.asarray(x))
    np.testing.assert_allclose(lib.to_numpy(out), np.einsum("ij,bjt->bit", w, x) + b[:, None])


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64])
def test_currents_takes_spikes_and_counts(lib, rng, dtype):
    x = rng.integers(0, 2, (2, 5, 7)).astype(dtype)
    w = rng.standard_normal((4, 5)).astype(np.float32)
    out = fs.currents(lib.asarray(x), lib.asarray(w))
    assert out.dtype == lib.asarray(w).dtype
    np.testing.assert_allclose(lib.to_numpy(out), w @ x.astype(np.float32), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("per_neuron", [False, True])
def test_decay_is_equation_5(lib, rng, method, steps, dtype, per_neuron):
    if dtype == np.float64 and not lib.has_float64():
        pytest.skip("no float64")
    current = rng.standard_normal((2, 3, steps)).astype(dtype)
    initial = rng.standard_normal((2, 3)).astype(dtype)
    beta = np.array([0.01, 0.9, 0.999]).astype(dtype) if per_neuron else dtype(0.95)
    out = fs.decay(
        lib.asarray(current),
        beta=lib.asarray(beta) if per_neuron else float(beta),
        initial_potential=lib.asarray(initial),
        method=method,
    )
    assert same_place(lib, out, lib.asarray(current))
    assert out.dtype == lib.asarray(current).dtype
    expected = sequential(current, beta, initial)
    error = potential_error(lib.to_numpy(out), expected)
    assert error <= POTENTIAL_TOLERANCE[np.dtype(dtype).name]


@pytest.mark.parametrize("method", METHODS)
def test_decay_unit_scale(lib, rng, method):
    current = rng.standard_normal((2, 3, 130)).astype(np.float32)
    out = fs.decay(lib.asarray(current), beta=0.9, input_scale="unit", method=method)
    expected = sequential(current, np.float32(0.9), scale=1.0)
    assert potential_error(lib.to_numpy(out), expected) <= POTENTIAL_TOLERANCE["float32"]


def test_decay_recurses_over_blocks_of_blocks(lib, rng):
    steps = 32 * 32 * 4 + 100  # three levels
    current = rng.standard_normal((1, 2, steps)).astype(np.float32)
    beta = np.array([0.9, 0.9999], np.float32)
    out = fs.decay(lib.asarray(current), beta=lib.asarray(beta))
    assert potential_error(lib.to_numpy(out), sequential(current, beta)) <= 1e-5


@pytest.mark.parametrize("lead", [(), (0,), (2,), (2, 3), (1, 2, 2)])
@pytest.mark.parametrize("method", METHODS)
def test_any_number_of_batch_axes(lib, rng, lead, method):
    if method == "fft" and 0 in lead:
        pytest.skip("an FFT of nothing is an error in several libraries")
    x = (rng.random((*lead, 5, 70)) < 0.3).astype(np.float32)
    w = rng.standard_normal((4, 5)).astype(np.float32)
    beta = lib.asarray(np.linspace(0.5, 0.9, 4, dtype=np.float32))
    out = fs.layer(lib.asarray(x), lib.asarray(w), beta=beta, method=method, return_potential=True)
    assert tuple(out.times.shape) == (*lead, 4)
    assert tuple(out.potential.shape) == (*lead, 4, 70)
    expected = sequential(w @ x, np.linspace(0.5, 0.9, 4, dtype=np.float32))
    assert potential_error(lib.to_numpy(out.potential), expected) <= 1e-5


def test_phi_and_g_exhaustively(lib):
    """Propositions 1 and 2 for every binary string up to length 14."""
    for n in range(1, 15):
        strings = np.array(list(itertools.product([0, 1], repeat=n)))
        first = np.where(strings.any(1), strings.argmax(1), n)
        expected = (np.arange(n) == first[:, None]).astype(np.int64)
        z = fs.phi(lib.asarray(strings))
        np.testing.assert_array_equal(lib.to_numpy(z) == 1, expected == 1)
        np.testing.assert_array_equal(lib.to_numpy(fs.g(z)), expected)
        spikes, times = fs.first_spike(lib.asarray(strings.astype(np.float32)), 0.5)
        np.testing.assert_array_equal(lib.to_numpy(spikes), expected == 1)
        np.testing.assert_array_equal(lib.to_numpy(times), first)


@pytest.mark.parametrize("steps", [19, 304, 80_000])
def test_phi_and_g_do_not_overflow(lib, steps):
    """In int16 g(phi) is wrong from T = 19 on, in int32 from 304, naively in int64 from 77,936."""
    ones = lib.asarray(np.ones((1, steps), np.int8))
    once = np.zeros((1, steps))
    once[0, 0] = 1
    np.testing.assert_array_equal(lib.to_numpy(fs.g(fs.phi(ones))), once)


def test_threshold_is_strict(lib):
    v = lib.asarray(np.array([[0.0, 1.0, np.nextafter(1.0, 2.0), np.nan]]))
    np.testing.assert_array_equal(lib.to_numpy(fs.threshold(v)), [[False, False, True, False]])


@pytest.mark.parametrize("first", [fs.first_spike, lambda v: (None, fs.first_spike_times(v))])
def test_odd_spike_times(lib, first):
    v = lib.asarray(np.array([[2.0, 2.0], [0.0, 0.0], [0.0, 2.0], [1.0, 1.0]], np.float32))
    _, times = first(v)
    assert times.dtype == lib.xp.int32
    np.testing.assert_array_equal(lib.to_numpy(times), [0, 2, 1, 2])


def test_exactly_on_the_threshold_does_not_fire(lib):
    """beta = 1/2 and powers of two are exact, so that V reaches 1 and not more."""
    current = lib.asarray(np.array([[[2.0, 1.0, 1.0, 1.0]]], np.float32))
    out = fs.layer(current, beta=0.5, return_potential=True)
    np.testing.assert_array_equal(lib.to_numpy(out.potential), [[[1.0, 1.0, 1.0, 1.0]]])
    assert int(lib.to_numpy(out.times)[0, 0]) == 4


def test_a_tied_maximum_takes_the_first(lib, rng):
    v = lib.asarray(np.array([[5.0, 5.0, 5.0]], np.float32))
    assert int(fs.first_spike_times(v)[0]) == 0


@pytest.mark.parametrize("kind", ["sum", "max"])
def test_readout(lib, rng, kind):
    x = (rng.random((3, 5, 90)) < 0.3).astype(np.float32)
    w = rng.standard_normal((4, 5)).astype(np.float32)
    out = fs.readout(lib.asarray(x), lib.asarray(w), beta=0.95, kind=kind)
    v = sequential(w @ x, np.float32(0.95))
    expected = v.sum(-1) if kind == "sum" else v.max(-1)
    np.testing.assert_allclose(lib.to_numpy(out.logits), expected, rtol=1e-4, atol=1e-5)


def test_arguments_are_not_modified(lib, rng):
    arrays = [
        rng.random((2, 5, 70)).astype(np.float32),
        rng.standard_normal((4, 5)).astype(np.float32),
        rng.standard_normal(4).astype(np.float32),
    ]
    given = [lib.asarray(a) for a in arrays]
    for method in METHODS:
        fs.layer(*given, beta=0.9, method=method)
        fs.layer(given[0], beta=0.9, method=method, initial_potential=given[0][..., 0])
    for array, kept in zip(given, arrays, strict=True):
        np.testing.assert_array_equal(lib.to_numpy(array), kept)


def test_normalise_reproduces_a_neuron_in_millivolts(rng):
    """Proposition 3: the same spikes, and the potentials in step, for any rest, threshold, R."""
    rest, theta, r, beta = -65.0, -50.0, 12.0, 0.9
    current = 2 * rng.random((1, 3, 80))
    v = np.full((1, 3), rest)
    potentials = []
    for t in range(80):
        v = rest + beta * (v - rest) + (1 - beta) * r * current[..., t]
        potentials.append(v)
    physical = np.stack(potentials, -1)
    scaled, initial = fs.normalise(current, v_rest=rest, v_threshold=theta, resistance=r)
    ours = fs.decay(scaled, beta=beta, initial_potential=initial)
    np.testing.assert_allclose(ours, (physical - rest) / (theta - rest), atol=1e-12)


def test_half_precision_and_complex_are_refused(rng):
    for dtype in (np.float16, np.complex64):
        with pytest.raises(TypeError, match=r"x has dtype .*use float32 or float64"):
            fs.currents(np.zeros((1, 2, 3), dtype), np.zeros((1, 2), np.float32))
    assert float_dtype(np, a=np.zeros(1, np.int8)) == np.float32


BAD = [
    (lambda: fs.currents([[1.0]], np.ones((1, 1))), TypeError, "must be an array"),
    (lambda: fs.currents(np.ones((2, 5, 7)), np.ones((4, 6))), ValueError, "5 neurons.*expects 6"),
    (lambda: fs.currents(np.ones(5), np.ones((4, 5))), ValueError, "axes"),
    (lambda: fs.currents(np.ones((5, 0)), np.ones((4, 5))), ValueError, "one time step"),
    (lambda: fs.currents(np.ones((5, 1)), np.ones(5)), ValueError, "weight must have axes"),
    (
        lambda: fs.currents(np.ones((5, 1)), np.ones((4, 5)), np.ones(3)),
        ValueError,
        r"bias must have shape \(4,\)",
    ),
    (lambda: fs.decay(np.ones((2, 3)), beta=1.0), ValueError, r"inside \(0, 1\)"),
    (lambda: fs.decay(np.ones((2, 3)), beta=float("nan")), ValueError, r"inside \(0, 1\)"),
    (lambda: fs.decay(np.ones((2, 3), np.float32), beta=1 - 1e-9), ValueError, "rounding"),
    (lambda: fs.decay(np.ones((2, 3)), beta=np.full(3, 0.5)), ValueError, r"shape \(2,\)"),
    (lambda: fs.decay(np.ones((2, 3)), beta=0.5, method="scan"), ValueError, "'block', 'fft'"),
    (lambda: fs.decay(np.ones((2, 3)), beta=0.5, input_scale="x"), ValueError, "'unit'"),
    (lambda: fs.decay(np.ones((2, 0)), beta=0.5), ValueError, "one time step"),
    (lambda: fs.beta_from_tau(0.0), ValueError, "tau must be positive"),
    (lambda: fs.beta_from_tau(-3.0), ValueError, r"tau must be positive and finite \(ms\), got -3"),
    (lambda: fs.beta_from_tau(10.0, 0.0), ValueError, "dt must be positive"),
    (lambda: fs.beta_from_tau(float("nan")), ValueError, "tau"),
    (lambda: fs.first_spike(np.ones((2, 0))), ValueError, "one time step"),
    (lambda: fs.first_spike("spikes"), TypeError, "must be an array"),
    (lambda: fs.g(np.ones(3, np.int32)), TypeError, "overflows"),
    (lambda: fs.readout(np.ones((1, 2, 3)), beta=0.5, kind="mean"), ValueError, "'sum', 'max'"),
    (lambda: fs.layer(np.ones((1, 2, 3)), None, np.ones(2), beta=0.5), TypeError, "bias without"),
    (
        lambda: fs.normalise(np.ones((1, 1)), v_rest=0, v_threshold=0),
        ValueError,
        "above v_rest",
    ),
    (
        lambda: fs.normalise(np.ones((1, 1)), v_rest=0, v_threshold=1, resistance=0),
        ValueError,
        "resistance",
    ),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD, ids=range(len(BAD)))
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_no_mixing_of_devices(lib):
    if not lib.name.startswith("strict"):
        pytest.skip("array_api_strict's devices stand in for others'")
    other = lib.xp.Device("device2" if lib.name.endswith("device1") else "device1")
    weight = lib.xp.ones((2, 5), device=other, dtype=lib.xp.float32)
    with pytest.raises(ValueError, match="x is on device .* and weight on .*move one"):
        fs.currents(lib.asarray(np.ones((5, 3), np.float32)), weight)


def test_no_mixing_of_libraries(lib):
    if lib.name == "numpy":
        pytest.skip("needs a library that is not NumPy")
    with pytest.raises(TypeError, match="x is a numpy array and weight is a"):
        fs.currents(np.ones((5, 3), np.float32), lib.asarray(np.ones((2, 5), np.float32)))
