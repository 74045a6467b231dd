"""What `fit` trains: the type that `FastSNN` and `StandardSNN` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from .._checks import check_iterable, check_neurons, check_time_axis, fraction, is_whole, positive
from .._engine import EngineName
from .._forward._choice import cannot_event
from ..spikes import Events, SpikeTimes, shape_of
from ._options import SavedWhole
from .modules import Activity, DropoutMask, LeakyIntegrator, Readout, as_dense


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
    engine: EngineName  #: how it computes

    def __init__(self, hidden: list[Any], readout: Readout, dt: float) -> None:
        super().__init__()
        _check_chain([*hidden, readout])
        self.layers, self.readout = nn.ModuleList(hidden), readout
        self.dt = dt

    def forward(self, x: Tensor | SpikeTimes | Events, *, return_activity: bool = False) -> Any:
        """Logits (batch, classes) of inputs (batch, inputs, time), dense or sparse.

        With ``return_activity=True`` also an `Activity` of each hidden layer.
        """
        self.check_input(x)
        masks = self.dropout_masks(x)
        run: Any = self.layer_by_layer
        if self.uses_events(x, lambda: self.obstacle(x)):
            run = self.by_events
            if torch.compiler.is_compiling():
                run = torch.compiler.disable(run)  # Dynamo knows neither kernels nor sparse forms
        logits, activities = run(x, masks, return_activity)
        return (logits, activities) if return_activity else logits

    def obstacle(self, x: Any) -> str | None:
        """Why the event engine cannot take `x`, or None."""
        raise NotImplementedError

    def by_events(
        self, x: Any, masks: list[DropoutMask | None], activity: bool
    ) -> tuple[Tensor, list[Activity]]:
        """What `layer_by_layer` gives, by the event engine."""
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

    def uses_events(self, x: Any, obstacle: Callable[[], str | None]) -> bool:
        """Whether the event engine computes `x`; `obstacle` says why it cannot, or None.

        Raises
        ------
        ValueError
            If it cannot and was asked for.
        """
        if self.engine == "dense" or (self.engine == "auto" and isinstance(x, Tensor)):
            return False
        found = obstacle()
        if found is not None and self.engine == "event":
            raise ValueError(cannot_event(found))
        return found is None

    def obstacle_in_layers(self) -> str | None:
        """What the hidden layers have and the event engine has not, or None."""
        if has_hooks(self):
            return "it does not call the hooks of layers"
        if any(layer.surrogate != "fast_sigmoid" for layer in self.hidden()):
            return "its surrogate is the fast sigmoid"
        return None

    def layer_by_layer(
        self, x: Any, masks: list[DropoutMask | None], activity: bool
    ) -> tuple[Tensor, list[Activity]]:
        """Logits, and the activities of hidden layers if they are wanted, on dense trains."""
        spikes, activities = as_dense(x, self.readout.weight), []
        for layer, mask in zip(self.hidden(), masks, strict=True):
            spikes = layer(spikes)
            if activity:
                activities.append(Activity.of(spikes))
            spikes = spikes if mask is None else mask(spikes)
        return self.readout(spikes), activities

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
