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

A network with neurons that fire again and again knows the event engine on the CPU and the dense
one; with ``backend="numba"`` it takes the first for dense input as well. States and potentials of
such neurons are for the dense engine.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._currents import density, takes_product
from .._engine import DENSE, Engine, EngineName, SpikingEngine
from .._namespace import Array, device_of, namespace
from ..backends import Backend
from ..spikes import Events, SpikeTimes, shape_of


class Again(NamedTuple):
    """Whether neurons fire again and again, and what is wanted of them besides spikes."""

    fires: bool = False
    states: bool = False
    potentials: bool = False


class Choice(NamedTuple):
    """Names of the engines of the first layer and of all others, and why."""

    first: str
    rest: str
    why: str


def choose(
    asked: EngineName,
    sparse: bool,
    backend: Backend,
    weights: tuple[Array, ...],
    method: str,
    again: Again = Again(),  # noqa: B008, a constant
) -> Choice:
    """The engines for input that is sparse or not, on arrays of `backend`.

    Parameters
    ----------
    weights : tuple of arrays
        The weights of all layers; empty where the input is the current itself.
    again : Again
        About neurons that fire again and again.

    Raises
    ------
    ValueError
        If the event engine was asked for and cannot compute this, or no engine knows `method`.
    """
    like = weights[0] if weights else None
    is_fused = backend.dense == "fused"
    dense = "dense kernel" if is_fused and not again.fires else "dense"
    if backend.cuda is not None and method not in engine_named(dense, backend, like).methods:
        dense = "dense"
    obstacle = None if asked == "dense" else _why_not_event(backend, weights, method, again)
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
    if is_fused and again.fires:
        if obstacle is None:
            return Choice("event", "event", "x is dense, and its neurons have no dense kernel")
        return Choice(dense, dense, f"x is dense, and the event engine cannot: {obstacle}")
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


def spiking_engine_named(name: str, backend: Backend) -> SpikingEngine:
    """The engine of this name, "event" or "dense", for neurons that fire again and again."""
    if name != "event":
        return DENSE
    from ..backends.event.engine import EventEngine

    return EventEngine(backend)


def _on_gpu(backend: Backend, like: Array | None) -> bool:
    return backend.cuda is not None and like is not None and backend.cuda(like) is not None


def cannot_event(obstacle: str) -> str:
    """The sentence of an error where the event engine was asked for in vain."""
    return f"engine='event' cannot compute this: {obstacle}; use engine='dense'"


def _why_not_event(
    backend: Backend, weights: tuple[Array, ...], method: str, again: Again
) -> str | None:
    if backend.event is None and backend.cuda is None:
        return f"it takes NumPy arrays and Torch tensors on the CPU, and these are {backend.name}'s"
    if not weights:
        return "it adds up weights, and without a network there are none"
    if method != "block":
        return f"method={method!r} is for the dense core"
    if again.fires and (again.states or again.potentials):
        kept = "states" if again.states else "potentials"
        return f"it keeps no {kept} of neurons that fire again and again"
    device = str(device_of(weights[0]))
    if again.fires and (backend.event is None or device != "cpu"):
        return f"neurons that fire again and again have kernels on the CPU alone, not on {device}"
    if device != "cpu" and not _on_gpu(backend, weights[0]):
        cupy = ", or with CuPy on an NVIDIA GPU" if device.startswith("cuda") else ""
        return f"it runs on the CPU{cupy}, and the network is on {device}"
    if any(backend.tracks_gradients(weight) for weight in weights):
        return "gradients of the weights are wanted, which fastsnn_np.torch.FastSNN computes"
    return None
