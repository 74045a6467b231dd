"""The specification: the sequential definition in plain loops, one step after another.

Everything else in this package is compared with these functions. They follow the paper's order of
operations and are compiled by Numba only so that the comparison does not take all day; with
``NUMBA_DISABLE_JIT=1`` they run as the Python you read.

Sums over time and inputs are float64 in either precision: where beta is close to 1, float32's
rounding errors add up over the steps and move spikes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._checks import (
    check_beta,
    check_finite,
    check_initial,
    check_number_or_array,
    check_option,
    check_time_axis,
    check_weights,
    finite,
    flag,
    gamma_of,
    is_number,
    working_dtype,
)
from ._decay import InputScale, as_real
from ._jit import njit
from ._kinds import LogitsKind
from ._layer import LayerOutput, ReadoutOutput
from ._namespace import float_dtype, library_name, namespace, said
from ._parts import Layer, arrays_of

__all__ = [
    "SpikingOutput",
    "StandardOutput",
    "layer",
    "readout",
    "spiking_layer",
    "standard_layer",
]


class StandardOutput(NamedTuple):
    """What the standard, multi-spike layer gives."""

    spikes: Any  #: bool (batch, neurons, time)
    potential: Any  #: (batch, neurons, time)


class SpikingOutput(NamedTuple):
    """What a hidden layer of any kind of neuron gives."""

    spikes: Any  #: bool (batch, neurons, time)
    potential: Any  #: u (batch, neurons, time)
    #: u - theta (batch, neurons, time), less w where the threshold adapts: above 0 a neuron fires,
    #: unless it may not
    distance: Any


def layer(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    /,
    *,
    beta: Any,
    threshold: float = 1.0,
    initial_potential: Any = None,
    input_scale: str = "normalised",
    return_potential: bool = False,
) -> LayerOutput:
    """Single-spike LIF layer, sequentially: what `fastsnn_np.layer` must give.

    Parameters are those of `fastsnn_np.layer`; x is (batch, inputs, time), NumPy. Computed in
    float64 unless x and all parameters are float32.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit one another, a value is NaN, infinite or out of range, or an array is
        none of NumPy's.
    """
    return_potential = flag("return_potential", return_potential)
    threshold = finite("threshold", threshold)
    v, theta = _run(x, weight, bias, beta, initial_potential, input_scale, threshold, reset=False)
    times = np.empty(v.shape[:2], np.int32)
    _first_crossing(v, theta, times)
    return LayerOutput(times, v[..., -1], v if return_potential else None)


def readout(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    /,
    *,
    beta: Any,
    kind: str = "sum",
    gamma: float | None = None,
    initial_potential: Any = None,
    input_scale: str = "normalised",
    return_potential: bool = False,
) -> ReadoutOutput:
    """Readout, sequentially: what `fastsnn_np.readout` must give (theta is infinite).

    A weighted sum is sum_t gamma^t V[t].

    See Also
    --------
    layer : for what it raises.
    """
    check_option("kind", kind, LogitsKind)
    gamma = gamma_of(kind, gamma)
    return_potential = flag("return_potential", return_potential)
    v, _ = _run(x, weight, bias, beta, initial_potential, input_scale, np.inf, reset=False)
    if kind == "max":
        logits = v.max(axis=-1)
    else:
        weights = (1.0 if gamma is None else gamma) ** np.arange(v.shape[-1])
        logits = (v * weights).sum(axis=-1, dtype=np.float64).astype(v.dtype)
    return ReadoutOutput(logits, v[..., -1], v if return_potential else None)


def standard_layer(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    /,
    *,
    beta: Any,
    threshold: float = 1.0,
    initial_potential: Any = None,
    input_scale: str = "normalised",
) -> StandardOutput:
    """Standard LIF layer, which may fire at every step (eq. 2).

    V[t+1] = beta V[t] + (1 - beta) I[t+1] - theta S[t]: the reset, by subtraction, is felt one
    step after the spike. Parameters are those of `layer`, and so are the errors.
    """
    threshold = finite("threshold", threshold)
    v, theta = _run(x, weight, bias, beta, initial_potential, input_scale, threshold, reset=True)
    return StandardOutput(v > theta, v)


def spiking_layer(x: Any, layer: Layer, /, *, dtype: Any = np.float64) -> SpikingOutput:
    """A hidden layer of any kind of neuron, sequentially: the equations of `Neuron`.

    Parameters
    ----------
    x : NumPy array (batch, inputs, time)
    layer : Layer
        Of NumPy arrays. Its numbers are taken as they are rounded in it.
    dtype : {numpy.float64, numpy.float32}
        What is computed in; sums are float64 in either.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, `x` holds NaN or infinity, or something is none of NumPy's.
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"layer must be a Layer, got {said(layer)}")
    _checked(x, layer.weight, layer.bias, layer.beta, None)
    dtype = working_dtype(dtype)
    held = {name: np.ascontiguousarray(a, dtype) for name, a in arrays_of(layer).items()}
    x = np.ascontiguousarray(x, dtype)
    if layer.delay is not None:
        x = _delayed(x, layer.delay)
    kind, neurons, steps = layer.neuron, layer.n_neurons, x.shape[-1]
    none = np.zeros(neurons, dtype)
    current = np.empty((len(x), neurons, steps), dtype)
    _currents(x, held["weight"], held.get("bias", none), current)
    beta, once = held["beta"], kind.fires == "once"
    found = SpikingOutput(
        np.zeros(current.shape, np.bool_), np.empty_like(current), np.empty_like(current)
    )
    _spikes(
        current,
        beta,
        1 - beta if layer.input_scale == "normalised" else np.ones_like(beta),
        held.get("threshold", np.full(neurons, layer.threshold, dtype)),
        held.get("recurrent", np.zeros((0, 0), dtype)),
        *(held.get(name, none) for name in ("rho", "a", "b")),
        ("none", "subtract", "zero").index(str(kind.reset)),
        kind.reset_at == "before decay",
        kind.adaptation == "threshold",
        steps if once else kind.refractory,
        *found,
    )
    return found


def _run(
    x: Any,
    weight: Any,
    bias: Any,
    beta: Any,
    initial: Any,
    input_scale: str,
    threshold: float,
    reset: bool,
) -> tuple[Any, Any]:
    xp = _checked(x, weight, bias, beta, initial)
    check_option("input_scale", input_scale, InputScale)
    arrays = [np.asarray(a) for a in (x, weight, bias, beta, initial) if a is not None]
    dtype = np.float32 if all(a.dtype == np.float32 for a in arrays) else np.float64
    x = np.ascontiguousarray(x, dtype)
    if weight is None:
        current = x
    else:
        weight = np.ascontiguousarray(weight, dtype)
        bias = np.zeros(len(weight), dtype) if bias is None else np.ascontiguousarray(bias, dtype)
        current = np.empty((len(x), len(weight), x.shape[-1]), dtype)
        _currents(x, weight, bias, current)
    neurons = current.shape[1]
    beta = as_real(xp, "beta", beta, x, dtype)
    check_beta(xp, beta, neurons=neurons)
    beta = np.array(np.broadcast_to(beta, (neurons,)))
    scale = 1 - beta if input_scale == "normalised" else np.ones_like(beta)
    v0 = as_real(xp, "initial_potential", 0 if initial is None else initial, x, dtype)
    check_initial(v0, current.shape[:2])
    v0 = np.array(np.broadcast_to(v0, current.shape[:2]))
    v = np.empty_like(current)
    theta = dtype(threshold)
    _membrane(current, beta, scale, v0, theta, reset, v)
    return v, theta


def _checked(x: Any, weight: Any, bias: Any, beta: Any, initial: Any) -> Any:
    """The namespace of arrays that fit one another: the compiled loops look at no bounds."""
    check_number_or_array("beta", beta)
    if is_number(initial):
        finite("initial_potential", initial)
    elif initial is not None:
        check_number_or_array("initial_potential", initial)
    check_time_axis("x", x, axes="(batch, inputs, time)")
    arrays = {"x": x, "weight": weight, "bias": bias, "beta": beta, "initial_potential": initial}
    xp = namespace(**arrays)
    if library_name(xp) != "numpy":
        raise TypeError(f"x must be a NumPy array, got one of {library_name(xp)}")
    float_dtype(xp, **arrays)  # refuses what is no number, and half precision
    if x.ndim != 3:
        raise ValueError(f"x must have axes (batch, inputs, time), got shape {x.shape}")
    if weight is not None:
        check_weights(weight, bias, inputs=x.shape[1])
    elif bias is not None:
        raise TypeError("bias without weight: add it to the current")
    for name, value in arrays.items():
        if type(value) is np.ndarray and name != "beta":
            check_finite(name, value)
    return xp


@njit
def _currents(x, weight, bias, current):  # type: ignore[no-untyped-def]
    batch, inputs, steps = x.shape
    for b in range(batch):
        for i in range(weight.shape[0]):
            for t in range(steps):
                total = np.float64(bias[i])
                for j in range(inputs):
                    total += np.float64(weight[i, j]) * x[b, j, t]  # eq. 4
                current[b, i, t] = total


@njit
def _membrane(current, beta, scale, initial, threshold, reset, v):  # type: ignore[no-untyped-def]
    batch, neurons, steps = current.shape
    for b in range(batch):
        for i in range(neurons):
            now = np.float64(initial[b, i])
            for t in range(steps):
                now = beta[i] * now + scale[i] * np.float64(current[b, i, t])  # eq. 2, 5
                if reset and t > 0 and v[b, i, t - 1] > threshold:
                    now -= threshold  # the last term of eq. 2
                v[b, i, t] = now


@njit
def _first_crossing(v, threshold, times):  # type: ignore[no-untyped-def]
    batch, neurons, steps = v.shape
    for b in range(batch):
        for i in range(neurons):
            times[b, i] = steps
            for t in range(steps):
                if v[b, i, t] > threshold:  # eq. 3
                    times[b, i] = t
                    break


@njit
def _delayed(x, delay):  # type: ignore[no-untyped-def]
    later = np.zeros_like(x)
    for b in range(x.shape[0]):
        for j in range(x.shape[1]):
            for t in range(delay[j], x.shape[2]):
                later[b, j, t] = x[b, j, t - delay[j]]
    return later


@njit
def _spikes(  # type: ignore[no-untyped-def]
    current, beta, scale, theta, recurrent, rho, a, b, reset, early, rises, refractory,
    spikes, potential, distance,
):  # fmt: skip
    batch, neurons, steps = current.shape
    for k in range(batch):
        u, w = np.zeros(neurons), np.zeros(neurons)
        fired, closed = np.zeros(neurons, np.bool_), np.zeros(neurons, np.int64)
        for t in range(steps):
            before = fired.copy()
            for i in range(neurons):
                drive = np.float64(current[k, i, t])
                for j in range(recurrent.shape[0]):
                    if before[j]:
                        drive += recurrent[i, j]
                drive *= scale[i]
                r = 0.0
                if before[i] and reset > 0:
                    r = theta[i] if reset == 1 else u[i]
                w[i] = rho[i] * w[i] + a[i] * u[i]
                if before[i]:
                    w[i] += b[i]
                u[i] = beta[i] * (u[i] - r) if early else beta[i] * u[i] - r
                u[i] += drive
                if not rises:
                    u[i] -= w[i]
                d = u[i] - theta[i] - w[i] if rises else u[i] - theta[i]
                fired[i] = d > 0 and closed[i] == 0
                closed[i] = refractory if fired[i] else max(closed[i] - 1, 0)
                spikes[k, i, t], potential[k, i, t], distance[k, i, t] = fired[i], u[i], d
