"""Which engine computes a run: the one place where that is decided.

======================  ====================  ==================================================
arrays                  SpikeTimes, Events    dense input
======================  ====================  ==================================================
NumPy                   event                 dense; with ``backend="numba"`` event up to some
                                              density, and the dense kernel above it
Torch on the CPU        event                 dense
CuPy                    event                 dense kernel, and event behind the first layer
Torch on an NVIDIA GPU  event                 dense
any other               dense                 dense
======================  ====================  ==================================================

On a GPU, `Events` above some density go as dense input does. ``engine="dense"`` never takes the
event engine, ``engine="event"`` takes it or raises.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._currents import density, takes_product
from .._engine import DENSE, Engine, EngineName
from .._namespace import Array, device_of, namespace
from ..backends import Backend
from ..spikes import Events, SpikeTimes, shape_of


class Choice(NamedTuple):
    """Names of the engines of the first layer and of all others, and why."""

    first: str
    rest: str
    why: str


def choose(
    asked: EngineName, sparse: bool, backend: Backend, weights: tuple[Array, ...], method: str
) -> Choice:
    """The engines for input that is sparse or not, on arrays of `backend`.

    Parameters
    ----------
    weights : tuple of arrays
        The weights of all layers; empty where the input is the current itself.

    Raises
    ------
    ValueError
        If the event engine was asked for and cannot compute this, or no engine knows `method`.
    """
    like = weights[0] if weights else None
    dense = "dense kernel" if backend.dense == "fused" else "dense"
    if backend.cuda is not None and method not in engine_named(dense, backend, like).methods:
        dense = "dense"
    obstacle = None if asked == "dense" else _why_not_event(backend, weights, method)
    if asked == "event":
        if obstacle is not None:
            raise ValueError(cannot_event(obstacle))
        return Choice("event", "event", "engine='event' was asked for")
    if method not in engine_named(dense, backend, like).methods:
        raise ValueError(f"method={method!r} is for the dense core; {backend.name} has its own")
    if asked == "dense":
        return Choice(dense, dense, "engine='dense' was asked for")
    if sparse and obstacle is None:
        return Choice("event", "event", "x is sparse")
    if sparse:
        return Choice(dense, dense, f"x is sparse, but the event engine cannot take it: {obstacle}")
    if dense == "dense kernel" and obstacle is None:
        return Choice(dense, "event", "x is dense")
    return Choice(dense, dense, "x is dense")


def by_density(x: Any, choice: Choice, backend: Backend) -> Choice:
    """The choice for a dense NumPy array, judged by the density of a few of its samples."""
    some = x[:: max(1, len(x) // 8)]
    density = np.count_nonzero(some) / max(some.size, 1)
    sparse = density <= backend.densest_events
    why = f"x is dense, of density {density:.1%}: " + (
        "computed as events" if sparse else "computed as a matrix product"
    )
    why += f" (events up to {backend.densest_events:.0%})"
    return Choice("event" if sparse else choice.first, choice.rest, why)


def events_by_density(
    x: Any, sparse: Choice, dense: Choice, backend: Backend, weight: Array
) -> Choice:
    """The choice for sparse input: on a GPU, `Events` of some density go as dense input does."""
    same = sparse.first == dense.first
    if same or not isinstance(x, Events) or not _on_gpu(backend, weight):
        return sparse
    shape = shape_of(x)
    density = x.n_events / max(shape.batch * shape.neurons * shape.steps, 1)
    if density <= backend.densest_on_gpu:
        return sparse
    return dense._replace(
        why=f"x is sparse, but of density {density:.1%}: computed as a matrix product "
        f"(events up to {backend.densest_on_gpu:.0%})"
    )


def by_product(x: Any, choice: Choice, backend: Backend) -> Choice:
    """The choice of the dense engine, and how it multiplies this input by the weights."""
    if isinstance(x, (SpikeTimes, Events)):
        if backend.sparse_product is None:
            how = f"made dense, since {backend.name} has no sparse product"
        else:
            taken = "by the sparse product" if takes_product(backend, x) else "made dense"
            how = f"{taken}, at a density of {density(x):.2%} (up to {backend.densest_product:.0%})"
        return choice._replace(why=f"{choice.why}; {how}")
    xp = namespace(x=x)
    some = x[:: max(1, x.shape[0] // 8), ...]
    found = int(xp.sum(xp.astype(some != 0, xp.int32))) / max(math.prod(some.shape), 1)
    if found > backend.densest_product:
        return choice
    return choice._replace(
        why=f"{choice.why}, of density {found:.2%}: SpikeTimes or Events would be multiplied "
        f"by the weights in about {found / backend.densest_product:.1%} of the time"
    )


def engine_named(name: str, backend: Backend, like: Array | None = None) -> Engine:
    """The engine of this name for arrays of `backend` like this one; each imports its kernels."""
    if name == "event" and _on_gpu(backend, like):
        from ..backends.event.cuda_engine import CudaEvents

        return CudaEvents(backend)
    if name == "event":
        from ..backends.event.engine import EventEngine

        return EventEngine(backend)
    if name == "dense kernel" and backend.cuda is not None:
        from ..backends.event.cuda_engine import CudaDense

        return CudaDense(backend)
    if name == "dense kernel":
        from ..backends.event.fused import FUSED

        return FUSED
    return DENSE


def _on_gpu(backend: Backend, like: Array | None) -> bool:
    return backend.cuda is not None and like is not None and backend.cuda(like) is not None


def cannot_event(obstacle: str) -> str:
    """The sentence of an error where the event engine was asked for in vain."""
    return f"engine='event' cannot compute this: {obstacle}; use engine='dense'"


def _why_not_event(backend: Backend, weights: tuple[Array, ...], method: str) -> str | None:
    if backend.event is None and backend.cuda is None:
        return f"it takes NumPy arrays and Torch tensors on the CPU, and these are {backend.name}'s"
    if not weights:
        return "it adds up weights, and without a network there are none"
    if method != "block":
        return f"method={method!r} is for the dense core"
    device = str(device_of(weights[0]))
    if device != "cpu" and not _on_gpu(backend, weights[0]):
        cupy = ", or with CuPy on an NVIDIA GPU" if device.startswith("cuda") else ""
        return f"it runs on the CPU{cupy}, and the network is on {device}"
    if any(backend.tracks_gradients(weight) for weight in weights):
        return "gradients of the weights are wanted, which fastsnn_np.torch.FastSNN computes"
    return None
