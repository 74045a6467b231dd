"""Options of the modules: surrogates, shared betas, skip connections, standard SNN, autocast."""

from __future__ import annotations

import copy
import math
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.backend("torch")
torch = pytest.importorskip("torch", reason="torch is not installed")

import fastsnn_np as fs  # noqa: E402
from fastsnn_np.torch import (  # noqa: E402
    FastLIF,
    FastSNN,
    Readout,
    StandardLIF,
    StandardSNN,
    first_spike,
    spike,
    surrogate_derivative,
)
from fastsnn_np.torch.modules import Clamped  # noqa: E402

F64 = torch.float64


def trains(batch=5, inputs=11, steps=40, density=0.3, dtype=F64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(batch, inputs, steps, generator=generator) < density).to(dtype)


@pytest.mark.parametrize("kind", ["fast_sigmoid", "arctan", "triangle"])
def test_surrogates(kind):
    """1 on the threshold, symmetric, falling, as their formulas say; 0 for NaN and infinity."""
    d = torch.linspace(-1, 1, 2001, dtype=F64)
    values = surrogate_derivative(d, 4.0, kind)
    assert values[1000].item() == pytest.approx(1)
    torch.testing.assert_close(values, values.flip(0))
    assert (values[1000:].diff() <= 0).all()
    at = {"fast_sigmoid": 1 / 4, "arctan": 1 / 2, "triangle": 0.0}[kind]  # slope |d| = 1
    assert surrogate_derivative(torch.tensor(0.25), 4.0, kind).item() == pytest.approx(at)
    odd = torch.tensor([math.nan, math.inf, -math.inf, 3e38])
    assert (surrogate_derivative(odd, 4.0, kind) == 0).all()


@pytest.mark.parametrize("kind", ["fast_sigmoid", "arctan", "triangle", "own"])
def test_every_surrogate_is_used(kind):
    surrogate = (lambda d, slope: torch.exp(-slope * d.abs())) if kind == "own" else kind
    v = torch.tensor([[0.2, 1.5, 0.9]], dtype=F64, requires_grad=True)
    h = surrogate_derivative(v.detach() - 1, 3.0, surrogate)
    (first,) = torch.autograd.grad(first_spike(v, slope=3.0, surrogate=surrogate).sum(), v)
    torch.testing.assert_close(first, h * torch.tensor([[6.0, 3.0, 1.0]], dtype=F64))
    (every,) = torch.autograd.grad(spike(v, slope=3.0, surrogate=surrogate).sum(), v)
    torch.testing.assert_close(every, h)


def test_potentials_that_are_not_finite_give_no_nan():
    v = torch.tensor([[math.nan, math.inf, -math.inf, 0.5]], requires_grad=True)
    (first_spike(v) * torch.arange(4)).sum().backward()
    assert torch.isfinite(v.grad).all()


@pytest.mark.parametrize("threshold", [1.0, 0.7])
@pytest.mark.parametrize("scale", ["normalised", "unit"])
def test_standard_neurons_are_the_reference(threshold, scale):
    """Multi-spike with the reset one step later (eq. 2), against the plain loops."""
    torch.manual_seed(0)
    layer = StandardLIF(11, 13, threshold=threshold, input_scale=scale, dtype=F64)
    with torch.no_grad():
        layer.weight.mul_(12 if scale == "normalised" else 2)
    x = trains()
    arrays = [p.detach().numpy() for p in (layer.weight, layer.bias)]
    options = {"beta": layer.beta.numpy(), "threshold": threshold, "input_scale": scale}
    expected = fs.reference.standard_layer(x.numpy(), *arrays, **options)
    spikes = layer(x)
    assert spikes.sum(-1).max() > 3
    np.testing.assert_array_equal(spikes.detach().numpy(), expected.spikes)
    # silenced after the first spike they are the single-spike neurons
    layer.single_spike = True
    single = fs.reference.layer(x.numpy(), *arrays, **options)
    ours = fs.SpikeTimes.from_dense(layer(x).detach().numpy()).times
    np.testing.assert_array_equal(ours, single.times)


@pytest.mark.parametrize("detach", [False, True])
def test_gradient_through_the_reset(detach):
    """Against the same loop with indices, by autograd."""
    torch.manual_seed(1)
    layer = StandardLIF(6, 5, slope=10.0, detach_reset=detach, threshold=0.8, dtype=F64)
    with torch.no_grad():
        layer.weight.mul_(12)
    x, picked = trains(3, 6, 25), torch.randn(3, 5, 25, dtype=F64)
    ours = torch.autograd.grad((layer(x) * picked).sum(), [layer.weight, layer.bias])
    current = torch.einsum("ij,bjt->bit", layer.weight, x) + layer.bias[:, None]
    v, s, total = torch.zeros(3, 5, dtype=F64), torch.zeros(3, 5, dtype=F64), 0.0
    for t in range(25):
        reset = s.detach() if detach else s
        v = layer.beta * v + (1 - layer.beta) * current[..., t] - 0.8 * reset
        s = spike(v, 0.8, slope=10.0)
        total = total + (s * picked[..., t]).sum()
    expected = torch.autograd.grad(total, [layer.weight, layer.bias])
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_standard_network():
    model = StandardSNN([11, 9, 8, 3], readout="max")
    x = trains(dtype=torch.float32)
    logits, activities = model(x, return_activity=True)
    assert logits.shape == (5, 3)
    assert [len(a.per_neuron) for a in activities] == [9, 8]
    events = fs.Events.from_dense(x.numpy())
    torch.testing.assert_close(model(events), logits)
    with pytest.raises(ValueError, match="at least inputs and classes"):
        StandardSNN([3])


def test_one_beta_for_a_layer():
    model = FastSNN([11, 9, 3], share_beta=True, dtype=F64)
    alike = FastSNN.from_network(model.to_network())
    assert model.layers[0].beta.shape == ()
    x = trains()
    for engine in ("dense", "event"):
        model.engine = alike.engine = engine
        grads = []
        for m in (model, alike):
            m.zero_grad()
            m(x).square().sum().backward()
            grads.append(m.layers[0].beta.grad)
        torch.testing.assert_close(grads[0], grads[1].sum())


def test_from_modules():
    parts = [FastLIF(11, 9, slope=5.0), FastLIF(9, 8, gradient="paper"), Readout(8, 3, kind="max")]
    model = FastSNN.from_modules(parts)
    assert model.sizes == (11, 9, 8, 3)
    assert model.layers[0].slope == 5.0
    assert model(trains(dtype=torch.float32)).shape == (5, 3)
    with pytest.raises(ValueError, match="layer 0 has 9 neurons and layer 1 expects 8"):
        FastSNN.from_modules([FastLIF(11, 9), Readout(8, 3)])
    with pytest.raises(TypeError, match="expected a Readout, got FastLIF"):
        FastSNN.from_modules([FastLIF(11, 9), FastLIF(9, 8)])
    with pytest.raises(TypeError, match=r"FastSNN\.from_modules\(\.\.\.\) takes modules"):
        FastSNN(parts)
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\), got 1"):
        FastSNN([3, 2], dropout=1)


def test_a_module_from_a_part_of_a_network():
    """To the bit and back, of NumPy arrays or tensors; what a part lacks are options."""
    module = FastLIF(5, 4, bias=False, threshold=0.7, input_scale="normalised", dtype=F64)
    layer = module.to_layer()
    again = FastLIF.from_layer(layer, learn_beta=False, gradient="paper", slope=3)
    assert (again.threshold, again.input_scale, again.bias) == (0.7, "normalised", None)
    assert (again.gradient, again.slope, again.surrogate) == ("paper", 3.0, "fast_sigmoid")
    assert isinstance(again.slope, float)
    assert [name for name, _ in again.named_parameters()] == ["weight"]
    last = Readout(4, 3, kind="max").to_readout()
    readout = Readout.from_readout(last)
    assert readout.kind == "max"
    for part, back in ((layer, again.to_layer()), (last, readout.to_readout())):
        for name in ("weight", "beta"):
            np.testing.assert_array_equal(getattr(back, name), getattr(part, name))
    tensors = fs.Network((), last).to("torch").readout
    with torch.no_grad():
        Readout.from_readout(tensors).weight.add_(1)
    np.testing.assert_array_equal(tensors.weight.numpy(), last.weight)  # a copy


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda **options: FastLIF(3, 2, **options), "'tau', 'dt', 'bias'.*'gradient'"),
        (lambda **options: Readout(3, 2, **options), "Readout has no option.*'kind'"),
        (lambda **options: StandardLIF(3, 2, **options), "StandardLIF .*'detach_reset'"),
        (lambda **options: FastSNN([3, 2], **options), "FastSNN has no option 'thresold'"),
        (lambda **options: StandardSNN([3, 2], **options), "StandardSNN has no option"),
    ],
)
def test_an_unknown_option_is_refused(make, names):
    with pytest.raises(TypeError, match=names):
        make(thresold=0.5)


def test_bad_numbers():
    cases = [
        (lambda: FastLIF(3, 2, threshold=math.inf), "threshold must be a finite number, got inf"),
        (lambda: StandardLIF(3, 2, slope=-1.0), "slope must be positive and finite, got -1.0"),
        (lambda: FastSNN([3, 2], dt=0.0), "dt must be positive"),
        (lambda: FastSNN([3, 2.5]), r"whole numbers of at least 1, got \[3, 2.5\]"),
        (lambda: FastSNN([3, 0, 2]), r"whole numbers of at least 1, got \[3, 0, 2\]"),
        (lambda: FastSNN([3, 2], keep="all"), "keep must be one of 'nothing', 'potential'"),
    ]
    for call, words in cases:
        with pytest.raises(ValueError, match=words):
            call()


def test_the_readout_hears_what_the_layers_hear():
    """Options that all neurons have reach the readout; its time constant is its own."""
    shared = {"bias": False, "learn_beta": False, "share_beta": True, "input_scale": "normalised"}
    for kind in (FastSNN, StandardSNN):
        model = kind([3, 4, 2], tau=5.0, tau_readout=8.0, dt=2.0, dtype=F64, **shared)
        for part, tau in ((model.layers[0], 5.0), (model.readout, 8.0)):
            assert part.bias is None and part.beta.shape == () and part.weight.dtype == F64
            assert part.input_scale == "normalised" and not part.beta.requires_grad
            assert part.beta.item() == pytest.approx(math.exp(-2 / tau))
    assert FastSNN([3, 4, 2]).layers[0].slope == 10.0
    standard = StandardSNN([3, 4, 2])
    assert (standard.layers[0].slope, standard.readout.input_scale) == (100.0, "normalised")


def test_fit_is_imported_when_it_is_used():
    code = (
        "import sys, fastsnn_np.torch as t\n"
        "assert 'lightning' not in sys.modules\n"
        "from fastsnn_np.torch import fit\n"
        "assert 'lightning' in sys.modules and 'fit' in dir(t)\n"
    )
    pytest.importorskip("lightning", reason="lightning is not installed")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_skip_connections():
    """A layer passes its input on beside its own spikes, never more than one at a step."""
    torch.manual_seed(0)
    model = FastSNN([11, 11, 3], skip=True, dtype=F64)
    with torch.no_grad():
        model.layers[0].weight.mul_(3)
    x = trains()
    spikes = model.layers[0](x)
    assert (spikes + x).max() == 2
    expected = model.readout((spikes + x).clamp(max=1))
    torch.testing.assert_close(model(x), expected)
    with pytest.raises(ValueError, match="no skip connections"):
        model.to_network()
    model.engine = "event"
    with pytest.raises(ValueError, match=r"cannot compute this.*skip.*engine='dense'"):
        model(x)
    model.engine = "auto"
    torch.testing.assert_close(model(fs.Events.from_dense(x.numpy())), expected)
    other = FastSNN([11, 9, 3], surrogate="arctan", engine="event")
    with pytest.raises(ValueError, match="fast sigmoid"):
        other(x.float())


def test_dropout_after_the_skip():
    """The layer's output is dropped as a whole: the mean stays, what passes has a gradient."""
    torch.manual_seed(0)
    model = FastSNN([11, 11, 3], skip=True, dropout=0.5, dtype=F64)
    x = trains(batch=400).requires_grad_()
    seen = []
    model.readout.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        model.eval()(x)
    loss = model.train()(x).sum()
    plain, dropped = seen
    assert dropped.mean().item() == pytest.approx(plain.mean().item(), rel=0.05)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    (grad,) = torch.autograd.grad(loss, dropped)
    assert (grad[dropped == 2] != 0).all()
    with pytest.raises(ValueError, match=r"no hidden layer of \[11, 9, 3\] has as many neurons"):
        FastSNN([11, 9, 3], skip=True)


def test_modules_must_be_alike():
    with pytest.raises(ValueError, match=r"not alike: torch.float32 on cpu and torch.float64 on"):
        FastSNN.from_modules([FastLIF(11, 9), Readout(9, 3, dtype=F64)])


@pytest.mark.parametrize("engine", ["event", "dense"])
def test_latency_counts_silence_as_the_whole_window(engine):
    """Going down it makes a silent neuron fire, and then earlier and earlier."""
    parts = [FastLIF(1, 1, tau=10.0, bias=False, dtype=F64), Readout(1, 2, dtype=F64)]
    model = FastSNN.from_modules(parts, engine=engine)
    x = torch.ones(1, 1, 20, dtype=F64)
    with torch.no_grad():
        model.layers[0].weight.fill_(0.1)
    times = []
    for _ in range(60):
        _, (activity,) = model(x, return_activity=True)
        times.append(int(activity.latency))
        activity.latency.sum().backward()
        with torch.no_grad():
            model.layers[0].weight -= 1e-4 * model.layers[0].weight.grad
        model.zero_grad()
    assert times[0] == 20
    assert times[-1] < 5
    assert times == sorted(times, reverse=True)


def test_spikes_or_activity():
    model = FastSNN([11, 9, 3])
    with pytest.raises(ValueError, match="return_spikes or return_activity"):
        model(trains(dtype=torch.float32), return_spikes=True, return_activity=True)


def test_only_the_currents_are_rounded_under_autocast():
    """Potentials and spikes stay float32: as if the current alone had been rounded."""
    torch.manual_seed(0)
    model = FastSNN([11, 20, 3], engine="dense")
    with torch.no_grad():
        model.layers[0].weight.mul_(3)
    x = trains(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        potential = model.layers[0].potential(x)
        logits = model(x)
    assert potential.dtype == logits.dtype == torch.float32
    layer = model.layers[0]
    rounded = (layer.weight.bfloat16() @ x.bfloat16()).float()
    exact = fs.decay(rounded, beta=layer.beta.detach(), input_scale="unit")
    assert (potential - exact).abs().max() < 1e-4
    logits.sum().backward()
    assert layer.weight.grad.dtype == torch.float32
    assert torch.isfinite(layer.weight.grad).all()


@pytest.mark.parametrize("engine", ["dense", "event"])
def test_copies_and_state(engine):
    torch.manual_seed(0)
    with pytest.warns(DeprecationWarning, match="no effect"):
        model = FastSNN([11, 9, 3], engine=engine, keep="potential")
    x = trains(dtype=torch.float32)
    model(x).sum().backward()
    twin = copy.deepcopy(model)
    other = FastSNN([11, 9, 3], engine=engine)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(twin(x), model(x), rtol=0, atol=0)
    torch.testing.assert_close(other(x), model(x), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore")
def test_compiled_by_torch():
    """torch.compile traces the module, or leaves to Python what it cannot, and changes nothing."""
    torch.manual_seed(0)
    model = FastSNN([11, 9, 3], engine="dense", dtype=F64)
    x = trains()
    compiled = torch.compile(model, backend="aot_eager")
    torch.testing.assert_close(compiled(x), model(x))
    grads = [
        torch.autograd.grad(m(x).square().sum(), model.layers[0].weight)[0]
        for m in (model, compiled)
    ]
    torch.testing.assert_close(*grads)


def test_outside_its_range_a_parameter_is_led_back():
    """The gradient is that of a projection: none leads further out."""
    x = torch.tensor([-1.0, -1.0, 0.0, 0.5, 1.0, 2.0, 2.0], requires_grad=True)
    grad = torch.tensor([1.0, -1.0, 1.0, 3.0, -1.0, -1.0, 1.0])
    clamped = Clamped.apply(x, 0.0, 1.0)
    clamped.backward(grad)
    torch.testing.assert_close(clamped.detach(), x.detach().clamp(0, 1))
    torch.testing.assert_close(x.grad, torch.tensor([0.0, -1.0, 1.0, 3.0, -1.0, 0.0, 1.0]))
