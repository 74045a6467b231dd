"""A network's parameters: hidden layers of spiking neurons, and a readout."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from . import _file, backends
from ._checks import finite, is_whole, positive, room_for, seeded, working_dtype
from ._decay import InputScale, beta_from_tau
from ._kinds import Neuron
from ._layer import ReadoutKind
from ._namespace import Array, namespace, said
from ._parts import TAU_HIDDEN, TAU_READOUT, Layer, Readout, arrays_of

__all__ = ["TAU_HIDDEN", "TAU_READOUT", "Layer", "Network", "Readout"]


@dataclass(frozen=True, eq=False)
class Network:
    """Hidden layers and a readout; no state, no backend: arrays and how to use them.

    Parameters
    ----------
    layers : sequence of Layer
        Hidden layers, from the input on; may be empty.
    readout : Readout
    dt : float
        The step in ms that the betas stand for; kept with the network for its users.

    Raises
    ------
    ValueError
        If a layer's inputs are not the neurons of the one before.
    TypeError
        If the layers belong to different libraries.

    Examples
    --------
    >>> network = Network.random([784, 200, 10], seed=0)
    >>> network.sizes
    (784, 200, 10)
    """

    layers: tuple[Layer, ...]
    readout: Readout
    dt: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.layers, (tuple, list)):
            raise TypeError(f"layers must be a sequence of Layer, got {type(self.layers).__name__}")
        object.__setattr__(self, "layers", tuple(self.layers))
        parts = (*self.layers, self.readout)
        for i, part in enumerate(self.layers):
            if not isinstance(part, Layer):
                raise TypeError(f"layers[{i}]: expected a Layer, got {type(part).__name__}")
        if not isinstance(self.readout, Readout):
            raise TypeError(f"readout: expected a Readout, got {type(self.readout).__name__}")
        namespace(**{f"the weight of layer {i}": part.weight for i, part in enumerate(parts)})
        for i, (before, after) in enumerate(zip(parts[:-1], parts[1:], strict=True)):
            if after.n_inputs != before.n_neurons:
                raise ValueError(
                    f"layer {i} has {before.n_neurons} neurons and layer {i + 1} expects "
                    f"{after.n_inputs} inputs"
                )
            if after.weight.dtype != before.weight.dtype:
                raise TypeError(
                    f"layer {i} is {before.weight.dtype} and layer {i + 1} {after.weight.dtype}"
                )
        object.__setattr__(self, "dt", positive("dt", self.dt, "ms"))

    @classmethod
    def random(
        cls,
        sizes: Any,
        *,
        seed: Any = None,
        tau: float = TAU_HIDDEN,
        tau_readout: float = TAU_READOUT,
        dt: float = 1.0,
        readout: ReadoutKind = "sum",
        input_scale: InputScale = "unit",
        threshold: float = 1.0,
        dtype: Any = np.float32,
    ) -> Network:
        """Weights from U(-sqrt(1/N), sqrt(1/N)), N inputs, and biases 0, as in the paper.

        Parameters
        ----------
        sizes : sequence of int
            Inputs, hidden layers, classes.
        seed : int or numpy.random.Generator, optional
        tau, tau_readout, dt : float
            Time constants and step in ms.
        dtype : {numpy.float32, numpy.float64}

        Raises
        ------
        ValueError, TypeError
            If a size is no whole number of at least 1, there are fewer than two, or the dtype is
            another.
        """
        sizes = _sizes(sizes)
        dtype = working_dtype(dtype)
        rng = seeded(seed)
        tau, tau_readout = positive("tau", tau, "ms"), positive("tau_readout", tau_readout, "ms")
        threshold = finite("threshold", threshold)

        def parameters(n_in: int, n_out: int, time_constant: float) -> dict[str, Any]:
            bound = math.sqrt(1 / n_in)
            with room_for("weights", n_out, n_in):
                weight = rng.uniform(-bound, bound, (n_out, n_in)).astype(dtype)
            return {
                "weight": weight,
                "bias": np.zeros(n_out, dtype),
                "beta": beta_from_tau(time_constant, dt),
                "input_scale": input_scale,
            }

        hidden = [
            Layer(**parameters(n_in, n_out, tau), threshold=threshold)
            for n_in, n_out in zip(sizes[:-2], sizes[1:-1], strict=True)
        ]
        last = Readout(**parameters(sizes[-2], sizes[-1], tau_readout), kind=readout)
        return cls(tuple(hidden), last, dt)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of inputs, of neurons in each hidden layer, and of classes."""
        parts = (*self.layers, self.readout)
        return (parts[0].n_inputs, *[part.n_neurons for part in parts])

    @property
    def single_spike(self) -> bool:
        """Whether all neurons fire once, without delays, and none is read out by a weighted sum."""
        plain = all(part.neuron == Neuron() and part.delay is None for part in self.layers)
        return plain and self.readout.kind != "weighted"

    @property
    def dtype(self) -> Any:
        return self.readout.weight.dtype

    def to(self, backend: str, device: Any = None) -> Network:
        """The same network with its parameters moved to a backend's arrays."""
        record = backends.get(backend)
        move = record.as_parameter or record.asarray
        device = record.home(self.readout.weight) if device is None else device
        with record.on(device):
            return self._mapped(lambda array: move(array, device), _unchecked)

    def mapped(self, move: Callable[[Array], Array]) -> Network:
        """The same network with every parameter passed through `move`; itself if none changes.

        ``network.mapped(jax.numpy.asarray)`` gives it to a library without a backend.
        """
        if not callable(move):
            raise TypeError(f"move must be a function of an array, got {said(move)}")
        return self._mapped(move, replace)

    def _mapped(self, move: Callable[[Array], Array], changed: Callable[..., Any]) -> Network:
        def moved(part: Any) -> Any:
            held = arrays_of(part)
            arrays = {name: move(array) for name, array in held.items()}
            same = all(arrays[name] is held[name] for name in held)
            return part if same else changed(part, **arrays)

        layers, readout = tuple(map(moved, self.layers)), moved(self.readout)
        parts = zip((*layers, readout), (*self.layers, self.readout), strict=True)
        if all(new is old for new, old in parts):
            return self
        return replace(self, layers=layers, readout=readout)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network as a safetensors file, through a temporary name. See `load`."""
        _file.write(path, _file.Parts(self.layers, self.readout, self.dt))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Network:
        """Read a network written by `save`, as NumPy arrays. No pickle is involved.

        Raises
        ------
        ValueError
            If the file is truncated, foreign, inconsistent, or of a newer format version.
        OSError
            If it cannot be read.
        """
        parts = _file.read(path)
        try:
            return cls(*parts)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{path} does not describe a network: {error}") from error


def _unchecked(part: Any, **arrays: Array) -> Any:
    """`part` with the same arrays elsewhere: checked before, so that no device is waited for."""
    same = object.__new__(type(part))
    for field in fields(part):
        object.__setattr__(same, field.name, arrays.get(field.name, getattr(part, field.name)))
    return same


def _sizes(sizes: Any) -> list[int]:
    try:
        sizes = list(sizes)
    except TypeError:
        raise TypeError(
            f"sizes must be a sequence, inputs, hidden layers and classes, got {sizes!r}"
        ) from None
    if len(sizes) < 2 or not all(is_whole(size) and size >= 1 for size in sizes):
        raise ValueError(
            "sizes must name at least inputs and classes, all whole numbers and all >= 1, "
            f"got {sizes}"
        )
    return [int(size) for size in sizes]
