"""Modules among Torch's own tools: state dicts, safetensors, pruning, vectors, other optimisers."""

from __future__ import annotations

import copy
import math

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
)


@pytest.fixture
def x():
    times = np.random.default_rng(0).integers(0, 30, (5, 6)).astype(np.int32)
    return fs.SpikeTimes(times, 30)


SETTINGS = [
    (FastSNN, {"threshold": 2.0}, r"layers\.0 has threshold 1\.0, here 2\.0"),
    (FastSNN, {"readout": "max"}, "readout has kind 'sum', here 'max'"),
    (FastSNN, {"input_scale": "normalised"}, "input_scale 'unit', here 'normalised'"),
    (FastSNN, {"gradient": "paper"}, "gradient 'straight_through', here 'paper'"),
    (FastSNN, {"slope": 5.0}, r"slope 10\.0, here 5\.0"),
    (FastSNN, {"surrogate": "arctan"}, "surrogate 'fast_sigmoid', here 'arctan'"),
    (FastSNN, {"share_beta": True}, "share_beta False, here True"),
    (FastSNN, {"dt": 2.0}, r"the module has dt 1\.0, here 2\.0"),
    (FastSNN, {"skip": True}, "the module has skip False, here True"),
    (StandardSNN, {"detach_reset": True}, "detach_reset False, here True"),
    (StandardSNN, {"single_spike": True}, "single_spike False, here True"),
]


@pytest.mark.parametrize(("kind", "options", "words"), SETTINGS)
def test_parameters_of_other_settings_are_refused(kind, options, words):
    """Otherwise the same numbers would give other logits; no parameter is changed."""
    state = kind([6, 6, 3]).state_dict()
    other = kind([6, 6, 3], **options)
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(ValueError, match=words):
        other.load_state_dict(state)
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, before[name])
    again = kind([6, 6, 3], **options)
    again.load_state_dict(other.state_dict(), strict=True)


def test_a_layer_alone_keeps_its_settings_too():
    state = FastLIF(3, 2, threshold=0.5).state_dict()
    with pytest.raises(
        ValueError, match=r"the module has threshold 0\.5, here 1\.0; make the model"
    ):
        FastLIF(3, 2).load_state_dict(state)
    state["_extra_state"] = torch.tensor([1, 2], dtype=torch.uint8)
    with pytest.raises(ValueError, match="the settings of the module are damaged"):
        FastLIF(3, 2).load_state_dict(state)
    # what is learnt is no difference: the parameters mean the same
    FastLIF(3, 2, learn_beta=False).load_state_dict(FastLIF(3, 2).state_dict())


def test_a_state_dict_of_an_earlier_version(x):
    """It has no settings: a warning, once, and the parameters."""
    model, other = FastSNN([6, 5, 3]), FastSNN([6, 5, 3])
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("_extra_state")}
    with pytest.warns(
        UserWarning, match="with which options the module, layers.0, readout"
    ) as seen:
        other.load_state_dict(state, strict=True)
    assert len(seen) == 1
    assert torch.equal(other(x), model(x))


@pytest.mark.parametrize("kind", [FastSNN, StandardSNN])
def test_safetensors_and_torch_files(tmp_path, x, kind):
    from safetensors.torch import load_file, save_file

    model = kind([6, 5, 3], threshold=0.5)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    torch.save(model.state_dict(), tmp_path / "model.pt")
    for state in (
        load_file(tmp_path / "model.safetensors"),
        torch.load(tmp_path / "model.pt", weights_only=True),
    ):
        again = kind([6, 5, 3], threshold=0.5)
        again.load_state_dict(state)
        assert torch.equal(again(x), model(x))
        with torch.device("meta"):
            empty = kind([6, 5, 3], threshold=0.5)
        empty.load_state_dict(state, assign=True)
        assert torch.equal(empty(x), model(x))


def test_parameters_are_ordinary(x):
    model = FastSNN([6, 5, 3])
    for parameter in (*model.parameters(), *copy.deepcopy(model).parameters()):
        assert parameter.is_contiguous()
    vector = torch.nn.utils.parameters_to_vector(model.parameters())
    torch.nn.utils.vector_to_parameters(2 * vector, model.parameters())
    assert torch.equal(torch.nn.utils.parameters_to_vector(model.parameters()), 2 * vector)
    model(x).sum().backward()
    assert all(p.grad.is_contiguous() for p in model.parameters())


@pytest.mark.parametrize("engine", ["dense", "event"])
def test_lbfgs(x, engine):
    torch.manual_seed(0)
    model, labels = FastSNN([6, 9, 3], engine=engine), torch.tensor([0, 1, 2, 1, 0])
    optimiser = torch.optim.LBFGS(model.parameters(), lr=0.01)
    losses = []

    def closure():
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(3):
        optimiser.step(closure)
    assert min(losses) < losses[0]


@pytest.mark.parametrize("engine", ["dense", "event"])
def test_pruning(x, engine):
    """Masked weights stay 0 over steps of an optimiser, and the engines agree."""
    torch.manual_seed(0)
    model = FastSNN([6, 9, 3], engine=engine)
    torch.nn.utils.prune.random_unstructured(model.layers[0], "weight", amount=0.5)
    optimiser = torch.optim.SGD(model.parameters(), 0.01)
    for _ in range(3):
        optimiser.zero_grad()
        model(x).square().mean().backward()
        optimiser.step()
    logits = model(x)
    assert (model.layers[0].weight == 0).sum() == 27
    original = model.layers[0].weight_orig
    assert torch.equal(model.layers[0].weight, original * model.layers[0].weight_mask)
    torch.nn.utils.prune.remove(model.layers[0], "weight")
    model.engine = "dense"
    torch.testing.assert_close(model(x), logits)


def test_hooks_of_layers_are_called(x):
    """By the dense engine: the event engine calls no layer, and does not keep it to itself."""
    model, calls = FastSNN([6, 5, 3]), []
    model.layers[0].register_forward_hook(lambda *args: calls.append(args))
    model(x)
    assert len(calls) == 1
    model.engine = "event"
    with pytest.raises(ValueError, match="does not call the hooks of layers"):
        model(x)


@pytest.mark.parametrize("make", [FastLIF, StandardLIF])
@pytest.mark.parametrize(
    ("threshold", "error", "words"),
    [
        (torch.nn.Parameter(torch.ones(2)), TypeError, "cannot be learnt"),
        (torch.nn.Parameter(torch.tensor(1.0)), TypeError, "cannot be learnt"),
        (torch.ones(20), TypeError, r"of shape \(20,\): thresholds cannot be given per neuron"),
        (np.ones(2), TypeError, "got ndarray of shape"),
        ([1.0, 2.0], TypeError, "got list of shape"),
        (math.nan, ValueError, "threshold must be a finite number, got nan"),
        (math.inf, ValueError, "threshold must be a finite number, got inf"),
        (None, ValueError, "threshold must be a finite number, got None"),
        ("a", ValueError, "threshold must be a finite number, got 'a'"),
        (True, ValueError, "threshold must be a finite number, got True"),
    ],
)
def test_thresholds_are_numbers(make, threshold, error, words):
    """When a layer is made and afterwards, and where a potential is compared."""
    layer = make(3, 2)
    v = torch.ones(1, 2, 20)
    for call in (
        lambda: make(3, 2, threshold=threshold),
        lambda: setattr(layer, "threshold", threshold),
        lambda: first_spike(v, threshold),
        lambda: spike(v, threshold),
    ):
        with pytest.raises(error, match=words):
            call()
    assert layer.threshold == 1.0 and "threshold" not in dict(layer.named_parameters())
    assert type(make(3, 2, threshold=np.float32(0.5)).threshold) is float


@pytest.mark.parametrize(
    ("make", "name", "value", "words"),
    [
        (lambda: FastLIF(3, 2), "slope", 0, "slope must be positive"),
        (lambda: FastLIF(3, 2), "gradient", "true", "gradient must be one of"),
        (lambda: FastLIF(3, 2), "input_scale", "half", "input_scale must be one of"),
        (lambda: FastLIF(3, 2), "surrogate", "step", "surrogate must be one of"),
        (lambda: Readout(3, 2), "kind", "mean", "kind must be one of"),
        (lambda: FastSNN([3, 2]), "dropout", 1.5, "dropout must lie in"),
        (lambda: FastSNN([3, 2]), "engine", "fast", "engine must be one of"),
        (lambda: FastSNN([3, 2]), "keep", "all", "keep must be one of"),
        (lambda: FastSNN([3, 2]), "dt", math.nan, "dt must be positive"),
    ],
)
def test_settings_are_checked_whenever_they_are_set(make, name, value, words):
    with pytest.raises(ValueError, match=words):
        setattr(make(), name, value)


@pytest.mark.parametrize("bad", [2.7, "3", None, -1, 0, True, 2**31, 10**30])
def test_sizes_are_whole_numbers(bad):
    for call in (lambda: FastLIF(3, bad), lambda: FastLIF(bad, 3), lambda: FastSNN([3, bad, 2])):
        with pytest.raises(ValueError, match="whole numbers"):
            call()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("engine", ["auto", "event", "dense"])
def test_compiled_models_take_sparse_input(x, backend, engine):
    """Outside the graph, which knows neither kernels nor `SpikeTimes`: the same bits."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = FastSNN([6, 5, 3], engine=engine, dropout=0.2)
    compiled = torch.compile(model, backend=backend)
    for given in (x, x.to_events()):
        found = []
        for call in (model, compiled):
            torch.manual_seed(1)
            logits = call(given)
            found.append([logits, *torch.autograd.grad(logits.sum(), list(model.parameters()))])
        for a, b in zip(*found, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("kind", [FastSNN, StandardSNN])
@pytest.mark.parametrize("sparse", [False, True])
def test_torch_func(x, kind, sparse):
    """`grad`, and `vmap` over samples, of a functional call: what autograd finds."""
    torch.manual_seed(0)
    model = kind([6, 9, 8, 3], dtype=torch.float64)
    with torch.no_grad():
        model.layers[0].weight.mul_(3)
    parameters, labels = dict(model.named_parameters()), torch.tensor([0, 1, 2, 1, 0])
    dense = torch.from_numpy(x.to_dense(np.float64))

    def loss(given, inputs, target):
        logits = torch.func.functional_call(model, given, (inputs,))
        return torch.nn.functional.cross_entropy(logits, target)

    expected = torch.autograd.grad(loss(parameters, dense, labels), list(parameters.values()))
    ours = torch.func.grad(loss)(parameters, x if sparse else dense, labels)

    def of_sample(sample, label):
        return torch.func.grad(loss)(parameters, sample[None], label[None])

    each = torch.func.vmap(of_sample)(dense, labels)
    for name, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(ours[name], gradient)
        torch.testing.assert_close(each[name].mean(0), gradient)


@pytest.mark.parametrize("kind", [FastSNN, StandardSNN])
def test_an_exported_model_takes_any_batch(kind):
    model = kind([6, 5, 3]).eval()
    batch = torch.export.Dim("batch", min=2, max=64)
    shapes = ({0: batch},)
    exported = torch.export.export(model, (torch.rand(4, 6, 20),), dynamic_shapes=shapes).module()
    other = (torch.rand(9, 6, 20) < 0.4).float()
    torch.testing.assert_close(exported(other), model(other))
