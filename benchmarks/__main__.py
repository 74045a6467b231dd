"""``python -m benchmarks [case ...]``: measure, print Markdown, exit with 1 if a bar is not met."""

from __future__ import annotations

import argparse
import sys

from . import cases, event_cases
from .runner import machine, measure, report

PACKAGES = ("fastsnn-np", "numpy", "scipy", "numba", "torch", "jax", "snntorch")
CASES = (*cases.CASES, *event_cases.CASES)


def main() -> int:
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Ratios of medians, contestants interleaved, never where outputs disagree.",
        epilog="cases: " + ", ".join(names),
    )
    parser.add_argument("cases", nargs="*", metavar="case", help="all unless given")
    parser.add_argument("--rounds", type=int, help="how often each contestant runs")
    arguments = parser.parse_args()
    unknown = set(arguments.cases) - set(names)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    print(machine(PACKAGES), flush=True)
    all_met = True
    for case in CASES:
        if not arguments.cases or case.name in arguments.cases:
            text, met = report(measure(case, rounds=arguments.rounds))
            print(f"\n{text}", flush=True)
            all_met &= met
    return 0 if all_met else 1


sys.exit(main())
