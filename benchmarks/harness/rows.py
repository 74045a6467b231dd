"""A row is one measurement: what was measured, its figures, and where they were taken."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from .machine import commit, machine, now, threads, versions

# what makes two measurements the same one
_KEY = (
    *("command", "case", "contestant", "phase", "parameters"),
    *("machine", "device", "threads", "seed", "commit", "quick", "checkout"),
)


class Parameters(Mapping[str, "int | str"]):
    """What a measurement was taken with, by name; in a file "T=128 b=32 n=200"."""

    def __init__(self, **values: int | str) -> None:
        self._values = {name: values[name] for name in sorted(values)}

    @classmethod
    def read(cls, text: str) -> Parameters:
        """The parameters of a file's text; whole numbers become numbers."""
        pairs = (pair.split("=", 1) for pair in text.split())
        return cls(**{name: int(v) if v.isdigit() else v for name, v in pairs})

    def number(self, name: str) -> int:
        return int(self._values[name])

    def __getitem__(self, name: str) -> int | str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(tuple(self._values.items()))

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self._values.items())

    __repr__ = __str__


@dataclass(frozen=True)
class Row:
    """A measurement; times in ms, memory in MB."""

    command: str
    case: str
    contestant: str
    phase: str  #: "forward", "backward", "total", "p95", ...
    parameters: Parameters = field(default_factory=Parameters)
    status: str = "ok"  #: "ok", "skipped", "refused" (outputs disagree) or "failed"
    unit: str = "ms"
    median: float | None = None
    mean: float | None = None
    sd: float | None = None
    repeats: int = 0
    note: str = ""
    quick: bool = False
    device: str = "cpu"
    threads: int = field(default_factory=threads)
    seed: int = 0
    machine: str = field(default_factory=machine)
    versions: str = field(default_factory=versions)
    commit: str = field(default_factory=commit)
    run: str = ""  #: when the command started: ratios are taken within one run
    time: str = field(default_factory=now)
    checkout: str = ""  #: which other checkout's code was measured; empty: this one's
    #: every figure, in order; not written to a file
    values: tuple[float, ...] = field(default=(), compare=False, repr=False)

    @property
    def key(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in _KEY)

    def number(self, name: str) -> int:
        """One of the numbers among the parameters."""
        return self.parameters.number(name)

    def record(self) -> dict[str, str]:
        """The row as it is written to a file."""
        return {name: _text(getattr(self, name)) for name in COLUMNS}

    @classmethod
    def read(cls, record: Mapping[str, str]) -> Row:
        """The row of a file's record, which may lack the columns in `ADDED`."""
        values: dict[str, Any] = {**dict.fromkeys(ADDED, ""), **record}
        for name in ("median", "mean", "sd"):
            values[name] = float(record[name]) if record[name] else None
        for name in ("repeats", "threads", "seed"):
            values[name] = int(record[name])
        values["quick"] = record["quick"] == "True"
        values["parameters"] = Parameters.read(record["parameters"])
        return cls(**values)


COLUMNS = [f.name for f in fields(Row) if f.name != "values"]
ADDED = ("checkout",)  #: columns that older files do not have


@dataclass(frozen=True)
class Phase:
    """One figure of a contestant that becomes a row."""

    name: str
    unit: str = "ms"
    source: str = ""  #: what the contestant calls it, if not by `name`
    percentile: int = 50
    note: str = ""
    is_peak: bool = False  #: the peak of the memory, not what its turns gave


def summary(values: Sequence[float], percentile: int = 50) -> dict[str, Any]:
    """A percentile as the row's median, mean, standard deviation, repeats, and all values."""
    middle = statistics.median(values) if percentile == 50 else _percentile(values, percentile)
    return {
        "median": middle,
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "repeats": len(values),
        "values": tuple(values),
    }


def latest(rows: Iterable[Row], command: str, **wanted: Any) -> list[Row]:
    """The newest row of each measurement of a command, whatever commit it is of.

    Rows of other checkouts are left out unless ``checkout`` is named.
    """
    wanted = {"command": command, "checkout": "", **wanted}
    newest: dict[Any, Row] = {}
    for row in rows:
        if all(getattr(row, name) == value for name, value in wanted.items()):
            newest[(row.case, row.contestant, row.phase, row.parameters, row.device)] = row
    return list(newest.values())


def _percentile(values: Sequence[float], percentile: int) -> float:
    import numpy as np

    return float(np.percentile(values, percentile))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
