"""NumPy arrays through Numba kernels.

Sparse input goes to the event engine, ``events``. Dense input is multiplied by NumPy, and decay and
first spike are fused in one pass over the current: each row, one neuron of one sample, is read
once, and no potential is written unless it is asked for. The specification that all kernels are
compared with is ``fastsnn_np.reference``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from fastsnn_np._currents import currents
from fastsnn_np._decay import InputScale, check_beta, check_option
from fastsnn_np._layer import LayerOutput, ReadoutKind, ReadoutOutput
from fastsnn_np._namespace import float_dtype, require_time_axis
from fastsnn_np.backends import events
from fastsnn_np.backends._jit import Kernel
from fastsnn_np.backends.numpy import asarray
from fastsnn_np.network import Layer
from fastsnn_np.network import Readout as ReadoutLayer

__all__ = ["as_parameter", "asarray", "bind", "devices", "layer", "readout", "version"]

TAKES_EVENTS = True  # sparse input is not made dense for this engine
_DENSEST = 0.15  # of a dense input computed as events; by the case dense-input of benchmarks/
_log = logging.getLogger("fastsnn_np")


def version() -> str:
    return str(numba.__version__)


def devices() -> list[str]:
    return [f"cpu ({numba.get_num_threads()} threads)"]


def layer(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    /,
    *,
    beta: Any,
    threshold: float = 1.0,
    initial_potential: Any = None,
    input_scale: InputScale = "normalised",
    return_potential: bool = False,
) -> LayerOutput:
    """`fastsnn_np.layer` in one fused pass; the same arguments, results and errors."""
    rows, lead, beta, scale, initial = _prepare(
        x, weight, bias, beta, initial_potential, input_scale
    )
    times = np.empty(rows.shape[0], np.int32)
    final = np.empty(rows.shape[0], rows.dtype)
    potential = np.empty(rows.shape if return_potential else (0, 0), rows.dtype)
    theta = rows.dtype.type(threshold)
    _hidden(rows, beta, scale, initial, theta, _tiny(rows), times, final, potential)
    return LayerOutput(
        times.reshape(lead),
        final.reshape(lead),
        potential.reshape(*lead, -1) if return_potential else None,
    )


def readout(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    /,
    *,
    beta: Any,
    kind: ReadoutKind = "sum",
    initial_potential: Any = None,
    input_scale: InputScale = "normalised",
    return_potential: bool = False,
) -> ReadoutOutput:
    """`fastsnn_np.readout` in one fused pass; the same arguments, results and errors."""
    check_option("kind", kind, ReadoutKind)
    rows, lead, beta, scale, initial = _prepare(
        x, weight, bias, beta, initial_potential, input_scale
    )
    logits = np.empty(rows.shape[0], rows.dtype)
    final = np.empty(rows.shape[0], rows.dtype)
    potential = np.empty(rows.shape if return_potential else (0, 0), rows.dtype)
    _readout(rows, beta, scale, initial, kind == "sum", _tiny(rows), logits, final, potential)
    return ReadoutOutput(
        logits.reshape(lead),
        final.reshape(lead),
        potential.reshape(*lead, -1) if return_potential else None,
    )


def as_parameter(x: Any, device: Any = None) -> Any:
    """A parameter for this backend: a weight is stored transposed, as the event kernels read it."""
    x = asarray(x, device)
    return np.asfortranarray(x) if x.ndim == 2 else x


def bind(part: Layer | ReadoutLayer) -> Callable[..., Any]:
    """A layer or readout made ready: its weights are laid out and checked once.

    The callable takes `Events`, `SpikeTimes` or a dense array; a dense one is turned into events
    where they are sparse enough for that to pay.
    """
    weights = events.weights_of(part.weight, part.bias, part.beta, part.input_scale)
    dtype = weights.weight.dtype
    hidden = isinstance(part, Layer)
    options: dict[str, Any] = {"beta": part.beta, "input_scale": part.input_scale}
    options |= {"threshold": part.threshold} if hidden else {"kind": part.kind}  # type: ignore[union-attr]

    def run(
        x: Any,
        *,
        initial_potential: Any = None,
        return_potential: bool = False,
        to_the_end: bool = False,
    ) -> Any:
        if isinstance(x, np.ndarray) and not _is_sparse(x):
            more = {"initial_potential": initial_potential, "return_potential": return_potential}
            x = x.astype(dtype, copy=False)
            return (layer if hidden else readout)(x, part.weight, part.bias, **options, **more)
        rows = events.rows_of(x, dtype)
        # A NaN or infinity must reach the last potential, where it is looked for.
        to_the_end = to_the_end or not np.isfinite(rows.values).all()
        keep = None
        if return_potential:
            keep = np.empty((len(rows.ptr), rows.ptr.shape[1] - 1, part.n_neurons), dtype)
        if hidden:
            out: Any = events.hidden(
                rows,
                weights,
                threshold=part.threshold,  # type: ignore[union-attr]
                initial=initial_potential,
                to_the_end=to_the_end,
                keep=keep,
            )
        else:
            summed = part.kind == "sum"  # type: ignore[union-attr]
            out = events.readout(rows, weights, summed=summed, initial=initial_potential, keep=keep)
        kind: Any = LayerOutput if hidden else ReadoutOutput
        potential = None if keep is None else keep.transpose(0, 2, 1)
        return kind(out[0], out.final, potential)

    return run


def _is_sparse(x: Any) -> bool:
    """Whether a dense array is worth turning into events, judged by a few of its samples."""
    some = x[:: max(1, len(x) // 8)]
    density = np.count_nonzero(some) / max(some.size, 1)
    sparse = bool(x.ndim == 3 and density <= _DENSEST)
    _log.info(
        "dense input of density %.1f %%: %s (events up to %.0f %%)",
        100 * density,
        "computed as events" if sparse else "computed as a matrix product",
        100 * _DENSEST,
    )
    return sparse


def _prepare(x: Any, weight: Any, bias: Any, beta: Any, initial: Any, input_scale: str) -> Any:
    """The current as (rows, time), and beta, scale and V0 as arrays the kernels can index."""
    if weight is None and bias is not None:
        raise TypeError("bias without weight: add it to the current")
    current = x if weight is None else currents(x, weight, bias)
    require_time_axis("current", current)
    check_option("input_scale", input_scale, InputScale)
    dtype = float_dtype(np, current=current)
    neurons = current.shape[-2]
    beta = np.asarray(beta, dtype)
    check_beta(np, beta, neurons=neurons)
    scale = 1 - beta if input_scale == "normalised" else np.ones_like(beta)
    lead = current.shape[:-1]
    initial = np.broadcast_to(np.asarray(0 if initial is None else initial, dtype), lead)
    rows = np.ascontiguousarray(current, dtype).reshape(int(np.prod(lead)), current.shape[-1])
    per_neuron = [np.ascontiguousarray(np.broadcast_to(a, (neurons,))) for a in (beta, scale)]
    return rows, lead, *per_neuron, np.ascontiguousarray(initial).reshape(-1)


def _tiny(rows: Any) -> Any:
    return np.finfo(rows.dtype).smallest_normal


@Kernel
def _hidden(  # type: ignore[no-untyped-def]
    current, beta, scale, initial, threshold, tiny, times, final, potential
):
    rows, steps = current.shape
    for row in numba.prange(rows):
        i = row % beta.shape[0]
        b, s, v = beta[i], scale[i], initial[row]
        first = steps
        for t in range(steps):
            v = b * v + s * current[row, t]  # eq. 5
            if -tiny < v < tiny:
                v -= v  # denormal numbers are slow, and silence is long
            if v > threshold and first == steps:  # eq. 3 and 6
                first = t
            if potential.size:
                potential[row, t] = v
        times[row] = first
        final[row] = v


@Kernel
def _readout(  # type: ignore[no-untyped-def]
    current, beta, scale, initial, summed, tiny, logits, final, potential
):
    rows, steps = current.shape
    for row in numba.prange(rows):
        i = row % beta.shape[0]
        b, s, v = beta[i], scale[i], initial[row]
        total = current.dtype.type(0)
        largest = current.dtype.type(-np.inf)
        for t in range(steps):
            v = b * v + s * current[row, t]
            if -tiny < v < tiny:
                v -= v
            total += v
            largest = max(largest, v)
            if potential.size:
                potential[row, t] = v
        logits[row] = total if summed else largest
        final[row] = v
