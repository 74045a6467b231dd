"""Inference over more data than fits in memory: blocks of a Dask array, or batches of an iterator.

Nothing here schedules anything: Dask does, on threads, processes or a cluster. What this adds is a
network that travels once and is prepared once per process, and checks before the first block runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ._checks import check_neurons, check_option, flag
from ._engine import EngineName
from ._forward import Layout, Prepared, Result, prepare
from ._forward._api import loaded
from ._forward._input import check_several, in_layout
from ._namespace import to_numpy
from .network import Network
from .spikes import shape_of

__all__ = ["BatchResult", "BulkResult", "forward_blocks", "forward_iter"]


@dataclass(frozen=True)
class BulkResult:
    """Lazy Dask arrays, chunked as the input was along the batch.

    They come from the same blocks, so compute them together: ``dask.compute(result)[0]`` is a
    `BulkResult` of NumPy arrays.
    """

    prediction: Any  #: int64 (batch,), the class of the largest logit
    logits: Any  #: (batch, classes)
    spike_counts: tuple[Any, ...]  #: int32 (batch,) per hidden layer


class BatchResult(NamedTuple):
    """What `forward_iter` yields."""

    result: Result
    labels: Any  #: as they came with the batch, or None


@dataclass(frozen=True)
class _Shipped:
    """A network on its way to the workers, told apart by its content alone."""

    key: str
    network: Network
    backend: str
    device: Any
    engine: EngineName
    check_finite: bool

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shipped) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def forward_blocks(
    x: Any,
    network: Network | str | os.PathLike[str],
    *,
    backend: str = "numba",
    device: Any = None,
    engine: EngineName = "auto",
    check_finite: bool = True,
) -> BulkResult:
    """`forward` over a Dask array, one block of samples after another, when it is computed.

    At any moment a worker holds the blocks its threads are at, and nothing of the others but
    their results; so the size of the chunks bounds the memory. Blocks depend on nothing else:
    those a lost worker had are computed again.

    Parameters
    ----------
    x : dask.array.Array (batch, neurons, time)
        Chunked along the batch only.
    network : Network or path
        Read now, and sent to each worker once.
    backend, device, engine, check_finite
        As in `forward`, for the workers; the results come back as NumPy arrays.

    Returns
    -------
    BulkResult

    Raises
    ------
    ImportError
        If Dask is not installed.
    TypeError
        If `x` is no Dask array.
    ValueError
        If `x` is chunked along neurons or time, or does not fit the network.

    Examples
    --------
    >>> import dask
    >>> import dask.array as da
    >>> x = da.zeros((6, 3, 10), chunks=(4, 3, 10))
    >>> result = forward_blocks(x, Network.random([3, 5, 2], seed=0), backend="numpy")
    >>> dask.compute(result)[0].logits.shape
    (6, 2)
    """
    try:
        import dask.array as da
        from dask.base import tokenize
        from dask.delayed import delayed
    except ImportError as error:
        raise ImportError(
            f"forward_blocks needs Dask ({error}): pip install 'dask[array]'"
        ) from error
    if not isinstance(x, da.Array):
        raise TypeError(
            f"x must be a dask.array.Array, got {type(x).__name__}: "
            "fastsnn_np.forward takes what is in memory"
        )
    check_finite = flag("check_finite", check_finite)
    network = loaded(network)
    _check_blocks(x, network)
    network = network.mapped(to_numpy)
    key = tokenize(network, backend, device, engine, check_finite)
    prepare(
        network, backend=backend, device=device, engine=engine
    )  # what is wrong with it is said here
    record = np.dtype(
        [
            ("prediction", np.int64),
            ("logits", network.dtype, (network.sizes[-1],)),
            ("spike_counts", np.int32, (len(network.layers),)),
        ]
    )
    # As a task of its own, and not inside each block's, the network is sent to a worker once.
    shipped = delayed(
        _Shipped(key, network, backend, device, engine, check_finite),
        name=f"network-{key}",
        traverse=False,
    )
    records = da.map_blocks(
        _run_block,
        x,
        shipped,
        record,
        dtype=record,
        drop_axis=[1, 2],
        meta=np.empty(0, record),
        name=f"fastsnn-{tokenize(x, key)}",
    )
    counts = records["spike_counts"]
    layers = range(len(network.layers))
    return BulkResult(
        records["prediction"], records["logits"], tuple(counts[:, layer] for layer in layers)
    )


def forward_iter(
    network: Network | str | os.PathLike[str],
    batches: Iterable[Any],
    *,
    backend: str = "numba",
    device: Any = None,
    engine: EngineName = "auto",
    layout: Layout = "bnt",
    check_finite: bool = True,
) -> Iterator[BatchResult]:
    """`forward` over batches as they come; one batch is held at a time.

    Parameters
    ----------
    network, backend, device, engine, layout, check_finite
        As in `forward`.
    batches : iterable
        Each a dense array with a batch axis, `SpikeTimes` or `Events`, or a pair of one of these
        and labels: a list, a generator, a `torch.utils.data.DataLoader` over any data set, such as
        one of tonic's. The size of the batch may change, the numbers of neurons and steps may not.

    Yields
    ------
    BatchResult

    Raises
    ------
    ValueError, TypeError
        As `forward` does, with the number of the batch, counted from 0.

    Examples
    --------
    >>> network = Network.random([3, 5, 2], seed=0)
    >>> batches = ((np.ones((size, 3, 10)), np.zeros(size)) for size in (4, 4, 1))
    >>> [len(result.prediction) for result, labels in forward_iter(network, batches)]
    [4, 4, 1]
    """
    check_option("layout", layout, Layout)
    check_several("batches", batches)
    run = prepare(network, backend=backend, device=device, engine=engine, check_finite=check_finite)
    return _results(run, batches, layout)


def _results(run: Prepared, batches: Iterable[Any], layout: Layout) -> Iterator[BatchResult]:
    """The batches' results; `forward_iter` is no generator, so that it checks when called."""
    first: tuple[int, int] | None = None
    for number, batch in enumerate(batches):
        x, labels = batch if isinstance(batch, (tuple, list)) and len(batch) == 2 else (batch, None)
        try:
            x = in_layout(x, layout)
            shape = shape_of(x)[1:]
            if first is not None and shape != first:
                raise ValueError(
                    f"{shape[0]} neurons and {shape[1]} steps, and the batches before it "
                    f"{first[0]} and {first[1]}: pad or crop the samples to one shape"
                )
            result = run(x)
        except (ValueError, TypeError) as error:
            raise type(error)(f"batch {number}: {error}") from error
        first = shape
        yield BatchResult(result, labels)


def _check_blocks(x: Any, network: Network) -> None:
    if x.ndim != 3:
        raise ValueError(f"x must have axes (batch, neurons, time), got shape {x.shape}")
    if x.numblocks[1:] != (1, 1):
        raise ValueError(
            f"x is cut into {x.numblocks[1]} blocks of neurons and {x.numblocks[2]} of time, and "
            'only the batch may be cut: x = x.rechunk({0: "auto", 1: -1, 2: -1})'
        )
    check_neurons(x.shape[1], network.sizes[0], "the network", steps=x.shape[2])


@lru_cache(maxsize=4)
def _prepared(shipped: _Shipped) -> Prepared:
    """The network made ready once per process, however many blocks it computes."""
    return prepare(
        shipped.network,
        backend=shipped.backend,
        device=shipped.device,
        engine=shipped.engine,
        check_finite=shipped.check_finite,
    )


def _run_block(x: Any, shipped: _Shipped, record: Any) -> Any:
    result = _prepared(shipped)(x)
    out = np.empty(len(x), record)
    out["prediction"] = to_numpy(result.prediction)
    out["logits"] = to_numpy(result.logits)
    for layer, count in enumerate(result.spike_counts):
        out["spike_counts"][:, layer] = to_numpy(count)
    return out
