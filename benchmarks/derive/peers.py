"""The peers' times as multiples of ours, and their tables."""

from __future__ import annotations

from collections.abc import Sequence

from ..harness.rows import Row
from ..systems.names import ANCHOR, PEER_PHASES, TASKS
from .markdown import Table


def relative(rows: Sequence[Row], phase: str = "time") -> dict[str, dict[str, float]]:
    """Contestant -> task -> how many times ours, measured in the same run, it takes."""
    ours = {(r.run, r.case): r.median for r in rows if r.contestant == ANCHOR and r.phase == phase}
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        base = ours.get((row.run, row.case))
        if row.phase == phase and row.status == "ok" and row.median and base:
            found.setdefault(row.contestant, {})[row.case] = row.median / base
    return found


def times(value: float, digits: int = 2) -> str:
    """Two digits or three, without an exponent."""
    return f"{value:.0f}" if value >= 10**digits else f"{value:.{digits}g}"


def tables(rows: Sequence[Row]) -> list[Table]:
    """Times in ms and, in brackets, as multiples of ours; then peak memory."""
    ratios = relative(rows)
    found = []
    for phase, unit in PEER_PHASES.items():
        known = {(r.contestant, r.case): r for r in rows if r.phase == phase}
        table = [[f"{phase}, {unit}", *TASKS]]
        for name in dict.fromkeys(r.contestant for r in rows):
            own = ratios.get(name, {}) if phase == "time" else {}
            table.append([name, *(_cell(known.get((name, t)), own.get(t)) for t in TASKS)])
        found.append(table)
    return found


def multiples(rows: Sequence[Row]) -> Table:
    """Only the multiples of ours."""
    head = ["system", *TASKS.values()]
    lines = [
        [name, *(f"{times(of[task])}x" if task in of else "-" for task in TASKS)]
        for name, of in relative(rows).items()
    ]
    return [head, *lines]


def _cell(row: Row | None, ratio: float | None) -> str:
    if row is None or row.median is None:
        return row.status if row else "-"
    if row.unit == "MB":
        return f"{row.median:.0f}"
    return times(row.median, 3) + (f" ({times(ratio)}x)" if ratio else "")
