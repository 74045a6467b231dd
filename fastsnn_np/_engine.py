"""What an engine is, and the dense one.

A backend says where arrays live, an engine how a layer is computed: ``dense`` by the core, on the
Array API; ``event`` at a cost that follows the spikes, ``dense kernel`` in one fused pass (both in
``backends.event``). Which one a run takes is decided in ``_forward``.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

from ._decay import InputScale
from ._layer import LayerOutput, ReadoutKind, ReadoutOutput, layer, readout
from ._namespace import Array

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
    is_finite: bool  #: whether all of them are


class PreparedNetwork(Protocol):
    """Hidden layers and a readout that are computed in one call."""

    def __call__(self, x: Any) -> NetworkOutput:
        """Spike times and logits of an input (batch, inputs, time), in any form."""


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
    """The core on the Array API, for arrays of any library."""

    name = "dense"
    takes_sparse = False
    methods = ("block", "fft")

    def layer(
        self, weight: Array | None, bias: Array | None, options: LayerOptions, *, method: str
    ) -> PreparedLayer:
        run: PreparedLayer = with_parameters(
            layer, weight, bias, {**options._asdict(), "method": method}
        )
        return run

    def readout(
        self, weight: Array, bias: Array | None, options: ReadoutOptions
    ) -> PreparedReadout:
        run: PreparedReadout = with_parameters(readout, weight, bias, options._asdict())
        return run

    def network(self, hidden: list[LayerPart], readout: ReadoutPart) -> PreparedNetwork | None:
        return None


def with_parameters(
    function: Any, weight: Array | None, bias: Array | None, options: dict[str, Any]
) -> Any:
    """A layer or readout function made a prepared one, where every step is always computed."""

    def run(x: Any, *, to_the_end: bool = False, **more: Any) -> Any:
        return function(x, weight, bias, **options, **more)

    return run


DENSE: Engine = _Dense()
