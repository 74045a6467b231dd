"""Neurons that fire again and again, on the events: against a plain loop under float64 autograd."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastsnn_np._kinds import Neuron
from fastsnn_np.backends.event import layers, spiking_layers

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.backend("torch")

KINDS = [
    Neuron(fires="always", reset=reset, reset_at=place, refractory=r, adaptation=adaptation)
    for reset, place, r, adaptation in itertools.product(
        ("subtract", "zero", "none"),
        ("after decay", "before decay"),
        (0, 2),
        ("none", "threshold", "current"),
    )
]


class Spike(torch.autograd.Function):
    """1 above 0, with eq. 20 where |v| is below the support as its derivative."""

    @staticmethod
    def forward(ctx, v, slope, support):
        ctx.save_for_backward(v)
        ctx.options = slope, support
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(ctx, grad):
        (v,) = ctx.saved_tensors
        slope, support = ctx.options
        h = torch.where(v.abs() < support, (slope * v.abs() + 1) ** -2, 0)
        return grad * h, None, None


def loop(x, p, kind, scale, surrogate):
    """Spikes (batch, neurons, time): the design, section 9, as it stands there."""
    beta, theta = p["beta"], p["threshold"]
    sc = 1 if scale == "unit" else 1 - beta
    u = x.new_zeros(len(x), len(beta))
    s, w, since = u, u, torch.full_like(u, 10**6)
    out = []
    for t in range(x.shape[-1]):
        current = x[..., t] @ p["weight"].T + p["bias"]
        if "recurrent" in p:
            current = current + s @ p["recurrent"].T
        let = s if surrogate.through else s.detach()
        height = theta if surrogate.through else theta.detach()
        r = {"subtract": height * let, "zero": u * let, "none": 0}[kind.reset]
        if kind.adaptation == "current":
            w = p["rho"] * w + p["a"] * u + p["b"] * s
        elif kind.adaptation == "threshold":
            w = p["rho"] * w + p["b"] * s
        before = kind.reset_at == "before decay"
        u = (beta * (u - r) if before else beta * u - r) + sc * current
        if kind.adaptation == "current":
            u = u - w
        level = u - theta - (w if kind.adaptation == "threshold" else 0)
        s = Spike.apply(level, surrogate.slope, surrogate.support)
        s = s * (since >= kind.refractory)
        since = torch.where(s.detach() > 0, 0, since + 1)
        out.append(s)
    return torch.stack(out, dim=-1)


def drawn(rng, inputs, neurons, kind, recurrent, gain):
    p = {
        "weight": (rng.normal(size=(neurons, inputs)) * 2 / np.sqrt(inputs) + 0.2) * gain,
        "bias": rng.normal(size=neurons) * 0.1,
        "beta": rng.uniform(0.5, 0.95, neurons),
        "threshold": rng.uniform(0.6, 1.2, neurons),
    }
    if recurrent:
        p["recurrent"] = rng.normal(size=(neurons, neurons)) * 0.6 / np.sqrt(neurons)
    if kind.adaptation != "none":
        p |= {"rho": rng.uniform(0.5, 0.95, neurons), "b": rng.uniform(0, 0.3, neurons)}
    if kind.adaptation == "current":
        p["a"] = rng.uniform(0, 0.1, neurons)
    return p


def events(rng, batch, inputs, steps, density, valued):
    x = (rng.random((batch, inputs, steps)) < density).astype(float)
    return x * rng.normal(1.0, 0.3, x.shape) if valued else x


def parameters(p, kind, scale):
    return spiking_layers.Parameters(
        p["weight"], p["bias"], p["beta"], scale, kind, p["threshold"],
        *(p.get(name) for name in ("recurrent", "rho", "a", "b")),
    )  # fmt: skip


def dense(rows, steps):
    out = np.zeros((len(rows.indptr), rows.n_inputs, steps))
    for b, t in itertools.product(range(len(out)), range(steps)):
        out[b, rows.indices[rows.indptr[b, t] : rows.indptr[b, t + 1]], t] += 1
    return out


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("recurrent", [False, True])
def test_gradients_of_two_layers_are_autograds(kind, recurrent):
    rng = np.random.default_rng(2 * KINDS.index(kind) + recurrent)
    batch, inputs, steps = 3, 9, 25
    scale = ("unit", "normalised")[int(rng.integers(2))]
    through, support = bool(rng.integers(2)), (np.inf, 0.5)[int(rng.integers(2))]
    surrogate = spiking_layers.Surrogate(5.0, support, through)
    sizes = [inputs, int(rng.choice([5, 16, 20, 70])), int(rng.choice([3, 40, 100])), 4]
    gain = 1 if scale == "unit" else 4
    pairs = zip(sizes[:2], sizes[1:3], strict=True)
    given = [drawn(rng, n, k, kind, recurrent, gain) for n, k in pairs]
    x = events(rng, batch, inputs, steps, 0.4, valued=bool(rng.integers(2)))
    weight = rng.normal(size=(sizes[3], sizes[2]))
    up = rng.normal(size=(batch, sizes[3], steps))
    kept = rng.random((batch, sizes[1])) < 0.8

    tensors = [{k: torch.tensor(v, requires_grad=True) for k, v in p.items()} for p in given]
    dense_x = torch.tensor(x, requires_grad=True)
    first = loop(dense_x, tensors[0], kind, scale, surrogate)
    second = loop(first * torch.tensor(kept)[..., None] * 1.25, tensors[1], kind, scale, surrogate)
    loss = (torch.einsum("cn,bnt->bct", torch.tensor(weight), second) * torch.tensor(up)).sum()
    count, latency = rng.normal(size=(2, batch))
    left = torch.arange(steps, 0, -1, dtype=torch.float64)
    loss = loss + (first.sum((1, 2)) * torch.tensor(count)).sum()
    loss = loss - ((first.sum(1) * left).sum(-1) * torch.tensor(latency)).sum()
    loss.backward()

    rows = layers.rows_of(x, np.float64)
    below = spiking_layers.prepared(parameters(given[0], kind, scale))
    above = spiking_layers.prepared(parameters(given[1], kind, scale), factor=1.25)
    run = spiking_layers.forward(rows, below, keep=True)
    between = spiking_layers.passed(run.rows, kept)
    last = spiking_layers.forward(between, above, keep=True)
    np.testing.assert_array_equal(dense(run.rows, steps), first.detach().numpy())
    np.testing.assert_array_equal(dense(last.rows, steps), second.detach().numpy())
    assert first.sum() > 0
    assert second.sum() > 0

    current = up.transpose(0, 2, 1)
    top = spiking_layers.backward(
        between, above, last, spiking_layers.FromLayer(current, weight), surrogate,
        keep_current=True,
    )  # fmt: skip
    over = spiking_layers.FromLayer(top.current, given[1]["weight"] * 1.25, kept)
    low = spiking_layers.backward(
        rows, below, run, over, surrogate, keep_current=True, activity=(count, latency)
    )
    for found, p in ((low, tensors[0]), (top, tensors[1])):
        for name, tensor in p.items():
            expected = tensor.grad.numpy()
            limit = 1e-9 * (1 + np.abs(expected).max())
            np.testing.assert_allclose(
                getattr(found, name), expected, atol=limit, rtol=0, err_msg=name
            )
    dx = low.current @ given[0]["weight"]
    np.testing.assert_allclose(dx.transpose(0, 2, 1), dense_x.grad.numpy(), atol=1e-9)
