"""What neurons, layers and readouts may be told: each option once, and how it is checked and kept.

A new option is a line in one of the classes and a line in its defaults; `FastSNN`, `StandardSNN`
and the recipes pass it on to the layers, whose module makes use of it.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypedDict, TypeVar, cast

import torch
from torch import Tensor, nn

from .._checks import check_option, check_options, positive
from .._decay import InputScale
from .._kinds import Neuron
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


class SpikingGradientOptions(TypedDict, total=False):
    """The gradient of neurons that fire again and again, see `SpikingLIF`."""

    slope: float
    support: float
    detach_reset: bool


class SpikingOptions(NeuronOptions, SpikingGradientOptions, total=False):
    """Options of `SpikingLIF`."""

    threshold: float
    neuron: Neuron
    recurrent: bool
    tau_adaptation: float  #: ms


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

SPIKING: SpikingOptions = {
    **_NEURON,
    "tau": 20.0,
    "threshold": 1.0,
    "neuron": Neuron("always"),
    "recurrent": False,
    "tau_adaptation": 100.0,
    "slope": 10.0,
    "support": math.inf,
    "detach_reset": True,
}

_Options = TypeVar("_Options", bound=Mapping[str, Any])


def complete(given: _Options, defaults: _Options, who: str) -> _Options:
    """The given options, and the defaults of all others.

    Raises
    ------
    TypeError
        If an option is not among the defaults.
    """
    check_options(who, given, defaults)
    return cast("_Options", {**defaults, **given})


def for_readout(hidden: Mapping[str, Any], tau: float, kind: ReadoutKind) -> ReadoutOptions:
    """The options of a readout behind hidden layers that were told `hidden`."""
    tau = positive("tau_readout", tau, "ms")
    check_option("readout", kind, ReadoutKind)
    shared = {name: value for name, value in hidden.items() if name in _NEURON}
    return cast("ReadoutOptions", {**shared, "tau": tau, "kind": kind})


def with_defaults(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """Settings from a file, and the defaults of those that are ours and that it does not name.

    A file lacks what was no option yet when it was written, and its network computed as by the
    option's default.

    Examples
    --------
    >>> with_defaults({"slope": 5.0}, {"slope": 5.0, "skip": True}, {"skip": False})
    {'slope': 5.0, 'skip': False}
    """
    later = [name for name in ours if name in defaults and name not in theirs]
    found = {**theirs, **{name: defaults[name] for name in later}}
    nested = [name for name in found.keys() & defaults.keys() if isinstance(found[name], dict)]
    return found | {name: {**defaults[name], **found[name]} for name in nested}


EXTRA_STATE = "_extra_state"  #: Torch's name in a `state_dict` of what is no parameter


class SavedWhole(nn.Module):
    """A module whose `state_dict` says what its parameters mean, and whose settings are checked.

    A setting is checked whenever it is set, also after the module was made.
    """

    #: what checks a setting, gets its name and value, and gives the value to be kept
    checks: ClassVar[dict[str, Callable[[str, Any], Any]]] = {}
    #: settings, as `meaning` has them, of a module to which no option was given
    defaults: ClassVar[Mapping[str, Any]] = {}

    def meaning(self) -> dict[str, Any]:
        """What gives the parameters their meaning, by name, of kinds that JSON has."""
        raise NotImplementedError

    def __setattr__(self, name: str, value: Any) -> None:
        check = self.checks.get(name)
        super().__setattr__(name, value if check is None else check(name, value))

    def get_extra_state(self) -> Tensor:
        """The `meaning`, as JSON in bytes: a tensor, which safetensors can keep as well."""
        return torch.tensor(list(json.dumps(self.meaning()).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Any) -> None:
        """Refuse a meaning that is not this module's own.

        Raises
        ------
        ValueError
            If a setting differs, or the state is damaged.
        """
        self.compare(state, "the module")

    def compare(self, state: Any, where: str) -> None:
        """Refuse parameters that would mean something else here; `where` is the module's name."""
        try:
            ours = self.meaning()
            theirs = with_defaults(json.loads(bytes(state.tolist())), ours, self.defaults)
            other = [k for k in {**theirs, **ours} if theirs.get(k) != ours.get(k)]
        except (AttributeError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"the settings of {where} are damaged: {error}") from error
        if other:
            raise ValueError(
                f"the parameters are of another network: {where} has "
                + ", ".join(f"{k} {theirs.get(k)!r}, here {ours.get(k)!r}" for k in other)
                + "; make the model with the same options"
            )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        """Compare settings before any parameter is changed, those of modules inside as well."""
        silent = []
        for name, module in self.named_modules():
            if isinstance(module, SavedWhole):
                path = prefix + (f"{name}." if name else "")
                key = path + EXTRA_STATE
                if key in state_dict:
                    module.compare(state_dict[key], path.removesuffix(".") or "the module")
                elif any(known.startswith(path) for known in state_dict):
                    state_dict[key] = module.get_extra_state()  # to Torch it would be missing
                    silent.append(path.removesuffix(".") or "the module")
        if silent:
            warnings.warn(
                f"the state_dict does not say with which options {', '.join(silent)} "
                "computed, as before version 0.2: they are taken to be those of this model",
                stacklevel=2,
            )
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def with_settings(module: nn.Module, state: Mapping[str, Any]) -> dict[str, Any]:
    """`state` with the settings of `module` where it has none, and they are known to be alike."""
    own = module.state_dict()
    return {**{k: v for k, v in own.items() if k.endswith(EXTRA_STATE)}, **state}


def one_of(allowed: Any) -> Callable[[str, Any], Any]:
    """A check for `SavedWhole.checks`: the value must be one of a `Literal`'s."""

    def check(name: str, value: Any) -> Any:
        check_option(name, value, allowed)
        return value

    return check
