"""Doctests of what needs an optional library are collected only where it is installed."""

import importlib.util

NEEDS = {
    "fastsnn_np/torch": "lightning",
    "fastsnn_np/train.py": "lightning",
    "fastsnn_np/sklearn.py": "sklearn",
    "fastsnn_np/bulk.py": "dask",
}
collect_ignore = [path for path, name in NEEDS.items() if importlib.util.find_spec(name) is None]
