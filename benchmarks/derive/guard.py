"""The watched ratios, and which of them got worse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..harness.contest import Bar
from ..harness.rows import Row
from .cases import medians, ratio
from .markdown import markdown

TOLERANCE = 0.4  # a ratio may fall to 60 % of the baseline's
TOLERANCE_AGAINST = 0.05  # a ratio may fall to 95 % of another checkout's, measured in turns


def ratios(
    rows: Iterable[Row], watched: Mapping[str, Sequence[Bar]], checkout: str = ""
) -> dict[str, float]:
    """Watched ratio -> its value now, or with the code of another checkout."""
    found: dict[str, float] = {}
    rows = list(rows)
    for case, bars in watched.items():
        by_name = medians([row for row in rows if row.case == case], checkout)
        for bar in bars:
            value = ratio(bar, by_name)
            if value is not None:
                found[f"{case}: {bar.than} / {bar.faster}"] = value
    return found


def rounded(found: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.3g}") for name, value in found.items()}


def compare(
    found: Mapping[str, float],
    before: Mapping[str, float],
    tolerance: float,
    *,
    than: str = "baseline",
    absent: str = "no baseline: run with --update",
) -> tuple[str, list[str]]:
    """A Markdown table, and the names of what got worse or has nothing to be compared with."""
    table, worse = [["ratio", than, "now", "now / before", ""]], []
    for name, value in found.items():
        old = before.get(name)
        bad = old is None or value < old * (1 - tolerance)
        verdict = absent if old is None else "WORSE" if bad else "ok"
        change = "-" if old is None else f"{value / old:.3f}"
        table.append([name, f"{old or 0:.3g}", f"{value:.3g}", change, verdict])
        worse += [name] if bad else []
    return markdown(table, ["---", "---:", "---:", "---:", "---"]), worse


def record(machine: str, found: Mapping[str, float]) -> dict[str, Any]:
    """The baseline as it is written."""
    return {"machine": machine, "tolerance": TOLERANCE, "ratios": rounded(found)}
