"""Experiments: recipes, the data sets that they name, and a run from data to results.

``python -m fastsnn_np train`` is `run_experiment` on the command line.
"""

from ..datasets._catalogue import DATA_SETS, DataSet
from .data import Data, hold_out, load_data
from .experiment import run_experiment
from .model import build_model, load_model
from .recipe import Recipe, load_recipe

__all__ = [
    "DATA_SETS",
    "Data",
    "DataSet",
    "Recipe",
    "build_model",
    "hold_out",
    "load_data",
    "load_model",
    "load_recipe",
    "run_experiment",
]
