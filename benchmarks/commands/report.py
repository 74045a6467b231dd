"""``report``: one page of everything that was measured."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..harness.command import Command
from ..harness.results import DEFAULT
from ..harness.rows import Row
from ..harness.session import Session


@dataclass(frozen=True)
class Options:
    out: Path
    runs: Path
    root: Path | None


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=DEFAULT.parent / "report.html")
    parser.add_argument("--runs", type=Path, default=DEFAULT.parent / "runs")
    parser.add_argument("--root", type=Path, help="folder with the data sets' original files")


def run(session: Session, options: Options) -> Iterator[list[Row]]:
    """Measure nothing: the command line makes the page of the rows that are there."""
    yield from ()


COMMAND = Command(
    "report",
    "one HTML page and a Markdown table of everything that was measured",
    run,
    Options,
    add_options,
    shares=("results",),
)
