"""The table of a case, and whether its bars are met."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from ..harness.contest import Bar
from ..harness.rows import Row
from .markdown import markdown


def medians(rows: Iterable[Row], checkout: str = "") -> dict[str, float]:
    """Median by contestant; those that ran from another checkout are taken from there only."""
    rows = list(rows)
    theirs = {row.contestant for row in rows if row.checkout == checkout}
    return {
        row.contestant: row.median
        for row in rows
        if row.median is not None and row.checkout == (checkout if row.contestant in theirs else "")
    }


def ratio(bar: Bar, by_name: dict[str, float]) -> float | None:
    """How many times what `faster` takes `than` takes; None where one has no figure."""
    if bar.faster not in by_name or bar.than not in by_name:
        return None
    return by_name[bar.than] / by_name[bar.faster]


def spread(row: Row) -> float:
    """Half the distance between the quartiles, relative to the median."""
    if len(row.values) < 2 or not row.median:
        return 0.0
    low, _, high = statistics.quantiles(row.values, n=4)
    return (high - low) / 2 / row.median


def report(name: str, about: str, rows: Sequence[Row], bars: Iterable[Bar]) -> tuple[str, bool]:
    """A Markdown table of one case, and whether outputs agree and every bar is met."""
    table = [["contestant", "median", "spread"]]
    for row in rows:
        who = f"{row.contestant} @ {row.checkout}" if row.checkout else row.contestant
        if row.median is None:
            table.append([who, row.status, ""])
        else:
            table.append([who, f"{row.median:.3g} {row.unit}", f"± {100 * spread(row):.0f} %"])
    lines = [f"### {name}", "", about, "", markdown(table), ""]
    own, met = medians(rows), True
    for bar in bars:
        found = ratio(bar, own)
        if found is None:
            met = False
            lines.append(f"* {bar.than} against {bar.faster}: no figure, NOT met")
            continue
        met &= found >= bar.at_least
        verdict = "met" if found >= bar.at_least else "NOT met"
        lines.append(
            f"* {bar.than} takes {found:.2f} times what {bar.faster} takes "
            f"(at least {bar.at_least:.2f}: {verdict})"
        )
    for status, note in dict.fromkeys((row.status, row.note) for row in rows):
        if note:
            lines.append(f"* outputs agree: {note}" if status == "ok" else f"* {status}: {note}")
    return "\n".join(lines), met and all(row.status == "ok" for row in rows)
