"""What is measured on a GPU: times of forward runs, a sweep of densities, a training step.

Every time is a median, taken after a warm-up; a result that disagrees with the CPU's is no time.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import gpu_model as model
import numpy as np

import fastsnn_np as fs
from fastsnn_np._namespace import to_numpy
from fastsnn_np.backends import _cuda as cuda


@dataclasses.dataclass(frozen=True)
class Effort:
    """How much is run; a rehearsal on the stand-in shows that it runs, and no time."""

    repeats: int = 30
    batch: int | None = None  #: at most so many samples
    graphs: bool = True

    def cut(self, shape: model.Shape) -> model.Shape:
        return shape if self.batch is None else shape._replace(batch=min(shape.batch, self.batch))


def medians(call: Callable[[], Any], wait: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Seconds until a call returns, and until the GPU is done with it."""
    for _ in range(min(repeats, 3)):
        call()
    wait()
    returned, done = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        returned.append(time.perf_counter() - start)
        wait()
        done.append(time.perf_counter() - start)
    return statistics.median(returned), statistics.median(done)


def drawn(shape: model.Shape) -> tuple[fs.Network, Any]:
    """A network, and spike times or events as the shape has them."""
    rng = np.random.default_rng(0)
    sizes = [shape.inputs, shape.neurons, shape.classes]
    network = fs.Network.random(sizes, seed=0)
    if shape.events < shape.inputs:
        fires = rng.random((shape.batch, shape.inputs)) < shape.events / shape.inputs
        at = rng.integers(0, shape.steps, fires.shape)
        return network, fs.SpikeTimes(np.where(fires, at, shape.steps), shape.steps)
    count = shape.batch * shape.events
    bounds = (shape.steps, shape.inputs, shape.batch)
    return network, fs.Events.from_arrays(
        *(rng.integers(0, n, count) for n in bounds),
        n_neurons=shape.inputs,
        n_steps=shape.steps,
        n_samples=shape.batch,
    )


def on_gpu(cp: Any, x: Any) -> Any:
    """Spike times or a dense input on the GPU; events start from the host."""
    if isinstance(x, fs.SpikeTimes):
        return fs.SpikeTimes(cp.asarray(x.times), x.n_steps)
    return x if isinstance(x, fs.Events) else cp.asarray(x)


def in_graph(cp: Any, run: Any, x: Any) -> Any:
    """A launch of `run(x)` captured as a CUDA graph, and what it keeps alive."""
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        run(x)  # memory and kernels are there now
        stream.synchronize()
        stream.begin_capture()
        result = run(x)
        graph = stream.end_capture()
    return lambda: (graph.launch(stream), result)


def forward_times(cp: Any, effort: Effort) -> Iterator[str]:
    """A table of the five shapes by engine, with and without graphs, beside the prediction."""
    yield "| shape | engine | launches return (us) | done (us) | in a graph (us) | predicted (us) |"
    yield "| --- | --- | --- | --- | --- | --- |"
    wait = cp.cuda.Device().synchronize
    for full in model.shapes():
        shape = effort.cut(full)
        network, x = drawn(shape)
        expected = fs.forward(x, network, backend="numpy").spike_times[0]
        dense = x.to_dense()
        for engine, given in (("dense", on_gpu(cp, dense)), ("event", on_gpu(cp, x))):
            run = fs.prepare(network, backend="cupy", engine=engine, check_finite=False)
            found = to_numpy(run(given).spike_times[0])
            differ = float(np.mean(found != expected))
            if differ > 1e-3:
                wrong = f"WRONG: {differ:.2%} of spike times differ"
                yield f"| {shape.name} | {engine} | {wrong} | | | |"
                continue
            returned, done = medians(lambda: run(given), wait, effort.repeats)  # noqa: B023
            graph = _graph_time(cp, run, given, effort)
            event = model.event_forward(shape, sparse_times=isinstance(x, fs.SpikeTimes))
            predicted = event if engine == "event" else model.dense_forward(shape)
            yield (
                f"| {shape.name} | {engine} | {returned * 1e6:.0f} | {done * 1e6:.0f} | {graph} | "
                f"{predicted * 1e6:.0f} |"
            )


def _graph_time(cp: Any, run: Any, x: Any, effort: Effort) -> str:
    if isinstance(x, fs.Events):
        return "- (events come from the host)"
    if not effort.graphs:
        return "- (a rehearsal)"
    try:
        launch = in_graph(cp, run, x)
    except Exception as error:  # the report says so and goes on
        return f"{type(error).__name__}: {str(error)[:60]}"
    return f"{medians(launch, cp.cuda.Device().synchronize, effort.repeats)[1] * 1e6:.0f}"


DENSITIES = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2)


def density_sweep(cp: Any, effort: Effort) -> Iterator[str]:
    """Events against the dense product at each density, and where they cross."""
    yield "| density | event (us) | dense (us) |"
    yield "| --- | --- | --- |"
    cell = 1000 * 128
    crossing = None
    for density in DENSITIES:
        full = model.Shape("1000-200-10", 128, 1000, 200, 10, 128, max(1000, int(density * cell)))
        network, x = drawn(effort.cut(full))
        rows = [cp.asarray(a) for a in (x.indptr, x.indices)]  # the copy is not what is compared
        there = fs.Events.unchecked(*rows, x.n_neurons)
        times = []
        for engine, given in (("event", there), ("dense", cp.asarray(x.to_dense()))):
            run = fs.prepare(network, backend="cupy", engine=engine, check_finite=False)
            wait = cp.cuda.Device().synchronize
            times.append(medians(lambda: run(given), wait, effort.repeats)[1])  # noqa: B023
        if crossing is None and times[0] > times[1]:
            crossing = density
        yield f"| {density:.1%} | {times[0] * 1e6:.0f} | {times[1] * 1e6:.0f} |"
    found = "none up to 20 %" if crossing is None else f"at or below {crossing:.1%}"
    yield ""
    yield f"Crossing: {found}; backends/_cuda.py has DENSEST = {cuda.DENSEST:.0%}."


def training_times(effort: Effort, device: str = "cuda") -> Iterator[str]:
    """A training step by events, by the dense engine, and by a plain loop over time."""
    if importlib.util.find_spec("torch") is None:
        yield "Torch is not installed: not measured."
        return
    import torch

    from fastsnn_np.torch import FastSNN

    yield "| batch | event (ms) | dense (ms) | loop over time (ms) |"
    yield "| --- | --- | --- | --- |"
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    for batch in (128, 1024):
        shape = effort.cut(model.Shape("", batch, 784, 200, 10, 100, 331))
        _, x = drawn(shape)
        there = fs.SpikeTimes(torch.from_numpy(x.times).to(device), x.n_steps)
        dense, labels = there.to_dense(), torch.arange(shape.batch, device=device) % 10
        cells = []
        for engine in ("event", "dense"):
            torch.manual_seed(0)
            step = _step(FastSNN([784, 200, 10], engine=engine, device=device), there, labels)
            cells.append(medians(step, wait, effort.repeats)[1])
        cells.append(medians(_loop(dense, labels), wait, max(effort.repeats // 5, 1))[1])
        yield f"| {shape.batch} | " + " | ".join(f"{cell * 1e3:.2f}" for cell in cells) + " |"


def _step(network: Any, x: Any, labels: Any) -> Callable[[], Any]:
    import torch

    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step() -> None:
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(x), labels).backward()
        optimiser.step()

    return step


def _loop(x: Any, labels: Any) -> Callable[[], Any]:
    """The same network as people write it: a step of time after the other, and autograd."""
    import torch

    torch.manual_seed(0)
    first, last = (torch.nn.Linear(n, k, device=x.device) for n, k in ((784, 200), (200, 10)))
    optimiser = torch.optim.Adam([*first.parameters(), *last.parameters()], lr=1e-3)

    def step() -> None:
        optimiser.zero_grad()
        v = silent = out = summed = 0.0
        silent = 1.0
        for t in range(x.shape[-1]):
            v = 0.905 * v + first(x[..., t])
            soft = v - 1 - (10 * (v - 1).abs() + 1).reciprocal().mul(v - 1).detach()
            spike = ((v > 1).to(v.dtype) - soft).detach() + soft
            spike, silent = spike * silent, silent * (v <= 1)
            out = 0.951 * out + last(spike)
            summed = summed + out
        torch.nn.functional.cross_entropy(summed, labels).backward()
        optimiser.step()

    return step
