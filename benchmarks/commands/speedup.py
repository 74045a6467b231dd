"""``speedup``: the paper's grid for one layer (section 3.1), forward and backward."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..harness.command import Command
from ..harness.point import Point
from ..harness.rows import Parameters, Phase, Row
from ..harness.session import Session
from ..systems.contests import setup
from ..systems.names import EVENT, LAYER_CONTESTANTS, PUBLISHED

PHASES = [Phase("forward"), Phase("backward"), Phase("total")]
BUDGET_S, QUICK_BUDGET_S = 20.0, 3.0  # for one forward and backward pass
MEMORY_SHARE = 0.6  # how much of the free memory a point may take


@dataclass(frozen=True)
class Options:
    budget: float | None  #: seconds a pass may take


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--budget", type=float, help="seconds a pass may take; above: skipped")


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


def cost(point: Point, contestant: str) -> int:
    """Cost in units of the contestant's own: the published FastSNN is quadratic in T."""
    return point.n * point.b * point.T ** (2 if contestant == PUBLISHED else 1)


def gigabytes(point: Point) -> float:
    """What dense input, and about ten arrays of the layer's size, take."""
    return 4e-9 * point.b * point.T * (1.5 * 1000 + 10 * point.n)


def predicted_s(rows: Iterable[Row], contestant: str, point: Point) -> float | None:
    """Seconds of a pass, by the costs of it and of the largest measured point below it."""
    known = {}
    for row in rows:
        if row.contestant == contestant and row.phase == "total" and row.median is not None:
            below = Point.of(row)
            if all(a <= b for a, b in zip(below, point, strict=True)):
                known[below] = row.median
    if not known:
        return None
    nearest = max(known, key=lambda p: cost(p, contestant))
    return 1e-3 * known[nearest] * cost(point, contestant) / cost(nearest, contestant)


def skipped(session: Session, point: Point, budget: float, room: float) -> dict[str, str]:
    """Who is left out at a point, and why."""
    rows, reasons = session.results.latest("speedup", case="layer"), {}
    for name in LAYER_CONTESTANTS:
        seconds = predicted_s(rows, name, point)
        if session.device != "cpu" and name == EVENT:
            reasons[name] = "it runs on the CPU"
        elif gigabytes(point) > room:
            reasons[name] = f"would take {gigabytes(point):.1f} GB, and {room:.1f} are to be had"
        elif seconds is not None and seconds > budget:
            reasons[name] = f"predicted {seconds:.1f} s a pass, budget {budget:g} s"
    return reasons


def run(session: Session, options: Options) -> Iterator[list[Row]]:
    """Measure what is not in the results yet, from small to large."""
    budget = options.budget or (QUICK_BUDGET_S if session.quick else BUDGET_S)
    room = MEMORY_SHARE * _free_gigabytes()
    for point in session.progress(grid(session.quick), "point"):
        sizes = point._asdict()
        yield session.measure(
            setup("layer", seed=session.seed, device=session.device, **sizes),
            "layer",
            Parameters(**sizes),
            LAYER_CONTESTANTS,
            PHASES,
            rounds=session.rounds or (3 if session.quick else 10),
            skip=skipped(session, point, budget, room),
        )


def _free_gigabytes() -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 8.0
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 1e6


COMMAND = Command(
    "speedup",
    "the paper's grid for one layer: standard SNN, FastSNN as published, ours",
    run,
    Options,
    add_options,
)
