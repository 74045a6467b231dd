"""Readers of the data sets in their original files, and a small real sample."""

from ._fashion_mnist import CLASSES as FASHION_MNIST_CLASSES
from ._fashion_mnist import fashion_mnist, fashion_mnist_sample
from ._nmnist import nmnist
from ._recordings import ToEvents, collate, events_from_structured
from ._shd import shd, shd_speakers

__all__ = [
    "FASHION_MNIST_CLASSES",
    "ToEvents",
    "collate",
    "events_from_structured",
    "fashion_mnist",
    "fashion_mnist_sample",
    "nmnist",
    "shd",
    "shd_speakers",
]
