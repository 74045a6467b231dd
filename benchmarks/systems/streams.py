"""Whole networks from a stream of chunks: both engines at one setting of `scaling`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

import fastsnn_np as fs
from fastsnn_np.encoding import random_spike_trains

from ..harness.contest import Contest, Pass
from .internals import to_numpy
from .names import BLOCK, EVENT

INPUTS = 500
CHUNK = 4096  # steps; longer inputs are streamed
CONTESTANTS = (EVENT, BLOCK)


class Setting(NamedTuple):
    """One network and input: everything but one of these stays as it is here."""

    T: int = 512
    hz: int = 20  # with 500 inputs and a step of 1 ms, hz/2 events a step
    n: int = 200
    b: int = 64
    layers: int = 1
    threads: int = 0  # 0: all


def contest(
    names: Sequence[str], *, seed: int = 0, backend: str | None = None, **setting: int
) -> Contest:
    """Both engines at one setting; dense input is made only as long as a chunk."""
    chosen = Setting(**setting)
    network = fs.Network.random([INPUTS, *[chosen.n] * chosen.layers, 10], seed=seed)
    backends = {EVENT: "numba", BLOCK: backend or "numpy"}
    return Contest({n: Pass(stream(network, chosen, backends[n], seed)) for n in names}, judge)


def stream(network: fs.Network, setting: Setting, backend: str, seed: int) -> Callable[[], Any]:
    """A call that streams one chunk as often as the setting wants, and returns the logits."""
    chunk = min(setting.T, CHUNK)
    trains = random_spike_trains(setting.b, INPUTS, chunk, rate=(setting.hz,) * 2, seed=seed)
    x: Any = fs.Events.from_dense(trains) if backend == "numba" else trains.astype(np.float32)
    count = setting.T // chunk

    def call() -> Any:
        logits = None
        with numba_threads(setting.threads):
            for result in fs.stream(network, (x for _ in range(count)), backend=backend):
                logits = result.logits
        return logits

    return call


def judge(outputs: dict[str, Any]) -> str:
    """Compare logits.

    A spike that rounding decides, which about one neuron in 10^5 meets, moves the logits of its
    sample: they may differ in a twentieth of the samples.

    Raises
    ------
    AssertionError
        If they differ by over 0.1 % in more.
    """
    logits = {name: np.asarray(to_numpy(v)) for name, v in outputs.items()}
    first = next(iter(logits.values()))
    for name, other in logits.items():
        close = np.isclose(other, first, rtol=1e-3, atol=1e-3 * np.abs(first).max()).all(-1)
        assert np.mean(~close) <= 0.05, f"{name}: {np.sum(~close)} samples' logits differ"
    return "logits to 1e-3"


@contextmanager
def numba_threads(count: int) -> Iterator[None]:
    """Numba's threads, for a while; 0 leaves them."""
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(min(count or before, before))
    try:
        yield
    finally:
        numba.set_num_threads(before)
