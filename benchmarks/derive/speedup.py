"""Speed-ups over the standard SNN, and the paper's equation 9."""

from __future__ import annotations

from collections.abc import Iterable

from ..harness.point import Point
from ..harness.rows import Row
from ..systems.names import STANDARD


def ratios(rows: Iterable[Row], contestant: str, phase: str) -> dict[Point, float]:
    """Speed-up of a contestant over the standard SNN, at every point where both were timed."""
    medians = {
        (row.contestant, Point.of(row)): row.median
        for row in rows
        if row.phase == phase and row.status == "ok" and row.median
    }
    return {
        point: medians[STANDARD, point] / median
        for (name, point), median in medians.items()
        if name == contestant and (STANDARD, point) in medians
    }


def relative(
    rows: Iterable[Row], contestant: str, batch: int = 128
) -> dict[tuple[int, int], float]:
    """Equation 9, at (b, T): one batch of the standard SNN against smaller ones of another."""
    totals = {
        (row.contestant, row.number("b"), row.number("T")): row.median
        for row in rows
        if row.phase == "total" and row.number("n") == 200 and row.median
    }
    return {
        (b, steps): totals[STANDARD, batch, steps] / (batch / b * median)
        for (name, b, steps), median in totals.items()
        if name == contestant and b <= batch and (STANDARD, batch, steps) in totals
    }
