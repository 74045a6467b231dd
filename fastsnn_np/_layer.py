"""Steps 1 to 4 composed: a layer of neurons that fire at most once, and the readout."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from ._checks import check_option, flag, gamma_of
from ._currents import currents
from ._decay import InputScale, Method, decay
from ._first_spike import first_spike_times
from ._kinds import LogitsKind
from ._namespace import Array, device_of, namespace
from .spikes import Events, SpikeTimes

ReadoutKind = Literal["sum", "max"]  # without weights over time, which engines compute themselves


class LayerOutput(NamedTuple):
    """What a hidden layer gives."""

    times: Array  #: int32 (..., neurons), first spike step; the number of steps if silent
    final_potential: Array  #: (..., neurons), V at the last step
    potential: Array | None  #: (..., neurons, time) if it was asked for


class ReadoutOutput(NamedTuple):
    """What a readout gives."""

    logits: Array  #: (..., classes)
    final_potential: Array  #: (..., classes), V at the last step
    potential: Array | None  #: (..., classes, time) if it was asked for


def layer(
    x: Array | SpikeTimes | Events,
    weight: Array | None = None,
    bias: Array | None = None,
    /,
    *,
    beta: float | Array,
    threshold: float = 1.0,
    initial_potential: float | Array | None = None,
    input_scale: InputScale = "normalised",
    method: Method = "block",
    return_potential: bool = False,
) -> LayerOutput:
    """One layer of leaky integrate-and-fire neurons that fire at most once.

    Parameters
    ----------
    x : array (..., inputs, time), SpikeTimes or Events
        Input spikes; the input current itself where `weight` is None, and then an array.
    weight : array (neurons, inputs), optional
    bias : array (neurons,), optional
    beta, initial_potential, input_scale, method
        As in `decay`.
    threshold : float
        Firing threshold, one finite number.
    return_potential : bool
        Whether the potential at every step is returned too.

    Returns
    -------
    LayerOutput

    Raises
    ------
    ValueError, TypeError
        As `currents` and `decay` do.

    Examples
    --------
    >>> import numpy as np
    >>> spikes = np.array([[[1, 0, 1, 1], [0, 0, 1, 0]]])
    >>> layer(spikes, np.array([[1.0, 0.5]]), beta=0.5, input_scale="unit").times
    array([[2]], dtype=int32)
    """
    return_potential = flag("return_potential", return_potential)
    v = _potential(x, weight, bias, beta, initial_potential, input_scale, method)
    return LayerOutput(first_spike_times(v, threshold), v[..., -1], v if return_potential else None)


def readout(
    x: Array | SpikeTimes | Events,
    weight: Array | None = None,
    bias: Array | None = None,
    /,
    *,
    beta: float | Array,
    kind: LogitsKind = "sum",
    gamma: float | None = None,
    initial_potential: float | Array | None = None,
    input_scale: InputScale = "normalised",
    return_potential: bool = False,
) -> ReadoutOutput:
    """Neurons that never fire; their logits are the sum or the maximum of V over time.

    Those of ``kind="weighted"`` are sum_t gamma^t V[t], 0 < gamma < 1, where early spikes count
    more.

    Always computed with ``method="block"``: the FFT's rounding would move the argmax of a flat
    potential (eq. 19 takes the maximum).

    Parameters
    ----------
    kind : {"sum", "max"}
        "max" is the paper's first version, "sum" its second.

    Notes
    -----
    The gradient of a maximum goes to one step alone, the first of those with the largest V. Two
    engines round V differently, so where the largest values of V differ by less than that (see
    `fastsnn_np.agreement`) they may choose different steps: their logits agree as closely as
    their potentials do, their gradients need not. Where an engine's values of V are equal to the
    last bit, it takes the first of these steps; so do all engines wherever V is exact.

    Returns
    -------
    ReadoutOutput

    See Also
    --------
    layer : for the other parameters.
    """
    check_option("kind", kind, LogitsKind)
    gamma = gamma_of(kind, gamma)
    return_potential = flag("return_potential", return_potential)
    v = _potential(x, weight, bias, beta, initial_potential, input_scale, "block")
    return ReadoutOutput(pool(v, kind, gamma), v[..., -1], v if return_potential else None)


def pool(potential: Array, kind: str, gamma: float | None = None) -> Array:
    """Logits from the readout's potential: its sum, maximum or weighted sum over time."""
    xp = namespace(potential=potential)
    if gamma is not None:
        weights = gamma ** np.arange(potential.shape[-1])
        weights[weights < float(xp.finfo(potential.dtype).smallest_normal)] = 0
        device = device_of(potential)
        potential = potential * xp.asarray(weights, dtype=potential.dtype, device=device)
    pooled: Array = (xp.max if kind == "max" else xp.sum)(potential, axis=-1)
    return pooled


def _potential(
    x: Array, weight: Any, bias: Any, beta: Any, initial: Any, scale: Any, method: Any
) -> Array:
    if weight is None and bias is not None:
        raise TypeError("bias without weight: add it to the current")
    current = x if weight is None else currents(x, weight, bias)
    return decay(current, beta=beta, initial_potential=initial, input_scale=scale, method=method)
