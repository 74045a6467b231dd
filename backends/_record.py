"""What a backend is: one record per array library."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from fastsnn_np._namespace import Array
from fastsnn_np.backends._cuda import Kernels


def _nothing_tracked(x: Array) -> bool:
    return False


def _follows_its_arrays(device: Any) -> AbstractContextManager[Any]:
    return nullcontext()


def _no_device(x: Any) -> None:
    return None


_GPU_BYTES = 1 << 28  # a GPU wants much work at a time, and has no cache to stay in


@dataclass(frozen=True)
class Backend:
    """What an array library offers here, beyond the Array API.

    A field that is None or has its default is one that the library does without.
    """

    name: str
    version: Callable[[], str]
    #: one line per device; raises the library's own error where it cannot be used
    devices: Callable[[], list[str]]
    #: ``asarray(x, device=None)``: the explicit move of an array of any library to this one
    asarray: Callable[..., Array]
    #: ``on(device)``: a context in which a library that has a current device computes there
    on: Callable[[Any], AbstractContextManager[Any]] = _follows_its_arrays
    #: ``home(x)``: where `x` lies, as `on` takes it, if that is a device of such a library
    home: Callable[[Any], Any] = _no_device
    #: `asarray` for a network's parameters, laid out in memory as the kernels read them
    as_parameter: Callable[..., Array] | None = None
    #: ``fft_convolve(xp, x, kernel)``: causal convolution along the last axis
    fft_convolve: Callable[..., Array] | None = None
    #: ``scatter_add(xp, size, index, values, device)``: a vector of sums by index
    scatter_add: Callable[..., Array] | None = None
    #: ``sparse_product(matrix, dense)``: a `spikes.Compressed` matrix times an array of two axes
    sparse_product: Callable[[Any, Array], Array] | None = None
    #: density up to which that product beats the dense one
    densest_product: float = 0.0
    #: ``first_true(flags)``: along the last axis, whether any is true, and the first that is
    first_true: Callable[[Array], tuple[Array, Array]] | None = None
    #: size in bytes of the potentials that the dense engine computes at a time on the CPU, so that
    #: they stay in cache; 0 for all of them
    cache_bytes: int = 0
    #: the matrix product where the library's own may be less precise than its dtype
    exact_matmul: Callable[[Array, Array], Array] | None = None
    #: whether a gradient is wanted of an array, which kernels would lose
    tracks_gradients: Callable[[Array], bool] = _nothing_tracked
    #: "array api" for the core as it is, "fused" for decay and first spike in one kernel
    dense: Literal["array api", "fused"] = "array api"
    #: the kernels of the event engine for arrays of this library
    event: Literal["numba"] | None = None
    #: ``cuda(like)``: the event engine's kernels where `like` lies on an NVIDIA GPU, else None
    cuda: Callable[[Array], Kernels | None] | None = None
    #: density up to which `Events` on such a GPU are computed as events, and not as a product
    densest_on_gpu: float = 1.0
    #: density up to which a dense input is computed as events; 0 for never
    densest_events: float = 0.0

    def room(self, device: Any) -> int:
        """Bytes of potentials that the dense engine computes at a time there; 0 for all of them."""
        return _GPU_BYTES if self.cache_bytes and str(device) != "cpu" else self.cache_bytes
