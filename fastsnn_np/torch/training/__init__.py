"""Training on Lightning: `fit`, and the parts that it is made of."""

from ._fit import History, Terminated, fit
from .callbacks import FiniteGuard, LayerHealth, MetricsFile, Patience
from .checkpoint import SafetensorsIO
from .classifier import Classifier, ClassifierOptions
from .data import Augment, Batches, SpikeData

__all__ = [
    "Augment",
    "Batches",
    "Classifier",
    "ClassifierOptions",
    "FiniteGuard",
    "History",
    "LayerHealth",
    "MetricsFile",
    "Patience",
    "SafetensorsIO",
    "SpikeData",
    "Terminated",
    "fit",
]
