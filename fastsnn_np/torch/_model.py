"""What `fit` trains: the type that `FastSNN` and `StandardSNN` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.utils import prune

from .._checks import check_iterable, check_neurons, check_time_axis, fraction, is_whole, positive
from ..spikes import Events, SpikeTimes, shape_of
from ._options import SavedWhole
from .modules import DropoutMask, LeakyIntegrator, Readout


class Model(SavedWhole):
    """Hidden layers and a readout, from spikes to logits.

    Parameters
    ----------
    hidden : sequence of LeakyIntegrator
        The hidden layers, from the input on.
    readout : Readout
    dt : float
        The step in ms, positive.

    Raises
    ------
    ValueError
        If the layers do not fit one another, or are of different dtypes or devices.
    """

    checks: ClassVar[dict[str, Callable[[str, Any], Any]]] = {
        "dropout": fraction,
        "dt": lambda name, value: positive(name, value, "ms"),
    }
    defaults: ClassVar[Mapping[str, Any]] = {"dt": 1.0, "skip": False, "dropout": 0.0}
    readout: Readout
    dropout: float = 0.0  #: probability that a hidden neuron's spike is dropped in training
    skip: bool = False  #: whether hidden layers pass their inputs on beside their spikes

    def __init__(self, hidden: list[Any], readout: Readout, dt: float) -> None:
        super().__init__()
        _check_chain([*hidden, readout])
        self.layers, self.readout = nn.ModuleList(hidden), readout
        self.dt = dt

    def forward(self, x: Tensor | SpikeTimes | Events, *, return_activity: bool = False) -> Any:
        """Logits (batch, classes), and with `return_activity` the `Activity` of hidden layers."""
        raise NotImplementedError

    def check_input(self, x: Any) -> None:
        """Refuse what is no spikes of as many neurons as there are inputs.

        Raises
        ------
        TypeError
            If `x` is in none of the three forms.
        ValueError
            If it has other axes or another number of neurons.
        """
        if not isinstance(x, (Tensor, SpikeTimes, Events)):
            raise TypeError(
                f"x must be a tensor, SpikeTimes or Events, got {type(x).__name__}: "
                "torch.from_numpy(...) makes a tensor"
            )
        if isinstance(x, Tensor):
            check_time_axis("x", x)
        inputs = x.shape[-2] if isinstance(x, Tensor) else x.n_neurons
        check_neurons(inputs, self.sizes[0], "the model")

    def hidden(self) -> list[Any]:
        """The hidden layers, from the input on."""
        return list(self.layers)

    def dropout_masks(self, x: Tensor | SpikeTimes | Events) -> list[DropoutMask | None]:
        """A mask for each hidden layer, or none outside training."""
        if not (self.training and self.dropout):
            return [None] * len(self.layers)
        batch = x.shape[:-2].numel() if isinstance(x, Tensor) else shape_of(x).batch
        return [
            DropoutMask.draw(batch, len(layer.weight), self.dropout, layer.weight.device)
            for layer in self.hidden()
        ]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of inputs, of neurons in each hidden layer, and of classes."""
        weights = [part.weight for part in (*self.hidden(), self.readout)]
        return (weights[0].shape[1], *[weight.shape[0] for weight in weights])

    def meaning(self) -> dict[str, Any]:
        return {"dt": self.dt, "skip": self.skip}

    def architecture(self) -> dict[str, Any]:
        """What two models must share for the parameters of one to mean the same in the other."""
        found: dict[str, Any] = {"model": type(self).__name__, "sizes": list(self.sizes)}
        for name, part in self._named_parts():
            found |= {f"{name}.{key}": value for key, value in part.settings().items()}
        return {**found, "skip": self.skip, "dropout": self.dropout}

    def architecture_defaults(self) -> dict[str, Any]:
        """What is in an `architecture` where no option was given, by the same names."""
        found = dict(self.defaults)
        for name, part in self._named_parts():
            found |= {f"{name}.{key}": value for key, value in part.defaults.items()}
        return found

    def _named_parts(self) -> list[tuple[str, LeakyIntegrator]]:
        named = [(f"layers.{i}", layer) for i, layer in enumerate(self.hidden())]
        return [*named, ("readout", self.readout)]


def checked_sizes(sizes: Any) -> list[int]:
    """Numbers of inputs, of neurons in each hidden layer, and of classes."""
    check_iterable("sizes", sizes, "whole numbers")
    sizes = list(sizes)
    if any(isinstance(size, nn.Module) for size in sizes):
        raise TypeError("sizes are whole numbers; FastSNN.from_modules(...) takes modules")
    if len(sizes) < 2 or not all(is_whole(size) and size >= 1 for size in sizes):
        raise ValueError(
            "sizes must name at least inputs and classes, in whole numbers of at least 1, "
            f"got {sizes}"
        )
    if max(sizes) >= 2**31:
        raise ValueError(f"sizes must be whole numbers below 2^31, got {sizes}")
    return list(map(int, sizes))


def _check_chain(parts: list[LeakyIntegrator]) -> None:
    for i, (below, above) in enumerate(zip(parts[:-1], parts[1:], strict=True)):
        if above.weight.shape[1] != below.weight.shape[0]:
            raise ValueError(
                f"layer {i} has {below.weight.shape[0]} neurons and layer {i + 1} expects "
                f"{above.weight.shape[1]} inputs"
            )
    kinds = {f"{part.weight.dtype} on {part.weight.device}" for part in parts}
    if len(kinds) > 1:
        raise ValueError(f"the modules are not alike: {' and '.join(sorted(kinds))}")


def has_hooks(model: Model) -> bool:
    """Whether a layer has hooks that look at what it takes or gives, which pruning does not."""
    for part in (*model.hidden(), model.readout):
        before = part._forward_pre_hooks.values()
        if part._forward_hooks or not all(isinstance(h, prune.BasePruningMethod) for h in before):
            return True
    return False
