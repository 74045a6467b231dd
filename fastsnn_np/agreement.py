"""When do two implementations agree? Spikes exactly, wherever rounding cannot decide.

The judge is ``fastsnn_np.reference`` in float64, fed the same rounded parameters and inputs. Spike
times are compared exactly for every neuron whose margin exceeds a bound:

    margin(b,i) = min |V[t] - theta| over t up to the reference's spike (over all t if it is silent)
    bound(b,i)  = 16 eps(dtype) max(1, max_t |V[b,i,t]|)

The neurons left out are counted: of at least 10,000 no more than 0.1 % may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._checks import check_real, finite, working_dtype
from ._namespace import to_numpy

__all__ = ["POTENTIAL_TOLERANCE", "Agreement", "inside_bound", "potential_error", "spike_times"]

POTENTIAL_TOLERANCE = {"float32": 1e-5, "float64": 1e-12}  #: of max|dV| / max|V|
_POOL, _LEFT_OUT = 10_000, 1e-3


@dataclass(frozen=True)
class Agreement:
    """How many spike times were compared, how many were left to rounding, how many differ."""

    neurons: int
    left_out: int
    different: int

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(
            self.neurons + other.neurons,
            self.left_out + other.left_out,
            self.different + other.different,
        )

    @property
    def ok(self) -> bool:
        """No difference and, over a pool that is large enough, few enough neurons left out."""
        few = self.neurons < _POOL or self.left_out <= _LEFT_OUT * self.neurons
        return self.different == 0 and few

    def __str__(self) -> str:
        compared = self.neurons - self.left_out
        return f"{compared - self.different}/{compared} ({self.left_out} left out)"


def inside_bound(
    potential: Any, *, dtype: Any, threshold: float = 1.0, scale: Any = None
) -> tuple[Any, Any]:
    """The reference's spike times, and which neurons are too close to the threshold to call.

    Parameters
    ----------
    potential : float64 NumPy array (batch, neurons, time)
        The reference's potential.
    dtype : NumPy dtype
        The dtype of the implementation under test.
    scale : array (batch, neurons), optional
        What the rounding errors are proportional to; max_t |V| unless given. Where large currents
        cancel it is the largest potential that |W|, |S| and |bias| would give.

    Returns
    -------
    times : int32 array (batch, neurons)
    inside : bool array (batch, neurons)
    """
    potential = _potential("potential", potential)
    threshold = finite("threshold", threshold)
    dtype = working_dtype(dtype)
    steps = potential.shape[-1]
    crossing = potential > threshold
    times = np.where(crossing.any(-1), crossing.argmax(-1), steps).astype(np.int32)
    matters = np.arange(steps) <= times[..., None]
    margin = np.where(matters, np.abs(potential - threshold), np.inf).min(-1)
    scale = np.abs(potential).max(-1) if scale is None else _scale(scale)
    if scale.shape not in ((), times.shape):
        raise ValueError(f"scale must have shape {times.shape}, got {scale.shape}")
    bound = 16 * np.finfo(dtype).eps * np.maximum(1, scale)
    return times, margin <= bound


def spike_times(
    times: Any, potential: Any, *, dtype: Any, threshold: float = 1.0, scale: Any = None
) -> Agreement:
    """Compare spike times (batch, neurons) with the reference's `potential`. See `inside_bound`."""
    expected, inside = inside_bound(potential, dtype=dtype, threshold=threshold, scale=scale)
    times = to_numpy(times)
    if times.dtype.kind not in "iu":
        raise TypeError(f"times must be integer steps, got dtype {times.dtype}")
    if times.shape != expected.shape:
        raise ValueError(f"times have shape {times.shape} and the reference's {expected.shape}")
    different = (times != expected) & ~inside
    return Agreement(expected.size, int(inside.sum()), int(different.sum()))


def potential_error(potential: Any, expected: Any) -> float:
    """max|dV| / max|V|, to be held against ``POTENTIAL_TOLERANCE``."""
    potential, expected = _potential("potential", potential), _potential("expected", expected)
    if potential.shape != expected.shape:
        raise ValueError(f"potential has shape {potential.shape}, and expected {expected.shape}")
    if expected.size == 0:
        return 0.0
    largest = float(np.abs(expected).max())
    return float(np.abs(potential - expected).max()) / (largest or 1.0)


def _scale(scale: Any) -> Any:
    """What rounding errors are proportional to; NaN in it would leave no neuron out."""
    scale = to_numpy(scale)
    check_real("scale", scale.dtype, np)
    if not (np.isfinite(scale).all() and (scale >= 0).all()):
        raise ValueError("scale must be 0 or more and finite")
    return scale


def _potential(name: str, potential: Any) -> Any:
    """A potential as a NumPy array; NaN in it would agree with everything."""
    potential = to_numpy(potential)
    check_real(name, potential.dtype, np)
    if potential.ndim < 1:
        raise ValueError(f"{name} must have axes (..., neurons, time), got a single number")
    if potential.shape[-1] == 0:
        raise ValueError(f"{name} must have at least one time step, got shape {potential.shape}")
    if not np.isfinite(potential).all():
        raise ValueError(f"{name} must be finite, and holds NaN or infinity")
    return potential
