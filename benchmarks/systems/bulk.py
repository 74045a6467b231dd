"""Inference over more input than fits: Dask blocks that are made as they are needed."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np

import fastsnn_np as fs
from fastsnn_np.bulk import forward_blocks

from ..harness.contest import Contest, Figures
from ..harness.timers import Timer

SIZES, STEPS = (784, 200, 10), 100
DENSITY = 13 / 256  # chance of a spike


def block(number: int, samples: int) -> Any:
    """Spikes (samples, neurons, time) as booleans, the same in every call."""
    rng = np.random.default_rng(number)
    noise = rng.integers(0, 256, (samples, SIZES[0], STEPS), dtype=np.uint8)
    return noise < round(256 * DENSITY)


def blocks(gigabytes: float, samples: int) -> int:
    """Number of blocks of `samples` that make up so many gigabytes."""
    return max(1, round(gigabytes * 1e9 / (samples * SIZES[0] * STEPS)))


def synthetic(count: int, samples: int) -> Any:
    """A Dask array of `count` blocks of `samples`."""

    def make(block_info: Any = None) -> Any:
        return block(block_info[None]["chunk-location"][0], samples)

    chunks = ((samples,) * count, (SIZES[0],), (STEPS,))
    return da.map_blocks(make, chunks=chunks, dtype=bool, meta=np.empty((0, 0, 0), bool))


class Bulk:
    """One run over all input: its output and its figures are of the same run."""

    def __init__(self, count: int, samples: int) -> None:
        self.count, self.samples = count, samples
        self.figures: Figures = {}

    def output(self) -> Any:
        """Logits of the last block, and whether every sample fired."""
        network = fs.Network.random(SIZES, seed=0)
        x = synthetic(self.count, self.samples)
        start = time.perf_counter()
        (result,) = dask.compute(forward_blocks(x, network), scheduler="threads")
        took = time.perf_counter() - start
        self.figures = {"time": [1e3 * took], "peak memory": [self.peak()]}
        return result.logits[-self.samples :], bool(result.spike_counts[0].all())

    def warm(self) -> None:
        """Nothing: the run was taken with the output."""

    def turn(self, timer: Timer) -> Figures:
        return self.figures

    def peak(self) -> float:
        """The process's largest resident memory so far, in MB."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def contest(names: Sequence[str], *, count: int, samples: int) -> Contest:
    """`forward_blocks` on so many blocks, compared with `forward` on the last."""
    return Contest(
        {name: Bulk(count, samples) for name in names}, partial(judge, count, samples), True
    )


def judge(count: int, samples: int, outputs: dict[str, Any]) -> str:
    """Compare the last block's logits with those of `forward`.

    Raises
    ------
    AssertionError
        If a bit differs, or a sample has no spike.
    """
    ((logits, all_fired),) = outputs.values()
    network = fs.Network.random(SIZES, seed=0)
    expected = fs.forward(block(count - 1, samples), network, backend="numba")
    np.testing.assert_array_equal(logits, expected.logits)
    assert all_fired, "a sample without a spike"
    return "the last block's logits are those of forward"
