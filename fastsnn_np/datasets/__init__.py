"""Readers of the data sets in their original files, and a small real sample."""

from ._fashion_mnist import CLASSES as FASHION_MNIST_CLASSES
from ._fashion_mnist import fashion_mnist, fashion_mnist_sample

__all__ = ["FASHION_MNIST_CLASSES", "fashion_mnist", "fashion_mnist_sample"]
