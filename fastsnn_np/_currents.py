"""Step 1: presynaptic spikes to input currents (eq. 4)."""

from __future__ import annotations

from ._checks import check_time_axis, check_weights
from ._namespace import Array, as_dtype, float_dtype, namespace


def currents(x: Array, weight: Array, bias: Array | None = None, /) -> Array:
    """Input currents, I[b,i,t] = sum_j W[i,j] S[b,j,t] + bias[i] (eq. 4).

    Parameters
    ----------
    x : array (..., inputs, time)
        Presynaptic spikes, or any analogue input. Booleans and integers count as currents.
    weight : array (neurons, inputs)
        Synaptic weights.
    bias : array (neurons,), optional
        A constant current at every step.

    Returns
    -------
    array (..., neurons, time)
        In the widest floating dtype of the arguments.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    TypeError
        If the arrays belong to two libraries, or are half precision or complex.

    Examples
    --------
    >>> import numpy as np
    >>> spikes = np.array([[[1, 0, 1], [0, 0, 1]]])
    >>> currents(spikes, np.array([[0.5, 2.0]]))
    array([[[0.5, 0. , 2.5]]])
    """
    xp = namespace(x=x, weight=weight, bias=bias)
    dtype = float_dtype(xp, x=x, weight=weight, bias=bias)
    check_time_axis("x", x, axes="(..., inputs, time)")
    check_weights(weight, bias, inputs=x.shape[-2])
    out = xp.matmul(as_dtype(xp, weight, dtype), as_dtype(xp, x, dtype))
    if bias is not None:
        out += as_dtype(xp, bias, dtype)[:, None]  # `out` is ours: no argument is modified
    return out
