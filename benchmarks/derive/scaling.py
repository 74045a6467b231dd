"""Exponents: how the time grows with each thing that was doubled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ..harness.rows import Row

FIRST_FITTED = 2  # the shortest inputs measure the call, not the work


def exponents(rows: Iterable[Row]) -> dict[tuple[str, str], float]:
    """(axis, contestant) -> k in time ~ axis^k, by least squares over the upper points."""
    points: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        if row.median is not None and row.case != "threads":
            known = points.setdefault((row.case, row.contestant), {})
            known[row.number(row.case)] = row.median
    return {
        key: _slope(
            [known[size] for size in sorted(known)][FIRST_FITTED - 1 :],
            sorted(known)[FIRST_FITTED - 1 :],
        )
        for key, known in points.items()
        if len(known) > FIRST_FITTED
    }


def lines(rows: Sequence[Row]) -> list[str]:
    """One line an exponent, and what the second thread brings."""
    found = [
        f"{name}: time ~ {axis}^{k:.2f}" for (axis, name), k in sorted(exponents(rows).items())
    ]
    by_threads = {row.number("threads"): row.median for row in rows if row.case == "threads"}
    one, two = by_threads.get(1), by_threads.get(2)
    if one and two:
        found.append(f"event: 2 threads are {one / two:.2f} times as fast as 1")
    return found


def _slope(values: list[float], sizes: list[int]) -> float:
    x, y = ([math.log(a) for a in several] for several in (sizes, values))
    return float(np.polyfit(x, y, 1)[0])
