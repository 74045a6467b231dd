"""``data``: the data sets, where their files are, and what is missing."""

from __future__ import annotations

import argparse
from typing import Any

from .._storage import as_path
from ..datasets._catalogue import DATA_SETS, DataSet, Root
from ..datasets._sources import Split
from ._command import Command

_SPLITS: tuple[Split, ...] = ("train", "test")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", nargs="?", help=f"{', '.join(DATA_SETS)}; all unless given")
    parser.add_argument("--root", help="folder with the original files; nothing else is tried then")


def _run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    root = None if arguments.root is None else as_path(arguments.root, "--root")
    if root is not None and not root.is_dir():
        raise NotADirectoryError(f"--root must be a folder, got {root}")
    chosen = list(DATA_SETS.values())
    if arguments.dataset is not None:
        chosen = [named_set(arguments.dataset)]
    return [_found(data_set, root) for data_set in chosen]


def named_set(name: str) -> DataSet:
    """A data set by name."""
    if name not in DATA_SETS:
        raise ValueError(f"dataset must be one of {', '.join(map(repr, DATA_SETS))}, got {name!r}")
    return DATA_SETS[name]


def _found(data_set: DataSet, root: Root) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": data_set.name,
        "kind": data_set.kind,
        "classes": list(data_set.classes),
    }
    missing = []
    for split in _SPLITS:
        try:
            found[split] = str(data_set.find(split, root))
        except FileNotFoundError as error:
            found[split] = None
            missing.append(str(error))
    found["missing"] = missing[0] if missing else None
    return found


def _text(result: list[dict[str, Any]]) -> str:
    lines = []
    for found in result:
        lines.append(f"{found['name']}: {found['kind']}, {len(found['classes'])} classes")
        lines += [f"  {split}: {found[split] or 'not found'}" for split in _SPLITS]
        if found["missing"]:
            lines += [f"  {line}" for line in found["missing"].splitlines()]
    return "\n".join(lines)


COMMAND = Command(
    "data",
    about="list the data sets, where their files are, and what is missing",
    example="data\ndata shd --root downloads/",
    add_options=_add_options,
    run=_run,
    text=_text,
)
