"""The torch adapter: gradients in closed form against autograd and differences, and training."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.backend("torch")
torch = pytest.importorskip("torch", reason="torch is not installed")

import fastsnn_np as fs  # noqa: E402
from fastsnn_np.torch import FastLIF, FastSNN, Readout, first_spike, fit, spike  # noqa: E402

F64 = torch.float64
GRADIENTS = ["paper", "straight_through"]
READOUTS = ["sum", "max"]
SCALES = ["normalised", "unit"]


class Surrogate(torch.autograd.Function):
    """Threshold with the fast sigmoid's derivative (eq. 20), step by step: the oracle's f."""

    @staticmethod
    def forward(ctx, v, threshold, slope):
        ctx.save_for_backward(v)
        ctx.threshold, ctx.slope = threshold, slope
        return (v > threshold).to(v.dtype)

    @staticmethod
    def backward(ctx, grad):
        (v,) = ctx.saved_tensors
        return grad * (ctx.slope * (v - ctx.threshold).abs() + 1) ** -2, None, None


class StraightG(torch.autograd.Function):
    """g with derivative 1, the authors' second version."""

    @staticmethod
    def forward(ctx, z):
        return fs.g(z)

    @staticmethod
    def backward(ctx, grad):
        return grad


def oracle_spikes(v, gradient, slope, threshold=1.0):
    z = fs.phi(Surrogate.apply(v, threshold, slope))
    return fs.g(z) if gradient == "paper" else StraightG.apply(z)


def oracle_potential(x, module, v0):
    """Eq. 5 as a loop over time that autograd can follow."""
    current = torch.einsum("ij,bjt->bit", module.weight, x) + module.bias[:, None]
    scale = 1 - module.beta if module.input_scale == "normalised" else 1.0
    v, steps = v0, []
    for t in range(x.shape[-1]):
        v = module.beta * v + scale * current[..., t]
        steps.append(v)
    return torch.stack(steps, -1)


def random_model(seed, sizes, readout, scale, gradient, slope):
    torch.manual_seed(seed)
    model = FastSNN(
        sizes, readout=readout, input_scale=scale, gradient=gradient, slope=slope, dtype=F64
    )
    with torch.no_grad():
        for module in (*model.layers, model.readout):
            module.weight.mul_(12 if scale == "normalised" else 3)
            module.bias.uniform_(-0.3, 0.3)
            module.beta.uniform_(0.3, 0.98)
        # slow enough that no potential reaches a plateau, where rounding would place the maximum
        model.readout.beta.uniform_(0.9, 0.98)
    return model


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("scale", SCALES)
def test_every_gradient_equals_autograd(depth, gradient, readout, scale):
    """Weights, biases, beta, V0 and input of 1 to 3 layers, against g(phi(surrogate(V)))."""
    slope, fired = 10.0, 0
    for seed in range(3):
        sizes = [*[6, 7, 5, 4][:depth], 3]
        model = random_model(seed, sizes, readout, scale, gradient, slope)
        steps = [1, 23, 71][seed]
        x = (torch.rand(4, 6, steps, dtype=F64) < 0.4).to(F64).requires_grad_()
        v0 = [0.3 * torch.randn(4, n, dtype=F64) for n in sizes[1:]]
        v0 = [v.requires_grad_() for v in v0]
        modules = [*model.layers, model.readout]
        leaves = [x, *v0, *model.parameters()]
        target = torch.randint(0, 3, (4,))

        s = x
        for module, v in zip(modules, v0, strict=True):
            s = module(s, v)
        ours = torch.autograd.grad(torch.nn.functional.cross_entropy(s, target), leaves)

        o = x
        for module, v in zip(modules[:-1], v0[:-1], strict=True):
            o = oracle_spikes(oracle_potential(o, module, v), gradient, slope)
            fired += int(o.sum())
        potential = oracle_potential(o, model.readout, v0[-1])
        logits = potential.sum(-1) if readout == "sum" else potential.max(-1).values
        expected = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, target), leaves)

        torch.testing.assert_close(s, logits, rtol=1e-10, atol=1e-10)
        for a, b in zip(ours, expected, strict=True):
            assert (a - b).abs().max() <= 1e-10 * max(1.0, b.abs().max().item())
    assert fired > 20 or depth == 1


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("engine", ["dense", "event"])
def test_what_a_hidden_layer_hands_to_the_one_below_is_scaled(gradient, scale, engine):
    """By 2 / (T (T + 1)), and nothing else is: against autograd of the same, three layers deep."""
    model = random_model(2, [6, 9, 9, 9, 3], "sum", scale, gradient, 10.0)
    model.engine = engine
    x = (torch.rand(4, 6, 23, dtype=F64) < 0.4).to(F64).requires_grad_()
    target = torch.tensor([0, 1, 2, 1])
    leaves = [x, *model.parameters()]
    ours = torch.autograd.grad(torch.nn.functional.cross_entropy(model(x), target), leaves)
    o = x
    for i, module in enumerate(model.layers):
        if i > 0:
            factor = 2 / (23 * 24)
            o = factor * o + (1 - factor) * o.detach()
        v0 = torch.zeros(4, len(module.weight), dtype=F64)
        o = oracle_spikes(oracle_potential(o, module, v0), gradient, 10.0)
    logits = oracle_potential(o, model.readout, torch.zeros(4, 3, dtype=F64)).sum(-1)
    expected = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, target), leaves)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10 * b.abs().max().item())
    assert expected[1].abs().max() > 0  # of the first layer's weights


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("scale", SCALES)
def test_readout_gradient_equals_central_differences(readout, scale):
    model = random_model(0, [5, 6, 3], readout, scale, "straight_through", 10.0)
    x = (torch.rand(4, 5, 40, dtype=F64) < 0.4).to(F64)
    target = torch.tensor([0, 1, 2, 1])

    def loss():
        return torch.nn.functional.cross_entropy(model(x), target)

    loss().backward()
    weight, h = model.readout.weight, 1e-6
    for i in range(3):
        for j in range(6):
            with torch.no_grad():
                kept = weight[i, j].item()
                weight[i, j] = kept + h
                up = loss().item()
                weight[i, j] = kept - h
                down = loss().item()
                weight[i, j] = kept
            assert weight.grad[i, j].item() == pytest.approx((up - down) / (2 * h), abs=1e-7)


def test_a_tied_maximum_sends_its_gradient_to_the_first_step():
    """beta = 1/2: V = 0, 1, 1, 1, and only what came before the second step moves the maximum."""
    readout = Readout(1, 1, bias=False, kind="max", input_scale="normalised", dtype=F64)
    with torch.no_grad():
        readout.weight.fill_(1)
        readout.beta.fill_(0.5)
    x = torch.tensor([[[0.0, 2.0, 1.0, 1.0]]], dtype=F64, requires_grad=True)
    readout(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[[0.25, 0.5, 0.0, 0.0]]], dtype=F64))


def test_initial_weights_are_those_of_the_paper():
    """U(-sqrt(1/N), sqrt(1/N)), N inputs."""
    largest = FastLIF(400, 100).weight.abs().max().item()
    assert 0.049 < largest <= 0.05


def test_a_seed_stands_for_the_same_network():
    """As in every version: one number for each input and neuron, input by input."""
    torch.manual_seed(0)
    weight = FastLIF(4, 3).weight
    torch.manual_seed(0)
    expected = torch.empty(4, 3).uniform_(-0.5, 0.5).t()
    assert torch.equal(weight, expected) and weight.is_contiguous()


def test_first_spike_by_hand():
    """One neuron, V = 0, 1.5, 2: G = 1 at every step, slope 1."""
    v = torch.tensor([[0.0, 1.5, 2.0]], dtype=F64, requires_grad=True)
    surrogate = [1 / 4, 1 / 2.25, 1 / 4]
    first_spike(v, slope=1.0).sum().backward()
    torch.testing.assert_close(
        v.grad, torch.tensor([[6.0, 3.0, 1.0]], dtype=F64) * torch.tensor([surrogate], dtype=F64)
    )
    v.grad = None
    first_spike(v, slope=1.0, gradient="paper").sum().backward()
    torch.testing.assert_close(v.grad, torch.tensor([[1 / 4, 0.0, 0.0]], dtype=F64))


def test_slope_belongs_to_the_call():
    v = torch.tensor([[0.5]], requires_grad=True)
    a, b = first_spike(v, slope=1.0), first_spike(v, slope=100.0)
    (ga,) = torch.autograd.grad(a.sum(), v)
    (gb,) = torch.autograd.grad(b.sum(), v)
    assert ga.item() == pytest.approx(1.5**-2)
    assert gb.item() == pytest.approx(51**-2)


def test_double_backward_is_refused():
    v = torch.tensor([[0.5, 2.0]], requires_grad=True)
    for function in (first_spike, spike):
        for loss in (function(v).sum(), (function(v) * v).sum()):
            (grad,) = torch.autograd.grad(loss, v, create_graph=True)
            with pytest.raises(RuntimeError, match="has no derivative of its own"):
                grad.sum().backward()


@pytest.mark.parametrize("learn_beta", [True, False])
def test_network_and_back_to_the_bit(learn_beta):
    model = FastSNN([6, 5, 4, 3], readout="max", threshold=0.8, learn_beta=learn_beta, dt=0.5)
    with torch.no_grad():
        for module in (*model.layers, model.readout):
            module.beta.uniform_(0.01, 0.999)
    network = model.to_network()
    again = FastSNN.from_network(network, learn_beta=learn_beta)
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert [n for n, _ in again.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert again.to_network().sizes == network.sizes
    assert network.layers[0].threshold == 0.8
    x = (torch.rand(3, 6, 30) < 0.4).float()
    torch.testing.assert_close(again(x), model(x), rtol=0, atol=0)
    result = fs.forward(x.numpy(), network, backend="torch")
    torch.testing.assert_close(result.logits, model(x).detach())


def test_from_a_network_without_bias():
    network = fs.Network(
        (fs.Layer(np.ones((2, 3), np.float32)),), fs.Readout(np.ones((2, 2), np.float32))
    )
    model = FastSNN.from_network(network)
    assert model.layers[0].bias is None
    assert model.to_network().layers[0].bias is None


def test_beta_stays_inside_and_can_come_back():
    model = FastLIF(2, 3)
    with torch.no_grad():
        model.beta.copy_(torch.tensor([1.5, -0.2, 0.5]))
    assert torch.isfinite(model(torch.ones(1, 2, 50))).all()
    x = torch.rand(1, 2, 50)
    for sign, led_back in ((1, [True, False, True]), (-1, [False, True, True])):
        model.zero_grad()
        (sign * model.potential(x).abs().sum()).backward()
        assert (model.beta.grad != 0).tolist() == led_back
    layer = model.to_layer()
    assert ((layer.beta > 0) & (layer.beta < 1)).all()


def test_state_dict_and_repr():
    model = FastSNN([4, 3, 2])
    names = {"weight", "bias", "beta", "_extra_state"}
    kept = {f"{part}.{name}" for part in ("layers.0", "readout") for name in names}
    assert set(model.state_dict()) == {*kept, "_extra_state"}
    assert "learn_beta=True" in repr(model)
    logits, spikes = model(torch.ones(2, 4, 9), return_spikes=True)
    assert logits.shape == (2, 2)
    assert (spikes[0].sum(-1) <= 1).all()


@pytest.fixture
def task():
    """Two classes told apart by which half of the inputs fires first."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 120)
    times = rng.integers(10, 20, (120, 12))
    for sample, label in zip(times, labels, strict=True):
        sample[6 * label : 6 * label + 6] -= 10
    return fs.SpikeTimes(torch.tensor(times), 20), labels


def test_fit_learns_and_repeats(task):
    x, labels = task
    histories = []
    for _ in range(2):
        torch.manual_seed(0)
        model = FastSNN([12, 20, 2])
        histories.append(
            fit(model, x, labels, epochs=8, batch_size=20, learning_rate=0.01, validation=task)
        )
    assert histories[0] == histories[1]
    assert histories[0][-1]["validation_accuracy"] > 0.95
    assert histories[0][-1]["loss"] < histories[0][0]["loss"]


def test_bad_training_input(task):
    x, labels = task
    model = FastSNN([12, 4, 2])
    bad = x.to_dense()
    bad[70, 3, 5] = float("nan")
    cases = [
        (lambda: fit(model, bad, labels), "NaN or infinite values, first in sample 70"),
        (lambda: fit(model, x, labels + 1), r"0 \.\.\. 1, got .* from 1 to 2"),
        (lambda: fit(model, x, labels.astype(float)), "labels must be integers"),
        (lambda: fit(model, x, labels[:5]), "120 samples and labels of shape"),
        (lambda: fit(model, x[:0], labels[:0]), "0 samples"),
        (lambda: fit(FastSNN([9, 4, 2]), x, labels), "x has 12 neurons.*expects 9"),
        (lambda: fit(model, x, labels, epochs=0), "at least 1"),
        (lambda: FastSNN([5]), "at least inputs and classes"),
        (lambda: FastLIF(0, 3), "needs inputs and neurons"),
        (lambda: FastLIF(2, 3, tau=-1.0), "tau must be positive"),
        (lambda: FastLIF(2, 3, slope=0.0), "slope must be positive"),
        (lambda: FastLIF(2, 3, gradient="true"), "'straight_through', 'paper'"),
        (lambda: FastLIF(2, 3, input_scale="x"), "'normalised', 'unit'"),
        (lambda: Readout(2, 3, kind="mean"), "'sum', 'max'"),
        (lambda: model(torch.ones(2, 12, 0)), "one time step"),
        (lambda: model(torch.ones(2, 11, 5)), "11 neurons"),
    ]
    for call, words in cases:
        with pytest.raises(ValueError, match=words):
            call()


def test_a_loss_that_is_not_finite_stops(task):
    x, labels = task
    model = FastSNN([12, 4, 2])
    with torch.no_grad():
        model.readout.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"epoch 0, step 0: readout\.bias is not finite"):
        fit(model, x, labels)


def test_no_float32_drift_from_the_core():
    """The adapter's spikes are those that `forward` finds in the saved network."""
    torch.manual_seed(1)
    model = FastSNN([20, 30, 5])
    with torch.no_grad():
        model.layers[0].weight.mul_(3)
    x = (torch.rand(50, 20, 60) < 0.2).float()
    _, spikes = model(x, return_spikes=True)
    times = fs.forward(x.numpy(), model.to_network()).spike_times[0]
    np.testing.assert_array_equal(fs.SpikeTimes.from_dense(spikes[0].detach()).times.numpy(), times)
