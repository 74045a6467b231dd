"""Checks of arguments: each fact is checked here, and each error has one sentence.

An error says what was wanted, what came and, where it is not obvious, what to do.
"""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np

from ._namespace import Array, namespace


def check_option(name: str, value: Any, allowed: Any) -> None:
    """Refuse a value that is none of a `Literal`'s."""
    if value not in get_args(allowed):
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, get_args(allowed)))}, got {value!r}"
        )


def positive(name: str, value: Any, unit: str = "") -> float:
    """A positive, finite number as a plain float; `unit` is named in the error."""
    if not (is_number(value) and 0 < value < math.inf):
        raise ValueError(f"{name} must be positive and finite{_of(unit)}, got {value!r}")
    return float(value)


def not_negative(name: str, value: Any, unit: str = "") -> float:
    """A finite number of at least 0 as a plain float."""
    if not (is_number(value) and 0 <= value < math.inf):
        raise ValueError(f"{name} must be 0 or more and finite{_of(unit)}, got {value!r}")
    return float(value)


def finite(name: str, value: Any) -> float:
    """A finite number as a plain float."""
    if not (is_number(value) and math.isfinite(value)):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def fraction(name: str, value: Any) -> float:
    """A number in [0, 1) as a plain float."""
    if not (is_number(value) and 0 <= value < 1):
        raise ValueError(f"{name} must lie in [0, 1), got {value!r}")
    return float(value)


def whole(name: str, value: Any, *, at_least: int = 1) -> int:
    """A whole number as a plain int."""
    if not (is_whole(value) and value >= at_least):
        raise ValueError(f"{name} must be a whole number of at least {at_least}, got {value!r}")
    return int(value)


def is_number(value: Any) -> bool:
    """Whether `value` is a real number of Python or NumPy; True and False are none."""
    real = isinstance(value, (int, float, np.integer, np.floating))
    return real and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Whether `value` is an integer of Python or NumPy; True and False are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _of(unit: str) -> str:
    return f" ({unit})" if unit else ""


def check_steps(n_steps: Any) -> int:
    """The number of time steps as a plain int: at least one, and such that int32 can hold it."""
    if not (is_whole(n_steps) and 1 <= n_steps < 2**31):
        raise ValueError(
            f"n_steps must be a whole number of at least 1 and below 2^31, got {n_steps!r}"
        )
    return int(n_steps)


def check_samples(samples: Any, n_samples: int) -> Any:
    """Numbers of samples as an int64 NumPy array, each 0 <= number < n_samples."""
    samples = np.asarray(samples)
    if samples.ndim != 1 or (samples.size and not np.issubdtype(samples.dtype, np.integer)):
        raise TypeError(
            "samples must be integers along one axis, "
            f"got dtype {samples.dtype} and shape {samples.shape}"
        )
    if samples.size and not (samples.min() >= 0 and samples.max() < n_samples):
        raise IndexError(
            f"samples must lie in 0 ... {n_samples - 1}, got {samples.min()} to {samples.max()}"
        )
    return samples.astype(np.int64)


def check_neurons(found: int, expected: int, who: str, *, steps: int | None = None) -> None:
    """Refuse an input of another number of neurons than `who` expects."""
    if found != expected:
        and_steps = "" if steps is None else f" and {steps} steps"
        raise ValueError(
            f"x has {found} neurons{and_steps} and {who} expects {expected} neurons: "
            "x is laid out (batch, neurons, time)"
        )


def check_time_axis(name: str, x: Array, *, axes: str = "(..., neurons, time)") -> None:
    """Refuse an array without neurons and time axes, or without any time step."""
    if x.ndim < 2:
        raise ValueError(f"{name} must have axes {axes}, got shape {tuple(x.shape)}")
    if x.shape[-1] == 0:
        raise ValueError(f"{name} must have at least one time step, got shape {tuple(x.shape)}")


def check_weights(weight: Any, bias: Any, *, inputs: int | None = None) -> None:
    """Refuse weights and biases whose shapes do not fit each other or the number of inputs."""
    if weight.ndim != 2:
        raise ValueError(
            f"weight must have axes (neurons, inputs), got shape {tuple(weight.shape)}"
        )
    if inputs is not None:
        check_neurons(inputs, weight.shape[1], f"weight {tuple(weight.shape)}")
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise ValueError(
            f"bias must have shape ({weight.shape[0]},) to fit weight {tuple(weight.shape)}, "
            f"got {tuple(bias.shape)}"
        )


def check_beta(xp: Any, beta: Array, *, neurons: int | None = None) -> None:
    """Refuse a beta outside (0, 1), or of a shape that is neither () nor (neurons,)."""
    if neurons is not None and tuple(beta.shape) not in ((), (neurons,)):
        raise ValueError(
            f"beta must be a number or have one value per neuron, shape ({neurons},), "
            f"got shape {tuple(beta.shape)}"
        )
    if not bool(xp.all((beta > 0) & (beta < 1))):
        raise ValueError(
            f"beta must lie inside (0, 1) after rounding to {beta.dtype}, got {beta}: "
            "beta = exp(-dt / tau) reaches 0 or 1 there for a tau far below or above dt"
        )


def check_finite(name: str, array: Array) -> None:
    """Refuse NaN and infinity, and say where the first one stands."""
    xp = namespace(array=array)
    bad = ~xp.isfinite(array)
    if bool(xp.any(bad)):
        flat = int(xp.argmax(xp.reshape(xp.astype(bad, xp.uint8), (-1,))))
        at = tuple(int(i) for i in np.unravel_index(flat, tuple(array.shape)))
        raise ValueError(f"{name} holds {float(array[at])} at index {at}")
