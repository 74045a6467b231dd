"""The event engine as an `Engine`: for NumPy arrays, and for any that share memory with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastsnn_np._engine import (
    LayerOptions,
    LayerPart,
    NetworkOutput,
    PreparedLayer,
    PreparedNetwork,
    PreparedReadout,
    PreparedSpiking,
    ReadoutOptions,
    ReadoutPart,
)
from fastsnn_np._layer import LayerOutput, ReadoutOutput
from fastsnn_np._namespace import Array, is_array, to_numpy
from fastsnn_np._parts import Layer
from fastsnn_np._spiking import SpikingOutput
from fastsnn_np.backends import Backend
from fastsnn_np.backends.event import layers, networks, spiking_layers
from fastsnn_np.spikes import Events, SpikeTimes


class EventEngine:
    """Layers on the events of `Events`, `SpikeTimes` or a dense array.

    Parameters
    ----------
    backend : Backend
        The backend of the arrays that it gives.
    """

    name = "event"
    takes_sparse = True
    methods = ("block",)

    def __init__(self, backend: Backend) -> None:
        self._given = None if backend.name in ("numpy", "numba") else backend.asarray

    def layer(
        self, weight: Array | None, bias: Array | None, options: LayerOptions, *, method: str
    ) -> PreparedLayer:
        if weight is None:
            raise ValueError("the event engine adds up weights, and there are none")
        weights = self._weights(weight, bias, options)
        threshold = options.threshold

        def run(
            x: Any,
            *,
            initial_potential: Any = None,
            return_potential: bool = False,
            to_the_end: bool = False,
        ) -> LayerOutput:
            rows = self._rows(x, weights.weight.dtype)
            out = layers.layer(
                rows,
                weights,
                threshold=threshold,
                initial=self._taken(initial_potential),
                # a NaN or infinity must reach the last potential, where it is looked for
                to_the_end=to_the_end or not np.isfinite(rows.values).all(),
                keep=_empty_potential(rows, weights) if return_potential else None,
            )
            potential = out.potential.transpose(0, 2, 1) if return_potential else None
            return LayerOutput(*self._gives(out.times, out.final, potential))

        return run

    def readout(
        self, weight: Array, bias: Array | None, options: ReadoutOptions
    ) -> PreparedReadout:
        weights = self._weights(weight, bias, options)
        summed = options.kind == "sum"

        def run(
            x: Any,
            *,
            initial_potential: Any = None,
            return_potential: bool = False,
            to_the_end: bool = False,
        ) -> ReadoutOutput:
            rows = self._rows(x, weights.weight.dtype)
            out = layers.readout(
                rows,
                weights,
                summed=summed,
                initial=self._taken(initial_potential),
                keep=_empty_potential(rows, weights) if return_potential else None,
            )
            potential = out.potential.transpose(0, 2, 1) if return_potential else None
            return ReadoutOutput(*self._gives(out.logits, out.final, potential))

        return run

    def spiking(self, layer: Layer) -> PreparedSpiking:
        """A layer of neurons that fire again and again; their states are not kept."""
        taken = self._taken
        prepared = spiking_layers.prepared(
            spiking_layers.Parameters(
                weight=taken(layer.weight),
                bias=taken(layer.bias),
                beta=taken(layer.beta),
                input_scale=layer.input_scale,
                neuron=layer.neuron,
                threshold=taken(layer.threshold) if is_array(layer.threshold) else layer.threshold,
                recurrent=taken(layer.recurrent),
                rho=taken(layer.rho),
                a=taken(layer.a),
                b=taken(layer.b),
            )
        )
        dtype = prepared.network.weight.dtype

        def run(x: Any, **_: Any) -> SpikingOutput:
            rows = spiking_layers.forward(self._rows(x, dtype), prepared).rows
            events = _as_events(rows)
            counts = np.diff(events.indptr[:, [0, -1]])[:, 0].astype(np.int32)
            times, counts = self._gives(_first_steps(events), counts)
            return SpikingOutput(events, times, counts, None, None)

        return run

    def network(self, hidden: list[LayerPart], readout: ReadoutPart) -> PreparedNetwork | None:
        """The whole network in one compiled call."""
        taken = self._taken
        parts: list[LayerPart | ReadoutPart] = [*hidden, readout]
        parameters = [
            networks.LayerParameters(
                taken(part.weight),
                taken(part.bias),
                taken(part.options.beta),
                part.options.input_scale,
            )
            for part in parts
        ]
        for i, part in enumerate(hidden):
            parameters[i] = parameters[i]._replace(threshold=part.options.threshold)
        summed = readout.options.kind == "sum"
        compute = networks.Inference(networks.prepared(parameters), summed=summed)
        dtype = parameters[-1].weight.dtype

        def run(x: Any) -> NetworkOutput:
            if isinstance(x, SpikeTimes):
                if self._given is not None:
                    x = SpikeTimes.unchecked(to_numpy(x.times), x.n_steps)
                out = compute(x)
            else:
                rows = self._rows(x, dtype)
                out = compute(rows, to_the_end=not np.isfinite(rows.values).all())
            if self._given is None:
                return out
            return NetworkOutput(
                list(self._gives(*out.times)),
                list(self._gives(*out.counts)),
                self._given(out.logits),
                self._given(out.prediction),
                list(self._gives(*out.final_potentials)),
                out.is_finite,
            )

        return run

    def _weights(
        self, weight: Array, bias: Array | None, options: LayerOptions | ReadoutOptions
    ) -> layers.Weights:
        taken = self._taken
        return layers.weights_of(
            taken(weight), taken(bias), taken(options.beta), options.input_scale
        )

    def _rows(self, x: Any, dtype: Any) -> layers.Rows:
        if self._given is not None and isinstance(x, SpikeTimes):
            x = SpikeTimes.unchecked(to_numpy(x.times), x.n_steps)
        elif self._given is not None and not isinstance(x, Events):
            x = to_numpy(x)
        return layers.rows_of(x, dtype)

    def _taken(self, array: Any) -> Any:
        return array if self._given is None or array is None else to_numpy(array)

    def _gives(self, *arrays: Any) -> tuple[Any, ...]:
        if self._given is None:
            return arrays
        return tuple(None if a is None else self._given(a) for a in arrays)


def _as_events(rows: layers.Rows) -> Events:
    """Rows whose samples have places of their own, as events that follow one another."""
    apart = Events.unchecked(rows.indptr, rows.indices, rows.n_inputs)
    return apart.take(np.arange(len(apart)))


def _first_steps(events: Events) -> Any:
    """The step of each neuron's first spike, int32 (batch, neurons); n_steps if it is silent."""
    batch, neurons, steps = events.shape
    row = np.repeat(np.arange(batch * steps), np.diff(events.indptr).reshape(-1))
    sample, step = np.divmod(row, steps)
    times = np.full((batch, neurons), steps, np.int32)
    np.minimum.at(times, (sample, events.indices), step.astype(np.int32))
    return times


def _empty_potential(rows: layers.Rows, weights: layers.Weights) -> Any:
    batch, steps = rows.indptr.shape[0], rows.indptr.shape[1] - 1
    return np.empty((batch, steps, weights.weight.shape[1]), weights.weight.dtype)
