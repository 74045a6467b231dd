"""The file of a network: arrays by name, and a header that says what its layers are.

Version 1 of the format knows neurons that fire once, without delays, and readouts by the sum or the
maximum. It is still written for such networks, which earlier checkouts read. Version 2 knows all.
"""

from __future__ import annotations

import os
from dataclasses import asdict, fields
from typing import Any, NamedTuple

import numpy as np

from ._kinds import Neuron
from ._namespace import to_numpy
from ._parts import Layer, Readout, arrays_of
from ._storage import Format

_FORMAT = Format("network", version=2, oldest=1)
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


class Parts(NamedTuple):
    """What a file holds, as it is in it."""

    layers: tuple[Layer, ...]
    readout: Readout
    dt: Any


class _Names(NamedTuple):
    """What a version keeps of a part: options in the header, and arrays that it may have."""

    options: tuple[str, ...]
    arrays: tuple[str, ...]


_NAMES = {
    (Layer, 1): _Names(("input_scale", "threshold"), ("bias",)),
    (Layer, 2): _Names(
        ("input_scale", "threshold", "neuron"),
        ("bias", "threshold", "recurrent", "rho", "a", "b", "delay"),
    ),
    (Readout, 1): _Names(("input_scale", "kind"), ("bias",)),
    (Readout, 2): _Names(("input_scale", "kind", "gamma"), ("bias",)),
}


def write(path: str | os.PathLike[str], parts: Parts) -> None:
    """Write a network in the oldest version that can say what it is."""
    arrays: dict[str, Any] = {}
    version = max(_version_of(part) for part in [*parts.layers, parts.readout])
    header = {
        "dt": parts.dt,
        "layers": [
            _described(part, f"layers.{i}", arrays, version) for i, part in enumerate(parts.layers)
        ],
        "readout": _described(parts.readout, "readout", arrays, version),
    }
    _FORMAT.write(path, header, arrays, version=version)


def read(path: str | os.PathLike[str]) -> Parts:
    """The layers, the readout and dt of a file; its arrays are NumPy's.

    Raises
    ------
    ValueError
        If it is no file of a network, or describes none.
    OSError
        If it cannot be read.
    """
    header, arrays = _FORMAT.read(path)
    try:
        layers, version = header["layers"], header["version"]
        if not isinstance(layers, list):
            raise TypeError(f"its layers are no list, but {type(layers).__name__}")
        hidden = [
            Layer(**_given(Layer, options, f"layers.{i}", arrays, version))
            for i, options in enumerate(layers)
        ]
        readout = Readout(**_given(Readout, header["readout"], "readout", arrays, version))
        if arrays:
            raise ValueError(f"it holds arrays that no layer has: {', '.join(sorted(arrays))}")
        return Parts(tuple(hidden), readout, header["dt"])
    except KeyError as error:
        raise ValueError(f"{path} does not describe a network: it lacks {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} does not describe a network: {error}") from error


def _version_of(part: Any) -> int:
    """The oldest version that knows such a part."""
    if isinstance(part, Readout):
        return 1 if part.gamma is None else 2
    return 1 if part.neuron == Neuron() and part.delay is None else 2


def _described(
    part: Layer | Readout, prefix: str, arrays: dict[str, Any], version: int
) -> dict[str, Any]:
    """The options of a part for the header; its arrays go to `arrays`."""
    held = {name: to_numpy(array) for name, array in arrays_of(part).items()}
    if isinstance(part, Layer) and part.delay is not None:
        held["delay"] = part.delay
    arrays |= {f"{prefix}.{name}": np.ascontiguousarray(array) for name, array in held.items()}
    options = {}
    for name in _NAMES[type(part), version].options:
        value = getattr(part, name)
        options[name] = asdict(value) if isinstance(value, Neuron) else value
    return options | {name: None for name in options if name in held}


def _given(
    kind: type[Layer | Readout], options: Any, prefix: str, arrays: dict[str, Any], version: int
) -> dict[str, Any]:
    """The arguments of a part: its options, and its arrays, which are taken out of `arrays`."""
    names = _NAMES[kind, version]
    _check_names(f"a {kind.__name__}", options, names.options)
    options = {name: options[name] for name in names.options}
    group = {name: arrays.pop(f"{prefix}.{name}") for name in ("weight", "beta")}
    for name in names.arrays:
        if f"{prefix}.{name}" in arrays:
            group[name] = arrays.pop(f"{prefix}.{name}")
    dtype = group["weight"].dtype
    for name, array in group.items():
        if name != "delay" and not (array.dtype == dtype and dtype in _DTYPES):
            raise TypeError(
                f"{prefix}.{name} is {array.dtype}: weight, bias, beta and the like of a part are "
                "all float32 or all float64"
            )
    for name in group.keys() & options.keys():
        if options.pop(name) is not None:
            raise ValueError(f"{prefix} has {name} twice, as a number and as an array")
    if "neuron" in options:
        _check_names("a Neuron", options["neuron"], [field.name for field in fields(Neuron)])
        options["neuron"] = Neuron(**options["neuron"])
    return {**options, **group}


def _check_names(what: str, options: Any, names: Any) -> None:
    """Refuse options other than those that are written, or fewer."""
    if not isinstance(options, dict):
        raise TypeError(f"the options of {what} are no object, but {options!r:.80}")
    for name in names:
        if name not in options:
            raise ValueError(f"{what} lacks {name!r}")
    for name in options:
        if name not in names:
            raise ValueError(f"{what} has no option {name!r}")
