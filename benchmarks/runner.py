"""Measure contestants against each other: outputs first, then time, interleaved, as ratios.

A ratio is reported only where the case's own check finds that the contestants' outputs agree.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .timers import Timer, wall_clock

# Libraries' threads spin for a while after their work is done, OpenBLAS's for 0.12 s, and would
# take a core from the next contestant: before every timed call there is a pause, and one more call
# that finds caches and threads again.
SETTLE_S = 0.2


@dataclass(frozen=True)
class Bar:
    """`faster` should take at most 1/at_least of the time of `than`."""

    faster: str
    than: str
    at_least: float


@dataclass(frozen=True)
class Duel:
    """Contestants on one and the same input, ready to be called."""

    contestants: dict[str, Callable[[], Any]]
    #: gets what each contestant returned; returns a remark for the table or raises AssertionError
    check: Callable[[dict[str, Any]], str]


@dataclass(frozen=True)
class Case:
    """A name, what is measured, how to set it up, and what is hoped for."""

    name: str
    about: str
    setup: Callable[[], Duel]
    bars: tuple[Bar, ...] = ()
    rounds: int = 15
    unit: str = "ms"  #: "ms": calls are timed; any other: each call returns its own figure


@dataclass
class Measurement:
    """The figures of every round, by contestant, after a check that passed."""

    case: Case
    remark: str
    values: dict[str, list[float]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        return statistics.median(self.values[name])

    def spread(self, name: str) -> float:
        """Half the distance between the quartiles, relative to the median."""
        low, _, high = statistics.quantiles(self.values[name], n=4)
        return (high - low) / 2 / self.median(name)

    def ratio(self, bar: Bar) -> float:
        return self.median(bar.than) / self.median(bar.faster)


def measure(case: Case, *, rounds: int | None = None) -> Measurement:
    """Run the check, warm up, then time the contestants in turns.

    Raises
    ------
    AssertionError
        If the outputs disagree; nothing is timed then.
    """
    duel = case.setup()
    outputs = {name: call() for name, call in duel.contestants.items()}
    result = Measurement(case, duel.check(outputs))
    del outputs
    if case.unit == "ms":
        for call in duel.contestants.values():
            call()
    result.values = {name: [] for name in duel.contestants}
    for _ in range(rounds or case.rounds):
        for name, call in duel.contestants.items():
            if case.unit == "ms":
                time.sleep(SETTLE_S)
                call()
            elapsed, kept = wall_clock(call)
            result.values[name].append(elapsed if case.unit == "ms" else kept)
            del kept  # freeing is not timed for some and not for others
    return result


@dataclass(frozen=True)
class Pass:
    """A forward pass, and a backward pass from what the forward pass returned."""

    forward: Callable[[], Any]
    backward: Callable[[Any], Any] | None = None

    def __call__(self) -> Any:
        out = self.forward()
        return out if self.backward is None else self.backward(out)


def time_passes(
    passes: dict[str, Pass], rounds: int, timer: Timer = wall_clock
) -> dict[str, dict[str, list[float]]]:
    """ms of "forward", "backward" and their "total", by contestant; interleaved.

    The passes have run before. A short one is preceded by one more run that is not timed: it finds
    caches and threads again after the contestant before. A long one finds them on its way.
    """
    values: dict[str, dict[str, list[float]]] = {name: {} for name in passes}
    for name, run in [item for _ in range(rounds) for item in passes.items()]:
        time.sleep(SETTLE_S)
        if _is_short(values[name]):
            run()
        forward, out = timer(run.forward)
        taken = {"forward": forward}
        if run.backward is not None:
            taken["backward"], kept = timer(lambda run=run, out=out: run.backward(out))
            taken["total"] = taken["forward"] + taken["backward"]
            del kept
        del out
        for phase, elapsed in taken.items():
            values[name].setdefault(phase, []).append(elapsed)
    return values


def _is_short(taken: dict[str, list[float]]) -> bool:
    """Whether the last round took under 50 ms."""
    return bool(taken) and sum(v[-1] for k, v in taken.items() if k != "total") < 50


def report(result: Measurement) -> tuple[str, bool]:
    """A Markdown table of one case, and whether every bar is met."""
    case = result.case
    lines = [
        f"### {case.name}",
        "",
        case.about,
        "",
        "| contestant | median | spread |",
        "|---|---|---|",
    ]
    for name in result.values:
        median = f"{result.median(name):.3g} {case.unit}"
        lines.append(f"| {name} | {median} | ± {100 * result.spread(name):.0f} % |")
    lines.append("")
    met = True
    for bar in case.bars:
        ratio = result.ratio(bar)
        met &= ratio >= bar.at_least
        verdict = "met" if ratio >= bar.at_least else "NOT met"
        lines.append(
            f"* {bar.than} takes {ratio:.2f} times what {bar.faster} takes "
            f"(at least {bar.at_least:.2f}: {verdict})"
        )
    if result.remark:
        lines.append(f"* outputs agree: {result.remark}")
    return "\n".join(lines), met
