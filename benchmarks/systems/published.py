"""FastSNN as the paper's section 2.2 has it, written in Torch.

Step 2 convolves the current with beta^t, and step 3 the crossings with the ramp 1, 2, 3, ..., which
is phi (eq. 7); then g. Both kernels are as long as the time axis and constant, and the gradient is
autograd's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fastsnn_np.torch import spike


def powers(beta: float, steps: int, device: str = "cpu") -> Any:
    """The kernel beta^t of eq. 5, as `causal` takes it."""
    lag = torch.arange(steps, dtype=torch.float32, device=device)
    return (beta**lag).flip(0)[None, None, None]


def ramp(steps: int, device: str = "cpu") -> Any:
    """The kernel 1, 2, 3, ... of eq. 7."""
    return torch.arange(steps, 0, -1, dtype=torch.float32, device=device)[None, None, None]


def causal(x: Any, kernel: Any) -> Any:
    """Convolve (batch, neurons, time) with a kernel as long as the time axis."""
    padded = nn.functional.pad(x, (kernel.shape[-1] - 1, 0))
    return nn.functional.conv2d(padded[:, None], kernel)[:, 0]


def single_spikes(potential: Any, rising: Any, slope: float) -> Any:
    """g(phi(f(V))) by autograd, phi as a convolution."""
    z = causal(spike(potential, 1.0, slope=slope), rising)
    return torch.relu(z * (1 - z) + 1) * z
