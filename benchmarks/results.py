"""One CSV file for every measurement of every command: appended to, never rewritten.

A row is one measurement: what was measured, its figures, and the machine, versions, threads, seed
and commit they belong to. A measurement whose key is in the file already is not repeated, so that
an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import csv
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from .foreign import REMARK

DEFAULT = Path(__file__).parent / "results" / "results.csv"
_PACKAGES = (
    *("fastsnn-np", "numpy", "scipy", "numba", "torch", "jax"),
    *("snntorch", "spikingjelly", "norse", "sinabs", "spyx"),
)
# what makes two measurements the same one
_KEY = (
    *("command", "case", "contestant", "phase", "parameters"),
    *("machine", "device", "threads", "seed", "commit", "quick"),
)


@dataclass(frozen=True)
class Row:
    """A measurement; times in ms, memory in MB."""

    command: str
    case: str
    contestant: str
    phase: str  #: "forward", "backward", "total", "p95", ...
    parameters: str  #: "T=128 b=32 n=200", in the order of the alphabet
    status: str = "ok"  #: "ok", "skipped", "refused" (outputs disagree) or "failed"
    unit: str = "ms"
    median: float | None = None
    mean: float | None = None
    sd: float | None = None
    repeats: int = 0
    note: str = ""
    quick: bool = False
    device: str = "cpu"
    threads: int = field(default_factory=lambda: threads())
    seed: int = 0
    machine: str = field(default_factory=lambda: machine())
    versions: str = field(default_factory=lambda: versions())
    commit: str = field(default_factory=lambda: commit())
    run: str = ""  #: when the command started: ratios are taken within one run
    time: str = field(default_factory=lambda: now())

    @property
    def key(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in _KEY)

    def parameter(self, name: str) -> int:
        """One of the numbers in `parameters`."""
        return int(dict(pair.split("=") for pair in self.parameters.split())[name])


def parameters(**values: Any) -> str:
    return " ".join(f"{name}={values[name]}" for name in sorted(values))


def summary(values: Sequence[float]) -> dict[str, Any]:
    """median, mean, sample standard deviation and number of repeats."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {
        "median": statistics.median(values),
        "mean": statistics.fmean(values),
        "sd": sd,
        "repeats": len(values),
    }


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

    def add(self, rows: Iterable[Row]) -> None:
        """Append, and flush: nothing measured is lost when the command is interrupted."""
        rows = [Row(**{**asdict(row), "run": self.run}) for row in rows]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(Row)], lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerows({k: _text(v) for k, v in asdict(row).items()} for row in rows)
        self.rows += rows
        self.done |= {row.key for row in rows}

    def latest(self, command: str, **wanted: Any) -> list[Row]:
        """The newest row of each measurement of a command, whatever commit it is of."""
        newest: dict[Any, Row] = {}
        for row in self.rows:
            if row.command == command and all(getattr(row, k) == v for k, v in wanted.items()):
                newest[(row.case, row.contestant, row.phase, row.parameters, row.device)] = row
        return list(newest.values())


def read(path: Path) -> list[Row]:
    """The rows of a file.

    Raises
    ------
    ValueError
        If its columns are not those of `Row`.
    """
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        wanted = [f.name for f in fields(Row)]
        if reader.fieldnames != wanted:
            raise ValueError(
                f"{path} has the columns {reader.fieldnames} and {wanted} are expected: "
                "move it away, or name another file with --results"
            )
        return [_row(record) for record in reader]


def _row(record: dict[str, str]) -> Row:
    values: dict[str, Any] = dict(record)
    for name in ("median", "mean", "sd"):
        values[name] = float(record[name]) if record[name] else None
    for name in ("repeats", "threads", "seed"):
        values[name] = int(record[name])
    values["quick"] = record["quick"] == "True"
    return Row(**values)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@cache
def machine() -> str:
    """Processor and number of cores."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        pass
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def threads() -> int:
    """How many threads a contestant may use: the cores this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@cache
def versions(packages: tuple[str, ...] = _PACKAGES) -> str:
    """Versions of what is installed, and the settings that change the speed."""
    found = [f"Python {platform.python_version()}"]
    for package in packages:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    settings = [f"{k}={v}" for k, v in os.environ.items() if k.startswith(("OPENBLAS", "NUMBA"))]
    return "; ".join([", ".join(found), *settings])


@cache
def commit() -> str:
    """The commit, with a + where the code differs from it; the results do not count as code."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    changed = git("status", "--porcelain", "--", ":/", ":(exclude,top)benchmarks/results")
    return (git("rev-parse", "--short=10", "HEAD") or "unknown") + ("+" if changed else "")
