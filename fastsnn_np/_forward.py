"""`forward`: a network, or one layer of neurons, on whatever the input is and wherever it lives."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ._decay import Method, check_option
from ._namespace import Array, namespace
from ._prepared import Prepared
from ._result import Result, State
from .network import Network
from .spikes import Events, SpikeTimes

Layout = Literal["bnt", "btn", "tbn"]
_AXES = {
    "bnt": "(batch, neurons, time)",
    "btn": "(batch, time, neurons)",
    "tbn": "(time, batch, neurons)",
}
_ORDER = {"btn": (0, 2, 1), "tbn": (1, 2, 0)}


def forward(
    x: Array | SpikeTimes | Events,
    network: Network | str | os.PathLike[str] | None = None,
    *,
    backend: str | None = None,
    device: Any = None,
    layout: Layout = "bnt",
    method: Method = "block",
    return_potential: bool = False,
    check_finite: bool = True,
    batch_size: int | None = None,
    progress: bool = False,
    state: State | None = None,
    return_state: bool = False,
) -> Result:
    """Run single-spike neurons on input spikes or currents.

    Parameters
    ----------
    x : array, SpikeTimes or Events
        Input with axes (batch, neurons, time) in the given `layout`: float32, float64, or
        booleans and integers, which count as currents of that size.
    network : Network or path, optional
        A network, or the file of a saved one. Without it `x` is the input current of one layer of
        neurons, each with tau = 10 ms, dt = 1 ms and threshold 1, current scaled by 1 - beta.
    backend : {"numpy", "numba", "torch", "cupy"}, optional
        Move `x` and the network there and compute; the result stays there. Without it everything
        is computed where `x` is, in any Array API library, and nothing is moved.
    device : optional
        A device of that backend, such as ``"cuda:1"``; only with `backend`.
    layout : {"bnt", "btn", "tbn"}
        Order of the axes of a dense `x`: b is the batch, n the neurons, t the time.
    method : {"block", "fft"}
        How hidden layers compute the potential, see `decay`. ``backend="numba"`` has a way of its
        own and refuses "fft".
    return_potential : bool
        Whether every layer's potential at every step is returned.
    check_finite : bool
        Whether NaN and infinity in the input or the parameters raise an error. They persist in
        the potential, so that a look at its last step finds them. Switched off, such input gives
        meaningless spikes.
    batch_size : int, optional
        Compute this many samples at a time, for data sets that do not fit at once.
    progress : bool
        Whether to show a progress bar over these batches (needs tqdm).
    state : State, optional
        Continue a recording: the ``state`` of the result of the chunk of time before this one.
        Neurons that have fired stay silent, and the logits count all steps so far.
    return_state : bool
        Whether the result carries a `State` to continue from; so it does where `state` is given.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        For a shape, layout, option or value that does not fit.
    TypeError
        For half precision, for something that is no array, or for `x` and `network` in different
        libraries without a `backend`.

    Notes
    -----
    A network computes in its own dtype, to which `x` is converted.

    Examples
    --------
    >>> import numpy as np
    >>> forward(np.full((1, 2, 4), 8.0)).spike_times
    (array([[1, 1]], dtype=int32),)
    """
    if device is not None and backend is None:
        raise ValueError(f"device={device!r} needs backend=...: without one nothing is moved")
    check_option("layout", layout, Layout)
    check_option("method", method, Method)
    if batch_size is not None and not (isinstance(batch_size, int) and batch_size >= 1):
        raise ValueError(f"batch_size must be a whole number of at least 1, got {batch_size!r}")
    if batch_size is not None and (state is not None or return_state):
        raise ValueError("a state belongs to one batch: give no batch_size with it")
    run = Prepared(
        network,
        beside=x,
        backend=backend,
        device=device,
        method=method,
        return_potential=return_potential,
        return_state=return_state,
        check=check_finite,
    )
    x = _in_layout(x, layout, run.network)
    size = batch_size or max(_length(x), 1)
    # What NumPy would warn of is looked for below, in every library, and raised.
    with np.errstate(invalid="ignore", over="ignore") if check_finite else nullcontext():
        parts = [run(part, state) for part in _batches(x, size, progress)]
    return parts[0] if len(parts) == 1 else _joined(parts)


def prepare(
    network: Network | str | os.PathLike[str],
    *,
    backend: str = "numba",
    device: Any = None,
    method: Method = "block",
    return_potential: bool = False,
    return_state: bool = False,
    check_finite: bool = True,
) -> Prepared:
    """A network made ready: checked, moved and laid out once, for many calls with little in each.

    The parameters are those of `forward`. The network's arrays should not be changed afterwards:
    the prepared network may have copies.

    Returns
    -------
    Prepared
        A callable from an input with axes (batch, neurons, time) to a `Result`.

    Examples
    --------
    >>> import numpy as np
    >>> run = prepare(Network.random([3, 4, 2], seed=0), backend="numpy")
    >>> run(np.ones((1, 3, 10))).logits.shape
    (1, 2)
    """
    check_option("method", method, Method)
    return Prepared(
        network,
        backend=backend,
        device=device,
        method=method,
        return_potential=return_potential,
        return_state=return_state,
        check=check_finite,
    )


def stream(
    network: Network | str | os.PathLike[str],
    chunks: Iterable[Array | SpikeTimes | Events],
    *,
    backend: str = "numba",
    device: Any = None,
    state: State | None = None,
) -> Iterator[Result]:
    """Run a recording that never ends, chunk by chunk of time; memory does not grow with it.

    Parameters
    ----------
    network, backend, device
        As in `forward`.
    chunks : iterable of arrays, SpikeTimes or Events
        Consecutive stretches of time of the same samples, each (batch, neurons, time) and of any
        length.
    state : State, optional
        To continue from.

    Yields
    ------
    Result
        One a chunk. ``spike_times`` are steps within the chunk; ``state.spike_times`` count from
        the first chunk's start, and logits and prediction are those of everything so far.

    Examples
    --------
    >>> import numpy as np
    >>> network = Network.random([3, 4, 2], seed=0)
    >>> chunks = (np.ones((1, 3, 50)) for _ in range(4))
    >>> [result.state.step for result in stream(network, chunks, backend="numpy")]
    [50, 100, 150, 200]
    """
    run = prepare(network, backend=backend, device=device, return_state=True)
    for chunk in chunks:
        result = run(_in_layout(chunk, "bnt"), state)
        state = result.state
        yield result


def _in_layout(x: Any, layout: str, network: Network | None = None) -> Any:
    if isinstance(x, (SpikeTimes, Events)):
        if layout != "bnt":
            raise ValueError(f"layout={layout!r} is for dense arrays, x is {type(x).__name__}")
        return x
    xp = namespace(x=x)
    if x.ndim != 3:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, layout {layout!r} expects {_AXES[layout]}"
            + ("; add a batch axis with x[None]" if x.ndim == 2 and layout != "tbn" else "")
        )
    given = tuple(x.shape)
    x = xp.permute_dims(x, _ORDER[layout]) if layout in _ORDER else x
    if network is not None and x.shape[-2] != network.sizes[0]:
        raise ValueError(
            f"x has {x.shape[-2]} neurons and {x.shape[-1]} steps, since its shape is {given} and "
            f"layout {layout!r} is {_AXES[layout]}; the network expects {network.sizes[0]} neurons"
        )
    if x.shape[-1] == 0 or x.shape[-2] == 0:
        raise ValueError(
            f"x has {x.shape[-2]} neurons and {x.shape[-1]} steps in layout {layout!r}, "
            f"{_AXES[layout]}: at least one of each is needed"
        )
    return x


def _length(x: Any) -> int:
    return len(x) if isinstance(x, (SpikeTimes, Events)) else int(x.shape[0])


def _batches(x: Any, size: int, progress: bool) -> Iterator[Any]:
    count = _length(x)
    starts: Any = range(0, count, size) if count else [0]
    if progress:
        try:
            from tqdm import tqdm
        except ImportError as error:
            raise ImportError(f"progress=True needs tqdm ({error}): pip install tqdm") from error
        starts = tqdm(starts, unit="batch")
    for start in starts:
        yield x if size >= count else x[start : start + size]


def _joined(parts: list[Result]) -> Result:
    """The results of several batches as one."""

    def join(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if values[0] is None:
            return None
        if isinstance(values[0], tuple):
            return tuple(_concat(layer) for layer in zip(*values, strict=True))
        return _concat(values)

    names = ("spike_times", "spike_counts", "logits", "prediction", "potentials")
    return replace(parts[0], **{name: join(name) for name in names})


def _concat(arrays: Any) -> Array:
    xp = namespace(first=arrays[0])
    return xp.concat(list(arrays), axis=0)
