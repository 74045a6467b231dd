"""Timed events of one sample after another, binned to steps."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from .._checks import check_steps, finite, flag, positive
from ._checked import Rows
from ._clock import NOT_FINITE, Start, TimeUnit, start_of, steps_of, width_of

_FEW = 0.1  # of the events in the steps: below it they are likely not what was meant
_MOST_POINTERS = 1 << 27  # a gigabyte, where nobody has asked for that many steps

_log = logging.getLogger("fastsnn_np")


def bin_recordings(
    recordings: Iterable[tuple[Any, ...]],
    *,
    n_neurons: int,
    dt: float,
    n_steps: int,
    time_unit: TimeUnit,
    binary: bool,
    where: object,
    start: Start = "zero",
    callers: int = 1,
) -> Rows:
    """Fields of `Events` from one sample after another: times, checked neurons, perhaps values.

    A warning is said to come from `callers` functions above this one.
    """
    n_steps, dt, binary = check_steps(n_steps), positive("dt", dt, "ms"), flag("binary", binary)
    start = checked_start(start)
    given = _Given()
    key_type = np.uint32 if n_steps * n_neurons < 1 << 32 else np.int64
    small = np.uint16 if n_neurons <= 1 << 16 else np.int32
    ends = np.arange(n_steps + 1) * n_neurons
    rows, indices = [np.zeros((0, n_steps + 1), np.int64)], [np.zeros(0, small)]
    sizes: list[Any] = []
    left_out = np.zeros(3, np.int64)
    total = 0
    for times, neuron, *values in recordings:
        step = steps_of(times, dt, n_steps, time_unit, start_of(times, start))
        inside = (step >= 0) & (step < n_steps)
        given.count(times, inside)
        if not inside.all():
            left_out += [(step == NOT_FINITE).sum(), (step == -1).sum(), (step == n_steps).sum()]
            step, neuron, *values = (a[inside] for a in (step, neuron, *values))
        key = step.astype(key_type) * key_type(n_neurons) + neuron.astype(key_type)
        if values:
            order = np.argsort(key, kind="stable")
            key = key[order]
            sizes.append(values[0][order])
        else:
            key.sort()
        if binary and len(key):
            key = key[np.concatenate([[True], key[1:] != key[:-1]])]
        rows.append(np.searchsorted(key, ends.astype(key_type))[None] + total)
        indices.append((key % key_type(n_neurons)).astype(small))
        total += len(key)
    if left_out.any():
        _log.info(
            "%s: left out %d events without a finite time, %d before time 0, %d after %d steps",
            where,
            *left_out,
            n_steps,
        )
    given.warn(where, f"{n_steps} steps of {dt:g} ms", time_unit, stacklevel=callers + 3)
    return Rows(
        np.concatenate(rows),
        np.concatenate(indices).astype(np.int32),
        n_neurons,
        np.concatenate(sizes) if sizes else None,
    )


def checked_start(start: Any) -> Start:
    """ "zero", "first", or a finite time."""
    if isinstance(start, str) and start in ("zero", "first"):
        return "first" if start == "first" else "zero"
    return finite("start, if neither 'zero' nor 'first',", start)


def steps_needed(
    recordings: Iterable[tuple[Any, ...]], dt: float, time_unit: TimeUnit, start: Start
) -> int:
    """Number of steps that hold the last event of all recordings; at least one.

    Raises
    ------
    ValueError
        If the pointers of so many steps would take more than a gigabyte.
    """
    count, span, found = 0, -math.inf, None
    for times, *_ in recordings:
        count += 1
        if len(times):
            begin, last = start_of(times, start), times.max()
            if last.item() - begin > span:
                span, found = last.item() - begin, (last, begin)
    if found is None or span <= 0:
        return 1
    rough = span / width_of(dt, time_unit)
    if rough >= _MOST_POINTERS // count:
        raise ValueError(
            f"the last event, {span:g} {time_unit} after the first step begins, is in step "
            f"{rough:.3g} of {dt:g} ms: if that is meant, give n_steps; otherwise check time_unit, "
            "dt, and where the clock starts (start='first')"
        )
    last, begin = found
    step = steps_of(last[None], dt, int(rough) + 2, time_unit, begin)
    return int(step[0]) + 1


class _Given:
    """How many events and recordings there were, how many were kept, and when they were."""

    def __init__(self) -> None:
        self.events = self.kept = self.recordings = self.emptied = 0
        self.first, self.last = np.inf, -np.inf

    def count(self, times: Any, inside: Any) -> None:
        """Add one recording."""
        if not len(times):
            return
        kept = int(np.count_nonzero(inside))
        self.events += len(times)
        self.kept += kept
        self.recordings += 1
        self.emptied += kept == 0
        finite_times = times[np.isfinite(times)] if kept < len(times) else times[:0]
        if len(finite_times):
            self.first = min(self.first, float(finite_times.min()))
            self.last = max(self.last, float(finite_times.max()))

    def warn(self, where: object, steps: str, time_unit: str, stacklevel: int) -> None:
        """Say so where few of the events were kept, or none of a recording's."""
        if self.emptied or self.kept < _FEW * self.events:
            warnings.warn(
                f"{where}: {self.kept} of {self.events} events fall into the {steps}, and "
                f"{self.emptied} of {self.recordings} recordings with events keep none. Times of "
                f"those with events left out run from {self.first:g} to {self.last:g} "
                f"{time_unit}: check the unit of time, dt, n_steps and where the clock starts",
                UserWarning,
                stacklevel=stacklevel,
            )
