"""Every event of every sample, by time: what `spikes` makes public as `Events`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backends
from .._checks import (
    check_n_neurons,
    check_real,
    check_samples,
    check_slice,
    check_steps,
    check_time_axis,
    flag,
    room_for,
    selected,
    whole,
)
from .._namespace import Array, checked_dtype, device_of, namespace, to_numpy
from ._checked import checked
from ._parts import check_parts
from ._scatter import add_repeated, gather
from ._sparse import coordinates


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
        rows = checked(self.indptr, self.indices, self.n_neurons, self.values)
        for name, value in rows._asdict().items():
            object.__setattr__(self, name, value)

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

    @property
    def shape(self) -> tuple[int, int, int]:
        """Batch, neurons and steps: the shape of the dense array."""
        return len(self), self.n_neurons, self.n_steps

    def __getitem__(self, samples: Any) -> Events:
        """The samples that a slice, integers or one boolean per sample choose along the batch."""
        if not isinstance(samples, slice) or samples.step not in (None, 1):
            return self.take(selected(samples, len(self)))
        check_slice(samples)
        rows = self.indptr[samples]
        start, end = (rows[0, 0], rows[-1, -1]) if len(rows) else (0, 0)
        values = None if self.values is None else self.values[start:end]
        return Events.unchecked(rows - start, self.indices[start:end], self.n_neurons, values)

    @classmethod
    def concatenate(cls, parts: Any) -> Events:
        """The samples of several `Events`, one after the other.

        Parameters
        ----------
        parts : sequence of Events
            All of the same numbers of neurons and steps.

        Raises
        ------
        ValueError
            If there is no part, or the parts differ in neurons or steps.
        TypeError
            If a part is not `Events`.

        Examples
        --------
        >>> events = Events.from_arrays([0, 1, 1], [5, 6, 7], [0, 0, 1], n_neurons=8, n_steps=2)
        >>> len(Events.concatenate([events, events[1:]]))
        3
        """
        parts = check_parts(parts, cls)
        offsets = np.cumsum([0, *[part.n_events for part in parts[:-1]]])
        values = None
        if any(part.values is not None for part in parts):
            wide = np.result_type(*[part.values for part in parts if part.values is not None])
            values = np.concatenate(
                [
                    np.ones(part.n_events, wide) if part.values is None else part.values
                    for part in parts
                ],
                dtype=wide,
            )
        return Events.unchecked(
            np.concatenate(
                [part.indptr + offset for part, offset in zip(parts, offsets, strict=True)]
            ),
            np.concatenate([part.indices for part in parts]),
            parts[0].n_neurons,
            values,
        )

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
        n_steps, n_neurons = check_steps(n_steps), check_n_neurons(n_neurons)
        binary = flag("binary", binary)
        step, neuron = to_numpy(step), to_numpy(neuron)
        sample = np.zeros(step.shape, np.int64) if sample is None else to_numpy(sample)
        given = {"step": step, "neuron": neuron, "sample": sample}
        for name, array in given.items():
            if array.shape != step.shape or array.ndim != 1:
                raise ValueError(f"{name} must have one value per event, got shape {array.shape}")
            if array.size and not np.issubdtype(array.dtype, np.integer):
                raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
        if n_samples is None:
            n_samples = max(int(sample.max()) + 1, 1) if sample.size else 1
        else:
            n_samples = whole("n_samples", n_samples, at_least=0)
        if n_samples * n_steps * n_neurons >= 1 << 63:
            raise ValueError(
                f"{n_samples} samples of {n_steps} steps and {n_neurons} neurons are more places "
                "than 64 bits can number: is the largest sample number meant?"
            )
        for name, bound in (("step", n_steps), ("neuron", n_neurons), ("sample", n_samples)):
            array = given[name]
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
        with room_for("pointers", n_samples, n_steps):
            ends = np.cumsum(np.bincount(row, minlength=n_samples * n_steps))
            starts = np.concatenate([[0], ends]).astype(np.int64)
            position = np.arange(n_samples)[:, None] * n_steps + np.arange(n_steps + 1)
            rows = starts[position]
        return cls(rows, neuron.astype(np.int32), n_neurons, values)

    @classmethod
    def from_dense(cls, x: Array) -> Events:
        """Every non-zero entry of a dense (batch, neurons, time) array, of any library."""
        xp = namespace(x=x)
        check_time_axis("x", x, axes="(batch, neurons, time)")
        check_real("x", x.dtype, xp)
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

    @classmethod
    def from_sparse(cls, x: Any) -> Events:
        """Events of a sparse array of SciPy or Torch: one event for each entry that is stored.

        Parameters
        ----------
        x : sparse tensor of Torch (batch, neurons, time), of any layout, sparse array of SciPy of
            these three axes, or a sequence of two-dimensional ones (neurons, time), one per sample

        Raises
        ------
        ValueError
            If the axes are others, or a value is not finite.
        TypeError
            If `x` is none of these, or holds complex numbers.

        Examples
        --------
        >>> import scipy.sparse
        >>> sample = scipy.sparse.coo_array(([1.0, 1.0], ([5, 6], [0, 1])), shape=(8, 2))
        >>> Events.from_sparse([sample, sample]).indices
        array([5, 6, 5, 6], dtype=int32)
        """
        (sample, neuron, step), values, (batch, neurons, steps) = coordinates(x)
        kept = values != 0
        if not kept.all():
            sample, neuron, step, values = (a[kept] for a in (sample, neuron, step, values))
        return cls.from_arrays(
            step,
            neuron,
            sample,
            n_samples=batch,
            n_neurons=neurons,
            n_steps=steps,
            values=None if bool((values == 1).all()) else values,
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
        dtype = xp.float32 if dtype is None else checked_dtype(xp, dtype, "real floating")
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
    values = to_numpy(values)
    check_real("values", values.dtype, namespace(values=values))
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)
