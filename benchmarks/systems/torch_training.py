"""A training step in Torch, the same for all that are written in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def adam_step(
    model: Callable[[Any], Any], parameters: list[Any], x: Any, labels: Any, rate: float = 1e-3
) -> Callable[[], float]:
    """A call that takes one step of Adam on the cross-entropy and returns the loss before it."""
    target = torch.tensor(labels.astype(np.int64))
    optimiser = torch.optim.Adam(parameters, lr=rate, fused=True)

    def step() -> float:
        loss = torch.nn.functional.cross_entropy(model(x), target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    return step
