"""Random changes of training samples that keep single-spike coding.

Every function takes spikes and a NumPy generator and returns new spikes of the same form; the
same generator state gives the same result. All take `Events`, or `SpikeTimes` of NumPy arrays or of
Torch tensors on the CPU, which stay tensors; `jitter` takes `SpikeTimes` alone, and `blend`, whose
neurons may fire twice, `Events`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from . import backends
from ._checks import is_whole, probability
from ._namespace import is_torch, namespace, said, to_numpy
from .spikes import Events, SpikeTimes
from .spikes._moving import Moves, centres, mates, moved

__all__ = [
    "blend",
    "drop",
    "flip",
    "jitter",
    "shift",
    "shift_channels",
    "shift_time",
    "with_labels",
]

Spikes = TypeVar("Spikes", SpikeTimes, Events)


def shift(
    x: Spikes, rng: np.random.Generator, *, shape: tuple[int, int] = (28, 28), pixels: int = 1
) -> Spikes:
    """Move every image by whole pixels, each sample its own way.

    Parameters
    ----------
    x : SpikeTimes or Events
        Neurons are the pixels of one or more images of `shape`, row by row, such as the two
        polarities of an event camera, which move together.
    rng : numpy.random.Generator
    shape : (int, int)
        Rows and columns of an image.
    pixels : int
        Rows and columns move by a number drawn evenly from -pixels ... pixels. What moves out is
        lost, what moves in is silent.

    Raises
    ------
    ValueError
        If the neurons are not images of this shape, or `pixels` is negative.
    """
    host = _host(x, rng)
    shape = _checked_images(x, shape)
    amount = _amount("pixels", pixels)
    down, right = rng.integers(-amount, amount + 1, (2, len(x)))
    return _given_back(_shifted(host, down, right, shape, (amount, amount)), x)


def flip(
    x: Spikes, rng: np.random.Generator, *, shape: tuple[int, int] = (28, 28), p: float = 0.5
) -> Spikes:
    """Mirror images, left to right, each sample's with probability `p`.

    Parameters
    ----------
    x : SpikeTimes or Events
        As of `shift`.
    rng : numpy.random.Generator
    shape : (int, int)
        Rows and columns of an image.
    p : float
        In [0, 1].

    Raises
    ------
    ValueError
        If the neurons are not images of this shape, or `p` is no probability.
    """
    host = _host(x, rng)
    p = probability("p", p)
    shape = _checked_images(x, shape)
    neurons = np.arange(x.n_neurons, dtype=np.int32)
    mirrored = neurons.reshape(-1, *shape)[:, :, ::-1].ravel()
    chosen = (rng.random(len(x)) < p)[:, None]
    if isinstance(host, SpikeTimes):
        times = np.where(chosen, host.times[:, mirrored], host.times)
        return _given_back(SpikeTimes.unchecked(times, x.n_steps), x)
    return _renamed(host, np.where(chosen, mirrored, neurons))


def shift_channels(x: Spikes, rng: np.random.Generator, *, channels: int = 1) -> Spikes:
    """Move every sample along its neurons, such as the frequencies of a cochlea.

    Parameters
    ----------
    x : SpikeTimes or Events
    rng : numpy.random.Generator
    channels : int
        Each sample moves by a number drawn evenly from -channels ... channels. What moves out is
        lost, what moves in is silent.

    Raises
    ------
    ValueError
        If `channels` is negative.
    """
    host = _host(x, rng)
    amount = _amount("channels", channels)
    right = rng.integers(-amount, amount + 1, len(x))
    if isinstance(host, Events):
        return _moved(host, right, np.zeros_like(right), rng)
    return _given_back(
        _shifted(host, np.zeros_like(right), right, (1, x.n_neurons), (0, amount)), x
    )


@dataclass(frozen=True)
class WithLabels:
    """An augmentation that gets the labels of its batch besides."""

    function: Callable[..., Any]

    def __call__(self, x: Any, rng: np.random.Generator, *, labels: Any) -> Any:
        return self.function(x, rng, labels=labels)


def with_labels(function: Callable[..., Any]) -> WithLabels:
    """Mark an augmentation as one to which `fit` hands on the labels of the batch.

    Parameters
    ----------
    function : callable
        Called as ``function(x, rng, labels=labels)``, labels an integer NumPy array (samples,).

    Examples
    --------
    >>> from functools import partial
    >>> augmentation = with_labels(partial(blend, p=0.5))
    """
    if not callable(function):
        raise TypeError(f"an augmentation must be callable, got {function!r}")
    return WithLabels(function)


def shift_time(x: Spikes, rng: np.random.Generator, *, steps: int = 1) -> Spikes:
    """Move every sample in time.

    Parameters
    ----------
    x : SpikeTimes or Events
    rng : numpy.random.Generator
    steps : int
        Each sample moves by a number drawn evenly from -steps ... steps. What moves out of the
        window is lost, what moves in is silent.

    Raises
    ------
    ValueError
        If `steps` is negative.
    """
    host = _host(x, rng)
    amount = _amount("steps", steps)
    later = rng.integers(-amount, amount + 1, len(x))
    if isinstance(host, Events):
        return _moved(host, np.zeros_like(later), later, rng)
    times = host.times + later[:, None]  # int64
    lost = (times < 0) | (times >= x.n_steps) | (host.times == x.n_steps)
    times = np.where(lost, x.n_steps, times).astype(np.int32)
    return _given_back(SpikeTimes.unchecked(times, x.n_steps), x)


def blend(x: Events, rng: np.random.Generator, *, labels: Any, p: float = 0.5) -> Events:
    """Put recordings of one class into each other, such as two speakers' of one word.

    With probability `p`, a sample becomes the blend of itself and another one of the batch with
    the same label: both are moved to their common mean channel and mean time, and each spike of
    either is kept with probability 1/2. A sample that has its class to itself stays as it is.

    Parameters
    ----------
    x : Events
    rng : numpy.random.Generator
    labels : integer array (samples,)
        As `fit` hands them on, see `with_labels`.
    p : float
        In [0, 1].

    Raises
    ------
    ValueError, TypeError
        If `labels` is not one whole number per sample, or `p` is no probability.

    Examples
    --------
    >>> x = Events.from_arrays([0, 4, 1], [2, 2, 6], [0, 0, 1], n_neurons=9, n_steps=6)
    >>> blend(x, np.random.default_rng(0), labels=[3, 5]).indices  # two classes
    array([2, 2, 6], dtype=int32)
    """
    if not isinstance(x, Events):
        raise TypeError(f"blend takes Events, got {type(x).__name__}: neurons may fire twice")
    host = _host(x, rng)
    p = probability("p", p)
    labels = to_numpy(labels)
    if labels.shape != (len(x),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels must be whole numbers, one for each of the {len(x)} samples, got "
            f"{labels.dtype} of shape {labels.shape}"
        )
    mate = mates(labels, rng)
    own = np.arange(len(x))
    blended = (rng.random(len(x)) < p) & (mate != own)
    centre = centres(host)
    common = (centre + centre[mate]) / 2
    ways = np.rint((common - centre) * blended[:, None]).astype(np.int64)
    others = np.rint(common - centre[mate]).astype(np.int64)
    first = Moves(own, ways[:, 0], ways[:, 1])
    second = Moves(np.where(blended, mate, -1), others[:, 0], others[:, 1])
    return moved(host, first, second, blended, rng)


def jitter(x: SpikeTimes, rng: np.random.Generator, *, steps: int = 1) -> SpikeTimes:
    """Move every spike in time, each by its own number of steps.

    Parameters
    ----------
    x : SpikeTimes
    rng : numpy.random.Generator
    steps : int
        Each spike moves by a number drawn evenly from -steps ... steps and stays within the
        window; a neuron that never fires stays silent.

    Raises
    ------
    ValueError
        If `steps` is not in 0 ... 32767.
    """
    if not isinstance(x, SpikeTimes):
        raise TypeError(f"jitter takes SpikeTimes, got {type(x).__name__}")
    host = _host(x, rng)
    amount = _amount("steps", steps, most=32767)
    # 16 bits times the number of choices, its upper half: even to one part in 65536 / choices
    moves = _bits(rng, x.times.shape).astype(np.uint32)
    moves *= np.uint32(2 * amount + 1)
    moves >>= np.uint32(16)
    # 64 bits where the latest step and the largest move together are more than 32 hold
    whole_type: Any = np.int32 if x.n_steps + 2 * amount < 1 << 31 else np.int64
    times = host.times + moves.astype(whole_type)
    times -= amount
    np.clip(times, 0, x.n_steps - 1, out=times)
    np.copyto(times, x.n_steps, where=host.times == x.n_steps)
    return _given_back(SpikeTimes.unchecked(times.astype(np.int32, copy=False), x.n_steps), x)


def drop(x: Spikes, rng: np.random.Generator, *, p: float = 0.1) -> Spikes:
    """Silence neurons, each of every sample with probability `p`.

    Parameters
    ----------
    x : SpikeTimes or Events
    rng : numpy.random.Generator
    p : float
        In [0, 1], to 1 part in 65536.

    Raises
    ------
    ValueError
        If `p` is no probability.
    """
    host = _host(x, rng)
    p = probability("p", p)
    dropped = _bits(rng, (len(x), x.n_neurons)) < round(p * 65536)
    if isinstance(host, SpikeTimes):
        times = np.where(dropped, np.int32(x.n_steps), host.times)
        return _given_back(SpikeTimes.unchecked(times, x.n_steps), x)
    neurons = np.arange(x.n_neurons, dtype=np.int32)
    return _renamed(host, np.where(dropped, np.int32(-1), neurons))


def _host(x: Spikes, rng: Any) -> Spikes:
    """`x` on NumPy arrays, checked together with the generator."""
    if not isinstance(x, (SpikeTimes, Events)):
        raise TypeError(f"x must be SpikeTimes or Events, got {type(x).__name__}")
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"rng must be a numpy.random.Generator, got {type(rng).__name__}: "
            "pass numpy.random.default_rng(seed)"
        )
    if isinstance(x, Events) or isinstance(x.times, np.ndarray):
        return x
    if is_torch(x.times) and x.times.device.type == "cpu":
        return SpikeTimes.unchecked(to_numpy(x.times), x.n_steps)
    raise TypeError(
        "augmentation works on NumPy arrays and on Torch tensors on the CPU, got times of "
        f"{type(x.times).__module__}: augment before the batch is moved"
    )


def _given_back(changed: Spikes, x: Spikes) -> Spikes:
    """Changed spikes in the library of `x`."""
    if isinstance(changed, Events) or isinstance(x, Events) or isinstance(x.times, np.ndarray):
        return changed
    asarray = backends.of(namespace(times=x.times)).asarray
    return SpikeTimes.unchecked(asarray(changed.times), changed.n_steps)


def _checked_images(x: Any, shape: Any) -> tuple[int, int]:
    size = tuple(shape) if isinstance(shape, (tuple, list, np.ndarray)) else ()
    if not (len(size) == 2 and all(is_whole(n) and n >= 1 for n in size)):
        raise ValueError(
            f"{x.n_neurons} neurons are not images of shape {shape!r}, which must be "
            "(rows, columns), whole numbers of at least 1"
        )
    rows, columns = map(int, size)
    if x.n_neurons % (rows * columns):
        raise ValueError(f"{x.n_neurons} neurons are not images of shape {(rows, columns)}")
    return rows, columns


def _amount(name: str, value: Any, most: int | None = None) -> int:
    most = 2**31 - 1 if most is None else most
    if not (is_whole(value) and 0 <= value <= most):
        raise ValueError(f"{name} must be a whole number in 0 ... {most}, got {said(value)}")
    return int(value)


def _bits(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Even 16-bit numbers, four to a draw: drawn one by one they cost more than their use."""
    size = math.prod(shape)
    drawn = rng.integers(0, 1 << 64, -(-size // 4), np.uint64)
    return drawn.view(np.uint16)[:size].reshape(shape)


def _shifted(
    x: Spikes, down: Any, right: Any, shape: tuple[int, int], margin: tuple[int, int]
) -> Spikes:
    # what moves further than its image is as lost as what moves by all of it
    down, right = (np.clip(n, -side, side) for n, side in zip((down, right), shape, strict=True))
    margin = (min(margin[0], shape[0]), min(margin[1], shape[1]))
    if isinstance(x, SpikeTimes):
        times = _windows(x.times, -down, -right, shape, margin, x.n_steps)
        return SpikeTimes.unchecked(times, x.n_steps)
    # where each neuron goes is the neuron that an opposite shift of their numbers puts there
    neurons = np.arange(x.n_neurons, dtype=np.int32)
    numbers = np.broadcast_to(neurons, (len(x), x.n_neurons))
    return _renamed(x, _windows(numbers, down, right, shape, margin, -1))


def _windows(
    values: Any, row: Any, column: Any, shape: tuple[int, int], margin: tuple[int, int], fill: int
) -> Any:
    """Each sample's images (batch, neurons) as seen from `row`, `column`, and `fill` outside."""
    batch, neurons = values.shape
    (height, width), (y, x) = shape, margin
    planes = neurons // (height * width)
    padded = np.full((batch, planes, height + 2 * y, width + 2 * x), fill, values.dtype)
    padded[:, :, y : y + height, x : x + width] = values.reshape(batch, planes, height, width)
    views = sliding_window_view(padded, (planes, height, width), axis=(1, 2, 3))
    return views[np.arange(batch), 0, row + y, column + x].reshape(batch, neurons)


def _moved(x: Events, channels: Any, steps: Any, rng: np.random.Generator) -> Events:
    """Each sample moved by so many channels and steps."""
    own, none = np.arange(len(x)), np.full(len(x), -1)
    first = Moves(own, channels, steps)
    return moved(x, first, Moves(none, channels, steps), np.zeros(len(x), np.bool_), rng)


def _renamed(x: Events, name: Any) -> Events:
    """Events of neuron n of sample b as those of ``name[b, n]``; none where that is negative."""
    # 32 bits where they suffice: the memory moved is what takes the time
    whole: Any = np.int32 if max(name.size, x.n_events) < 1 << 31 else np.int64
    first = np.arange(0, name.size, x.n_neurons, dtype=whole)
    place = np.repeat(first, x.indptr[:, -1] - x.indptr[:, 0])
    place += x.indices
    indices = name.ravel().take(place)
    kept = indices >= 0
    before = np.zeros(x.n_events + 1, whole)
    np.cumsum(kept, dtype=whole, out=before[1:])
    values = None if x.values is None else x.values[kept]
    return Events.unchecked(before[x.indptr].astype(np.int64), indices[kept], x.n_neurons, values)
