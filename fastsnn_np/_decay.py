"""Step 2: membrane potential without reset (eq. 5), with no loop over time."""

from __future__ import annotations

import math
from typing import Any, Literal

from . import backends
from ._checks import (
    as_float,
    beta_outside,
    check_beta,
    check_initial,
    check_number_or_array,
    check_option,
    check_real,
    check_time_axis,
    finite,
    is_number,
    positive,
)
from ._namespace import (
    Array,
    as_dtype,
    as_parameter,
    device_of,
    float_dtype,
    namespace,
)

InputScale = Literal["normalised", "unit"]
Method = Literal["block", "fft"]

_BLOCK = 64  # steps a block: the Toeplitz matrix stays in cache, the flops stay few


def decay(
    current: Array,
    /,
    *,
    beta: float | Array,
    initial_potential: float | Array | None = None,
    input_scale: InputScale = "normalised",
    method: Method = "block",
) -> Array:
    """Membrane potential without reset (eq. 5).

    V[t] = beta^(t+1) V0 + scale * sum_{k<=t} beta^(t-k) I[k],  scale = 1 - beta or 1.

    Parameters
    ----------
    current : array (..., neurons, time)
        Input current.
    beta : float or array (neurons,)
        Decay per step, 0 < beta < 1; exp(-dt / tau), see `beta_from_tau`. It is rounded to the
        working dtype once, and 1 - beta and every power come from the rounded value.
    initial_potential : float or array broadcastable to (..., neurons), optional
        V[-1], the potential before the first step; 0 unless given.
    input_scale : {"normalised", "unit"}
        Whether the current is multiplied by 1 - beta (the paper) or by 1 (its authors' code).
    method : {"block", "fft"}
        "block" multiplies blocks of time by a small Toeplitz matrix and carries the potential
        from block to block by the same rule: faster and more accurate. "fft" convolves with the
        kernel beta^t by FFT.

    Returns
    -------
    array (..., neurons, time)
        In the floating dtype of `current` (float32 for integers).

    Raises
    ------
    ValueError
        If beta is not inside (0, 1) after rounding, a shape does not fit, or an option is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> decay(np.array([[1.0, 0.0, 0.0]]), beta=0.5)
    array([[0.5  , 0.25 , 0.125]])
    """
    check_number_or_array("beta", beta)
    if initial_potential is not None:
        check_number_or_array("initial_potential", initial_potential)
    xp = namespace(current=current, beta=beta, initial_potential=initial_potential)
    check_time_axis("current", current)
    dtype = float_dtype(xp, current=current)
    beta = as_real(xp, "beta", beta, current, dtype)
    check_beta(xp, beta, neurons=current.shape[-2])
    check_option("input_scale", input_scale, InputScale)
    check_option("method", method, Method)
    if initial_potential is not None:
        if is_number(initial_potential):
            initial_potential = finite("initial_potential", initial_potential)
        initial_potential = as_real(xp, "initial_potential", initial_potential, current, dtype)
        check_initial(initial_potential, current.shape[:-1])
    return decay_unchecked(
        xp, as_dtype(xp, current, dtype), beta, initial_potential, input_scale, method
    )


def as_real(xp: Any, name: str, value: Any, like: Array, dtype: Any) -> Array:
    """A number or an array of real numbers as an array of `dtype` on the device of `like`."""
    check_number_or_array(name, value)
    if is_number(value):
        value = as_float(value)
    else:
        check_real(name, value.dtype, xp)
    return as_parameter(xp, value, like, dtype)


def decay_unchecked(
    xp: Any,
    current: Array,
    beta: Array,
    initial_potential: Array | None,
    input_scale: str,
    method: str = "block",
) -> Array:
    """`decay` for arguments known to be right: no look at their values, so no device waits."""
    scale = 1 - beta if input_scale == "normalised" else None
    if initial_potential is not None:
        initial_potential = xp.broadcast_to(initial_potential, current.shape[:-1])
    if method == "fft":
        return _fft(xp, current, beta, scale, initial_potential)
    return _block(xp, current, beta, 1, scale, initial_potential)


def _block(
    xp: Any, x: Array, beta: Array, stride: int, scale: Array | None, initial: Array | None
) -> Array:
    """V[t] = beta^stride V[t-1] + scale x[t], V[-1] = initial, for all t at once.

    Inside a block of c steps this is one product with a lower-triangular Toeplitz matrix. The
    potentials at the block ends obey the same equation with stride * c, hence the recursion.
    """
    steps = x.shape[-1]
    n_blocks = -(-steps // _BLOCK)
    c = -(-steps // n_blocks)
    if n_blocks * c != steps:
        padding = xp.zeros(
            (*x.shape[:-1], n_blocks * c - steps), dtype=x.dtype, device=device_of(x)
        )
        x = xp.concat([x, padding], axis=-1)
    powers = _powers(xp, beta, stride, c + 1, x)  # (c+1,) or (neurons, c+1)
    toeplitz = _toeplitz(xp, powers[..., :c])
    if scale is not None:
        toeplitz = toeplitz * (scale if scale.ndim == 0 else scale[:, None, None])
    blocks = xp.reshape(x, (*x.shape[:-1], n_blocks, c))
    v = _times(xp, blocks, toeplitz)
    onset = powers[..., 1:]  # what is left of the potential before the block
    if onset.ndim == 2:
        onset = onset[:, None, :]
    if n_blocks > 1:
        last = v[..., -1] + 0  # a copy, because v changes below
        ends = _block(xp, last, beta, stride * c, None, initial)
        before = xp.zeros_like(ends[..., :1]) if initial is None else initial[..., None]
        v += xp.concat([before, ends[..., :-1]], axis=-1)[..., None] * onset
    elif initial is not None:
        v += initial[..., None, None] * onset
    return xp.reshape(v, (*v.shape[:-2], n_blocks * c))[..., :steps]


def _powers(xp: Any, beta: Array, stride: int, count: int, like: Array) -> Array:
    """beta^(stride k) for k < count, on a new last axis."""
    exponents = stride * xp.arange(count, dtype=like.dtype, device=device_of(like))
    powers = beta[..., None] ** exponents
    # Denormal numbers carry nothing and slow every product down by up to a hundred times.
    return xp.where(powers < xp.finfo(like.dtype).smallest_normal, xp.zeros_like(powers), powers)


def _toeplitz(xp: Any, powers: Array) -> Array:
    """M[..., k, i] = powers[..., i-k] for i >= k, else 0: ``x @ M`` is the causal convolution."""
    c = powers.shape[-1]
    step = xp.arange(c, device=device_of(powers))
    lag = step[None, :] - step[:, None]
    index = xp.where(lag >= 0, lag, xp.full_like(lag, c))
    padded = xp.concat([powers, xp.zeros_like(powers[..., :1])], axis=-1)
    return xp.reshape(
        xp.take(padded, xp.reshape(index, (-1,)), axis=-1), (*powers.shape[:-1], c, c)
    )


def _times(xp: Any, blocks: Array, toeplitz: Array) -> Array:
    """(..., neurons, blocks, c) times (c, c), or times (neurons, c, c), as few large products."""
    matmul = backends.of(xp).exact_matmul or xp.matmul  # TF32 would lose spikes
    *lead, neurons, n_blocks, c = blocks.shape
    if toeplitz.ndim == 2:
        rows = math.prod(lead) * neurons * n_blocks
        return xp.reshape(matmul(xp.reshape(blocks, (rows, c)), toeplitz), blocks.shape)
    batch = math.prod(lead)
    by_neuron = xp.permute_dims(xp.reshape(blocks, (batch, neurons, n_blocks, c)), (1, 0, 2, 3))
    v = matmul(xp.reshape(by_neuron, (neurons, batch * n_blocks, c)), toeplitz)
    v = xp.permute_dims(xp.reshape(v, (neurons, batch, n_blocks, c)), (1, 0, 2, 3))
    return v if len(lead) == 1 else xp.reshape(v, blocks.shape)


def _fft(xp: Any, current: Array, beta: Array, scale: Array | None, initial: Array | None) -> Array:
    """Convolution with beta^t by FFT: the library's own where it has one, `xp.fft` otherwise."""
    steps = current.shape[-1]
    powers = _powers(xp, beta, 1, steps + 1, current)
    kernel = powers[..., :steps]
    if scale is not None:
        kernel = kernel * scale[..., None]
    kernel = xp.reshape(kernel, (1,) * (current.ndim - kernel.ndim) + tuple(kernel.shape))
    convolve = backends.of(xp).fft_convolve or _rfft_convolve
    v = convolve(xp, current, kernel)
    if initial is not None:
        v = v + initial[..., None] * powers[..., 1:]
    return v


def _rfft_convolve(xp: Any, x: Array, kernel: Array) -> Array:
    steps = x.shape[-1]
    n = 1 << (2 * steps - 2).bit_length()  # one length per T: FFT plans are cached by shape
    spectrum = xp.fft.rfft(x, n=n, axis=-1) * xp.fft.rfft(kernel, n=n, axis=-1)
    return xp.fft.irfft(spectrum, n=n, axis=-1)[..., :steps]


def beta_from_tau(tau: float, dt: float = 1.0) -> float:
    """Decay per step, beta = exp(-dt / tau), from a membrane time constant (Proposition 4).

    Parameters
    ----------
    tau : float
        Membrane time constant in ms, positive.
    dt : float
        Step in ms, positive.

    Raises
    ------
    ValueError
        If tau or dt is not positive and finite, or one so far above the other that beta is 0 or 1.

    Examples
    --------
    >>> round(beta_from_tau(10.0), 6)
    0.904837
    """
    beta = math.exp(-positive("dt", dt, "ms") / positive("tau", tau, "ms"))
    if not 0 < beta < 1:
        raise beta_outside(beta, "float64")
    return beta
