"""Recordings of timed events, binned to steps: `Events` from structured arrays, as tonic's."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, get_args

import numpy as np

from .._checks import (
    check_iterable,
    check_n_neurons,
    check_steps,
    finite,
    flag,
    is_whole,
    positive,
)
from .._namespace import native, said
from ..spikes import Events

Polarities = Literal["merged", "both"]
TimeUnit = Literal["s", "ms", "us", "ns"]

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FEW = 0.1  # of the events in the steps: below it they are likely not what was meant
_NOT_FINITE = -2  # in place of a step; -1 is before the first

_log = logging.getLogger("fastsnn_np")


def events_from_structured(
    recordings: Sequence[Any],
    *,
    sensor_size: tuple[int, ...],
    dt: float,
    n_steps: int,
    time_unit: TimeUnit = "us",
    polarities: Polarities = "merged",
    binary: bool = True,
    start: Literal["zero", "first"] | float = "zero",
) -> Events:
    """Events of structured arrays with fields t, x, y and p, one array per sample, in any order.

    The neuron of an event is ``x + width * y``, and ``width * height * p`` more with
    ``polarities="both"``. A field y or p that is absent counts as 0; p is not looked at where
    polarities are merged. Events that are after the last step, before the start or at a time that
    is not finite are left out; how many is logged (logger "fastsnn_np", level info), and a warning
    says so where few or none of a recording's are left.

    Parameters
    ----------
    recordings : sequence of structured NumPy arrays (events,)
    sensor_size : (width, height) or (width, height, polarities)
        As tonic gives it; (units, 1, 1) for a cochlea.
    dt : float
        Step in ms, positive.
    n_steps : int
        Number of steps.
    time_unit : {"us", "s", "ms", "ns"}
        Unit of the field t.
    polarities : {"merged", "both"}
    binary : bool
        Clip several events of a neuron in a step to one, for binary trains as the paper's.
    start : {"zero", "first"} or float
        When the first step begins: at time 0, at the first event of each recording, for clocks
        that do not start with it, or at this time in `time_unit`.

    Returns
    -------
    Events

    Warns
    -----
    UserWarning
        If a recording with events keeps none, or all together keep less than a tenth: the times
        are in another unit, or their clock starts elsewhere.

    Raises
    ------
    ValueError
        If a coordinate is outside the sensor or a field is missing; it names the recording.
    TypeError
        If a recording is no structured array, or times are no numbers.

    Examples
    --------
    >>> import numpy as np
    >>> fields = [("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", bool)]
    >>> recording = np.array([(1500, 1, 0, True), (500, 0, 2, False)], fields)
    >>> x = events_from_structured([recording], sensor_size=(2, 3), dt=1.0, n_steps=4)
    >>> x.indices, x.indptr
    (array([4, 1], dtype=int32), array([[0, 1, 2, 2, 2]]))
    """
    if not isinstance(time_unit, str) or time_unit not in _PER_SECOND:
        raise ValueError(f"time_unit must be one of {', '.join(_PER_SECOND)}, got {time_unit!r}")
    check_polarities(polarities)
    sensor_size = check_sensor(sensor_size)
    check_iterable("recordings", recordings, "structured NumPy arrays")
    width, height, planes = (*sensor_size, 2)[:3]
    planes = planes if polarities == "both" else 1

    def each() -> Iterator[tuple[Any, Any]]:
        for i, recording in enumerate(recordings):
            names = getattr(getattr(recording, "dtype", None), "names", None)
            if names is None or recording.ndim != 1:
                raise TypeError(
                    f"recordings[{i}] must be a structured NumPy array with one axis and fields "
                    f"t, x, y, p, got {type(recording).__name__}"
                )
            needed = ("t", "x", "p") if planes > 1 else ("t", "x")
            missing = [name for name in needed if name not in names]
            if missing:
                raise ValueError(f"recordings[{i}] has no field {missing[0]!r}, only {names}")
            neuron = np.zeros(len(recording), np.int64)
            for name, size, stride in (
                ("x", width, 1),
                ("y", height, width),
                ("p", planes, width * height),
            ):
                if name in names and not (name == "p" and planes == 1):
                    check_axis(recording[name], f"recordings[{i}][{name!r}]")
                    check_coordinate(recording[name], size, f"recordings[{i}][{name!r}]")
                    neuron += recording[name].astype(np.int64) * stride
            check_axis(recording["t"], f"recordings[{i}]['t']")
            yield native(recording["t"]), neuron

    n_neurons = check_n_neurons(width * height * planes)
    return bin_recordings(
        each(),
        n_neurons=n_neurons,
        dt=dt,
        n_steps=n_steps,
        time_unit=time_unit,
        binary=binary,
        where="the recordings",
        start=start,
    )


def check_sensor(sensor_size: Any) -> tuple[int, ...]:
    """Width, height and polarities of a sensor as plain ints; the last may be absent."""
    size = tuple(sensor_size) if isinstance(sensor_size, (tuple, list, np.ndarray)) else ()
    if len(size) not in (2, 3) or not all(is_whole(n) and n >= 1 for n in size):
        raise ValueError(
            "sensor_size must be (width, height) or (width, height, polarities), whole numbers of "
            f"at least 1, got {said(sensor_size)}"
        )
    return tuple(int(n) for n in size)


def check_axis(values: Any, where: str) -> None:
    """Refuse a field that holds more than one number per event."""
    if values.ndim != 1:
        raise ValueError(f"{where} must hold one number per event, got shape {values.shape}")


def check_polarities(polarities: str) -> None:
    """Refuse what is no way to treat polarities."""
    if not isinstance(polarities, str) or polarities not in get_args(Polarities):
        raise ValueError(f"polarities must be 'merged' or 'both', got {polarities!r}")


def check_coordinate(values: Any, size: int, where: object) -> None:
    """Refuse coordinates that are not 0 ... size - 1; `where` names them."""
    if values.dtype.kind not in "iub":
        raise TypeError(f"{where} must be integers, got dtype {values.dtype}")
    if len(values) and not (values.min() >= 0 and values.max() < size):
        raise ValueError(
            f"{where} must lie in 0 ... {size - 1}, got {values.min()} to {values.max()}"
        )


def bin_recordings(
    recordings: Iterable[tuple[Any, Any]],
    *,
    n_neurons: int,
    dt: float,
    n_steps: int,
    time_unit: TimeUnit,
    binary: bool,
    where: object,
    start: Literal["zero", "first"] | float = "zero",
) -> Events:
    """Events from the times and the checked neurons of one sample after another."""
    n_steps, dt, binary = check_steps(n_steps), positive("dt", dt, "ms"), flag("binary", binary)
    if not isinstance(start, str) or start not in ("zero", "first"):
        start = finite("start, if neither 'zero' nor 'first',", start)
    given = _Given()
    key_type = np.uint32 if n_steps * n_neurons < 1 << 32 else np.int64
    small = np.uint16 if n_neurons <= 1 << 16 else np.int32
    ends = np.arange(n_steps + 1) * n_neurons
    rows, indices = [np.zeros((0, n_steps + 1), np.int64)], [np.zeros(0, small)]
    left_out = np.zeros(3, np.int64)
    total = 0
    for times, neuron in recordings:
        step = steps_of(times, dt, n_steps, time_unit, _start_of(times, start))
        inside = (step >= 0) & (step < n_steps)
        given.count(times, inside)
        if not inside.all():
            left_out += [(step == _NOT_FINITE).sum(), (step == -1).sum(), (step == n_steps).sum()]
            step, neuron = step[inside], neuron[inside]
        key = step.astype(key_type) * key_type(n_neurons) + neuron.astype(key_type)
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
    given.warn(where, f"{n_steps} steps of {dt:g} ms", time_unit)
    return Events(np.concatenate(rows), np.concatenate(indices).astype(np.int32), n_neurons)


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

    def warn(self, where: object, steps: str, time_unit: str) -> None:
        """Say so where few of the events were kept, or none of a recording's."""
        if self.emptied or self.kept < _FEW * self.events:
            warnings.warn(
                f"{where}: {self.kept} of {self.events} events fall into the {steps}, and "
                f"{self.emptied} of {self.recordings} recordings with events keep none. Times of "
                f"those with events left out run from {self.first:g} to {self.last:g} "
                f"{time_unit}: check the unit of time, dt, n_steps and where the clock starts",
                UserWarning,
                stacklevel=4,
            )


def _start_of(times: Any, start: Any) -> Any:
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
    width = round(dt * _PER_SECOND[time_unit] / 1000, 9)  # 1.001 ms is 1001 us, not 1000.9999
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
        edges = np.arange(n_steps + 1) * dt * _PER_SECOND[time_unit] / 1000
        # three steps of 0.1 are 0.30000000000000004, and an event at 0.3 is meant to be at the edge
        edges = (start + edges * (1 - 2**-50)).astype(times.dtype)
    step = np.searchsorted(edges, times, side="right") - 1
    return np.where(np.isfinite(times), step, _NOT_FINITE)
