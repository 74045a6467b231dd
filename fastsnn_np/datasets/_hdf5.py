"""HDF5 files read as data alone: nothing lies in other files, nothing is larger than declared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .._storage import opened, size_of
from ._packed import gunzipped, hdf5_size

_PACKED_TIMES = 20  # how much smaller spikes get by packing; three times is usual
_SPARE = 1 << 26  # bytes that a small file may unpack to in any case
_DEFLATE = 1100  # times that the filters of HDF5 make zeros smaller, and a little more
_DAMAGED = (OSError, RuntimeError, KeyError, TypeError, OverflowError, MemoryError)


@contextmanager
def hdf5(source: Path) -> Iterator[Any]:
    """An HDF5 file, or the same packed by gzip, opened by h5py to be read.

    Raises
    ------
    ImportError
        If h5py is not installed.
    ValueError
        If the file is truncated, damaged, or no HDF5 file; also while it is read.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f"reading {source} needs h5py: pip install 'fastsnn-np[data]' ({error})"
        ) from error
    with _unpacked(source) as path:
        size_of(path)  # a regular file
        try:
            with h5py.File(path, "r") as file:
                yield file
        except _DAMAGED as error:  # how h5py tells of a damaged file
            raise ValueError(f"{source} is truncated or no HDF5 file: {error}") from error
        except ValueError as error:
            if str(source) in str(error):
                raise
            raise ValueError(f"{source} is damaged: {error}") from error


def dataset(file: Any, name: str, source: Path, most: int) -> Any:
    """The data set `name` of one axis and at most `most` entries, or None if there is none.

    A link into another file, or into another place of this one, is refused, and so is a data set
    whose entries are kept elsewhere or are more than the file has bytes for.
    """
    import h5py

    place = file
    for part in name.split("/"):
        if not isinstance(place, h5py.Group) or part not in place:
            return None
        if not isinstance(place.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{source}: {name!r} is a link to another place, not data")
        place = place[part]
    if not isinstance(place, h5py.Dataset):
        return None
    if place.external or place.is_virtual:
        raise ValueError(f"{source}: {name!r} keeps its data in other files")
    if place.shape is None or place.ndim != 1:
        raise ValueError(f"{source}: {name!r} should have one axis, got shape {place.shape}")
    held = place.id.get_storage_size()
    if len(place) > most:
        raise ValueError(
            f"{source}: {name!r} declares {len(place)} recordings, and there are no more than "
            f"{most}"
        )
    if len(place) * place.dtype.itemsize > _DEFLATE * held + 4096:
        raise ValueError(
            f"{source}: {name!r} declares {len(place)} entries of {place.dtype.itemsize} bytes "
            f"and holds {held} bytes"
        )
    return place


def bytes_of_arrays(part: Any) -> int | None:
    """Bytes of all arrays of a data set of arrays, or None where only reading them would tell.

    Where the entries lie in one piece, each is 16 bytes of the file, of which the first 4 are the
    length of its array and the others say where that is.
    """
    import h5py

    place = part.id.get_offset()
    if place is None or part.id.get_storage_size() != 16 * len(part):
        return None
    with opened(part.file.filename) as file:
        file.seek(place)
        entries = file.read(16 * len(part))
    if len(entries) != 16 * len(part):
        return None
    lengths = np.frombuffer(entries, "<u4")[::4]
    return int(lengths.sum(dtype=np.int64)) * int(h5py.check_vlen_dtype(part.dtype).itemsize)


@contextmanager
def _unpacked(source: Path) -> Iterator[Path]:
    """The HDF5 file itself: HDF5 seeks, which gzip does by reading all over again."""
    if source.suffix != ".gz":
        yield source
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / source.stem
        with opened(source) as packed, path.open("wb") as file:
            pieces = gunzipped(packed, source)
            most = _SPARE + _PACKED_TIMES * size_of(source)
            written, promised = 0, None
            for piece in pieces:
                if written == 0:
                    promised = hdf5_size(piece)
                    if promised is None:
                        raise ValueError(f"{source} is truncated or no HDF5 file, packed by gzip")
                    if promised > most:
                        raise ValueError(
                            f"{source} has {size_of(source)} bytes and would unpack to {promised}"
                        )
                written += len(piece)
                if promised is not None and written > promised + 4096:
                    raise ValueError(
                        f"{source} unpacks to more than the {promised} bytes that it declares"
                    )
                file.write(piece)
        yield path
