"""How the event kernels are built and shared out: caches, threads, padding."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import fastsnn_np as fs
from fastsnn_np import _jit
from fastsnn_np.backends.event import layers as engine
from fastsnn_np.backends.event import networks, packing
from fastsnn_np.backends.event.networks import LayerParameters

pytestmark = pytest.mark.backend("numba")
ROOT = Path(__file__).parents[1]
PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"


def run(code, folder=ROOT, **env):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(folder), **env},
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(PLAIN, reason="nothing is compiled")
def test_a_change_in_a_helper_is_seen(tmp_path):
    """Numba's cache looks at the kernel's own file only; here `lanes` changes, which it uses."""
    leave = shutil.ignore_patterns("__pycache__")
    for name in ("fastsnn_np", "backends"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=leave)
    code = (
        "import numpy as np, fastsnn_np as fs\n"
        "from fastsnn_np.backends.event import layers\n"
        f"assert fs.__file__.startswith({str(tmp_path)!r})\n"
        "rows = layers.rows_of(np.ones((1, 1, 3), np.float32), np.float32)\n"
        "weights = layers.weights_of(np.ones((1, 1), np.float32), None, 0.5, 'unit')\n"
        "print(layers.layer(rows, weights, threshold=1.0).times.tolist())"
    )
    env = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "FASTSNN_PARALLEL": "0"}
    assert run(code, tmp_path, **env) == "[[1]]"
    lanes = tmp_path / "backends" / "event" / "vectors.py"
    changed = lanes.read_text().replace("b.fmul(x, y", "b.fadd(x, y")
    assert changed != lanes.read_text()
    lanes.write_text(changed)
    assert run(code, tmp_path, **env) == "[[0]]"


def with_nan_in_the_padding(network):
    """What fills tiles up, made NaN: none of it may be seen."""
    for inputs, neurons, entry, place, *_ in network.shape.tolist():
        whole, first = packing.whole_tiles(neurons), (neurons - 1) // 64 * 64
        tile = network.weight[entry + inputs * first : entry + inputs * whole]
        tile.reshape(inputs, whole - first)[:, neurons - first :] = np.nan
        for row in (network.bias, network.beta, network.fade, network.scale):
            row[place + neurons : place + whole] = np.nan
    return network


def parameters(rng, sizes, dtype=np.float64):
    return [
        LayerParameters(
            (3 / np.sqrt(m) * rng.standard_normal((n, m))).astype(dtype),
            0.1 * rng.standard_normal(n).astype(dtype),
            rng.uniform(0.5, 0.98, n).astype(dtype),
            "unit",
            1.0,
        )
        for m, n in zip(sizes[:-1], sizes[1:], strict=True)
    ]


@pytest.mark.parametrize("summed", [True, False])
def test_padding_does_not_leak(summed, rng):
    """Nor does it keep a tile from stopping early."""
    sizes = [7, 70, 17, 5, 3]
    x = fs.SpikeTimes(rng.integers(0, 50, (4, 7)).clip(max=40), 40)
    dlogits = rng.standard_normal((4, 3))
    layers = parameters(rng, sizes)
    found = []
    for prepare in (lambda network: network, with_nan_in_the_padding):
        network = networks.prepared(layers)
        network = network._replace(packed=prepare(network.packed))
        run = networks.network_forward(x, network, summed=summed)
        gradients = networks.network_backward(
            network,
            run,
            dlogits,
            slopes=[5.0] * 3,
            papers=[True, False, True],
            keep_current=True,
            activity=[(np.ones(4), np.ones(4))] * 3,
        )
        parts = [array for layer in gradients.layers for array in layer[:3]]
        found.append([run.logits, *run.times, *run.final, gradients.current, *parts])
    for plain, filled in zip(*found, strict=True):
        assert np.isfinite(plain).all()
        np.testing.assert_array_equal(plain, filled)


def test_any_number_of_threads(rng):
    """The same spikes and logits to the bit; gradients but for the order of a sum."""
    import numba

    layers = parameters(rng, [30, 200, 70, 4])
    x = fs.SpikeTimes(rng.integers(0, 100, (33, 30)), 100)
    most, results = numba.config.NUMBA_NUM_THREADS, []
    try:
        for threads in sorted({1, min(2, most), most}):
            numba.set_num_threads(threads)
            network = networks.prepared(layers)
            run = networks.network_forward(x, network, summed=True)
            gradients = networks.network_backward(
                network, run, np.ones((33, 4)), slopes=[5.0] * 2, papers=[False, True]
            )
            results.append(([run.logits, *run.times], [g.weight for g in gradients.layers]))
    finally:
        numba.set_num_threads(most)
    for forward, backward in results[1:]:
        for a, b in zip(forward, results[0][0], strict=True):
            np.testing.assert_array_equal(a, b)
        for a, b in zip(backward, results[0][1], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(b).max())


def test_one_sample_in_several_threads(rng):
    """Of a wide layer and few samples, the tiles are shared out."""
    import numba

    layers = parameters(rng, [200, 600])
    x = rng.random((1, 200, 90)) < 0.3
    rows = engine.rows_of(x, np.dtype(np.float64))
    weights = engine.weights_of(*layers[0][:4])
    most, results = numba.config.NUMBA_NUM_THREADS, []
    try:
        for threads in sorted({1, most}):
            numba.set_num_threads(threads)
            out = engine.layer(rows, weights, threshold=1.0)
            found = engine.layer_backward(
                rows,
                weights,
                out,
                np.ones((1, 90, 2)),
                np.ones((2, 600)),
                threshold=1.0,
                slope=5.0,
                paper=True,
            )
            results.append((out.times, found.weight, found.bias, found.beta))
    finally:
        numba.set_num_threads(most)
    for a, b in zip(results[0], results[-1], strict=True):
        np.testing.assert_array_equal(a, b)


class TestShared:
    """Shares of work on threads of our own."""

    def test_each_share_once(self):
        done = np.zeros(50, np.int64)
        shared = _jit.Shared(_note)
        shared(50, done)
        np.testing.assert_array_equal(done, 1)
        shared(1, done)
        assert done[0] == 2

    def test_an_error_reaches_the_caller(self):
        shared = _jit.Shared(_refuse)
        shared(1, 5)
        with pytest.raises(ValueError, match="not this share"):
            shared(4, 2)

    def test_from_many_threads(self):
        done = np.zeros((8, 50), np.int64)
        shared = _jit.Shared(_note)
        shared(50, done[0])
        threads = [threading.Thread(target=shared, args=(50, row)) for row in done[1:]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        np.testing.assert_array_equal(done, 1)

    def test_after_a_fork(self):
        """The threads stay behind, and the child has its own."""
        if not hasattr(os, "fork"):
            pytest.skip("no fork on this system")
        out = run(
            "import os, warnings; warnings.simplefilter('ignore')\n"
            "import numpy as np, numba\n"
            "from fastsnn_np import _jit\n"
            "def note(share, shares, done):\n    done[share] += 1\n"
            "shared, done = _jit.Shared(note), np.zeros(9)\n"
            "numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)\n"
            "shared(9, done)\n"
            "pid = os.fork()\n"
            "if not pid:\n"
            "    shared(9, done)\n"
            "    os._exit(0 if (done == 2).all() and _jit.runs_parallel() else 3)\n"
            "print(os.waitpid(pid, 0)[1], done.sum())",
            NUMBA_NUM_THREADS="2",
        )
        assert out == "0 9.0"


def _note(share, shares, done):
    done[share] += 1


def _refuse(share, shares, which):
    if share == which:
        raise ValueError("not this share")


@pytest.mark.skipif(sys.platform != "linux", reason="threads are placed on Linux alone")
def test_threads_are_kept_off_the_core_of_their_caller():
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("there is one core")
    pool = _jit._Pool()
    pool.submit(int).result()
    own = min(cores)
    try:
        os.sched_setaffinity(0, {own, max(cores)})
        pool.spread()
        where = pool._placed[0]
        (thread,) = pool._ids
        assert os.sched_getaffinity(thread) == {own, max(cores)} - {where}
    finally:
        os.sched_setaffinity(0, cores)
        pool.shutdown()
