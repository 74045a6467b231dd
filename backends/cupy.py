"""CuPy arrays, on an NVIDIA GPU."""

from __future__ import annotations

import contextlib
from typing import Any

import cupy

from fastsnn_np._namespace import is_torch, to_numpy
from fastsnn_np.backends import _cuda, _cuda_cupy
from fastsnn_np.backends._record import Backend


def version() -> str:
    return str(cupy.__version__)


def devices() -> list[str]:
    """One line per GPU, on which a kernel and a product were tried: CuPy imports without them."""
    names = []
    for i in range(cupy.cuda.runtime.getDeviceCount()):
        name = cupy.cuda.runtime.getDeviceProperties(i)["name"]
        with cupy.cuda.Device(i):
            versions = _cuda_cupy.tried()
        names.append(f"cuda:{i} {name.decode() if isinstance(name, bytes) else name} ({versions})")
    return names


def on(device: Any) -> contextlib.AbstractContextManager[Any]:
    """Make `device` the current one: CuPy computes there, wherever its arrays are."""
    return contextlib.nullcontext() if device is None else _device(device)


def home(x: Any) -> Any:
    """The GPU that holds `x` of CuPy or Torch; None for anything on the host."""
    if isinstance(x, cupy.ndarray):
        return x.device
    if is_torch(x) and x.is_cuda:
        return cupy.cuda.Device(x.device.index)
    return None


def asarray(x: Any, device: Any = None) -> Any:
    """`x` of any library as a CuPy array on `device` ("cuda", "cuda:1", 1 or CuPy's own).

    Unless that is given, it stays on its GPU, or goes from the host to the current one.
    """
    with on(home(x) if device is None else device):
        if is_torch(x) and x.is_cuda:
            x = cupy.from_dlpack(x.detach())
        return cupy.asarray(x if isinstance(x, cupy.ndarray) else to_numpy(x))


def _device(device: Any) -> Any:
    if isinstance(device, cupy.cuda.Device):
        return device
    text = str(device).removeprefix("cuda").removeprefix(":") or "0"
    if not text.isdigit():
        raise ValueError(f"a CuPy device is 'cuda', 'cuda:N', N or CuPy's own, got {device!r}")
    return cupy.cuda.Device(int(text))


def fft_convolve(xp: Any, x: Any, kernel: Any) -> Any:
    from cupyx.scipy.signal import fftconvolve

    return fftconvolve(x, kernel, axes=-1)[..., : x.shape[-1]].astype(x.dtype, copy=False)


def scatter_add(xp: Any, size: int, index: Any, values: Any, device: Any) -> Any:
    with device:
        out = cupy.zeros(size, dtype=values.dtype)
        cupy.add.at(out, index, values)
    return out


def sparse_product(matrix: Any, dense: Any) -> Any:
    """A `spikes.Compressed` matrix times an array (columns, n)."""
    from cupyx.scipy.sparse import csc_matrix, csr_matrix

    if matrix.indices.dtype != cupy.int32:
        raise ValueError(
            f"CuPy numbers fewer than 2^31 rows, columns and events, and the spikes have "
            f"{matrix.shape} and {matrix.indices.shape[0]}: give fewer samples at a time"
        )
    kind = csr_matrix if matrix.by_row else csc_matrix
    return kind((matrix.values, matrix.indices, matrix.indptr), shape=matrix.shape).tocsr() @ dense


BACKEND = Backend(
    "cupy",
    version,
    devices,
    asarray,
    on=on,
    home=home,
    fft_convolve=fft_convolve,
    scatter_add=scatter_add,
    sparse_product=sparse_product,
    densest_product=_cuda.DENSEST,
    dense="fused",
    cuda=_cuda_cupy.kernels,
    densest_on_gpu=_cuda.DENSEST,
)
