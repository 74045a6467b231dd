"""``speedup``: the paper's grid for one layer (section 3.1), forward and backward."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from .results import Row, parameters
from .session import Session

COMMAND = "speedup"
PHASES = ("forward", "backward", "total")
BASELINE = "standard SNN"
BUDGET_S, QUICK_BUDGET_S = 20.0, 3.0  # of one forward and backward pass
MEMORY_SHARE = 0.6  # of what is free


class Point(NamedTuple):
    """Neurons, steps and batch size."""

    n: int
    T: int
    b: int

    @property
    def text(self) -> str:
        return parameters(**self._asdict())

    def cost(self, contestant: str) -> int:
        """In units of its own: the published FastSNN is quadratic in T."""
        return self.n * self.b * self.T ** (2 if "published" in contestant else 1)

    def gigabytes(self) -> float:
        """What dense input, and about ten arrays of the layer's size, take."""
        return 4e-9 * self.b * self.T * (1.5 * 1000 + 10 * self.n)


def grid(quick: bool) -> list[Point]:
    """Heat maps over n and T, and the lines at n = 200; from small to large."""
    if quick:
        maps = [Point(n, t, b) for n in (100, 200, 500) for t in (8, 32, 128) for b in (32, 128)]
        lines = [Point(200, 2**k, b) for k in range(3, 8) for b in (32, 128)]
    else:
        sizes = range(100, 1001, 100)
        maps = [Point(n, 2**k, b) for n in sizes for k in range(3, 12) for b in (32, 64, 128)]
        lines = [Point(200, 2**k, b) for k in range(3, 12) for b in (16, 256)]
    return sorted({*maps, *lines}, key=lambda p: (p.T * p.n * p.b, p))


def predicted_s(rows: Iterable[Row], contestant: str, point: Point) -> float | None:
    """Seconds of a pass, by the costs of it and of the largest measured point below it."""
    known = {}
    for row in rows:
        if row.contestant == contestant and row.phase == "total" and row.median is not None:
            below = Point(*(row.parameter(name) for name in "nTb"))
            if all(a <= b for a, b in zip(below, point, strict=True)):
                known[below] = row.median
    if not known:
        return None
    nearest = max(known, key=lambda p: p.cost(contestant))
    return 1e-3 * known[nearest] * point.cost(contestant) / nearest.cost(contestant)


def run(session: Session, options: Any) -> None:
    """Measure what is not in the results yet, and draw."""
    from . import figures, layers

    budget = options.budget or (QUICK_BUDGET_S if session.quick else BUDGET_S)
    room = MEMORY_SHARE * _free_gigabytes()
    rounds = session.rounds or (3 if session.quick else 10)
    for point in session.progress(grid(session.quick), "point"):
        skip = {}
        for name in layers.CONTESTANTS:
            seconds = predicted_s(session.results.latest(COMMAND, case="layer"), name, point)
            if session.device != "cpu" and name in layers.CPU_ONLY:
                skip[name] = "it runs on the CPU"
            elif point.gigabytes() > room:
                skip[name] = f"would take {point.gigabytes():.1f} GB, and {room:.1f} are to be had"
            elif seconds is not None and seconds > budget:
                skip[name] = f"predicted {seconds:.1f} s a pass, budget {budget:g} s"

        def make(names: list[str], point: Point = point) -> tuple[dict[str, Any], str]:
            makers = {name: layers.CONTESTANTS[name] for name in names}
            layer = layers.Layer.random(
                point.b, point.n, point.T, seed=session.seed, device=session.device
            )
            remark = layers.check(layer, makers)
            return {name: maker(layer)[0] for name, maker in makers.items()}, remark

        session.duel(
            "layer", point.text, make, layers.CONTESTANTS, PHASES, rounds=rounds, skip=skip
        )
    figures.draw_speedup(session.results)


def ratios(rows: Iterable[Row], contestant: str, phase: str) -> dict[Point, float]:
    """Speed-up of a contestant over the standard SNN, at every point where both were timed."""
    medians = {
        (row.contestant, Point(*(row.parameter(k) for k in "nTb"))): row.median
        for row in rows
        if row.phase == phase and row.status == "ok" and row.median
    }
    return {
        point: medians[BASELINE, point] / median
        for (name, point), median in medians.items()
        if name == contestant and (BASELINE, point) in medians
    }


def relative(
    rows: Iterable[Row], contestant: str, batch: int = 128
) -> dict[tuple[int, int], float]:
    """Equation 9, at (b, T): one batch of the standard SNN against smaller ones of another."""
    totals = {
        (row.contestant, row.parameter("b"), row.parameter("T")): row.median
        for row in rows
        if row.phase == "total" and row.parameter("n") == 200 and row.median
    }
    return {
        (b, steps): totals[BASELINE, batch, steps] / (batch / b * median)
        for (name, b, steps), median in totals.items()
        if name == contestant and b <= batch and (BASELINE, batch, steps) in totals
    }


def _free_gigabytes() -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 8.0
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 1e6
