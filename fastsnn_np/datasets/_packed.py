"""Packed files, unpacked no further than they may: a few kilobytes can hold gigabytes of zeros."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import IO, Any

_CHUNK = 1 << 20
_MOST_EMPTY = 1000  # members of a gzip file that hold nothing


def gunzipped(file: IO[bytes], where: object) -> Iterator[bytes]:
    """The contents of a gzip file, of one member or several, in pieces of at most 1 MiB.

    Raises
    ------
    ValueError
        If the file is truncated, damaged or no gzip file; `where` names it.
    """
    packed, empty = file.read(_CHUNK), 0
    try:
        while packed:
            member, size = zlib.decompressobj(wbits=31), 0  # 31: gzip, its checksum compared
            while not member.eof:
                packed = member.unconsumed_tail or packed or file.read(_CHUNK)
                if not packed:
                    raise EOFError("it ends early")
                piece = member.decompress(packed, _CHUNK)
                packed = b""
                if piece:
                    size += len(piece)
                    yield piece
            packed = member.unused_data.lstrip(b"\0") or _after_zeros(file)
            empty += size == 0
            if empty > _MOST_EMPTY:
                raise EOFError("it has many members that hold nothing")
    except (EOFError, zlib.error) as error:
        raise ValueError(f"{where} is truncated or no gzip file: {error}") from error


def _after_zeros(file: IO[bytes]) -> bytes:
    """What follows a member: zeros are padding."""
    while piece := file.read(_CHUNK):
        if piece := piece.lstrip(b"\0"):
            return piece
    return b""


class Pieces:
    """A few bytes at a time of an iterator of pieces, as a file gives them."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = bytearray()

    def read(self, size: int) -> bytes:
        """The next `size` bytes, or fewer at the end."""
        while len(self._held) < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._held += piece
        data = bytes(self._held[:size])
        del self._held[:size]
        return data


def hdf5_size(start: bytes) -> int | None:
    """The size that an HDF5 file's first bytes, its superblock, give; None if they are none."""
    if not start.startswith(b"\x89HDF\r\n\x1a\n") or len(start) < 96:
        return None
    version = start[8]
    if version in (0, 1):
        width, place = start[13], 24 + 4 * version
        place += 2 * width  # after the base address and that of the free space
    elif version in (2, 3):
        width, place = start[9], 12
        place += 2 * width  # after the base address and that of the extension
    else:
        return None
    return int.from_bytes(start[place : place + width], "little") if width in (2, 4, 8) else None


def directory_size(file: IO[bytes], size: int) -> int | None:
    """Bytes of a zip file's directory, as its end says; None if it has no end."""
    tail_size = min(size, 22 + 0xFFFF)
    file.seek(size - tail_size)
    tail = file.read(tail_size)
    file.seek(0)
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) < end + 22:
        return None
    found: Any = struct.unpack_from("<L", tail, end + 12)[0]
    if end >= 20 and tail[end - 20 : end - 16] == b"PK\6\7":  # a zip file of 64 bits
        (place,) = struct.unpack_from("<Q", tail, end - 12)
        if place + 56 > size:
            return None
        file.seek(place)
        record = file.read(56)
        file.seek(0)
        found = struct.unpack_from("<Q", record, 40)[0]
    return int(found)
