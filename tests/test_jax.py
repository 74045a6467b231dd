"""JAX, which has no backend module: the core in `jit`, `vmap` and `grad`, and on sharded arrays."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from networks import make
from neurons import network_of

import fastsnn_np as fs

jax = pytest.importorskip("jax")
jnp = jax.numpy
jax.config.update("jax_enable_x64", True)

pytestmark = pytest.mark.backend("jax")

CASE = make(0, dtype=np.float32, steps=130, input_scale="unit")
X, WEIGHT, BIAS, BETA, INITIAL = (
    jnp.asarray(a) for a in (CASE.x, CASE.weight, CASE.bias, CASE.beta, CASE.initial)
)


def decay(current, beta, initial):
    return fs.decay(current, beta=beta, initial_potential=initial)


# a function of arrays alone, and its arguments
FUNCTIONS = {
    "currents": (fs.currents, (X, WEIGHT, BIAS)),
    "decay": (decay, (X[:, :9], BETA, INITIAL)),
    "decay, one beta": (lambda x: fs.decay(x, beta=0.9), (X,)),
    "decay, fft": (lambda x: fs.decay(x, beta=0.9, method="fft"), (X,)),
    "threshold": (fs.threshold, (X,)),
    "first_spike": (fs.first_spike, (X,)),
    "phi": (lambda x: fs.g(fs.phi(x != 0)), (X,)),
    "layer": (lambda x, w, b, beta: fs.layer(x, w, b, beta=beta)[:2], (X, WEIGHT, BIAS, BETA)),
    "readout": (
        lambda x, w, b, beta: fs.readout(x, w, b, beta=beta, kind="max")[:2],
        (X, WEIGHT, BIAS, BETA),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jit(name):
    """Compiled, with every array traced, a function gives what it gives without."""
    function, arguments = FUNCTIONS[name]
    plain, compiled = function(*arguments), jax.jit(function)(*arguments)
    for ours, theirs in zip(jax.tree.leaves(compiled), jax.tree.leaves(plain), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_vmap():
    """Over samples, and over networks."""
    one = jax.vmap(lambda x: fs.layer(x, WEIGHT, BIAS, beta=BETA).times)(X)
    np.testing.assert_array_equal(one, fs.layer(X, WEIGHT, BIAS, beta=BETA).times)
    weights = jnp.stack([WEIGHT, -WEIGHT])
    found = jax.vmap(lambda w: fs.readout(X, w, BIAS, beta=BETA).logits)(weights)
    expected = fs.readout(X, -WEIGHT, BIAS, beta=BETA).logits
    np.testing.assert_allclose(found[1], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", ["sum", "max"])
@pytest.mark.parametrize("argument", [0, 1, 2])
def test_grad(kind, argument):
    """Of a readout, by its weight, its bias and its betas: those of finite differences."""
    wide = make(0, dtype=np.float64, steps=70, input_scale="unit")
    x, *parameters = (
        jnp.asarray(a, jnp.float64) for a in (wide.x, wide.weight, wide.bias, wide.beta)
    )
    assert x.dtype == jnp.float64

    def loss(*parameters):
        weight, bias, beta = parameters
        return fs.readout(x, weight, bias, beta=beta, kind=kind).logits.mean()

    grad = jax.grad(loss, argument)(*parameters)
    direction = jnp.asarray(np.random.default_rng(0).standard_normal(grad.shape))
    ends = []
    for sign in (1, -1):
        moved = list(parameters)
        moved[argument] = moved[argument] + sign * 1e-7 * direction
        ends.append(float(loss(*moved)))
    np.testing.assert_allclose((grad * direction).sum(), (ends[0] - ends[1]) / 2e-7, rtol=1e-5)


def test_a_network_in_jit():
    """`forward` and a prepared network in a traced function; plans made there are not kept."""
    network = fs.Network.random([12, 9, 3], seed=0).mapped(jnp.asarray)
    plain = fs.forward(X, network)
    run = fs.prepare(network, backend=None)
    for function in (lambda x: fs.forward(x, network).logits, lambda x: run(x).logits):
        np.testing.assert_allclose(jax.jit(function)(X), plain.logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(run(X).logits, plain.logits, rtol=1e-5, atol=1e-5)


def test_neurons_that_fire_again_and_again_in_jit():
    """The plain loop and the blocks, unrolled."""
    kinds = [fs.Neuron("always", adaptation="current"), fs.Neuron("always", refractory=3)]
    network = network_of(np.random.default_rng(0), kinds, recurrent=False, delay=2)
    there, x = network.mapped(jnp.asarray), X[..., :20]
    plain = fs.forward(x, there)
    spikes, logits = jax.jit(lambda x: (fs.forward(x, there).spikes, fs.forward(x, there).logits))(
        x
    )
    for ours, theirs in zip(spikes, plain.spikes, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(logits, plain.logits, rtol=1e-9)
    run = fs.prepare(there, backend=None)
    jax.jit(lambda x: run(x).logits)(x)  # keeps nothing that was traced
    np.testing.assert_allclose(run(x).logits, plain.logits, rtol=1e-9)


def test_values_are_looked_at_outside_of_tracing():
    with pytest.raises(ValueError, match="beta must lie inside"):
        fs.decay(X, beta=jnp.full(12, 1.0))


def test_a_network_of_numpy_says_what_to_call():
    network = fs.Network.random([12, 9, 3], seed=0)
    with pytest.raises(TypeError, match=r"network\.mapped\(jax\.numpy\.asarray\)"):
        fs.forward(X, network)


SHARDED = """
import jax, jax.numpy as jnp, numpy as np, fastsnn_np as fs
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
mesh = Mesh(np.array(jax.devices()), ("batch",))
x = jnp.asarray(np.random.default_rng(0).random((4, 5, 20)), jnp.float32)
there = jax.device_put(x, NamedSharding(mesh, P("batch")))
weight = jax.device_put(jnp.ones((3, 5)), NamedSharding(mesh, P()))
beta = jax.device_put(jnp.full(3, 0.9), NamedSharding(mesh, P()))
assert len(there.devices()) == 2
function = lambda x, w, b: fs.layer(x, w, beta=b).times
expected = np.asarray(function(x, jnp.ones((3, 5)), 0.9))
for run in (function, jax.jit(function)):
    assert (np.asarray(run(there, weight, beta)) == expected).all()
"""


def test_sharded_arrays_pass():
    """A batch on two devices; a process of its own, since JAX counts devices once."""
    import os

    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run(
        [sys.executable, "-c", SHARDED], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
