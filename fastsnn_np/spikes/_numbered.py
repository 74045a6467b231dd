"""Events given by one number each for sample, neuron and step, or by one time each."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._checks import (
    check_finite,
    check_n_neurons,
    check_option,
    check_real,
    check_steps,
    flag,
    positive,
    room_for,
    whole,
)
from .._namespace import namespace, to_numpy
from ._binning import bin_recordings, checked_start, steps_needed
from ._checked import Rows
from ._clock import Start, TimeUnit


def rows_of_steps(
    step: Any,
    neuron: Any,
    sample: Any,
    *,
    n_neurons: Any,
    n_steps: Any,
    n_samples: Any,
    values: Any,
    binary: Any,
) -> Rows:
    """Fields of `Events` from integer steps; see `Events.from_arrays`."""
    n_steps, n_neurons = check_steps(n_steps), check_n_neurons(n_neurons)
    binary = flag("binary", binary)
    step, neuron = to_numpy(step), to_numpy(neuron)
    sample = np.zeros(step.shape, np.int64) if sample is None else to_numpy(sample)
    for name, array in (("step", step), ("neuron", neuron), ("sample", sample)):
        _check_numbers(name, array, step.shape)
    n_samples = _samples(sample, n_samples)
    if n_samples * n_steps * n_neurons >= 1 << 63:
        raise ValueError(
            f"{n_samples} samples of {n_steps} steps and {n_neurons} neurons are more places "
            "than 64 bits can number: is the largest sample number meant?"
        )
    _check_below("step", step, n_steps)
    _check_below("neuron", neuron, n_neurons)
    _check_below("sample", sample, n_samples)
    values = _sizes(values, binary, step.shape)
    row = sample.astype(np.int64) * n_steps + step.astype(np.int64)
    neuron = neuron.astype(np.int64)
    if binary:
        row, neuron = np.divmod(np.unique(row * n_neurons + neuron), n_neurons)
    else:
        order = np.argsort(row, kind="stable")
        row, neuron = row[order], neuron[order]
        values = None if values is None else values[order]
    with room_for("pointers", n_samples, n_steps):
        ends = np.cumsum(np.bincount(row, minlength=n_samples * n_steps))
        starts = np.concatenate([[0], ends]).astype(np.int64)
        position = np.arange(n_samples)[:, None] * n_steps + np.arange(n_steps + 1)
        indptr = starts[position]
    return Rows(indptr, neuron.astype(np.int32), n_neurons, values)


def rows_of_times(
    t: Any,
    neuron: Any,
    sample: Any,
    *,
    dt: Any,
    time_unit: TimeUnit,
    start: Start,
    n_neurons: Any,
    n_steps: Any,
    n_samples: Any,
    values: Any,
    binary: Any,
) -> Rows:
    """Fields of `Events` from times; see `Events.from_times`."""
    dt, binary = positive("dt", dt, "ms"), flag("binary", binary)
    check_option("time_unit", time_unit, TimeUnit)
    start = checked_start(start)
    t, neuron = to_numpy(t), to_numpy(neuron)
    if t.ndim != 1:
        raise ValueError(f"t must have one value per event, got shape {t.shape}")
    if t.size and t.dtype.kind not in "iuf":
        raise TypeError(f"t must be integers or floats, got dtype {t.dtype}")
    t = t if t.size else t.astype(np.float64)
    check_finite("t", t)
    _check_numbers("neuron", neuron, t.shape)
    if n_neurons is None and not neuron.size:
        raise ValueError("n_neurons must be given where there is no event to tell it")
    n_neurons = check_n_neurons(int(neuron.max()) + 1 if n_neurons is None else n_neurons)
    _check_below("neuron", neuron, n_neurons)
    values = _sizes(values, binary, t.shape)
    columns = [t, neuron] if values is None else [t, neuron, values]
    sample = np.zeros(t.shape, np.uint8) if sample is None else to_numpy(sample)
    _check_numbers("sample", sample, t.shape)
    n_samples = _samples(sample, n_samples)
    _check_below("sample", sample, n_samples)
    recordings = _by_sample(sample, n_samples, columns)
    if n_steps is None:
        n_steps = steps_needed(recordings, dt, time_unit, start)
    n_steps = check_steps(n_steps)
    with room_for("pointers", len(recordings), n_steps):
        return bin_recordings(
            recordings,
            n_neurons=n_neurons,
            dt=dt,
            n_steps=n_steps,
            time_unit=time_unit,
            binary=binary,
            where="the events",
            start=start,
            callers=2,
        )


def _by_sample(sample: Any, n_samples: int, columns: list[Any]) -> list[tuple[Any, ...]]:
    """The columns of each sample, in the order in which they were given."""
    if np.any(sample[1:] < sample[:-1]):
        small = np.uint16 if n_samples <= 1 << 16 else np.int64  # 16 bits are sorted by radix
        order = np.argsort(sample.astype(small), kind="stable")
        columns = [column[order] for column in columns]
    ends = [0, *np.cumsum(np.bincount(sample, minlength=n_samples)).tolist()]
    return [
        tuple(column[a:b] for column in columns) for a, b in zip(ends[:-1], ends[1:], strict=True)
    ]


def _check_numbers(name: str, array: Any, shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.ndim != 1:
        raise ValueError(f"{name} must have one value per event, got shape {array.shape}")
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name} must be integers, got dtype {array.dtype}")


def _check_below(name: str, array: Any, bound: int) -> None:
    if array.size and not (array.min() >= 0 and array.max() < bound):
        raise ValueError(
            f"{name} must lie in 0 ... {bound - 1}, got {array.min()} to {array.max()}"
        )


def _samples(sample: Any, n_samples: Any) -> int:
    if n_samples is None:
        return max(int(sample.max()) + 1, 1) if sample.size else 1
    return whole("n_samples", n_samples, at_least=0)


def _sizes(values: Any, binary: bool, shape: tuple[int, ...]) -> Any:
    """Sizes of the events in a floating dtype, or None."""
    if values is None:
        return None
    if binary:
        raise ValueError("binary=True clips events to size 1: give no values")
    values = to_numpy(values)
    check_real("values", values.dtype, namespace(values=values))
    values = values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)
    if values.shape != shape:
        raise ValueError(
            f"values must have one value per event, {shape[0]}, got shape {values.shape}"
        )
    return values
