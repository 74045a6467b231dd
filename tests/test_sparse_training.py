"""Training on sparse spikes in the dense engine: no train is built, gradients are the same."""

from __future__ import annotations

import numpy as np
import pytest

import fastsnn_np as fs

torch = pytest.importorskip("torch")

from fastsnn_np.torch import Activity, FastLIF, FastSNN, Readout  # noqa: E402

pytestmark = pytest.mark.backend("torch")

CASES = [
    # sizes, T, options
    ([9, 14, 4], 65, {}),
    ([9, 14, 11, 4], 130, {"gradient": "paper", "readout": "max"}),
    ([9, 14, 11, 4], 64, {"input_scale": "normalised", "dropout": 0.3}),
    ([9, 14, 4], 1, {"gradient": "paper", "bias": False}),
    ([9, 14, 4], 50, {"share_beta": True, "surrogate": "arctan", "readout": "max"}),
    ([9, 14, 4], 40, {"gradient": "paper", "input_scale": "normalised", "dropout": 0.3}),
    ([9, 9, 4], 40, {"skip": True}),
    ([9, 4], 40, {}),
]


def a_model(sizes, **options):
    torch.manual_seed(0)
    model = FastSNN(sizes, engine="dense", **options)
    with torch.no_grad():
        for layer in model.layers:
            layer.weight.mul_(8)
    return model


def an_input(form, steps, batch=4):
    rng = np.random.default_rng(0)
    if form == "SpikeTimes":
        return fs.SpikeTimes(rng.integers(0, steps + 1, (batch, 9)), steps)
    density = 0.1 if form == "Events" else 0.6  # above the density that the product is for
    trains = (rng.random((batch, 9, steps)) < density) * rng.standard_normal((batch, 9, steps))
    return fs.Events.from_dense(trains)


def gradients(model, x, activity):
    """Logits and the gradients of a loss that looks at them and at the activity."""
    torch.manual_seed(5)  # the dropout's
    model.zero_grad()
    logits, activities = model(x, return_activity=True)
    loss = (logits * torch.linspace(-1, 2, logits.shape[1])).square().sum()
    if activity:
        loss = loss + sum((a.spikes**2).sum() + 0.01 * (a.latency**2).sum() for a in activities)
    loss.backward()
    fired = [a.per_neuron for a in activities]
    return [logits.detach(), *fired, *(p.grad.clone() for p in model.parameters())]


@pytest.mark.parametrize("form", ["SpikeTimes", "Events", "dense Events"])
@pytest.mark.parametrize("activity", [False, True])
@pytest.mark.parametrize(("sizes", "steps", "options"), CASES)
def test_gradients_are_those_of_dense_autograd(form, activity, sizes, steps, options):
    model = a_model(sizes, dtype=torch.float64, **options)
    x = an_input(form, steps)
    ours = gradients(model, x, activity)
    dense = torch.from_numpy(x.to_dense(dtype=np.float64))
    for found, expected in zip(ours, gradients(model, dense, activity), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_parts_of_neurons_change_nothing(monkeypatch):
    """Neurons are computed by as many at a time as stay in cache: here by one or two."""
    from fastsnn_np.torch import spike_times

    model = a_model([9, 14, 11, 4], dtype=torch.float64)
    x = an_input("SpikeTimes", 60)
    whole = gradients(model, x, True)
    backend = type(spike_times._BACKEND)(
        **{**vars(spike_times._BACKEND), "cache_bytes": 2 * 4 * 60 * 8}
    )
    monkeypatch.setattr(spike_times, "_BACKEND", backend)
    for found, expected in zip(gradients(model, x, True), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", ["SpikeTimes", "Events"])
def test_no_train_is_built(form, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("made dense")

    model, x = a_model([9, 14, 11, 4]), an_input(form, 60)
    monkeypatch.setattr(fs.SpikeTimes, "to_dense", refuse)
    monkeypatch.setattr(fs.Events, "to_dense", refuse)
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    lif, readout = FastLIF(9, 5), Readout(9, 3)
    lif(x).sum().backward()
    readout(x).sum().backward()
    assert lif.weight.grad is not None
    assert readout.weight.grad is not None


@pytest.mark.parametrize("form", ["SpikeTimes", "Events"])
def test_layers_on_their_own(form):
    """`FastLIF` and `Readout` take sparse spikes, and give what they give for a train."""
    torch.manual_seed(0)
    x = an_input(form, 60)
    dense = torch.from_numpy(x.to_dense(dtype=np.float64))
    for part in (FastLIF(9, 5, dtype=torch.float64), Readout(9, 3, dtype=torch.float64)):
        found, expected = part(x), part(dense)
        torch.testing.assert_close(found, expected)
        (ours,) = torch.autograd.grad(found.square().sum(), part.weight)
        (theirs,) = torch.autograd.grad(expected.square().sum(), part.weight)
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_hooks_of_layers_are_called():
    model, x = a_model([9, 14, 4]), an_input("SpikeTimes", 60)
    seen = []
    model.layers[0].register_forward_hook(lambda module, given, out: seen.append(out))
    logits, activities = model(x, return_activity=True)
    assert len(seen) == 1
    torch.testing.assert_close(activities[0].spikes, Activity.of(seen[0]).spikes)
    assert logits.shape == (4, 4)


@pytest.mark.parametrize("batch", [0, 1])
def test_small_batches(batch):
    model = a_model([9, 14, 4])
    x = an_input("SpikeTimes", 60, batch)
    model(x).sum().backward()
    assert model(x).shape == (batch, 4)
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters())


def test_autocast_leaves_the_sparse_path_exact():
    model, x = a_model([9, 14, 4]), an_input("SpikeTimes", 60)
    plain = model(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = model(x)
    torch.testing.assert_close(cast, plain, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore")  # Dynamo warns of functions that it wraps
def test_it_stays_out_of_the_compilers_graph():
    model, x = a_model([9, 14, 4]), an_input("SpikeTimes", 60)
    compiled = torch.compile(model, backend="eager")
    torch.testing.assert_close(compiled(x), model(x))
    lif = torch.compile(model.layers[0], backend="eager")
    torch.testing.assert_close(lif(x), model.layers[0](x))


def test_a_second_derivative_is_refused():
    model, x = a_model([9, 14, 4]), an_input("SpikeTimes", 60)
    loss = model(x).square().sum()
    (grad,) = torch.autograd.grad(loss, model.layers[0].weight, create_graph=True)
    with pytest.raises(RuntimeError, match="no derivative of its own"):
        grad.sum().backward()


def test_spike_times_of_another_device_are_refused():
    model = a_model([9, 14, 4])
    times = fs.SpikeTimes.unchecked(torch.zeros(2, 9, dtype=torch.int32, device="meta"), 60)
    with pytest.raises(ValueError, match="x is on device meta and weight on cpu"):
        model(times)
