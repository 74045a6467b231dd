"""Spiking neural networks whose neurons fire at most once, fast, on any Array API library."""

from __future__ import annotations

import importlib
from typing import Any

from . import backends
from ._currents import currents
from ._decay import beta_from_tau, decay
from ._doctor import doctor
from ._first_spike import FirstSpike, first_spike, first_spike_times, g, phi, threshold
from ._forward import Prepared, Result, State, forward, prepare, stream
from ._kinds import Neuron
from ._layer import LayerOutput, ReadoutOutput, layer, readout
from ._neuron import normalise
from ._version import __version__ as __version__
from .network import Layer, Network, Readout
from .spikes import Events, SpikeTimes

__all__ = [
    "Events",
    "FirstSpike",
    "Layer",
    "LayerOutput",
    "Network",
    "Neuron",
    "Prepared",
    "Readout",
    "ReadoutOutput",
    "Result",
    "SpikeTimes",
    "State",
    "agreement",
    "augment",
    "backends",
    "beta_from_tau",
    "bulk",
    "convert",
    "currents",
    "datasets",
    "decay",
    "doctor",
    "encoding",
    "first_spike",
    "first_spike_times",
    "forward",
    "g",
    "layer",
    "metrics",
    "normalise",
    "phi",
    "prepare",
    "readout",
    "reference",
    "stream",
    "threshold",
]

_LAZY = {  # each costs an import of its own
    "agreement",
    "augment",
    "bulk",
    "convert",
    "datasets",
    "encoding",
    "experiments",
    "metrics",
    "plot",
    "reference",
    "sklearn",
    "torch",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"fastsnn_np.{name}")
    raise AttributeError(f"module 'fastsnn_np' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_LAZY, "__version__"})
