"""NumPy arrays again, for Numba's kernels throughout: see ``backends.event``."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from fastsnn_np.backends._record import Backend
from fastsnn_np.backends.numpy import asarray


def version() -> str:
    return str(numba.__version__)


def devices() -> list[str]:
    return [f"cpu ({numba.get_num_threads()} threads)"]


def as_parameter(x: Any, device: Any = None) -> Any:
    """A parameter: a weight is stored transposed, as the event kernels read it."""
    x = asarray(x, device)
    return np.asfortranarray(x) if x.ndim == 2 else x


BACKEND = Backend(
    "numba",
    version,
    devices,
    asarray,
    as_parameter=as_parameter,
    dense="fused",
    event="numba",
    densest_events=0.15,  # by the case dense-input of benchmarks/
)
