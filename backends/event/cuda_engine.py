"""The event engine and the dense kernel as engines of `forward`, for arrays on a GPU.

Everything is checked when a layer is prepared; a call allocates and launches. Nothing here waits
for the GPU.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastsnn_np._checks import check_beta, check_option, check_weights
from fastsnn_np._decay import InputScale
from fastsnn_np._engine import (
    LayerOptions,
    LayerPart,
    PreparedLayer,
    PreparedNetwork,
    PreparedReadout,
    ReadoutOptions,
    ReadoutPart,
)
from fastsnn_np._layer import LayerOutput, ReadoutOutput
from fastsnn_np._namespace import Array, as_dtype, as_parameter, device_of, float_dtype, namespace
from fastsnn_np.backends import Backend
from fastsnn_np.backends._cuda import Kernels
from fastsnn_np.spikes import Events, SpikeTimes


class _Neurons(NamedTuple):
    """A layer's neurons as the kernels read them, each array (neurons,)."""

    bias: Array
    beta: Array
    scale: Array  #: 1 - beta or 1


class _Layer:
    """A layer made ready: parameters laid out, and the kernels for their precision.

    Parameters
    ----------
    weight : array (neurons, inputs) or None
        None where the input is the current itself.
    like : array
        An array of the library, device and dtype to compute in.
    """

    def __init__(
        self,
        kernels: Kernels,
        backend: Backend,
        weight: Array | None,
        bias: Array | None,
        options: LayerOptions | ReadoutOptions,
        *,
        neurons: int,
        like: Array,
    ) -> None:
        if weight is None and bias is not None:
            raise TypeError("bias without weight: add it to the current")
        if weight is not None:
            check_weights(weight, bias)
        check_option("input_scale", options.input_scale, InputScale)
        self.xp: Any = namespace(like=like)
        self.kernels, self.neurons, self._asarray = kernels, neurons, backend.asarray
        self.dtype = float_dtype(self.xp, like=like)
        self.device = device_of(like)
        self.tiny = float(np.finfo(kernels.dtype).smallest_normal)
        if isinstance(options.beta, (int, float)):  # an array was checked by its network
            check_beta(np, np.asarray(options.beta, kernels.dtype))
        beta = as_parameter(self.xp, options.beta, like, self.dtype)
        beta = kernels.contiguous(self.xp.broadcast_to(beta, (neurons,)))
        unit = options.input_scale == "unit"
        if bias is None:
            bias = self.xp.zeros((neurons,), dtype=self.dtype, device=self.device)
        self.own = _Neurons(
            kernels.contiguous(as_dtype(self.xp, bias, self.dtype)),
            beta,
            self.xp.ones_like(beta) if unit else 1 - beta,
        )

    def empty(self, *shape: int, dtype: Any = None) -> Array:
        return self.xp.empty(shape, dtype=dtype or self.dtype, device=self.device)

    def times(self, batch: int) -> Array:
        return self.empty(batch, self.neurons, dtype=self.xp.int32)

    def initial(self, given: Any, batch: int) -> Array | None:
        if given is None:
            return None
        like = self.own.beta
        given = as_parameter(self.xp, given, like, self.dtype)
        return self.kernels.contiguous(self.xp.broadcast_to(given, (batch, self.neurons)))

    def rows(self, x: Events | SpikeTimes) -> tuple[tuple[Array, Array, Array | None], bool]:
        """Pointers, indices and values as the kernels read them, and whether all are finite."""
        if isinstance(x, Events):
            values = x.values
            if values is not None:
                with np.errstate(over="ignore"):  # a value too large for float32 is looked for
                    values = values.astype(self.kernels.dtype, copy=False)
            finite = values is None or bool(np.isfinite(values).all())
            indptr, indices, values = (
                None if a is None else self._asarray(a, self.device)
                for a in (x.indptr, x.indices, values)
            )
            return (indptr, indices, values), finite
        batch, neurons = x.times.shape
        indptr = self.empty(batch, x.n_steps + 1, dtype=self.xp.int64)
        indices = self.empty(batch * neurons, dtype=self.xp.int32)
        times = self.kernels.contiguous(x.times)
        sizes = (batch, x.n_steps + 1)
        self.kernels("sort_times", *sizes, times, neurons, x.n_steps, indptr, indices)
        return (indptr, indices, None), True


class CudaEvents:
    """The event engine: layers on `SpikeTimes` and `Events`, at a cost that follows the spikes."""

    name = "event"
    takes_sparse = True
    methods = ("block",)

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def layer(
        self, weight: Array | None, bias: Array | None, options: LayerOptions, *, method: str
    ) -> PreparedLayer:
        if weight is None:
            raise ValueError("the event engine adds up weights, and there are none")
        own = _laid_out(self._backend, weight, bias, options)
        rows_of_weight = own.kernels.contiguous(weight.T)  # an event adds one row
        threshold = options.threshold

        def run(
            x: Any,
            *,
            initial_potential: Any = None,
            return_potential: bool = False,
            to_the_end: bool = False,
        ) -> LayerOutput:
            batch, steps = len(x), x.n_steps
            rows, finite = own.rows(x)
            times, final = own.times(batch), own.empty(batch, own.neurons)
            potential = own.empty(batch, steps, own.neurons) if return_potential else None
            # a NaN or infinity must reach the last potential, where it is looked for
            to_the_end = to_the_end or return_potential or not finite
            own.kernels(
                "layer_events",
                *(batch, own.neurons),
                *(*rows, rows_of_weight, *own.own, own.initial(initial_potential, batch)),
                *(threshold, own.tiny, steps, own.neurons, to_the_end),
                *(times, final, potential),
            )
            return LayerOutput(times, final, _time_last(own.xp, potential))

        return run

    def readout(
        self, weight: Array, bias: Array | None, options: ReadoutOptions
    ) -> PreparedReadout:
        own = _laid_out(self._backend, weight, bias, options)
        rows_of_weight = own.kernels.contiguous(weight.T)
        summed = options.kind == "sum"

        def run(
            x: Any,
            *,
            initial_potential: Any = None,
            return_potential: bool = False,
            to_the_end: bool = False,
        ) -> ReadoutOutput:
            batch, steps = len(x), x.n_steps
            rows, _ = own.rows(x)
            where, logits = own.times(batch), own.empty(batch, own.neurons)
            final = own.empty(batch, own.neurons)
            potential = own.empty(batch, steps, own.neurons) if return_potential else None
            own.kernels(
                "readout_events",
                *(batch, own.neurons),
                *(*rows, rows_of_weight, *own.own, own.initial(initial_potential, batch)),
                *(own.tiny, steps, own.neurons, summed),
                *(logits, where, final, potential),
            )
            return ReadoutOutput(logits, final, _time_last(own.xp, potential))

        return run

    def network(self, hidden: list[LayerPart], readout: ReadoutPart) -> PreparedNetwork | None:
        """None: a GPU overlaps the launches of a network's layers, and one call saves nothing."""
        return None


class CudaDense:
    """The dense kernel: a product by the library, then decay and first spike in one pass."""

    name = "dense kernel"
    takes_sparse = False
    methods = ("block",)

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def layer(
        self, weight: Array | None, bias: Array | None, options: LayerOptions, *, method: str
    ) -> PreparedLayer:
        prepared = None if weight is None else _laid_out(self._backend, weight, bias, options)

        def run(
            x: Any,
            *,
            initial_potential: Any = None,
            return_potential: bool = False,
            to_the_end: bool = False,
        ) -> LayerOutput:
            own = prepared or _laid_out(self._backend, None, bias, options, x)
            current = _current(own, weight, x)
            batch, neurons, steps = current.shape
            times, final = own.times(batch), own.empty(batch, neurons)
            potential = own.empty(*current.shape) if return_potential else None
            own.kernels(
                "layer_dense",
                *(batch, neurons),
                *(current, *own.own, own.initial(initial_potential, batch)),
                *(options.threshold, own.tiny, steps, neurons),
                *(times, final, potential),
            )
            return LayerOutput(times, final, potential)

        return run

    def readout(
        self, weight: Array, bias: Array | None, options: ReadoutOptions
    ) -> PreparedReadout:
        own = _laid_out(self._backend, weight, bias, options)

        def run(
            x: Any,
            *,
            initial_potential: Any = None,
            return_potential: bool = False,
            to_the_end: bool = False,
        ) -> ReadoutOutput:
            current = _current(own, weight, x)
            batch, neurons, steps = current.shape
            logits, final = own.empty(batch, neurons), own.empty(batch, neurons)
            potential = own.empty(*current.shape) if return_potential else None
            own.kernels(
                "readout_dense",
                *(batch, neurons),
                *(current, *own.own, own.initial(initial_potential, batch)),
                *(own.tiny, steps, neurons, options.kind == "sum"),
                *(logits, final, potential),
            )
            return ReadoutOutput(logits, final, potential)

        return run

    def network(self, hidden: list[LayerPart], readout: ReadoutPart) -> PreparedNetwork | None:
        """None: a GPU overlaps the launches of a network's layers, and one call saves nothing."""
        return None


def _laid_out(
    backend: Backend, weight: Array | None, bias: Array | None, options: Any, x: Any = None
) -> _Layer:
    like = x if weight is None else weight
    kernels = None if backend.cuda is None else backend.cuda(like)
    if kernels is None:
        raise ValueError(f"there are no CUDA kernels for arrays of {backend.name} on this device")
    neurons = int(x.shape[-2] if weight is None else weight.shape[0])
    return _Layer(kernels, backend, weight, bias, options, neurons=neurons, like=like)


def _current(own: _Layer, weight: Array | None, x: Array) -> Array:
    """W x without the bias, which the kernel adds; (batch, neurons, time) in C order."""
    x = as_dtype(own.xp, x, own.dtype)
    return own.kernels.contiguous(x if weight is None else own.xp.matmul(weight, x))


def _time_last(xp: Any, potential: Array | None) -> Array | None:
    return None if potential is None else xp.permute_dims(potential, (0, 2, 1))
