"""``scaling``: what happens to the time when one thing is doubled, with fitted exponents."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

import fastsnn_np as fs
from fastsnn_np.encoding import random_spike_trains

from .results import Row, parameters
from .runner import Pass
from .session import Session

COMMAND = "scaling"
CHUNK = 4096  # steps; longer inputs are streamed
FIRST_FITTED = 2  # the shortest inputs measure the call, not the work


class Setting(NamedTuple):
    """One network and input: everything but one of these stays as it is here."""

    T: int = 512
    hz: int = 20  # with 500 inputs and a step of 1 ms, hz/2 events a step
    n: int = 200
    b: int = 64
    layers: int = 1
    threads: int = 0  # 0: all


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


def run(session: Session, options: Any) -> None:
    """Measure what is not in the results yet, print the exponents, and draw."""
    from .figures_scaling import draw_scaling

    settings = [(axis, s) for axis, several in axes(session.quick).items() for s in several]
    for axis, setting in session.progress(settings, "setting"):
        measure(session, axis, setting)
    for line in exponent_lines(session.results.latest(COMMAND)):
        print(line)
    draw_scaling(session.results)


def contestants(backend: str | None) -> dict[str, str]:
    """Name -> backend of `fastsnn_np.prepare`."""
    return {"event": "numba", "dense, block": backend or "numpy"}


def measure(session: Session, axis: str, setting: Setting) -> None:
    """Both engines at one setting; dense input is made only as long as a chunk."""
    text = parameters(**setting._asdict())
    network = fs.Network.random([500, *[setting.n] * setting.layers, 10], seed=session.seed)
    calls = {
        name: _call(network, setting, backend, session.seed)
        for name, backend in contestants(session.backend).items()
        if not (axis == "threads" and name != "event")
    }

    def make(names: list[str]) -> tuple[dict[str, Pass], str]:
        logits = {
            name: np.asarray(fs.backends.get("numpy").asarray(calls[name]())) for name in names
        }
        first = next(iter(logits.values()))
        for name, other in logits.items():
            close = np.isclose(other, first, rtol=1e-3, atol=1e-3 * np.abs(first).max()).all(-1)
            assert np.mean(~close) <= 0.05, f"{name}: {np.sum(~close)} samples' logits differ"
        return {name: Pass(calls[name]) for name in names}, "logits to 1e-3"

    with _threads(setting.threads):
        rounds = session.rounds or (5 if session.quick else 10)
        session.duel(axis, text, make, list(calls), ("forward",), rounds=rounds)


def _call(network: fs.Network, setting: Setting, backend: str, seed: int) -> Callable[[], Any]:
    chunk = min(setting.T, CHUNK)
    trains = random_spike_trains(setting.b, 500, chunk, rate=(setting.hz,) * 2, seed=seed)
    x: Any = fs.Events.from_dense(trains) if backend == "numba" else trains.astype(np.float32)
    count = setting.T // chunk

    def call() -> Any:
        logits = None
        for result in fs.stream(network, (x for _ in range(count)), backend=backend):
            logits = result.logits
        return logits

    return call


class _threads:  # noqa: N801 (a context manager, used like a function)
    """Numba's threads, for a while."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __enter__(self) -> None:
        import numba

        self.before = numba.get_num_threads()
        numba.set_num_threads(min(self.count or self.before, self.before))

    def __exit__(self, *_: Any) -> None:
        import numba

        numba.set_num_threads(self.before)


def exponents(rows: Iterable[Row]) -> dict[tuple[str, str], float]:
    """(axis, contestant) -> k in time ~ axis^k, by least squares over the upper points."""
    points: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        if row.median is not None and row.case != "threads":
            known = points.setdefault((row.case, row.contestant), {})
            known[row.parameter(row.case)] = row.median
    return {
        key: _slope(
            [known[size] for size in sorted(known)][FIRST_FITTED - 1 :],
            sorted(known)[FIRST_FITTED - 1 :],
        )
        for key, known in points.items()
        if len(known) > FIRST_FITTED
    }


def _slope(values: list[float], sizes: list[int]) -> float:
    x, y = ([math.log(a) for a in several] for several in (sizes, values))
    return float(np.polyfit(x, y, 1)[0])


def exponent_lines(rows: list[Row]) -> list[str]:
    """One line an exponent, and what the second thread brings."""
    lines = [
        f"{name}: time ~ {axis}^{k:.2f}" for (axis, name), k in sorted(exponents(rows).items())
    ]
    by_threads = {row.parameter("threads"): row.median for row in rows if row.case == "threads"}
    if by_threads.get(1) and by_threads.get(2):
        lines.append(f"event: 2 threads are {by_threads[1] / by_threads[2]:.2f} times as fast as 1")
    return lines
