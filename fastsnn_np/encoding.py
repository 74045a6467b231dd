"""Images to first spike times, and the paper's synthetic spike trains."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ._checks import check_steps, fraction, is_number, positive, room_for, seeded, whole
from ._namespace import Array, as_dtype, float_dtype, namespace, said
from .spikes import SpikeTimes

__all__ = ["latency", "linear_latency", "random_spike_trains"]


_SMALLEST_SIDE = 16  # pixels a side of what is taken for an image


def latency(
    p: Array,
    /,
    *,
    n_steps: int = 100,
    dt: float = 1.0,
    tau_eff: float = 20.0,
    threshold: float = 0.2,
) -> SpikeTimes:
    """First spike times of an image, G(p) = tau_eff log(p / (p - theta)) for p > theta (eq. 17).

    This is when a neuron driven by the constant current p reaches theta. Times are rounded to the
    nearest step; p <= theta, and what falls after the last step, never fires.

    Parameters
    ----------
    p : array (batch, ...)
        Pixel values in [0, 1]; uint8 counts as 0 ... 255 and is divided by 255. All axes after
        the first are flattened to neurons. What has the shape of one image, without a batch axis,
        is refused: pass ``p[None]``, or 28 samples of 28 values as ``p[:, None]``.
    n_steps : int
        Number of steps. The latest spike of an 8-bit image is at 79 ms.
    dt, tau_eff : float
        Step and effective time constant in ms, positive.
    threshold : float
        theta, in [0, 1).

    Raises
    ------
    ValueError
        If p leaves [0, 1] or holds NaN, has the shape of one image, or a parameter is out of
        range.

    Warns
    -----
    UserWarning
        If even p = 1 fires after the last step, so that all neurons are silent.

    Examples
    --------
    >>> import numpy as np
    >>> latency(np.array([[1.0, 0.5, 0.2]]), n_steps=50).times
    array([[ 4, 10, 50]], dtype=int32)
    """
    xp = namespace(p=p)
    n_steps = check_steps(n_steps)
    dt, tau_eff = positive("dt", dt, "ms"), positive("tau_eff", tau_eff, "ms")
    threshold = fraction("threshold", threshold)
    p = _pixels(xp, p)
    fires = p > threshold
    safe = xp.where(fires, p, xp.ones_like(p))
    step = xp.round(tau_eff / dt * xp.log(safe / (safe - threshold)))
    first = round(min(-tau_eff / dt * math.log1p(-threshold), 1e300))
    if first >= n_steps:
        warnings.warn(
            f"no neuron fires: even p = 1 does so at step {first}, after the {n_steps} steps of "
            f"{dt:g} ms; raise dt or n_steps",
            UserWarning,
            stacklevel=2,
        )
    return _spike_times(xp, step, fires, n_steps)


def linear_latency(p: Array, /, *, n_steps: int = 100, window: float = 0.8) -> SpikeTimes:
    """First spike times of an image, t = (1 - p) * window * (n_steps - 1) for p > 0.

    Brighter pixels fire earlier, evenly spread over the first part of the steps: p = 1 at step 0
    and the faintest at the window's end, so that what they drive has time left to fire. Times are
    rounded to the nearest step; p = 0 never fires.

    Parameters
    ----------
    p : array (batch, ...)
        Pixel values as `latency` takes them.
    n_steps : int
        Number of steps.
    window : float
        Share of the steps over which the spikes are spread, 0 < window <= 1.

    Raises
    ------
    ValueError
        If p leaves [0, 1] or holds NaN, has the shape of one image, or a parameter is out of
        range.

    Examples
    --------
    >>> import numpy as np
    >>> linear_latency(np.array([[1.0, 0.5, 0.01, 0.0]]), n_steps=101).times
    array([[  0,  40,  79, 101]], dtype=int32)
    """
    xp = namespace(p=p)
    n_steps = check_steps(n_steps)
    if not (is_number(window) and 0 < window <= 1):
        raise ValueError(f"window must lie in (0, 1], a share of the steps, got {said(window)}")
    window = float(window)
    p = _pixels(xp, p)
    return _spike_times(xp, xp.round((1 - p) * (window * (n_steps - 1))), p > 0, n_steps)


def _pixels(xp: Any, p: Array) -> Array:
    """Checked pixel values as floats (batch, neurons) in [0, 1]."""
    if p.ndim < 2:
        raise ValueError(f"p must have axes (batch, ...), got shape {tuple(p.shape)}")
    side, *rest = map(int, p.shape)
    if side >= _SMALLEST_SIDE and rest in ([side], *([side, planes] for planes in (1, 3, 4))):
        raise ValueError(
            f"p has shape {tuple(p.shape)}, that of one image without a batch axis: pass p[None], "
            f"or p[:, None] if it is {side} samples"
        )
    p = xp.astype(p, xp.float32) / 255 if p.dtype == xp.uint8 else p
    p = as_dtype(xp, p, float_dtype(xp, p=p))
    if not bool(xp.all((p >= 0) & (p <= 1))):
        raise ValueError("p must lie in [0, 1] and hold no NaN; uint8 counts as 0 ... 255")
    # product of the rest, not -1: a batch may be empty
    return xp.reshape(p, (p.shape[0], math.prod(p.shape[1:])))


def _spike_times(xp: Any, step: Array, fires: Array, n_steps: int) -> SpikeTimes:
    """Whole, non-negative `step` as spike times; never where not `fires` or after the end."""
    never = xp.full_like(step, n_steps)
    step = xp.where(fires & (step < n_steps), step, never)
    return SpikeTimes.unchecked(xp.astype(step, xp.int32), n_steps)


def random_spike_trains(
    batch: int,
    n_neurons: int,
    n_steps: int,
    *,
    rate: tuple[float, float] = (0.0, 200.0),
    dt: float = 1.0,
    seed: Any = None,
) -> Any:
    """Synthetic input of the paper (Appendix C): a rate r_b ~ U(rate) per sample, then tosses.

    Parameters
    ----------
    batch, n_neurons, n_steps : int
    rate : (float, float)
        Lowest and highest firing rate in Hz.
    dt : float
        Step in ms; a neuron fires in a step with probability r_b dt / 1000.
    seed : int or numpy.random.Generator, optional

    Returns
    -------
    bool NumPy array (batch, n_neurons, n_steps)

    Raises
    ------
    ValueError
        If the rates are negative, in the wrong order, or above one spike per step.

    Examples
    --------
    >>> random_spike_trains(2, 3, 100, seed=0).shape
    (2, 3, 100)
    """
    n_steps = check_steps(n_steps)
    batch, n_neurons = whole("batch", batch, at_least=0), whole("n_neurons", n_neurons)
    dt = positive("dt", dt, "ms")
    pair = tuple(rate) if isinstance(rate, (tuple, list, np.ndarray)) else ()
    if not (
        len(pair) == 2
        and all(map(is_number, pair))
        and 0 <= pair[0] <= pair[1] <= min(1000 / dt, 1e308)
    ):
        raise ValueError(
            "rate must satisfy 0 <= low <= high <= 1000 / dt (Hz), a pair of lowest and highest, "
            f"got {said(rate)}"
        )
    low, high = map(float, pair)
    rng = seeded(seed)
    with room_for("spike trains", batch, n_neurons, n_steps, itemsize=4):
        p = rng.uniform(low, high, (batch, 1, 1)) * (dt / 1000)
        return rng.random((batch, n_neurons, n_steps), dtype=np.float32) < p
