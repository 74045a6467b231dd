"""Where CuPy's arrays live: whatever the current device is, a run stays on the device of its own.

On the stand-in CuPy, which has two devices and refuses an operation on arrays of the wrong one; on
a real machine where there are two GPUs.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import types

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np import agreement, backends
from fastsnn_np._namespace import to_numpy

pytestmark = pytest.mark.backend("cupy")


@pytest.fixture(scope="module")
def cp(cupys):
    if not cupys:
        pytest.skip("runs with --backend=cupy")
    return importlib.import_module("cupy")


@pytest.fixture(scope="module")
def second(cp):
    if cp.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("one GPU only")
    return cp.cuda.Device(1)


@pytest.fixture
def x(rng):
    times = rng.integers(0, 40, (5, 12)).astype(np.int32)
    return fs.SpikeTimes(np.minimum(times, 30), 30)


NETWORK = fs.Network.random([12, 9, 4], seed=1)


def forms(x):
    return {"dense": x.to_dense(), "SpikeTimes": x, "Events": x.to_events()}


def arrays_of(result):
    state = () if result.state is None else (*result.state.potentials, *result.state.spike_times)
    own = (*result.spike_times, *result.spike_counts, *(result.potentials or ()), *state)
    return [a for a in (*own, result.logits, result.prediction) if a is not None]


def check(result, x, device, network=NETWORK):
    expected = fs.forward(x, network, backend="numpy")
    assert {a.device for a in arrays_of(result)} == {device}
    for a, b in zip(result.spike_times, expected.spike_times, strict=True):
        np.testing.assert_array_equal(to_numpy(a), b)
    if network is not None:
        np.testing.assert_allclose(to_numpy(result.logits), expected.logits, rtol=1e-4, atol=1e-4)


def test_without_a_gpu_it_imports_and_says_what_is_missing(cupys):
    if "standin" not in cupys:
        pytest.skip("a GPU is here, or --backend=cupy was not given")
    code = (
        "import fastsnn_np as fs, numpy as np\n"
        "status = fs.backends.status('cupy')\nprint(status.version, status.error)\n"
        "try: fs.forward(np.ones((1, 1, 1)), backend='cupy')\n"
        "except Exception as error: print(type(error).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{cupys['real'].__version__} CUDARuntimeError: cuda"), first
    assert second == "CUDARuntimeError"


def test_names_of_devices(cp, second):
    on = backends.get("cupy").on
    for name, number in {"cuda": 0, "cuda:1": 1, 1: 1, "1": 1, second: 1}.items():
        with on(name):
            assert cp.cuda.Device().id == number
    assert cp.cuda.Device().id == 0
    with on(None):
        assert cp.cuda.Device().id == 0
    with pytest.raises(ValueError, match="'cuda', 'cuda:N', N or CuPy's own, got 'cpu'"):
        on("cpu")


@pytest.mark.parametrize("form", ["dense", "SpikeTimes", "Events"])
@pytest.mark.parametrize("network", [NETWORK, None])
@pytest.mark.parametrize("more", [{}, {"batch_size": 2}, {"method": "fft"}, {"engine": "dense"}])
def test_a_device_is_asked_for(form, network, more, x, second):
    x = forms(x)[form]
    for device in ("cuda:1", second):
        found = fs.forward(x, network, backend="cupy", device=device, **more)
        check(found, x, second, network)


def test_a_network_and_a_prepared_one(x, second):
    there = NETWORK.to("cupy", "cuda:1")
    assert there.readout.weight.device == second
    assert there.to("cupy") is there and there.to("cupy", 1) is there
    run = fs.prepare(NETWORK, backend="cupy", device=1, return_potential=True, return_state=True)
    for given in forms(x).values():
        check(run(given), given, second)
        check(fs.prepare(there, backend="cupy")(given), given, second)
    *_, last = fs.stream(there, [x, x], backend="cupy")
    assert {a.device for a in arrays_of(last)} == {second}


def test_follows_x_away_from_the_current_device(cp, x, second, tmp_path):
    there = NETWORK.to("cupy", second)
    with second:
        dense = cp.asarray(x.to_dense())
        times = fs.SpikeTimes(cp.asarray(x.times), x.n_steps)
    NETWORK.save(tmp_path / "network.safetensors")
    assert cp.cuda.Device().id == 0
    for given in (dense, times):
        check(fs.forward(given, there), x, second)
        check(fs.forward(given, there, batch_size=2, return_potential=True), x, second)
        check(fs.forward(given, NETWORK, backend="cupy"), x, second)
        check(fs.forward(given, tmp_path / "network.safetensors"), x, second)
        check(fs.forward(given), x, second, None)
        check(fs.forward(given, backend="cupy"), x, second, None)
    assert fs.forward(dense, there, backend="cupy").logits.device == second
    both = fs.forward(dense, there, return_state=True)
    check(fs.forward(dense[:0], there), x[:0], second)
    assert {a.device for a in arrays_of(fs.forward(dense, there, state=both.state))} == {second}


def test_two_devices_are_an_error(cp, x, second):
    dense = cp.asarray(x.to_dense())
    there = NETWORK.to("cupy", 1)
    for given in (dense, fs.SpikeTimes(cp.asarray(x.times), x.n_steps)):
        with pytest.raises(ValueError, match="is on device <CUDA Device 0> and network on <CUDA D"):
            fs.forward(given, there)
    state = fs.forward(dense, NETWORK.to("cupy"), return_state=True).state
    with pytest.raises(ValueError, match="nothing is moved silently"):
        fs.forward(x.to_dense(), there, backend="cupy", state=state)


def test_a_tensor_stays_on_its_gpu(cp, x, second, monkeypatch):
    """DLPack gives an array where the tensor is; the current device does not draw it away."""
    module = importlib.import_module("fastsnn_np.backends.cupy")

    class Tensor:
        is_cuda, device = True, types.SimpleNamespace(index=1)

        def detach(self):
            return self

    with second:
        shared = cp.asarray(x.to_dense())
    monkeypatch.setattr(module, "is_torch", lambda x: isinstance(x, Tensor))
    monkeypatch.setattr(module.cupy, "from_dlpack", lambda x: shared)
    assert module.asarray(Tensor()) is shared
    assert module.home(Tensor()) == second
    assert module.asarray(Tensor(), "cuda:0").device == cp.cuda.Device(0)


def test_the_judge_takes_arrays_of_a_gpu(cp, x):
    result = fs.forward(x, NETWORK, backend="cupy", return_potential=True)
    exact = fs.forward(x, NETWORK, backend="numpy", return_potential=True)
    potential = exact.potentials[0].astype(np.float64)
    found = agreement.spike_times(result.spike_times[0], potential, dtype=np.float32)
    assert found.neurons == 45 and found.different == 0
    on_gpu = agreement.spike_times(result.spike_times[0], cp.asarray(potential), dtype=np.float32)
    assert on_gpu == found
    assert agreement.potential_error(result.potentials[0], cp.asarray(exact.potentials[0])) < 1e-5


@pytest.mark.parametrize("method", ["block", "fft"])
def test_a_state_keeps_no_potential_alive(x, method):
    run = fs.prepare(NETWORK, backend="cupy", method=method, return_state=True)
    for v in run(x.to_dense()).state.potentials:
        assert v.base is None or v.base.nbytes <= v.nbytes
