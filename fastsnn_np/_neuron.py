"""Any leaky integrate-and-fire neuron in the normalised form that the library computes."""

from __future__ import annotations

from typing import NamedTuple

from ._checks import check_real, finite, positive
from ._namespace import Array, as_dtype, float_dtype, namespace


class Normalised(NamedTuple):
    """Current and initial potential of the neuron with rest 0, threshold 1 and resistance 1."""

    current: Array
    initial_potential: float


def normalise(
    current: Array,
    /,
    *,
    v_rest: float,
    v_threshold: float,
    resistance: float = 1.0,
    v_initial: float | None = None,
) -> Normalised:
    """Map tau dV/dt = -V + V_rest + R I to the normalised neuron (Proposition 3, eq. 10 and 11).

    The potential becomes (V - V_rest) / (V_th - V_rest), the current R / (V_th - V_rest) I;
    the time constant stays.

    Parameters
    ----------
    current : array (..., neurons, time)
        Input current I, in nA if the potentials are in mV and the resistance in MOhm.
    v_rest, v_threshold : float
        Resting potential and firing threshold, V_th > V_rest, in mV.
    resistance : float
        Membrane resistance R, positive, in MOhm.
    v_initial : float, optional
        Potential before the first step in mV; V_rest unless given.

    Raises
    ------
    ValueError
        If V_th <= V_rest, R <= 0, or one of the numbers is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> normalise(np.array([[1.5, 3.0]]), v_rest=-65.0, v_threshold=-50.0, resistance=10.0)
    Normalised(current=array([[1., 2.]]), initial_potential=0.0)
    """
    xp = namespace(current=current)
    check_real("current", current.dtype, xp)
    current = as_dtype(xp, current, float_dtype(xp, current=current))
    v_rest, v_threshold = finite("v_rest", v_rest), finite("v_threshold", v_threshold)
    if not v_threshold > v_rest:
        raise ValueError(f"v_threshold must be above v_rest (mV), got {v_threshold} and {v_rest}")
    resistance = positive("resistance", resistance, "MOhm")
    span = finite("v_threshold - v_rest", v_threshold - v_rest)
    gain = positive("resistance / (v_threshold - v_rest)", resistance / span)
    initial = 0.0 if v_initial is None else (finite("v_initial", v_initial) - v_rest) / span
    return Normalised(current * gain, initial)
