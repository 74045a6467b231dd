"""The same two-layer single-spike network in other systems, each written the way it recommends.

All start from the same weights. Their input is the dense spike train they read, made beforehand;
products are taken out of the time loop; a neuron is masked after its first spike. Each `step`
returns the loss before its update, each `infer` the logits, so that the runner can compare them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fastsnn_np as fs

SLOPE = 10.0
RATE = 1e-3


class Contestant(NamedTuple):
    """A way to train and a way to infer, on inputs it has been given already."""

    step: Callable[[], float]
    infer: Callable[[], Any]


def ours(network: fs.Network, x: fs.SpikeTimes, labels: Any) -> Contestant:
    """The event engine: `FastSNN` on spike times, and a prepared network."""
    import torch

    from fastsnn_np.torch import FastSNN

    model = FastSNN.from_network(network, engine="event", slope=SLOPE)
    spikes = fs.SpikeTimes(torch.tensor(x.times), x.n_steps)
    step = _torch_step(model, list(model.parameters()), spikes, labels)
    run = fs.prepare(network, backend="numba")
    return Contestant(step, lambda: run(x).logits)


def torch_loop(network: fs.Network, x: fs.SpikeTimes, labels: Any) -> Contestant:
    """A lean hand-written loop: hoisted products, unbind, no more operations than needed."""
    import torch

    parameters, dense = _torch_parameters(network), torch.from_numpy(x.to_dense())
    spike = _torch_surrogate()

    def forward(train: Any) -> Any:
        w1, b1, beta1, w2, b2, beta2 = parameters
        currents = torch.nn.functional.linear(train.permute(2, 0, 1), w1, b1)
        v = torch.zeros_like(currents[0])
        silent = torch.ones_like(v)
        spikes = []
        for current in currents.unbind(0):
            v = beta1 * v + current
            s = spike(v - 1.0) * silent
            silent = silent * (1 - s.detach())
            spikes.append(s)
        out = torch.nn.functional.linear(torch.stack(spikes), w2, b2)
        v, total = torch.zeros_like(out[0]), torch.zeros_like(out[0])
        for current in out.unbind(0):
            v = beta2 * v + current
            total = total + v
        return total

    return _torch_contestant(forward, parameters, dense, labels)


def snntorch(network: fs.Network, x: fs.SpikeTimes, labels: Any) -> Contestant:
    """snnTorch's `Leaky` in its own loop, without reset, and masked after the first spike."""
    import snntorch as snn
    import torch
    from snntorch import surrogate

    parameters, dense = _torch_parameters(network), torch.from_numpy(x.to_dense())
    w1, b1, beta1, w2, b2, beta2 = parameters
    spiking = {"spike_grad": surrogate.fast_sigmoid(slope=SLOPE), "reset_mechanism": "none"}
    lif1 = snn.Leaky(beta=beta1.detach(), learn_beta=True, **spiking)
    lif2 = snn.Leaky(beta=beta2.detach(), learn_beta=True, **spiking)
    parameters = [w1, b1, lif1.beta, w2, b2, lif2.beta]

    def forward(train: Any) -> Any:
        currents = torch.nn.functional.linear(train.permute(2, 0, 1), w1, b1)
        mem1, mem2 = lif1.reset_mem(), lif2.reset_mem()
        silent, total = 1.0, 0.0
        for current in currents.unbind(0):
            s, mem1 = lif1(current, mem1)
            s = s * silent
            silent = silent * (1 - s.detach())
            _, mem2 = lif2(torch.nn.functional.linear(s, w2, b2), mem2)
            total = total + mem2
        return total

    return _torch_contestant(forward, parameters, dense, labels)


def jax_scan(network: fs.Network, x: fs.SpikeTimes, labels: Any) -> Contestant:
    """`lax.scan` under `jit`, with the products hoisted and Adam inside the compiled step."""
    import jax
    import jax.numpy as jnp

    @jax.custom_jvp
    def spike(v: Any) -> Any:
        return (v > 0).astype(v.dtype)

    @spike.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (v,), (dv,) = primals, tangents
        return spike(v), dv / (SLOPE * jnp.abs(v) + 1) ** 2

    def forward(p: Any, train: Any) -> Any:
        currents = train @ p["w1"] + p["b1"]  # (time, batch, neurons)

        def hidden(carry: Any, current: Any) -> Any:
            v, silent = carry
            v = p["beta1"] * v + current
            s = spike(v - 1.0) * silent
            return (v, silent * (1 - jax.lax.stop_gradient(s))), s

        start = jnp.zeros(currents.shape[1:])
        _, spikes = jax.lax.scan(hidden, (start, start + 1), currents)

        def read(carry: Any, current: Any) -> Any:
            v, total = carry
            v = p["beta2"] * v + current
            return (v, total + v), None

        out = spikes @ p["w2"] + p["b2"]
        start = jnp.zeros(out.shape[1:])
        return jax.lax.scan(read, (start, start), out)[0][1]

    def loss(p: Any, train: Any, target: Any) -> Any:
        picked = jnp.take_along_axis(jax.nn.log_softmax(forward(p, train)), target[:, None], 1)
        return -picked.mean()

    @jax.jit
    def update(state: Any, train: Any, target: Any) -> Any:
        p, m, v, t = state
        value, g = jax.value_and_grad(loss)(p, train, target)
        t = t + 1
        m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
        v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
        rate = RATE * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        p = jax.tree.map(lambda a, b, c: a - rate * b / (jnp.sqrt(c) + 1e-8), p, m, v)
        return (p, m, v, t), value

    layer, last = network.layers[0], network.readout
    parameters = {
        "w1": jnp.asarray(layer.weight.T),
        "b1": jnp.asarray(layer.bias),
        "beta1": jnp.asarray(layer.beta),
        "w2": jnp.asarray(last.weight.T),
        "b2": jnp.asarray(last.bias),
        "beta2": jnp.asarray(last.beta),
    }
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    train = jnp.asarray(np.ascontiguousarray(x.to_dense().transpose(2, 0, 1)))
    target = jnp.asarray(labels.astype(np.int32))
    state = (parameters, zeros, zeros, 0)
    infer = jax.jit(forward)

    def step() -> float:
        nonlocal state
        state, value = update(state, train, target)
        return float(value)

    return Contestant(step, lambda: np.asarray(infer(parameters, train)))


PEERS = {
    "JAX lax.scan": jax_scan,
    "lean torch loop": torch_loop,
    "snnTorch Leaky": snntorch,
}


def _torch_parameters(network: fs.Network) -> list[Any]:
    import torch

    parts = (network.layers[0], network.readout)
    arrays = [a for part in parts for a in (part.weight, part.bias, part.beta)]
    return [torch.nn.Parameter(torch.tensor(array)) for array in arrays]


def _torch_surrogate() -> Any:
    import torch

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, v: Any) -> Any:
            ctx.save_for_backward(v)
            return (v > 0).to(v.dtype)

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (v,) = ctx.saved_tensors
            return grad / (SLOPE * v.abs() + 1) ** 2

    return Spike.apply


def _torch_step(model: Any, parameters: list[Any], x: Any, labels: Any) -> Callable[[], float]:
    import torch

    target = torch.tensor(labels.astype(np.int64))
    optimiser = torch.optim.Adam(parameters, lr=RATE, fused=True)

    def step() -> float:
        loss = torch.nn.functional.cross_entropy(model(x), target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    return step


def _torch_contestant(model: Any, parameters: list[Any], x: Any, labels: Any) -> Contestant:
    import torch

    def infer() -> Any:
        with torch.inference_mode():
            return model(x).numpy()

    step = _torch_step(model, parameters, x, labels)
    return Contestant(step, infer)
