"""``cases``: ratios with bars."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from ..harness.command import Command
from ..harness.rows import Parameters, Phase, Row
from ..harness.session import Session
from ..systems.cases.case import Case
from ..systems.contests import case_setup


@dataclass(frozen=True)
class Options:
    cases: list[str]  #: all if empty


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cases", nargs="*", metavar="case", help="all unless given")


def run(session: Session, options: Options) -> Iterator[list[Row]]:
    """Measure some cases, or all, whatever the results have already.

    Raises
    ------
    SystemExit
        If there is no case of a name.
    """
    from ..systems.cases.catalogue import CASES

    names = [case.name for case in CASES]
    unknown = sorted(set(options.cases) - set(names))
    if unknown:
        raise SystemExit(f"no case {', '.join(unknown)}; there are {', '.join(names)}")
    chosen = [case for case in CASES if not options.cases or case.name in options.cases]
    for case in session.progress(chosen, "case"):
        rounds = min(case.rounds, 5) if session.quick else case.rounds
        yield measure(session, case, case.names, session.rounds or rounds)


def measure(session: Session, case: Case, names: tuple[str, ...], rounds: int) -> list[Row]:
    """Rows of some of a case's contestants."""
    return session.measure(
        case_setup(case),
        case.name,
        Parameters(),
        names,
        [Phase("time", case.unit)],
        rounds=rounds,
        resumes=False,
        attempts=1,
    )


COMMAND = Command(
    "cases",
    "ratios with bars: the core and the event engine against products, libraries, memory",
    run,
    Options,
    add_options,
    shares=("results", "rounds", "against"),
)
