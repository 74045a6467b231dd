"""``peers``: the systems that people use, each in a process of its own."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..harness.command import Command
from ..harness.rows import Parameters, Phase, Row
from ..harness.session import Session
from ..systems.catalogue import PEERS
from ..systems.contests import setup
from ..systems.names import ANCHOR, TASKS

PHASES = [
    Phase("time"),
    Phase("peak memory", "MB", is_peak=True, note="beyond what is held between calls"),
]


@dataclass(frozen=True)
class Options:
    group: str


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--group", default="plain", help="which libraries; see benchmarks/systems/catalogue.py"
    )


def run(session: Session, options: Options) -> Iterator[list[Row]]:
    """Measure a group of systems against ours.

    Raises
    ------
    SystemExit
        If there is no such group, or another device than the CPU is asked for.
    """
    groups = sorted({entry.group for entry in PEERS.values()})
    if options.group not in (*groups, "all"):
        raise SystemExit(f"no group {options.group!r}; there are {', '.join(groups)} and all")
    if session.device != "cpu":
        raise SystemExit("the peers are measured on the CPU: not all of them have a GPU version")
    chosen = [n for n, e in PEERS.items() if options.group in (e.group, "all") or n == ANCHOR]
    rounds = session.rounds or (7 if session.quick else 15)
    for task in session.progress(TASKS, "task"):
        yield measure(session, task, options.group, chosen, rounds)


def measure(
    session: Session,
    task: str,
    group: str,
    names: Sequence[str],
    rounds: int,
    *,
    is_apart: bool = True,
) -> list[Row]:
    """Check, time and weigh systems in one task; who failed or was refused gets a row too."""
    return session.measure(
        setup("peer", task=task, seed=session.seed),
        task,
        Parameters(group=group),
        names,
        PHASES,
        rounds=rounds,
        anchor=ANCHOR,
        is_apart=is_apart,
    )


COMMAND = Command(
    "peers",
    "the same layer and network in the libraries people use, each in its own process",
    run,
    Options,
    add_options,
)
