"""The event engine's gradients against the dense adapter's autograd."""

from __future__ import annotations

import copy

import numpy as np
import pytest

pytestmark = pytest.mark.backend("torch")
torch = pytest.importorskip("torch", reason="torch is not installed")

import fastsnn_np as fs  # noqa: E402
from fastsnn_np import agreement  # noqa: E402
from fastsnn_np.torch import FastSNN, fit  # noqa: E402

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


def twins(seed, depth, dtype, **options):
    """The same random network under both engines; dense input and its events."""
    torch.manual_seed(seed)
    sizes = [11, 13, 9, 8][: depth + 1]
    sizes.append(4)
    model = FastSNN(sizes, dtype=dtype, engine="event", **options)
    with torch.no_grad():
        for module in (*model.layers, model.readout):
            module.weight.mul_(12 if module.input_scale == "normalised" else 2.5)
            module.bias.uniform_(-0.2, 0.2)
            module.beta.uniform_(0.3, 0.98)
        model.readout.beta.uniform_(0.9, 0.98)  # no plateau, whose maximum rounding would place
    dense = copy.deepcopy(model)
    dense.engine = "dense"
    return model, dense


def clear_samples(x, network):
    """Samples in which no hidden neuron is so close to the threshold that rounding decides."""
    clear, spikes = np.ones(len(x), bool), x.numpy().astype(np.float64)
    for layer in network.layers:
        judge = fs.reference.layer(
            spikes,
            layer.weight.astype(np.float64),
            layer.bias,
            beta=layer.beta,
            threshold=layer.threshold,
            input_scale=layer.input_scale,
            return_potential=True,
        )
        _, inside = agreement.inside_bound(
            judge.potential, dtype=layer.weight.dtype, threshold=layer.threshold
        )
        clear &= ~inside.any(-1)
        spikes = fs.SpikeTimes(judge.times, x.shape[-1]).to_dense(np.float64)
    return clear


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("gradient", ["paper", "straight_through"])
@pytest.mark.parametrize("readout", ["sum", "max"])
@pytest.mark.parametrize("scale", ["normalised", "unit"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_gradient(depth, gradient, readout, scale, dtype):
    left_out = 0
    for seed, steps in enumerate([1, 30, 65]):
        event, dense = twins(
            seed,
            depth,
            dtype,
            gradient=gradient,
            readout=readout,
            input_scale=scale,
            threshold=0.9,
        )
        x = (torch.rand(7, 11, steps) < 0.3).to(dtype) * torch.rand(7, 11, steps, dtype=dtype)
        clear = clear_samples(x, event.to_network())
        left_out += (~clear).sum()
        x = x[torch.from_numpy(clear)]
        target = torch.randint(0, 4, (len(x),))
        found = []
        for model in (event, dense):
            given = x.clone().requires_grad_()
            logits = model(given)
            torch.nn.functional.cross_entropy(logits, target).backward()
            found.append([logits, given.grad, *(p.grad for p in model.parameters())])
        for ours, expected in zip(*found, strict=True):
            largest = max(1.0, expected.abs().max().item())
            assert (ours - expected).abs().max() <= TOLERANCE[dtype] * largest
    assert left_out <= 2


@pytest.mark.parametrize("readout", ["sum", "max"])
@pytest.mark.parametrize("batch", [1, 11])
def test_layers_wider_than_a_tile(batch, readout):
    """Several tiles in every layer, and more samples than one share holds at a time."""
    torch.manual_seed(4)
    event = FastSNN(
        [6, 600, 530, 520], dtype=torch.float64, engine="event", gradient="paper", readout=readout
    )
    with torch.no_grad():
        for module in (*event.layers, event.readout):
            module.weight.mul_(2.5)
            module.beta.uniform_(0.3, 0.98)
    dense = copy.deepcopy(event)
    dense.engine = "dense"
    x = (torch.rand(batch, 6, 13) < 0.4).double() * torch.rand(batch, 6, 13, dtype=torch.float64)
    found = []
    for model in (event, dense):
        given = x.clone().requires_grad_()
        loss = (model(given) * torch.linspace(-1, 2, 520, dtype=torch.float64)).square().sum()
        found.append(torch.autograd.grad(loss, [given, *model.parameters()]))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(
            ours, expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item()
        )


def test_sparse_forms_give_the_same(rng):
    event, dense = twins(0, 2, torch.float64)
    times = torch.from_numpy(rng.integers(0, 40, (6, 11)))
    spikes = fs.SpikeTimes(torch.clamp(times, max=30), 30)
    expected = torch.autograd.grad(dense(spikes).square().sum(), list(dense.parameters()))
    for x in (spikes, spikes.to_events(), spikes.to_dense()):
        ours = torch.autograd.grad(event(x).square().sum(), list(event.parameters()))
        for a, b in zip(ours, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_several_passes_do_not_mix(rng):
    """Two forwards before two backwards, a backward twice, and gradients that add up."""
    model, _ = twins(1, 2, torch.float64)
    x = [torch.from_numpy((rng.random((4, 11, 30)) < 0.3).astype(float)) for _ in range(2)]

    def gradient(loss, **options):
        return torch.autograd.grad(loss, model.layers[0].weight, **options)[0]

    alone = [gradient(model(part).square().sum()) for part in x]
    losses = [model(part).square().sum() for part in x]
    again = [gradient(loss, retain_graph=True) for loss in losses]
    twice = [gradient(loss) for loss in losses]
    for a, b, c in zip(alone, again, twice, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_repeatable_and_independent_of_threads(rng):
    import numba

    model, _ = twins(2, 2, torch.float32)
    x = torch.from_numpy((rng.random((32, 11, 60)) < 0.2).astype(np.float32))

    def gradients():
        model.zero_grad()
        model(x).square().sum().backward()
        return [p.grad.clone() for p in model.parameters()]

    most = numba.config.NUMBA_NUM_THREADS
    try:
        first, second = gradients(), gradients()
        numba.set_num_threads(1)
        single = gradients()
    finally:
        numba.set_num_threads(most)
    for a, b, c in zip(first, second, single, strict=True):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, c, rtol=1e-4, atol=1e-4)


def test_a_weight_changed_in_between_is_refused(rng):
    model, _ = twins(0, 1, torch.float32)
    loss = model(torch.ones(2, 11, 5)).sum()
    with torch.no_grad():
        model.layers[0].weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_double_backward_is_refused():
    """Also where the loss is linear in the logits, and the gradient that comes in a constant."""
    for model in twins(0, 1, torch.float32):
        for power in (1, 2):
            loss = model(torch.ones(2, 11, 5)).pow(power).sum()
            (grad,) = torch.autograd.grad(loss, model.layers[0].weight, create_graph=True)
            with pytest.raises(RuntimeError, match="has no derivative of its own"):
                (loss + grad.square().sum()).backward()


@pytest.mark.parametrize("change", ["data", "numpy", "no_grad"])
def test_weights_are_read_anew_in_every_pass(change):
    """Whoever has changed them, and in whatever way: Torch does not count every one."""
    model = FastSNN([6, 5, 3], engine="event")
    x = torch.ones(1, 6, 9)
    model(x)
    for part in (*model.layers, model.readout):
        if change == "data":
            part.weight.data *= 3
        elif change == "numpy":
            part.weight.detach().numpy()[...] *= 3
        else:
            with torch.no_grad():
                part.weight.mul_(3)
    torch.testing.assert_close(model(x), copy.deepcopy(model)(x), rtol=0, atol=0)
    dense = copy.deepcopy(model)
    dense.engine = "dense"
    torch.testing.assert_close(model(x), dense(x), rtol=1e-5, atol=1e-5)


def test_choice_of_engine():
    times = fs.SpikeTimes(torch.zeros(2, 4, dtype=torch.int32), 5)
    auto, event = FastSNN([4, 3, 2]), FastSNN([4, 3, 2], engine="event")
    assert auto(times).grad_fn.name().startswith("_Network")
    assert not auto(times.to_dense()).grad_fn.name().startswith("_Network")
    assert event(times.to_dense()).grad_fn.name().startswith("_Network")
    with pytest.raises(ValueError, match="does not return spikes; use engine='dense'"):
        event(times, return_spikes=True)
    with pytest.raises(ValueError, match=r"x is torch\.float16; use engine='dense'"):
        event(times.to_dense(torch.float16))
    for model in (auto, event):
        with pytest.raises(TypeError, match="tensor, SpikeTimes or Events, got ndarray"):
            model(np.ones((1, 4, 5), np.float32))
    with pytest.raises(ValueError, match="the model is torch.bfloat16"):
        event.bfloat16()(times)
    with pytest.raises(ValueError, match="'auto', 'dense', 'event'"):
        FastSNN([4, 3, 2], engine="fast")
    with pytest.raises(ValueError, match="x has 3 neurons and the model expects 4"):
        FastSNN([4, 3, 2], engine="event")(torch.ones(1, 3, 5))


def test_the_first_steps_of_training_are_the_same(rng):
    """Ten steps of Adam: float64 to 1e-9."""
    event, dense = twins(3, 2, torch.float64)
    times = torch.from_numpy(rng.integers(0, 40, (200, 11)))
    x = fs.SpikeTimes(torch.clamp(times, max=30), 30)
    labels = rng.integers(0, 4, 200)
    histories = [fit(model, x, labels, epochs=1, batch_size=20) for model in (event, dense)]
    assert histories[0][0]["loss"] == pytest.approx(histories[1][0]["loss"], abs=1e-9)
    for a, b in zip(event.parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("gradient", ["paper", "straight_through"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_dropout_and_activity(gradient, dtype):
    """The loss looks at spike counts and times too, and neurons are dropped: both engines alike."""
    event, dense = twins(3, 3, dtype, gradient=gradient, dropout=0.4)
    x = (torch.rand(9, 11, 40) < 0.3).to(dtype)
    x = x[torch.from_numpy(clear_samples(x, event.to_network()))]
    target = torch.randint(0, 4, (len(x),))
    found = []
    for model in (event, dense):
        torch.manual_seed(7)  # draws the same neurons to drop
        logits, activities = model(x, return_activity=True)
        loss = torch.nn.functional.cross_entropy(logits, target)
        for i, activity in enumerate(activities):
            loss = loss + 0.3 * activity.spikes.square().mean() - (1 + i) * activity.latency.mean()
        loss.backward()
        seen = [value for activity in activities for value in activity]
        found.append([logits, *seen, *(p.grad for p in model.parameters())])
    assert sum(int(activity.per_neuron.sum()) for activity in activities) > 20
    for ours, expected in zip(*found, strict=True):
        largest = max(1.0, expected.abs().max().item())
        assert (ours - expected).abs().max() <= TOLERANCE[dtype] * largest


def test_dropout_is_for_training():
    event, dense = twins(3, 2, torch.float64, dropout=0.5)
    x = (torch.rand(9, 11, 40) < 0.3).double()
    assert not torch.equal(event(x), event(x))
    event.eval(), dense.eval()
    assert torch.equal(event(x), event(x))
    torch.testing.assert_close(event(x), dense(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_first_ten_steps_of_training(dtype, rng):
    """Adam sees the same gradients: the same ten losses and weights."""
    event, dense = twins(5, 2, dtype)
    times = torch.from_numpy(rng.integers(0, 40, (10, 16, 11)))
    target = torch.from_numpy(rng.integers(0, 4, (10, 16)))
    losses = []
    for model in (event, dense):
        optimiser = torch.optim.Adam(model.parameters(), 1e-3)
        for batch, labels in zip(times, target, strict=True):
            loss = torch.nn.functional.cross_entropy(model(fs.SpikeTimes(batch, 40)), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
    torch.testing.assert_close(
        torch.stack(losses[:10]),
        torch.stack(losses[10:]),
        rtol=TOLERANCE[dtype],
        atol=TOLERANCE[dtype],
    )
    for a, b in zip(event.parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCE[dtype])
