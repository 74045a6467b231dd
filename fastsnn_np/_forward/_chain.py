"""The loop over prepared layers, each on the spikes of the one before."""

from __future__ import annotations

import functools
import operator
from typing import Any, NamedTuple

from .._delays import delayed, through_lines
from .._engine import PreparedNetwork
from .._first_spike import first_true, spike_counts
from .._namespace import Array, as_dtype, float_dtype, is_traced, namespace
from .._parts import Layer
from ..network import Network
from ..spikes import Events, SpikeTimes
from ._finite import error_of_potential
from ._results import Result, State, logits_so_far, next_state, of_layer, only_first, standing


class Step(NamedTuple):
    """A prepared layer or readout."""

    run: Any  #: `PreparedLayer`, `PreparedSpiking` or `PreparedReadout`
    takes_sparse: bool  #: whether sparse spikes are taken as they are
    layer: Layer | None = None  #: the hidden layer of a network


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


class _Hidden(NamedTuple):
    """What a hidden layer comes to."""

    spikes: Any  #: in a form that the next layer takes
    times: Array
    counts: Array
    final: Array | None  #: None if the engine does not keep it
    potential: Array | None
    last: Array | None = None  #: step of the last spike in this chunk, -1 for none, if it is needed
    adaptation: Array | None = None


class _Walk:
    """A batch on its way through the layers of a chain."""

    def __init__(
        self, chain: Chain, xp: Any, steps: int, options: Options, state: State | None
    ) -> None:
        self._chain, self._xp, self._steps, self._state = chain, xp, steps, state
        self._options = options
        self.tracks = options.return_state or state is not None
        self.looks: list[_Look] = []
        self.lines: list[Array | None] = []  #: what delay lines hold at the end

    def look(self, values: Array, where: str) -> None:
        """Have values looked at, at the end."""
        if self._options.check_finite:
            finite = self._xp.all(self._xp.isfinite(values))
            self.looks.append(_Look(finite, values, where))

    def hidden(self, i: int, spikes: Any) -> _Hidden:
        """Hidden layer `i`, from its input."""
        step, where = self._chain.hidden[i], f"layer {i}"
        spikes = self._arriving(i, step.layer, spikes)
        is_once = step.layer is None or step.layer.neuron.fires == "once"
        out = self._once(i, step, spikes) if is_once else self._again(i, step, spikes)
        if out.final is not None:
            self.look(out.final, where)
        elif not isinstance(spikes, (SpikeTimes, Events)):
            self.look(self._dense(spikes), where)
        if out.adaptation is not None:
            self.look(out.adaptation, where)
        return out

    def readout(self, step: Step, spikes: Any, i: int) -> Any:
        """The readout, which is layer `i`."""
        out = step.run(self._taken(step, spikes), **self._more(i))
        self.look(out.final_potential, "the readout")
        return out

    def _more(self, i: int) -> dict[str, Any]:
        """Options of a layer whose neurons fire once or never."""
        more: dict[str, Any] = {"return_potential": self._options.return_potential}
        more["to_the_end"] = self.tracks
        if self._state is not None:
            more["initial_potential"] = self._state.potentials[i]
        return more

    def _once(self, i: int, step: Step, spikes: Any) -> _Hidden:
        xp, state, steps = self._xp, self._state, self._steps
        out = step.run(self._taken(step, spikes), **self._more(i))
        times = out.times
        if state is not None:
            times = only_first(xp, times, state.spike_times[i], steps)
        return _Hidden(
            SpikeTimes.unchecked(times, steps),
            times,
            spike_counts(xp, times, steps),
            out.final_potential,
            out.potential,
            xp.where(times < steps, times, xp.full_like(times, -1)) if self.tracks else None,
        )

    def _again(self, i: int, step: Step, spikes: Any) -> _Hidden:
        xp, state = self._xp, self._state
        out = step.run(
            self._taken(step, spikes),
            before=None if state is None else standing(xp, state, i),
            return_potential=self._options.return_potential,
            goes_on=self.tracks,
        )
        end = out.final
        last = None
        if self.tracks:
            last = self._steps - 1 - first_true(xp, xp.flip(out.spikes, axis=-1))
        return _Hidden(
            out.spikes,
            out.times,
            out.counts,
            None if end is None else end.potential,
            out.potential,
            last,
            None if end is None else end.adaptation,
        )

    def _arriving(self, i: int, layer: Layer | None, spikes: Any) -> Any:
        """The spikes behind the delays of layer `i`."""
        if layer is None or layer.delay is None:
            self.lines.append(None)
            return spikes
        if not self.tracks:
            self.lines.append(None)
            return delayed(spikes, layer.delay)
        held = None if self._state is None else of_layer(self._state.delayed, i)
        arrived = through_lines(self._dense(spikes), layer.delay, held)
        self.lines.append(arrived.line)
        return arrived.x

    def _taken(self, step: Step, spikes: Any) -> Any:
        return spikes if step.takes_sparse else self._dense(spikes)

    def _dense(self, x: Any) -> Array:
        xp, like = self._xp, self._chain.like
        dtype = float_dtype(xp, like=like)
        if isinstance(x, SpikeTimes):
            return x.to_dense(dtype)
        if isinstance(x, Events):
            return x.to_dense(like, dtype)
        return as_dtype(xp, x, dtype)


def run(chain: Chain, xp: Any, x: Any, steps: int, options: Options, state: State | None) -> Result:
    """The result of a batch `x`, (batch, neurons, time) in any form."""
    walk = _Walk(chain, xp, steps, options, state)
    found: list[_Hidden] = []
    for i in range(len(chain.hidden)):
        found.append(walk.hidden(i, found[-1].spikes if found else x))
    ends = [(out.final, out.potential) for out in found]
    logits = None
    if chain.readout is not None and chain.network is not None:
        last = walk.readout(chain.readout, found[-1].spikes if found else x, len(found))
        ends.append((last.final_potential, last.potential))
        logits = last.logits
        if state is not None:
            logits = logits_so_far(xp, state, logits, chain.network.readout)
            walk.look(logits, "the readout, added up,")
    after = None
    if walk.tracks:
        neurons = () if chain.network is None else chain.network.layers
        after = next_state(
            xp,
            state,
            steps,
            potentials=[final for final, _ in ends],
            last=[out.last for out in found],
            logits=logits,
            neurons=[layer.neuron for layer in neurons],
            adaptation=[out.adaptation for out in found],
            delayed=walk.lines,
        )
    result = Result(
        tuple(out.times for out in found),
        tuple(out.counts for out in found),
        logits,
        None if logits is None else xp.argmax(logits, axis=-1),
        tuple(potential for _, potential in ends) if options.return_potential else None,
        steps,
        after,
        chain.engine,
        tuple(out.spikes for out in found),
    )
    _check(walk.looks, x, chain.network, state)
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
    spikes = tuple(SpikeTimes.unchecked(fired, steps) for fired in times)
    return Result(times, counts, out.logits, out.prediction, None, steps, None, engine, spikes)


def _check(looks: list[_Look], x: Any, network: Network | None, state: State | None) -> None:
    """Raise the error of the first values that are not finite; waits for a GPU, and once.

    In a function that JAX traces there are no values to look at.
    """
    if any(is_traced(look.finite) for look in looks):
        return
    if looks and not bool(functools.reduce(operator.and_, [look.finite for look in looks])):
        bad = next(look for look in looks if not bool(look.finite))
        raise error_of_potential(x, network, state, bad.values, bad.where)
