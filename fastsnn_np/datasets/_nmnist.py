"""N-MNIST (Orchard et al. 2015, CC BY-SA 4.0) in its original binary event files."""

from __future__ import annotations

import lzma
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._checks import check_steps, flag, positive
from .._storage import as_path, opened, size_of
from ..spikes import Events
from ..spikes._binning import bin_recordings
from ._cache import cached
from ._packed import directory_size
from ._recordings import Polarities, check_coordinate, check_polarities
from ._sources import Split, check_labels, check_split, data_folders

_SITE = "https://www.garrickorchard.com/datasets/n-mnist"
_SIZE = 34  # pixels a side
_MOST = 1 << 22  # bytes of a recording: 100 times the longest
_MOST_TIMES = 50  # a zip's recordings against the zip: packing halves them
_DIRECTORY = 1 << 24  # bytes of a zip's: 100,000 recordings have about half of them
_OVERFLOW = 240  # a y that marks no event but 2^13 us more on the clock


def nmnist(
    split: Split,
    *,
    root: str | os.PathLike[str] | None = None,
    dt: float = 1.0,
    n_steps: int = 300,
    polarities: Polarities = "merged",
    binary: bool = True,
    cache: bool = True,
) -> tuple[Events, Any]:
    """N-MNIST: saccades over 60,000 training or 10,000 test digits, or a subset of them.

    The original recordings, ``Train/<digit>/<index>.bin`` and ``Test/...``, or the published
    ``Train.zip`` and ``Test.zip`` as they are, are looked for in `root` if it is given, and
    otherwise in ``$FASTSNN_DATA/nmnist``, ``$FASTSNN_DATA/N-MNIST`` and the user's cache. They are
    in the order of their index. Events after `n_steps` are left out; how many is logged when the
    originals are read (logger "fastsnn_np", level info).

    Parameters
    ----------
    split : {"train", "test"}
    root : path, optional
        Folder with Train and Test or the zips; nothing else is tried then.
    dt : float
        Step in ms.
    n_steps : int
        Number of steps; a recording lasts about 300 ms.
    polarities : {"merged", "both"}
        Neuron ``x + 34 * y`` (1,156 of them, the paper's), or 1,156 more where the polarity is 1.
    binary : bool
        Clip several events of a neuron in a step to one, for binary trains as the paper's.
    cache : bool
        Keep what is read in a compact file in ``$FASTSNN_CACHE`` or the user's cache, and read
        that the next time. It may be deleted at any time.

    Returns
    -------
    events : Events
    labels : uint8 NumPy array (n,), 0 ... 9

    Raises
    ------
    FileNotFoundError
        If the files are nowhere; it says where to get them and where to put them.
    ValueError
        If a file is truncated or holds events off the sensor, or a digit has no recording.
    """
    check_split(split)
    check_polarities(polarities)
    dt, n_steps, binary = positive("dt", dt, "ms"), check_steps(n_steps), flag("binary", binary)
    cache = flag("cache", cache)
    n_neurons = _SIZE * _SIZE * (2 if polarities == "both" else 1)
    source = find(split, root)
    entries = _entries(source)
    labels = check_labels(np.array([entry.digit for entry in entries]), 10, source)

    def build() -> tuple[Events, Any]:
        rows = bin_recordings(
            _recordings(source, entries, polarities),
            n_neurons=n_neurons,
            dt=dt,
            n_steps=n_steps,
            time_unit="us",
            binary=binary,
            where=source,
        )
        return Events(*rows), labels

    if not cache:
        return build()
    files = [source] if source.is_file() else [source / entry.name for entry in entries]
    options = {"dt": dt, "n_steps": n_steps, "polarities": polarities, "binary": binary}
    return cached(
        f"nmnist-{split}", files, options, build, shape=(n_neurons, n_steps), n_classes=10
    )


class _Entry(NamedTuple):
    number: int
    digit: int
    name: str  # within the folder or the zip


def find(split: Split, root: str | os.PathLike[str] | None = None) -> Path:
    """The folder or zip that holds a split, in `root` alone if it is given.

    Raises
    ------
    FileNotFoundError
        If it is nowhere; it says where to get it and where to put it.
    """
    name = split.capitalize()
    folders = [as_path(root, "root")] if root is not None else data_folders("nmnist", "N-MNIST")
    for folder in folders:
        for source in (folder / name, folder / f"{name}.zip"):
            if source.is_dir() if source.suffix != ".zip" else source.is_file():
                return source
    listed = "\n  ".join(str(folder) for folder in folders)
    raise FileNotFoundError(
        f"N-MNIST's folder {name} (of {name}/<digit>/<index>.bin) or {name}.zip is in none of\n  "
        f"{listed}\nPut the original in one of these folders, or in another and pass root=... or "
        f"set FASTSNN_DATA to the folder above its 'nmnist'. Get it in a browser from {_SITE}: "
        "its hosts allow no direct download."
    )


def _entries(source: Path) -> list[_Entry]:
    """Every recording of a folder or a zip, by number."""
    if source.is_file():
        with _zip(source) as archive:
            names = archive.namelist()
    else:
        digits = [source / str(digit) for digit in range(10)]
        names = [f"{d.name}/{file}" for d in digits if d.is_dir() for file in os.listdir(d)]
    found = (re.fullmatch(r"(?:[^/]+/)*([0-9])/([0-9]{1,9})\.bin", name) for name in names)
    entries = sorted(_Entry(int(m[2]), int(m[1]), m[0]) for m in found if m)
    missing = sorted(set(range(10)) - {entry.digit for entry in entries})
    if missing:
        raise ValueError(
            f"{source} has no recording {missing[0]}/<index>.bin: a digit's folder is missing or "
            f"empty, so the copy is not whole; get it again from {_SITE}"
        )
    return entries


def _recordings(
    source: Path, entries: list[_Entry], polarities: Polarities
) -> Iterator[tuple[Any, Any]]:
    if source.is_file():
        with _zip(source) as archive:
            _check_sizes(archive, source, entries)
            for entry in entries:
                yield _decode(_unzip(archive, source, entry), source / entry.name, polarities)
    else:
        for entry in entries:
            path = source / entry.name
            with opened(path, _MOST) as file:
                yield _decode(file.read(), path, polarities)


_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError)


@contextmanager
def _zip(path: Path) -> Iterator[zipfile.ZipFile]:
    with opened(path) as file:
        try:
            if (directory_size(file, size_of(path)) or 0) > _DIRECTORY:
                raise zipfile.BadZipFile("its directory is longer than that of N-MNIST")
            archive = zipfile.ZipFile(file)
        except (*_DAMAGED, ValueError, OverflowError, struct.error) as error:
            raise ValueError(f"{path} is truncated or no zip file: {error}") from error
        with archive:
            yield archive


def _check_sizes(archive: zipfile.ZipFile, path: Path, entries: list[_Entry]) -> None:
    """Refuse recordings that unpack to more than recordings are."""
    total = 0
    for entry in entries:
        info = archive.getinfo(entry.name)
        size = info.file_size
        total += size
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(
                f"{path} is damaged at {entry.name}: it is packed by method {info.compress_type}, "
                "and N-MNIST by deflate"
            )
        if max(size, info.compress_size) > _MOST:
            raise ValueError(
                f"{path} is damaged at {entry.name}: {max(size, info.compress_size)} bytes, and a "
                f"recording has no more than {_MOST}"
            )
    if total > _MOST_TIMES * size_of(path) + _MOST:
        raise ValueError(
            f"{path} is damaged: it has {size_of(path)} bytes and would unpack to {total}"
        )


def _unzip(archive: zipfile.ZipFile, path: Path, entry: _Entry) -> bytes:
    try:
        return archive.read(entry.name)
    except (*_DAMAGED, ValueError, struct.error) as error:
        raise ValueError(f"{path} is damaged at {entry.name}: {error}") from error


def _decode(data: bytes, path: Path, polarities: Polarities) -> tuple[Any, Any]:
    """Times in us and neurons of the events, 5 bytes each: x, y, polarity and a 23-bit time."""
    if not data or len(data) % 5:
        raise ValueError(
            f"{path} is truncated: it should hold 5 bytes an event and at least one, "
            f"got {len(data)} bytes"
        )
    x, y, high, middle, low = np.frombuffer(data, np.uint8).reshape(-1, 5).T.astype(np.int64)
    time = (high & 0x7F) << 16 | middle << 8 | low
    polarity = high >> 7
    overflow = y == _OVERFLOW
    if overflow.any():
        time += np.cumsum(overflow) << 13
        x, y, time, polarity = (a[~overflow] for a in (x, y, time, polarity))
    for name, values in (("x", x), ("y", y)):
        check_coordinate(values, _SIZE, f"{path}: {name}")
    neuron = x + _SIZE * y
    return time, neuron + _SIZE * _SIZE * polarity if polarities == "both" else neuron
