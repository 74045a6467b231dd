"""`SpikingSNN`: the event engine against the plain loop under Torch's autograd, in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastsnn_np import Events, Neuron

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.backend("torch")
from fastsnn_np.torch import SpikingLIF, SpikingSNN  # noqa: E402
from fastsnn_np.torch.spiking_modules import WeightedReadout  # noqa: E402

KINDS = [
    Neuron("always"),
    Neuron("always", adaptation="threshold", refractory=2),
    Neuron("always", reset="zero", reset_at="before decay", adaptation="current"),
]


def model_of(engine, kind, *, recurrent=True, scale="unit", dropout=0.0, detach=True):
    torch.manual_seed(0)
    model = SpikingSNN(
        [9, 20, 7, 4],
        neuron=kind,
        recurrent=recurrent,
        dt=4.0,
        tau_weight=200.0,
        input_scale=scale,
        dropout=dropout,
        support=0.5,
        detach_reset=detach,
        engine=engine,
        dtype=torch.float64,
    )
    with torch.no_grad():
        for layer in model.hidden():
            layer.weight.mul_(4).add_(0.2)
    return model


@pytest.mark.parametrize(
    ("kind", "scale", "detach"),
    list(itertools.product(KINDS, ["unit", "normalised"], [True, False])),
    ids=str,
)
def test_the_engines_agree(kind, scale, detach):
    x = (torch.rand(5, 9, 30, generator=torch.Generator().manual_seed(1)) < 0.4).double()
    found = []
    for engine in ("event", "dense"):
        model = model_of(engine, kind, scale=scale, dropout=0.3, detach=detach)
        dense = x.clone().requires_grad_()
        torch.manual_seed(2)
        logits, activities = model(dense, return_activity=True)
        loss = torch.nn.functional.cross_entropy(logits, torch.arange(5) % 4)
        for activity in activities:
            loss = loss + 1e-3 * activity.spikes.sum() + 1e-5 * activity.latency.sum()
        loss.backward()
        grads = {name: p.grad for name, p in model.named_parameters()}
        found.append((logits, [a.per_neuron for a in activities], dense.grad, grads))
    (logits, counts, dx, grads), (expected, expected_counts, expected_dx, autograd) = found
    assert all(c.sum() > 0 for c in counts) or scale == "normalised"
    torch.testing.assert_close(logits, expected)
    assert all(map(torch.equal, counts, expected_counts))
    torch.testing.assert_close(dx, expected_dx, rtol=0, atol=1e-10)
    assert grads.keys() == autograd.keys()
    for name, grad in grads.items():
        torch.testing.assert_close(grad, autograd[name], rtol=0, atol=1e-9, msg=name)


def test_sparse_input_is_dense_input():
    rng = np.random.default_rng(0)
    x = rng.random((3, 9, 20)) < 0.3
    model = model_of("event", KINDS[2])
    sparse = model(Events.from_dense(x))
    torch.testing.assert_close(sparse, model(torch.from_numpy(x.astype(float))))
    model.engine = "dense"
    torch.testing.assert_close(sparse, model(Events.from_dense(x)))


def test_the_weighted_readout_is_its_definition():
    readout = WeightedReadout(6, 3, tau_weight=50.0, bias=True, dt=2.0, dtype=torch.float64)
    x = (torch.rand(4, 6, 25) < 0.3).double()
    with torch.no_grad():
        readout.bias.uniform_(-1, 1)
        v = readout.potential(x)
        weights = readout.gamma ** torch.arange(25, dtype=torch.float64)
        torch.testing.assert_close(readout(x), (v * weights).sum(-1))
        profile = torch.from_numpy(readout.profile(25))
        closed = (x * profile).sum(-1) @ readout.weight.T + profile.sum() * readout.bias
        torch.testing.assert_close(readout(x), closed)


def test_parameters_come_back_into_their_ranges():
    layer = SpikingLIF(3, 4, neuron=Neuron("always", adaptation="current"))
    with torch.no_grad():
        layer.rho.fill_(1.5)
        layer.a.fill_(-1.0)
        layer.b.fill_(-1.0)
    rho, a, b = layer.adaptation()
    assert rho.max() < 1
    assert a.min() == 0
    assert b.min() == 0
    (rho.sum() - a.sum() + b.sum()).backward()  # to be lowered, raised, and lowered
    assert (layer.rho.grad == 1).all()
    assert (layer.a.grad == -1).all()
    assert (layer.b.grad == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neuron": Neuron()}, "fire once"),
        ({"neuron": "adaptive"}, "neuron must be a Neuron"),
        ({"support": 0.0}, "support must be above 0"),
        ({"tau_adaptation": -1.0}, "tau_adaptation"),
        ({"engine": "auto"}, "engine must be one of"),
        ({"tau_weight": 0.0}, "tau_weight"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SpikingSNN([3, 4, 2], **options)
    with pytest.raises(TypeError, match="no option 'gradient'"):
        SpikingSNN([3, 4, 2], gradient="paper")


def test_a_weighted_sum_is_no_readout_of_a_network():
    network_readout = WeightedReadout(6, 3).to_readout()
    assert network_readout.kind == "sum"
    with pytest.raises(ValueError, match="no weighted sum"):
        WeightedReadout(6, 3, tau_weight=50.0).to_readout()
    with pytest.raises(ValueError, match="one beta"):
        WeightedReadout.from_readout(network_readout)


def test_settings_are_checked_when_they_are_set():
    layer = SpikingLIF(3, 4)
    for name, value in (("neuron", Neuron()), ("support", -1.0), ("slope", 0.0)):
        with pytest.raises(ValueError, match=name if name != "neuron" else "fire once"):
            setattr(layer, name, value)
    with pytest.raises(TypeError, match="detach_reset"):
        layer.detach_reset = "no"
    with pytest.raises(TypeError, match="recurrent must be True or False"):
        SpikingLIF(3, 4, recurrent="yes")
