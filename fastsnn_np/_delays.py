"""Delays of whole steps between the inputs of a layer and its neurons."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._namespace import Array, device_of, namespace
from .spikes import Events, SpikeTimes


class Arrived(NamedTuple):
    """What comes out of delay lines in some steps, and what they hold afterwards."""

    x: Array  #: (batch, inputs, time)
    line: Array  #: (batch, inputs, longest delay), the last steps of the input


def delayed(x: Any, delay: Any) -> Any:
    """`x`, in any of the three forms of spikes, each input later by its delay.

    Parameters
    ----------
    x : array (batch, inputs, time), SpikeTimes or Events
        What would arrive after its last step is lost.
    delay : int64 NumPy array (inputs,)
    """
    if isinstance(x, Events):
        return _events(x, delay)
    if isinstance(x, SpikeTimes):
        return _times(x, delay)
    delay = np.minimum(delay, x.shape[-1])  # later than the last step is later than the last step
    return through_lines(x, delay, None).x


def through_lines(x: Array, delay: Any, line: Array | None) -> Arrived:
    """A dense `x`, each input later by its delay, behind what the lines hold; nothing if None."""
    xp = namespace(x=x, line=line)
    batch, inputs, steps = x.shape
    longest = int(delay.max())
    if line is None:
        line = xp.zeros((batch, inputs, longest), dtype=x.dtype, device=device_of(x))
    held = xp.concat([line, x], axis=-1)
    # the standard has no gather along two axes but this one
    start = (np.arange(inputs) * (longest + steps) + longest - delay)[:, None] + np.arange(steps)
    places = xp.asarray(start.reshape(-1), device=device_of(x))
    flat = xp.reshape(held, (batch, inputs * (longest + steps)))
    out = xp.reshape(xp.take(flat, places, axis=1), (batch, inputs, steps))
    return Arrived(out, held[..., steps:])


def _times(x: SpikeTimes, delay: Any) -> SpikeTimes:
    xp, steps = namespace(times=x.times), x.n_steps
    late = xp.asarray(np.minimum(delay, steps), device=device_of(x.times))
    times = xp.astype(x.times, late.dtype) + late
    times = xp.where(times < steps, times, xp.full_like(times, steps))
    return SpikeTimes.unchecked(xp.astype(times, xp.int32), steps)


def _events(x: Events, delay: Any) -> Events:
    row = np.repeat(np.arange(len(x) * x.n_steps), np.diff(x.indptr, axis=1).reshape(-1))
    sample, step = np.divmod(row, x.n_steps)
    step += delay[x.indices]
    arrives = step < x.n_steps
    return Events.from_arrays(
        step[arrives],
        x.indices[arrives],
        sample[arrives],
        n_samples=len(x),
        n_neurons=x.n_neurons,
        n_steps=x.n_steps,
        values=None if x.values is None else x.values[arrives],
    )
