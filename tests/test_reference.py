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
