"""Training with Torch: surrogate gradients, modules, and `fit`, which needs Lightning.

How Torch *arrays* are handled is in ``fastsnn_np.backends.torch``; this is how people *train*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .fast_snn import FastSNN
from .functional import first_spike, spike, surrogate_derivative
from .modules import Activity, FastLIF, Readout
from .spiking_modules import SpikingLIF
from .standard_snn import StandardLIF, StandardSNN

if TYPE_CHECKING:
    from .spiking import SpikingSNN
    from .training import fit

__all__ = [
    "Activity",
    "FastLIF",
    "FastSNN",
    "Readout",
    "SpikingLIF",
    "SpikingSNN",
    "StandardLIF",
    "StandardSNN",
    "first_spike",
    "fit",
    "spike",
    "surrogate_derivative",
]


def __getattr__(name: str) -> Any:
    if name == "fit":  # imports Lightning
        from .training import fit

        return fit
    if name == "SpikingSNN":  # imports the event engine's kernels
        from .spiking import SpikingSNN

        return SpikingSNN
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
