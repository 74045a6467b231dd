"""When do two implementations agree? Spikes exactly, wherever rounding cannot decide.

The judge is ``fastsnn_np.reference`` in float64, fed the same rounded parameters and inputs. Spike
times are compared exactly for every neuron whose margin exceeds a bound:

    margin(b,i) = min |V[t] - theta| over t up to the reference's spike (over all t if it is silent)
    bound(b,i)  = 16 eps(dtype) max(1, max_t |V[b,i,t]|)

The neurons left out are counted: of at least 10,000 no more than 0.1 % may be.

Of neurons that fire again and again, one near-tie changes everything after it. They are compared at
every step before the first one where |V - theta| <= bound, of the neuron itself, or of any neuron
of the sample where the layer is recurrent. In float64 they are compared whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._checks import check_real, finite, flag, working_dtype
from ._namespace import to_numpy

__all__ = [
    "POTENTIAL_TOLERANCE",
    "Agreement",
    "TrainAgreement",
    "inside_bound",
    "potential_error",
    "spike_times",
    "spike_trains",
]

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


@dataclass(frozen=True)
class TrainAgreement:
    """How spike trains compare, in neuron-steps: one neuron of one sample at one step."""

    compared: int
    left_out: int  #: from the first near-tie on
    near_ties: int  #: where rounding may decide
    different: int

    def __add__(self, other: TrainAgreement) -> TrainAgreement:
        return TrainAgreement(
            self.compared + other.compared,
            self.left_out + other.left_out,
            self.near_ties + other.near_ties,
            self.different + other.different,
        )

    @property
    def ok(self) -> bool:
        """No difference and, over a pool that is large enough, few enough near-ties."""
        steps = self.compared + self.left_out
        few = steps < _POOL or self.near_ties <= _LEFT_OUT * steps
        return self.different == 0 and few

    def __str__(self) -> str:
        return (
            f"{self.compared - self.different}/{self.compared} "
            f"({self.left_out} left out, {self.near_ties} near-ties)"
        )


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
    return times, margin <= _bound(potential, dtype, scale)


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


def spike_trains(
    spikes: Any,
    expected: Any,
    distance: Any,
    *,
    dtype: Any,
    scale: Any = None,
    recurrent: bool = False,
) -> TrainAgreement:
    """Compare spike trains with the reference's, `reference.spiking_layer`, up to near-ties.

    Parameters
    ----------
    spikes : bool array (batch, neurons, time) of any library
        The trains of the implementation under test.
    expected : bool NumPy array of the same shape
        The reference's trains.
    distance : float64 NumPy array of the same shape
        The reference's distance from the threshold.
    dtype : NumPy dtype
        The dtype of the implementation under test; with float64 nothing is left out.
    scale : array (batch, neurons), optional
        As in `inside_bound`; max_t |distance| unless given.
    recurrent : bool
        Whether neurons hear one another, so that a near-tie of one is one of the whole sample.
    """
    distance, dtype = _potential("distance", distance), working_dtype(dtype)
    recurrent = flag("recurrent", recurrent)
    spikes, expected = to_numpy(spikes), to_numpy(expected)
    for name, trains in (("spikes", spikes), ("expected", expected)):
        if trains.dtype != np.bool_ or trains.shape != distance.shape:
            raise ValueError(
                f"{name} must be booleans of shape {distance.shape}, as distance has, got "
                f"{trains.dtype} of shape {trains.shape}"
            )
    near = np.abs(distance) <= _bound(distance, dtype, scale)[..., None]
    if dtype == np.float64:
        near[...] = False
    some = near.any(axis=-2, keepdims=True) if recurrent else near
    after = np.broadcast_to(np.logical_or.accumulate(some, axis=-1), near.shape)
    different = (spikes != expected) & ~after
    left_out = int(after.sum())
    return TrainAgreement(near.size - left_out, left_out, int(near.sum()), int(different.sum()))


def potential_error(potential: Any, expected: Any) -> float:
    """max|dV| / max|V|, to be held against ``POTENTIAL_TOLERANCE``."""
    potential, expected = _potential("potential", potential), _potential("expected", expected)
    if potential.shape != expected.shape:
        raise ValueError(f"potential has shape {potential.shape}, and expected {expected.shape}")
    if expected.size == 0:
        return 0.0
    largest = float(np.abs(expected).max())
    return float(np.abs(potential - expected).max()) / (largest or 1.0)


def _bound(potential: Any, dtype: Any, scale: Any) -> Any:
    """What rounding may move the potential of each neuron by, (batch, neurons)."""
    scale = np.abs(potential).max(-1) if scale is None else _scale(scale)
    if scale.shape not in ((), potential.shape[:-1]):
        raise ValueError(f"scale must have shape {potential.shape[:-1]}, got {scale.shape}")
    bound = 16 * np.finfo(dtype).eps * np.maximum(1, scale)
    return np.broadcast_to(bound, potential.shape[:-1])


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
