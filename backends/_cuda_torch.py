"""The CUDA kernels on Torch's tensors: by pointer, on Torch's current stream.

No array is copied and no second memory pool is opened. CuPy compiles and launches where it is
installed, since it keeps the result on disk; otherwise Torch's own compiler does, if it can.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

import numpy as np
import torch

from fastsnn_np.backends import _cuda as cuda

_log = logging.getLogger("fastsnn_np")


def kernels(like: torch.Tensor) -> cuda.Kernels | None:
    """The kernels on the GPU and in the precision of `like`; None where there are none."""
    if not like.is_cuda or torch.version.hip is not None:
        return None
    return _kernels("float64" if like.dtype == torch.float64 else "float32", like.device.index)


@functools.cache
def _kernels(dtype: str, index: int) -> cuda.Kernels | None:
    try:
        launch = by_cupy(dtype, index)
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise
        launch = by_torch(dtype, index)
    return None if launch is None else cuda.Kernels(dtype, launch, _pointer, _contiguous)


def _pointer(tensor: torch.Tensor) -> Any:
    return np.uintp(tensor.data_ptr())


def _contiguous(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous()


def by_cupy(dtype: str, index: int) -> Any:
    """A launcher through CuPy, whose own error is raised if it is installed but broken."""
    import cupy

    module = cupy.RawModule(code=cuda.SOURCE.read_text(), options=cuda.options(dtype))
    named = functools.cache(module.get_function)
    device = cupy.cuda.Device(index)

    def launch(name: str, grid: Any, block: Any, args: Any) -> None:
        stream = torch.cuda.current_stream(index).cuda_stream
        with device, cupy.cuda.ExternalStream(stream, index):
            named(name)(grid, block, args)

    return launch


def by_torch(dtype: str, index: int) -> Any:
    """A launcher through Torch's private compiler; None, and the reason logged, if that fails."""

    @functools.cache
    def named(name: str) -> Any:
        options = list(cuda.options(dtype))
        return torch.cuda._compile_kernel(cuda.SOURCE.read_text(), name, nvcc_options=options)

    def launch(name: str, grid: Any, block: Any, args: Any) -> None:
        with torch.cuda.device(index):
            named(name)(grid=(*grid, 1), block=(*block, 1, 1), args=[as_torch(a) for a in args])

    try:
        with torch.cuda.device(index):
            named("sort_times")
    except (AttributeError, TypeError, OSError, RuntimeError) as error:  # private: it may change
        _log.warning(
            "the event engine needs CuPy on a GPU (pip install 'fastsnn-np[cupy]'): it is not "
            "installed, and Torch cannot compile the kernels: %s",
            error,
        )
        return None
    return launch


def as_torch(argument: Any) -> Any:
    """An argument as Torch's launcher takes it.

    That hands an integer on as 32 bits and a float as 64, whatever the kernel reads: a float32 goes
    as the integer, and an address as the double, of the same bits.
    """
    if isinstance(argument, np.float32):
        return int(argument.view(np.int32))
    if isinstance(argument, np.float64):
        return float(argument)
    if isinstance(argument, np.uintp):
        return float(argument.view(np.float64))
    return int(argument)
