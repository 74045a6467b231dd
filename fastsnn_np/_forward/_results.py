"""What `forward` gives back, and what carries a run on from one chunk of time to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .. import backends
from .._kinds import Neuron
from .._namespace import Array, is_array, namespace, said
from .._parts import Layer, Readout
from .._spiking import Standing
from ..network import Network
from ..spikes import Events, SpikeTimes

_MOST_STEPS = 1 << 62  # so that steps counted from the start fit int64


@dataclass(frozen=True, eq=False)
class State:
    """Where a run stands after some steps: give it to the call that continues the recording."""

    step: int  #: number of steps seen so far
    potentials: tuple[Array, ...]  #: (batch, neurons) per layer, the readout last
    #: int64 (batch, neurons) per hidden layer: the step of the last spike, counted from the very
    #: first step, or -1 for a neuron that has not fired yet, since a recording has no end
    spike_times: tuple[Array, ...]
    logits: Array | None  #: (batch, classes) over all steps so far
    #: what the neurons of each hidden layer are; all fire once if it is empty, as the next two
    neurons: tuple[Neuron, ...] = ()
    #: (batch, neurons) per hidden layer: the slow variable w, None where neurons do not adapt
    adaptation: tuple[Array | None, ...] = ()
    #: (batch, inputs, longest delay) per hidden layer: the last steps of its input, None where
    #: there are no delays
    delayed: tuple[Array | None, ...] = ()


@dataclass(frozen=True, eq=False)
class Result:
    """What `forward` gives; all arrays belong to the library and device it computed on."""

    #: int32 (batch, neurons) per hidden layer: the step of the first spike; `n_steps` for a neuron
    #: that never fired
    spike_times: tuple[Array, ...]
    spike_counts: tuple[Array, ...]  #: int32 (batch,) per hidden layer: number of all spikes
    logits: Array | None  #: (batch, classes); None without a network
    prediction: Array | None  #: integer (batch,), the class of the largest logit
    potentials: tuple[Array, ...] | None  #: (batch, neurons, time) per layer, the readout last
    n_steps: int
    state: State | None = None  #: after the last step, if it was asked for
    #: the engine that took the input: "dense", "event" or "dense kernel"
    engine: str = "dense"
    #: all spikes of each hidden layer, in a form that every function takes: `SpikeTimes` where
    #: neurons fire once; where they fire again and again `Events` of the event engine, and of the
    #: dense one a train, bool (batch, neurons, time)
    spikes: tuple[Array | SpikeTimes | Events, ...] = ()

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

    names = ("spike_times", "spike_counts", "logits", "prediction", "potentials", "spikes")
    engines = " and ".join(dict.fromkeys(part.engine for part in parts))
    return replace(parts[0], **{name: join(name) for name in names}, engine=engines)


def _concat(arrays: Any) -> Any:
    if isinstance(arrays[0], (SpikeTimes, Events)):
        return type(arrays[0]).concatenate(arrays)
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


def logits_so_far(xp: Any, state: State, logits: Array, readout: Readout) -> Array:
    """Sum or maximum over the chunks up to this one."""
    before = state.logits
    if before is None:
        return logits
    if readout.kind == "max":
        return xp.where(before >= logits, before, logits)
    return before + (logits if readout.gamma is None else logits * readout.gamma**state.step)


def of_layer(values: tuple[Array | None, ...], i: int) -> Array | None:
    """The array of hidden layer `i`; a state of networks that have none has no tuple of them."""
    return values[i] if values else None


def standing(xp: Any, state: State, i: int) -> Standing:
    """Where the neurons of hidden layer `i`, which fire again and again, stand."""
    last = state.spike_times[i]
    since = xp.full_like(last, state.step - 1) - last
    fired = last >= 0
    closed = xp.full_like(last, state.neurons[i].refractory) - since
    closed = xp.where(fired & (closed > 0), closed, xp.zeros_like(closed))
    return Standing(
        state.potentials[i],
        fired & (since == 0),
        xp.astype(closed, xp.int32),
        of_layer(state.adaptation, i),
    )


def next_state(
    xp: Any,
    state: State | None,
    steps: int,
    *,
    potentials: list[Array],
    last: list[Array],
    logits: Array | None,
    neurons: list[Neuron],
    adaptation: list[Array | None],
    delayed: list[Array | None],
) -> State:
    """Where the run stands after a chunk of `steps`.

    Parameters
    ----------
    last : list of integer arrays (batch, neurons)
        Steps of the last spikes in the chunk, -1 for none.
    """
    offset = 0 if state is None else state.step
    absolute = []
    for i, fired in enumerate(last):
        wide = xp.astype(fired, xp.int64)
        before = xp.full_like(wide, -1) if state is None else state.spike_times[i]
        absolute.append(xp.where(wide >= 0, wide + offset, before))
    # copies: a view of the last step would keep those before it in memory
    return State(
        offset + steps,
        tuple(v + 0 for v in potentials),
        tuple(absolute),
        logits,
        tuple(neurons),
        tuple(None if w is None else w + 0 for w in adaptation),
        tuple(None if line is None else line + 0 for line in delayed),
    )


def check_kinds(state: State, network: Network, batch: int) -> None:
    """Refuse the state of neurons of another kind, or one whose further arrays do not fit them."""
    layers = network.layers
    kinds = tuple(layer.neuron for layer in layers)
    given = state.neurons if state.neurons else tuple(Neuron() for _ in layers)
    if not isinstance(given, tuple) or given != kinds:
        raise ValueError(
            f"state is that of neurons of another kind: {said(given)}, and this run has {kinds}"
        )
    wanted = {
        "adaptation": [_shape_of_adaptation(layer, batch) for layer in layers],
        "delayed": [_shape_of_lines(layer, batch) for layer in layers],
    }
    for name, shapes in wanted.items():
        arrays = getattr(state, name) or (None,) * len(layers)
        if not (
            isinstance(arrays, (tuple, list)) and all(a is None or is_array(a) for a in arrays)
        ):
            raise TypeError(f"state.{name} must be a tuple of arrays and None, got {said(arrays)}")
        found = [None if array is None else tuple(array.shape) for array in arrays]
        if found != shapes:
            raise ValueError(
                f"state has {name} of shapes {found}, this run {shapes} in its hidden layers"
            )
        for array in arrays:
            if array is not None:
                namespace(weight=network.readout.weight, state=array)
                if array.dtype != network.dtype:
                    raise TypeError(
                        f"state.{name} has dtype {array.dtype} and the network is {network.dtype}"
                    )


def _shape_of_adaptation(layer: Layer, batch: int) -> tuple[int, ...] | None:
    return (batch, layer.n_neurons) if layer.neuron.adapts else None


def _shape_of_lines(layer: Layer, batch: int) -> tuple[int, ...] | None:
    if layer.delay is None:
        return None
    return (batch, layer.n_inputs, int(layer.delay.max()))
