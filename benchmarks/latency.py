"""``latency``: one sample at a time, from a raw image and from events; import and first call."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import fastsnn_np as fs
from fastsnn_np.datasets import fashion_mnist_sample
from fastsnn_np.encoding import latency as encode

from .foreign import undisturbed
from .peers import network_task
from .results import Row
from .session import Session

COMMAND = "latency"
CALLS = 2000
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99}
START_PHASES = ("import", "prepare", "first call")

_START = """
import json, time
start = time.perf_counter()
import fastsnn_np as fs
imported = time.perf_counter()
from benchmarks.latency import network_and_image, calls
network, image = network_and_image({seed})
before = time.perf_counter()
call = calls(network, image, {backend!r})["raw image"]
ready = time.perf_counter()
call()
print(json.dumps([1e3 * (imported - start), 1e3 * (ready - before),
                  1e3 * (time.perf_counter() - ready)]))
"""


def network_and_image(seed: int) -> tuple[fs.Network, Any]:
    images, _ = fashion_mnist_sample("test")
    return network_task(1, seed)[0], images[:1]


def calls(network: fs.Network, image: Any, backend: str) -> dict[str, Callable[[], Any]]:
    """Both ways in: encoding included, or from events that are there."""
    prepared = fs.prepare(network, backend=backend)
    spikes = encode(image)
    x: Any = spikes.to_dense(np.float32)
    if backend == "numba":
        x = fs.Events.from_dense(spikes.to_dense(bool))
    return {
        "raw image": lambda: prepared(encode(image)).prediction,
        "events": lambda: prepared(x).prediction,
    }


def run(session: Session, options: Any) -> None:
    """Measure both engines, 2,000 calls each way in, and fresh processes for the start."""
    count = session.rounds or CALLS
    engines = {"event": "numba", "dense": session.backend or "numpy"}
    for name, backend in session.progress(engines.items(), "engine"):
        _percentiles(session, name, backend, count)
        _start(session, name, backend, 3 if session.quick else 10)
    print(table(session.results.latest(COMMAND)))


def _percentiles(session: Session, name: str, backend: str, count: int) -> None:
    network, image = network_and_image(session.seed)
    expected = int(np.asarray(fs.forward(encode(image), network, backend="numpy").prediction)[0])
    for case, call in calls(network, image, backend).items():
        rows = [session.row(case, name, p, f"calls={count}") for p in PERCENTILES]
        if all(map(session.results.has, rows)):
            continue
        got = int(fs.backends.get("numpy").asarray(call())[0])
        if got != expected:
            note = f"outputs disagree: class {got}, and the dense core says {expected}"
            session.results.add(replace(row, status="refused", note=note) for row in rows)
            continue
        for _ in range(50):
            call()
        time.sleep(0.1)

        def take(call: Callable[[], Any] = call) -> list[float]:
            return [session.timer(call)[0] for _ in range(count)]

        foreign, taken = undisturbed(take)
        session.results.add(
            replace(
                row,
                median=float(np.percentile(taken, PERCENTILES[row.phase])),
                mean=float(np.mean(taken)),
                sd=float(np.std(taken, ddof=1)),
                repeats=count,
                note="the prediction is the dense core's" + foreign.remark(),
            )
            for row in rows
        )


def _start(session: Session, name: str, backend: str, rounds: int) -> None:
    """Import, preparation and first call of a fresh process whose kernels are compiled on disk."""
    rows = [session.row("fresh process", name, p, f"rounds={rounds}") for p in START_PHASES]
    if all(map(session.results.has, rows)):
        return
    code = _START.format(seed=session.seed, backend=backend)
    taken = []
    for _ in range(rounds + 1):  # the first fills the disk's cache, and is left out
        done = subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        taken.append(json.loads(done.stdout.splitlines()[-1]))
    session.results.add(
        replace(
            row,
            median=float(np.median(values)),
            mean=float(np.mean(values)),
            sd=float(np.std(values, ddof=1)),
            repeats=rounds,
            note="kernels compiled before",
        )
        for row, values in zip(rows, np.array(taken[1:]).T, strict=True)
    )


def table(rows: list[Row]) -> str:
    """Markdown, in ms."""
    lines = ["| engine | from | what | ms |", "|---|---|---|---:|"]
    for row in rows:
        figure = row.status if row.median is None else f"{row.median:.3g}"
        lines.append(f"| {row.contestant} | {row.case} | {row.phase} | {figure} |")
    return "\n".join(lines)
