"""The specification against the paper's equations written another way, and by hand."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np import reference


def test_single_spike_layer_is_g_of_phi(rng):
    """Eq. 4 to 6 with the sums written out, and Propositions 1 and 2 for the selection."""
    x = (rng.random((3, 5, 40)) < 0.3).astype(float)
    w, b, beta = 4 * rng.standard_normal((6, 5)), rng.standard_normal(6), rng.uniform(0.1, 0.99, 6)
    v0 = rng.standard_normal((3, 6))
    current = np.einsum("ij,bjt->bit", w, x) + b[:, None]
    v = np.zeros_like(current)
    for t in range(40):
        v[..., t] = beta ** (t + 1) * v0
        for k in range(t + 1):
            v[..., t] += (1 - beta) * beta ** (t - k) * current[..., k]
    out = reference.layer(x, w, b, beta=beta, initial_potential=v0, return_potential=True)
    np.testing.assert_allclose(out.potential, v, atol=1e-12)
    spikes = fs.g(fs.phi((v > 1).astype(np.int64)))
    np.testing.assert_array_equal(fs.SpikeTimes(out.times, 40).to_dense(), spikes)


def test_first_spike_of_both_neurons_is_the_same(rng):
    """Up to its first spike, the standard neuron knows no reset."""
    x = (rng.random((4, 5, 60)) < 0.3).astype(float)
    w = 3 * rng.standard_normal((7, 5))
    single = reference.layer(x, w, beta=0.9)
    standard = reference.standard_layer(x, w, beta=0.9)
    np.testing.assert_array_equal(fs.first_spike_times(standard.potential), single.times)
    assert standard.spikes.sum() > (single.times < 60).sum()


def test_standard_layer_by_hand():
    """beta = 1/2, I = 3: V = 1.5, then 0.75 + 1.5 - 1 = 1.25, then 0.625 + 1.5 - 1, ..."""
    out = reference.standard_layer(np.full((1, 1, 4), 3.0), beta=0.5)
    np.testing.assert_array_equal(out.potential, [[[1.5, 1.25, 1.125, 1.0625]]])
    assert out.spikes.all()
    slow = reference.standard_layer(np.full((1, 1, 4), 1.6), beta=0.5)
    np.testing.assert_allclose(slow.potential, [[[0.8, 1.2, 0.4, 1.0]]])
    np.testing.assert_array_equal(slow.spikes, [[[False, True, False, False]]])


def test_a_spike_exactly_at_the_threshold_does_not_happen():
    out = reference.layer(np.array([[[2.0, 1.0, 1.0, 1.5]]]), beta=0.5)
    assert out.times.tolist() == [[3]]
    standard = reference.standard_layer(np.array([[[2.0, 1.0]]]), beta=0.5)
    np.testing.assert_array_equal(standard.potential, [[[1.0, 1.0]]])  # nor is it reset


def test_readout(rng):
    x = rng.standard_normal((2, 3, 10))
    v = reference.layer(x, beta=0.8, threshold=1e9, return_potential=True).potential
    np.testing.assert_allclose(reference.readout(x, beta=0.8).logits, v.sum(-1))
    np.testing.assert_allclose(reference.readout(x, beta=0.8, kind="max").logits, v.max(-1))


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_without_jit(engine):
    """The loops are Python: the same answers with the compiler switched off."""
    code = (
        "import numpy as np, fastsnn_np as fs; from fastsnn_np import reference\n"
        "from fastsnn_np.backends.event import fused\n"
        f"engine = {engine}\n"
        "x = np.random.default_rng(0).standard_normal((2, 3, 9)) * 3\n"
        "out = engine.layer(x, beta=0.5, return_potential=True)\n"
        "assert np.allclose(out.potential, fs.decay(x, beta=0.5))\n"
        "assert (out.times == fs.first_spike_times(out.potential)).all()\n"
        "print(np.allclose(engine.readout(x, beta=0.5).logits, out.potential.sum(-1)))"
    )
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "True", done.stderr


def one(kind, current, **more):
    """A single neuron of beta = 1/2 whose input is its current: spikes, potential, distance."""
    x = np.array([[current]], float)
    out = reference.spiking_layer(x, fs.Layer(np.ones((1, 1)), beta=0.5, neuron=kind, **more))
    return [a[0, 0].tolist() for a in out]


# kind of neuron and its numbers, and what comes of the currents 2, 2, 0, 4
BY_HAND = {
    "none": (fs.Neuron("always", reset="none"), {}, [1, 1, 1, 1], [2, 3, 1.5, 4.75]),
    "once": (fs.Neuron(), {}, [1, 0, 0, 0], [2, 3, 1.5, 4.75]),
    "subtract after": (fs.Neuron("always"), {}, [1, 1, 0, 1], [2, 2, 0, 4]),
    "subtract before": (
        fs.Neuron("always", reset_at="before decay"), {}, [1, 1, 0, 1], [2, 2.5, 0.75, 4.375],
    ),
    "zero after": (fs.Neuron("always", reset="zero"), {}, [1, 0, 0, 1], [2, 1, 0.5, 4.25]),
    "zero before": (
        fs.Neuron("always", reset="zero", reset_at="before decay"), {}, [1, 1, 0, 1], [2, 2, 0, 4],
    ),
    "refractory": (fs.Neuron("always", refractory=2), {}, [1, 0, 0, 1], [2, 2, 1, 4.5]),
    "threshold": (
        fs.Neuron("always"), {"threshold": np.array([2.5])}, [0, 1, 0, 1], [2, 3, -1, 3.5],
    ),
    "recurrent": (
        fs.Neuron("always", reset="none"), {"recurrent": np.full((1, 1), -2.0)},
        [1, 0, 0, 1], [2, 1, 0.5, 4.25],
    ),
    "normalised": (
        fs.Neuron("always", reset="none"), {"input_scale": "normalised"},
        [0, 1, 0, 1], [1, 1.5, 0.75, 2.375],
    ),
    # w = 0, 1, 1.5, 0.75: only the distance from the threshold knows of it
    "alif": (
        fs.Neuron("always", reset="none", adaptation="threshold"), {"rho": 0.5, "b": 1.0},
        [1, 1, 0, 1], [2, 3, 1.5, 4.75],
    ),
    # w = 0, 2, 1.5, 0.25
    "adlif": (
        fs.Neuron("always", reset="none", adaptation="current"), {"rho": 0.5, "a": 0.5, "b": 1.0},
        [1, 0, 0, 1], [2, 1, -1, 3.25],
    ),
    "delay": (fs.Neuron("always"), {"delay": np.array([1])}, [0, 1, 1, 0], [0, 2, 2, 0]),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_every_kind_of_neuron_by_hand(name):
    kind, more, spikes, potential = BY_HAND[name]
    found = one(kind, [2, 2, 0, 4], **more)
    assert found[0] == [bool(s) for s in spikes]
    assert found[1] == potential


def test_the_threshold_rises():
    _, potential, distance = one(
        fs.Neuron("always", reset="none", adaptation="threshold"), [2, 2, 0, 4], rho=0.5, b=1.0
    )
    assert [u - 1 - d for u, d in zip(potential, distance, strict=True)] == [0, 1, 1.5, 0.75]


def test_spiking_layers_are_the_layers_that_were_there(rng):
    """FastSNN's neuron and the paper's standard one, eq. 2."""
    x = (rng.random((4, 5, 60)) < 0.3).astype(float)
    w, bias, beta = 3 * rng.standard_normal((7, 5)), rng.normal(size=7), rng.uniform(0.1, 0.99, 7)
    parts = (w, bias, beta, "normalised")
    fast = reference.spiking_layer(x, fs.Layer(*parts))
    np.testing.assert_array_equal(
        fast.spikes,
        fs.SpikeTimes(reference.layer(x, w, bias, beta=beta).times, 60).to_dense(bool),
    )
    standard = reference.spiking_layer(x, fs.Layer(*parts, neuron=fs.Neuron("always")))
    expected = reference.standard_layer(x, w, bias, beta=beta)
    np.testing.assert_array_equal(standard.spikes, expected.spikes)
    np.testing.assert_allclose(standard.potential, expected.potential, atol=1e-13)
    narrow = reference.spiking_layer(x, fs.Layer(*parts), dtype=np.float32)
    assert narrow.potential.dtype == np.float32


def test_a_weighted_readout(rng):
    x = rng.standard_normal((2, 3, 10))
    v = reference.readout(x, beta=0.8, return_potential=True).potential
    found = reference.readout(x, beta=0.8, kind="weighted", gamma=0.7).logits
    np.testing.assert_allclose(found, sum(0.7**t * v[..., t] for t in range(10)))
