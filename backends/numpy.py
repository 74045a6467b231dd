"""NumPy arrays, on the CPU."""

from __future__ import annotations

from typing import Any

import numpy

from fastsnn_np._namespace import to_numpy
from fastsnn_np.backends._record import Backend


def version() -> str:
    return numpy.__version__


def devices() -> list[str]:
    return ["cpu"]


def asarray(x: Any, device: Any = None) -> Any:
    """`x` of any library as a NumPy array; from a GPU this is a copy to the host."""
    if device is not None and str(device) not in ("cpu", "cpu:0"):  # Torch's own are taken
        raise ValueError(f"NumPy arrays live on 'cpu', not on {device!r}")
    return to_numpy(x)


def fft_convolve(xp: Any, x: Any, kernel: Any) -> Any:
    from scipy.signal import fftconvolve  # late: it costs half a second

    return fftconvolve(x, kernel, axes=-1)[..., : x.shape[-1]].astype(x.dtype, copy=False)


def scatter_add(xp: Any, size: int, index: Any, values: Any, device: Any) -> Any:
    return numpy.bincount(index, values, minlength=size).astype(values.dtype, copy=False)


def sparse_product(matrix: Any, dense: Any) -> Any:
    """A `spikes.Compressed` matrix times an array (columns, n)."""
    from scipy.sparse import csc_array, csr_array  # late: it costs half a second

    kind = csr_array if matrix.by_row else csc_array
    return kind((matrix.values, matrix.indices, matrix.indptr), shape=matrix.shape).tocsr() @ dense


BACKEND = Backend(
    "numpy",
    version,
    devices,
    asarray,
    fft_convolve=fft_convolve,
    scatter_add=scatter_add,
    sparse_product=sparse_product,
    densest_product=0.3,  # by the case sparse-product of benchmarks/
    cache_bytes=1 << 21,
    event="numba",
)
