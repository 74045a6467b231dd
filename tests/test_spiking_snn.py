"""`SpikingSNN`: the event engine against the plain loop under Torch's autograd, in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np import Events, Neuron

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.backend("torch")
from fastsnn_np.torch import FastLIF, SpikingLIF, SpikingSNN, StandardSNN  # noqa: E402
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


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("recurrent", [False, True])
def test_a_model_is_a_network(kind, recurrent, tmp_path):
    """Through a file and back, with the same logits in every engine."""
    model = model_of("event", kind, recurrent=recurrent)
    model.to_network().save(tmp_path / "a.safetensors")
    network = fs.Network.load(tmp_path / "a.safetensors")
    assert network.dt == 4.0
    x = np.random.default_rng(0).random((3, 9, 20)) < 0.3
    logits = model(torch.from_numpy(x.astype(float))).detach().numpy()
    for engine in ("dense", "event"):
        result = fs.forward(x, network, engine=engine)
        assert result.spike_counts[1].all()
        np.testing.assert_allclose(result.logits, logits, rtol=1e-10, atol=1e-12)
    back = SpikingSNN.from_network(network, support=0.5)
    ours, theirs = back.state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (back.dt, back.engine) == (4.0, "event")


def test_what_no_model_has_is_refused():
    summed = WeightedReadout(6, 3).to_readout()
    assert (summed.kind, summed.gamma) == ("sum", None)
    assert WeightedReadout.from_readout(summed).gamma == 1
    for readout, options in (
        (fs.Readout(np.ones((3, 6)), kind="max"), {}),
        (fs.Readout(np.ones((2, 6)), beta=np.array([0.5, 0.6])), {}),
        (summed, {"learn_beta": True}),
    ):
        with pytest.raises(ValueError, match="Readout.from_readout takes others"):
            WeightedReadout.from_readout(readout, **options)
    w, always = np.ones((3, 6)), Neuron("always")
    adapting = Neuron("always", adaptation="current")
    for layer, words in (
        (fs.Layer(w), "fire once"),
        (fs.Layer(w, neuron=always, delay=np.ones(6, int)), "one threshold and no delays"),
        (fs.Layer(w, neuron=always, threshold=np.ones(3)), "one threshold and no delays"),
        (fs.Layer(w, neuron=adapting, rho=0.5, a=0.5), "a of the layer, up to 0.5, would be"),
        (fs.Layer(w, neuron=adapting, rho=0.9999), "rho of the layer.* clamped to 0.999 here"),
    ):
        with pytest.raises(ValueError, match=words):
            SpikingLIF.from_layer(layer)
    for layer in (fs.Layer(w, neuron=always), fs.Layer(w, delay=np.ones(6, int))):
        with pytest.raises(ValueError, match="neurons of a FastLIF fire once, and have no delays"):
            FastLIF.from_layer(layer)


def test_settings_are_checked_when_they_are_set():
    layer = SpikingLIF(3, 4)
    for name, value in (("neuron", Neuron()), ("support", -1.0), ("slope", 0.0)):
        with pytest.raises(ValueError, match=name if name != "neuron" else "fire once"):
            setattr(layer, name, value)
    with pytest.raises(TypeError, match="detach_reset"):
        layer.detach_reset = "no"
    with pytest.raises(TypeError, match="recurrent must be True or False"):
        SpikingLIF(3, 4, recurrent="yes")


@pytest.mark.parametrize("readout", ["max", "sum"])
@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("scale", ["unit", "normalised"])
def test_the_standard_network_by_events_is_the_loops(readout, detach, scale):
    """Logits, activity and gradients of one and two hidden layers, also of dense input."""
    for hidden in ([17], [70, 9]):
        torch.manual_seed(len(hidden))
        model = StandardSNN(
            [8, *hidden, 4], readout=readout, detach_reset=detach, input_scale=scale, slope=10.0,
            learn_beta=True, tau=6.0, threshold=0.8, dtype=torch.float64,
        )  # fmt: skip
        with torch.no_grad():
            for part in (*model.hidden(), model.readout):
                part.weight.mul_(3 if scale == "unit" else 12)
                part.bias.uniform_(-0.1, 0.1)
        x = (torch.rand(5, 8, 30) < 0.3).double().requires_grad_()
        found = []
        for engine in ("dense", "event"):
            model.engine = engine
            model.zero_grad()
            x.grad = None
            logits, activity = model(x, return_activity=True)
            loss = logits.square().sum() + sum(a.spikes.sum() + a.latency.mean() for a in activity)
            loss.backward()
            grads = [p.grad for p in model.parameters()]
            found.append([logits, x.grad, *grads, *[a for group in activity for a in group]])
        assert found[0][-1].sum() > 0
        for expected, ours in zip(*found, strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)
        model.engine = "auto"
        torch.testing.assert_close(model(Events.from_dense(x.detach().numpy())), found[0][0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"single_spike": True}, "fire once"),
        ({"surrogate": "arctan"}, "fast sigmoid"),
    ],
)
def test_what_the_event_engine_does_not_take(options, message):
    model = StandardSNN([3, 4, 2], engine="event", **options)
    x = Events.from_arrays([1], [2], n_neurons=3, n_steps=5)
    with pytest.raises(ValueError, match=message):
        model(x)
    with pytest.raises(ValueError, match="float32 or float64"):
        StandardSNN([3, 4, 2], engine="event").half()(x)
    with pytest.raises(ValueError, match="engine must be"):
        StandardSNN([3, 4, 2], engine="fast")
