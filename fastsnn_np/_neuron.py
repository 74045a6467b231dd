"""Any leaky integrate-and-fire neuron in the normalised form that the library computes."""

from __future__ import annotations

from typing import NamedTuple

from ._namespace import Array, namespace


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
        If V_th <= V_rest or R <= 0.

    Examples
    --------
    >>> import numpy as np
    >>> normalise(np.array([[1.5, 3.0]]), v_rest=-65.0, v_threshold=-50.0, resistance=10.0)
    Normalised(current=array([[1., 2.]]), initial_potential=0.0)
    """
    namespace(current=current)
    if not v_threshold > v_rest:
        raise ValueError(f"v_threshold must be above v_rest (mV), got {v_threshold} and {v_rest}")
    if not resistance > 0:
        raise ValueError(f"resistance must be positive (MOhm), got {resistance}")
    span = v_threshold - v_rest
    initial = 0.0 if v_initial is None else (v_initial - v_rest) / span
    return Normalised(current * (resistance / span), initial)
