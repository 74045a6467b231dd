"""What doctor says about a GPU, and about each known way in which CuPy fails."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys

import pytest

from fastsnn_np import backends
from fastsnn_np.backends._cupy_advice import advice

pytestmark = pytest.mark.backend("cupy")

#: what CuPy 14.2 and CUDA say, quoted, and what must be in the advice
ERRORS = [
    (ModuleNotFoundError("No module named 'cupy'"), "pip install 'fastsnn-np[cupy]' (CUDA 12) or"),
    (ModuleNotFoundError("No module named 'cuda'"), "pip install cuda-pathfinder"),
    (
        RuntimeError(
            "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime "
            "version"
        ),
        "CUDA 12 needs 525 or newer",
    ),
    (RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected"), "CUDA_VISIBLE_DEVICES"),
    (
        RuntimeError('Failure finding "libnvrtc.so.13 or libnvrtc.so.12": No such file'),
        "a library of CUDA is missing, which cupy-cuda12x alone does not bring: pip install",
    ),
    (
        ImportError('Failure finding "libcublasLt.so.13 or libcublasLt.so.12": No such file'),
        "a library of CUDA is missing",
    ),
    (
        ImportError("libcublas.so.12: cannot open shared object file: No such file or directory"),
        "CUDA libraries of two majors are mixed: uninstall one of",
    ),
    (
        RuntimeError("CuPy is built for CUDA 12 and has loaded NVRTC 13.0"),
        "CUDA libraries of two majors are mixed",
    ),
    (
        MemoryError("Out of memory allocating 4,096 bytes (allocated so far: 0 bytes)."),
        "nvidia-smi",
    ),
]


@pytest.mark.parametrize(("error", "words"), ERRORS, ids=range(len(ERRORS)))
def test_known_failures_say_what_to_install(error, words):
    assert words in advice(error)


def test_an_unknown_failure_is_left_alone():
    assert advice(ValueError("something else")) is None


def test_a_gpu_is_tried(cupys):
    if not cupys:
        pytest.skip("runs with --backend=cupy")
    status = backends.status("cupy")
    assert status.error is None, status
    assert len(status.devices) == importlib.import_module("cupy").cuda.runtime.getDeviceCount()
    words = r"cuda:0 .+ \(driver for CUDA \d+\.\d+, runtime \d+\.\d+, NVRTC \d+\.\d+, cuBLAS \d+\)"
    assert re.fullmatch(words, status.devices[0])


@pytest.fixture
def module(cupys):
    if "standin" not in cupys:
        pytest.skip("a failure is put on with the stand-in CuPy")
    return importlib.import_module("fastsnn_np.backends.cupy")


def test_two_majors(module, monkeypatch):
    monkeypatch.setattr(module.cupy.cuda.nvrtc, "getVersion", lambda: (13, 0))
    status = backends.status("cupy")
    assert status.error == "RuntimeError: CuPy is built for CUDA 12 and has loaded NVRTC 13.0"
    assert "two majors are mixed" in str(status)


def test_a_gpu_that_computes_wrongly(module, monkeypatch):
    monkeypatch.setattr(module.cupy, "matmul", lambda a, b: a)
    assert "the GPU computes wrongly" in backends.status("cupy").error


def test_without_a_driver(cupys):
    """The real CuPy of a machine without a GPU."""
    if "standin" not in cupys:
        pytest.skip("a GPU is here, or --backend=cupy was not given")
    code = "import fastsnn_np as fs; print(fs.backends.status('cupy'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert "not usable: CUDARuntimeError: cuda" in done.stdout
    assert "-> install NVIDIA's driver" in done.stdout or "sees no GPU" in done.stdout
