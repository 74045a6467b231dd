"""Neurons that fire again and again, on any array library (the design, section 9).

Every kind of neuron goes step by step, in one plain loop over time. Neurons with a refractory
period go block by block: in a block of at most one step more than the period a neuron fires at most
once, so that its potential is that of `decay`, and nothing in the block has to wait for its reset.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ._currents import currents, densely
from ._decay import by_plan, plan_of
from ._first_spike import first_true
from ._namespace import Array, as_dtype, device_of, is_array, namespace
from ._parts import Layer
from .spikes import Events, SpikeTimes


class Standing(NamedTuple):
    """Where neurons stand between two steps; arrays are (batch, neurons)."""

    potential: Array  #: u of the step before, whose reset is still to come
    fired: Array  #: bool: whether they fired at the step before
    closed: Array  #: int32: number of steps in which they may not fire
    adaptation: Array | None  #: w of the step before, of neurons that adapt


class SpikingOutput(NamedTuple):
    """What a layer of such neurons gives."""

    spikes: Any  #: bool (batch, neurons, time); `Events` if the event engine computed it
    times: Array  #: int32 (batch, neurons), first spike step; the number of steps if silent
    counts: Array  #: int32 (batch,), number of spikes
    final: Standing | None  #: after the last step; None if the engine does not keep it
    potential: Array | None  #: (batch, neurons, time) if it was asked for


def goes_in_blocks(layer: Layer) -> bool:
    """Whether a layer can be computed block by block."""
    return layer.neuron.refractory > 0 and not layer.neuron.adapts and layer.recurrent is None


def spiking(
    x: Array | SpikeTimes | Events,
    layer: Layer,
    *,
    before: Standing | None = None,
    return_potential: bool = False,
    goes_on: bool = False,
) -> SpikingOutput:
    """The spikes of a layer whose neurons fire again and again, without its delays.

    Parameters
    ----------
    x : array (batch, inputs, time), SpikeTimes or Events
        Of the library of the layer.
    before : Standing, optional
        Where the neurons stand; at rest unless given.
    return_potential : bool
        Whether u at every step is returned too.
    goes_on : bool
        Whether to take one step after the other also where blocks would do: this gives the same
        bits however a recording is cut.
    """
    run, xp = _Run(layer), namespace(weight=layer.weight)
    way = run.in_blocks if goes_in_blocks(layer) and not goes_on else run.by_steps
    trains, potential, final = way(x, before, return_potential)
    counts = xp.sum(xp.astype(trains, xp.int32), axis=(1, 2), dtype=xp.int32)
    return SpikingOutput(trains, first_true(xp, trains), counts, final, potential)


class _Run:
    """The two ways through a layer. Nothing outlives a call, which JAX may be tracing."""

    def __init__(self, layer: Layer) -> None:
        self.xp = xp = namespace(weight=layer.weight)
        self.layer, self.neuron = layer, layer.neuron
        self._is_early = layer.neuron.reset_at == "before decay"
        self.beta: Any = layer.beta
        self.theta: Any = layer.threshold
        if not is_array(self.theta):
            self.theta = xp.full_like(self.beta, self.theta)

    def _start(self, batch: int) -> Standing:
        """Neurons at rest."""
        xp, like = self.xp, self.layer.weight
        shape, device = (batch, self.layer.n_neurons), device_of(like)
        zero = xp.zeros(shape, dtype=like.dtype, device=device)
        return Standing(
            zero,
            xp.zeros(shape, dtype=xp.bool, device=device),
            xp.zeros(shape, dtype=xp.int32, device=device),
            zero if self.neuron.adapts else None,
        )

    def _taken(self, potential: Array, fired: Array) -> Array | None:
        """The reset r: what the spikes of a step take from the potential."""
        if self.neuron.reset == "none":
            return None
        xp, zero = self.xp, self.xp.zeros_like(potential)
        return xp.where(fired, potential if self.neuron.reset == "zero" else self.theta, zero)

    def by_steps(self, x: Any, before: Standing | None, keep: bool) -> Any:
        """All steps in a plain loop; products are taken step by step, whatever their number."""
        xp, layer = self.xp, self.layer
        if isinstance(x, (SpikeTimes, Events)):
            x = densely(x, layer.weight)
        x = xp.permute_dims(as_dtype(xp, x, layer.weight.dtype), (2, 0, 1))
        x = xp.reshape(x, x.shape, copy=True)
        now = self._start(x.shape[1]) if before is None else before
        by_input = xp.permute_dims(layer.weight, (1, 0))
        trains, potentials = [], []
        for t in range(x.shape[0]):
            now = self._step(xp.matmul(x[t, ...], by_input), now)
            trains.append(now.fired)
            potentials += [now.potential] if keep else []
        return xp.stack(trains, axis=-1), xp.stack(potentials, axis=-1) if keep else None, now

    def _step(self, current: Array, now: Standing) -> Standing:
        """One step on; `current` is that of the input."""
        xp, layer, kind = self.xp, self.layer, self.neuron
        u, fired, closed, w = now
        if layer.bias is not None:
            current = current + layer.bias
        if layer.recurrent is not None:
            spikes = xp.astype(fired, current.dtype)
            current = current + xp.matmul(spikes, xp.permute_dims(layer.recurrent, (1, 0)))
        if layer.input_scale == "normalised":
            current = current * (1 - self.beta)
        if w is not None:
            w = layer.rho * w + xp.where(fired, layer.b, xp.zeros_like(w))
            if kind.adaptation == "current":
                w = w + layer.a * u
                current = current - w
        r = self._taken(u, fired)
        if r is None:
            u = self.beta * u + current
        elif self._is_early:
            u = self.beta * (u - r) + current
        else:
            u = self.beta * u - r + current
        level = u - self.theta
        fired = (level - w if kind.adaptation == "threshold" else level) > 0
        if kind.refractory:
            fired = fired & (closed == 0)
            period = xp.full_like(closed, kind.refractory)
            closed = xp.where(fired, period, xp.where(closed > 0, closed - 1, closed))
        return Standing(u, fired, closed, w)

    def in_blocks(self, x: Any, before: Standing | None, keep: bool) -> Any:
        """Blocks of at most one step more than the refractory period."""
        xp, layer = self.xp, self.layer
        x = x if isinstance(x, (SpikeTimes, Events)) else as_dtype(xp, x, layer.weight.dtype)
        current = currents(x, layer.weight, layer.bias)
        steps = current.shape[-1]
        size = min(self.neuron.refractory, steps - 1) + 1
        plan = plan_of(xp, self.beta, size, layer.input_scale)
        now = self._start(current.shape[0]) if before is None else before
        trains, potentials = [], []
        for start in range(0, steps, size):
            part = current[..., start : min(start + size, steps)]
            if part.shape[-1] < size:
                plan = plan_of(xp, self.beta, part.shape[-1], layer.input_scale)
            v = by_plan(xp, part, plan, self._reset(now))
            fired, v, now = self._block(v, now, keep)
            trains.append(fired)
            potentials += [v] if keep else []
        return xp.concat(trains, axis=-1), xp.concat(potentials, axis=-1) if keep else None, now

    def _reset(self, now: Standing) -> Array:
        """The potential from which the next step decays."""
        r = self._taken(now.potential, now.fired)
        if r is None:
            return now.potential
        return now.potential - (r if self._is_early else r / self.beta)

    def _block(self, v: Array, now: Standing, keep: bool) -> tuple[Array, Array, Standing]:
        """Spikes of a block whose potential without resets is `v`, `v` with them, and the end."""
        xp, steps = self.xp, v.shape[-1]
        offset = xp.arange(steps, dtype=xp.int32, device=device_of(v))
        crossing = (v > self.theta[:, None]) & (offset >= now.closed[..., None])
        first = first_true(xp, crossing)  # `steps` if there is none
        fired = offset == first[..., None]
        if self.neuron.reset != "none":
            at_spike = xp.sum(xp.where(fired, v, xp.zeros_like(v)), axis=-1)
            r: Any = self._taken(at_spike, first < steps)
            after = offset if keep else offset[-1:]  # the steps whose potential is wanted
            lag = after - first[..., None] - (0 if self._is_early else 1)
            felt = xp.where(after > first[..., None], lag, xp.zeros_like(lag))
            power = self.beta[:, None] ** xp.astype(felt, v.dtype)
            v = v if keep else v[..., -1:]
            v = v - xp.where(after > first[..., None], power * r[..., None], xp.zeros_like(v))
        ahead = first + (1 - steps) + self.neuron.refractory  # in this order it fits int32
        ahead = xp.where(first < steps, ahead, now.closed - steps)
        closed = xp.where(ahead > 0, ahead, xp.zeros_like(ahead))
        return fired, v, Standing(v[..., -1] + 0, fired[..., -1], closed, None)
