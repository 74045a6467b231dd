"""The CUDA kernels on CuPy's arrays, and a trial of everything that a GPU needs."""

from __future__ import annotations

import functools
from typing import Any

import cupy

from fastsnn_np.backends import _cuda as cuda


def kernels(like: Any) -> cuda.Kernels:
    """The event engine's kernels for float64 arrays, or float32 for all others."""
    return _kernels("float64" if like.dtype == cupy.float64 else "float32")


@functools.cache
def _kernels(dtype: str) -> cuda.Kernels:
    module = cupy.RawModule(code=cuda.SOURCE.read_text(), options=cuda.options(dtype))
    named = functools.cache(module.get_function)

    def launch(name: str, grid: Any, block: Any, args: Any) -> None:
        named(name)(grid, block, args)

    return cuda.Kernels(dtype, launch, lambda array: array, cupy.ascontiguousarray)


def tried() -> str:
    """The versions of what was used to run a kernel and a 2 x 2 product on the current GPU."""
    runtime, nvrtc = cupy.cuda.runtime, cupy.cuda.nvrtc.getVersion()
    built = runtime.runtimeGetVersion()
    if nvrtc[0] != built // 1000:
        raise RuntimeError(
            f"CuPy is built for CUDA {built // 1000} and has loaded NVRTC {nvrtc[0]}.{nvrtc[1]}"
        )
    indptr, indices = cupy.empty((1, 3), cupy.int64), cupy.empty(2, cupy.int32)
    kernels(cupy.empty(0, cupy.float32))(
        "sort_times", 1, 3, cupy.asarray([[1, 0]], cupy.int32), 2, 2, indptr, indices
    )
    squared = cupy.matmul(*[cupy.asarray([[1.0, 2.0], [3.0, 4.0]])] * 2)
    found = (indptr.tolist(), indices.tolist(), squared.tolist())
    if found != ([[0, 1, 2]], [1, 0], [[7.0, 10.0], [15.0, 22.0]]):
        raise RuntimeError(f"the GPU computes wrongly: a kernel and a product gave {found}")
    from cupy_backends.cuda.libs import cublas

    of_cublas = cublas.getVersion(cupy.cuda.get_cublas_handle())
    driver = runtime.driverGetVersion()
    return (
        f"driver for CUDA {driver // 1000}.{driver % 1000 // 10}, runtime {built // 1000}."
        f"{built % 1000 // 10}, NVRTC {nvrtc[0]}.{nvrtc[1]}, cuBLAS {of_cublas}"
    )
