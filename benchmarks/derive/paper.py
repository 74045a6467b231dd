"""Every number that the paper reports, and where ours is in the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..harness.point import Point
from ..harness.rows import Row, latest
from ..systems.names import NOT_STANDARD
from . import accuracy, speedup
from .markdown import Table

Measured = Callable[[Sequence[Row]], "str | None"]


class Said(NamedTuple):
    """A number of the paper, and how ours is taken from the results; None: not measured."""

    what: str
    paper: str
    measured: Measured


def _speed_up(n: int, t: int, b: int, phase: str) -> Measured:
    def measured(rows: Sequence[Row]) -> str | None:
        rows = latest(rows, "speedup", device="cpu")
        found = {name: speedup.ratios(rows, name, phase) for name in NOT_STANDARD}
        return _by_contestant({k: v.get(Point(n, t, b)) for k, v in found.items()}, rows)

    return measured


def _best(phase: str) -> Measured:
    def measured(rows: Sequence[Row]) -> str | None:
        rows = latest(rows, "speedup", device="cpu")
        best = {}
        for name in NOT_STANDARD:
            ratios = speedup.ratios(rows, name, phase)
            ratios = {point: r for point, r in ratios.items() if point.b == 128}
            best[name] = max(ratios.values(), default=None)
        return _by_contestant(best, rows)

    return measured


def _relative(rows: Sequence[Row]) -> str | None:
    rows = latest(rows, "speedup", device="cpu")
    found = {name: speedup.relative(rows, name).get((32, 128)) for name in NOT_STANDARD}
    return _by_contestant(found, rows)


def _by_contestant(values: dict[str, float | None], rows: Sequence[Row]) -> str | None:
    if not rows:
        return None
    parts = (f"{k}: {'skipped' if v is None else f'{v:.3g}'}" for k, v in values.items())
    return "; ".join(parts)


def _trained(dataset: str, model: str) -> Measured:
    def measured(rows: Sequence[Row]) -> str | None:
        rows = latest(rows, "accuracy")
        found = accuracy.by_model(rows).get((dataset, model, "accuracy"))
        if not found:
            return None
        seeds = "1 seed" if len(found) == 1 else f"{len(found)} seeds"
        epochs = accuracy.epochs(rows)[dataset, model]
        return f"{sum(found) / len(found):.2f} % ({seeds}, {epochs} epochs)"

    return measured


def _compared(dataset: str, what: str) -> Measured:
    def measured(rows: Sequence[Row]) -> str | None:
        found = accuracy.comparison(latest(rows, "accuracy")).get(dataset)
        return f"{found[what]:.4g}" if found else None

    return measured


_SETS = {"fashion-mnist": "F-MNIST", "n-mnist": "N-MNIST", "shd": "SHD"}
_ACCURACY = {
    "fast": ("81.23 %", "83.50 %", "22.49 %"),
    "standard": ("85.37 %", "93.28 %", "51.53 %"),
}
_FEWER, _TRAINING = ("83.32", "95.68", "97.51"), ("3.92", "2.13", "2.10")
SAID = (
    Said("total, b = 128, best (n = 100, T = 64)", "9.32", _best("total")),
    Said("total, n = 200, T = 128, b = 32", "16.94", _speed_up(200, 128, 32, "total")),
    Said("total, n = 200, T = 128, b = 128", "5.67", _speed_up(200, 128, 128, "total")),
    Said("forward, b = 128, best (n = 100, T = 128)", "14.6", _best("forward")),
    Said("forward, n = 200, T = 128, b = 32", "26.71", _speed_up(200, 128, 32, "forward")),
    Said("forward, n = 200, T = 128, b = 128", "8.01", _speed_up(200, 128, 128, "forward")),
    Said("four batches of 32 for one of 128 (eq. 9), T = 128", "over 4", _relative),
    *(
        Said(f"accuracy, {model}, {name}", said, _trained(dataset, model))
        for model, numbers in _ACCURACY.items()
        for (dataset, name), said in zip(_SETS.items(), numbers, strict=True)
    ),
    *(
        Said(f"fewer spikes, {name}, %", said, _compared(dataset, "fewer spikes"))
        for (dataset, name), said in zip(_SETS.items(), _FEWER, strict=True)
    ),
    *(
        Said(f"training speed-up, {name}", said, _compared(dataset, "speed-up"))
        for (dataset, name), said in zip(_SETS.items(), _TRAINING, strict=True)
    ),
)


def said_and_measured(rows: Sequence[Row]) -> Table:
    """The paper's numbers are of a V100 GPU against an eager loop; ours of the machine named."""
    head = ["speed-up over the standard SNN, or accuracy", "the paper said", "we measured"]
    return [head, *([s.what, s.paper, s.measured(rows) or "not measured"] for s in SAID)]
