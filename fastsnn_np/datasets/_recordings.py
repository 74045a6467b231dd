"""Recordings of timed events, binned to steps: `Events` from structured arrays, as tonic's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from .._checks import check_iterable, check_n_neurons, check_option, is_whole
from .._namespace import native, said
from ..spikes import Events, SpikeTimes
from ..spikes._binning import bin_recordings
from ..spikes._clock import Start, TimeUnit

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
    start: Start = "zero",
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


@dataclass(frozen=True)
class ToEvents:
    """A transform for tonic's data sets: a structured array of one recording to `Events`.

    Put it last in tonic's ``Compose``. `collate` joins what it gives to batches.

    Parameters
    ----------
    sensor_size, dt, n_steps, time_unit, polarities, binary, start
        As in `events_from_structured`; `sensor_size` is that of the data set.

    Examples
    --------
    >>> import numpy as np
    >>> to_events = ToEvents((34, 34, 2), dt=1.0, n_steps=300)
    >>> fields = [("x", int), ("y", int), ("t", int), ("p", int)]
    >>> to_events(np.array([(3, 0, 1500, 1)], fields)).shape
    (1, 1156, 300)
    """

    sensor_size: tuple[int, ...]
    dt: float
    n_steps: int
    time_unit: TimeUnit = "us"
    polarities: Polarities = "merged"
    binary: bool = True
    start: Start = "zero"

    def __post_init__(self) -> None:
        self._of([])  # options that do not fit are refused here

    def __call__(self, events: Any) -> Events:
        """The `Events` of one recording, a batch of 1."""
        return self._of([events])

    def _of(self, recordings: list[Any]) -> Events:
        options = {field.name: getattr(self, field.name) for field in fields(self)}
        return events_from_structured(recordings, **options)


def collate(samples: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    """A batch of samples, for a Torch `DataLoader(..., collate_fn=collate)`.

    Parameters
    ----------
    samples : sequence of (Events or SpikeTimes, label)
        All of the same numbers of neurons and steps.

    Returns
    -------
    (Events or SpikeTimes, int64 NumPy array (samples,))

    Raises
    ------
    ValueError, TypeError
        If the inputs do not fit each other, or a label is no integer.
    """
    check_iterable("samples", samples, "(spikes, label)")
    parts, labels = [], []
    for i, sample in enumerate(samples):
        if not isinstance(sample, (tuple, list)) or len(sample) != 2:
            raise TypeError(f"samples[{i}] must be (spikes, label), got {said(sample)}")
        part, label = sample
        if not isinstance(part, (Events, SpikeTimes)):
            raise TypeError(f"samples[{i}] must hold Events or SpikeTimes, got {said(part)}")
        if np.ndim(label) or np.asarray(label).dtype.kind not in "iu":
            raise TypeError(f"the label of samples[{i}] must be an integer, got {said(label)}")
        parts.append(part)
        labels.append(int(label))
    if not parts:
        raise ValueError("samples must hold at least one (spikes, label), got none")
    return type(parts[0]).concatenate(parts), np.array(labels, np.int64)


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
