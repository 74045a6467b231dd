"""Recordings of timed events, binned to steps: `Events` from structured arrays, as tonic's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

import numpy as np

from .._checks import check_iterable, check_n_neurons, check_option, is_whole
from .._namespace import native, said
from ..spikes import Events
from ..spikes._binning import bin_recordings
from ..spikes._clock import TimeUnit

Polarities = Literal["merged", "both"]


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
    check_option("time_unit", time_unit, TimeUnit)
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
    rows = bin_recordings(
        each(),
        n_neurons=n_neurons,
        dt=dt,
        n_steps=n_steps,
        time_unit=time_unit,
        binary=binary,
        where="the recordings",
        start=start,
    )
    return Events(*rows)


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
