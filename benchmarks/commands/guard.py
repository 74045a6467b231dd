"""``guard``: about ten ratios, against `baseline.json` or another checkout.

Ratios of contestants on one machine move far less than times between machines, yet they move: the
baseline names the machine it is of, and each ratio may fall by the tolerance. Another checkout
takes its turns on the same machine, so that its ratios may differ by little.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..harness.command import Command
from ..harness.contest import Bar
from ..harness.machine import ROOT
from ..harness.rows import Row
from ..harness.session import Session
from ..systems.names import ANCHOR, LOOP
from .cases import measure

BASELINE = ROOT / "benchmarks" / "baseline.json"
ROUNDS, ROUNDS_AGAINST = 5, 15

#: case -> the ratios taken there: time of the second over time of the first
WATCHED: dict[str, tuple[Bar, ...]] = {
    "decay-128x200x128": (Bar("block", "fft"),),
    "decay-32x200x2048-per-neuron": (Bar("block", "fft"),),
    "dense-layer": (Bar("layer", "product"), Bar("layer, numba", "product")),
    "layer-10hz-200x128": (
        Bar("events forward", "product"),
        Bar("events both", "two products"),
    ),
    "infer-1": (Bar(ANCHOR, LOOP),),
    "infer-128": (Bar(ANCHOR, LOOP),),
    "train-128": (Bar(ANCHOR, LOOP),),
    "scaling": (Bar("2 x steps", "base"), Bar("2 x events", "base")),
}


@dataclass(frozen=True)
class Options:
    update: bool
    tolerance: float | None
    baseline: Path


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--update", action="store_true", help="write the baseline anew")
    parser.add_argument(
        "--tolerance",
        type=float,
        help="by how much a ratio may fall: 0.05 with --against, else what the baseline says",
    )
    parser.add_argument("--baseline", type=Path, default=BASELINE, help="JSON file")


def run(session: Session, options: Options) -> Iterator[list[Row]]:
    """Measure the contestants of every ratio that is watched.

    Raises
    ------
    SystemExit
        If a baseline is to be written of two checkouts.
    """
    from ..systems.cases.catalogue import case

    if options.update and session.against is not None:
        raise SystemExit("--update writes the ratios of this checkout: leave out --against")
    usual = ROUNDS if session.against is None else ROUNDS_AGAINST
    rounds = session.rounds or (3 if session.quick else usual)
    for name, bars in session.progress(WATCHED.items(), "case"):
        wanted = {n for bar in bars for n in (bar.faster, bar.than)}
        chosen = case(name)
        names = tuple(n for n in chosen.names if n in wanted)
        yield measure(session, chosen, names, rounds)


COMMAND = Command(
    "guard",
    "about ten ratios against baseline.json, in about a minute, or against another checkout",
    run,
    Options,
    add_options,
    shares=("results", "device", "rounds", "against"),
)
