"""Networks whose weights are integers of a few bits."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._checks import whole
from .._namespace import said, to_numpy
from .._storage import Format, as_path
from ..network import Layer, Network, Readout
from ._parts import check_single_spike

_FORMAT = Format("quantised network", version=1)


@dataclass(frozen=True, eq=False)
class Quantised:
    """Integer weights, one scale per neuron, and the network that they make.

    `quantised` makes it. ``network`` has the weights ``scale * integer`` as floats and runs
    everywhere; files hold the integers.
    """

    network: Network  #: of NumPy arrays
    integers: tuple[Any, ...]  #: int8 or int16 (neurons, inputs) per part, the readout last
    scales: tuple[Any, ...]  #: (neurons,) per part
    bits: int

    @property
    def weight_bytes(self) -> int:
        """Bytes that the weights take at this number of bits, and their scales."""
        count = sum(int(array.size) for array in self.integers)
        return -(-count * self.bits // 8) + sum(int(array.nbytes) for array in self.scales)

    def __repr__(self) -> str:
        sizes = "-".join(map(str, self.network.sizes))
        return f"Quantised({sizes}, {self.bits} bits, weights of {self.weight_bytes:,} bytes)"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write integers, scales, biases and betas as a safetensors file. See `load`."""
        check_single_spike(self.network, "a file of integer weights")
        arrays: dict[str, Any] = {}
        for i, part in enumerate((*self.network.layers, self.network.readout)):
            arrays[f"{i}.integers"], arrays[f"{i}.scale"] = self.integers[i], self.scales[i]
            arrays[f"{i}.beta"] = np.ascontiguousarray(part.beta)
            if part.bias is not None:
                arrays[f"{i}.bias"] = np.ascontiguousarray(part.bias)
        layers = [
            {"input_scale": layer.input_scale, "threshold": layer.threshold}
            for layer in self.network.layers
        ]
        last = self.network.readout
        header = {
            "bits": self.bits,
            "dt": self.network.dt,
            "layers": layers,
            "readout": {"input_scale": last.input_scale, "kind": last.kind},
        }
        _FORMAT.write(path, header, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Quantised:
        """Read what `save` wrote. No pickle is involved.

        Raises
        ------
        ValueError
            If the file is truncated, foreign or inconsistent.
        OSError
            If it cannot be read.
        """
        path = as_path(path)
        header, arrays = _FORMAT.read(path)
        try:
            bits = _checked_bits(header["bits"])
            layers = [
                Layer(**_fields(arrays, i, bits), **options)
                for i, options in enumerate(header["layers"])
            ]
            readout = Readout(**_fields(arrays, len(layers), bits), **header["readout"])
            network = Network(tuple(layers), readout, header["dt"])
        except KeyError as error:
            raise ValueError(f"{path} does not describe a network: it lacks {error}") from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} does not describe a network: {error}") from error
        numbers = range(len(layers) + 1)
        return cls(
            network,
            tuple(arrays[f"{i}.integers"] for i in numbers),
            tuple(arrays[f"{i}.scale"] for i in numbers),
            bits,
        )


def quantised(network: Network, bits: int) -> Quantised:
    """Round weights to integers of `bits` bits, with one scale per neuron; biases stay as they are.

    A neuron's scale is its largest weight over 2^(bits-1) - 1, so that weights are symmetric about
    0 and 0 stays 0.

    Parameters
    ----------
    network : Network
    bits : int
        2 to 16.

    Returns
    -------
    Quantised
        ``.network`` is the network to run, ``.save(path)`` writes the integers.

    Raises
    ------
    ValueError
        If `bits` is out of range.

    Examples
    --------
    >>> small = quantised(Network.random([784, 200, 10], seed=0), 4)
    >>> small
    Quantised(784-200-10, 4 bits, weights of 80,240 bytes)
    >>> int(small.integers[0].max())
    7
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {said(network)}")
    bits = _checked_bits(bits)
    network = network.mapped(to_numpy)
    pairs = [_rounded(part.weight, bits) for part in (*network.layers, network.readout)]
    layers = [
        replace(layer, weight=_weights(*pair))
        for layer, pair in zip(network.layers, pairs[:-1], strict=True)
    ]
    readout = replace(network.readout, weight=_weights(*pairs[-1]))
    integers, scales = zip(*pairs, strict=True)
    return Quantised(
        replace(network, layers=tuple(layers), readout=readout), integers, scales, bits
    )


def _rounded(weight: Any, bits: int) -> tuple[Any, Any]:
    """Integers (neurons, inputs) and the scale of each neuron."""
    scale = np.abs(weight).max(axis=1) / (2 ** (bits - 1) - 1)
    scale = np.where(scale > 0, scale, 1).astype(weight.dtype)
    integers = np.rint(weight / scale[:, None]).astype(np.int8 if bits <= 8 else np.int16)
    return integers, scale


def _weights(integers: Any, scale: Any) -> Any:
    return integers.astype(scale.dtype) * scale[:, None]


def _checked_bits(bits: Any) -> int:
    return whole("bits", bits, at_least=2, below=17)


def _fields(arrays: dict[str, Any], part: int, bits: int) -> dict[str, Any]:
    """The arrays of one part of a file, the weights made of integers within their bits."""
    integers, scale = arrays[f"{part}.integers"], arrays[f"{part}.scale"]
    most = 2 ** (bits - 1) - 1
    if integers.ndim != 2 or integers.dtype.kind != "i" or scale.shape != integers.shape[:1]:
        raise ValueError(f"{part}.integers must be integers (neurons, inputs), each row scaled")
    if integers.size and not (integers.min() >= -most and integers.max() <= most):
        raise ValueError(f"{part}.integers must lie in {-most} ... {most}, as {bits} bits do")
    return {
        "weight": _weights(integers, scale),
        "bias": arrays.get(f"{part}.bias"),
        "beta": arrays[f"{part}.beta"],
    }
