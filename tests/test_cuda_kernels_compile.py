"""NVRTC compiles every kernel for every GPU that CuPy takes, and ptxas spills no register."""

from __future__ import annotations

import cuda_compile
import pytest

from fastsnn_np.backends import _cuda as cuda

pytestmark = [
    pytest.mark.backend("cupy"),
    pytest.mark.skipif(
        cuda_compile.nvrtc() is None, reason="nvidia-cuda-nvrtc-cu12 is not installed"
    ),
]


@pytest.mark.parametrize("target", cuda_compile.TARGETS)
@pytest.mark.parametrize("dtype", cuda_compile.REALS)
def test_compiles_and_spills_nothing(dtype, target):
    if cuda_compile.ptxas() is None:
        pytest.skip("nvidia-cuda-nvcc-cu12, which has ptxas, is not installed")
    uses = cuda_compile.used(dtype, target)
    assert set(uses) == set(cuda.parameters())
    for name, use in uses.items():
        assert use.spilled == use.stack == 0, (name, use)
        assert use.registers <= 128, (name, use)  # 512 threads a multiprocessor at least


def test_only_what_is_written_is_fused():
    """The kernels' own fma, and no other: else a GPU's bits would differ from the emulator's."""
    options = ("--gpu-architecture=sm_90", *cuda.options("float32"))
    source = cuda.SOURCE.read_text()
    fused = cuda_compile.compiled(source, options).count(b"fma.")
    without = source.replace("fma(beta, v, scale * current)", "(beta * v + scale * current)")
    assert without != source
    assert cuda_compile.compiled(without, options).count(b"fma.") < fused
    free = tuple(option for option in options if option != "--fmad=false")
    assert cuda_compile.compiled(without, free).count(b"fma.") > fused


def test_an_error_is_one():
    with pytest.raises(cuda_compile.CompileError, match="undefined"):
        cuda_compile.compiled("__global__ void f() { undefined(); }", ("--std=c++17",))
