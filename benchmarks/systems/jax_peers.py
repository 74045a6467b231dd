"""The peers that are written in JAX: a plain `lax.scan`, and Spyx. All under one `jit` a task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fastsnn_np as fs

from . import layers
from .tasks import RATE, SLOPE, System


class Neurons(NamedTuple):
    """A system's own part, on currents (time, batch, neurons)."""

    hidden: Callable[[Any], Any]  #: gives spikes
    readout: Callable[[Any], Any]  #: gives the potential's sum over time
    fires_once: bool = False


Maker = Callable[[float, float, int, int], Neurons]  # betas and sizes of hidden layer and readout


def build(maker: Maker) -> System:
    """Both tasks for a way to make neurons."""

    def layer(given: layers.Layer) -> tuple[Callable[[], Any], Callable[[], Any]]:
        neurons = maker(given.beta, given.beta, len(given.weight), 1)
        x = jnp.asarray(np.ascontiguousarray(given.trains.transpose(2, 0, 1)), jnp.float32)
        weight = jnp.asarray((given.weight * np.float32(1 - given.beta)).T)
        grad = jnp.asarray((given.above @ given.above_weight).transpose(1, 0, 2))
        run = jax.jit(lambda weight, x: neurons.hidden(x @ weight))
        back = jax.jit(jax.grad(lambda weight, x, grad: jnp.vdot(run(weight, x), grad)))
        return (
            lambda: jax.block_until_ready(run(weight, x)),
            lambda: np.asarray(back(weight, x, grad)).T,
        )

    def network(parts: fs.Network, x: fs.SpikeTimes, labels: Any) -> tuple[Any, Any]:
        hidden, last = parts.layers[0], parts.readout
        sizes = (len(hidden.weight), len(last.weight))
        neurons = maker(float(hidden.beta[0]), float(last.beta[0]), *sizes)
        parameters = {
            "w1": jnp.asarray(hidden.weight.T),
            "b1": jnp.asarray(hidden.bias),
            "w2": jnp.asarray(last.weight.T),
            "b2": jnp.asarray(last.bias),
        }
        train = jnp.asarray(np.ascontiguousarray(x.to_dense().transpose(2, 0, 1)))
        target = jnp.asarray(labels.astype(np.int32))

        def forward(p: Any, train: Any) -> Any:
            spikes = neurons.hidden(train @ p["w1"] + p["b1"])
            if not neurons.fires_once:
                kept = jax.lax.stop_gradient(spikes)
                spikes = spikes * (jnp.cumsum(kept, 0) - kept == 0)
            return neurons.readout(spikes @ p["w2"] + p["b2"])

        def loss(p: Any, train: Any, target: Any) -> Any:
            log_p = jax.nn.log_softmax(forward(p, train))
            return -jnp.take_along_axis(log_p, target[:, None], 1).mean()

        infer, update = jax.jit(forward), jax.jit(_adam(loss))
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        state = (parameters, zeros, zeros, 0)

        def step() -> float:
            nonlocal state
            state, value = update(state, train, target)
            return float(value)

        return lambda: np.asarray(infer(parameters, train)), step

    def times(spikes: Any) -> Any:
        return layers.first_times(np.asarray(spikes).transpose(1, 2, 0))

    return System(layer, network, times)


def _adam(loss: Callable[..., Any]) -> Callable[..., Any]:
    def update(state: Any, train: Any, target: Any) -> Any:
        p, m, v, t = state
        value, g = jax.value_and_grad(loss)(p, train, target)
        t = t + 1
        m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
        v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
        rate = RATE * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        p = jax.tree.map(lambda a, b, c: a - rate * b / (jnp.sqrt(c) + 1e-8), p, m, v)
        return (p, m, v, t), value

    return update


def lax_scan() -> System:
    """A scan over the steps, with products hoisted out of it."""

    @jax.custom_jvp
    def spike(v: Any) -> Any:
        return (v > 0).astype(v.dtype)

    @spike.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (v,), (dv,) = primals, tangents
        return spike(v), dv / (SLOPE * jnp.abs(v) + 1) ** 2

    def make(beta: float, beta_out: float, *_: int) -> Neurons:
        def hidden(currents: Any) -> Any:
            def step(carry: Any, current: Any) -> Any:
                v, silent = carry
                v = beta * v + current
                s = spike(v - 1.0) * silent
                return (v, silent * (1 - jax.lax.stop_gradient(s))), s

            start = jnp.zeros(currents.shape[1:])
            return jax.lax.scan(step, (start, start + 1), currents)[1]

        def readout(currents: Any) -> Any:
            def step(carry: Any, current: Any) -> Any:
                v, total = carry
                v = beta_out * v + current
                return (v, total + v), None

            start = jnp.zeros(currents.shape[1:])
            return jax.lax.scan(step, (start, start), currents)[0][1]

        return Neurons(hidden, readout, fires_once=True)

    return build(make)


def spyx_lif() -> System:
    """`spyx.nn.LIF` under `spyx.nn.run`. It fires a step late, hence one more step, cut off."""
    from spyx import nn

    def make(beta: float, beta_out: float, n: int, n_out: int) -> Neurons:
        lif = nn.LIF((n,), beta=beta, activation=_superspike(), rngs=_rngs())

        def hidden(currents: Any) -> Any:
            longer = jnp.concatenate([currents, jnp.zeros_like(currents[:1])])
            return nn.run(lif, longer)[0][1:]

        return Neurons(hidden, _spyx_readout(beta_out, n_out))

    return build(make)


def spyx_psu() -> System:
    """`spyx.nn.PSU_LIF`, which has no reset and goes over all steps by an associative scan."""
    from spyx import nn

    def make(beta: float, beta_out: float, n: int, n_out: int) -> Neurons:
        lif = nn.PSU_LIF((n,), beta=beta, activation=_superspike(), rngs=_rngs())
        return Neurons(lif.parallel, _spyx_readout(beta_out, n_out))

    return build(make)


def _spyx_readout(beta: float, n: int) -> Callable[[Any], Any]:
    from spyx import nn

    leak = nn.LI((n,), beta=beta, rngs=_rngs())
    return lambda currents: nn.run(leak, currents)[0].sum(0)


def _superspike() -> Any:
    from spyx import axn

    return axn.superspike(SLOPE)


def _rngs() -> Any:
    from flax import nnx

    return nnx.Rngs(0)
