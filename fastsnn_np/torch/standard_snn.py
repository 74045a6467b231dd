"""The standard, multi-spike SNN that FastSNN is compared with (eq. 2): one step after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from .. import network as _network
from .._checks import flag
from .._engine import EngineName
from .._kinds import Neuron
from .._layer import ReadoutKind
from ..backends.event.spiking_layers import Surrogate
from . import spiking_events
from ._arguments import fitted_initial
from ._model import Model, checked_sizes
from ._options import STANDARD, StandardOptions, complete, for_readout, one_of
from .event import obstacle_of
from .functional import spike
from .modules import Activity, DropoutMask, LeakyIntegrator, Readout, name_of
from .spiking_events import EventLayer, Potential

_NEURON = Neuron("always", reset="subtract", reset_at="after decay")  # eq. 2


class StandardLIF(LeakyIntegrator):
    """Leaky integrate-and-fire neurons that may fire at every step.

    V[t+1] = beta V[t] + scale I[t+1] - theta S[t] (eq. 2): the reset, by subtraction, is felt one
    step after the spike. The currents of all steps are computed before the loop over time.

    Parameters
    ----------
    n_inputs, n_neurons, tau, dt, bias, share_beta, threshold, device, dtype
        As in `FastLIF`.
    learn_beta, input_scale
        As in `FastLIF`, but that `learn_beta` is False and `input_scale` "normalised" unless given.
    slope, surrogate
        As in `spike`; the slope is 100 unless given.
    detach_reset : bool
        Whether gradients stop at the reset; the paper does not say, and by default they go through.
    single_spike : bool
        Whether a neuron is silenced after its first spike, sequentially: the same spikes as
        `FastLIF`, though not the same gradient.

    Examples
    --------
    >>> StandardLIF(3, 2)(torch.ones(1, 3, 5)).shape
    torch.Size([1, 2, 5])
    """

    checks: ClassVar[dict[str, Callable[[str, Any], Any]]] = {
        **LeakyIntegrator.checks,
        "detach_reset": flag,
        "single_spike": flag,
    }
    defaults: ClassVar[Mapping[str, Any]] = STANDARD

    def __init__(self, n_inputs: int, n_neurons: int, **options: Unpack[StandardOptions]) -> None:
        options = complete(options, STANDARD, type(self).__name__)
        super().__init__(n_inputs, n_neurons, options)
        self.threshold, self.slope = options["threshold"], options["slope"]
        self.surrogate = options["surrogate"]
        self.detach_reset = options["detach_reset"]
        self.single_spike = options["single_spike"]

    def forward(self, x: Tensor, initial_potential: Tensor | None = None) -> Tensor:
        """Spikes (..., neurons, time) of inputs (..., inputs, time)."""
        beta = self.clamped_beta()
        current = self.current(x)
        if self.input_scale == "normalised":
            current = current * (1 - beta)[:, None]
        # Time first and contiguous: every step reads and writes one stretch of memory. `unbind`,
        # not indexing, whose backward pass would fill a whole tensor of zeros at every step.
        steps = current.movedim(-1, 0).contiguous().unbind(0)
        v = torch.zeros_like(steps[0])
        if initial_potential is not None:
            v = fitted_initial(initial_potential, current)
        run = self._silenced if self.single_spike else self._with_reset
        return torch.stack(run(steps, v, beta)).movedim(0, -1)

    def _with_reset(self, steps: Any, v: Tensor, beta: Tensor) -> list[Tensor]:
        spikes, reset = [], None
        for current in steps:
            v = beta * v + current if reset is None else beta * v + current - reset
            s = spike(v, self.threshold, slope=self.slope, surrogate=self.surrogate)
            spikes.append(s)
            reset = s.detach() if self.detach_reset else s
            reset = reset if self.threshold == 1 else self.threshold * reset
        return spikes

    def _silenced(self, steps: Any, v: Tensor, beta: Tensor) -> list[Tensor]:
        spikes, silent = [], torch.ones_like(steps[0])
        for current in steps:
            v = beta * v + current
            s = spike(v, self.threshold, slope=self.slope, surrogate=self.surrogate) * silent
            silent = silent * (1 - s.detach())
            spikes.append(s)
        return spikes

    def for_events(self) -> EventLayer:
        """The layer as the event engine takes it."""
        return EventLayer(
            _NEURON,
            self.threshold,
            self.input_scale,
            Surrogate(self.slope, through=not self.detach_reset),
            (self.weight, self.bias, self.clamped_beta(), None, None, None, None),
        )

    def settings(self) -> dict[str, Any]:
        return {
            **super().settings(),
            "threshold": self.threshold,
            "slope": self.slope,
            "surrogate": name_of(self.surrogate),
            "detach_reset": self.detach_reset,
            "single_spike": self.single_spike,
        }


class StandardSNN(Model):
    """Hidden layers of `StandardLIF` and a `Readout`: the paper's baseline, with its defaults.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, neurons of each hidden layer, classes.
    tau_readout : float
        Time constant of the readout in ms.
    readout : {"max", "sum"}
    engine : {"auto", "dense", "event"}
        "event" computes on the events, on the CPU, at a cost that follows the spikes; "dense" one
        step after another on tensors of any device. "auto" takes the event engine for `SpikeTimes`
        and `Events` where it can, and the loop otherwise. Spikes and gradients are the same but for
        rounding.
    tau, dt, bias, learn_beta, share_beta, threshold, input_scale, slope, surrogate, detach_reset,
    single_spike, device, dtype
        As in `StandardLIF`, for every hidden layer; and for the readout what it has of them, but
        tau.

    Examples
    --------
    >>> StandardSNN([784, 200, 10])(torch.zeros(5, 784, 20)).shape
    torch.Size([5, 10])
    """

    checks: ClassVar[dict[str, Callable[[str, Any], Any]]] = {
        **Model.checks,
        "engine": one_of(EngineName),
    }

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        tau_readout: float = _network.TAU_READOUT,
        readout: ReadoutKind = "max",
        engine: EngineName = "auto",
        **options: Unpack[StandardOptions],
    ) -> None:
        options = complete(options, STANDARD, type(self).__name__)
        sizes = checked_sizes(sizes)
        hidden = [
            StandardLIF(n_in, n_out, **options)
            for n_in, n_out in zip(sizes[:-2], sizes[1:-1], strict=True)
        ]
        last = Readout(*sizes[-2:], **for_readout(options, tau_readout, readout))
        super().__init__(hidden, last, options["dt"])
        self.engine = engine

    def by_events(
        self, x: Any, masks: list[DropoutMask | None], activity: bool
    ) -> tuple[Tensor, list[Activity]]:
        hidden, last = [layer.for_events() for layer in self.hidden()], self.readout
        end = Potential(last.input_scale, summed=last.kind == "sum")
        return spiking_events.run(x, hidden, last, end, masks, activity)

    def obstacle(self, x: Any) -> str | None:
        if any(layer.single_spike for layer in self.hidden()):
            return "neurons that fire once are those of FastSNN"
        if torch.is_autocast_enabled("cpu"):
            return "it computes in the dtype of the weights, without autocast"
        return self.obstacle_in_layers() or obstacle_of(x, self.readout.weight)
