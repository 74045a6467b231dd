"""Networks whose neurons fire again and again, trained by the event engine or in a plain loop.

The equations, forward and backward, are those of the design, section 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self, Unpack

from torch import Tensor

from .. import network as _network
from .._checks import check_option, positive
from ..network import TAU_READOUT
from . import spiking_events
from ._arguments import check_part
from ._model import Model, checked_sizes
from ._options import SPIKING, SpikingGradientOptions, SpikingOptions, complete
from .event import obstacle_of
from .modules import Activity, DropoutMask
from .spiking_events import Weighing
from .spiking_modules import SpikingLIF, WeightedReadout


class SpikingSNN(Model):
    """Hidden layers of `SpikingLIF` and a `WeightedReadout`.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, neurons of each hidden layer, classes.
    tau_readout : float
        Time constant of the readout in ms.
    tau_weight : float or None
        In ms, as in `WeightedReadout`.
    dropout : float
        Probability that all spikes of a hidden neuron of a sample are dropped in training, on the
        way to the next layer.
    engine : {"event", "dense"}
        "event" computes spikes and gradients at a cost that follows the spikes, on the CPU, without
        any dense train; "dense" in the plain loop over time that Torch differentiates.
    neuron, recurrent, tau, dt, bias, learn_beta, share_beta, threshold, input_scale, slope,
    support, detach_reset, tau_adaptation, device, dtype
        As in `SpikingLIF`, for every hidden layer.

    Examples
    --------
    >>> import torch
    >>> from fastsnn_np import Neuron
    >>> model = SpikingSNN([700, 64, 20], neuron=Neuron("always", adaptation="current"), dt=4.0)
    >>> model(torch.zeros(5, 700, 50)).shape
    torch.Size([5, 20])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        tau_readout: float = TAU_READOUT,
        tau_weight: float | None = None,
        dropout: float = 0.0,
        engine: Literal["event", "dense"] = "event",
        **options: Unpack[SpikingOptions],
    ) -> None:
        options = complete(options, SPIKING, type(self).__name__)
        check_option("engine", engine, Literal["event", "dense"])
        sizes = checked_sizes(sizes)
        hidden = [
            SpikingLIF(n_in, n_out, **options)
            for n_in, n_out in zip(sizes[:-2], sizes[1:-1], strict=True)
        ]
        last = WeightedReadout(
            *sizes[-2:],
            tau=positive("tau_readout", tau_readout, "ms"),
            tau_weight=tau_weight,
            dt=options["dt"],
            device=options["device"],
            dtype=options["dtype"],
        )
        super().__init__(hidden, last, options["dt"])
        self.dropout, self.engine = dropout, engine

    def obstacle(self, x: Any) -> str | None:
        return obstacle_of(x, self.readout.weight)

    def by_events(
        self, x: Any, masks: list[DropoutMask | None], activity: bool
    ) -> tuple[Tensor, list[Activity]]:
        last: Any = self.readout
        hidden, end = [layer.for_events() for layer in self.hidden()], Weighing(last.profile)
        return spiking_events.run(x, hidden, last, end, masks, activity)

    def to_network(self) -> _network.Network:
        """The same network as NumPy arrays, bit for bit, for `fastsnn_np.forward` and files."""
        hidden = tuple(layer.to_layer() for layer in self.hidden())
        return _network.Network(hidden, self.readout.to_readout(), self.dt)

    @classmethod
    def from_network(
        cls,
        network: _network.Network,
        *,
        learn_beta: bool = True,
        engine: Literal["event", "dense"] = "event",
        device: Any = None,
        **options: Unpack[SpikingGradientOptions],
    ) -> Self:
        """A module with the parameters of a `fastsnn_np.Network`, bit for bit.

        Parameters
        ----------
        learn_beta : bool
            Whether the betas of hidden layers are learnt.
        engine
            As in `SpikingSNN`.
        network, device
            As in `FastSNN.from_network`.
        slope, support, detach_reset
            As in `SpikingLIF`; they are no part of a network.

        Raises
        ------
        ValueError
            If a layer or the readout is none of these modules'; see `SpikingLIF.from_layer` and
            `WeightedReadout.from_readout`.
        """
        check_part("network", network, _network.Network)
        check_option("engine", engine, Literal["event", "dense"])
        hidden = [
            SpikingLIF.from_layer(layer, learn_beta=learn_beta, device=device, **options)
            for layer in network.layers
        ]
        last = WeightedReadout.from_readout(network.readout, device=device)
        model = cls.__new__(cls)
        Model.__init__(model, hidden, last, network.dt)
        model.dropout, model.engine = 0.0, engine
        return model
