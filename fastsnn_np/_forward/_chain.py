"""The loop over prepared layers, each on the spikes of the one before."""

from __future__ import annotations

import functools
import operator
from typing import Any, NamedTuple

from .._engine import PreparedNetwork
from .._first_spike import spike_counts
from .._namespace import Array, as_dtype, float_dtype, is_traced, namespace
from ..network import Network
from ..spikes import Events, SpikeTimes
from ._finite import error_of_potential
from ._results import Result, State, logits_so_far, next_state, only_first


class Step(NamedTuple):
    """A prepared layer or readout."""

    run: Any  #: `PreparedLayer` or `PreparedReadout`
    takes_sparse: bool  #: whether sparse spikes are taken as they are


class Chain(NamedTuple):
    """Prepared layers, one after the other, and what the loop over them must know."""

    hidden: list[Step]
    readout: Step | None
    engine: str  #: as `Result.engine` has it
    like: Array  #: what is made dense goes to its library, device and dtype
    network: Network | None = None  #: None for a layer on its own


class Options(NamedTuple):
    """What a caller wants of a run."""

    return_potential: bool = False
    return_state: bool = False
    check_finite: bool = True
    explain: bool = False


class _Look(NamedTuple):
    """Whether values are finite, on their device: a flag to be looked at last, with all others."""

    finite: Array
    values: Array
    where: str


def run(chain: Chain, xp: Any, x: Any, steps: int, options: Options, state: State | None) -> Result:
    """The result of a batch `x`, (batch, neurons, time) in any form."""
    track = options.return_state or state is not None
    more: dict[str, Any] = {"return_potential": options.return_potential, "to_the_end": track}
    times: list[Array] = []
    finals: list[Array] = []
    potentials: list[Any] = []
    looks: list[_Look] = []

    def look(values: Array, where: str) -> None:
        if options.check_finite:
            looks.append(_Look(xp.all(xp.isfinite(values)), values, where))

    def computed(step: Step, spikes: Any, where: str) -> Any:
        if state is not None:
            more["initial_potential"] = state.potentials[len(finals)]
        if not step.takes_sparse:
            spikes = _dense(xp, spikes, chain.like)
        out = step.run(spikes, **more)
        look(out.final_potential, where)
        finals.append(out.final_potential)
        potentials.append(out.potential)
        return out

    spikes = x
    for i, step in enumerate(chain.hidden):
        fired = computed(step, spikes, f"layer {i}").times
        if state is not None:
            fired = only_first(xp, fired, state.spike_times[i], steps)
        times.append(fired)
        spikes = SpikeTimes.unchecked(fired, steps)
    logits = None
    if chain.readout is not None and chain.network is not None:
        logits = computed(chain.readout, spikes, "the readout").logits
        if state is not None:
            logits = logits_so_far(xp, state.logits, logits, chain.network.readout.kind)
            look(logits, "the readout, added up,")
    found = next_state(xp, state, times, finals, logits, steps) if track else None
    kept = tuple(potentials) if options.return_potential else None
    result = _result(xp, times, logits, steps, chain.engine, kept, found)
    _check(looks, x, chain.network, state)
    return result


def run_network(
    prepared: PreparedNetwork,
    network: Network,
    engine: str,
    x: Any,
    steps: int,
    options: Options,
) -> Result:
    """The result of a batch `x` of a network that an engine computes in one call."""
    out = prepared(x)
    if options.check_finite and not out.is_finite:
        xp = namespace(logits=out.logits)
        names = [*[f"layer {i}" for i in range(len(out.times))], "the readout"]
        _check(
            [
                _Look(xp.all(xp.isfinite(final)), final, name)
                for final, name in zip(out.final_potentials, names, strict=True)
            ],
            x,
            network,
            None,
        )
    times, counts = tuple(out.times), tuple(out.counts)
    return Result(times, counts, out.logits, out.prediction, None, steps, None, engine)


def _check(looks: list[_Look], x: Any, network: Network | None, state: State | None) -> None:
    """Raise the error of the first values that are not finite; waits for a GPU, and once.

    In a function that JAX traces there are no values to look at.
    """
    if any(is_traced(look.finite) for look in looks):
        return
    if looks and not bool(functools.reduce(operator.and_, [look.finite for look in looks])):
        bad = next(look for look in looks if not bool(look.finite))
        raise error_of_potential(x, network, state, bad.values, bad.where)


def _result(
    xp: Any,
    times: list[Array],
    logits: Array | None,
    steps: int,
    engine: str,
    potentials: tuple[Array, ...] | None = None,
    state: State | None = None,
) -> Result:
    return Result(
        tuple(times),
        tuple(spike_counts(xp, t, steps) for t in times),
        logits,
        None if logits is None else xp.argmax(logits, axis=-1),
        potentials,
        steps,
        state,
        engine,
    )


def _dense(xp: Any, x: Any, like: Array) -> Array:
    dtype = float_dtype(xp, like=like)
    if isinstance(x, SpikeTimes):
        return x.to_dense(dtype)
    if isinstance(x, Events):
        return x.to_dense(like, dtype)
    return as_dtype(xp, x, dtype)
