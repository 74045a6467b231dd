"""The table of `latency`."""

from __future__ import annotations

from collections.abc import Iterable

from ..harness.rows import Row
from .markdown import Table, figure


def table(rows: Iterable[Row]) -> Table:
    """Engines, ways in and percentiles, in ms."""
    lines = [[r.contestant, r.case, r.phase, figure(r.median, r.status)] for r in rows]
    return [["engine", "from", "what", "ms"], *lines]
