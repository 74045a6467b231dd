"""The registry, doctor, transfers, and the manners of compiled kernels."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from networks import NAMED

import fastsnn_np as fs
from fastsnn_np import backends

ROOT = Path(__file__).parents[1]


def run(code, *, env=None, timeout=120):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_unknown_backends_name_the_known():
    with pytest.raises(
        ValueError, match="no backend 'jax'; known: " + ", ".join(backends.CAPABILITIES)
    ):
        backends.get("jax")
    with pytest.raises(ValueError, match="known: numpy"):
        backends.status("")


def test_available():
    assert {"numpy", "numba"} <= set(backends.available()) <= set(backends.CAPABILITIES)


def test_doctor_quotes_the_original_error(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(sys.modules, "fastsnn_np.backends.cupy", raising=False)
    fs.doctor()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(backends.CAPABILITIES)
    assert re.search(rf"numpy +{np.__version__} +cpu", lines[1])
    (line,) = (line for line in lines if line.split()[0] == "cupy")
    assert "not usable: ModuleNotFoundError: import of cupy halted" in line
    with pytest.raises(ImportError, match="import of cupy halted"):
        fs.forward(np.ones((1, 1, 1)), backend="cupy")


def test_doctor_from_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "fastsnn_np", "doctor"], capture_output=True, text=True, check=True
    )
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == list(backends.CAPABILITIES)


def test_a_second_copy_is_refused():
    """`import backends` from the repository's root would be another package."""
    if not (ROOT / "backends").is_dir():
        pytest.skip("not in a checkout")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import backends"
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=False
    )
    assert "import fastsnn_np.backends: a second copy" in done.stderr


def test_the_table_in_the_readme():
    """Capabilities are declared once, in the registry, which makes the table."""
    assert backends.table() in (ROOT / "README.md").read_text(), backends.table()


@pytest.mark.parametrize("backend", NAMED, indirect=True)
def test_capabilities_are_what_the_records_have(backend):
    can, record = backends.CAPABILITIES[backend], backends.get(backend)
    product = record.dense == "array api" and record.sparse_product is not None
    assert ("sparse product" in can.sparse) == product
    assert ("dense kernel" in can.engines) == (record.dense == "fused")


@pytest.mark.backend("torch")
def test_moves_to_torch(rng):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    move = backends.get("torch").asarray
    x = rng.random((3, 4))
    x.flags.writeable = False
    there = move(x)
    assert torch.is_tensor(there)
    np.testing.assert_array_equal(there.numpy(), x)
    np.testing.assert_array_equal(move(x[::-1]).numpy(), x[::-1])
    assert move(there) is there
    back = backends.get("numpy").asarray(there.clone().requires_grad_())
    assert isinstance(back, np.ndarray)
    shared = np.zeros(3)
    move(shared)[0] = 1
    assert shared[0] == 1  # no copy where none is needed


@pytest.mark.backend("numba")
class TestKernels:
    SPIKES = "fs.forward(np.full((4, 3, 9), 8.0), backend='numba').spike_times[0].tolist()"
    SETUP = "import numpy as np, fastsnn_np as fs; from fastsnn_np import _jit\n"

    def test_is_not_the_reference(self):
        from fastsnn_np import reference
        from fastsnn_np.backends.event import fused

        assert fused.layer is not reference.layer
        assert "reference" not in Path(fused.__file__).read_text().replace(
            "fastsnn_np.reference", ""
        )

    def test_a_fork_after_a_parallel_kernel(self):
        """OpenMP kills such a child when it starts threads; here its kernels run serially."""
        if not hasattr(os, "fork"):
            pytest.skip("no fork on this system")
        out = run(
            "import os, warnings; warnings.simplefilter('ignore')\n"
            + self.SETUP
            + f"a = {self.SPIKES}\nassert _jit.runs_parallel()\n"
            "pid = os.fork()\n"
            "if not pid:\n"
            f"    os._exit(0 if not _jit.runs_parallel() and {self.SPIKES} == a else 3)\n"
            "print(os.waitpid(pid, 0)[1])"
        )
        assert out == "0"

    def test_two_threads_under_workqueue(self):
        """That layer aborts the process when two threads enter it at once."""
        out = run(
            "import threading\n"
            + self.SETUP
            + f"def work():\n    for _ in range(200): {self.SPIKES}\n"
            "threads = [threading.Thread(target=work) for _ in range(4)]\n"
            "[t.start() for t in threads]; [t.join() for t in threads]\n"
            "import numba; print(numba.threading_layer())",
            env={"NUMBA_THREADING_LAYER": "workqueue", "NUMBA_NUM_THREADS": "2"},
        )
        assert out == "workqueue"

    def test_serial_on_request(self):
        out = run(
            self.SETUP + f"{self.SPIKES}; print(_jit.runs_parallel())",
            env={"FASTSNN_PARALLEL": "0"},
        )
        assert out == "False"

    def test_kept_on_disk(self, tmp_path):
        env = {"NUMBA_CACHE_DIR": str(tmp_path)}
        code = self.SETUP + f"{self.SPIKES}\nfrom fastsnn_np.backends.event import fused as n\n"
        code += "print(n._layer._builds[True].stats.cache_hits)"
        run(code, env=env)
        assert sum(hits != 0 for hits in eval_counts(run(code, env=env))) == 1

    def test_nowhere_to_keep_it(self, monkeypatch, caplog):
        from fastsnn_np import _jit

        real = _jit.numba.njit

        def njit(function, cache=False, **options):
            if cache:
                raise RuntimeError("cannot cache function 'f': no locator available")
            return real(function, **options)

        monkeypatch.setattr(_jit.numba, "njit", njit)
        with caplog.at_level(logging.INFO, "fastsnn_np"):
            assert _jit.compiled(lambda a: a + 1, parallel=False)(2) == 3
        assert "not kept on disk" in caplog.text

    def test_everything_runs_where_nothing_can_be_written(self, tmp_path):
        """Kernels and reference, with no folder for Numba's cache: not the package's, not home."""
        for name in ("fastsnn_np", "backends"):
            shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=_no_cache)
            (tmp_path / name / "__pycache__").touch()  # a file: not even root makes a folder there
        nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"), os.devnull)
        code = (
            f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + self.SETUP + f"{self.SPIKES}\n"
            "print(fs.reference.layer(np.full((1, 1, 9), 8.0), beta=0.9).times.tolist())\n"
            f"assert fs.__file__.startswith({str(tmp_path)!r})"
        )
        env = {**nowhere, "FASTSNN_PARALLEL": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        assert run(code, env=env) == "[[1]]"

    def test_a_long_wait_is_announced(self, monkeypatch, caplog):
        from fastsnn_np import _jit

        monkeypatch.setattr(_jit, "_ANNOUNCE_AFTER_S", 0.0)
        kernel = _jit.Kernel(_slow_kernel)
        monkeypatch.setenv("FASTSNN_PARALLEL", "0")
        with caplog.at_level(logging.WARNING, "fastsnn_np"):
            kernel(np.ones(3))
            first = caplog.text
            kernel(np.ones(3))
        assert "compiling the kernel slow_kernel, once" in first
        assert caplog.text == first

    def test_threads_do_not_change_the_result(self, rng):
        import numba

        x = 4 * rng.random((16, 8, 50)).astype(np.float32)
        results = []
        for threads in (1, numba.config.NUMBA_NUM_THREADS):
            numba.set_num_threads(threads)
            results.append(fs.forward(x, backend="numba", return_potential=True).potentials[0])
        np.testing.assert_array_equal(*results)


_no_cache = shutil.ignore_patterns("__pycache__")


def _slow_kernel(a):
    return a.sum()


def eval_counts(text):
    """Cache hits of a dispatcher, from the Counter it printed."""
    return [int(n) for n in re.findall(r": (\d+)", text)] or [0]


def test_two_threads_at_once(rng):
    """No state is shared between calls."""
    x = 4 * rng.random((4, 3, 80))
    expected = fs.forward(x).spike_times[0]
    wrong = []

    def work():
        for _ in range(20):
            if not (fs.forward(x).spike_times[0] == expected).all():
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
