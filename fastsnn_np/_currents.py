"""Step 1: presynaptic spikes to input currents (eq. 4)."""

from __future__ import annotations

from typing import Any

from . import backends
from ._checks import check_time_axis, check_weights
from ._namespace import Array, as_dtype, device_of, float_dtype, lazy_namespace, namespace
from .spikes import Events, SpikeTimes, compressed, shape_of


def currents(x: Array | SpikeTimes | Events, weight: Array, bias: Array | None = None, /) -> Array:
    """Input currents, I[b,i,t] = sum_j W[i,j] S[b,j,t] + bias[i] (eq. 4).

    Parameters
    ----------
    x : array (..., inputs, time), SpikeTimes or Events
        Presynaptic spikes, or any analogue input. Booleans and integers count as currents. Sparse
        spikes are multiplied by the sparse product of the weight's library where it has one and
        they are few enough, and made dense otherwise.
    weight : array (neurons, inputs)
        Synaptic weights.
    bias : array (neurons,), optional
        A constant current at every step.

    Returns
    -------
    array (..., neurons, time)
        In the widest floating dtype of the arguments; for sparse spikes, in that of the weight and
        the bias.

    Raises
    ------
    ValueError
        If the shapes do not fit, or the arrays are on two devices.
    TypeError
        If the arrays belong to two libraries, or are half precision or complex.

    Examples
    --------
    >>> import numpy as np
    >>> spikes = np.array([[[1, 0, 1], [0, 0, 1]]])
    >>> currents(spikes, np.array([[0.5, 2.0]]))
    array([[[0.5, 0. , 2.5]]])
    """
    if isinstance(x, (SpikeTimes, Events)):
        return _of_sparse(x, weight, bias)
    xp = lazy_namespace(x=x, weight=weight, bias=bias)
    dtype = float_dtype(xp, x=x, weight=weight, bias=bias)
    check_time_axis("x", x, axes="(..., inputs, time)")
    check_weights(weight, bias, inputs=x.shape[-2])
    bias = None if bias is None else as_dtype(xp, bias, dtype)
    return dense_product(xp, as_dtype(xp, x, dtype), as_dtype(xp, weight, dtype), bias)


def _of_sparse(x: SpikeTimes | Events, weight: Array, bias: Array | None) -> Array:
    held = x.times if isinstance(x, SpikeTimes) else None
    xp = namespace(x=held, weight=weight, bias=bias)
    dtype = float_dtype(xp, weight=weight, bias=bias)
    check_weights(weight, bias, inputs=x.n_neurons)
    weight = as_dtype(xp, weight, dtype)
    bias = None if bias is None else as_dtype(xp, bias, dtype)
    if not takes_product(backends.of(xp), x):
        return dense_product(xp, densely(x, weight), weight, bias)
    current = sparse_product(xp, x, xp.permute_dims(weight, (1, 0)), bias)
    return xp.permute_dims(current, (1, 0, 2))


def dense_product(xp: Any, x: Array, weight: Array, bias: Array | None) -> Array:
    """Currents (..., neurons, time) of a dense input, for arguments known to be right."""
    current = xp.matmul(weight, x)
    if bias is not None:
        current += bias[:, None]  # `current` is ours: no argument is modified
    return current


def sparse_product(xp: Any, x: SpikeTimes | Events, transposed: Array, bias: Array | None) -> Array:
    """Currents of sparse spikes, by neuron: (neurons, batch, time), contiguous.

    Parameters
    ----------
    transposed : array (inputs, neurons)
        The weight, transposed: fastest where a row of it is contiguous.
    """
    batch, _, steps = shape_of(x)
    neurons = transposed.shape[1]
    if batch == 0:
        return xp.zeros((neurons, 0, steps), dtype=transposed.dtype, device=device_of(transposed))
    product: Any = backends.of(xp).sparse_product
    current = product(compressed(x, transposed), transposed)
    # one transposition of two axes: a row of the result is one sample and step
    current = xp.reshape(xp.permute_dims(current, (1, 0)), (neurons, batch, steps), copy=True)
    if bias is not None:
        current += bias[:, None, None]
    return current


def takes_product(backend: backends.Backend, x: SpikeTimes | Events) -> bool:
    """Whether the sparse product of `backend` beats the dense one for spikes this dense."""
    return backend.sparse_product is not None and density(x) <= backend.densest_product


def density(x: SpikeTimes | Events) -> float:
    """Events in relation to places; the largest possible one of spike times, which may be away."""
    if isinstance(x, SpikeTimes):
        return 1 / x.n_steps
    batch, neurons, steps = shape_of(x)
    return x.n_events / max(batch * neurons * steps, 1)


def densely(x: SpikeTimes | Events, like: Array) -> Array:
    """Sparse spikes as an array (batch, neurons, time) like this one in library, device, dtype."""
    return x.to_dense(like.dtype) if isinstance(x, SpikeTimes) else x.to_dense(like, like.dtype)
