"""Training with Torch: the surrogate gradient, modules, and a plain training function.

How Torch *arrays* are handled is in ``fastsnn_np.backends.torch``; this is how people *train*.
"""

from .functional import first_spike
from .modules import FastLIF, FastSNN, Readout
from .training import fit

__all__ = ["FastLIF", "FastSNN", "Readout", "first_spike", "fit"]
