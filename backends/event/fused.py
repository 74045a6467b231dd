"""Dense input on NumPy arrays: decay and first spike fused in one pass over the current.

The input is multiplied by NumPy. Then each row, one neuron of one sample, is read once, and no
potential is written unless it is asked for. V is float64: float32's rounding errors add up over the
steps where beta is close to 1, and move spikes. The specification that all kernels are compared
with is ``fastsnn_np.reference``.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from fastsnn_np._checks import check_beta, check_option, check_time_axis
from fastsnn_np._currents import currents
from fastsnn_np._decay import InputScale
from fastsnn_np._engine import (
    LayerOptions,
    LayerPart,
    PreparedLayer,
    PreparedNetwork,
    PreparedReadout,
    ReadoutOptions,
    ReadoutPart,
    with_parameters,
)
from fastsnn_np._jit import Kernel
from fastsnn_np._layer import LayerOutput, ReadoutKind, ReadoutOutput
from fastsnn_np._namespace import Array, float_dtype

__all__ = ["FUSED", "layer", "readout"]


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
    rows, lead, beta, scale, initial = _arguments(
        x, weight, bias, beta, initial_potential, input_scale
    )
    times = np.empty(rows.shape[0], np.int32)
    final = np.empty(rows.shape[0], rows.dtype)
    potential = np.empty(rows.shape if return_potential else (0, 0), rows.dtype)
    theta = rows.dtype.type(threshold)
    _layer(rows, beta, scale, initial, theta, _tiny(rows), times, final, potential)
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
    rows, lead, beta, scale, initial = _arguments(
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


class _Fused:
    """The dense engine of ``backend="numba"``."""

    name = "dense kernel"
    takes_sparse = False
    methods = ("block",)

    def layer(
        self, weight: Array | None, bias: Array | None, options: LayerOptions, *, method: str
    ) -> PreparedLayer:
        run: PreparedLayer = with_parameters(layer, weight, bias, options._asdict())
        return run

    def readout(
        self, weight: Array, bias: Array | None, options: ReadoutOptions
    ) -> PreparedReadout:
        run: PreparedReadout = with_parameters(readout, weight, bias, options._asdict())
        return run

    def network(self, hidden: list[LayerPart], readout: ReadoutPart) -> PreparedNetwork | None:
        return None


FUSED = _Fused()


def _arguments(x: Any, weight: Any, bias: Any, beta: Any, initial: Any, input_scale: str) -> Any:
    """The current as (rows, time), and beta, scale and V0 as arrays the kernels can index."""
    if weight is None and bias is not None:
        raise TypeError("bias without weight: add it to the current")
    current = x if weight is None else currents(x, weight, bias)
    check_time_axis("current", current)
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
def _layer(  # type: ignore[no-untyped-def]
    current, beta, scale, initial, threshold, tiny, times, final, potential
):
    rows, steps = current.shape
    for row in numba.prange(rows):
        i = row % beta.shape[0]
        b, s, v = np.float64(beta[i]), np.float64(scale[i]), np.float64(initial[row])
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
        b, s, v = np.float64(beta[i]), np.float64(scale[i]), np.float64(initial[row])
        total, largest = 0.0, -np.inf
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
