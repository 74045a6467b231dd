"""A run's folder: one run at a time, and what it may be continued with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .._storage import read_json, replacing
from ..torch.training.checkpoint import CHECKPOINTS, last_checkpoint
from .model import BESIDE, RECIPE
from .recipe import DEFAULTS, check_keys

SUMMARY = "summary.json"
_LEFTOVER = re.compile(r"\.(.+)\.[a-z0-9_]{8}")  # the temporary names of `replacing`


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """The folder `out` for this process alone; what a killed one has left is cleared away.

    The operating system holds the lock, and frees it however the process ends.

    Raises
    ------
    FileExistsError
        If another run is at work there.
    """
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / ".lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise FileExistsError(
            f"another run is at work in {out}: choose another folder, or wait until it has ended"
        ) from None
    try:
        _remove_leftovers(out)
        yield
    finally:
        lock.release()


def _remove_leftovers(out: Path) -> None:
    """Delete the temporary files of a run that was killed while it wrote them."""
    for folder in (out, out / CHECKPOINTS):
        for path in folder.glob(".*") if folder.is_dir() else ():
            if _LEFTOVER.fullmatch(path.name) and path.is_file():
                path.unlink(missing_ok=True)


def check_unmixed(out: Path, identity: dict[str, Any], resume: bool) -> None:
    """Refuse to mix two runs in one folder; one that has left no checkpoint is none.

    Raises
    ------
    FileExistsError
        If there is a run and `resume` is False.
    ValueError
        If that run was made with another recipe or seed. With a constant learning rate it may be
        given more epochs; a cosine would have come down differently.
    """
    path = out / RECIPE
    if not (path.is_file() and last_checkpoint(out / CHECKPOINTS)):
        return
    if not resume:
        raise FileExistsError(
            f"{out} holds a run already: continue it with resume (--resume), or choose another "
            "folder"
        )
    before = _read_identity(path)
    changed = [key for key in identity if identity[key] != before.get(key)]
    if changed == ["epochs"]:
        _check_epochs(out, before["epochs"], identity)
    elif changed:
        raise ValueError(
            f"{out} was started with another recipe: "
            + ", ".join(f"{key} {before.get(key)!r}, now {identity[key]!r}" for key in changed)
        )


def _read_identity(path: Path) -> dict[str, Any]:
    """Recipe and seed of a run; what was no key yet when it began has its default.

    Raises
    ------
    ValueError
        If the file is damaged, or of a newer version with further keys.
    """
    before = read_json(path)
    check_keys((key for key in before if key not in BESIDE), where=f" in {path}")
    return {**DEFAULTS, **before}


def _check_epochs(out: Path, before: Any, identity: dict[str, Any]) -> None:
    if identity["schedule"] != "constant":
        raise ValueError(
            f"{out} was started with {before} epochs, now {identity['epochs']}: the learning rate "
            f"of a {identity['schedule']} schedule ends with the last epoch, and would have come "
            "down differently; a run with schedule=constant can be extended"
        )


def save_json(content: dict[str, Any], path: Path) -> None:
    """Write a dict; the file appears whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
