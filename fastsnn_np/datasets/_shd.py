"""Spiking Heidelberg Digits (Cramer et al. 2020, CC BY 4.0) in its original HDF5 files."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..spikes import Events
from ._cache import cached
from ._recordings import bin_recordings, check_coordinate
from ._sources import Split, check_labels, check_split, data_folders

_SITE = "https://zenkelab.org/datasets/"
_UNITS = 700
_CLASSES = 20  # the digits 0 ... 9 in English, then in German
_SLICE = 256  # samples read at once: few calls of HDF5, little memory


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
    source = _find(f"shd_{split}.h5", root)

    def build() -> tuple[Events, Any]:
        with _unpacked(source) as path:
            return _read(path, source, dt, n_steps, binary)

    if not cache:
        return build()
    options = {"dt": dt, "n_steps": n_steps, "binary": binary}
    return cached(f"shd-{split}", [source], options, build)


def shd_speakers(split: Split, *, root: str | os.PathLike[str] | None = None) -> Any:
    """Who speaks in each recording of `shd`: an integer NumPy array (n,), 0 ... 11.

    Speakers 4 and 5 are in the test recordings alone, so that validation data are like them only
    if their speakers are not trained on either. `split` and `root` are those of `shd`, and so are
    the errors.
    """
    check_split(split)
    source = _find(f"shd_{split}.h5", root)
    with _unpacked(source) as path, _opened(path, source) as file:
        import h5py

        speakers, labels = file.get("extra/speaker"), file.get("labels")
        if not isinstance(speakers, h5py.Dataset) or speakers.dtype.kind not in "ui":
            raise ValueError(f"{source} has no integers in 'extra/speaker'")
        if not isinstance(labels, h5py.Dataset) or speakers.shape != labels.shape:
            raise ValueError(f"{source}: 'extra/speaker' and 'labels' do not belong together")
        return speakers[:]


def _find(name: str, root: str | os.PathLike[str] | None) -> Path:
    folders = [Path(root)] if root is not None else data_folders("shd", "SHD")
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


@contextmanager
def _unpacked(source: Path) -> Iterator[Path]:
    """The HDF5 file itself: HDF5 seeks, which gzip does by reading all over again."""
    if source.suffix != ".gz":
        yield source
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / source.stem
        try:
            with gzip.open(source) as packed, path.open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{source} is truncated or no gzip file: {error}") from error
        yield path


@contextmanager
def _opened(path: Path, source: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f"reading {source} needs h5py: pip install 'fastsnn-np[data]' ({error})"
        ) from error
    try:
        with h5py.File(path) as file:
            yield file
    except (OSError, RuntimeError) as error:  # how h5py tells of a damaged file
        raise ValueError(f"{source} is truncated or no HDF5 file: {error}") from error


def _read(path: Path, source: Path, dt: float, n_steps: int, binary: bool) -> tuple[Events, Any]:
    with _opened(path, source) as file:
        times, units, labels = _parts(file, source)
        events = bin_recordings(
            _recordings(times, units, source),
            n_neurons=_UNITS,
            dt=dt,
            n_steps=n_steps,
            time_unit="s",
            binary=binary,
            where=source,
        )
    return events, labels


def _parts(file: Any, source: Path) -> tuple[Any, Any, Any]:
    """The data sets of times and units, checked against each other, and the labels."""
    import h5py

    for name in ("spikes/times", "spikes/units", "labels"):
        if not isinstance(file.get(name), h5py.Dataset):
            raise ValueError(f"{source} has no data set {name!r}, so it is not SHD's")
    times, units, labels = (file[name] for name in ("spikes/times", "spikes/units", "labels"))
    for part, kinds in ((times, "f"), (units, "ui")):
        base = h5py.check_vlen_dtype(part.dtype)
        if base is None or base.kind not in kinds:
            raise ValueError(
                f"{source}: {part.name} should hold one array of "
                f"{'floats' if kinds == 'f' else 'integers'} a sample, got dtype {part.dtype}"
            )
    if not (times.shape == units.shape == labels.shape and times.ndim == 1):
        raise ValueError(
            f"{source}: times {times.shape}, units {units.shape} and labels {labels.shape} "
            "do not belong together"
        )
    if labels.dtype.kind not in "ui":
        raise ValueError(f"{source}: labels should be integers, got dtype {labels.dtype}")
    return times, units, check_labels(labels[:], _CLASSES, source)


def _recordings(times: Any, units: Any, source: Path) -> Iterator[tuple[Any, Any]]:
    for start in range(0, len(times), _SLICE):
        part = slice(start, start + _SLICE)
        for i, (t, unit) in enumerate(zip(times[part], units[part], strict=True), start):
            if len(t) != len(unit):
                raise ValueError(f"{source}: sample {i} has {len(t)} times and {len(unit)} units")
            check_coordinate(unit, _UNITS, f"{source}: units of sample {i}")
            yield t, unit
