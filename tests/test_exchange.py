"""Networks of snnTorch and Norse here, ours there: each library in an environment of its own."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np import agreement, convert, reference

pytestmark = [
    pytest.mark.backend("exchange"),
    # theirs
    pytest.mark.filterwarnings("ignore:nirtorch:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Inhibition is an unstable:UserWarning"),
]

INPUTS, NEURONS, CLASSES, STEPS, BATCH = 64, 1000, 10, 120, 10


@pytest.fixture
def spikes(rng):
    return (rng.random((BATCH, INPUTS, STEPS)) < 0.1).astype(np.float32)


def a_network(scale="unit"):
    """Ten thousand neurons and samples, two thirds of which fire."""
    rng = np.random.default_rng(1)

    def part(n_in, n_out):
        beta = rng.uniform(0.88, 0.95, n_out).astype(np.float32)
        weight = rng.normal(0.01, 0.13, (n_out, n_in)) / (
            1 if scale == "unit" else 1 - beta[:, None]
        )
        bias = rng.normal(0, 0.01, n_out).astype(np.float32)
        return {
            "weight": weight.astype(np.float32),
            "bias": bias,
            "beta": beta,
            "input_scale": scale,
        }

    hidden = fs.Layer(**part(INPUTS, NEURONS))
    return fs.Network((hidden,), fs.Readout(**part(NEURONS, CLASSES)))


def judged(first, x, layer):
    """Their first spikes beside the float64 reference with our parameters."""
    judge = reference.layer(
        x.astype(np.float64),
        layer.weight.astype(np.float64),
        layer.bias.astype(np.float64),
        beta=layer.beta.astype(np.float64),
        threshold=layer.threshold,
        input_scale=layer.input_scale,
        return_potential=True,
    )
    return agreement.spike_times(
        first.astype(np.int32), judge.potential, dtype=np.float32, threshold=layer.threshold
    )


def first_of(trains):
    """First spike steps of 0 and 1 trains (batch, neurons, time)."""
    return np.where(trains.any(-1), trains.argmax(-1), trains.shape[-1])


def saved(network, path, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that neurons fire again
        convert.to_nir(network, path, *arguments, **options)
    return path


def read(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the last neurons become the readout
        return convert.from_nir(path, **options)


# --- snnTorch -----------------------------------------------------------------------------------


def leaky_network(reset):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    snn = pytest.importorskip("snntorch", reason="snntorch is not installed")
    torch.manual_seed(0)

    def leaky(count, reset, **options):
        return snn.Leaky(
            beta=torch.rand(count) * 0.2 + 0.75,
            threshold=torch.ones(count),
            reset_mechanism=reset,
            init_hidden=True,
            **options,
        )

    return torch.nn.Sequential(
        torch.nn.Linear(INPUTS, NEURONS),
        leaky(NEURONS, reset),
        torch.nn.Linear(NEURONS, CLASSES),
        leaky(CLASSES, "none", output=True),
    )


def trains_of(net, x):
    """Spikes of the hidden Leaky, (batch, neurons, time)."""
    import torch

    steps = []
    with torch.no_grad():
        net[1].reset_mem()
        for t in range(x.shape[-1]):
            steps.append(net[1](net[0](torch.from_numpy(x[..., t].copy()))).numpy())
    return np.stack(steps, axis=-1)


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_snntorch_here(tmp_path, spikes, reset):
    """First spikes are equal for every reset, by NIR and directly."""
    net = leaky_network(reset)
    import nir
    import torch
    from snntorch.export_nir import export_to_nir

    nir.write(tmp_path / "snn.nir", export_to_nir(net, torch.randn(INPUTS)))
    trains = trains_of(net, spikes)
    first = first_of(trains)
    assert 0.2 < (first < STEPS).mean() < 0.95
    for network in (read(tmp_path / "snn.nir", dialect="snntorch"), convert.from_snntorch(net)):
        layer = network.layers[0]
        np.testing.assert_array_equal(layer.weight, net[0].weight.detach().numpy())
        np.testing.assert_allclose(layer.beta, net[1].beta.numpy(), rtol=1e-6)
        same = judged(first, spikes, layer)
        assert same.ok and same.neurons == BATCH * NEURONS, same
        ours = fs.forward(spikes, network, backend="numpy").spike_times[0]
        assert judged(ours, spikes, layer).ok
    if reset == "subtract":  # their multi-spike network is our standard one, eq. 2
        layer = convert.from_snntorch(net).layers[0]
        standard = reference.standard_layer(
            spikes, layer.weight, layer.bias, beta=layer.beta, input_scale="unit"
        )
        assert (standard.spikes != trains).any(-1).mean() < 1e-3  # near ties


@pytest.mark.parametrize("scale", ["unit", "normalised"])
@pytest.mark.parametrize("n_steps", [None, 500])
def test_ours_in_snntorch(tmp_path, rng, scale, n_steps):
    """With self-inhibition also the logits: nobody fires twice in 500 steps."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    snn = pytest.importorskip("snntorch", reason="snntorch is not installed")
    import nir
    from snntorch.import_nir import import_from_nir

    network = a_network(scale)
    path = saved(network, tmp_path / "ours.nir", "snntorch", n_steps=n_steps)
    module = import_from_nir(nir.read(path))
    lif, last = (part for part in module.modules() if isinstance(part, snn.Leaky))
    seen = []
    lif.register_forward_hook(lambda part, given, out: seen.append(out.numpy()))
    x = (rng.random((BATCH, INPUTS, n_steps or STEPS)) < 0.1).astype(np.float32)
    state, logits = None, 0
    with torch.no_grad():
        for t in range(x.shape[-1]):
            step = torch.from_numpy(x[..., t].copy())
            state = module(step, state)[1]
            logits = logits + last.mem.numpy()
    trains = np.stack(seen, axis=-1)
    assert judged(first_of(trains), x, network.layers[0]).ok
    again = (trains.sum(-1) > 1).mean()
    if n_steps is None:
        assert again > 0.1
    else:
        assert again == 0
        ours = fs.forward(x, network, backend="numpy").logits
        np.testing.assert_allclose(logits, ours, rtol=0, atol=1e-4 * np.abs(ours).max())


def test_modules_of_snntorch_that_are_no_networks():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    snn = pytest.importorskip("snntorch", reason="snntorch is not installed")
    nn = torch.nn
    leaky = snn.Leaky(beta=0.9)
    rows = [
        (nn.Sequential(nn.Linear(3, 2), nn.ReLU()), "1 is a ReLU where a Leaky is wanted"),
        (nn.Sequential(nn.Linear(3, 2), snn.Synaptic(alpha=0.8, beta=0.9)), "1 is a Synaptic"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), leaky), "0 is a Conv2d where a Linear is wanted"),
        (nn.Sequential(nn.Linear(3, 2), leaky, nn.Linear(2, 2)), "must end with a Leaky"),
        (nn.Sequential(), "must end with a Leaky|module is a Sequential"),
        (nn.Sequential(nn.Linear(3, 2), snn.Leaky(beta=0.9, inhibition=True)), "1 has inhibition"),
        (nn.Sequential(nn.Linear(3, 2), snn.Leaky(beta=1.5)), "beta must lie inside"),
        (
            nn.Sequential(nn.Linear(3, 2), snn.Leaky(beta=torch.rand(4))),
            r"1.beta must have.*\(2,\)",
        ),
        (
            nn.Sequential(nn.Linear(3, 2), snn.Leaky(beta=0.9, graded_spikes_factor=2.0)),
            "1 has graded spikes",
        ),
    ]
    for module, words in rows:
        with pytest.raises(ValueError, match=words):
            convert.from_snntorch(module)
    with pytest.raises(TypeError, match=r"module must be a torch.nn.Module, got int"):
        convert.from_snntorch(5)


def test_thresholds_per_neuron_and_a_module_of_attributes(spikes):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    snn = pytest.importorskip("snntorch", reason="snntorch is not installed")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = torch.nn.Dropout(0.5)
            self.fc1 = torch.nn.Linear(INPUTS, NEURONS, bias=False)
            self.lif1 = snn.Leaky(beta=0.9, threshold=torch.rand(NEURONS) + 0.5, init_hidden=True)
            self.fc2 = torch.nn.Linear(NEURONS, CLASSES)
            self.lif2 = snn.Leaky(beta=0.95)

    torch.manual_seed(0)
    net = Net()
    network = convert.from_snntorch(net, dt=2.0, readout="max")
    assert (network.dt, network.readout.kind, network.layers[0].bias) == (2.0, "max", None)
    first = first_of(trains_of([net.fc1, net.lif1], spikes))
    ours = fs.forward(spikes, network, backend="numpy").spike_times[0]
    assert (ours != first).mean() < 1e-3


# --- Norse --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dt", [None, 1.0])
def test_norse_here(tmp_path, spikes, dt):
    """Its taus as it writes them, divided by its step, and as they are with dt=1."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    import nir
    from norse.torch.functional.leaky_integrator_box import LIBoxParameters
    from norse.torch.functional.lif_box import LIFBoxParameters

    torch.manual_seed(0)
    one, zero = torch.ones(NEURONS), torch.zeros(NEURONS)
    cell = norse.LIFBoxCell(
        LIFBoxParameters(tau_mem_inv=torch.rand(NEURONS) * 60 + 60, v_th=one, v_leak=zero),
        dt=1e-3,
    )
    last = LIBoxParameters(tau_mem_inv=torch.full((CLASSES,), 50.0), v_leak=torch.zeros(CLASSES))
    linear = torch.nn.Linear(INPUTS, NEURONS)
    linear.weight.data *= 10
    net = norse.SequentialState(
        linear, cell, torch.nn.Linear(NEURONS, CLASSES), norse.LIBoxCell(last, dt=1e-3)
    )
    options = {} if dt is None else {"dt": dt}
    nir.write(tmp_path / "norse.nir", norse.to_nir(net, torch.randn(INPUTS), **options))
    how = {"dialect": "norse"} if dt is None else {"rule": "euler"}
    network = read(tmp_path / "norse.nir", **how)
    assert network.layers[0].input_scale == "normalised"
    state, steps = None, []
    with torch.no_grad():
        for t in range(STEPS):
            spike, state = cell(linear(torch.from_numpy(spikes[..., t].copy())), state)
            steps.append(spike.numpy())
    first = first_of(np.stack(steps, axis=-1))
    assert 0.2 < (first < STEPS).mean() < 0.95
    same = judged(first, spikes, network.layers[0])
    assert same.ok and same.neurons == BATCH * NEURONS, same


@pytest.mark.parametrize("scale", ["unit", "normalised"])
def test_ours_in_norse(tmp_path, spikes, scale):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    import nir

    network = a_network(scale)
    path = saved(network, tmp_path / "ours.nir", "norse")
    module = norse.from_nir(nir.read(path), dt=network.dt / 1000)
    seen = []
    hidden = module.get_submodule("layer_000_neurons")
    hidden.register_forward_hook(lambda part, given, out: seen.append(out[0].numpy()))
    state = None
    with torch.no_grad():
        for t in range(STEPS):
            _, state = module(torch.from_numpy(spikes[..., t].copy()), state)
    same = judged(first_of(np.stack(seen, axis=-1)), spikes, network.layers[0])
    assert same.ok, same
