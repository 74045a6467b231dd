"""The CUDA kernels under autograd, emulated on CPU tensors, against the CPU event engine."""

from __future__ import annotations

import dataclasses
import sys
import types

import cuda_emulator
import numpy as np
import pytest
from cuda_emulator import Emulator, Pointer

from fastsnn_np.backends import _cuda as cuda

pytestmark = [
    pytest.mark.backend("torch"),
    pytest.mark.skipif(cuda_emulator.missing() is not None, reason=f"{cuda_emulator.missing()}"),
]
torch = pytest.importorskip("torch", reason="torch is not installed")

import fastsnn_np as fs  # noqa: E402
from fastsnn_np import backends  # noqa: E402
from fastsnn_np.torch import FastSNN, cuda_event  # noqa: E402
from fastsnn_np.torch import event as cpu_event  # noqa: E402

NETWORKS = 60
NAMES = {torch.float32: "float32", torch.float64: "float64", torch.int32: "int32"}
NAMES |= {torch.int64: "int64", torch.bool: "bool"}


@pytest.fixture(scope="module")
def emulators():
    source = cuda.SOURCE.read_text()
    return {dtype: Emulator(source, dtype) for dtype in ("float32", "float64")}


@pytest.fixture
def emulated(emulators):
    """The kernels for a tensor as if it lay on a GPU, and the names of those that ran."""
    names = []

    def pointer(tensor):
        address = tensor.data_ptr()
        if not tensor.numel():
            return cuda.NULL  # as Torch has it
        return Pointer(address, np.dtype(NAMES[tensor.dtype]), tensor.is_contiguous())

    def kernels(weight):
        emulator = emulators[NAMES[weight.dtype]]

        def launch(name, grid, block, args):
            names.append(name)
            emulator.launch(name, grid, block, args, seed=len(names))

        return cuda.Kernels(emulator.real, launch, pointer, lambda a: a.contiguous())

    return kernels, names


@pytest.fixture
def launched(monkeypatch, emulated):
    """CPU tensors train by the emulated kernels; the names of those that ran."""
    kernels, names = emulated
    monkeypatch.setattr(cuda_event, "_kernels", kernels)
    return names


def model_of(seed):
    """A random network of one or two hidden layers and an input, all options varied."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    bounds = ((1, 12), (5, 60), (5, 70), (5, 70), (2, 9), (5, 90))
    batch, inputs, *hidden, classes, steps = (int(rng.integers(*b)) for b in bounds)
    sizes = [inputs, *hidden[: 1 + seed % 2], classes]
    unit = seed % 8 <= 3
    model = FastSNN(
        sizes,
        dtype=torch.float64,
        readout="max" if seed % 4 > 1 else "sum",
        input_scale="unit" if unit else "normalised",
        dropout=0.3 if seed % 5 == 0 else 0.0,
        bias=seed % 7 > 0,
        gradient="paper" if seed % 3 == 0 else "straight_through",
        share_beta=seed % 6 == 5,
        engine="event",
    )
    with torch.no_grad():
        for part in (*model.layers, model.readout):
            part.weight.mul_(3 if unit else 25)
    if seed % 3:
        times = rng.integers(0, steps + 1, (batch, inputs)).astype(np.int32)
        return model, fs.SpikeTimes(torch.from_numpy(times), steps), classes
    count = 8 * inputs
    x = fs.Events.from_arrays(
        *(rng.integers(0, n, count) for n in (steps, inputs, batch)),
        n_neurons=inputs,
        n_steps=steps,
        n_samples=batch,
        values=rng.normal(size=count) if seed % 2 else None,
    )
    return model, x, classes


def step(model, x, labels, seed, engine):
    """Logits, activities and all gradients of a loss with penalties on spikes and latencies."""
    model._event_engine = lambda: engine
    torch.manual_seed(seed)  # the same dropout
    model.zero_grad()
    logits, activities = model(x, return_activity=True)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    for activity in activities:
        loss = loss + 0.01 * activity.spikes.mean() + 0.001 * activity.latency.mean()
    loss.backward()
    seen = [tensor.detach().clone() for activity in activities for tensor in activity]
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    return logits.detach(), seen, grads


def relative(ours, theirs):
    return float((ours - theirs).abs().max() / (theirs.abs().max() or 1))


def test_random_networks(launched):
    """60 networks of one or two hidden layers, both readouts and gradients, dropout, penalties."""
    worst = {}
    for seed in range(NETWORKS):
        model, x, classes = model_of(seed)
        labels = torch.arange(len(x)) % classes
        expected = step(model, x, labels, seed, cpu_event)
        before = len(launched)
        found = step(model, x, labels, seed, cuda_event)
        assert len(launched) > before
        worst["logits"] = max(worst.get("logits", 0), relative(found[0], expected[0]))
        for ours, theirs in zip(found[1], expected[1], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        for name, theirs in expected[2].items():
            kind = name.rpartition(".")[2]
            worst[kind] = max(worst.get(kind, 0), relative(found[2][name], theirs))
    sys.stdout.write(f"{NETWORKS} networks, worst differences {worst}\n")  # pytest -rP shows it
    assert set(worst) == {"logits", "weight", "bias", "beta"}
    assert max(worst.values()) < 1e-11, worst
    assert set(launched) == set(cuda.parameters()) - {"layer_dense", "readout_dense"}


def test_launches_of_a_training_step(launched):
    """One hidden layer: five kernels forward, four backward."""
    torch.manual_seed(0)
    model = FastSNN([20, 12, 4], engine="event")
    model._event_engine = lambda: cuda_event
    x = fs.SpikeTimes(torch.randint(0, 31, (5, 20), dtype=torch.int32), 30)
    model(x).sum().backward()
    assert launched == [
        *("sort_times", "layer_events", "sort_times", "readout_events"),
        *("readout_backward", "gather_times", "layer_backward", "gather_times"),
    ]


def test_manners_of_a_function(launched):
    """No gradient through changed weights, none of the second order; a second pass is the same."""
    model, x, _ = model_of(4)
    model._event_engine = lambda: cuda_event
    loss = model(x).square().sum()
    first = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    again = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b)
    (twice, *_) = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    with pytest.raises(RuntimeError, match="no derivative of its own"):
        twice.sum().backward()
    loss = model(x).sum()
    with torch.no_grad():
        model.readout.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    with torch.no_grad():
        assert not model(x).requires_grad


def test_an_empty_batch(launched):
    model = FastSNN([20, 12, 4], engine="event")
    model._event_engine = lambda: cuda_event
    logits = model(fs.SpikeTimes(torch.zeros((0, 20), dtype=torch.int32), 30))
    logits.sum().backward()
    assert logits.shape == (0, 4)
    assert all((p.grad == 0).all() for p in model.parameters())


def test_obstacles(launched, monkeypatch):
    """What it cannot take, in words."""
    weight = torch.zeros(3, 2)
    x = fs.SpikeTimes(torch.zeros((1, 2), dtype=torch.int32), 5)
    assert cuda_event.obstacle_of(x, weight) is None
    assert "the model is torch.bfloat16" in cuda_event.obstacle_of(x, weight.bfloat16())
    assert "x is dense" in cuda_event.obstacle_of(torch.zeros(1, 2, 5), weight)
    there = fs.SpikeTimes.unchecked(torch.zeros((1, 2), dtype=torch.int32, device="meta"), 5)
    assert "x is on meta, and the model on cpu" in cuda_event.obstacle_of(there, weight)
    pointers = np.lib.stride_tricks.as_strided(np.zeros(1, np.int64), (2**16, 2**15 + 1), (0, 0))
    many = fs.Events.unchecked(pointers, np.zeros(0, np.int32), 2)
    assert "65536 samples of 32768 steps have more" in cuda_event.obstacle_of(many, weight)
    monkeypatch.setattr(cuda_event, "_kernels", lambda weight: None)
    assert "needs CuPy" in cuda_event.obstacle_of(x, weight)


def test_forward_on_tensors(monkeypatch, emulated):
    """`forward` takes them too: by events up to some density, by a product above it."""
    kernels, names = emulated
    record = dataclasses.replace(backends.get("torch"), cuda=kernels)
    monkeypatch.setattr("fastsnn_np.backends.torch.BACKEND", record)
    rng = np.random.default_rng(0)
    times = fs.SpikeTimes(rng.integers(0, 101, (6, 20)).astype(np.int32), 100)
    network = fs.Network.random([20, 12, 4], seed=0).mapped(lambda a: a * 4 if a.ndim == 2 else a)
    sparse = times.to_events()
    dense = fs.Events.from_dense(np.ones((6, 20, 100), np.float32))
    for x, engine in ((times, "event"), (sparse, "event"), (dense, "dense")):
        del names[:]
        found = fs.forward(x, network, backend="torch")
        expected = fs.forward(x, network)
        assert found.engine == engine and ("layer_events" in names) == (engine == "event")
        np.testing.assert_array_equal(found.spike_times[0].numpy(), expected.spike_times[0])
        np.testing.assert_allclose(found.logits.numpy(), expected.logits, rtol=1e-4, atol=1e-5)
    everything = fs.forward(
        sparse, network, backend="torch", return_potential=True, return_state=True
    )
    on = fs.forward(sparse, network, backend="torch", state=everything.state)
    assert on.state.step == 200
    assert everything.potentials[0].shape == (6, 12, 100)


class TestLaunchers:
    """How a kernel is launched on Torch's stream, by stand-ins for what launches it."""

    ARGS = (np.uintp(2**45 + 24), np.float32(1.5), np.float64(-0.1), np.int32(-7), cuda.NULL)

    @staticmethod
    def bits(argument):
        """The bytes that Torch's launcher makes a kernel read."""
        kind = np.int32 if isinstance(argument, int) else np.float64
        return kind(argument).tobytes()

    def test_arguments_for_torch(self):
        from fastsnn_np.backends import _cuda_torch

        for argument in self.ARGS:
            assert self.bits(_cuda_torch.as_torch(argument)) == argument.tobytes(), argument

    def test_by_torch(self, monkeypatch):
        from contextlib import nullcontext

        from fastsnn_np.backends import _cuda_torch

        compiled, calls = [], []

        def compile_kernel(source, name, nvcc_options=None):
            compiled.append((name, nvcc_options))
            return lambda **call: calls.append(call)

        monkeypatch.setattr(torch.cuda, "_compile_kernel", compile_kernel, raising=False)
        monkeypatch.setattr(torch.cuda, "device", lambda index: nullcontext())
        launch = _cuda_torch.by_torch("float32", 0)
        launch("layer_events", (3, 2), (64,), self.ARGS)
        launch("layer_events", (3, 2), (64,), self.ARGS)
        options = list(cuda.options("float32"))
        assert compiled == [("sort_times", options), ("layer_events", options)]
        assert calls[0]["grid"] == (3, 2, 1) and calls[0]["block"] == (64, 1, 1)

        def fails(*args, **kwargs):
            raise OSError("CUDA_HOME environment variable is not set")

        monkeypatch.setattr(torch.cuda, "_compile_kernel", fails, raising=False)
        assert _cuda_torch.by_torch("float32", 0) is None

    def test_by_cupy(self, monkeypatch):
        """On Torch's stream and the tensors' device."""
        from contextlib import contextmanager

        from fastsnn_np.backends import _cuda_torch

        inside, calls = [], []

        @contextmanager
        def entered(*what):
            inside.append(what)
            yield
            inside.remove(what)

        class RawModule:
            def __init__(self, *, code, options):
                assert code == cuda.SOURCE.read_text() and options == cuda.options("float64")

            def get_function(self, name):
                return lambda *call: calls.append((name, *call, list(inside)))

        class Device:
            def __init__(self, index):
                self.enter = entered("device", index)

            def __enter__(self):
                self.enter.__enter__()

            def __exit__(self, *error):
                self.enter.__exit__(*error)

        streams = types.SimpleNamespace(
            Device=Device, ExternalStream=lambda *given: entered("stream", *given)
        )
        fake = types.SimpleNamespace(RawModule=RawModule, cuda=streams)
        monkeypatch.setitem(sys.modules, "cupy", fake)
        current = types.SimpleNamespace(cuda_stream=77)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda index: current)
        _cuda_torch.by_cupy("float64", 1)("sort_times", (3, 2), (64,), self.ARGS)
        held = [("device", 1), ("stream", 77, 1)]
        assert calls == [("sort_times", (3, 2), (64,), self.ARGS, held)]
        assert not inside
