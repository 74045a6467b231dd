"""``latency``: one sample at a time, from a raw image and from events; import and first call."""

from __future__ import annotations

from collections.abc import Iterator

from ..harness.command import Command, NoOptions
from ..harness.rows import Parameters, Phase, Row
from ..harness.session import Session
from ..systems.contests import setup
from ..systems.names import ENGINES, START_PHASES

CALLS = 2000
TURNS = 10  # each has a tenth of the calls, one right after the other
PERCENTILES = [Phase(f"p{p}", source="time", percentile=p) for p in (50, 95, 99)]
START = [Phase(phase, note="kernels compiled before") for phase in START_PHASES]


def run(session: Session, options: NoOptions) -> Iterator[list[Row]]:
    """Measure both engines, 2,000 calls each way in, and fresh processes for the start."""
    count = session.rounds or CALLS
    turns = TURNS if count % TURNS == 0 else 1
    common = {"seed": session.seed, "backend": session.backend}
    for way in session.progress(("raw image", "events", "fresh process"), "way in"):
        if way == "fresh process":
            rounds = 3 if session.quick else 10
            of_processes = Parameters(rounds=rounds)
            chosen = setup("start", **common)
            yield session.measure(chosen, way, of_processes, ENGINES, START, rounds=rounds)
        else:
            chosen = setup("call", way=way, repeats=count // turns, **common)
            calls = Parameters(calls=count)
            yield session.measure(chosen, way, calls, ENGINES, PERCENTILES, rounds=turns)


COMMAND = Command(
    "latency",
    "one sample at a time: p50, p95, p99, first call, import",
    run,
    NoOptions,
)
