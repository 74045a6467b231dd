"""What an engine is, and the dense one.

A backend says where arrays live, an engine how a layer is computed: ``dense`` by the core, on the
Array API; ``event`` at a cost that follows the spikes, ``dense kernel`` in one fused pass (both in
``backends.event``). Which one a run takes is decided in ``_forward``.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

from . import backends
from ._checks import check_beta, check_weights, finite
from ._currents import dense_product, densely, sparse_product, takes_product
from ._decay import InputScale, as_real, by_plan, plan_of
from ._first_spike import first_crossing, spike_counts
from ._layer import LayerOutput, ReadoutKind, ReadoutOutput, layer, pool
from ._namespace import Array, as_dtype, device_of, float_dtype, is_traced, namespace
from ._parts import Layer
from ._spiking import SpikingOutput, Standing, spiking
from .spikes import Events, SpikeTimes, samples_of, shape_of

#: what a caller may ask for; what is computed may also be the "dense kernel"
EngineName = Literal["auto", "dense", "event"]


class LayerOptions(NamedTuple):
    """What a hidden layer is, besides its weights."""

    beta: float | Array  #: decay per step, one for all neurons or (neurons,)
    threshold: float = 1.0
    input_scale: InputScale = "normalised"


class ReadoutOptions(NamedTuple):
    """What a readout is, besides its weights."""

    beta: float | Array
    kind: ReadoutKind = "sum"
    input_scale: InputScale = "normalised"


class LayerPart(NamedTuple):
    """A hidden layer of a network as it is given to an engine."""

    weight: Array
    bias: Array | None
    options: LayerOptions


class ReadoutPart(NamedTuple):
    """The readout of a network as it is given to an engine."""

    weight: Array
    bias: Array | None
    options: ReadoutOptions


class PreparedLayer(Protocol):
    """A hidden layer whose parameters have been checked and laid out."""

    def __call__(
        self,
        x: Any,
        *,
        initial_potential: Array | None = None,
        return_potential: bool = False,
        to_the_end: bool = False,
    ) -> LayerOutput:
        """Spike times of an input (batch, inputs, time), in any form that the engine takes.

        The final potential is that of the last step if `to_the_end`; an engine may otherwise stop
        a sample once all its neurons have fired.
        """


class PreparedReadout(Protocol):
    """A readout whose parameters have been checked and laid out."""

    def __call__(
        self,
        x: Any,
        *,
        initial_potential: Array | None = None,
        return_potential: bool = False,
        to_the_end: bool = False,
    ) -> ReadoutOutput:
        """Logits of an input (batch, inputs, time); the arguments are those of a layer."""


class NetworkOutput(NamedTuple):
    """What a whole network gives; lists have one array per hidden layer."""

    times: list[Array]  #: int32 (batch, neurons); the number of steps if silent
    counts: list[Array]  #: int32 (batch,), number of spikes
    logits: Array  #: (batch, classes)
    prediction: Array  #: integer (batch,), the class of the largest logit
    #: (batch, neurons), V at the last step that was computed; the readout's last
    final_potentials: list[Array]
    is_finite: bool  #: whether all of them are known to be


class PreparedNetwork(Protocol):
    """Hidden layers and a readout that are computed in one call."""

    def __call__(self, x: Any) -> NetworkOutput:
        """Spike times and logits of an input (batch, inputs, time), in any form."""


class PreparedSpiking(Protocol):
    """A layer of neurons that fire again and again, checked and laid out."""

    def __call__(
        self,
        x: Any,
        *,
        before: Standing | None = None,
        return_potential: bool = False,
        goes_on: bool = False,
    ) -> SpikingOutput:
        """Spikes of an input (batch, inputs, time), in any form.

        The last three are for an engine that has states and potentials of such neurons. A run that
        `goes_on` gives the same bits however a recording is cut.
        """


class SpikingEngine(Protocol):
    """A way to compute layers of neurons that fire again and again."""

    def spiking(self, layer: Layer) -> PreparedSpiking:
        """A layer made ready, without its delays."""


class Engine(Protocol):
    """A way to compute layers: prepare one once, then call it."""

    @property
    def name(self) -> str:
        """The name that `Result.engine` gives."""

    @property
    def takes_sparse(self) -> bool:
        """Whether `SpikeTimes` and `Events` are taken as they are; if not, dense arrays only."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of `decay` that it knows."""

    def layer(
        self, weight: Array | None, bias: Array | None, options: LayerOptions, *, method: str
    ) -> PreparedLayer:
        """A hidden layer made ready; without `weight`, its input is the current itself."""

    def readout(
        self, weight: Array, bias: Array | None, options: ReadoutOptions
    ) -> PreparedReadout:
        """A readout made ready."""

    def network(self, hidden: list[LayerPart], readout: ReadoutPart) -> PreparedNetwork | None:
        """All layers made ready for one call; None if the engine has no such call."""


class _Dense:
    """The core on the Array API, for arrays of any library.

    Sparse spikes go through the library's sparse product where it has one, and are made dense
    where it has none or they are too many.
    """

    name = "dense"
    takes_sparse = True
    methods = ("block", "fft")

    def layer(
        self, weight: Array | None, bias: Array | None, options: LayerOptions, *, method: str
    ) -> PreparedLayer:
        if weight is None:
            run: PreparedLayer = with_parameters(
                layer, None, bias, {**options._asdict(), "method": method}
            )
            return run
        synapses = _Synapses(weight, bias, options, method)
        threshold = finite("threshold", options.threshold)

        def spikes(
            x: Any,
            *,
            initial_potential: Array | None = None,
            return_potential: bool = False,
            to_the_end: bool = False,
        ) -> LayerOutput:
            v = synapses(x, initial_potential)
            times = first_crossing(synapses.xp, v, threshold)
            return LayerOutput(times, v[..., -1], v if return_potential else None)

        return spikes

    def readout(
        self, weight: Array, bias: Array | None, options: ReadoutOptions
    ) -> PreparedReadout:
        synapses = _Synapses(weight, bias, options, "block")

        def logits(
            x: Any,
            *,
            initial_potential: Array | None = None,
            return_potential: bool = False,
            to_the_end: bool = False,
        ) -> ReadoutOutput:
            v = synapses(x, initial_potential)
            return ReadoutOutput(pool(v, options.kind), v[..., -1], v if return_potential else None)

        return logits

    def spiking(self, layer: Layer) -> PreparedSpiking:
        return partial(spiking, layer=layer)

    def network(self, hidden: list[LayerPart], readout: ReadoutPart) -> PreparedNetwork | None:
        """All layers, for as many samples at a time as stay in cache."""
        xp = namespace(weight=readout.weight)
        room = backends.of(xp).room(device_of(readout.weight))
        weights = [*[part.weight for part in hidden], readout.weight]
        widest = max(weight.shape[0] for weight in weights)
        layers = [self.layer(*part, method="block") for part in hidden]
        last = self.readout(*readout)
        itemsize = 8 if readout.weight.dtype == xp.float64 else 4

        def run(x: Any) -> NetworkOutput:
            batch, _, steps = shape_of(x)
            size = max(room // (widest * steps * itemsize), 1) if room else batch
            if size >= batch:
                times, finals, logits = _one_chunk(layers, last, x, steps)
            else:
                starts = range(0, batch, size)
                times, finals, logits = _joined(
                    xp,
                    [_one_chunk(layers, last, samples_of(x, i, i + size), steps) for i in starts],
                )
            counts = [spike_counts(xp, t, steps) for t in times]
            prediction = xp.argmax(logits, axis=-1)
            # nobody has looked at the potentials: the one who wants to know waits for a GPU once
            return NetworkOutput(times, counts, logits, prediction, finals, is_finite=False)

        return run


class _Chunk(NamedTuple):
    """Some samples through all layers."""

    times: list[Array]
    final_potentials: list[Array]
    logits: Array


def _one_chunk(layers: list[PreparedLayer], readout: PreparedReadout, x: Any, steps: int) -> _Chunk:
    times, finals = [], []
    for run in layers:
        out = run(x)
        times.append(out.times)
        finals.append(out.final_potential + 0)  # a view would keep the potential of all steps
        x = SpikeTimes.unchecked(out.times, steps)
    last = readout(x)
    return _Chunk(times, [*finals, last.final_potential + 0], last.logits)


def _joined(xp: Any, chunks: list[_Chunk]) -> _Chunk:
    times, finals, logits = zip(*chunks, strict=True)
    return _Chunk(
        [xp.concat(list(arrays), axis=0) for arrays in zip(*times, strict=True)],
        [xp.concat(list(arrays), axis=0) for arrays in zip(*finals, strict=True)],
        xp.concat(list(logits), axis=0),
    )


class _Synapses:
    """Steps 1 and 2 of a layer whose parameters have been checked and laid out."""

    def __init__(
        self,
        weight: Array,
        bias: Array | None,
        options: LayerOptions | ReadoutOptions,
        method: str,
    ) -> None:
        self.xp = xp = namespace(weight=weight, bias=bias)
        dtype = float_dtype(xp, weight=weight, bias=bias)
        check_weights(weight, bias)
        self._weight = as_dtype(xp, weight, dtype)
        self._bias = None if bias is None else as_dtype(xp, bias, dtype)
        self._beta = as_real(xp, "beta", options.beta, weight, dtype)
        check_beta(xp, self._beta, neurons=weight.shape[0])
        self._scale, self._method = options.input_scale, method
        self._backend = backends.of(xp)
        self._kept: dict[int, Any] = {}  # plans of step 2 by the number of steps
        self._transposed: Array | None = None

    def __call__(self, x: Any, initial: Array | None) -> Array:
        """The potential (batch, neurons, time)."""
        xp = self.xp
        plan = self._plan(shape_of(x).steps)
        if isinstance(x, (SpikeTimes, Events)) and takes_product(self._backend, x):
            current = sparse_product(xp, x, self._weight_by_input(), self._bias)
            if self._beta.ndim == 0:  # rows of any order
                initial = None if initial is None else xp.permute_dims(initial, (1, 0))
                return xp.permute_dims(by_plan(xp, current, plan, initial), (1, 0, 2))
            current = xp.permute_dims(current, (1, 0, 2))
        else:
            if isinstance(x, (SpikeTimes, Events)):
                x = densely(x, self._weight)
            x = as_dtype(xp, x, self._weight.dtype)
            current = dense_product(xp, x, self._weight, self._bias)
        return by_plan(xp, current, plan, initial)

    def _plan(self, steps: int) -> Any:
        """Step 2 made ready, for the numbers of steps that came last."""
        found = self._kept.get(steps)
        if found is None:
            found = plan_of(self.xp, self._beta, steps, self._scale, self._method)
            if len(self._kept) == _KEPT:
                self._kept.clear()
            # a graph is walked once, and what JAX traces is of no use outside of its function
            if not (self._backend.tracks_gradients(self._beta) or is_traced(found[0])):
                self._kept[steps] = found
        return found

    def _weight_by_input(self) -> Array:
        """The weight as (inputs, neurons), a row of which is contiguous."""
        if self._transposed is None:
            xp = self.xp
            by_input = xp.permute_dims(self._weight, (1, 0))
            by_input = xp.reshape(by_input, by_input.shape, copy=True)
            if self._backend.tracks_gradients(by_input):
                return by_input
            self._transposed = by_input
        return self._transposed


_KEPT = 4  # plans a prepared layer keeps: a stream has chunks of one length, and a shorter last one


def with_parameters(
    function: Any, weight: Array | None, bias: Array | None, options: dict[str, Any]
) -> Any:
    """A layer or readout function made a prepared one, where every step is always computed."""

    def run(x: Any, *, to_the_end: bool = False, **more: Any) -> Any:
        return function(x, weight, bias, **options, **more)

    return run


DENSE = _Dense()
