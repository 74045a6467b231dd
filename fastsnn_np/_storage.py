"""Files: replaced whole or not at all, safetensors with a versioned JSON header, JSON.

No pickle is involved anywhere. What a header means, and whether its arrays fit, is for the caller
to check; what can be wrong with the file itself is found here.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from ._namespace import said

_LONGEST_HEADER = 1 << 24  # bytes; some 100 per array


def as_path(value: Any, name: str = "path") -> Path:
    """A path of text as a `Path`.

    Raises
    ------
    TypeError
        If it is neither text nor `os.PathLike`, but bytes or a number of an open file.
    ValueError
        If it is empty or holds a null character, as no path does.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a str or an os.PathLike of text, got {said(value)}")
    if not text or "\0" in text:
        raise ValueError(f"{name} must name a file or folder, got {text!r}")
    return Path(text)


def as_folder(value: Any, name: str = "folder") -> Path:
    """A path of text that is a folder, or that one can be made at.

    Raises
    ------
    TypeError, ValueError
        As `as_path`.
    NotADirectoryError
        If the path, or what it should lie in, is a file.
    """
    path = as_path(value, name)
    there = next((part for part in (path, *path.parents) if part.exists()), path)
    if there.exists() and not there.is_dir():
        raise NotADirectoryError(f"{name} must be a folder, and {there} is a file")
    return path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name beside `path` that becomes `path` if the block ends well.

    Raises
    ------
    OSError
        If `path` is a folder or in none; it is named, and not the temporary one.
    """
    path = as_path(path)
    if path.is_dir():
        raise IsADirectoryError(
            errno.EISDIR, "a file is to be written, and this is a folder", str(path)
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder to write into", str(path.parent))
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


def size_of(path: str | os.PathLike[str]) -> int:
    """Bytes of a regular file. To open a pipe or a device would wait for ever.

    Raises
    ------
    OSError
        If there is no such file, or it is a folder.
    ValueError
        If it is a pipe, a device or a socket.
    """
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(
            errno.EISDIR, "a file is to be read, and this is a folder", str(path)
        )
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is no regular file, but a pipe, a device or a socket")
    return status.st_size


@contextmanager
def opened(path: str | os.PathLike[str], most: int | None = None) -> Iterator[IO[bytes]]:
    """A regular file of at most `most` bytes, opened to be read."""
    size = size_of(path)
    if most is not None and size > most:
        raise ValueError(f"{path} has {size} bytes, and such a file has no more than {most}")
    with open(path, "rb") as file:
        yield file


@dataclass(frozen=True)
class Format:
    """A kind of file: arrays by name, and a JSON header of a certain version.

    Parameters
    ----------
    kind : str
        What the file holds, for error messages: "network".
    version : int
        The newest version.
    oldest : int, optional
        The oldest version that is read; the newest alone unless given.
    framework : {"numpy", "pt"}
        The library of the arrays.
    unmarked : int, optional
        The version of files whose header names none.
    """

    kind: str
    version: int
    framework: Literal["numpy", "pt"] = "numpy"
    unmarked: int | None = None
    oldest: int | None = None

    @property
    def key(self) -> str:
        """Name of the header among a safetensors file's metadata."""
        return f"fastsnn_np.{self.kind}"

    def write(
        self,
        path: str | os.PathLike[str],
        header: dict[str, Any],
        arrays: dict[str, Any],
        *,
        version: int | None = None,
    ) -> None:
        """Write header and arrays, in the newest version or another one of those that are read.

        The file appears whole or not at all.
        """
        save_file: Any
        if self.framework == "numpy":
            from safetensors.numpy import save_file
        else:
            from safetensors.torch import save_file
        text = json.dumps({"version": self.version if version is None else version, **header})
        with replacing(path) as temporary:
            save_file(arrays, temporary, metadata={self.key: text})

    def read(self, path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Header and arrays of a file that `write` wrote.

        Raises
        ------
        ValueError
            If the file is truncated, of another kind or version, or has a damaged header.
        OSError
            If it cannot be read.
        """
        from safetensors import SafetensorError, safe_open

        path = as_path(path)
        with opened(path) as start:
            length = int.from_bytes(start.read(8), "little")
        # a longer one than the file is what safe_open tells of
        if _LONGEST_HEADER < length <= size_of(path):
            raise ValueError(f"{path} has a header of {length} bytes: it is no {self.kind}")
        try:
            with safe_open(path, framework=self.framework) as file:
                metadata = file.metadata() or {}
                if self.key not in metadata:
                    raise ValueError(f"{path} is a safetensors file, but no fastsnn_np {self.kind}")
                header = self._header(path, metadata[self.key])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{path} is truncated or no safetensors file: {error}") from error
        except (TypeError, AttributeError) as error:  # a dtype that the library has not
            raise ValueError(f"{path} holds an array that cannot be read: {error}") from error
        return header, arrays

    def _header(self, path: Path, text: str) -> dict[str, Any]:
        try:
            header: dict[str, Any] = json.loads(text)
            version = header.get("version", self.unmarked)
            if version is None:
                raise KeyError("version")
            if isinstance(version, bool):  # which would equal 1
                raise TypeError(f"version {version}")
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{path} has a damaged {self.kind} header: {error!r}") from error
        oldest = self.version if self.oldest is None else self.oldest
        if version not in range(oldest, self.version + 1):
            newer = isinstance(version, int) and version > self.version
            read = f"{self.version}" if oldest == self.version else f"{oldest} to {self.version}"
            raise ValueError(
                f"{path} has {self.kind} format version {version!r}, this fastsnn_np reads "
                f"{read}" + (": install a newer one" if newer else "")
            )
        return header


def read_json(path: Path) -> dict[str, Any]:
    """The dict in a JSON file of our own, which is small.

    Raises
    ------
    ValueError
        If it holds none, or is too large.
    OSError
        If it cannot be read.
    """
    with opened(path, _LONGEST_HEADER) as file:
        try:
            content = json.load(file)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it holds no dict")
    return content
