"""``guard``: about ten ratios against `baseline.json`; one that has got worse ends in status 1.

Ratios of contestants on one machine move far less than times between machines, yet they move: the
baseline names the machine it is of, and each ratio may fall by the tolerance.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import cases, event_cases, peers
from .foreign import Foreign
from .results import machine, summary
from .runner import Bar, Case, measure
from .session import Session

BASELINE = Path(__file__).parent / "baseline.json"
TOLERANCE = 0.4  # a ratio may fall to 60 % of the baseline's
ROUNDS = 5
MOST_FOREIGN = 0.25  # of the machine, while a baseline is taken

_LOOP = "lean torch loop"
_CHEAP = {"lean torch loop": 1.0}
#: what is set up, and the ratios taken there: time of the second over time of the first
WATCHED: tuple[tuple[Case, tuple[Bar, ...]], ...] = (
    (cases.decay_block_against_fft(128, 200, 128, False), (Bar("block", "fft", 1),)),
    (cases.decay_block_against_fft(32, 200, 2048, True), (Bar("block", "fft", 1),)),
    (
        cases.dense_layer_against_its_product(),
        (Bar("layer", "product", 1), Bar("layer, numba", "product", 1)),
    ),
    (
        event_cases.layer_against_products(10, 200, 128, (1.0, 1.0)),
        (Bar("events forward", "product", 1), Bar("events both", "two products", 1)),
    ),
    (event_cases.against_peers("infer 1", _CHEAP), (Bar(peers.ANCHOR, _LOOP, 1),)),
    (event_cases.against_peers("infer 128", _CHEAP), (Bar(peers.ANCHOR, _LOOP, 1),)),
    (event_cases.against_peers("train 128", _CHEAP), (Bar(peers.ANCHOR, _LOOP, 1),)),
    (event_cases.scaling(), (Bar("2 x steps", "base", 1), Bar("2 x events", "base", 1))),
)


def run(session: Session, options: Any) -> int:
    """Measure, compare or, on request, write the baseline anew."""
    found: dict[str, float] = {}
    with Foreign() as foreign:
        for case, bars in session.progress(WATCHED, "case"):
            measured = measure(case, rounds=3 if session.quick else ROUNDS)
            for bar in bars:
                name = f"{case.name}: {bar.than} / {bar.faster}"
                found[name] = measured.ratio(bar)
                row = session.row(case.name, bar.faster, f"ratio to {bar.than}", "", unit="x")
                session.results.add([replace(row, **summary([found[name]]))])
    if foreign.remark():
        print(f"Careful{foreign.remark()}", file=sys.stderr)
    if options.update and foreign.share > MOST_FOREIGN:
        print("The baseline is not written: wait until the machine is idle", file=sys.stderr)
        return 1
    if options.update:
        record = {"machine": machine(), "tolerance": TOLERANCE, "ratios": rounded(found)}
        BASELINE.write_text(json.dumps(record, indent=1) + "\n")
        print(f"Wrote {BASELINE}")
        return 0
    baseline = json.loads(BASELINE.read_text())
    if baseline["machine"] != machine():
        print(f"The baseline is of another machine: {baseline['machine']}", file=sys.stderr)
    text, worse = compare(found, baseline)
    print(text)
    return 1 if worse else 0


def rounded(found: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{ratio:.3g}") for name, ratio in found.items()}


def compare(found: dict[str, float], baseline: dict[str, Any]) -> tuple[str, list[str]]:
    """A Markdown table, and the names of what got worse or has no baseline."""
    lines, worse = ["| ratio | baseline | now | |", "|---|---:|---:|---|"], []
    for name, ratio in found.items():
        before = baseline["ratios"].get(name)
        bad = before is None or ratio < before * (1 - baseline["tolerance"])
        verdict = "no baseline: run with --update" if before is None else "WORSE" if bad else "ok"
        lines.append(f"| {name} | {before or 0:.3g} | {ratio:.3g} | {verdict} |")
        worse += [name] if bad else []
    return "\n".join(lines), worse
