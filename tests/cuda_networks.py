"""Random networks of one hidden layer through the emulated CUDA kernels, forward and backward.

Run as a program with a seed and a number, it runs that many through sanitized kernels.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from cuda_emulator import SANITIZERS, Emulator

import fastsnn_np as fs
from fastsnn_np import backends
from fastsnn_np._engine import LayerOptions, ReadoutOptions
from fastsnn_np.backends import _cuda as cuda
from fastsnn_np.backends.event.cuda_engine import CudaDense, CudaEvents

FORMS = ("times", "events", "values")


def kernels_of(emulator: Emulator, seed: int = 0) -> cuda.Kernels:
    """The project's own binding, on NumPy arrays; with a seed threads run in a random order."""

    def launch(name: str, grid: Any, block: Any, args: Any) -> None:
        emulator.launch(name, grid, block, args, seed)

    return cuda.Kernels(emulator.real, launch, lambda array: array, np.ascontiguousarray)


def backend_of(kernels: cuda.Kernels) -> backends.Backend:
    """A backend whose arrays are NumPy's and whose GPU is the emulator."""
    return backends.Backend(
        "emulated",
        version=lambda: "",
        devices=list,
        asarray=lambda x, device=None: np.asarray(x),
        dense="fused",
        cuda=lambda like: kernels,
    )


@dataclass(frozen=True)
class Drawn:
    """A network, its input, and what its loss asks for."""

    layer: fs.Layer
    readout: fs.Readout
    x: fs.SpikeTimes | fs.Events
    initial: Any
    dlogits: Any
    passes: Any  #: dropout, bool (batch, neurons)
    activity: Any  #: gradients of spike counts and of summed spike times, (batch,) each
    paper: bool

    @property
    def dtype(self) -> Any:
        return self.layer.weight.dtype

    @property
    def unit(self) -> bool:
        return self.layer.input_scale == "unit"


def draw(seed: int, dtype: Any) -> Drawn:
    """Sizes, parameters, input and options, all of them varied."""
    rng = np.random.default_rng(seed)
    bounds = ((1, 9), (1, 90), (1, 90), (1, 12), (1, 120))
    batch, inputs, neurons, classes, steps = (int(rng.integers(*b)) for b in bounds)
    unit, extras, form = bool(seed & 2), bool(seed & 8), FORMS[seed % 3]
    gain = 2.5 if unit else 25.0

    def parameters(n_in: int, n_out: int) -> dict[str, Any]:
        return {
            "weight": (rng.normal(size=(n_out, n_in)) * gain / n_in**0.5).astype(dtype),
            "bias": (rng.normal(size=n_out) * 0.02 * gain).astype(dtype),
            "beta": np.exp(-1 / rng.uniform(3, 30, n_out)).astype(dtype),
            "input_scale": "unit" if unit else "normalised",
        }

    layer = fs.Layer(**parameters(inputs, neurons), threshold=float(rng.uniform(0.5, 1.5)))
    readout = fs.Readout(**parameters(neurons, classes), kind="sum" if seed & 1 else "max")
    x: Any = fs.SpikeTimes(rng.integers(0, steps + 1, (batch, inputs)).astype(np.int32), steps)
    if form != "times":
        count = int(rng.integers(0, 6 * inputs))
        x = fs.Events.from_arrays(
            *(rng.integers(0, n, count) for n in (steps, inputs, batch)),
            n_neurons=inputs,
            n_steps=steps,
            n_samples=batch,
            values=rng.normal(size=count).astype(dtype) if form == "values" else None,
        )
    activity = [rng.normal(size=batch).astype(dtype) * size for size in (1, 0.01)]
    return Drawn(
        layer,
        readout,
        x,
        rng.normal(size=(batch, neurons)).astype(dtype) * 0.3 if extras else None,
        rng.normal(size=(batch, classes)).astype(dtype),
        rng.random((batch, neurons)) < 0.7 if extras else None,
        [a.astype(dtype) for a in activity] if extras else None,
        bool(seed & 4),
    )


def forward(drawn: Drawn, kernels: cuda.Kernels, engine: Any = CudaEvents) -> tuple[Any, Any]:
    """Hidden layer and readout by an engine of the project; the readout sees the layer's spikes."""
    part, made = drawn.layer, engine(backend_of(kernels))
    options = LayerOptions(part.beta, part.threshold, part.input_scale)
    hidden = made.layer(part.weight, part.bias, options, method="block")
    sparse, steps = made.takes_sparse, drawn.x.n_steps
    x = drawn.x if sparse else drawn.x.to_dense(dtype=drawn.dtype)
    out = hidden(x, initial_potential=drawn.initial, return_potential=True)
    part = drawn.readout
    options = ReadoutOptions(part.beta, part.kind, part.input_scale)
    spikes = fs.SpikeTimes(out.times, steps)
    read = made.readout(part.weight, part.bias, options)(
        spikes if sparse else spikes.to_dense(drawn.dtype), return_potential=True
    )
    return out, read


@dataclass(frozen=True)
class Gradients:
    """Of one layer: dW (inputs, neurons), dbias, dbeta, and dL/dI (batch, steps, neurons)."""

    weight: Any
    bias: Any
    beta: Any
    current: Any


def neurons_of(part: Any) -> tuple[Any, Any, int]:
    unit = part.input_scale == "unit"
    beta = np.ascontiguousarray(part.beta)
    return beta, np.ones_like(beta) if unit else 1 - beta, int(unit)


def gradients(part: Any, rows: Any, current: Any, bias: Any, beta: Any, kernels: Any) -> Gradients:
    """dW by the gather for the input's form, and each sample's parts added up."""
    batch, steps, neurons = current.shape
    weight = np.empty((part.n_inputs, neurons), current.dtype)
    if isinstance(rows, fs.SpikeTimes):
        sizes = (batch, part.n_inputs, neurons, steps)
        kernels("gather_times", part.n_inputs, neurons, rows.times, current, *sizes, weight)
    else:
        row = np.repeat(np.arange(batch * steps, dtype=np.int32), np.diff(rows.indptr).ravel())
        order = np.argsort(rows.indices, kind="stable")
        counts = np.bincount(rows.indices, minlength=part.n_inputs)
        by_input = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        values = rows.values
        values = None if values is None else values.astype(current.dtype)[order]
        events = (by_input, row[order], values)
        kernels("gather_events", part.n_inputs, neurons, *events, current, neurons, weight)
    _, scale, unit = neurons_of(part)
    return Gradients(weight, bias.sum(0), beta.sum(0) / (1 if unit else scale), current)


def backward(
    drawn: Drawn, kernels: cuda.Kernels, times: Any, potential: Any, where: Any, read: Any
) -> tuple[Gradients, Gradients]:
    """Gradients of readout and layer, from spikes and potentials (batch, steps, neurons)."""
    summed, steps = drawn.readout.kind == "sum", drawn.x.n_steps

    def empty(like: Any) -> tuple[Any, ...]:
        one = (like.shape[0], like.shape[2])
        return np.empty_like(like), np.empty(one), np.empty(one)

    beta, scale, unit = neurons_of(drawn.readout)
    batch, _, classes = read.shape
    out = empty(read)
    before = (beta, scale, None, read, drawn.dlogits, where)
    kernels("readout_backward", batch, classes, *before, steps, classes, summed, unit, *out)
    spikes = fs.SpikeTimes(times, steps)
    last = gradients(drawn.readout, spikes, *out, kernels)

    beta, scale, unit = neurons_of(drawn.layer)
    neurons = drawn.layer.n_neurons
    out = empty(potential)
    above = (last.current, np.ascontiguousarray(drawn.readout.weight), classes)
    asked = (drawn.passes, *(drawn.activity or (None, None)), drawn.layer.threshold, 10.0)
    before = (beta, scale, drawn.initial, potential, times, *above, *asked)
    kernels("layer_backward", batch, neurons, *before, drawn.paper, steps, neurons, unit, *out)
    return last, gradients(drawn.layer, drawn.x, *out, kernels)


def time_first(potential: Any) -> Any:
    return np.ascontiguousarray(potential.transpose(0, 2, 1))


def everything(seed: int, dtype: Any, emulator: Emulator) -> None:
    """Every kernel on one network, for the sanitizers: nothing is compared."""
    drawn, kernels = draw(seed, dtype), kernels_of(emulator, seed)
    out, read = forward(drawn, kernels)
    forward(drawn, kernels, CudaDense)
    where = np.zeros_like(drawn.dlogits, np.int32)
    backward(
        drawn, kernels, out.times, time_first(out.potential), where, time_first(read.potential)
    )


if __name__ == "__main__":
    first, count = map(int, sys.argv[1:])
    source = cuda.SOURCE.read_text()
    for real in (np.float32, np.float64):
        sanitized = Emulator(source, real, SANITIZERS)
        for number in range(first, first + count):
            everything(number, real, sanitized)
    sys.stdout.write(f"{2 * count} networks, every kernel, nothing found\n")
