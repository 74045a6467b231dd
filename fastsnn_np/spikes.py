"""Two sparse forms of spikes, and their exact conversions to and from a dense array.

===============  ==========================================  =======================
form             holds                                       for
===============  ==========================================  =======================
dense array      (batch, neurons, time)                      analogue input, autograd
`SpikeTimes`     one step a neuron, or "never"               neurons that fire once
`Events`         every event of every sample, by time        recordings
===============  ==========================================  =======================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import backends
from ._first_spike import first_spike_times
from ._namespace import (
    Array,
    device_of,
    is_array,
    library_name,
    namespace,
    require_time_axis,
    to_numpy,
)

__all__ = ["Events", "SpikeTimes"]


@dataclass(frozen=True)
class SpikeTimes:
    """At most one spike a neuron: its step, or `n_steps` for never.

    Parameters
    ----------
    times : integer array (batch, neurons) of any Array API library
        Step of the spike, 0 <= t < n_steps, or n_steps if the neuron never fires. Kept as int32.
    n_steps : int
        Number of steps T.

    Raises
    ------
    ValueError
        If a time is negative or beyond n_steps, the rank is not 2, or n_steps < 1.
    TypeError
        If the times are no integers.

    Examples
    --------
    >>> import numpy as np
    >>> SpikeTimes(np.array([[0, 3]]), n_steps=3).to_dense()
    array([[[1., 0., 0.],
            [0., 0., 0.]]], dtype=float32)
    """

    times: Array
    n_steps: int

    def __post_init__(self) -> None:
        xp = namespace(times=self.times)
        check_steps(self.n_steps)
        if self.times.ndim != 2:
            raise ValueError(
                f"times must have axes (batch, neurons), got shape {tuple(self.times.shape)}"
            )
        if not xp.isdtype(self.times.dtype, "integral"):
            raise TypeError(f"times are integer steps, got dtype {self.times.dtype}")
        if not bool(xp.all((self.times >= 0) & (self.times <= self.n_steps))):
            raise ValueError(
                f"times must lie in 0 ... n_steps = {self.n_steps} (n_steps means never), "
                f"got {int(xp.min(self.times))} to {int(xp.max(self.times))}"
            )
        object.__setattr__(self, "times", xp.astype(self.times, xp.int32, copy=False))

    @classmethod
    def unchecked(cls, times: Array, n_steps: int) -> SpikeTimes:
        """Spike times known to be right, int32 and in range: no look at their values."""
        spikes = object.__new__(cls)
        object.__setattr__(spikes, "times", times)
        object.__setattr__(spikes, "n_steps", n_steps)
        return spikes

    def __len__(self) -> int:
        return int(self.times.shape[0])

    def __getitem__(self, samples: slice) -> SpikeTimes:
        return SpikeTimes(self.times[samples], self.n_steps)

    @property
    def n_neurons(self) -> int:
        return int(self.times.shape[1])

    @classmethod
    def from_dense(cls, x: Array) -> SpikeTimes:
        """The first non-zero step of every neuron of a dense (batch, neurons, time) array.

        Raises
        ------
        ValueError
            If a neuron is non-zero at two steps, or at one with a value other than 1.
        """
        xp = namespace(x=x)
        require_time_axis("x", x, axes="(batch, neurons, time)")
        fired = xp.astype(x != 0, xp.int32)
        if bool(xp.any(xp.sum(fired, axis=-1) > 1)):
            raise ValueError("a neuron fires more than once: use Events.from_dense")
        if bool(xp.any((x != 0) & (x != 1))):
            raise ValueError("SpikeTimes holds spikes of size 1: use Events.from_dense")
        return cls(first_spike_times(fired, 0), x.shape[-1])

    def to_dense(self, dtype: Any = None) -> Array:
        """Spikes as a (batch, neurons, time) array of 0 and 1, float32 unless `dtype` is given."""
        xp = namespace(times=self.times)
        steps = xp.arange(self.n_steps, dtype=xp.int32, device=device_of(self.times))
        return xp.astype(self.times[..., None] == steps, dtype or xp.float32)

    def to_events(self) -> Events:
        """The same spikes as `Events`, in host memory."""
        times = to_numpy(self.times)
        sample, neuron = np.nonzero(times < self.n_steps)
        return Events.from_arrays(
            times[sample, neuron],
            neuron,
            sample,
            n_samples=len(self),
            n_neurons=self.n_neurons,
            n_steps=self.n_steps,
        )


@dataclass(frozen=True)
class Events:
    """Every event of every sample, sorted by time, in compressed rows, in host memory.

    The events of sample b at step t are ``indices[indptr[b, t] : indptr[b, t + 1]]``. Events of
    the same sample, step and neuron add.

    Parameters
    ----------
    indptr : int64 NumPy array (batch, n_steps + 1)
        Row pointers, non-decreasing; ``indptr[b, n_steps] == indptr[b + 1, 0]``.
    indices : int32 NumPy array (events,)
        Input neuron of each event, 0 <= index < n_neurons.
    n_neurons : int
    values : float32 or float64 NumPy array (events,), optional
        Size of each event; 1 unless given.

    Raises
    ------
    ValueError
        If the pointers decrease, do not span the events or are not contiguous, an index is out
        of range, a value is not finite, or a shape does not fit.
    TypeError
        If pointers or indices are no integers, or an array is not NumPy's.
    """

    indptr: Any
    indices: Any
    n_neurons: int
    values: Any = None

    def __post_init__(self) -> None:
        for name in ("indptr", "indices", "values"):
            array = getattr(self, name)
            if array is not None and not isinstance(array, np.ndarray):
                raise TypeError(f"Events.{name} must be a NumPy array, got {type(array).__name__}")
        for name in ("indptr", "indices"):
            if not np.issubdtype(getattr(self, name).dtype, np.integer):
                raise TypeError(
                    f"Events.{name} must be integers, got dtype {getattr(self, name).dtype}"
                )
        if self.indptr.ndim != 2 or self.indptr.shape[1] < 2:
            raise ValueError(
                "Events.indptr must have shape (batch, n_steps + 1) with n_steps >= 1, "
                f"got {self.indptr.shape}"
            )
        if self.indices.ndim != 1:
            raise ValueError(f"Events.indices must have one axis, got shape {self.indices.shape}")
        count = len(self.indices)
        rows = self.indptr
        if rows.size and (
            rows[0, 0] != 0
            or rows[-1, -1] != count
            or np.any(rows[1:, 0] != rows[:-1, -1])
            or np.any(np.diff(rows, axis=1) < 0)
        ):
            raise ValueError(
                f"Events.indptr must rise from 0 to the number of events, {count}, along every row "
                "and from the end of each row to the start of the next"
            )
        if not rows.size and count:
            raise ValueError(f"Events has no sample and {count} events")
        if self.n_neurons < 1:
            raise ValueError(f"n_neurons must be at least 1, got {self.n_neurons}")
        if count and not (self.indices.min() >= 0 and self.indices.max() < self.n_neurons):
            raise ValueError(
                f"event neurons must lie in 0 ... {self.n_neurons - 1}, "
                f"got {self.indices.min()} to {self.indices.max()}"
            )
        if self.values is not None:
            if self.values.shape != self.indices.shape:
                raise ValueError(
                    f"Events.values must have one value an event, shape {self.indices.shape}, "
                    f"got {self.values.shape}"
                )
            if self.values.dtype not in (np.float32, np.float64):
                raise TypeError(
                    f"Events.values must be float32 or float64, not {self.values.dtype}"
                )
            if not np.isfinite(self.values).all():
                bad = int(np.flatnonzero(~np.isfinite(self.values))[0])
                raise ValueError(f"Events.values[{bad}] is {self.values[bad]}")
        object.__setattr__(self, "indptr", np.ascontiguousarray(rows, np.int64))
        object.__setattr__(self, "indices", np.ascontiguousarray(self.indices, np.int32))

    def __len__(self) -> int:
        return int(self.indptr.shape[0])

    def __getitem__(self, samples: slice) -> Events:
        rows = self.indptr[samples]
        if not isinstance(samples, slice) or samples.step not in (None, 1):
            raise TypeError("Events are indexed by a slice of samples with step 1")
        if not len(rows):
            return Events(rows, self.indices[:0], self.n_neurons, None)
        part = slice(rows[0, 0], rows[-1, -1])
        values = None if self.values is None else self.values[part]
        return Events(rows - rows[0, 0], self.indices[part], self.n_neurons, values)

    @property
    def n_steps(self) -> int:
        return int(self.indptr.shape[1]) - 1

    @property
    def n_events(self) -> int:
        return len(self.indices)

    @classmethod
    def from_arrays(
        cls,
        step: Any,
        neuron: Any,
        sample: Any = None,
        *,
        n_neurons: int,
        n_steps: int,
        n_samples: int | None = None,
        values: Any = None,
        binary: bool = False,
    ) -> Events:
        """Events from one step, one neuron and one sample number an event, in any order.

        Parameters
        ----------
        step, neuron, sample : integer arrays (events,)
            0 <= step < n_steps, 0 <= neuron < n_neurons; all events belong to sample 0 if `sample`
            is None.
        n_samples : int, optional
            One more than the largest sample number unless given.
        values : real array (events,), optional
            Size of each event; 1 unless given.
        binary : bool
            Clip repeated events of a neuron at a step to one. Not with `values`.

        Raises
        ------
        ValueError
            If a number is out of range or the arrays differ in length.
        """
        check_steps(n_steps)
        step, neuron = np.asarray(step), np.asarray(neuron)
        sample = np.zeros(step.shape, np.int64) if sample is None else np.asarray(sample)
        n_samples = (
            (int(sample.max()) + 1 if sample.size else 1) if n_samples is None else n_samples
        )
        bounds = (
            ("step", step, n_steps),
            ("neuron", neuron, n_neurons),
            ("sample", sample, n_samples),
        )
        for name, array, bound in bounds:
            if array.shape != step.shape or array.ndim != 1:
                raise ValueError(f"{name} must have one value an event, got shape {array.shape}")
            if array.size and not np.issubdtype(array.dtype, np.integer):
                raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
            if array.size and not (array.min() >= 0 and array.max() < bound):
                raise ValueError(
                    f"{name} must lie in 0 ... {bound - 1}, got {array.min()} to {array.max()}"
                )
        if binary and values is not None:
            raise ValueError("binary=True clips events to size 1: give no values")
        step, neuron, sample = (a.astype(np.int64) for a in (step, neuron, sample))
        row = sample * n_steps + step
        if binary:
            row, neuron = np.divmod(np.unique(row * n_neurons + neuron), n_neurons)
        else:
            order = np.argsort(row, kind="stable")
            row, neuron = row[order], neuron[order]
            if values is not None:
                values = _as_values(values)[order]
        ends = np.cumsum(np.bincount(row, minlength=n_samples * n_steps))
        starts = np.concatenate([[0], ends]).astype(np.int64)
        position = np.arange(n_samples)[:, None] * n_steps + np.arange(n_steps + 1)
        return cls(starts[position], neuron.astype(np.int32), n_neurons, values)

    @classmethod
    def from_dense(cls, x: Array) -> Events:
        """Every non-zero entry of a dense (batch, neurons, time) array, of any library."""
        require_time_axis("x", x, axes="(batch, neurons, time)")
        host = to_numpy(x)
        if host.ndim != 3:
            raise ValueError(f"x must have axes (batch, neurons, time), got shape {host.shape}")
        by_time = np.ascontiguousarray(host.swapaxes(1, 2))
        sample, step, neuron = np.nonzero(by_time)
        values = by_time[sample, step, neuron]
        ones = values.dtype == np.bool_ or bool((values == 1).all())
        return cls.from_arrays(
            step,
            neuron,
            sample,
            n_samples=host.shape[0],
            n_neurons=host.shape[1],
            n_steps=host.shape[2],
            values=None if ones else values,
        )

    def to_dense(self, like: Array | None = None, dtype: Any = None) -> Array:
        """The events as a dense (batch, neurons, time) array; repeated events add.

        Parameters
        ----------
        like : array, optional
            The result belongs to its library and device; NumPy's unless given.
        dtype : optional
            A floating dtype of that library; float32 unless given.
        """
        like = np.empty(0, np.float32) if like is None else like
        xp, device = namespace(like=like), device_of(like)
        dtype = dtype or xp.float32
        shape = (len(self), self.n_neurons, self.n_steps)
        size = shape[0] * shape[1] * shape[2]
        row = np.repeat(np.arange(shape[0] * self.n_steps), np.diff(self.indptr, axis=1).ravel())
        sample, step = np.divmod(row, self.n_steps)
        flat = (sample * self.n_neurons + self.indices) * self.n_steps + step
        values = np.ones(len(flat), np.float32) if self.values is None else self.values
        scatter_add = backends.hook(library_name(xp), "scatter_add")
        if scatter_add is None:  # gather, which every library has: the standard has no scatter
            flat, values = _add_repeated(flat, values)
            scatter_add = _gather
        index_there = xp.asarray(flat, dtype=xp.int64, device=device)
        values_there = xp.astype(xp.asarray(values, device=device), dtype, copy=False)
        return xp.reshape(scatter_add(xp, size, index_there, values_there, device), shape)


def _add_repeated(index: Any, values: Any) -> tuple[Any, Any]:
    unique, where = np.unique(index, return_inverse=True)
    return unique, np.bincount(where, values, minlength=len(unique)).astype(values.dtype)


def _gather(xp: Any, size: int, index: Array, values: Array, device: Any) -> Array:
    """out[index] = values, else 0, for sorted unique indices, by binary search of every place."""
    if index.shape[0] == 0:
        return xp.zeros((size,), dtype=values.dtype, device=device)
    place = xp.arange(size, dtype=xp.int64, device=device)
    found = xp.searchsorted(index, place)
    found = xp.where(found == index.shape[0], xp.zeros_like(found), found)
    hit = xp.take(index, found) == place
    return xp.where(hit, xp.take(values, found), xp.zeros_like(place, dtype=values.dtype))


def _as_values(values: Any) -> Any:
    values = np.asarray(values)
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)


def check_steps(n_steps: int) -> None:
    """Refuse a number of time steps below one."""
    if not (isinstance(n_steps, (int, np.integer)) and n_steps >= 1):
        raise ValueError(f"n_steps must be a whole number of at least 1, got {n_steps!r}")


def is_spikes(x: object) -> bool:
    """Whether `x` is one of the three forms in which spikes are held."""
    return isinstance(x, (SpikeTimes, Events)) or is_array(x)
