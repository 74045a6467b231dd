"""Step 2: membrane potential without reset (eq. 5), with no loop over time."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

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
    lazy_namespace,
)

InputScale = Literal["normalised", "unit"]
Method = Literal["block", "fft"]

_BLOCK = 32  # steps a block: half the flops of 64, and a carry that costs no more


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

    Notes
    -----
    In a function that JAX traces (`jax.jit`, `jax.vmap`, `jax.grad`) an array `beta` has no values
    yet: that it lies inside (0, 1) is for the caller to know.

    Examples
    --------
    >>> import numpy as np
    >>> decay(np.array([[1.0, 0.0, 0.0]]), beta=0.5)
    array([[0.5  , 0.25 , 0.125]])
    """
    check_number_or_array("beta", beta)
    if initial_potential is not None:
        check_number_or_array("initial_potential", initial_potential)
    xp = lazy_namespace(current=current, beta=beta, initial_potential=initial_potential)
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
    plan = plan_of(xp, beta, current.shape[-1], input_scale, method)
    return by_plan(xp, current, plan, initial_potential)


class Blocks(NamedTuple):
    """Method "block", made ready for a beta and a number of steps."""

    toeplitz: Array  #: (c, c) or (neurons, c, c): what a current adds to later steps of its block
    onset: Array  #: (c,) or (neurons, c): what is left of the potential before the block
    n_blocks: int
    ends: Blocks | None  #: the potentials at the ends of the blocks, by the same rule


class Kernel(NamedTuple):
    """Method "fft", made ready for a beta and a number of steps."""

    kernel: Array  #: (time,) or (neurons, time), the potential after a single current
    onset: Array  #: of the same shape, what is left of the initial potential


def plan_of(
    xp: Any, beta: Array, steps: int, input_scale: str, method: str = "block"
) -> Blocks | Kernel:
    """Step 2 made ready; all that depends on beta, () or (neurons,), and not on the current."""
    scale = 1 - beta if input_scale == "normalised" else None
    if method == "block":
        return _blocks(xp, beta, steps, 1, scale)
    powers = _powers(xp, beta, 1, steps + 1)
    kernel = powers[..., :steps]
    return Kernel(kernel if scale is None else kernel * scale[..., None], powers[..., 1:])


def _blocks(xp: Any, beta: Array, steps: int, stride: int, scale: Array | None) -> Blocks:
    """V[t] = beta^stride V[t-1] + scale x[t] for all t at once.

    Inside a block of c steps this is one product with a lower-triangular Toeplitz matrix. The
    potentials at the block ends obey the same equation with stride * c, hence the recursion.
    """
    count = -(-steps // _BLOCK)
    c = -(-steps // count)
    powers = _powers(xp, beta, stride, c + 1)
    toeplitz = _toeplitz(xp, powers[..., :c])
    if scale is not None:
        toeplitz = toeplitz * scale[..., None, None]
    ends = _blocks(xp, beta, count, stride * c, None) if count > 1 else None
    return Blocks(toeplitz, powers[..., 1:], count, ends)


def by_plan(xp: Any, current: Array, plan: Blocks | Kernel, initial: Array | None) -> Array:
    """The potential (..., neurons, time) of a current of that shape."""
    if initial is not None:
        initial = xp.broadcast_to(initial, current.shape[:-1])
    if isinstance(plan, Kernel):
        return _fft(xp, current, plan, initial)
    if plan.toeplitz.ndim == 2:  # one beta: neurons are rows as samples are
        flat = (math.prod(current.shape[:-1]),)
        initial = None if initial is None else xp.reshape(initial, flat)
        v = _by_blocks(xp, xp.reshape(current, (*flat, current.shape[-1])), plan, initial)
        return xp.reshape(v, current.shape)
    *lead, neurons, steps = current.shape
    axes = tuple(range(len(lead)))
    rows = (neurons, math.prod(lead))
    if initial is not None:
        initial = xp.reshape(xp.permute_dims(initial, (len(lead), *axes)), rows)
    by_neuron = xp.permute_dims(current, (len(lead), *axes, len(lead) + 1))
    v = _by_blocks(xp, xp.reshape(by_neuron, (*rows, steps)), plan, initial)
    v = xp.reshape(v, (neurons, *lead, steps))
    return xp.permute_dims(v, (*[axis + 1 for axis in axes], 0, len(lead) + 1))


def _by_blocks(xp: Any, x: Array, plan: Blocks, initial: Array | None) -> Array:
    """The potential of x, (rows, time) for one beta or (neurons, rows, time) for one each."""
    steps = x.shape[-1]
    c, count = plan.toeplitz.shape[-1], plan.n_blocks
    if count * c != steps:
        padding = xp.zeros((*x.shape[:-1], count * c - steps), dtype=x.dtype, device=device_of(x))
        x = xp.concat([x, padding], axis=-1)
    *lead, rows, _ = x.shape
    matmul = backends.of(xp).exact_matmul or xp.matmul  # TF32 would lose spikes
    blocks = xp.reshape(x, (*lead, rows, count, c))  # Dask splits an axis or joins two
    v = matmul(xp.reshape(blocks, (*lead, rows * count, c)), plan.toeplitz)
    if plan.ends is not None:
        v = xp.reshape(v, (*lead, rows, count, c))
        last = v[..., -1] + 0  # a copy, because v changes below
        ends = _by_blocks(xp, last, plan.ends, initial)
        before = xp.zeros_like(ends[..., :1]) if initial is None else initial[..., None]
        before = xp.concat([before, ends[..., :-1]], axis=-1)
        v += before[..., None] * plan.onset[..., None, None, :]
    elif initial is not None:
        v += initial[..., None] * plan.onset[..., None, :]
    return xp.reshape(v, (*lead, rows, count * c))[..., :steps]


def _powers(xp: Any, beta: Array, stride: int, count: int) -> Array:
    """beta^(stride k) for k < count, on a new last axis."""
    exponents = stride * xp.arange(count, dtype=beta.dtype, device=device_of(beta))
    powers = beta[..., None] ** exponents
    # Denormal numbers carry nothing and slow every product down by up to a hundred times.
    return xp.where(powers < xp.finfo(beta.dtype).smallest_normal, xp.zeros_like(powers), powers)


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


def _fft(xp: Any, current: Array, plan: Kernel, initial: Array | None) -> Array:
    """Convolution with beta^t by FFT: the library's own where it has one, `xp.fft` otherwise."""
    kernel = plan.kernel
    kernel = xp.reshape(kernel, (1,) * (current.ndim - kernel.ndim) + tuple(kernel.shape))
    convolve = backends.of(xp).fft_convolve or _rfft_convolve
    v = convolve(xp, current, kernel)
    if initial is not None:
        v = v + initial[..., None] * plan.onset
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
