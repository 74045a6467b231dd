"""Every event of every sample, by time: what `spikes` makes public as `Events`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backends
from .._checks import check_samples, check_steps, check_time_axis
from .._namespace import Array, device_of, namespace, to_numpy
from ._scatter import add_repeated, gather


@dataclass(frozen=True, eq=False)
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

    Notes
    -----
    The arrays are checked here, once, and kept without a copy: change them afterwards, and kernels
    that trust them read out of bounds.

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
        rows = np.ascontiguousarray(self.indptr, np.int64)  # unsigned ones never seem to decrease
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
                    f"Events.values must have one value per event, shape {self.indices.shape}, "
                    f"got {self.values.shape}"
                )
            if self.values.dtype not in (np.float32, np.float64):
                raise TypeError(
                    f"Events.values must be float32 or float64, not {self.values.dtype}"
                )
            if not np.isfinite(self.values).all():
                bad = int(np.flatnonzero(~np.isfinite(self.values))[0])
                raise ValueError(f"Events.values[{bad}] is {self.values[bad]}")
        object.__setattr__(self, "indptr", rows)
        object.__setattr__(self, "indices", np.ascontiguousarray(self.indices, np.int32))

    @classmethod
    def unchecked(cls, indptr: Any, indices: Any, n_neurons: int, values: Any = None) -> Events:
        """Events known to be right, int64 pointers and int32 indices: no look at their values."""
        events = object.__new__(cls)
        object.__setattr__(events, "indptr", indptr)
        object.__setattr__(events, "indices", indices)
        object.__setattr__(events, "n_neurons", n_neurons)
        object.__setattr__(events, "values", values)
        return events

    def __len__(self) -> int:
        return int(self.indptr.shape[0])

    def __getitem__(self, samples: slice) -> Events:
        if not isinstance(samples, slice) or samples.step not in (None, 1):
            raise TypeError(
                "Events are indexed by a slice of samples with step 1; use take(numbers)"
            )
        rows = self.indptr[samples]
        start, end = (rows[0, 0], rows[-1, -1]) if len(rows) else (0, 0)
        values = None if self.values is None else self.values[start:end]
        return Events.unchecked(rows - start, self.indices[start:end], self.n_neurons, values)

    def take(self, samples: Any) -> Events:
        """The samples of these numbers, in this order, for shuffled batches.

        Parameters
        ----------
        samples : integer NumPy array or sequence (n,), each 0 <= sample < len(self)

        Raises
        ------
        IndexError
            If a number is out of range.
        TypeError
            If the numbers are no integers along one axis.

        Examples
        --------
        >>> events = Events.from_arrays([0, 1, 1], [5, 6, 7], [0, 0, 1], n_neurons=8, n_steps=2)
        >>> events.take([1, 0, 1]).indices
        array([7, 5, 6, 7], dtype=int32)
        """
        rows = self.indptr[check_samples(samples, len(self))]
        if not len(rows):
            return self[:0]
        starts, ends = rows[:, 0], rows[:, -1]
        length = ends - starts
        moved = np.cumsum(length) - length - starts
        # joined slices are copied whole: 15 times faster than a gather of the events' numbers
        parts = [slice(a, b) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
        indices = np.concatenate([self.indices[part] for part in parts])
        values = self.values
        if values is not None:
            values = np.concatenate([values[part] for part in parts])
        return Events.unchecked(rows + moved[:, None], indices, self.n_neurons, values)

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
        """Events from one step, one neuron and one sample number per event, in any order.

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
        n_steps = check_steps(n_steps)
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
                raise ValueError(f"{name} must have one value per event, got shape {array.shape}")
            if array.size and not np.issubdtype(array.dtype, np.integer):
                raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
            if array.size and not (array.min() >= 0 and array.max() < bound):
                raise ValueError(
                    f"{name} must lie in 0 ... {bound - 1}, got {array.min()} to {array.max()}"
                )
        if values is not None:
            if binary:
                raise ValueError("binary=True clips events to size 1: give no values")
            values = _as_values(values)
            if values.shape != step.shape:
                raise ValueError(
                    f"values must have one value per event, {len(step)}, got shape {values.shape}"
                )
        step, neuron, sample = (a.astype(np.int64) for a in (step, neuron, sample))
        row = sample * n_steps + step
        if binary:
            row, neuron = np.divmod(np.unique(row * n_neurons + neuron), n_neurons)
        else:
            order = np.argsort(row, kind="stable")
            row, neuron = row[order], neuron[order]
            if values is not None:
                values = values[order]
        ends = np.cumsum(np.bincount(row, minlength=n_samples * n_steps))
        starts = np.concatenate([[0], ends]).astype(np.int64)
        position = np.arange(n_samples)[:, None] * n_steps + np.arange(n_steps + 1)
        return cls(starts[position], neuron.astype(np.int32), n_neurons, values)

    @classmethod
    def from_dense(cls, x: Array) -> Events:
        """Every non-zero entry of a dense (batch, neurons, time) array, of any library."""
        check_time_axis("x", x, axes="(batch, neurons, time)")
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
        scatter_add = backends.of(xp).scatter_add
        if scatter_add is None:  # gather, which every library has: the standard has no scatter
            flat, values = add_repeated(flat, values)
            scatter_add = gather
        index_there = xp.asarray(flat, dtype=xp.int64, device=device)
        values_there = xp.astype(xp.asarray(values, device=device), dtype, copy=False)
        return xp.reshape(scatter_add(xp, size, index_there, values_there, device), shape)


def _as_values(values: Any) -> Any:
    values = np.asarray(values)
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)
