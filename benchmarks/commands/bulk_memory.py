"""``bulk-memory``: inference over more input than fits, and the peak of the memory (Linux only).

It needs Dask. The run has a process of its own, and no figure if its results are not `forward`'s.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from ..harness.command import Command
from ..harness.rows import Parameters, Phase, Row
from ..harness.session import Session
from ..systems.contests import setup

CONTESTANT = "forward_blocks"
PHASES = [Phase("time"), Phase("peak memory", "MB")]


@dataclass(frozen=True)
class Options:
    gigabytes: float
    samples: int
    limit: float


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gigabytes", type=float, default=20.0, help="of input in all")
    parser.add_argument("--samples", type=int, default=512, help="in a block")
    parser.add_argument("--limit", type=float, default=2.0, help="on the resident memory, in GB")


def run(session: Session, options: Options) -> Iterator[list[Row]]:
    """One run over all blocks."""
    from ..systems.bulk import blocks

    count = blocks(options.gigabytes, options.samples)
    yield session.measure(
        setup("bulk", count=count, samples=options.samples),
        "random spikes",
        Parameters(blocks=count, samples=options.samples),
        [CONTESTANT],
        PHASES,
        rounds=1,
        is_apart=True,
        resumes=False,
        attempts=1,
    )


COMMAND = Command(
    "bulk-memory",
    "inference over 20 GB of spikes, made as they are read, and the peak of the memory",
    run,
    Options,
    add_options,
    shares=("results", "against"),
)
