"""Spiking Heidelberg Digits (Cramer et al. 2020, CC BY 4.0) in its original HDF5 files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .._checks import check_steps, flag, positive
from .._namespace import native
from .._storage import as_path, size_of
from ..spikes import Events
from ..spikes._binning import bin_recordings
from ._cache import cached
from ._hdf5 import bytes_of_arrays, dataset, hdf5
from ._recordings import check_coordinate
from ._sources import Split, check_labels, check_split, data_folders

_SITE = "https://zenkelab.org/datasets/"
_UNITS = 700
_CLASSES = 20  # the digits 0 ... 9 in English, then in German
_RECORDINGS = 8156 + 2264  # of both splits; a file has no more
_SPEAKERS = 12
_SLICE = 256  # samples read at once: few calls of HDF5, little memory
_BUDGET = 1 << 28  # bytes of a slice, if each of its samples were as large as the file


def shd(
    split: Split,
    *,
    root: str | os.PathLike[str] | None = None,
    dt: float = 2.0,
    n_steps: int = 500,
    binary: bool = True,
    cache: bool = True,
) -> tuple[Events, Any]:
    """Spiking Heidelberg Digits: 8,156 training or 2,264 test recordings of 700 cochlea units.

    The original ``shd_train.h5`` and ``shd_test.h5``, or the same as ``.h5.gz``, are looked for in
    `root` if it is given, and otherwise in ``$FASTSNN_DATA/shd``, ``$FASTSNN_DATA/SHD`` and the
    user's cache. Reading them needs h5py. Events whose time is not finite, negative or after
    `n_steps` are left out; how many is logged when the originals are read (logger "fastsnn_np",
    level info).

    Times are float16 seconds, up to 0.5 ms off. Step k holds those from k dt up to (k + 1) dt,
    both edges rounded to float16 too, so that times on a grid of dt get their own step back, and
    any other time is off by no more than its own rounding.

    Parameters
    ----------
    split : {"train", "test"}
    root : path, optional
        Folder with the files; nothing else is tried then.
    dt : float
        Step in ms.
    n_steps : int
        Number of steps. The default is the first second; the longest recording lasts 1.4 s.
    binary : bool
        Clip several events of a unit in a step to one, for binary trains as the paper's.
    cache : bool
        Keep what is read in a compact file in ``$FASTSNN_CACHE`` or the user's cache, and read
        that the next time. It may be deleted at any time.

    Returns
    -------
    events : Events
        700 neurons, one a unit.
    labels : uint8 NumPy array (n,), 0 ... 19

    Raises
    ------
    FileNotFoundError
        If the file is nowhere; it says where to get it and where to put it.
    ImportError
        If h5py is not installed and nothing is cached.
    ValueError
        If the file is truncated, lacks a part, or holds a unit or a label out of range.
    """
    check_split(split)
    dt, n_steps, binary = positive("dt", dt, "ms"), check_steps(n_steps), flag("binary", binary)
    cache = flag("cache", cache)
    source = find(split, root)

    def build() -> tuple[Events, Any]:
        return _read(source, dt, n_steps, binary)

    if not cache:
        return build()
    options = {"dt": dt, "n_steps": n_steps, "binary": binary}
    return cached(
        f"shd-{split}", [source], options, build, shape=(_UNITS, n_steps), n_classes=_CLASSES
    )


def shd_speakers(split: Split, *, root: str | os.PathLike[str] | None = None) -> Any:
    """Who speaks in each recording of `shd`: an integer NumPy array (n,), 0 ... 11.

    Speakers 4 and 5 are in the test recordings alone, so that validation data are like them only
    if their speakers are not trained on either. `split` and `root` are those of `shd`, and so are
    the errors.
    """
    check_split(split)
    source = find(split, root)
    with hdf5(source) as file:
        speakers, labels = (
            dataset(file, name, source, _RECORDINGS) for name in ("extra/speaker", "labels")
        )
        if speakers is None or speakers.dtype.kind not in "ui":
            raise ValueError(f"{source} has no integers in 'extra/speaker'")
        if labels is None or speakers.shape != labels.shape:
            raise ValueError(f"{source}: 'extra/speaker' and 'labels' do not belong together")
        found = native(speakers[:])
        check_coordinate(found, _SPEAKERS, f"{source}: 'extra/speaker'")
        return found


def find(split: Split, root: str | os.PathLike[str] | None = None) -> Path:
    """The file that holds a split, in `root` alone if it is given.

    Raises
    ------
    FileNotFoundError
        If it is nowhere; it says where to get it and where to put it.
    """
    name = f"shd_{split}.h5"
    folders = [as_path(root, "root")] if root is not None else data_folders("shd", "SHD")
    for folder in folders:
        for source in (folder / name, folder / f"{name}.gz"):
            if source.is_file():
                return source
    listed = "\n  ".join(str(folder) for folder in folders)
    raise FileNotFoundError(
        f"SHD's {name} or {name}.gz is in none of\n  {listed}\nPut the original in one of these "
        "folders, or in another and pass root=... or set FASTSNN_DATA to the folder above its "
        f"'shd'. Get it from {_SITE}{name}.gz."
    )


def _read(source: Path, dt: float, n_steps: int, binary: bool) -> tuple[Events, Any]:
    with hdf5(source) as file:
        times, units, labels = _parts(file, source)
        rows = bin_recordings(
            _recordings(times, units, source, _file_size(file)),
            n_neurons=_UNITS,
            dt=dt,
            n_steps=n_steps,
            time_unit="s",
            binary=binary,
            where=source,
        )
    return Events(*rows), labels


def _file_size(file: Any) -> int:
    return size_of(file.filename)


def _parts(file: Any, source: Path) -> tuple[Any, Any, Any]:
    """The data sets of times and units, checked against each other, and the labels."""
    import h5py

    names = ("spikes/times", "spikes/units", "labels")
    found = [dataset(file, name, source, _RECORDINGS) for name in names]
    for name, part in zip(names, found, strict=True):
        if part is None:
            raise ValueError(f"{source} has no data set {name!r}, so it is not SHD's")
    times, units, labels = found
    for part, kinds in ((times, "f"), (units, "ui")):
        base = h5py.check_vlen_dtype(part.dtype)
        if not isinstance(base, np.dtype) or base.kind not in kinds:
            raise ValueError(
                f"{source}: {part.name} should hold one array of "
                f"{'floats' if kinds == 'f' else 'integers'} a sample, got dtype {part.dtype}"
            )
    if not times.shape == units.shape == labels.shape:
        raise ValueError(
            f"{source}: times {times.shape}, units {units.shape} and labels {labels.shape} "
            "do not belong together"
        )
    if labels.dtype.kind not in "ui":
        raise ValueError(f"{source}: labels should be integers, got dtype {labels.dtype}")
    return times, units, check_labels(labels[:], _CLASSES, source)


def _recordings(times: Any, units: Any, source: Path, size: int) -> Iterator[tuple[Any, Any]]:
    # Samples may all point to one place of the file, so that each is as large as the file.
    told = [bytes_of_arrays(part) for part in (times, units)]
    if all(told) and sum(n or 0 for n in told) <= size:
        at_once = _SLICE
    else:
        at_once = max(1, min(_SLICE, _BUDGET // max(size, 1)))
    held = 0
    for start in range(0, len(times), at_once):
        part = slice(start, start + at_once)
        for i, (t, unit) in enumerate(zip(times[part], units[part], strict=True), start):
            if len(t) != len(unit):
                raise ValueError(f"{source}: sample {i} has {len(t)} times and {len(unit)} units")
            held += t.nbytes + unit.nbytes
            if held > size:
                raise ValueError(f"{source} has {size} bytes, fewer than its samples need")
            check_coordinate(unit, _UNITS, f"{source}: units of sample {i}")
            yield t, unit
