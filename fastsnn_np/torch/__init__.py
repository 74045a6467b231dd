"""Training with Torch: surrogate gradients, modules, and training on Lightning.

How Torch *arrays* are handled is in ``fastsnn_np.backends.torch``; this is how people *train*.
"""

from .fast_snn import FastSNN
from .functional import first_spike, spike, surrogate_derivative
from .modules import Activity, FastLIF, Readout
from .standard_snn import StandardLIF, StandardSNN
from .training import fit

__all__ = [
    "Activity",
    "FastLIF",
    "FastSNN",
    "Readout",
    "StandardLIF",
    "StandardSNN",
    "first_spike",
    "fit",
    "spike",
    "surrogate_derivative",
]
