"""Step 3 and 4: threshold crossings, and the first of them (eq. 3 and 6, Propositions 1 and 2)."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import backends
from ._checks import check_real, check_time_axis, finite
from ._namespace import Array, as_dtype, device_of, namespace, native


class FirstSpike(NamedTuple):
    """The spikes of neurons that fire at most once, in two forms."""

    spikes: Array  #: bool (..., neurons, time), at most one True along time
    times: Array  #: int32 (..., neurons), the step of the spike; the number of steps if none


def threshold(potential: Array, /, threshold: float = 1.0) -> Array:
    """Spikes before selection, 1 where V > theta, strictly (eq. 3).

    Parameters
    ----------
    potential : array (..., neurons, time)
    threshold : float
        Firing threshold theta, in the units of the potential: one finite number. A potential that
        is NaN never fires.

    Returns
    -------
    bool array of the same shape

    Examples
    --------
    >>> import numpy as np
    >>> threshold(np.array([[0.5, 1.0, 1.5]]))
    array([[False, False,  True]])
    """
    xp = namespace(potential=potential)
    check_real("potential", potential.dtype, xp)
    return potential > finite("threshold", threshold)


def phi(spikes: Array, /) -> Array:
    """z = cumsum(cumsum(S)) along time: equal to 1 at the first spike and nowhere else (Prop. 1).

    Works in float64 for floating input and in int64 otherwise, since z reaches T(T+1)/2.

    Parameters
    ----------
    spikes : array (..., time) of 0 and 1, of any real dtype

    Examples
    --------
    >>> import numpy as np
    >>> phi(np.array([0, 1, 0, 1]))
    array([0, 1, 2, 4])
    """
    xp = namespace(spikes=spikes)
    check_real("spikes", spikes.dtype, xp)
    if spikes.ndim == 0:
        raise ValueError("spikes must have axes (..., time), got shape ()")
    wide = xp.float64 if xp.isdtype(spikes.dtype, "real floating") else xp.int64
    z = xp.cumulative_sum(as_dtype(xp, spikes, wide), axis=-1, dtype=wide)
    return xp.cumulative_sum(z, axis=-1, dtype=wide)


def g(z: Array, /) -> Array:
    """g(z) = ReLU(z(1-z) + 1) z, which is 1 at z = 1 and 0 at z = 0, 2, 3, ... (Prop. 2).

    Parameters
    ----------
    z : array of any shape
        Non-negative whole numbers in int64 or float64, from `phi`.

    Raises
    ------
    TypeError
        If z is of a narrower dtype: z squared overflows int32 from T = 304 on.

    Examples
    --------
    >>> import numpy as np
    >>> g(phi(np.array([0, 1, 0, 1])))
    array([0, 1, 0, 0])
    """
    xp = namespace(z=z)
    if not getattr(z.dtype, "isnative", True):
        z = native(z)
    if z.dtype not in (xp.int64, xp.float64):
        raise TypeError(f"g works in int64 or float64, got {z.dtype}: z squared overflows the rest")
    if z.dtype == xp.int64:
        z = xp.where(z > 2, xp.full_like(z, 2), z)  # the same value, and no overflow at any T
    inner = z * (1 - z) + 1
    return xp.where(inner > 0, inner, xp.zeros_like(inner)) * z


def first_spike(potential: Array, /, threshold: float = 1.0) -> FirstSpike:
    """The first step at which V > theta, as spikes and as times (eq. 6, Prop. 1 and 2).

    A crossing is the first one where the running count of crossings is 1: the same set as
    ``g(phi(V > theta))``, without the overflow.

    Parameters
    ----------
    potential : array (..., neurons, time)
        Membrane potential without reset, from `decay`.
    threshold : float
        Firing threshold theta, one finite number.

    Returns
    -------
    FirstSpike
        ``spikes``, bool of the same shape, and ``times``, int32 (..., neurons), where the number
        of steps means that the neuron never fired.

    Raises
    ------
    ValueError
        If there is no time step, or the threshold is no finite number.

    Examples
    --------
    >>> import numpy as np
    >>> first_spike(np.array([[0.5, 1.5, 2.0], [0.0, 0.2, 0.4]])).times
    array([1, 3], dtype=int32)
    """
    xp = namespace(potential=potential)
    check_real("potential", potential.dtype, xp)
    check_time_axis("potential", potential)
    crossing = potential > finite("threshold", threshold)
    count = xp.cumulative_sum(xp.astype(crossing, xp.int32), axis=-1, dtype=xp.int32)
    before = xp.astype(count == 0, xp.int32)
    return FirstSpike(crossing & (count == 1), xp.sum(before, axis=-1, dtype=xp.int32))


def first_spike_times(potential: Array, /, threshold: float = 1.0) -> Array:
    """``first_spike(potential, threshold).times`` where the spikes themselves are not needed.

    The first maximum of the crossings is the first crossing, if there is any: one pass over bytes
    in place of a running sum over integers.
    """
    xp = namespace(potential=potential)
    check_real("potential", potential.dtype, xp)
    check_time_axis("potential", potential)
    return first_crossing(xp, potential, finite("threshold", threshold))


def first_crossing(xp: Any, potential: Array, threshold: float) -> Array:
    """`first_spike_times` for arguments known to be right."""
    return first_true(xp, potential > threshold)


def first_true(xp: Any, flags: Array) -> Array:
    """int32 (...): the first step at which a flag (..., time) is True; their number if none is."""
    any_true, first = (backends.of(xp).first_true or _first_true)(flags)
    never = xp.asarray(flags.shape[-1], dtype=xp.int32, device=device_of(flags))
    return xp.where(any_true, xp.astype(first, xp.int32), never)


def _first_true(flags: Array) -> tuple[Array, Array]:
    xp = namespace(flags=flags)
    first = xp.argmax(xp.astype(flags, xp.uint8), axis=-1)
    return xp.take_along_axis(flags, first[..., None], axis=-1)[..., 0], first


def spike_counts(xp: Any, times: Array, steps: int) -> Array:
    """int32 (batch,): how many of the neurons, (batch, neurons), have fired."""
    return xp.sum(xp.astype(times < steps, xp.int32), axis=-1, dtype=xp.int32)
