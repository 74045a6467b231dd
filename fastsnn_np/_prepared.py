"""A network made ready for one backend: checked, moved and laid out once, then called often."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from . import _layer, backends
from ._decay import beta_from_tau
from ._namespace import (
    Array,
    as_dtype,
    device_of,
    float_dtype,
    is_array,
    library_name,
    namespace,
)
from ._result import Result, State
from .network import TAU_HIDDEN, Layer, Network, Readout, check_finite
from .spikes import Events, SpikeTimes


class Prepared:
    """`forward` for one network, backend and set of options; `prepare` makes it.

    Calling it with an input, and a `State` to continue from, gives a `Result`.
    """

    def __init__(
        self,
        network: Network | str | os.PathLike[str] | None,
        *,
        beside: Any = None,
        backend: str | None = None,
        device: Any = None,
        method: str = "block",
        return_potential: bool = False,
        return_state: bool = False,
        check: bool = True,
    ) -> None:
        self.return_potential, self.return_state, self.check = return_potential, return_state, check
        self.engine: ModuleType = _layer
        self.move: Callable[[Any], Array] | None = None
        if isinstance(network, (str, os.PathLike)):
            network = Network.load(network)
            if backend is None:  # read from disk: put where x is, since it was nowhere yet
                network = _beside(network, beside)
        if network is not None and not isinstance(network, Network):
            raise TypeError(
                f"network must be a fastsnn_np.Network or a path, got {type(network).__name__}"
            )
        if backend is not None:
            module = backends.get(backend)
            self.move = lambda array: module.asarray(array, device)
            network = None if network is None else network.to(backend, device)
            self.engine = module if hasattr(module, "layer") else _layer
        self.network = network
        #: of every array, where there is a network: found once, since finding takes a while
        self.xp = None if network is None else namespace(weight=network.readout.weight)
        #: an engine with event kernels takes sparse input as it is; without weights there is no use
        self.takes_events = network is not None and bool(
            getattr(self.engine, "TAKES_EVENTS", False)
        )
        options: dict[str, Any] = {}
        if "method" in inspect.signature(self.engine.layer).parameters:
            options["method"] = method
        elif method != "block":
            raise ValueError(f"method={method!r} is for the dense core; {backend} has its own")
        if network is None:
            single = partial(self.engine.layer, beta=beta_from_tau(TAU_HIDDEN), **options)
            self.hidden: list[Callable[..., Any]] = [single]
            self.readout: Callable[..., Any] | None = None
        else:
            self.hidden = [self._bound(layer, **options) for layer in network.layers]
            self.readout = self._bound(network.readout)

    def _bound(self, part: Layer | Readout, **options: Any) -> Callable[..., Any]:
        """The engine's layer or readout with its parameters filled in."""
        own = getattr(self.engine, "bind", None)
        if own is not None:
            bound: Callable[..., Any] = own(part)
            return bound
        options |= {"beta": part.beta, "input_scale": part.input_scale}
        if isinstance(part, Layer):
            function: Any = self.engine.layer
            options["threshold"] = part.threshold
        else:
            function = self.engine.readout
            options["kind"] = part.kind
        return lambda x, **more: function(x, part.weight, part.bias, **options, **more)

    def __call__(self, x: Array | SpikeTimes | Events, state: State | None = None) -> Result:
        """Run a batch; see `forward` for `x`, `State` for what `state` carries.

        Raises
        ------
        ValueError
            If a shape does not fit, or a NaN or infinity is met and the check is on.
        """
        x = self._input(x)
        if isinstance(x, (SpikeTimes, Events)):
            steps, inputs, batch = x.n_steps, x.n_neurons, len(x)
        else:
            if x.ndim != 3 or 0 in x.shape[1:]:
                raise ValueError(
                    "x must have axes (batch, neurons, time), with at least one neuron and step, "
                    f"got shape {tuple(x.shape)}"
                )
            steps, inputs, batch = (int(x.shape[i]) for i in (-1, -2, 0))
        if self.network is not None and inputs != self.network.sizes[0]:
            raise ValueError(
                f"x has {inputs} neurons and {steps} steps, as (batch, neurons, time), "
                f"and the network expects {self.network.sizes[0]} neurons"
            )
        track = self.return_state or state is not None
        if state is not None:
            self._check_state(state, batch, inputs)
        xp = self.xp or namespace(x=x)
        times, finals, potentials = [], [], []
        spikes = x
        for i, run in enumerate(self.hidden):
            out = run(spikes, **self._options(state, i, track))
            self._finite(xp, x, out.final_potential, f"layer {i}")
            fired = (
                out.times
                if state is None
                else _only_first(xp, out.times, state.spike_times[i], steps)
            )
            times.append(fired)
            finals.append(out.final_potential)
            potentials.append(out.potential)
            if i + 1 < len(self.hidden) or self.readout is not None:
                spikes = SpikeTimes.unchecked(fired, steps)
                if not self.takes_events:
                    spikes = spikes.to_dense(None if self.network is None else self.network.dtype)
        logits = prediction = None
        if self.readout is not None:
            read = self.readout(spikes, **self._options(state, len(self.hidden), track))
            self._finite(xp, x, read.final_potential, "the readout")
            finals.append(read.final_potential)
            potentials.append(read.potential)
            logits = read.logits
            if state is not None:
                logits = self._carried_on(xp, state.logits, logits)
            prediction = xp.argmax(logits, axis=-1)
        return Result(
            tuple(times),
            tuple(_count(xp, t, steps) for t in times),
            logits,
            prediction,
            tuple(potentials) if self.return_potential else None,
            steps,
            _next_state(xp, state, times, finals, logits, steps) if track else None,
        )

    def _options(self, state: State | None, i: int, track: bool) -> dict[str, Any]:
        options: dict[str, Any] = {"return_potential": self.return_potential}
        if state is not None:
            options["initial_potential"] = state.potentials[i]
        if track and self.takes_events:
            options["to_the_end"] = True  # the next chunk starts from the last potential
        return options

    def _carried_on(self, xp: Any, before: Array | None, logits: Array) -> Array:
        assert self.network is not None
        if before is None:
            return logits
        if self.network.readout.kind == "sum":
            return before + logits
        return xp.where(before >= logits, before, logits)

    def _input(self, x: Any) -> Any:
        """The input on the device that computes, dense unless the engine takes events."""
        network_dtype = None if self.network is None else self.network.dtype
        if isinstance(x, SpikeTimes) and self.move is not None:
            x = SpikeTimes.unchecked(self.move(x.times), x.n_steps)
        if isinstance(x, (SpikeTimes, Events)) and self.takes_events:
            return x
        if isinstance(x, Events):
            like = np.empty(0, np.float32)
            like = like if self.move is None else self.move(like)
            self._same_place(like)
            x = x.to_dense(like, network_dtype)
        elif isinstance(x, SpikeTimes):
            self._same_place(x.times)
            x = x.to_dense(network_dtype)
        elif self.move is not None:
            namespace(x=x)  # refuses a list, which NumPy would take
            x = self.move(x)
        self._same_place(x)
        xp = namespace(x=x)
        dtype = float_dtype(xp, x=x)
        if self.takes_events:
            return x  # the kernels convert what they read
        return as_dtype(xp, x, network_dtype or dtype)

    def _same_place(self, x: Array) -> None:
        if self.network is None:
            return
        try:
            namespace(x=x, network=self.network.readout.weight)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"{error}. network.to(...) gives the network on another backend"
            ) from None

    def _check_state(self, state: State, batch: int, inputs: int) -> None:
        if not isinstance(state, State):
            raise TypeError(f"state must be that of a Result, got {type(state).__name__}")
        sizes = (inputs,) if self.network is None else self.network.sizes[1:]
        wanted = [(batch, neurons) for neurons in sizes]
        shapes = [tuple(v.shape) for v in state.potentials]
        fired = [tuple(times.shape) for times in state.spike_times]
        if shapes != wanted or fired != wanted[: len(self.hidden)]:
            raise ValueError(
                f"state has potentials of shapes {shapes}; this run has {len(wanted)} layers and "
                f"batch {batch}, {wanted}"
            )
        if self.xp is not None and self.network is not None:
            namespace(weight=self.network.readout.weight, state=state.potentials[-1])

    def _finite(self, xp: Any, x: Any, final: Array, where: str) -> None:
        """Raise if a NaN or an infinity came in, and say where: x, a parameter, or an overflow."""
        if not self.check:
            return
        if bool(xp.all(xp.isfinite(final))):
            return
        if is_array(x):
            check_finite("x, as (batch, neurons, time),", x)
        if self.network is not None:
            for i, part in enumerate((*self.network.layers, self.network.readout)):
                name = "the readout" if part is self.network.readout else f"layer {i}"
                for array in ("weight", "bias", "beta"):
                    if getattr(part, array) is not None:
                        check_finite(f"{array} of {name}", getattr(part, array))
        raise ValueError(f"the potential of {where} overflows {final.dtype}")


def _beside(network: Network, x: Any) -> Network:
    """A network of NumPy arrays moved to the library and device of x."""
    like = x.times if isinstance(x, SpikeTimes) else x
    if not is_array(like):
        return network
    xp = namespace(x=like)
    name = library_name(xp)
    if name == "numpy":
        return network
    if name in backends.CAPABILITIES:
        return network.to(name, device_of(like))
    return network.mapped(lambda a: xp.asarray(a, device=device_of(like)))


def _count(xp: Any, times: Array, steps: int) -> Array:
    return xp.sum(xp.astype(times < steps, xp.int32), axis=-1, dtype=xp.int32)


def _only_first(xp: Any, times: Array, before: Array, steps: int) -> Array:
    """Spike times in this chunk of the neurons that had not fired before it."""
    return xp.where(before < 0, times, xp.full_like(times, steps))


def _next_state(
    xp: Any,
    state: State | None,
    times: list[Array],
    finals: list[Array],
    logits: Array | None,
    steps: int,
) -> State:
    offset = 0 if state is None else state.step
    absolute = []
    for i, fired in enumerate(times):
        wide = xp.astype(fired, xp.int64)
        now = xp.where(fired < steps, wide + offset, xp.full_like(wide, -1))
        if state is not None:
            now = xp.where(state.spike_times[i] >= 0, state.spike_times[i], now)
        absolute.append(now)
    return State(offset + steps, tuple(finals), tuple(absolute), logits)
