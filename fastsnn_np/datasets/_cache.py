"""Binned recordings in one compact safetensors file, so that they are read and binned once."""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .._storage import Format
from ..spikes import Events
from ._sources import check_labels, user_cache

# the version of the format and of the readers: a change of either makes old files unknown
_FORMAT = Format("recordings", version=1, unmarked=1)

_log = logging.getLogger("fastsnn_np")


def cached(
    name: str,
    files: Iterable[Path],
    options: dict[str, Any],
    build: Callable[[], tuple[Events, Any]],
    *,
    shape: tuple[int, int],
    n_classes: int,
) -> tuple[Events, Any]:
    """What `build` gives, from the user's cache if the same files were built with these options.

    Events of the cache have `shape`, neurons and steps, and labels of `n_classes`: a file is
    looked at as closely as a user's arrays. A damaged one is built again with a warning; a folder
    that cannot be written is no error. Files are known by path, size and time of change. Nothing
    is ever removed from the cache: its folder may be deleted at any time.
    """
    key = _key(files, options)
    path = user_cache() / f"{name}-{key[:16]}.safetensors"
    if path.is_file():
        try:
            events, labels = _read(path, key, shape, n_classes)
            if events.n_events or not len(events):
                return events, labels  # else built again, for what is said of events left out
        except (OSError, ValueError) as error:
            _log.warning("the cache file %s is damaged and is built again: %s", path, error)
    events, labels = build()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, key, events, labels)
    except OSError as error:
        _log.info("not cached in %s, so the next reading takes as long: %s", path.parent, error)
    return events, labels


def _key(files: Iterable[Path], options: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps([_FORMAT.version, options], sort_keys=True).encode())
    for file in files:
        status = file.stat()
        digest.update(f"{file.absolute()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _write(path: Path, key: str, events: Events, labels: Any) -> None:
    counts = np.diff(events.indptr, axis=1)
    small = np.uint16 if events.n_neurons <= 1 << 16 else np.int32
    arrays = {
        "counts": counts.astype(np.min_scalar_type(counts.max(initial=0))),
        "indices": events.indices.astype(small),
        "labels": labels,
    }
    header = {"key": key, "n_neurons": events.n_neurons, "sums": _sums(arrays)}
    _FORMAT.write(path, header, arrays)


def _read(path: Path, key: str, shape: tuple[int, int], n_classes: int) -> tuple[Events, Any]:
    header, arrays = _FORMAT.read(path)
    try:
        if header["key"] != key or header["sums"] != _sums(arrays):
            raise ValueError("its contents are not what its header says")
        counts, indices, labels = (arrays[name] for name in ("counts", "indices", "labels"))
        n_neurons, n_steps = shape
        if header["n_neurons"] != n_neurons or counts.ndim != 2 or counts.shape[1] != n_steps:
            raise ValueError(
                f"it has counts of shape {counts.shape} for {header['n_neurons']!r} neurons, "
                f"expected {n_neurons} neurons and {n_steps} steps"
            )
        if counts.dtype.kind != "u" or indices.dtype.kind not in "iu" or indices.ndim != 1:
            raise ValueError(f"it has counts of {counts.dtype} and indices of {indices.dtype}")
        if counts.size and int(counts.max()) > len(indices):
            raise ValueError(f"it counts more events than the {len(indices)} that it holds")
        if labels.dtype != np.uint8 or labels.shape != (len(counts),):
            raise ValueError(
                f"it has {len(counts)} samples and labels of {labels.dtype}, shape {labels.shape}"
            )
        check_labels(labels, n_classes, path)
        indptr = np.zeros((len(counts), n_steps + 1), np.int64)
        np.cumsum(counts, axis=1, out=indptr[:, 1:])
        ends = np.cumsum(indptr[:, -1])
        indptr[1:] += ends[:-1, None]
        return Events(indptr, indices, n_neurons), labels
    except (KeyError, TypeError) as error:
        raise ValueError(f"{error!r}") from error


def _sums(arrays: dict[str, Any]) -> dict[str, int]:
    return {name: zlib.crc32(array) for name, array in arrays.items()}
