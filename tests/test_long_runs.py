"""Where rounding errors add up: beta close to 1, constant drive, and sums over many steps."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastsnn_np as fs
from fastsnn_np import agreement, reference
from fastsnn_np.backends.event import fused
from fastsnn_np.backends.event import layers as engine

pytestmark = pytest.mark.backend("numba")
SLOW = os.environ.get("NUMBA_DISABLE_JIT") == "1" or os.environ.get("NUMBA_BOUNDSCHECK") == "1"
STEPS, NEURONS = (300, 20) if SLOW else (2000, 200)
EPS = np.finfo(np.float32).eps


def near_one(seed, scale, drive):
    """Neurons whose potential creeps by the threshold: beta, drive, and their potential.

    `drive` is a constant bias, an input that fires at every step, or one half of each.
    """
    rng = np.random.default_rng(seed)
    beta = (1 - 10 ** rng.uniform(-4, -2.5, NEURONS)).astype(np.float32)
    b = beta.astype(np.float64)
    gain = 1.0 if scale == "unit" else 1 - b
    step = rng.integers(STEPS // 2, STEPS, NEURONS)
    response = gain * (1 - b ** (step + 1)) / (1 - b)
    total = (1 + rng.uniform(-60, 60, NEURONS) * EPS) / response
    share = {"bias": 1.0, "events": 0.0, "both": 0.5}[drive]
    bias = (share * total).astype(np.float32)
    weight = ((1 - share) * total).astype(np.float32)[:, None]
    return beta, weight, bias


def judge(x, weight, bias, beta, scale):
    wide = (a.astype(np.float64) for a in (x, weight, bias))
    return reference.layer(
        *wide, beta=beta.astype(np.float64), input_scale=scale, return_potential=True
    ).potential


SEEDS = st.integers(0, 2**32 - 1)
SCALES = st.sampled_from(["unit", "normalised"])
FEW = settings(max_examples=3 if SLOW else 25)


@given(seed=SEEDS, scale=SCALES, drive=st.sampled_from(["bias", "events", "both"]))
@FEW
def test_the_event_engine(seed, scale, drive):
    beta, weight, bias = near_one(seed, scale, drive)
    x = np.ones((1, 1, STEPS), np.float32)
    rows = engine.rows_of(x, np.dtype(np.float32))
    weights = engine.weights_of(weight, bias, beta, scale)
    out = engine.layer(rows, weights, threshold=1.0)
    expected = judge(x, weight, bias, beta, scale)
    found = agreement.spike_times(out.times, expected, dtype=np.float32)
    assert found.different == 0, found
    keep = np.empty((1, STEPS, NEURONS), np.float32)
    engine.layer(rows, weights, threshold=1.0, keep=keep)
    error = np.abs(keep.transpose(0, 2, 1) - expected).max(-1)
    assert (error <= 16 * EPS * np.maximum(1, np.abs(expected).max(-1))).all()


@given(seed=SEEDS, scale=SCALES)
@FEW
def test_dense_kernel_and_reference(seed, scale):
    beta, _, bias = near_one(seed, scale, "bias")
    current = np.repeat(bias[None, :, None], STEPS, axis=-1)
    expected = judge(np.zeros((1, 1, STEPS)), np.zeros((NEURONS, 1)), bias, beta, scale)
    for layer in (fused.layer, reference.layer):
        out = layer(current, beta=beta, input_scale=scale)
        found = agreement.spike_times(out.times, expected, dtype=np.float32)
        assert found.different == 0, (layer, found)


def test_a_neuron_that_fired_too_early():
    """Found by a search: float32's errors add up to 2e-5 of the potential."""
    beta = np.float32(0.9998007)
    current = np.full((1, 1, 2000), 0.5913396, np.float32)
    options = {"beta": beta, "threshold": 975.4750243382196, "input_scale": "unit"}
    for layer in (fused.layer, reference.layer):
        assert layer(current, **options).times.tolist() == [[2000]]
    weights = engine.weights_of(np.zeros((1, 1), np.float32), current[0, 0, :1], beta, "unit")
    rows = engine.rows_of(np.zeros((1, 1, 2000), np.bool_), np.dtype(np.float32))
    assert engine.layer(rows, weights, threshold=options["threshold"]).times.tolist() == [[2000]]


@pytest.mark.skipif(SLOW, reason="a million steps")
@pytest.mark.parametrize("scale", ["unit", "normalised"])
def test_a_million_steps(scale):
    """Logits and the readout's gradients, of ones at every step, to 1e-6."""
    steps, beta = 1_000_000, np.float32(np.exp(-1 / 20))
    x = np.ones((1, 1, steps), np.float32)
    weight, bias = np.full((1, 1), 0.7, np.float32), np.full(1, 0.3, np.float32)
    found = []
    for dtype in (np.float32, np.float64):
        rows = engine.rows_of(x, np.dtype(dtype))
        weights = engine.weights_of(
            weight.astype(dtype), bias.astype(dtype), np.full(1, beta, dtype), scale
        )
        out = engine.readout(rows, weights, summed=True)
        gradient = engine.readout_backward(rows, weights, out, np.ones((1, 1)), summed=True)
        found.append([out.logits, gradient.bias, gradient.beta, gradient.weight])
    b = float(beta)
    total = float(weight[0, 0]) + float(bias[0])
    final = total if scale == "normalised" else total / (1 - b)
    exact = final * (steps - b * (1 - b**steps) / (1 - b))
    np.testing.assert_allclose(found[1][0], exact, rtol=1e-9)
    for ours, expected in zip(found[0][:3], found[1][:3], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
    dense = [
        f(x[:1], weight, bias, beta=beta, input_scale=scale)
        for f in (fused.readout, reference.readout)
    ]
    for out in dense:
        np.testing.assert_allclose(out.logits, exact, rtol=1e-6)


@pytest.mark.skipif(SLOW, reason="nothing is compiled, or everything afresh")
def test_compiled_or_cached(tmp_path):
    """The process that compiles a kernel and the one that loads it give the same bits."""
    code = """
import hashlib
import numpy as np, fastsnn_np as fs
from fastsnn_np.backends.event import fused, networks
from fastsnn_np.backends.event.networks import LayerParameters
rng = np.random.default_rng(0)
current = np.repeat(rng.uniform(0.001, 0.9, (2, 300, 1)), 2000, axis=-1).astype(np.float32)
beta = (1 - 10 ** rng.uniform(-4, -2.5, 300)).astype(np.float32)
results = list(fused.layer(current, beta=beta, input_scale="unit", return_potential=True))
results += list(fused.readout(current, beta=beta, return_potential=True))
results += list(fs.reference.layer(current, beta=beta, return_potential=True))
sizes = [(30, 100), (100, 40), (40, 5)]
layers = [
    LayerParameters(
        rng.standard_normal((n, m)).astype(np.float32),
        rng.standard_normal(n).astype(np.float32),
        rng.uniform(0.8, 0.9999, n).astype(np.float32),
        "normalised",
        1.0,
    )
    for m, n in sizes
]
network = networks.prepared(layers)
x = fs.SpikeTimes(rng.integers(0, 600, (40, 30)), 600)
for summed in (True, False):
    run = networks.network_forward(x, network, summed=summed)
    found = networks.network_backward(
        network, run, np.ones((40, 5), np.float32), slopes=[10.0, 5.0], papers=[True, False]
    )
    results += [run.logits, *run.times, *(a for g in found.layers for a in g[:3])]
print(hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in results)).hexdigest())
"""
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    digests = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        digests.append(done.stdout)
    assert digests[0] == digests[1] != ""


def test_many_chunks_of_time():
    """V is replayed in chunks: what a chunk more or less does is nothing but rounding."""
    from fastsnn_np.backends.event import sweeps

    rng = np.random.default_rng(5)
    steps = 2 * sweeps.CHUNK + 37 if not SLOW else sweeps.CHUNK + 5
    x = fs.SpikeTimes(rng.integers(0, steps, (2, 9)), steps)
    found = []
    for longer in (steps, steps + 3):  # other borders; nothing arrives in the last steps
        padded = fs.SpikeTimes(x.times, longer)
        rows = engine.rows_of(padded, np.dtype(np.float64))
        state = np.random.default_rng(1)
        weights = engine.weights_of(
            3 * state.standard_normal((20, 9)), None, state.uniform(0.9, 0.999, 20), "unit"
        )
        out = engine.layer(rows, weights, threshold=1.0)
        above = np.zeros((2, longer, 3))
        above[:, :steps] = state.standard_normal((2, steps, 3))
        gradient = engine.layer_backward(
            rows,
            weights,
            out,
            above,
            state.standard_normal((3, 20)),
            threshold=1.0,
            slope=5.0,
            paper=True,
            keep_current=True,
        )
        found.append([*gradient[:3], gradient.current[:, :steps]])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(b).max())
