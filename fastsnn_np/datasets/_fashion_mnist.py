"""Fashion-MNIST (Xiao, Rasul & Vollgraf 2017, MIT licence) in its original IDX .gz files."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from .._checks import flag
from .._storage import as_path, opened
from ._packed import Pieces, gunzipped
from ._sources import Split, check_labels, check_split, user_cache

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # the package dataset-fashion-mnist
_MOST = 1 << 26  # bytes of a file; 60,000 images have 47 million
SAMPLE = Path(__file__).parent / "fashion_mnist_sample"


def fashion_mnist(
    split: Split, *, root: str | os.PathLike[str] | None = None, download: bool = True
) -> tuple[Any, Any]:
    """Fashion-MNIST: 60,000 training or 10,000 test images.

    The four original files are looked for in `root` if it is given, and otherwise in
    ``$FASTSNN_DATA/fashion-mnist``, in Debian's package dataset-fashion-mnist and in the user's
    cache, which a download with checksums fills (needs pooch).

    Parameters
    ----------
    split : {"train", "test"}
    root : path, optional
        Folder with the original .gz files; nothing else is tried then.
    download : bool
        Whether the files may be downloaded if they are nowhere.

    Returns
    -------
    images : uint8 NumPy array (n, 28, 28)
    labels : uint8 NumPy array (n,), see ``FASHION_MNIST_CLASSES``

    Raises
    ------
    FileNotFoundError
        If the files are nowhere and cannot be downloaded; it says where to put which.
    ValueError
        If a file is truncated or not what its name says.
    """
    files = _files(split)
    download = flag("download", download)
    try:
        folder = find(split, root)
    except FileNotFoundError:
        if root is not None or not download:
            raise
        folder = _download(files, _folders())
    return _read_pair(folder, files)


def find(split: Split, root: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds the files of a split, in `root` alone if it is given.

    Raises
    ------
    FileNotFoundError
        If they are nowhere; it says where to get them and where to put them.
    """
    files = _files(split)
    folders = [as_path(root, "root")] if root is not None else _folders()
    for folder in folders:
        if all((folder / name).is_file() for name in files):
            return folder
    raise FileNotFoundError(_where_to_put(files, folders))


def fashion_mnist_sample(split: Split) -> tuple[Any, Any]:
    """The first 200 training or 100 test images of every class, shipped with the package.

    Returns
    -------
    images : uint8 NumPy array (2000 or 1000, 28, 28), in the original files' order
    labels : uint8 NumPy array (2000 or 1000,)
    """
    return _read_pair(SAMPLE, _files(split))


def _files(split: str) -> tuple[str, str]:
    check_split(split)
    return _FILES[split]


def _folders() -> list[Path]:
    folders = []
    if os.environ.get("FASTSNN_DATA"):
        folders.append(Path(os.environ["FASTSNN_DATA"]) / "fashion-mnist")
    return [*folders, _DEBIAN, user_cache() / "fashion-mnist"]


def _where_to_put(files: tuple[str, str], folders: list[Path]) -> str:
    listed = "\n  ".join(str(folder) for folder in folders)
    return (
        f"Fashion-MNIST's files {' and '.join(files)} are in none of\n  {listed}\n"
        f"Put the original files in one of these folders, or in another and pass root=... "
        f"or set FASTSNN_DATA to the folder above its 'fashion-mnist'. They are at {_URL} "
        "and in Debian's package dataset-fashion-mnist."
    )


def _download(files: tuple[str, str], folders: list[Path]) -> Path:
    try:
        import pooch
    except ImportError as error:
        raise FileNotFoundError(
            f"{_where_to_put(files, folders)} To have them downloaded, pip install pooch ({error})."
        ) from error
    folder = user_cache() / "fashion-mnist"
    for name in files:
        try:
            pooch.retrieve(_URL + name, known_hash=f"md5:{_MD5[name]}", fname=name, path=folder)
        except OSError as error:  # requests' errors are OSErrors too
            raise FileNotFoundError(
                f"{_where_to_put(files, folders)} The download failed: {error}"
            ) from error
    return folder


def _read_pair(folder: Path, files: tuple[str, str]) -> tuple[Any, Any]:
    images, labels = (read_idx(folder / name) for name in files)
    if images.shape[1:] != (28, 28) or labels.ndim != 1 or len(images) != len(labels):
        raise ValueError(
            f"{folder}: images {images.shape} and labels {labels.shape} do not belong together"
        )
    return images, check_labels(labels, len(CLASSES), folder / files[1])


def read_idx(path: str | os.PathLike[str]) -> Any:
    """A gzipped IDX file of unsigned bytes as a NumPy array.

    Raises
    ------
    ValueError
        If it is truncated, too long, or not such a file.
    """
    with opened(path, _MOST) as file:
        data = Pieces(gunzipped(file, path))
        magic = data.read(4)
        if len(magic) < 4 or magic[:3] != b"\x00\x00\x08":
            raise ValueError(f"{path} is no IDX file of unsigned bytes")
        header = data.read(4 * magic[3])
        if len(header) < 4 * magic[3]:
            raise ValueError(f"{path} is truncated or no gzip file: the header ends early")
        shape = tuple(np.frombuffer(header, ">u4").tolist())
        size = math.prod(shape)
        if size > _MOST:
            raise ValueError(f"{path} has a damaged header: shape {shape}")
        body = data.read(size + 1)
    if len(body) != size:
        raise ValueError(f"{path} should hold {size} bytes for shape {shape}, got {len(body)}")
    return np.frombuffer(body, np.uint8).reshape(shape).copy()  # of our own, so writable
