"""What neurons, layers and readouts may be told: each option once, with its default.

A new option is a line in one of the classes and a line in its defaults; `FastSNN`, `StandardSNN`
and the recipes pass it on to the layers, whose module makes use of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict, TypeVar, cast

import torch

from .._decay import InputScale
from .._layer import ReadoutKind
from ..network import TAU_HIDDEN, TAU_READOUT
from .functional import Gradient, Surrogate


class NeuronOptions(TypedDict, total=False):
    """Options of the neurons of every layer, firing or not."""

    tau: float  #: membrane time constant in ms, from which beta = exp(-dt / tau) starts
    dt: float  #: step in ms
    bias: bool  #: whether there is a constant current per neuron
    learn_beta: bool
    share_beta: bool  #: whether the layer has one beta, and not one per neuron
    input_scale: InputScale  #: whether the current is multiplied by 1 or by 1 - beta
    device: Any
    dtype: torch.dtype | None


class ReadoutOptions(NeuronOptions, total=False):
    """Options of `Readout`."""

    kind: ReadoutKind


class SurrogateOptions(TypedDict, total=False):
    """What stands for the derivative of the spike function, see `surrogate_derivative`."""

    slope: float
    surrogate: Surrogate


class GradientOptions(SurrogateOptions, total=False):
    """The gradient of spikes that come at most once, see `first_spike`."""

    gradient: Gradient


class FastOptions(NeuronOptions, GradientOptions, total=False):
    """Options of `FastLIF`."""

    threshold: float


class StandardOptions(NeuronOptions, SurrogateOptions, total=False):
    """Options of `StandardLIF`."""

    threshold: float
    detach_reset: bool
    single_spike: bool


_NEURON: NeuronOptions = {
    "tau": TAU_HIDDEN,
    "dt": 1.0,
    "bias": True,
    "learn_beta": True,
    "share_beta": False,
    "input_scale": "unit",
    "device": None,
    "dtype": None,
}
READOUT: ReadoutOptions = {**_NEURON, "tau": TAU_READOUT, "kind": "sum"}
FAST: FastOptions = {
    **_NEURON,
    "threshold": 1.0,
    "gradient": "straight_through",
    "slope": 10.0,
    "surrogate": "fast_sigmoid",
}
STANDARD: StandardOptions = {
    **_NEURON,
    "learn_beta": False,
    "input_scale": "normalised",
    "threshold": 1.0,
    "slope": 100.0,
    "surrogate": "fast_sigmoid",
    "detach_reset": False,
    "single_spike": False,
}

_Options = TypeVar("_Options", bound=Mapping[str, Any])


def complete(given: _Options, defaults: _Options, who: str) -> _Options:
    """The given options, and the defaults of all others.

    Raises
    ------
    TypeError
        If an option is not among the defaults.
    """
    for name in given:
        if name not in defaults:
            raise TypeError(
                f"{who} has no option {name!r}; it has {', '.join(map(repr, defaults))}"
            )
    return cast("_Options", {**defaults, **given})


def for_readout(hidden: Mapping[str, Any], tau: float, kind: ReadoutKind) -> ReadoutOptions:
    """The options of a readout behind hidden layers that were told `hidden`."""
    shared = {name: value for name, value in hidden.items() if name in _NEURON}
    return cast("ReadoutOptions", {**shared, "tau": tau, "kind": kind})
