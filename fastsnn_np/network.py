"""A network's parameters: hidden layers of spiking neurons, and a readout."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from . import backends
from ._checks import finite, is_whole, positive, room_for, seeded, working_dtype
from ._decay import InputScale, beta_from_tau
from ._kinds import Neuron
from ._layer import ReadoutKind
from ._namespace import Array, namespace, said, to_numpy
from ._parts import ARRAYS, TAU_HIDDEN, TAU_READOUT, Layer, Readout, arrays_of
from ._storage import Format

__all__ = ["TAU_HIDDEN", "TAU_READOUT", "Layer", "Network", "Readout"]

_FORMAT = Format("network", version=1)
_NOT_IN_FILES = ("neuron", "recurrent", "rho", "a", "b", "delay", "gamma")
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


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
        arrays: dict[str, Any] = {}
        layers = [_described(part, f"layers.{i}", arrays) for i, part in enumerate(self.layers)]
        readout = _described(self.readout, "readout", arrays)
        _FORMAT.write(path, {"dt": self.dt, "layers": layers, "readout": readout}, arrays)

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
        header, arrays = _FORMAT.read(path)
        try:
            if not isinstance(header["layers"], list):
                raise TypeError(f"its layers are no list, but {type(header['layers']).__name__}")
            layers = [
                Layer(**_group(arrays, f"layers.{i}"), **_options(Layer, options))
                for i, options in enumerate(header["layers"])
            ]
            readout = Readout(**_group(arrays, "readout"), **_options(Readout, header["readout"]))
            if arrays:
                raise ValueError(f"it holds arrays that no layer has: {', '.join(sorted(arrays))}")
            return cls(tuple(layers), readout, header["dt"])
        except KeyError as error:
            raise ValueError(f"{path} does not describe a network: it lacks {error}") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{path} does not describe a network: {error}") from error


def _unchecked(part: Any, **arrays: Array) -> Any:
    """`part` with the same arrays elsewhere: checked before, so that no device is waited for."""
    same = object.__new__(type(part))
    for field in fields(part):
        object.__setattr__(same, field.name, arrays.get(field.name, getattr(part, field.name)))
    return same


def _described(part: Layer | Readout, prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    """The options of a part for the file's header; its arrays go to `arrays`."""
    options = {}
    for field in fields(part):
        value = getattr(part, field.name)
        if field.name in _NOT_IN_FILES:
            if not (value is None or (isinstance(value, Neuron) and value == Neuron())):
                raise ValueError(
                    f"{prefix}.{field.name}: a file of format version 1 holds layers of neurons "
                    "that fire once, without delays, and readouts by the sum or the maximum"
                )
        elif field.name not in ARRAYS:
            options[field.name] = value
        elif value is not None:
            arrays[f"{prefix}.{field.name}"] = np.ascontiguousarray(to_numpy(value))
    return options


def _group(arrays: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The arrays of one part, taken out of a file's, and all of the dtype they were saved in."""
    group = {name: arrays.pop(f"{prefix}.{name}") for name in ("weight", "beta")}
    group["bias"] = arrays.pop(f"{prefix}.bias", None)
    dtype = group["weight"].dtype
    for name, array in group.items():
        if array is not None and not (array.dtype == dtype and dtype in _DTYPES):
            raise TypeError(
                f"{prefix}.{name} is {array.dtype}: weight, bias and beta of a part are all "
                "float32 or all float64"
            )
    return group


def _options(kind: type[Layer | Readout], options: Any) -> dict[str, Any]:
    """The options of one part in a file's header: each of those that `save` writes."""
    if not isinstance(options, dict):
        raise TypeError(f"a {kind.__name__}'s options are no object, but {options!r:.80}")
    for field in fields(kind):
        if field.name not in (*ARRAYS, *_NOT_IN_FILES) and field.name not in options:
            raise ValueError(f"a {kind.__name__} lacks {field.name!r}")
    return options


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
