"""Every event of every sample, by time: what `spikes` makes public as `Events`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._checks import (
    check_real,
    check_samples,
    check_slice,
    check_time_axis,
    flag,
    selected,
    whole,
)
from .._namespace import Array, checked_dtype, device_of, namespace, to_numpy
from ._checked import checked
from ._clock import Start, TimeUnit
from ._described import amount, described
from ._numbered import rows_of_steps, rows_of_times
from ._parts import check_parts, joined_rows
from ._scatter import scattered
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

    def __iter__(self) -> Iterator[Events]:
        """One sample after another, each `Events` of batch 1."""
        return (self[i : i + 1] for i in range(len(self)))

    def __repr__(self) -> str:
        arrays = [a for a in (self.indptr, self.indices, self.values) if a is not None]
        sizes = "" if self.values is None else f" with {self.values.dtype} values"
        return described(self, amount(self.n_events, "event") + sizes, self.n_events, arrays)

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
        return cls.unchecked(*joined_rows(check_parts(parts, cls)))

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

    def rebin(self, factor: int, *, binary: bool = False) -> Events:
        """The same events in steps `factor` times as long; the last one may be cut short.

        Parameters
        ----------
        factor : int
            Number of steps that become one.
        binary : bool
            Clip repeated events of a neuron at a step to one. Not with values.

        Examples
        --------
        >>> events = Events.from_arrays([0, 1, 2], [5, 5, 7], n_neurons=8, n_steps=3)
        >>> events.rebin(2).indptr, events.rebin(2, binary=True).indices
        (array([[0, 2, 3]]), array([5, 7], dtype=int32))
        """
        factor, binary = whole("factor", factor, below=2**31), flag("binary", binary)
        ends = np.append(np.arange(0, self.n_steps, factor), self.n_steps)
        rows = self.indptr[:, ends]
        if not binary:
            return Events.unchecked(rows, self.indices, self.n_neurons, self.values)
        sample, step = np.divmod(
            np.repeat(np.arange(len(self) * (len(ends) - 1)), np.diff(rows, axis=1).ravel()),
            len(ends) - 1,
        )
        return Events.from_arrays(
            step,
            self.indices,
            sample,
            n_neurons=self.n_neurons,
            n_steps=len(ends) - 1,
            n_samples=len(self),
            values=self.values,
            binary=True,
        )

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
        sizes = {"n_neurons": n_neurons, "n_steps": n_steps, "n_samples": n_samples}
        return cls(*rows_of_steps(step, neuron, sample, **sizes, values=values, binary=binary))

    @classmethod
    def from_times(
        cls,
        t: Any,
        neuron: Any,
        sample: Any = None,
        *,
        dt: float,
        time_unit: TimeUnit = "ms",
        start: Start = "zero",
        n_neurons: int | None = None,
        n_steps: int | None = None,
        n_samples: int | None = None,
        values: Any = None,
        binary: bool = False,
    ) -> Events:
        """Events from one time, one neuron and one sample number per event, in any order.

        Step k holds the times from k dt up to (k + 1) dt after the start, the first edge included;
        a decimal time such as 0.3 ms is at the edge of its step and not a rounding error before it.
        Events before the start or after the last step are left out; how many is logged (logger
        "fastsnn_np", level info).

        Parameters
        ----------
        t : integer or float array (events,)
            Times in `time_unit`, finite.
        neuron, sample : integer arrays (events,)
            As in `from_arrays`.
        dt : float
            Step in ms, positive.
        time_unit : {"ms", "s", "us", "ns"}
        start : {"zero", "first"} or float
            When the first step begins: at time 0, at the first event of each sample, or at this
            time in `time_unit`.
        n_neurons : int, optional
            One more than the largest number of a neuron unless given. Give it where a part of the
            data may lack the last ones.
        n_steps : int, optional
            As many as the last event needs unless given.
        n_samples, values, binary
            As in `from_arrays`.

        Warns
        -----
        UserWarning
            If a sample with events keeps none, or all together keep less than a tenth.

        Raises
        ------
        ValueError
            If a number is out of range or not finite, the arrays differ in length, or the last
            event needs more steps than a gigabyte of pointers holds and `n_steps` is not given.
        TypeError
            If times are no numbers, or neurons or samples no integers.

        Examples
        --------
        >>> events = Events.from_times([0.2, 1.7, 1.9], [5, 6, 7], dt=0.5, n_neurons=8)
        >>> events.shape, events.indptr
        ((1, 8, 4), array([[0, 1, 1, 1, 3]]))
        """
        clock: dict[str, Any] = {"dt": dt, "time_unit": time_unit, "start": start}
        sizes: dict[str, Any] = {"n_neurons": n_neurons, "n_steps": n_steps, "n_samples": n_samples}
        rows = rows_of_times(t, neuron, sample, **clock, **sizes, values=values, binary=binary)
        return cls(*rows)

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
        return scattered(self, xp, dtype, device)
