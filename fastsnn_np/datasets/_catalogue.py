"""The data sets that recipes and the command line name: adding one is adding one record here."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from . import _fashion_mnist, _nmnist, _shd
from ._sources import Split

Root = str | os.PathLike[str] | None


class Binning(NamedTuple):
    """How recordings are read."""

    dt: float  #: ms
    n_steps: int
    merge_polarities: bool
    binary: bool  #: whether the events of a channel in one step count as one


@dataclass(frozen=True)
class DataSet:
    """What there is to know of a data set.

    Parameters
    ----------
    name : str
        As in recipes and on the command line.
    kind : {"images", "recordings"}
        Images are encoded as first spike times; recordings are `Events` as they are read.
    read : callable
        Gets a split ("train", "test"), the folder of the original files or None, and the `Binning`
        for recordings; gives (images, labels) or (events, labels).
    find : callable
        Gets a split and the folder of the original files or None; gives the file or folder that
        holds the split, or raises FileNotFoundError, which says where to get it.
    classes : tuple of str
    shape : (rows, columns) or (channels,)
        How the neurons are arranged, for augmentation.
    mirrored : bool
        Whether the mirror image of a sample, left to right, belongs to the same class.
    groups : callable, optional
        Gets the folder of the original files, gives for each training sample a number, such as
        that of its speaker; data is held out by whole groups.
    """

    name: str
    kind: Literal["images", "recordings"]
    read: Callable[[Split, Root, Binning], tuple[Any, Any]]
    find: Callable[[Split, Root], Path]
    classes: tuple[str, ...]
    shape: tuple[int, int] | tuple[int]
    mirrored: bool = False
    groups: Callable[[Root], Any] | None = None


def _read_fashion_mnist(split: Split, root: Root, binning: Binning) -> tuple[Any, Any]:
    return _fashion_mnist.fashion_mnist(split, root=root)


def _read_sample(split: Split, root: Root, binning: Binning) -> tuple[Any, Any]:
    return _fashion_mnist.fashion_mnist_sample(split)


def _find_sample(split: Split, root: Root) -> Path:
    return _fashion_mnist.SAMPLE


def _read_nmnist(split: Split, root: Root, binning: Binning) -> tuple[Any, Any]:
    return _nmnist.nmnist(
        split,
        root=root,
        dt=binning.dt,
        n_steps=binning.n_steps,
        polarities="merged" if binning.merge_polarities else "both",
        binary=binning.binary,
    )


def _read_shd(split: Split, root: Root, binning: Binning) -> tuple[Any, Any]:
    return _shd.shd(split, root=root, dt=binning.dt, n_steps=binning.n_steps, binary=binning.binary)


def _shd_speakers(root: Root) -> Any:
    return _shd.shd_speakers("train", root=root)


def _numbers(n: int) -> tuple[str, ...]:
    return tuple(map(str, range(n)))


_ALL = (
    DataSet(
        "fashion-mnist",
        kind="images",
        read=_read_fashion_mnist,
        find=_fashion_mnist.find,
        classes=_fashion_mnist.CLASSES,
        shape=(28, 28),
        mirrored=True,
    ),
    DataSet(
        "fashion-mnist-sample",
        kind="images",
        read=_read_sample,
        find=_find_sample,
        classes=_fashion_mnist.CLASSES,
        shape=(28, 28),
        mirrored=True,
    ),
    DataSet(
        "n-mnist",
        kind="recordings",
        read=_read_nmnist,
        find=_nmnist.find,
        classes=_numbers(10),
        shape=(34, 34),
    ),
    DataSet(
        "shd",
        kind="recordings",
        read=_read_shd,
        find=_shd.find,
        classes=_numbers(20),
        shape=(700,),
        groups=_shd_speakers,
    ),
)
DATA_SETS = {data_set.name: data_set for data_set in _ALL}  #: by name
