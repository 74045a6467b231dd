"""Batch, neurons and steps of spikes in any of their three forms."""

from __future__ import annotations

from typing import Any, NamedTuple

from .._namespace import namespace
from ._events import Events
from ._times import SpikeTimes


class Shape(NamedTuple):
    """Size of spikes along each of their axes."""

    batch: int
    neurons: int
    steps: int


def shape_of(x: Any, name: str = "x") -> Shape:
    """Batch, neurons and steps of a dense array (batch, neurons, time), `SpikeTimes` or `Events`.

    Raises
    ------
    ValueError
        If a dense array has other axes, or has no neuron or no step.
    TypeError
        If `x` is neither an array nor one of the sparse forms.
    """
    if isinstance(x, (SpikeTimes, Events)):
        return Shape(len(x), x.n_neurons, x.n_steps)
    namespace(**{name: x})
    if x.ndim != 3 or 0 in x.shape[1:]:
        raise ValueError(
            f"{name} must have axes (batch, neurons, time), with at least one neuron and step, "
            f"got shape {tuple(x.shape)}"
        )
    return Shape(*map(int, x.shape))


def samples_of(x: Any, start: int, stop: int) -> Any:
    """Samples `start` to `stop` - 1 of spikes in any of their three forms; not beyond the last."""
    stop = min(stop, shape_of(x).batch)
    return x[start:stop] if isinstance(x, (SpikeTimes, Events)) else x[start:stop, ...]
