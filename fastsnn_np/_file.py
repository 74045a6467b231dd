"""Networks as safetensors files: arrays by name and a versioned JSON header, no code."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ._namespace import to_numpy
from .network import Layer, Network, Readout

_KEY = "fastsnn_np.network"
_VERSION = 1


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write `network`; the file appears whole or not at all."""
    from safetensors.numpy import save_file

    header: dict[str, Any] = {"version": _VERSION, "dt": network.dt, "layers": []}
    arrays = {}
    for i, layer in enumerate(network.layers):
        header["layers"].append({"threshold": layer.threshold, "input_scale": layer.input_scale})
        arrays.update(_arrays(f"layers.{i}", layer))
    header["readout"] = {"kind": network.readout.kind, "input_scale": network.readout.input_scale}
    arrays.update(_arrays("readout", network.readout))
    with replacing(path) as temporary:
        save_file(arrays, temporary, metadata={_KEY: json.dumps(header)})


def load(path: str | os.PathLike[str]) -> Network:
    """Read what `save` wrote."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    path.open("rb").close()  # Python's own error for a missing file or a folder
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise ValueError(f"{path} is a safetensors file, but not of a fastsnn_np network")
            header = _header(path, metadata[_KEY])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or no safetensors file: {error}") from error
    except (TypeError, AttributeError) as error:  # a dtype that NumPy has not
        raise ValueError(f"{path} holds an array that NumPy cannot: {error}") from error
    try:
        layers = [
            Layer(**_group(arrays, f"layers.{i}"), **options)
            for i, options in enumerate(header["layers"])
        ]
        readout = Readout(**_group(arrays, "readout"), **header["readout"])
        return Network(tuple(layers), readout, header["dt"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} does not describe a network: {error}") from error


def _header(path: Path, text: str) -> Any:
    try:
        header = json.loads(text)
        version = header["version"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} has a damaged network header: {error!r}") from error
    if version != _VERSION:
        newer = isinstance(version, int) and version > _VERSION
        raise ValueError(
            f"{path} has network format version {version!r}, this fastsnn_np reads {_VERSION}"
            + (": install a newer one" if newer else "")
        )
    return header


def _arrays(prefix: str, part: Any) -> dict[str, Any]:
    arrays = {name: getattr(part, name) for name in ("weight", "bias", "beta")}
    return {
        f"{prefix}.{name}": np.ascontiguousarray(to_numpy(array))
        for name, array in arrays.items()
        if array is not None
    }


def _group(arrays: dict[str, Any], prefix: str) -> dict[str, Any]:
    group = {"weight": arrays[f"{prefix}.weight"], "beta": arrays[f"{prefix}.beta"]}
    return {**group, "bias": arrays.get(f"{prefix}.bias")}


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name beside `path` that becomes `path` if the block ends well."""
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp's files are private
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
