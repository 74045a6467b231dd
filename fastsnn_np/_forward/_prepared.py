"""A network made ready for one backend: checked, moved and laid out once, then called often."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from .. import backends
from .._checks import check_finite, check_neurons
from .._decay import beta_from_tau
from .._engine import (
    EngineName,
    LayerOptions,
    LayerPart,
    PreparedNetwork,
    PreparedReadout,
    ReadoutOptions,
    ReadoutPart,
)
from .._layer import ReadoutKind, ReadoutOutput, pool
from .._namespace import Array, float_dtype, is_traced, library_name, namespace, native
from .._parts import Layer, Readout, arrays_of
from .._spiking import goes_in_blocks
from ..network import TAU_HIDDEN, Network
from ..spikes import Events, SpikeTimes, shape_of
from ._chain import Chain, Options, Step, run, run_network
from ._choice import (
    Again,
    Choice,
    by_density,
    by_product,
    choose,
    engine_named,
    events_by_density,
    spiking_engine_named,
)
from ._results import Result, State, check_kinds, check_state

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
        backend, device, _, method = chosen
        self.network = network if backend is None else network.to(backend, device)
        self.options, self._method, self._chosen = options, method, chosen
        #: the namespace of all arrays, found once, since finding takes a while
        self._xp = namespace(weight=self.network.readout.weight)
        self._backend = backends.of(self._xp) if backend is None else backends.get(backend)
        self._moves = backend is not None
        home = self._backend.home(self.network.readout.weight)
        self._device = device if home is None else home
        parts = (*self.network.layers, self.network.readout)
        self._weights = tuple(part.weight for part in parts)
        self._inputs = self.network.sizes[0]
        #: the choices for sparse and for dense input, by whether a state is carried
        self._choices: dict[bool, tuple[Choice, Choice]] = {}
        self._choices_for(options.return_state)
        #: potentials and states come from layers one by one, the rest also from a network at once
        self._by_layers = (
            options.return_potential or options.return_state or not self.network.single_spike
        )
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
            check_kinds(state, self.network, batch)
        choice = self._choice(x, self.options.return_state or state is not None)
        if state is None and not self._by_layers:
            whole = self._whole(choice)
            if whole is not None:
                return run_network(whole, self.network, choice.first, x, steps, self.options)
        return run(self._chain(choice), self._xp, x, steps, self.options, state)

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds the network and the options, and is prepared anew where it is loaded."""
        return Prepared, (self.network, self._chosen, self.options)

    def _choices_for(self, states: bool) -> tuple[Choice, Choice]:
        """The choices for sparse and for dense input; an error if the engine cannot do it."""
        if states not in self._choices:
            fires = any(map(fires_again, self.network.layers))
            again = Again(fires, states, self.options.return_potential)
            engine, method = self._chosen.engine, self._method
            sparse, dense = (
                choose(engine, is_sparse, self._backend, self._weights, method, again)
                for is_sparse in (True, False)
            )
            self._choices[states] = sparse, dense
        return self._choices[states]

    def _choice(self, x: Any, states: bool) -> Choice:
        for_sparse, choice = self._choices_for(states)
        if isinstance(x, (SpikeTimes, Events)):
            choice = events_by_density(
                x, for_sparse, choice, self._backend, self.network.readout.weight
            )
        elif self._backend.densest_events > 0 and choice.first != choice.rest:
            choice = by_density(x, choice, self._backend)
            _log.info(choice.why)
        if self.options.explain:
            if choice.first == "dense":
                choice = by_product(x, choice, self._backend)
            why = choice.why + _ways(self.network, choice, states)
            _log.warning("engine %r: %s", choice.first, why)
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
        hidden = []
        for i, layer in enumerate(self.network.layers):
            if fires_again(layer):
                if self.options.check_finite:
                    _check_parameters(layer, i)
                made = spiking_engine_named(names[i], self._backend).spiking(layer)
                hidden.append(Step(made, True, layer))
            else:
                once = engines[i].layer(*_layer_part(layer), method=self._method)
                hidden.append(Step(once, engines[i].takes_sparse, layer))
        last = self.network.readout
        logits = engines[-1].readout(*_readout_part(last))
        if last.gamma is not None:
            logits = _weighted(logits, last.gamma)
        readout = Step(logits, engines[-1].takes_sparse)
        return Chain(hidden, readout, choice.first, last.weight, self.network)

    def _whole(self, choice: Choice) -> PreparedNetwork | None:
        """The network made ready for one call, if one engine computes it and has such a call."""
        if choice.first != choice.rest or self._method != "block":
            return None
        if choice.first not in self._networks:
            like = self.network.readout.weight
            engine = engine_named(choice.first, self._backend, like)
            hidden = [_layer_part(layer) for layer in self.network.layers]
            last = _readout_part(self.network.readout)
            self._networks[choice.first] = engine.network(hidden, last)
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


def fires_again(layer: Layer) -> bool:
    """Whether the neurons of a layer fire again and again."""
    return layer.neuron.fires == "always"


def _layer_part(layer: Layer) -> LayerPart:
    """A layer whose neurons fire once, as an engine takes it."""
    threshold: Any = layer.threshold  # one number, as they share it
    return LayerPart(
        layer.weight, layer.bias, LayerOptions(layer.beta, threshold, layer.input_scale)
    )


def _readout_part(readout: Readout) -> ReadoutPart:
    """A readout as an engine takes it; a weighted sum is made of its potential."""
    kind: ReadoutKind = "max" if readout.kind == "max" else "sum"
    options = ReadoutOptions(readout.beta, kind, readout.input_scale)
    return ReadoutPart(readout.weight, readout.bias, options)


def _weighted(readout: PreparedReadout, gamma: float) -> PreparedReadout:
    """A readout whose logits are sum_t gamma^t V[t]."""

    def logits(x: Any, *, return_potential: bool = False, **more: Any) -> ReadoutOutput:
        out = readout(x, return_potential=True, **more)
        weighted = pool(out.potential, "weighted", gamma)
        return ReadoutOutput(
            weighted, out.final_potential, out.potential if return_potential else None
        )

    return logits


def _check_parameters(layer: Layer, i: int) -> None:
    """Refuse NaN and infinity, which a neuron that never fires would hide."""
    xp = namespace(weight=layer.weight)
    for name, array in arrays_of(layer).items():
        finite = xp.all(xp.isfinite(array))
        if not is_traced(finite) and not bool(finite):
            check_finite(f"{name} of layer {i}", array)


def _ways(network: Network, choice: Choice, states: bool) -> str:
    """How the dense engine computes neurons that fire again and again, for `explain`."""
    said = []
    for i, layer in enumerate(network.layers):
        if fires_again(layer) and choice.first == "dense":
            in_blocks = goes_in_blocks(layer) and not states
            size = layer.neuron.refractory + 1
            way = f"by blocks of {size} steps" if in_blocks else "in a plain loop over time"
            said.append(f"; layer {i} {way}")
    return "".join(said)


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
