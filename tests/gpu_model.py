"""Predicted times on an H100 (SXM): bytes, flops and chains of dependent loads.

Nothing here was measured; `nox -s gpu` sets it beside what is.
"""

from __future__ import annotations

import math
from typing import NamedTuple

HBM, L2 = 3.35e12, 5.5e12  # bytes per second
FLOPS = 0.75 * 67e12  # of a float32 product that runs well
LANES = 132 * 128  # float32 operations per cycle
CLOCK = 1.755e9
LATENCY = 270 / CLOCK  # of a load from L2
LAUNCH = 2.5e-6  # start and drain of a kernel in a graph
AHEAD = 8  # weight rows in flight, as event.cu has it
RESIDENT = 132 * 32  # warps that the GPU holds at 40 registers a thread


class Shape(NamedTuple):
    """A network and its input; no classes: one hidden layer alone."""

    name: str
    batch: int
    inputs: int
    neurons: int
    classes: int
    steps: int
    events: int  #: per sample


def shapes() -> list[Shape]:
    image = (784, 200, 10, 100, 331)  # first-spike codes of Fashion-MNIST: 331 spikes an image
    events = [Shape(f"784-200-10, batch {b}", b, *image) for b in (1, 128, 1024)]
    for percent in (1, 10):
        count = 1000 * 128 * percent // 100
        events.append(Shape(f"1000-200-10, {percent} %", 128, 1000, 200, 10, 128, count))
    return events


def product(s: Shape) -> float:
    """Seconds of the dense product W x, or of reading x from memory if that takes longer."""
    flops = 2 * s.batch * s.inputs * s.neurons * s.steps
    return max(flops / FLOPS, 4 * s.batch * s.inputs * s.steps / HBM)


def by_events(batch: int, neurons: int, steps: int, events: int) -> float:
    """Seconds of a layer from events: rows from L2, instructions, or the chain of loads."""
    rows = 4 * batch * events * neurons / L2
    issue = (4.5 * batch * events * neurons + 10 * batch * steps * neurons) / (LANES * CLOCK)
    chain = math.ceil(events / AHEAD) * (LATENCY + 40 / CLOCK) + 24 * steps / CLOCK
    waves = max(1.0, 2 * batch * math.ceil(neurons / 64) / RESIDENT)
    return max(rows, issue, chain * waves)


def sort(neurons: int) -> float:
    """Seconds of a counting sort of spike times, which are read twice."""
    return 2 * 8 * neurons / CLOCK + LAUNCH


def event_forward(s: Shape, *, sparse_times: bool = True) -> float:
    """Seconds of all kernels of a forward run by events, launched by a graph."""
    fired = round(0.7 * s.neurons)
    hidden = by_events(s.batch, s.neurons, s.steps, s.events) + LAUNCH
    readout = by_events(s.batch, s.classes, s.steps, fired) + LAUNCH
    return hidden + readout + sort(s.neurons) + (sort(s.inputs) if sparse_times else 0)


def dense_forward(s: Shape) -> float:
    """Seconds of the product, the dense kernel and the readout by events."""
    current = 4 * s.batch * s.neurons * s.steps
    layer = max(2 * current / L2, s.steps * 24 / CLOCK) + LAUNCH
    fired = round(0.7 * s.neurons)
    readout = by_events(s.batch, s.classes, s.steps, fired) + LAUNCH
    return product(s) + LAUNCH + layer + sort(s.neurons) + readout
