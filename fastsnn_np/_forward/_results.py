"""What `forward` gives back, and what carries a run on from one chunk of time to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .. import backends
from .._namespace import Array, is_array, namespace, said

_MOST_STEPS = 1 << 62  # so that steps counted from the start fit int64


@dataclass(frozen=True, eq=False)
class State:
    """Where a run stands after some steps: give it to the call that continues the recording."""

    step: int  #: number of steps seen so far
    potentials: tuple[Array, ...]  #: (batch, neurons) per layer, the readout last
    #: int64 (batch, neurons) per hidden layer: the step of the spike, counted from the very first
    #: step, or -1 for a neuron that has not fired yet, since a recording has no end
    spike_times: tuple[Array, ...]
    logits: Array | None  #: (batch, classes) over all steps so far


@dataclass(frozen=True, eq=False)
class Result:
    """What `forward` gives; all arrays belong to the library and device it computed on."""

    #: int32 (batch, neurons) per hidden layer; `n_steps` for a neuron that never fired
    spike_times: tuple[Array, ...]
    spike_counts: tuple[Array, ...]  #: int32 (batch,) per hidden layer
    logits: Array | None  #: (batch, classes); None without a network
    prediction: Array | None  #: integer (batch,), the class of the largest logit
    potentials: tuple[Array, ...] | None  #: (batch, neurons, time) per layer, the readout last
    n_steps: int
    state: State | None = None  #: after the last step, if it was asked for
    #: the engine that took the input: "dense", "event" or "dense kernel"
    engine: str = "dense"

    def __repr__(self) -> str:
        shapes = ", ".join(str(tuple(times.shape)) for times in self.spike_times)
        logits = None if self.logits is None else tuple(self.logits.shape)
        return (
            f"Result(spike_times: {shapes}; logits: {logits}; n_steps={self.n_steps}; "
            f"engine={self.engine!r})"
        )


def joined(parts: list[Result]) -> Result:
    """The results of several batches as one."""

    def join(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if values[0] is None:
            return None
        if isinstance(values[0], tuple):
            return tuple(_concat(layer) for layer in zip(*values, strict=True))
        return _concat(values)

    names = ("spike_times", "spike_counts", "logits", "prediction", "potentials")
    engines = " and ".join(dict.fromkeys(part.engine for part in parts))
    return replace(parts[0], **{name: join(name) for name in names}, engine=engines)


def _concat(arrays: Any) -> Array:
    xp = namespace(first=arrays[0])
    with backends.beside(arrays[0]):
        return xp.concat(list(arrays), axis=0)


def check_state(
    state: Any,
    batch: int,
    sizes: tuple[int, ...],
    n_hidden: int,
    readout: Array | None,
    like: Array | None = None,
) -> None:
    """Refuse a state that does not fit a batch, the sizes of its layers, or their arrays.

    `readout` are the readout's weights; without one, the arrays are those of `like`.
    """
    check_is_state(state)
    for name in ("potentials", "spike_times"):
        arrays = getattr(state, name)
        if not (isinstance(arrays, (tuple, list)) and all(map(is_array, arrays))):
            raise TypeError(f"state.{name} must be a tuple of arrays, got {said(arrays)}")
    if not (state.logits is None or is_array(state.logits)):
        raise TypeError(f"state.logits must be an array or None, got {said(state.logits)}")
    wanted = [(batch, neurons) for neurons in sizes]
    shapes = [tuple(v.shape) for v in state.potentials]
    fired = [tuple(times.shape) for times in state.spike_times]
    if shapes != wanted or fired != wanted[:n_hidden]:
        raise ValueError(
            f"state has potentials of shapes {shapes} and spike times of {fired}; "
            f"this run has {len(wanted)} layers and batch {batch}, {wanted}"
        )
    if type(state.step) is not int or not 0 <= state.step < _MOST_STEPS:
        raise ValueError(
            "state.step must be a whole number of at least 0 and below 2^62, "
            f"got {said(state.step)}"
        )
    logits = None if state.logits is None else tuple(state.logits.shape)
    if logits != (None if readout is None else wanted[-1]):
        raise ValueError(
            f"state has logits {'' if logits is None else 'of shape '}{logits}; this run has "
            + ("no readout" if readout is None else f"logits of shape {wanted[-1]}")
        )
    of = like if readout is None else readout
    last = state.potentials[-1]
    xp = namespace(weight=of, state=last)
    for times in state.spike_times:
        if not xp.isdtype(times.dtype, "integral"):
            raise TypeError(f"state.spike_times must hold integers, got dtype {times.dtype}")
    arrays = state.potentials if state.logits is None else (*state.potentials, state.logits)
    if readout is not None and any(array.dtype != readout.dtype for array in arrays):
        raise TypeError(
            f"state has arrays of {[str(array.dtype) for array in arrays]} and the network is "
            f"{readout.dtype}: it belongs to another network"
        )


def check_is_state(state: Any) -> None:
    """Refuse what is no state."""
    if not isinstance(state, State):
        raise TypeError(f"state must be that of a Result, got {type(state).__name__}")


def only_first(xp: Any, times: Array, before: Array, steps: int) -> Array:
    """Spike times in this chunk of the neurons that had not fired before it."""
    return xp.where(before < 0, times, xp.full_like(times, steps))


def logits_so_far(xp: Any, before: Array | None, logits: Array, kind: str) -> Array:
    """Sum or maximum over the chunks up to this one."""
    if before is None:
        return logits
    if kind == "sum":
        return before + logits
    return xp.where(before >= logits, before, logits)


def next_state(
    xp: Any,
    state: State | None,
    times: list[Array],
    finals: list[Array],
    logits: Array | None,
    steps: int,
) -> State:
    """Where the run stands after a chunk of `steps`, whose first spikes are `times`."""
    offset = 0 if state is None else state.step
    absolute = []
    for i, fired in enumerate(times):
        wide = xp.astype(fired, xp.int64)
        now = xp.where(fired < steps, wide + offset, xp.full_like(wide, -1))
        if state is not None:
            now = xp.where(state.spike_times[i] >= 0, state.spike_times[i], now)
        absolute.append(now)
    # copies: the last step as a view would keep the potential of all steps in memory
    return State(offset + steps, tuple(v + 0 for v in finals), tuple(absolute), logits)
