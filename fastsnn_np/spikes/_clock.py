"""The step that a time falls into: where steps begin, in integers and in floats."""

from __future__ import annotations

import functools
from typing import Any, Literal

import numpy as np

TimeUnit = Literal["s", "ms", "us", "ns"]
Start = Literal["zero", "first"] | float

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
NOT_FINITE = -2  # in place of a step; -1 is before the first


def start_of(times: Any, start: Any) -> Any:
    """When the first step of a recording begins, in the unit of its times."""
    if start == "zero":
        return 0
    if start != "first":
        return int(start) if float(start).is_integer() else start
    known = times[np.isfinite(times)] if times.dtype.kind == "f" else times
    return known.min().item() if len(known) else 0


def steps_of(times: Any, dt: float, n_steps: int, time_unit: TimeUnit, start: Any = 0) -> Any:
    """Step of each time: -1 before the start, n_steps after the last, -2 if it is not finite.

    Step k begins at start + k dt. For floats this edge is rounded as the times were: 0.018 s is
    0.01799 in half precision, which would fall into the step before. Rounding keeps order, so no
    event at or after an edge lands before it.
    """
    if times.dtype.kind not in "iuf":
        raise TypeError(f"times must be integers or floats, got dtype {times.dtype}")
    if times.dtype == np.float16 and start == 0:  # so few values that all their steps fit a table
        return _half_steps(dt, n_steps, time_unit)[times.view(np.uint16)]
    if times.dtype.kind == "f":
        return _float_steps(times, dt, n_steps, time_unit, start)
    width = round(width_of(dt, time_unit), 9)  # 1.001 ms is 1001 us, not 1000.9999
    if width == 0:
        raise ValueError(f"dt = {dt:g} ms is below a billionth of the times' unit, {time_unit}")
    if start and isinstance(start, int):  # exact, also where 64 bits are more than a float holds
        low, high = max(start, int(np.iinfo(times.dtype).min)), int(np.iinfo(times.dtype).max)
        if low > high:
            return np.full(times.shape, -1)
        late = times >= low
        since = np.where(late, times, low).astype(np.uint64) - np.uint64(low % (1 << 64))
        since = np.where(late, since + np.float64(low - start), -1.0)
    else:
        since = times - start if start else times
    return np.clip(np.floor(since / width), -1, n_steps).astype(np.int64)


@functools.lru_cache(maxsize=8)
def _half_steps(dt: float, n_steps: int, time_unit: TimeUnit) -> Any:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    return _float_steps(every, dt, n_steps, time_unit)


def _float_steps(times: Any, dt: float, n_steps: int, time_unit: TimeUnit, start: float = 0) -> Any:
    with np.errstate(over="ignore"):  # an edge beyond the largest half is infinite: never reached
        edges = np.arange(n_steps + 1) * dt * PER_SECOND[time_unit] / 1000
        # three steps of 0.1 are 0.30000000000000004, and an event at 0.3 is meant to be at the edge
        edges = (start + edges * (1 - 2**-50)).astype(times.dtype)
    step = np.searchsorted(edges, times, side="right") - 1
    step[~np.isfinite(times)] = NOT_FINITE
    return step


def width_of(dt: float, time_unit: TimeUnit) -> float:
    """A step of `dt` ms in the unit of the times."""
    return dt * PER_SECOND[time_unit] / 1000
