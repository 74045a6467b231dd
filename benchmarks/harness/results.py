"""One CSV file for every measurement of every command.

It is appended to. A measurement whose key is in the file already is not repeated, so that an
interrupted run goes on where it stopped.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from .contention import REMARK
from .machine import ROOT, now
from .rows import ADDED, COLUMNS, Row, latest

DEFAULT = ROOT / "benchmarks" / "results" / "results.csv"


class Results:
    """The rows of a file, and a way to add to them."""

    def __init__(
        self, path: Path | str = DEFAULT, *, fresh: bool = False, retry_disturbed: bool = False
    ) -> None:
        self.path = Path(path)
        self.rows = read(self.path) if self.path.exists() else []
        newest = {} if fresh else {row.key: row for row in self.rows}
        self.done = {
            key
            for key, row in newest.items()
            if row.status != "failed" and not (retry_disturbed and REMARK in row.note)
        }
        self.run = now()

    def has(self, row: Row) -> bool:
        """Whether this measurement is in the file and need not be taken."""
        return row.key in self.done

    def add(self, rows: Iterable[Row]) -> list[Row]:
        """Append, and flush: nothing measured is lost when the command is interrupted."""
        rows = [replace(row, run=self.run) for row in rows]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists() or _columns(self.path) != COLUMNS:
            _write(self.path, self.rows)
        with self.path.open("a", newline="") as file:
            _writer(file).writerows(row.record() for row in rows)
        self.rows += rows
        self.done |= {row.key for row in rows}
        return rows

    def latest(self, command: str, **wanted: Any) -> list[Row]:
        """The newest row of each measurement of a command; see `harness.rows.latest`."""
        return latest(self.rows, command, **wanted)

    def of_this_run(self) -> list[Row]:
        return [row for row in self.rows if row.run == self.run]


def read(path: Path) -> list[Row]:
    """The rows of a file, which may be of a version that lacked the columns in `rows.ADDED`.

    Raises
    ------
    ValueError
        If its columns are not those of `Row`.
    """
    columns = _columns(path)
    if columns not in (COLUMNS, [name for name in COLUMNS if name not in ADDED]):
        raise ValueError(
            f"{path} has the columns {columns} and {COLUMNS} are expected: "
            "move it away, or name another file with --results"
        )
    with path.open(newline="") as file:
        return [Row.read(record) for record in csv.DictReader(file)]


def _columns(path: Path) -> list[str] | None:
    with path.open(newline="") as file:
        return next(csv.reader(file), None)


def _write(path: Path, rows: Iterable[Row]) -> None:
    """A whole file, put in place of an older one at once."""
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("w", newline="") as file:
        writer = _writer(file)
        writer.writeheader()
        writer.writerows(row.record() for row in rows)
    os.replace(unfinished, path)


def _writer(file: Any) -> csv.DictWriter[str]:
    return csv.DictWriter(file, COLUMNS, lineterminator="\n")
