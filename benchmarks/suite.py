"""``cases``: measure, print Markdown, and say whether the bars are met."""

from __future__ import annotations

from typing import Any

from . import cases, event_cases
from .results import machine, versions
from .runner import measure, report
from .session import Session

CASES = (*cases.CASES, *event_cases.CASES)


def run(session: Session, options: Any) -> int:
    """Measure some cases, or all; 1 if a bar is not met.

    Raises
    ------
    SystemExit
        If there is no case of a name.
    """
    names = [case.name for case in CASES]
    unknown = sorted(set(options.cases) - set(names))
    if unknown:
        raise SystemExit(f"no case {', '.join(unknown)}; there are {', '.join(names)}")
    print(f"{machine()}; {versions()}", flush=True)
    all_met = True
    chosen = [case for case in CASES if not options.cases or case.name in options.cases]
    for case in session.progress(chosen, "case"):
        rounds = session.rounds or (min(case.rounds, 5) if session.quick else None)
        text, met = report(measure(case, rounds=rounds))
        print(f"\n{text}", flush=True)
        all_met &= met
    return 0 if all_met else 1
