"""A network made ready for one backend: checked, moved and laid out once, then called often."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from .. import backends
from .._checks import check_neurons
from .._decay import beta_from_tau
from .._engine import (
    EngineName,
    LayerOptions,
    LayerPart,
    PreparedNetwork,
    ReadoutOptions,
    ReadoutPart,
)
from .._namespace import Array, float_dtype, library_name, namespace, native
from ..network import TAU_HIDDEN, Network
from ..spikes import Events, SpikeTimes, shape_of
from ._chain import Chain, Options, Step, run, run_network
from ._choice import Choice, by_density, by_product, choose, engine_named, events_by_density
from ._results import Result, State, check_state

_log = logging.getLogger("fastsnn_np")
_FEWER = "forward(..., batch_size=...) computes fewer samples at a time"


class Chosen(NamedTuple):
    """Where a caller wants a run computed, and how."""

    backend: str | None  #: None: where the arrays are
    device: Any
    engine: EngineName
    method: str


class Prepared:
    """`forward` for one network, backend and set of options; `prepare` makes it.

    Calling it with an input, and a `State` to continue from, gives a `Result`.
    """

    def __init__(self, network: Network, chosen: Chosen, options: Options) -> None:
        backend, device, engine, method = chosen
        self.network = network if backend is None else network.to(backend, device)
        self.options, self._method, self._chosen = options, method, chosen
        #: the namespace of all arrays, found once, since finding takes a while
        self._xp = namespace(weight=self.network.readout.weight)
        self._backend = backends.of(self._xp) if backend is None else backends.get(backend)
        self._moves = backend is not None
        home = self._backend.home(self.network.readout.weight)
        self._device = device if home is None else home
        parts = (*self.network.layers, self.network.readout)
        weights = tuple(part.weight for part in parts)
        self._inputs = self.network.sizes[0]
        self._for_sparse = choose(engine, True, self._backend, weights, method)
        self._for_dense = choose(engine, False, self._backend, weights, method)
        self._by_density = (
            self._backend.densest_events > 0 and self._for_dense.first != self._for_dense.rest
        )
        #: potentials and states come from layers one by one, the rest also from a network at once
        self._by_layers = options.return_potential or options.return_state
        self._chains: dict[tuple[str, str], Chain] = {}
        self._networks: dict[str, PreparedNetwork | None] = {}

    def __call__(self, x: Array | SpikeTimes | Events, state: State | None = None) -> Result:
        """Run a batch; see `forward` for `x`, `State` for what `state` carries.

        Raises
        ------
        ValueError
            If a shape does not fit, or a NaN or infinity is met and the check is on.
        MemoryError
            If there is not enough memory; the message says how much was asked for.
        """
        try:
            with self._backend.on(self._device):
                return self._run(x, state)
        except MemoryError as error:
            raise MemoryError(f"{error}; {_FEWER}") from error

    def _run(self, x: Array | SpikeTimes | Events, state: State | None) -> Result:
        x = self._placed(x)
        batch, inputs, steps = shape_of(x)
        check_neurons(inputs, self._inputs, "the network", steps=steps)
        if state is not None:
            last = self.network.readout
            check_state(state, batch, self.network.sizes[1:], len(self.network.layers), last.weight)
        choice = self._choice(x)
        if state is None and not self._by_layers:
            whole = self._whole(choice)
            if whole is not None:
                return run_network(whole, self.network, choice.first, x, steps, self.options)
        return run(self._chain(choice), self._xp, x, steps, self.options, state)

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds the network and the options, and is prepared anew where it is loaded."""
        return Prepared, (self.network, self._chosen, self.options)

    def _choice(self, x: Any) -> Choice:
        choice = self._for_dense
        if isinstance(x, (SpikeTimes, Events)):
            choice = events_by_density(
                x, self._for_sparse, self._for_dense, self._backend, self.network.readout.weight
            )
        elif self._by_density:
            choice = by_density(x, choice, self._backend)
            _log.info(choice.why)
        if self.options.explain:
            if choice.first == "dense":
                choice = by_product(x, choice, self._backend)
            _log.warning("engine %r: %s", choice.first, choice.why)
        return choice

    def _chain(self, choice: Choice) -> Chain:
        """The layers made ready for a choice of engines, at its first use."""
        found = self._chains.get(choice[:2])
        if found is None:
            found = self._chains[choice[:2]] = self._prepared(choice)
        return found

    def _prepared(self, choice: Choice) -> Chain:
        names = [choice.first, *[choice.rest] * len(self.network.layers)]
        like = self.network.readout.weight
        engines = [engine_named(name, self._backend, like) for name in names]
        layers, last = _parts(self.network)
        hidden = [
            Step(engine.layer(*part, method=self._method), engine.takes_sparse)
            for engine, part in zip(engines[:-1], layers, strict=True)
        ]
        readout = Step(engines[-1].readout(*last), engines[-1].takes_sparse)
        return Chain(hidden, readout, choice.first, last.weight, self.network)

    def _whole(self, choice: Choice) -> PreparedNetwork | None:
        """The network made ready for one call, if one engine computes it and has such a call."""
        if choice.first != choice.rest or self._method != "block":
            return None
        if choice.first not in self._networks:
            like = self.network.readout.weight
            engine = engine_named(choice.first, self._backend, like)
            self._networks[choice.first] = engine.network(*_parts(self.network))
        return self._networks[choice.first]

    def _placed(self, x: Any) -> Any:
        """The input where the network is, moved there if a backend was named."""
        if isinstance(x, Events):
            return x
        if isinstance(x, SpikeTimes):
            if self._moves:
                return SpikeTimes.unchecked(self._moved(x.times), x.n_steps)
            self._check_place(x.times)
            return x
        namespace(x=x)  # refuses a list, which NumPy would take
        if self._moves:
            x = self._moved(x)
        else:
            self._check_place(x)
            if not getattr(x.dtype, "isnative", True):
                x = native(x)
        float_dtype(self._xp, x=x)
        return x

    def _moved(self, array: Any) -> Array:
        return self._backend.asarray(array, self._device)

    def _check_place(self, x: Array) -> None:
        try:
            namespace(x=x, network=self.network.readout.weight)
        except (TypeError, ValueError) as error:
            xp = namespace(x=x)
            move = "to(...)"
            if library_name(xp) not in backends.CAPABILITIES:
                move = f"mapped({xp.__name__.removeprefix('array_api_compat.')}.asarray)"
            raise type(error)(
                f"{error}. network.{move} gives the network on another backend"
            ) from None


def _parts(network: Network) -> tuple[list[LayerPart], ReadoutPart]:
    """Hidden layers and readout as an engine takes them."""
    for i, part in enumerate(network.layers):
        if part.neuron.fires != "once" or part.delay is not None:
            raise ValueError(f"forward takes neurons that fire once, no delays; not so layer {i}")
    last, kind = network.readout, network.readout.kind
    if kind == "weighted":
        raise ValueError("forward reads out by the sum or the maximum, not the weighted sum")
    hidden = [
        LayerPart(part.weight, part.bias, LayerOptions(part.beta, part.threshold, part.input_scale))
        for part in network.layers
    ]
    options = ReadoutOptions(last.beta, kind, last.input_scale)
    return hidden, ReadoutPart(last.weight, last.bias, options)


def run_layer(
    x: Array | SpikeTimes | Events,
    state: State | None,
    *,
    chosen: Chosen,
    options: Options,
) -> Result:
    """One layer of neurons, each with tau = 10 ms, whose input current is `x`."""
    backend, device, engine, method = chosen
    if isinstance(x, SpikeTimes):
        with backends.beside(x.times):
            x = x.to_dense()
    if isinstance(x, Events):
        x = x.to_dense()
    record = backends.of(namespace(x=x)) if backend is None else backends.get(backend)
    x = x if backend is None else record.asarray(x, device)
    xp = namespace(x=x)
    float_dtype(xp, x=x)
    batch, neurons, steps = shape_of(x)
    if state is not None:
        check_state(state, batch, (neurons,), 1, None, like=x)
    choice = choose(engine, False, record, (), method)
    if options.explain:
        _log.warning("engine %r: %s", choice.first, choice.why)
    prepared = engine_named(choice.first, record, x).layer(
        None, None, LayerOptions(beta_from_tau(TAU_HIDDEN)), method=method
    )
    chain = Chain([Step(prepared, False)], None, choice.first, x)
    with record.on(record.home(x)):
        return run(chain, xp, x, steps, options, state)
