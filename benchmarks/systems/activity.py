"""What a trained model fires. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Activity:
    """One sample through a trained model: spikes (neuron, time) and potentials (class, time)."""

    label: int  #: the true class
    input: Any
    hidden: Any
    potential: Any
