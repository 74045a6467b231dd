"""Torch tensors on any of Torch's devices. How people train is in ``fastsnn_np.torch``."""

from __future__ import annotations

from typing import Any

import torch

from fastsnn_np._namespace import is_cupy, to_numpy
from fastsnn_np.backends import _cuda as cuda
from fastsnn_np.backends import _torch_precision, _torch_sparse
from fastsnn_np.backends._record import Backend


def version() -> str:
    return torch.__version__


def devices() -> list[str]:
    gpus = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    others = ["mps"] if torch.backends.mps.is_available() else []
    return [f"cpu ({torch.get_num_threads()} threads)", *gpus, *others]


def asarray(x: Any, device: Any = None) -> torch.Tensor:
    """`x` of any library as a tensor, on `device`, or where it is if that is a Torch device."""
    if isinstance(x, torch.Tensor):
        return x if device is None else _moved(x, device)
    if is_cupy(x):
        tensor = torch.utils.dlpack.from_dlpack(x)
    else:
        host = to_numpy(x)
        # Torch shares memory with NumPy, cannot mark it read-only and takes no negative strides.
        shareable = host.flags.writeable and all(step >= 0 for step in host.strides)
        try:
            tensor = torch.from_numpy(host if shareable else host.copy())
        except TypeError as error:  # of text, objects, dates
            raise TypeError(f"a tensor must hold numbers, got dtype {host.dtype}") from error
    return tensor if device is None else _moved(tensor, device)


def _moved(x: torch.Tensor, device: Any) -> torch.Tensor:
    try:
        return x.to(torch.device(device))  # to() would take a number for a dtype
    except (RuntimeError, AssertionError, TypeError) as error:  # Torch's, of no such device
        raise ValueError(f"device={device!r} cannot be used: {error}") from error


def scatter_add(xp: Any, size: int, index: Any, values: Any, device: Any) -> torch.Tensor:
    out = torch.zeros(size, dtype=values.dtype, device=device)
    return out.index_add_(0, index, values)


def first_true(flags: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    found = flags.max(-1)  # its index is the first: one pass, where argmax and any take two
    return found.values, found.indices


def tracks_gradients(x: torch.Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


def cuda_kernels(like: torch.Tensor) -> cuda.Kernels | None:
    if not like.is_cuda:
        return None
    from fastsnn_np.backends import _cuda_torch  # compiles, or imports what does

    return _cuda_torch.kernels(like)


BACKEND = Backend(
    "torch",
    version,
    devices,
    asarray,
    scatter_add=scatter_add,
    sparse_product=_torch_sparse.product,
    densest_product=0.3,  # by the case sparse-product of benchmarks/
    first_true=first_true,
    cache_bytes=1 << 21,
    tracks_gradients=tracks_gradients,
    event="numba",  # on the CPU, whose memory NumPy shares
    cuda=cuda_kernels,
    exact_matmul=_torch_precision.matmul,
    densest_on_gpu=cuda.DENSEST,
)
