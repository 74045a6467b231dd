"""Our code now against that of another checkout, measured in turns."""

from __future__ import annotations

from collections.abc import Sequence

from ..harness.rows import Row
from .markdown import Table, figure


def table(rows: Sequence[Row]) -> Table:
    """Every contestant that ran in both, and how many times as fast, or as small, it is now.

    There is no ratio where one of the two has no figure.
    """
    now = {_what(row): row for row in rows if not row.checkout}
    found = [["case", "contestant", "what", "parameters", "before", "now", "before / now"]]
    for row in rows:
        new = now.get(_what(row)) if row.checkout else None
        if new is None:
            continue
        ratio = f"{row.median / new.median:.3f}" if row.median and new.median else "-"
        cells = [f"{figure(r.median, r.status)} {r.unit if r.median else ''}" for r in (row, new)]
        found.append([row.case, row.contestant, row.phase, str(row.parameters), *cells, ratio])
    return found


def _what(row: Row) -> tuple[str, str, str, str]:
    return row.case, row.contestant, row.phase, str(row.parameters)
