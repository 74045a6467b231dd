"""Where data sets are looked for, and what every reader checks alike."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from .._namespace import native

Split = Literal["train", "test"]


def check_split(split: str) -> None:
    """Refuse what is neither of the two splits."""
    if not isinstance(split, str) or split not in get_args(Split):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")


def check_labels(labels: Any, n_classes: int, where: object) -> Any:
    """Labels as uint8, each one of the classes; `where` names their file."""
    labels = native(labels)
    if len(labels) and not (labels.min() >= 0 and labels.max() < n_classes):
        bad = labels.max() if labels.max() >= n_classes else labels.min()
        raise ValueError(f"{where}: label {bad} of {n_classes} classes")
    return labels.astype(np.uint8, copy=False)


def user_cache() -> Path:
    """``$FASTSNN_CACHE``, or else the place of this platform, by pooch if it is installed."""
    if os.environ.get("FASTSNN_CACHE"):
        return Path(os.environ["FASTSNN_CACHE"])
    try:
        import pooch
    except ImportError:
        usual = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        places = {"darwin": "~/Library/Caches", "win32": "~/AppData/Local"}
        return Path(os.path.expanduser(places.get(sys.platform, usual))) / "fastsnn_np"
    return Path(pooch.os_cache("fastsnn_np"))


def data_folders(*names: str) -> list[Path]:
    """Folders of these names in ``$FASTSNN_DATA``, and of the first in the user's cache."""
    folders = [user_cache() / names[0]]
    if os.environ.get("FASTSNN_DATA"):
        folders = [Path(os.environ["FASTSNN_DATA"]) / name for name in names] + folders
    return folders
