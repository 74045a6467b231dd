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
    is_number,
)
from ._decay import InputScale, as_real
from ._jit import njit
from ._layer import LayerOutput, ReadoutKind, ReadoutOutput
from ._namespace import float_dtype, library_name, namespace

__all__ = ["StandardOutput", "layer", "readout", "standard_layer"]


class StandardOutput(NamedTuple):
    """What the standard, multi-spike layer gives."""

    spikes: Any  #: bool (batch, neurons, time)
    potential: Any  #: (batch, neurons, time)


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
    initial_potential: Any = None,
    input_scale: str = "normalised",
    return_potential: bool = False,
) -> ReadoutOutput:
    """Readout, sequentially: what `fastsnn_np.readout` must give (theta is infinite).

    See Also
    --------
    layer : for what it raises.
    """
    check_option("kind", kind, ReadoutKind)
    return_potential = flag("return_potential", return_potential)
    v, _ = _run(x, weight, bias, beta, initial_potential, input_scale, np.inf, reset=False)
    total = v.sum(axis=-1, dtype=np.float64).astype(v.dtype)
    return ReadoutOutput(
        total if kind == "sum" else v.max(axis=-1), v[..., -1], v if return_potential else None
    )


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
