"""Another checkout of this project as a contestant.

Its `fastsnn_np` is measured by the benchmarks of this checkout: the same tasks, seeds and judges.
It runs in a process of its own, whose path has a folder with these benchmarks, then the checkout,
and nothing else; what is installed there as `fastsnn_np`, editable or not, comes after both.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from .machine import ROOT, commit


@dataclass(frozen=True)
class Checkout:
    """A folder that has `fastsnn_np` in it, and the Python that runs it."""

    path: Path
    python: str = sys.executable

    @classmethod
    def at(cls, path: Path, python: Path | None = None) -> Checkout:
        """The checkout in a folder, run by `python`, or by its own `.venv` if it has one.

        Raises
        ------
        ValueError
            If the folder has no `fastsnn_np`, or there is no such Python.
        """
        path = path.resolve()
        if not (path / "fastsnn_np" / "__init__.py").is_file():
            raise ValueError(f"{path} is no checkout of this project: it has no fastsnn_np")
        own = path / ".venv" / "bin" / "python"
        # a link to an interpreter is not followed: it is what makes a virtual environment
        chosen = python.absolute() if python else own if own.exists() else Path(sys.executable)
        if not chosen.exists():
            raise ValueError(f"{chosen} does not exist; --against-python wants a Python")
        return cls(path, str(chosen))

    @property
    def label(self) -> str:
        """The commit, or the folder's name where git knows none."""
        found = commit(self.path)
        return self.path.name if found.startswith("unknown") else found

    def environment(self, folder: Path) -> dict[str, str]:
        """The environment of a process in `folder`, where `benchmarks` is a link to these."""
        link = folder / "benchmarks"
        if not link.exists():
            link.symlink_to(ROOT / "benchmarks", target_is_directory=True)
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(folder), str(self.path)]),
            "PYTHONNOUSERSITE": "1",
        }


HERE = Checkout(ROOT)
