"""Doctests of what needs an optional library are collected only where it is installed."""

import importlib.util

NEEDS = {
    "fastsnn_np/torch": "torch",
    "fastsnn_np/torch/training": "lightning",
    "fastsnn_np/experiments": "lightning",
    "fastsnn_np/sklearn.py": "sklearn",
    "fastsnn_np/bulk.py": "dask",
}
collect_ignore = [path for path, name in NEEDS.items() if importlib.util.find_spec(name) is None]
