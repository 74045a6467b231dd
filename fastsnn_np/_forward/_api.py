"""`forward`, `prepare` and `stream`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from .. import backends
from .._checks import check_option, flag, whole
from .._decay import Method
from .._engine import EngineName
from .._namespace import Array, device_of, is_array, library_name, namespace
from ..network import Network
from ..spikes import Events, SpikeTimes
from ._chain import Options
from ._input import Layout, batches, check_several, in_layout
from ._prepared import Chosen, Prepared, run_layer
from ._results import Result, State, check_is_state, joined


def forward(
    x: Array | SpikeTimes | Events,
    network: Network | str | os.PathLike[str] | None = None,
    *,
    backend: str | None = None,
    device: Any = None,
    engine: EngineName = "auto",
    layout: Layout = "bnt",
    method: Method = "block",
    return_potential: bool = False,
    check_finite: bool = True,
    batch_size: int | None = None,
    progress: bool = False,
    state: State | None = None,
    return_state: bool = False,
    explain: bool = False,
) -> Result:
    """Run a network of spiking neurons on input spikes or currents.

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
    engine : {"auto", "dense", "event"}
        How layers are computed: "dense" by matrix products, on any arrays; "event" at a cost that
        follows the spikes, on NumPy arrays, on Torch tensors on the CPU, and on an NVIDIA GPU by
        CuPy or Torch. "auto" takes the event engine for `SpikeTimes` and `Events` where it can, and
        the dense one otherwise; ``backend="numba"`` also for a dense `x` with few non-zero entries.
        ``result.engine`` says which it was. Neurons that fire again and again are computed by
        "event" on the CPU alone, without states and potentials; "dense" takes a loop over time.
    layout : {"bnt", "btn", "tbn"}
        Order of the axes of a dense `x`: b is the batch, n the neurons, t the time.
    method : {"block", "fft"}
        How the dense engine computes the potential of layers that fire once, see `decay`.
        ``backend="numba"`` and the event engine have a way of their own and refuse "fft".
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
        Neurons that fire once and have fired stay silent, and the logits count all steps so far.
    return_state : bool
        Whether the result carries a `State` to continue from; so it does where `state` is given.
    explain : bool
        Whether to log which engine was taken and why (logger "fastsnn_np").

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        For a shape, layout, option or value that does not fit, or for ``engine="event"`` where the
        event engine cannot compute this; the message says why.
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
    check_option("engine", engine, EngineName)
    if batch_size is not None:
        batch_size = whole("batch_size", batch_size)
    options = _options(return_potential, return_state, check_finite, explain)
    if batch_size is not None and (state is not None or return_state):
        raise ValueError("a state belongs to one batch: give no batch_size with it")
    progress = flag("progress", progress)
    if backend is not None and device is None:
        device = backends.get(backend).home(x.times if isinstance(x, SpikeTimes) else x)
    chosen = Chosen(backend, device, engine, method)
    run: Callable[..., Result]
    if network is None:
        x = in_layout(x, layout)
        run = partial(run_layer, chosen=chosen, options=options)
    else:
        network = loaded(network, beside=x if backend is None else None)
        x = in_layout(x, layout, network)
        run = Prepared(network, chosen, options)
    # What NumPy would warn of is looked for below, in every library, and raised.
    with np.errstate(invalid="ignore", over="ignore") if check_finite else nullcontext():
        parts = [run(part, state) for part in batches(x, batch_size, progress)]
    return parts[0] if len(parts) == 1 else joined(parts)


def prepare(
    network: Network | str | os.PathLike[str],
    *,
    backend: str = "numba",
    device: Any = None,
    engine: EngineName = "auto",
    method: Method = "block",
    return_potential: bool = False,
    return_state: bool = False,
    check_finite: bool = True,
    explain: bool = False,
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
    check_option("engine", engine, EngineName)
    options = _options(return_potential, return_state, check_finite, explain)
    return Prepared(loaded(network), Chosen(backend, device, engine, method), options)


def stream(
    network: Network | str | os.PathLike[str],
    chunks: Iterable[Array | SpikeTimes | Events],
    *,
    backend: str = "numba",
    device: Any = None,
    engine: EngineName = "auto",
    state: State | None = None,
    explain: bool = False,
) -> Iterator[Result]:
    """Run a recording that never ends, chunk by chunk of time; memory does not grow with it.

    Parameters
    ----------
    network, backend, device, engine, explain
        As in `forward`.
    chunks : iterable of arrays, SpikeTimes or Events
        Consecutive stretches of time of the same samples, each (batch, neurons, time) and of any
        length.
    state : State, optional
        The state to continue from.

    Yields
    ------
    Result
        One per chunk. ``spike_times`` are steps within the chunk; ``state.spike_times`` count from
        the first chunk's start, and logits and prediction are those of everything so far.

    Examples
    --------
    >>> import numpy as np
    >>> network = Network.random([3, 4, 2], seed=0)
    >>> chunks = (np.ones((1, 3, 50)) for _ in range(4))
    >>> [result.state.step for result in stream(network, chunks, backend="numpy")]
    [50, 100, 150, 200]
    """
    run = prepare(
        network, backend=backend, device=device, engine=engine, return_state=True, explain=explain
    )
    check_several("chunks", chunks)
    if state is not None:
        check_is_state(state)
    return _streamed(run, chunks, state)


def _streamed(run: Prepared, chunks: Iterable[Any], state: State | None) -> Iterator[Result]:
    """The chunks' results; `stream` itself is no generator, so that it checks when it is called."""
    for chunk in chunks:
        result = run(in_layout(chunk, "bnt"), state)
        state = result.state
        yield result


def _options(return_potential: Any, return_state: Any, check_finite: Any, explain: Any) -> Options:
    return Options(
        flag("return_potential", return_potential),
        flag("return_state", return_state),
        flag("check_finite", check_finite),
        flag("explain", explain),
    )


def loaded(network: Any, *, beside: Any = None) -> Network:
    """The network, or that of a file; its arrays go to the library and device of `beside`."""
    if isinstance(network, Network):
        return network
    if not isinstance(network, (str, os.PathLike)):
        raise TypeError(
            f"network must be a fastsnn_np.Network or a path, got {type(network).__name__}"
        )
    loaded = Network.load(network)
    like = beside.times if isinstance(beside, SpikeTimes) else beside
    if not is_array(like) or library_name(namespace(x=like)) == "numpy":
        return loaded
    asarray = backends.of(namespace(x=like)).asarray
    with backends.beside(like):
        return loaded.mapped(lambda array: asarray(array, device_of(like)))
