"""``scaling``: what happens to the time when one thing is doubled."""

from __future__ import annotations

from collections.abc import Iterator

from ..harness.command import Command, NoOptions
from ..harness.rows import Parameters, Phase, Row
from ..harness.session import Session
from ..systems.contests import setup
from ..systems.names import EVENT
from ..systems.streams import CONTESTANTS, Setting


def axes(quick: bool) -> dict[str, list[Setting]]:
    """What is doubled, and the settings from small to large."""
    few = 5 if quick else 8
    base = Setting()
    steps = [2**k for k in (range(9, 18, 2) if quick else range(8, 18))]
    return {
        "T": [base._replace(T=t, b=1) for t in steps],
        "hz": [base._replace(hz=5 * 2**k) for k in range(few)],
        "n": [base._replace(n=50 * 2**k) for k in range(few)],
        "b": [base._replace(b=8 * 2**k) for k in range(few)],
        "layers": [base._replace(layers=2**k) for k in range(4)],
        "threads": [base._replace(threads=k, b=128) for k in (1, 2)],
    }


def run(session: Session, options: NoOptions) -> Iterator[list[Row]]:
    """Measure both engines at every setting that is not in the results yet."""
    settings = [(axis, s) for axis, several in axes(session.quick).items() for s in several]
    for axis, setting in session.progress(settings, "setting"):
        values = setting._asdict()
        yield session.measure(
            setup("stream", seed=session.seed, backend=session.backend, **values),
            axis,
            Parameters(**values),
            (EVENT,) if axis == "threads" else CONTESTANTS,
            [Phase("forward")],
            rounds=session.rounds or (5 if session.quick else 10),
        )


COMMAND = Command(
    "scaling",
    "cost against steps, events, neurons, batch, layers and threads, with exponents",
    run,
    NoOptions,
)
