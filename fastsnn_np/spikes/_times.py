"""At most one spike per neuron: what `spikes` makes public as `SpikeTimes`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import backends
from .._checks import (
    check_real,
    check_samples,
    check_slice,
    check_steps,
    check_time_axis,
    selected,
    whole,
)
from .._namespace import (
    Array,
    checked_dtype,
    device_of,
    is_traced,
    library_name,
    namespace,
    to_numpy,
)
from ._described import amount, described
from ._events import Events
from ._parts import check_parts


@dataclass(frozen=True, eq=False)
class SpikeTimes:
    """At most one spike per neuron: its step, or `n_steps` for never.

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
        object.__setattr__(self, "n_steps", check_steps(self.n_steps))
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

    def __iter__(self) -> Iterator[SpikeTimes]:
        """One sample after another, each `SpikeTimes` of batch 1."""
        return (self[i : i + 1] for i in range(len(self)))

    def __repr__(self) -> str:
        xp = namespace(times=self.times)
        if is_traced(self.times):  # no values to count
            return f"SpikeTimes(times={self.times!r}, n_steps={self.n_steps})"
        count = int(xp.sum(xp.astype(self.times < self.n_steps, xp.int64)))
        what = f"{amount(count, 'spike')}, {library_name(xp)}"
        return described(self, what, count, [self.times])

    def rebin(self, factor: int) -> SpikeTimes:
        """The same spikes in steps `factor` times as long; the last one may be cut short.

        Examples
        --------
        >>> import numpy as np
        >>> SpikeTimes(np.array([[0, 3, 4, 5]]), n_steps=5).rebin(2).times
        array([[0, 1, 2, 3]], dtype=int32)
        """
        xp = namespace(times=self.times)
        factor = whole("factor", factor, below=2**31)
        n_steps = -(-self.n_steps // factor)
        times = xp.where(
            self.times < self.n_steps, self.times // factor, xp.full_like(self.times, n_steps)
        )
        return SpikeTimes.unchecked(times, n_steps)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Batch, neurons and steps: the shape of the dense array."""
        return len(self), self.n_neurons, self.n_steps

    def __getitem__(self, samples: Any) -> SpikeTimes:
        """The samples that a slice, integers or one boolean per sample choose along the batch."""
        if isinstance(samples, slice) and samples.step in (None, 1):
            check_slice(samples)
            return SpikeTimes.unchecked(self.times[samples, :], self.n_steps)
        return self.take(selected(samples, len(self)))

    @classmethod
    def concatenate(cls, parts: Any) -> SpikeTimes:
        """The samples of several `SpikeTimes`, one after the other.

        Parameters
        ----------
        parts : sequence of SpikeTimes
            All of the same numbers of neurons and steps, library and device.

        Raises
        ------
        ValueError
            If there is no part, or the parts differ in neurons, steps or device.
        TypeError
            If a part is not `SpikeTimes`, or the parts belong to two libraries.
        """
        parts = check_parts(parts, cls)
        xp = namespace(**{f"the times of parts[{i}]": part.times for i, part in enumerate(parts)})
        with backends.beside(parts[0].times):
            times = xp.concat([part.times for part in parts], axis=0)
        return SpikeTimes.unchecked(times, parts[0].n_steps)

    def take(self, samples: Any) -> SpikeTimes:
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
        """
        samples = check_samples(samples, len(self))
        xp = namespace(times=self.times)
        samples = xp.asarray(samples, device=device_of(self.times))
        return SpikeTimes.unchecked(xp.take(self.times, samples, axis=0), self.n_steps)

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
        check_time_axis("x", x, axes="(batch, neurons, time)")
        if x.ndim != 3:
            raise ValueError(f"x must have axes (batch, neurons, time), got shape {tuple(x.shape)}")
        check_real("x", x.dtype, xp)
        fired = xp.astype(x != 0, xp.int32)
        if bool(xp.any(xp.sum(fired, axis=-1) > 1)):
            raise ValueError("a neuron fires more than once: use Events.from_dense")
        if bool(xp.any((x != 0) & (x != 1))):
            raise ValueError("SpikeTimes holds spikes of size 1: use Events.from_dense")
        first = xp.astype(xp.argmax(fired, axis=-1), xp.int32)
        never = xp.full_like(first, x.shape[-1])
        return cls(xp.where(xp.any(x != 0, axis=-1), first, never), x.shape[-1])

    def to_dense(self, dtype: Any = None) -> Array:
        """Spikes as a (batch, neurons, time) array of 0 and 1, float32 unless `dtype` is given."""
        xp = namespace(times=self.times)
        if dtype is None:
            dtype = xp.float32
        else:
            dtype = checked_dtype(xp, dtype, "bool", "integral", "real floating")
        steps = xp.arange(self.n_steps, dtype=xp.int32, device=device_of(self.times))
        train = self.times[..., None] == steps
        return xp.astype(train, dtype)

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
