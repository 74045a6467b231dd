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
from ._sources import user_cache

# the version of the format and of the readers: a change of either makes old files unknown
_FORMAT = Format("recordings", version=1, unmarked=1)

_log = logging.getLogger("fastsnn_np")


def cached(
    name: str,
    files: Iterable[Path],
    options: dict[str, Any],
    build: Callable[[], tuple[Events, Any]],
) -> tuple[Events, Any]:
    """What `build` gives, from the user's cache if the same files were built with these options.

    A damaged file is built again with a warning; a folder that cannot be written is no error.
    Files are known by path, size and time of change. Nothing is ever removed from the cache: its
    folder may be deleted at any time.
    """
    key = _key(files, options)
    path = user_cache() / f"{name}-{key[:16]}.safetensors"
    if path.is_file():
        try:
            return _read(path, key)
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


def _read(path: Path, key: str) -> tuple[Events, Any]:
    header, arrays = _FORMAT.read(path)
    try:
        if header["key"] != key or header["sums"] != _sums(arrays):
            raise ValueError("its contents are not what its header says")
        counts = arrays["counts"]
        # right by the checksums, so that the events need no second look
        indptr = np.zeros((len(counts), counts.shape[1] + 1), np.int64)
        np.cumsum(counts, axis=1, out=indptr[:, 1:])
        ends = np.cumsum(indptr[:, -1])
        indptr[1:] += ends[:-1, None]
        events = Events.unchecked(indptr, arrays["indices"].astype(np.int32), header["n_neurons"])
        return events, arrays["labels"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{error!r}") from error


def _sums(arrays: dict[str, Any]) -> dict[str, int]:
    return {name: zlib.crc32(array) for name, array in arrays.items()}
