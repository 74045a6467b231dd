"""What `forward` gives back, and what carries a run on from one chunk of time to the next."""

from __future__ import annotations

from dataclasses import dataclass

from ._namespace import Array


@dataclass(frozen=True)
class State:
    """Where a run stands after some steps: give it to the call that continues the recording."""

    step: int  #: steps seen so far
    potentials: tuple[Array, ...]  #: (batch, neurons) a layer, the readout last
    #: int64 (batch, neurons) a hidden layer: the step, counted from the very first, or -1: not yet
    spike_times: tuple[Array, ...]
    logits: Array | None  #: (batch, classes) of all steps so far


@dataclass(frozen=True)
class Result:
    """What `forward` gives; all arrays belong to the library and device it computed on."""

    spike_times: tuple[Array, ...]  #: int32 (batch, neurons) a hidden layer; n_steps = never
    spike_counts: tuple[Array, ...]  #: int32 (batch,) a hidden layer
    logits: Array | None  #: (batch, classes); None without a network
    prediction: Array | None  #: integer (batch,), the class of the largest logit
    potentials: tuple[Array, ...] | None  #: (batch, neurons, time) a layer, the readout last
    n_steps: int
    state: State | None = None  #: after the last step, if it was asked for

    def __repr__(self) -> str:
        shapes = ", ".join(str(tuple(times.shape)) for times in self.spike_times)
        logits = None if self.logits is None else tuple(self.logits.shape)
        return f"Result(spike_times: {shapes}; logits: {logits}; n_steps={self.n_steps})"
