"""The data sets that recipes name: adding one is adding one record here."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from .. import datasets
from ..datasets._sources import Split

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
    classes: tuple[str, ...]
    shape: tuple[int, int] | tuple[int]
    mirrored: bool = False
    groups: Callable[[Root], Any] | None = None


def _fashion_mnist(split: Split, root: Root, binning: Binning) -> tuple[Any, Any]:
    return datasets.fashion_mnist(split, root=root)


def _fashion_mnist_sample(split: Split, root: Root, binning: Binning) -> tuple[Any, Any]:
    return datasets.fashion_mnist_sample(split)


def _nmnist(split: Split, root: Root, binning: Binning) -> tuple[Any, Any]:
    return datasets.nmnist(
        split,
        root=root,
        dt=binning.dt,
        n_steps=binning.n_steps,
        polarities="merged" if binning.merge_polarities else "both",
        binary=binning.binary,
    )


def _shd(split: Split, root: Root, binning: Binning) -> tuple[Any, Any]:
    return datasets.shd(
        split, root=root, dt=binning.dt, n_steps=binning.n_steps, binary=binning.binary
    )


def _shd_speakers(root: Root) -> Any:
    return datasets.shd_speakers("train", root=root)


def _numbers(n: int) -> tuple[str, ...]:
    return tuple(map(str, range(n)))


_ALL = (
    DataSet(
        "fashion-mnist",
        kind="images",
        read=_fashion_mnist,
        classes=datasets.FASHION_MNIST_CLASSES,
        shape=(28, 28),
        mirrored=True,
    ),
    DataSet(
        "fashion-mnist-sample",
        kind="images",
        read=_fashion_mnist_sample,
        classes=datasets.FASHION_MNIST_CLASSES,
        shape=(28, 28),
        mirrored=True,
    ),
    DataSet("n-mnist", kind="recordings", read=_nmnist, classes=_numbers(10), shape=(34, 34)),
    DataSet(
        "shd",
        kind="recordings",
        read=_shd,
        classes=_numbers(20),
        shape=(700,),
        groups=_shd_speakers,
    ),
)
DATA_SETS = {data_set.name: data_set for data_set in _ALL}  #: by name
