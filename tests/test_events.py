"""The event engine: the reference's spikes, the dense adapter's gradients, and odd input."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import SCALES, make, on_events
from test_properties import compare

import fastsnn_np as fs
from fastsnn_np import agreement, reference
from fastsnn_np.backends.event import fused
from fastsnn_np.backends.event import layers as engine

pytestmark = pytest.mark.backend("numba")
# A few examples only where the kernels run as plain Python or with checks
SLOW = os.environ.get("NUMBA_DISABLE_JIT") == "1" or os.environ.get("NUMBA_BOUNDSCHECK") == "1"
EXAMPLES = settings(max_examples=10 if SLOW else 60)


def bound(case, **options):
    return on_events(
        fs.Layer(case.weight, case.bias, case.beta, input_scale=case.input_scale, **options)
    )


@st.composite
def layers(draw):
    """A random layer, with as many neurons as reach over one tile now and then."""
    return make(
        draw(st.integers(0, 2**32 - 1)),
        dtype=draw(st.sampled_from([np.float32, np.float64])),
        batch=draw(st.integers(1, 5)),
        inputs=draw(st.integers(1, 40)),
        neurons=draw(st.sampled_from([1, 2, 7, 8, 33, 70] if SLOW else [1, 2, 7, 8, 33, 70, 600])),
        steps=draw(st.integers(1, 20 if SLOW else 300)),
        input_scale=draw(st.sampled_from(SCALES)),
        density=draw(st.sampled_from([0.0, 0.01, 0.1, 0.6])),
    )


@given(case=layers(), real=st.booleans())
@EXAMPLES
def test_a_layer_on_events(case, real):
    """Spike times and potential, for events of size 1 and of any size, from any start."""
    if real:
        sizes = np.random.default_rng(0).uniform(-2, 2, case.x.shape)
        case = replace(case, x=(case.x * sizes).astype(case.dtype))
    events = fs.Events.from_dense(case.x)
    out = bound(case)(events, initial_potential=case.initial, return_potential=True)
    compare(case, out.times, out.potential)
    early = bound(case)(events, initial_potential=case.initial)
    np.testing.assert_array_equal(early.times, out.times)


@given(
    seed=st.integers(0, 2**32 - 1),
    depth=st.integers(1, 4),
    steps=st.integers(1, 20 if SLOW else 300),
    density=st.sampled_from([0.0, 0.05, 0.6]),
    kind=st.sampled_from(["sum", "max"]),
    scale=st.sampled_from(SCALES),
)
@EXAMPLES
def test_whole_networks(seed, depth, steps, density, kind, scale):
    """Layer by layer with the reference's spikes fed in: 1 to 4 hidden layers and a readout."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 30, depth + 2)
    gain = 60 if scale == "normalised" else 8
    network = fs.Network.random(sizes, seed=seed, readout=kind, input_scale=scale)
    for layer in network.layers:
        layer.weight[:] *= gain
    run = on_events
    spikes = fs.Events.from_dense(rng.random((3, sizes[0], steps)) < density)
    for layer in network.layers:
        judge = reference.layer(
            spikes.to_dense(dtype=np.float64),
            layer.weight.astype(np.float64),
            layer.bias,
            beta=layer.beta,
            input_scale=layer.input_scale,
            return_potential=True,
        )
        same = agreement.spike_times(run(layer)(spikes).times, judge.potential, dtype=np.float32)
        assert same.different == 0
        spikes = fs.SpikeTimes(judge.times, steps)
    last = network.readout
    expected = reference.readout(
        spikes.to_dense(dtype=np.float64),
        last.weight.astype(np.float64),
        last.bias,
        beta=last.beta,
        kind=kind,
        input_scale=scale,
    ).logits
    logits = run(last)(spikes).logits
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_few_neurons_are_left_to_rounding():
    """Over a pool of 12,800 neurons."""
    if SLOW:
        pytest.skip("too large without the compiler")
    case = make(3, batch=16, inputs=60, neurons=800, steps=200, density=0.1)
    out = bound(case)(
        fs.Events.from_dense(case.x), initial_potential=case.initial, return_potential=True
    )
    assert compare(case, out.times, out.potential).ok


def test_exactly_on_the_threshold_does_not_fire():
    x = fs.Events.from_dense(np.array([[[2.0, 1.0, 1.0, 1.5]]]))
    layer = fs.Layer(np.ones((1, 1)), beta=0.5, input_scale="normalised")
    assert on_events(layer)(x).times.tolist() == [[3]]
    dense = fused.layer(x.to_dense(), beta=0.5)
    assert dense.times.tolist() == [[3]]


def test_silence_ends_in_zero():
    """What decays into denormal numbers, which are slow, is flushed by every kernel."""
    tiny = np.finfo(np.float32).smallest_normal
    x = np.zeros((1, 1, 400), np.float32)
    x[..., 0] = 1
    layer = fs.Layer(np.full((1, 1), 0.5, np.float32), beta=0.5)
    run = on_events(layer)
    for form in (fs.Events.from_dense(x), x):
        v = run(form, return_potential=True).potential
        assert v[0, 0, 100] > 0
        assert ((v == 0) | (v >= tiny)).all()
    dense = fused.layer(x, beta=0.5, return_potential=True).potential
    assert ((dense == 0) | (dense >= tiny)).all()


def test_a_tied_maximum_belongs_to_its_first_step():
    readout = fs.Readout(
        np.ones((1, 1), np.float32), beta=0.5, kind="max", input_scale="normalised"
    )
    weights = engine.weights_of(readout.weight, None, readout.beta, "normalised")
    rows = engine.rows_of(np.array([[[0.0, 2.0, 1.0, 1.0]]], np.float32), np.float32)
    assert engine.readout(rows, weights, summed=False).where.tolist() == [[1]]


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.float32, np.float64])
def test_dense_to_events(rng, dtype):
    x = (rng.integers(0, 3, (5, 7, 20)) * (rng.random((5, 7, 20)) < 0.2)).astype(dtype)
    rows = engine.rows_of(x, np.float32)
    values = rows.values if rows.values.size else None
    again = fs.Events(rows.indptr, rows.indices, 7, values)
    np.testing.assert_array_equal(again.to_dense(), x.astype(np.float32))


def test_dense_input_is_judged_by_its_density(rng, caplog):
    network = fs.Network.random([20, 30, 3], seed=0)
    network.layers[0].weight[:] *= 3
    for density, words in ((0.02, "as events"), (0.5, "as a matrix product")):
        x = rng.random((4, 20, 50)) < density
        caplog.clear()
        with caplog.at_level("INFO", "fastsnn_np"):
            ours = fs.forward(x, network, backend="numba")
        assert words in caplog.text
        np.testing.assert_array_equal(ours.spike_times[0], fs.forward(x, network).spike_times[0])


def test_odd_input():
    network = fs.Network.random([5, 1, 2], seed=0)
    nothing = fs.Events.from_arrays([], [], n_neurons=5, n_steps=9, n_samples=3)
    result = fs.forward(nothing, network, backend="numba")
    assert (result.spike_times[0] == 9).all()
    assert not result.logits.any()
    shallow = fs.Network((), fs.Readout(np.ones((2, 5), np.float32)))
    assert fs.forward(nothing, shallow, backend="numba").logits.shape == (3, 2)
    with pytest.raises(ValueError, match=r"x has 5 neurons .* expects 4"):
        fs.forward(nothing, fs.Network.random([4, 2]), backend="numba")
    with pytest.raises(ValueError, match="x has 5 neurons and the layer expects 4"):
        on_events(fs.Layer(np.ones((2, 4))))(nothing)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite_after_all_have_fired(value):
    """The early stop must not hide what `check_finite` looks for."""
    network = fs.Network(
        (fs.Layer(np.full((4, 5), 9, np.float32)),), fs.Readout(np.ones((2, 4)).astype(np.float32))
    )
    x = np.zeros((2, 5, 40), np.float32)
    x[:, :, 1] = 1
    x[1, 2, 39] = value
    with pytest.raises(ValueError, match=rf"holds {value} at index \(1, 2, 39\)"):
        fs.forward(x, network, backend="numba")


def test_prepared_networks(rng):
    network = fs.Network.random([12, 9, 3], seed=1)
    x = fs.SpikeTimes(rng.integers(0, 30, (6, 12)), 30)
    run = fs.prepare(network)
    for sample in range(6):
        part = x[sample : sample + 1]
        one, whole = run(part), fs.forward(part, network)
        np.testing.assert_array_equal(one.spike_times[0], whole.spike_times[0])
        np.testing.assert_allclose(one.logits, whole.logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_prepared_network_refuses_what_forward_refuses(backend):
    run = fs.prepare(fs.Network.random([5, 4, 2], seed=0), backend=backend)
    for shape in ((5, 9), (1, 2, 5, 9), (2, 5, 0)):
        with pytest.raises(ValueError, match=r"axes \(batch, neurons, time\).*got shape"):
            run(np.ones(shape, np.float32))
    with pytest.raises(TypeError, match="x must be an array"):
        run([[[1.0]]])


def test_bounds_checks_can_fail(tmp_path):
    """What `nox -s tests-slow -- bounds` relies on: a planted access out of bounds turns it red."""
    code = (
        "import numpy as np, fastsnn_np as fs\n"
        "from fastsnn_np.backends.event import layers as engine\n"
        "rows = engine.rows_of(np.ones((1, 3, 4), np.float32), np.float32)\n"
        "rows.indices[5] = 3000\n"
        "weights = engine.weights_of(np.ones((2, 3), np.float32), None, 0.5, 'unit')\n"
        "engine.layer(rows, weights, threshold=1e9)\n"
    )
    env = {
        **os.environ,
        "NUMBA_BOUNDSCHECK": "1",
        "NUMBA_CACHE_DIR": str(tmp_path),
        "FASTSNN_PARALLEL": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert "IndexError" in done.stderr
