"""The parts of a network: a hidden layer's parameters and a readout's, checked and kept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ._checks import (
    check_beta,
    check_finite,
    check_number_or_array,
    check_option,
    check_real,
    check_weights,
    finite,
    gamma_of,
    is_number,
)
from ._decay import InputScale, as_real, beta_from_tau
from ._kinds import LogitsKind, Neuron
from ._namespace import Array, as_parameter, float_dtype, is_array, namespace, said, to_numpy

TAU_HIDDEN, TAU_READOUT = 10.0, 20.0  # ms, Table 1
ARRAYS = ("weight", "bias", "beta")  # the fields of every part that are arrays
LAYER_ARRAYS = ("threshold", "recurrent", "rho", "a", "b")  # those of a layer that may be
_FASTSNN = Neuron()


@dataclass(frozen=True, eq=False)
class _Parameters:
    """What hidden layers and readouts share: a synaptic matrix and leaky neurons behind it."""

    weight: Array
    bias: Array | None = None
    beta: float | Array | None = None
    input_scale: InputScale = "unit"

    def __post_init__(self) -> None:
        weight, bias = self.weight, self.bias
        if self.beta is not None:
            check_number_or_array("beta", self.beta)
        check_weights(weight, bias)
        xp = namespace(weight=weight, bias=bias, beta=self.beta)
        if 0 in weight.shape:
            raise ValueError(f"weight must not be empty, got shape {tuple(weight.shape)}")
        check_option("input_scale", self.input_scale, InputScale)
        dtype = float_dtype(xp, weight=weight)
        neurons = weight.shape[0]
        beta = beta_from_tau(self._default_tau) if self.beta is None else self.beta
        beta = as_real(xp, "beta", beta, weight, dtype)
        if bias is not None:
            check_real("bias", bias.dtype, xp)
        check_beta(xp, beta, neurons=neurons)
        arrays = {
            "weight": as_parameter(xp, weight, weight, dtype),
            "bias": None if bias is None else as_parameter(xp, bias, weight, dtype),
            "beta": beta if beta.ndim else xp.broadcast_to(beta, (neurons,)),
        }
        for name, array in arrays.items():
            if array is not None:
                check_finite(f"the {self._kind}'s {name}", array)
            object.__setattr__(self, name, array)

    _default_tau: ClassVar = math.nan
    _kind: ClassVar = "layer"

    @property
    def n_inputs(self) -> int:
        return int(self.weight.shape[1])

    @property
    def n_neurons(self) -> int:
        return int(self.weight.shape[0])


@dataclass(frozen=True, eq=False)
class Layer(_Parameters):
    """A hidden layer of spiking neurons, which fire at most once unless told otherwise.

    Parameters
    ----------
    weight : array (neurons, inputs)
        float32 or float64; the whole layer takes its dtype.
    bias : array (neurons,), optional
        A constant current at every step.
    beta : float or array (neurons,), optional
        Decay per step, inside (0, 1); from tau = 10 ms at dt = 1 ms unless given. Say another
        time constant as ``beta=beta_from_tau(tau, dt)``.
    input_scale : {"unit", "normalised"}
        Whether the current is multiplied by 1 or by 1 - beta.
    threshold : float or array (neurons,)
        Firing threshold, finite; one per neuron where neurons fire always.
    neuron : Neuron
        What the neurons do besides leaking; FastSNN's unless given. `recurrent`, `rho`, `a` and
        `b` are as there.
    recurrent : array (neurons, neurons), optional
        Weights from the neurons (columns) to the neurons (rows), one step after each spike.
    rho : float or array (neurons,), optional
        Decay per step of the slow variable of adapting neurons, in [0, 1); they need it.
    a : float or array (neurons,), optional
        Coupling of an adaptation current to the potential, 0 <= a < (1 + beta) (1 + rho), where
        it is stable; 0 unless given.
    b : float or array (neurons,), optional
        What a spike adds to the slow variable, at least 0; 0 unless given.
    delay : integer array (inputs,), optional
        Whole steps by which the spikes of each input arrive later, at least 0; kept as a NumPy
        array of int64.

    Raises
    ------
    ValueError, TypeError
        If shapes, values, libraries or devices do not fit, or the kind of neuron has no such
        parameter.
    """

    threshold: float | Array = 1.0
    neuron: Neuron = _FASTSNN
    recurrent: Array | None = None
    rho: float | Array | None = None
    a: float | Array | None = None
    b: float | Array | None = None
    delay: Any = None
    _default_tau = TAU_HIDDEN
    _kind = "layer"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.neuron, Neuron):
            raise TypeError(f"neuron must be a Neuron, got {said(self.neuron)}")
        self._check_parameters_of_kind()
        xp = namespace(**{name: getattr(self, name) for name in ("weight", *self._arrays_given())})
        if self.neuron.fires == "always" and _is_array(self.threshold):
            self._keep_per_neuron(xp, "threshold", self.threshold)
        else:
            object.__setattr__(self, "threshold", finite("threshold", self.threshold))
        if self.recurrent is not None:
            self._keep_recurrent(xp)
        if self.neuron.adapts:
            self._keep_adaptation(xp)
        if self.delay is not None:
            object.__setattr__(self, "delay", _whole_delays(self.delay, self.n_inputs))

    def _arrays_given(self) -> list[str]:
        return [name for name in LAYER_ARRAYS if _is_array(getattr(self, name))]

    def _check_parameters_of_kind(self) -> None:
        """Refuse parameters that neurons of this kind have no use for, and the lack of others."""
        if self.neuron.fires == "once" and self.recurrent is not None:
            raise ValueError(
                'recurrent weights need neurons that fire always: neuron=Neuron(fires="always")'
            )
        for name in ("rho", "a", "b"):
            fits = self.neuron.adaptation == "current" or (self.neuron.adapts and name != "a")
            if getattr(self, name) is not None and not fits:
                raise ValueError(
                    f"{name} is given, and neurons of adaptation={self.neuron.adaptation!r} have "
                    "none"
                )
        if self.neuron.adapts and self.rho is None:
            raise ValueError(f"adaptation={self.neuron.adaptation!r} needs rho, its decay per step")

    def _keep_per_neuron(self, xp: Any, name: str, value: Any) -> Array:
        """Keep a number or an array as one finite value per neuron."""
        array = as_real(xp, name, value, self.weight, self.weight.dtype)
        if tuple(array.shape) not in ((), (self.n_neurons,)):
            raise ValueError(
                f"{name} must be a number or have one value per neuron, shape "
                f"({self.n_neurons},), got shape {tuple(array.shape)}"
            )
        check_finite(f"the layer's {name}", array)
        array = array if array.ndim else xp.broadcast_to(array, (self.n_neurons,))
        object.__setattr__(self, name, array)
        return array

    def _keep_recurrent(self, xp: Any) -> None:
        recurrent, n = self.recurrent, self.n_neurons
        if not is_array(recurrent):
            raise TypeError(f"recurrent must be an array, got {said(recurrent)}")
        if tuple(recurrent.shape) != (n, n):  # type: ignore[union-attr]
            raise ValueError(
                f"recurrent must have shape (neurons, neurons), {(n, n)}, "
                f"got shape {tuple(recurrent.shape)}"  # type: ignore[union-attr]
            )
        array = as_real(xp, "recurrent", recurrent, self.weight, self.weight.dtype)
        check_finite("the layer's recurrent", array)
        object.__setattr__(self, "recurrent", array)

    def _keep_adaptation(self, xp: Any) -> None:
        """rho, b and, of an adaptation current, a: inside their ranges after rounding."""
        rho = self._keep_per_neuron(xp, "rho", self.rho)
        if not bool(xp.all((rho >= 0) & (rho < 1))):
            raise ValueError(f"rho must lie in [0, 1) after rounding to {rho.dtype}, got {rho}")
        b = self._keep_per_neuron(xp, "b", 0.0 if self.b is None else self.b)
        if not bool(xp.all(b >= 0)):
            raise ValueError(f"b must be 0 or more, got {b}")
        if self.neuron.adaptation != "current":
            return
        a = self._keep_per_neuron(xp, "a", 0.0 if self.a is None else self.a)
        beta: Any = self.beta
        if not bool(xp.all((a >= 0) & (a < (1 + beta) * (1 + rho)))):
            raise ValueError(
                f"a must lie in [0, (1 + beta) (1 + rho)), where it is stable, got {a}"
            )


@dataclass(frozen=True, eq=False)
class Readout(_Parameters):
    """The last layer: neurons that never fire, read out by their potential.

    Parameters
    ----------
    kind : {"sum", "max", "weighted"}
        Whether the logits are the sum of the potential over time, its maximum, or the sum of
        gamma^t V[t].
    gamma : float, optional
        Decay per step of the weights of a weighted sum, inside (0, 1); for that kind alone. Say a
        time constant as ``gamma=beta_from_tau(tau_weight, dt)``.
    weight, bias, beta, input_scale
        As in `Layer`; beta comes from tau = 20 ms unless given.
    """

    kind: LogitsKind = "sum"
    gamma: float | None = None
    _default_tau = TAU_READOUT
    _kind = "readout"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("kind", self.kind, LogitsKind)
        object.__setattr__(self, "gamma", gamma_of(self.kind, self.gamma))


def arrays_of(part: _Parameters) -> dict[str, Array]:
    """The parameters of a part that are arrays, by name."""
    names = (*ARRAYS, *LAYER_ARRAYS) if isinstance(part, Layer) else ARRAYS
    return {name: getattr(part, name) for name in names if is_array(getattr(part, name))}


def _is_array(value: Any) -> bool:
    """Whether a parameter is an array; NumPy's scalars are numbers."""
    return is_array(value) and not is_number(value)


def _whole_delays(delay: Any, inputs: int) -> Any:
    """One delay per input in whole steps, as int64."""
    delays = np.asarray(to_numpy(delay)) if is_array(delay) else delay
    if not (isinstance(delays, np.ndarray) and np.issubdtype(delays.dtype, np.integer)):
        raise TypeError(f"delay must be an array of integers, whole steps, got {said(delay)}")
    if delays.shape != (inputs,):
        raise ValueError(
            f"delay must have one value per input, shape ({inputs},), got shape {delays.shape}"
        )
    if not ((delays >= 0) & (delays < 2**31)).all():
        raise ValueError(f"delay must be 0 or more and below 2^31 steps, got {delays}")
    return delays.astype(np.int64)
