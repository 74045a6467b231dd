"""CuPy arrays, on an NVIDIA GPU."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import cupy

from fastsnn_np._namespace import is_torch, to_numpy
from fastsnn_np.backends import _cuda as cuda
from fastsnn_np.backends._record import Backend


def version() -> str:
    return str(cupy.__version__)


def devices() -> list[str]:
    # getDeviceCount raises CuPy's own error where there is no driver; CuPy imports without one.
    names = []
    for i in range(cupy.cuda.runtime.getDeviceCount()):
        name = cupy.cuda.runtime.getDeviceProperties(i)["name"]
        names.append(f"cuda:{i} {name.decode() if isinstance(name, bytes) else name}")
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
    """`x` of any library as a CuPy array.

    It goes to `device` ("cuda", "cuda:1", 1 or CuPy's own); unless that is given, it stays on the
    GPU where it is, or goes from the host to the current one.
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


BACKEND = Backend(
    "cupy",
    version,
    devices,
    asarray,
    on=on,
    home=home,
    fft_convolve=fft_convolve,
    scatter_add=scatter_add,
    dense="fused",
    cuda=kernels,
    densest_on_gpu=cuda.DENSEST,
)
